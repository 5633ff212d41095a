#!/bin/sh
# Makes the virtual environment .venv and installs the project in it with the exact versions of constraints.txt.
# Called by the Makefile, which skips it while .venv/.installed is newer than pyproject.toml and constraints.txt.
# PYTHON names the interpreter to use; left empty, the newest suitable one on the machine is taken.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
venv="$root/.venv"
# Nothing of the caller's Python set-up may leak in: an active environment, a user site, a target folder.
unset VIRTUAL_ENV PYTHONHOME PYTHONPATH PIP_USER PIP_TARGET PIP_PREFIX PIP_REQUIRE_VIRTUALENV PIP_CONSTRAINT || true

fail() {
    echo "setup: $1" >&2
    exit 1
}

# True when the interpreter $1 runs and is Python 3.11 or newer.
suitable() {
    command -v "$1" >/dev/null 2>&1 && "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        suitable "$PYTHON" || fail "PYTHON=$PYTHON is not Python 3.11 or newer; name another, as in: make setup PYTHON=python3.12"
        echo "$PYTHON"
        return
    fi
    for candidate in python3 python3.13 python3.12 python3.11 python3.14; do
        if suitable "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    found=$(python3 --version 2>/dev/null || echo "no python3 at all")
    fail "Python 3.11 or newer is needed and this machine has $found; install one (Debian 12 and later: apt-get install python3)"
}

# Debian splits ensurepip from Python: without it `python -m venv` stops half-way.
need_ensurepip() {
    "$1" -c 'import ensurepip, venv' 2>/dev/null && return
    package=$("$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "setup: installing $package, which $1 -m venv needs"
        { apt-get install -y -qq "$package" || { apt-get update -qq && apt-get install -y -qq "$package"; }; } >/dev/null 2>&1 ||
            fail "$1 has no ensurepip and apt-get could not install it; try: apt-get update && apt-get install $package"
        return
    fi
    fail "$1 has no ensurepip; install it and try again: sudo apt-get install $package"
}

if ! suitable "$venv/bin/python" || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    python=$(find_python)
    need_ensurepip "$python"
    echo "setup: making .venv with $("$python" --version) (the packages take a few minutes, once)"
    rm -rf "$venv"
    "$python" -m venv "$venv"
fi
cd "$root"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
touch "$venv/.installed"
echo "setup: ready"

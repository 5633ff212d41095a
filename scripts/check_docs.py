"""Checker of the documentation: make targets, modules, overrides, files, links and their headings exist.

``python -m scripts.check_docs`` reads README.md, CHANGELOG.md and docs/, prints each fault with its place and
exits with 1 if there is one.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from align3d.errors import UserError
from experiments.settings.command import check
from experiments.settings.schema import register_sizes

ROOT = Path(__file__).resolve().parent.parent
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]+))?\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
SHELLS = ("", "sh", "bash", "console")
#: Modules that take Hydra's overrides, and the YAML file of their defaults.
HYDRA_MODULES = {"experiments.run": "config"}


def main() -> int:
    """Check all pages, and return the exit code."""
    register_sizes()
    pages = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
    faults = [fault for page in pages for fault in check_page(page)]
    print("\n".join(faults) if faults else f"docs: {len(pages)} pages, every command and link exists")
    return 1 if faults else 0


def check_page(page: Path, root: Path = ROOT) -> Iterator[str]:
    """Yield the faults of a page, as ``file:line: what``."""
    text = page.read_text()
    for match in LINK.finditer(text):
        target = page.parent / match[1] if match[1] else page
        if not target.exists():
            yield _at(page, text, match.start(), f"link to {match[1]}, which does not exist")
        elif match[2] and match[2] not in _anchors(target.read_text()):
            yield _at(page, text, match.start(), f"link to #{match[2]}, which is no heading of {target.name}")
    for fence in FENCE.finditer(text):
        if fence[1] not in SHELLS:
            continue
        start = fence.start(2)
        for line in fence[2].splitlines(keepends=True):
            for fault in check_command(line.strip().removeprefix("$ "), root):
                yield _at(page, text, start, fault)
            start += len(line)


def check_command(line: str, root: Path = ROOT) -> Iterator[str]:
    """Yield the faults of a line of shell."""
    words = [word for word in shlex.split(line, comments=True) if word]
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words.pop(0)
    if words[:1] == ["make"]:
        targets = set(re.findall(r"^([a-z][\w-]*):", (root / "Makefile").read_text(), re.MULTILINE))
        for word in words[1:]:
            if "=" not in word and word not in targets:
                yield f"make has no target {word}"
            elif word.startswith("ARGS=") and words[1] == "run":
                yield from check_overrides("experiments.run", shlex.split(word.removeprefix("ARGS=")))
    elif len(words) > 2 and words[0].rpartition("/")[2].startswith("python") and words[1] == "-m":
        yield from check_module(words[2], words[3:])


def check_module(module: str, arguments: list[str]) -> Iterator[str]:
    """Yield the faults of ``python -m module arguments``."""
    if importlib.util.find_spec(module) is None:
        yield f"python -m {module}: no such module"
    elif module in HYDRA_MODULES:
        yield from check_overrides(module, arguments)


def check_overrides(module: str, arguments: list[str]) -> Iterator[str]:
    """Yield the faults of the overrides of a Hydra command."""
    multirun = "-m" in arguments
    overrides = [word for word in arguments if not word.startswith("-")]
    try:
        check(overrides, HYDRA_MODULES[module], multirun=multirun)
    except UserError as error:
        yield f"python -m {module} {' '.join(arguments)}: {error}"


def _anchors(text: str) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in HEADING.findall(text)}


def _at(page: Path, text: str, position: int, fault: str) -> str:
    name = page.relative_to(ROOT) if page.is_relative_to(ROOT) else page
    return f"{name}:{text.count(chr(10), 0, position) + 1}: {fault}"


if __name__ == "__main__":
    sys.exit(main())

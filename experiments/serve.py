"""An index over HTTP: ``python -m experiments.serve index=FOLDER`` or ``run=FOLDER``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress

from align3d.console.command_frame import run_command
from align3d.console.terminal import say
from align3d.errors import UserError
from experiments.index_server.serve_options import parse, usage


def main(arguments: Sequence[str]) -> int:
    """Serves until it is interrupted; the exit code."""
    return run_command(arguments, usage, run)


def run(arguments: Sequence[str]) -> None:
    """Opens what is served, and serves it until Ctrl-C.

    Raises:
        UserError: There is no such index or run, a package is not installed, or the host or port cannot be
            had.
    """
    options = parse(arguments)
    try:
        from experiments.index_server.index_listener import IndexListener
    except ModuleNotFoundError as error:
        if error.name not in ("starlette", "uvicorn", "prometheus_client"):
            raise
        raise UserError(
            f"{error.name} is not installed; pip install -c constraints.txt -e '.[serve]'"
        ) from error
    from experiments.index_server.served_index import open_served

    index = open_served(options)
    with IndexListener(index, options) as server:
        changes = "takes changes" if index.takes_changes else "takes no changes"
        say(f"{len(index):,} vectors of width {index.width}; {changes}; listening on {server.url}")
        if server.token is not None and options.token is None:
            say(f"requests need the header Authorization: Bearer {server.token}")
        say("Ctrl-C ends")
        sys.stdout.flush()
        with suppress(KeyboardInterrupt):
            server.serve()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

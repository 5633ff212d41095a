"""Web page of a run: ``python -m experiments.demo run=FOLDER``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress

from align3d.console.command_frame import run_command
from align3d.console.terminal import say
from align3d.errors import UserError
from experiments.console.local_server import bound_socket, is_loopback
from experiments.demo_page.demo_options import DemoOptions, parse, usage


def main(arguments: Sequence[str]) -> int:
    """Serves the page until it is interrupted; the exit code."""
    return run_command(arguments, usage, run)


def run(arguments: Sequence[str]) -> None:
    """Opens the run, and serves its page until Ctrl-C.

    Raises:
        UserError: There is no such run, what the page is made of is not installed, or the host or port cannot
            be had.
    """
    options = parse(arguments)
    try:
        import starlette
        import uvicorn
    except ImportError as error:
        raise UserError(
            f"{error.name} is not installed; pip install -c constraints.txt -e '.[demo]'"
        ) from error
    del starlette, uvicorn
    serve(options)


def serve(options: DemoOptions) -> None:
    """Serves the page of a run.

    Raises:
        UserError: As `run`.
    """
    from experiments.console import process  # slow to load, all of them, and not needed to say what is wrong
    from experiments.demo_page.demo_server import DemoServer
    from experiments.demo_page.demo_state import Demo
    from experiments.demo_page.work_queue import WorkQueue
    from experiments.shape_search.searcher import Searcher

    assert options.run is not None
    process.keep_memory()
    bound = bound_socket(options.host, options.port)  # before a library is made, which may take minutes
    if options.imports:
        from experiments.settings.reading import import_modules

        import_modules(options.imports)
    searcher = Searcher(
        options.run,
        options.dataset,
        calibration=options.calibration,
        candidates=options.candidates,
        device=options.device,
        named=options.named,
    )
    work = WorkQueue(options.threads or process.available_cores())
    demo = Demo(options.run, searcher, work, options.index, options.runs)
    with DemoServer(demo, options.host, options.port, options.token, bound) as server:
        where = " of this machine" if is_loopback(options.host) else "; whoever has the address may use it"
        say(f"{len(searcher):,} shapes of {options.run}; open {server.url} in a browser{where}")
        say("Ctrl-C ends")
        sys.stdout.flush()
        with suppress(KeyboardInterrupt):
            server.serve()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

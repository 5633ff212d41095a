"""Frame of every command around its work: its help page, mistakes in one line, its exit code."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from align3d.console.arguments import HELP
from align3d.console.help_page import show
from align3d.console.terminal import replace_what_is_lacking, say, say_error
from align3d.errors import UserError
from durable.disk_space import full_disk_named


def run_command(
    arguments: Sequence[str],
    usage: Callable[[], str],
    work: Callable[[Sequence[str]], None],
    *,
    bare: bool = False,
    interrupted: str = "",
) -> int:
    """Run a command, or show its help page.

    Args:
        arguments: Words of the command line.
        usage: Maker of the help page, which is shown if it is asked for.
        work: What the command does, by the arguments. A `UserError` is one line on stderr, and so is a full
            disk.
        bare: Whether the command runs without arguments, instead of showing its help page.
        interrupted: Line on stderr after an interrupt; none if empty.

    Returns:
        The exit code: 0, 2 for a mistake of the user, 130 for an interrupt.
    """
    replace_what_is_lacking()
    if not {*HELP}.isdisjoint(arguments) or not (arguments or bare):
        show(usage())
        return 0
    try:
        with full_disk_named():
            work(arguments)
    except UserError as error:
        say_error(error)
        return 2
    except KeyboardInterrupt:
        if interrupted:
            say(interrupted, error=True)
        return 130
    return 0

"""Checks of the settings of agents, which fail when an agent is made, and not later by strange results.

Each raises a ValueError that names the setting, its value and what it must be. None, which stands for a
default, passes all of them.
"""

from __future__ import annotations

from collections.abc import Sequence


def at_least(least: float, **settings: float | None) -> None:
    """Check that settings are at least ``least``."""
    for name, value in settings.items():
        if value is not None and not value >= least:
            raise _wrong(name, value, f"{least:g} or more")


def positive(**settings: float | None) -> None:
    """Check that settings are more than 0."""
    for name, value in settings.items():
        if value is not None and not value > 0:
            raise _wrong(name, value, "more than 0")


def shares(**settings: float | None) -> None:
    """Check that settings lie in [0, 1]."""
    for name, value in settings.items():
        if value is not None and not 0 <= value <= 1:
            raise ValueError(f"agent.{name}={value}: must lie in [0, 1]")


def one_of(choices: Sequence[str], **settings: str) -> None:
    """Check that settings are among the choices."""
    for name, value in settings.items():
        if value not in choices:
            raise _wrong(name, value, f"one of {', '.join(choices)}")


def widths(net_arch: Sequence[int] | None) -> list[int]:
    """Check widths of hidden layers, 1 or more each; None stands for two layers of 64."""
    chosen = [64, 64] if net_arch is None else list(net_arch)
    if not all(width >= 1 for width in chosen):
        raise _wrong("net_arch", chosen, "widths of 1 or more")
    return chosen


def _wrong(name: str, value: object, expected: str) -> ValueError:
    return ValueError(f"agent.{name}={value}: must be {expected}")

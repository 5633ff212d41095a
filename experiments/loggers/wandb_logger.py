"""Logger for Weights & Biases; offline unless the user has logged in or set ``WANDB_MODE``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from durable.whole_files import write_text
from experiments.loggers.base import PROJECT, Picture, RunFacts, lazy

WAIT = 60.0
"""Seconds that a server gets to answer, and to take what is left at the end."""

_DEFAULTS = {
    "WANDB_ERROR_REPORTING": "false",  # otherwise its makers are told of errors
    "WANDB_SILENT": "true",
}


class WandbLogger:
    """A run of Weights & Biases, with the id of the run's folder.

    An offline run cannot be asked which steps it has; a file beside it says so. What was written before a
    resumption and what comes after are two folders ``offline-run-…`` with the same id: `wandb sync` them in
    their order, the later with ``--append``.

    Args:
        facts: Of the run.
    """

    def __init__(self, facts: RunFacts) -> None:
        for name, value in _DEFAULTS.items():
            os.environ.setdefault(name, value)
        self._wandb = lazy("wandb")
        self._place = facts.folder / "wandb" / "next_step"
        self._run = self._wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            dir=os.environ.get("WANDB_DIR", str(facts.folder)),
            id=facts.key,
            name=os.environ.get("WANDB_NAME", facts.folder.name),
            resume="allow",
            mode=_mode(),
            config=dict(facts.config),
            tags=[f"{name}:{value}"[:64] for name, value in facts.tags.items()],
            settings=self._wandb.Settings(
                silent=True,
                console="off",
                disable_code=True,
                disable_git=True,
                x_disable_meta=True,
                x_disable_stats=True,
                init_timeout=WAIT,
                finish_timeout=WAIT,
            ),
        )
        noted = int(self._place.read_text()) if self._place.exists() else 0
        self.next_step = max(noted, int(self._run.step))

    def write(self, step: int, values: Mapping[str, float], pictures: Mapping[str, Picture]) -> None:
        """Take a line of the journal."""
        shown = {name: self._wandb.Image(picture) for name, picture in pictures.items()}
        self._run.log({**values, **shown}, step=step)
        self.next_step = step + 1
        self._place.parent.mkdir(exist_ok=True)
        self._place.write_text(str(self.next_step))

    def results(self, results: Mapping[str, Any], numbers: Mapping[str, float]) -> None:
        """Put the final results into the run's summary."""
        self._run.summary.update({**numbers, "dataset": results["dataset"], "versions": results["versions"]})

    def close(self, *, finished: bool) -> None:
        """Write the rest."""
        write_text(self._place, str(self.next_step))
        self._run.finish(exit_code=0 if finished else 1)


def _mode() -> str | None:
    """Mode of the run: the user's own (None) where there is one, offline otherwise."""
    if os.environ.get("WANDB_MODE"):
        return None
    configured = ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_BASE_URL")
    if any(os.environ.get(name) for name in configured):
        return None
    try:
        logged_in = lazy("wandb").login(prompt=False, verify=False)
    except Exception:  # whatever hinders asking, nothing is sent then
        logged_in = False
    return None if logged_in else "offline"

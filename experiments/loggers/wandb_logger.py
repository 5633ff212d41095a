"""Logger for Weights & Biases; offline unless the user has logged in or set ``WANDB_MODE``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from durable.whole_files import write_text
from experiments.loggers.base import PROJECT, Picture, RunFacts, lazy

WAIT = 60.0
"""Seconds that a server gets to answer, and to take what is left at the end."""

_DEFAULTS = {
    "WANDB_ERROR_REPORTING": "false",  # otherwise its makers get reports of errors
    "WANDB_SILENT": "true",
}


class WandbLogger:
    """A run of Weights & Biases, with the id of the run's folder.

    An offline run cannot be asked which steps it has, so a file says so that is written as it is closed. What
    was written before such an end and what comes after are two folders ``offline-run-…`` with the same id:
    `wandb sync` them in their order, the later with ``--append``. Of a run that was killed nobody knows what
    reached the disk: its folder is put aside (``cut-off``), and the next one gets every line from the first.

    Args:
        facts: Of the run.
    """

    def __init__(self, facts: RunFacts) -> None:
        for name, value in _DEFAULTS.items():
            os.environ.setdefault(name, value)
        self._wandb = lazy("wandb")
        self._place = facts.folder / "wandb" / "next_step"
        folder = Path(os.environ.get("WANDB_DIR", facts.folder))
        closed = self._place.exists()
        noted = int(self._place.read_text()) if closed else 0
        self._place.unlink(missing_ok=True)
        if not closed:
            _put_aside(folder / "wandb", facts.key)
        self._run = self._wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            dir=str(folder),
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
        self.next_step = max(noted, int(self._run.step))

    def write(self, step: int, values: Mapping[str, float], pictures: Mapping[str, Picture]) -> None:
        """Take a line of the journal."""
        shown = {name: self._wandb.Image(picture) for name, picture in pictures.items()}
        self._run.log({**values, **shown}, step=step)
        self.next_step = step + 1

    def results(self, results: Mapping[str, Any], numbers: Mapping[str, float]) -> None:
        """Put the final results into the run's summary."""
        self._run.summary.update({**numbers, "dataset": results["dataset"], "versions": results["versions"]})

    def close(self, *, finished: bool) -> None:
        """Write the rest."""
        self._run.finish(exit_code=0 if finished else 1)
        self._place.parent.mkdir(exist_ok=True)
        write_text(self._place, str(self.next_step))


def _put_aside(folder: Path, key: str) -> None:
    """Move what killed processes have left of an offline run to where no pattern of folders finds it."""
    for found in sorted(folder.glob(f"offline-run-*-{key}")):
        (folder / "cut-off").mkdir(exist_ok=True)
        found.rename(folder / "cut-off" / found.name)


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

"""Logger for trackio; in its local database unless ``TRACKIO_SPACE_ID`` or ``TRACKIO_SERVER_URL`` is set."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

from experiments.loggers.base import PROJECT, Picture, RunFacts, lazy


class TrackioLogger:
    """A run of trackio, named after the run's folder and its key.

    Args:
        facts: Of the run.
    """

    def __init__(self, facts: RunFacts) -> None:
        with _quiet():
            self._trackio = lazy("trackio")
            self._run = self._trackio.init(
                project=os.environ.get("TRACKIO_PROJECT", PROJECT),
                name=f"{facts.folder.name}-{facts.key}",
                config={**facts.settings, **facts.tags},
                resume="allow",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )
        self.next_step = int(self._run._next_step)  # behind the last one in the database

    def write(self, step: int, values: Mapping[str, float], pictures: Mapping[str, Picture]) -> None:
        """Take a line of the journal."""
        shown = {name: self._trackio.Image(picture) for name, picture in pictures.items()}
        self._run.log({**values, **shown}, step=step)
        self.next_step = step + 1

    def results(self, results: Mapping[str, Any], numbers: Mapping[str, float]) -> None:
        """Write the final results behind the last line."""
        self._run.log(dict(numbers), step=self.next_step)

    def close(self, *, finished: bool) -> None:
        """Write the rest."""
        with _quiet():
            self._trackio.finish()  # which also keeps it from being finished once more at exit


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps trackio's greetings from the run's output."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield

"""Logger for MLflow; in a local database unless ``MLFLOW_TRACKING_URI`` names a server."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Mapping
from typing import Any

from durable.whole_files import write_text
from experiments.loggers.base import PROJECT, Picture, RunFacts, lazy

STEP = "step"
"""Metric that is the step itself, written with each line: tells a resumed run where it stands."""
_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # otherwise MLflow tells its makers of its use
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
_NO_NAME = re.compile(r"[^/\w.\- ]")
_MOST = 100  # params of one request
_LONGEST = 500  # characters of a param


class MlflowLogger:
    """A run of MLflow, whose id is kept in the run's folder.

    Args:
        facts: Of the run.
    """

    def __init__(self, facts: RunFacts) -> None:
        for name, value in _DEFAULTS.items():
            os.environ.setdefault(name, value)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        self._entities = lazy("mlflow.entities")
        self._client = lazy("mlflow.tracking").MlflowClient()
        kept = facts.folder / "mlflow_run_id.txt"
        if kept.exists():
            self._id = kept.read_text().strip()
            metrics = self._client.get_run(self._id).data.metrics
            self._client.update_run(self._id, status="RUNNING")
            self.next_step = int(metrics[STEP]) + 1 if STEP in metrics else 0
            return
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        found = self._client.get_experiment_by_name(name)
        experiment = found.experiment_id if found else self._client.create_experiment(name)
        run = self._client.create_run(experiment, run_name=facts.folder.name, tags=dict(facts.tags))
        self._id, self.next_step = run.info.run_id, 0
        params = [
            self._entities.Param(_named(key), str(value)[:_LONGEST]) for key, value in facts.settings.items()
        ]
        for first in range(0, len(params), _MOST):
            self._client.log_batch(self._id, params=params[first : first + _MOST])
        write_text(kept, self._id + "\n")

    def write(self, step: int, values: Mapping[str, float], pictures: Mapping[str, Picture]) -> None:
        """Take a line of the journal, in one request; the database takes it whole or not at all."""
        for name, picture in pictures.items():
            self._client.log_image(self._id, picture, artifact_file=f"images/{name}-{step:08d}.png")
        self._log({**values, STEP: step}, step)
        self.next_step = step + 1

    def results(self, results: Mapping[str, Any], numbers: Mapping[str, float]) -> None:
        """Write the final results as metrics, and results.json as an artifact."""
        self._log(numbers, int(results["steps"]))
        self._client.log_dict(self._id, dict(results), "results.json")

    def close(self, *, finished: bool) -> None:
        """Say how the run has ended."""
        self._client.set_terminated(self._id, "FINISHED" if finished else "KILLED")

    def _log(self, values: Mapping[str, float], step: int) -> None:
        now = int(1000 * time.time())
        metrics = [
            self._entities.Metric(_named(name), float(value), now, step) for name, value in values.items()
        ]
        self._client.log_batch(self._id, metrics=metrics)


def _named(name: str) -> str:
    """A name as MLflow takes it: ``recall_at_1`` for ``recall@1``."""
    return _NO_NAME.sub("_", name.replace("@", "_at_"))

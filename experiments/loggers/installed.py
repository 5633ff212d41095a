"""Packages of the loggers beside TensorBoard, all of the extra ``loggers``."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from align3d.errors import UserError

NEEDED = {"wandb": ("wandb",), "mlflow": ("mlflow", "sqlalchemy", "alembic"), "trackio": ("trackio",)}
"""By the names that the setting ``loggers`` takes."""


def check_loggers(names: Sequence[str]) -> None:
    """Look for the packages of loggers.

    Raises:
        UserError: One is not installed.
    """
    for name in names:
        for package in NEEDED[name]:
            if importlib.util.find_spec(package) is None:
                raise UserError(
                    f"loggers=[{name}]: {package} is not installed; pip install 'align3d[loggers]', or leave "
                    f"{name} out"
                )

"""Versions of the libraries that decide a run's numbers."""

from __future__ import annotations

import platform
from importlib import metadata

LIBRARIES = ("align3d", "torch", "numpy", "tensordict", "faiss-cpu", "sentence-transformers", "fpsample")


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that are there."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found

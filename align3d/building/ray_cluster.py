"""Connection to Ray: the cluster that ``RAY_ADDRESS`` names, or a Ray of one's own on this machine."""

from __future__ import annotations

import os
from typing import Any

from align3d.building.order import default_workers
from align3d.errors import UserError

ADDRESS = "RAY_ADDRESS"


def is_remote() -> bool:
    """Whether a cluster is named, whose machines share this one's file system."""
    return os.environ.get(ADDRESS, "local") != "local"


def connect(setting: str) -> Any:
    """The package ray, connected; the same connection when it is asked for again.

    Args:
        setting: What asks for it, such as ``engine=ray``, for messages.

    Raises:
        UserError: The package is missing, or there is no cluster at the address.
    """
    try:
        import ray
    except ImportError as error:
        raise UserError(f"{setting} needs the package ray: pip install 'align3d[cluster]'") from error
    if ray.is_initialized():
        return ray
    own = {} if is_remote() else {"num_cpus": default_workers(), "include_dashboard": False}
    address = os.environ.get(ADDRESS, "local")
    try:
        ray.init(address=address, log_to_driver=False, logging_level="error", **own)
    except (ConnectionError, ValueError, RuntimeError) as error:
        said = " ".join(str(error).split())[:200]
        raise UserError(f"{setting}: no Ray at {ADDRESS}={address} ({said})") from error
    return ray

"""Connection to Ray: the cluster that ``RAY_ADDRESS`` names, or a Ray of one's own on this machine."""

from __future__ import annotations

import logging
import os
import socket
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
    address = os.environ.get(ADDRESS, "local")
    if _answers(address) is False:
        raise UserError(f"{setting}: nothing answers at {ADDRESS}={address}")
    own: dict[str, Any] = {} if is_remote() else {"num_cpus": default_workers(), "include_dashboard": False}
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except (ConnectionError, ValueError, RuntimeError) as error:
        said = " ".join(str(error).split())[:200]
        raise UserError(f"{setting}: no Ray at {ADDRESS}={address} ({said})") from error
    return ray


def _answers(address: str) -> bool | None:
    """Whether anything listens at ``host:port``, as Ray itself asks for minutes; None for other addresses."""
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdigit():
        return None
    try:
        socket.create_connection((host, int(port)), timeout=5.0).close()
    except OSError:
        return False
    return True

"""Where a server of this machine listens, and by which names it may be asked."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

from align3d.errors import UserError

LOOPBACK = "127.0.0.1"
LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1")
SHORTEST_TOKEN = 16
"""Characters that a token has at least where others reach the server."""


def is_loopback(host: str) -> bool:
    """Whether a host is this machine alone."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_token(token: str, host: str) -> None:
    """Refuses a token that others could guess.

    Raises:
        UserError: It is short, and the host is not this machine alone.
    """
    if not is_loopback(host) and len(token) < SHORTEST_TOKEN:
        raise UserError(
            f"token=…: {len(token)} letters, expected at least {SHORTEST_TOKEN} where others reach "
            f"host={host}; leave it out, and one is made"
        )


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket on a host's port that nobody else has; it does not listen yet.

    Raises:
        UserError: There is none.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host.strip("[]") or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except socket.gaierror as error:
        raise UserError(f"host={host}: no such address on this machine ({error.strerror})") from error
    except OSError as error:
        raise UserError(
            f"host={host} port={port}: cannot be listened on ({error.strerror}); choose another port, or 0 "
            "for any"
        ) from error
    return bound


def name_in(header: str) -> str | None:
    """Name in a ``Host`` header, without the port; None where it is none."""
    try:
        return urlsplit(f"//{header}").hostname
    except ValueError:
        return None

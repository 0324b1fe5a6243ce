"""Whether the hub can be asked at all, found out within seconds."""

from __future__ import annotations

import socket
import threading
from urllib.parse import urlsplit
from urllib.request import getproxies

PATIENCE = 3.0
"""Seconds in which a hub that can be reached lets itself be connected to."""
PORTS = {"http": 80, "https": 443}


def check_hub_answers(patience: float = PATIENCE) -> None:
    """See that the hub lets itself be connected to; without a network its client waits for long.

    Nothing is looked for where a proxy stands between, or where the client is told to be offline:
    it says so itself at once.

    Raises:
        OSError: It does not, or not in time; one line.
    """
    from huggingface_hub import constants

    address = urlsplit(constants.ENDPOINT)
    if (
        constants.HF_HUB_OFFLINE
        or not address.hostname
        or getproxies().keys()
        & {
            address.scheme,
            "all",
        }
    ):
        return
    place = address.hostname, address.port or PORTS.get(address.scheme, 443)
    failed = _connected(place, patience)
    if failed is not None:
        raise OSError(f"{address.hostname} cannot be reached: {failed}")


def _connected(place: tuple[str, int], patience: float) -> str | None:
    """Why nobody listens at ``place`` (host, port); None if somebody does.

    The name is looked up in a thread of its own: that alone may take half a minute, and nothing
    ends it.
    """
    found: list[str | None] = []

    def connect() -> None:
        try:
            with socket.create_connection(place, patience):
                found.append(None)
        except OSError as error:
            found.append(error.strerror or str(error))

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(patience)
    return found[0] if found else f"no answer within {patience:g} seconds"

"""HTTP to the stack's own processes, past any proxy the environment names; and their ports."""

from __future__ import annotations

import socket
from typing import Any, Final

import requests

_ANSWER_WITHIN_SEC: Final = 10.0


def get(url: str, **parameters: str) -> requests.Response:
    """GET an address of this machine.

    Raises:
        requests.RequestException: no answer, or an answer that is an error.
    """
    with requests.Session() as session:
        session.trust_env = False
        answer = session.get(url, params=parameters, timeout=_ANSWER_WITHIN_SEC)
        answer.raise_for_status()
        return answer


def get_json(url: str, **parameters: str) -> Any:
    """The JSON document that an address of this machine answers with.

    Raises:
        requests.RequestException: no answer, or an answer that is an error or no JSON.
    """
    return get(url, **parameters).json()


def port_of(url: str) -> int:
    """The port of a base URL that names one."""
    return int(url.rpartition(":")[2])


def hold_port(port: int, host: str = "127.0.0.1") -> socket.socket:
    """Keep a port of this machine, where nobody listens just now, until the socket is closed.

    Connections to it are refused, unless the socket is told to listen. The system gives it to
    nobody who asks for any free port; who asks for this one with SO_REUSEADDR, as servers do, gets
    it.

    Args:
        port: which, or 0 for any that is free.
        host: IP address; empty for all of them.

    Raises:
        OSError: somebody has it.
    """
    holder = socket.socket()
    try:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind((host, port))
    except OSError:
        holder.close()
        raise
    return holder

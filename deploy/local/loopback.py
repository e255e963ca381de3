"""HTTP to the stack's own processes, past any proxy the environment names; and their ports."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import requests

if TYPE_CHECKING:
    from collections.abc import Iterator

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


@contextmanager
def kept(port: int, host: str = "127.0.0.1") -> Iterator[None]:
    """Keep a port of this machine, where nobody listens just now, for who will listen again.

    Connections to it are refused. The system gives it to nobody who asks for any free port; who
    asks for this one with SO_REUSEADDR, as servers do, gets it.

    Raises:
        OSError: somebody has it.
    """
    with socket.socket() as keeper:
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        keeper.bind((host, port))
        yield

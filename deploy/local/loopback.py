"""HTTP to the stack's own processes, past any proxy the environment names."""

from __future__ import annotations

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

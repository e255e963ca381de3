"""How Binance's streams are subscribed to: in the URL as far as it goes, the rest by message.

Request lines above about 8,000 characters are answered with 414, and messages above 4 kB are not
taken.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Sequence

# Of the names alone; what else is in a request line is far below the rest.
MAX_URL_CHARS: Final = 7_000
MAX_MESSAGE_BYTES: Final = 4_000


@dataclass(frozen=True, slots=True)
class SubscribePlan:
    """How to subscribe to streams.

    Attributes:
        in_url: percent-encoded names for the URL.
        messages: SUBSCRIBE messages for the others.
    """

    in_url: tuple[str, ...]
    messages: tuple[bytes, ...]


def subscriptions(names: Sequence[str]) -> SubscribePlan:
    """How to subscribe to streams by their names, `btcusdt@trade`."""
    in_url: list[str] = []
    chars = 0
    for name in names:
        encoded = quote(name, safe="@")
        chars += len(encoded) + 1
        if chars > MAX_URL_CHARS:
            break
        in_url.append(encoded)
    return SubscribePlan(tuple(in_url), _messages(names[len(in_url) :]))


def _messages(names: Sequence[str]) -> tuple[bytes, ...]:
    messages: list[bytes] = []
    piece: list[str] = []
    for name in names:
        if len(_message(len(messages) + 1, [*piece, name])) > MAX_MESSAGE_BYTES:
            messages.append(_message(len(messages) + 1, piece))
            piece = []
        piece.append(name)
    if piece:
        messages.append(_message(len(messages) + 1, piece))
    return tuple(messages)


def _message(number: int, names: Sequence[str]) -> bytes:
    request = {"method": "SUBSCRIBE", "params": names, "id": number}
    return json.dumps(request, ensure_ascii=False, separators=(",", ":")).encode()

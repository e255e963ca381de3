"""Values of an experiment that are written as text, and how each is to be written."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator

if TYPE_CHECKING:
    from urllib.parse import SplitResult

MAX_PORT: Final = 65535
# Up to the last `@`, as a password may hold any character that is not escaped as it should be.
_USER: Final = re.compile(r"(?:(?<=//)|[^/\s'\"]*:(?!//)).*@", re.DOTALL)
_URL: Final = re.compile(r"[a-z]+://[^/\s]+(/\S*)?")


def _written(pattern: str, how: str) -> AfterValidator:
    """A text of a form; whoever writes another is told how, not shown a regular expression."""
    form = re.compile(pattern)

    def check(text: str) -> str:
        if form.fullmatch(text) is None:
            raise ValueError(f"must be {how}")
        return text

    return AfterValidator(check)


def _address(text: str, schemes: tuple[str, ...], example: str) -> SplitResult:
    """A URL's parts, of which host and port can be used for connecting.

    Raises:
        ValueError: they cannot; the message says what it must be like.
    """
    fault = f"must be a URL like {example}"
    if _URL.fullmatch(text) is None or not text.isprintable():
        raise ValueError(fault)
    try:
        parts = urlsplit(text)
        host = (parts.hostname or "").encode("idna")  # as the resolver does
    except ValueError:  # brackets without an IPv6 address, a label that is too long, ...
        raise ValueError(f"{fault}, with a host that can be looked up") from None
    if not host or parts.scheme not in schemes:
        raise ValueError(fault)
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError(f"must have a port of 1 to {MAX_PORT}, or none")
    return parts


def _websocket_base(text: str) -> str:
    example = "wss://stream.binance.com:9443"
    parts = _address(text, ("ws", "wss"), example)
    if "?" in text or "#" in text or parts.username is not None:
        raise ValueError(f"must be a URL like {example}, without a user, a query or a fragment")
    return text


def _time_url(text: str) -> str:
    example = "https://api.binance.com/api/v3/time"
    if _address(text, ("http", "https"), example).username is not None:
        raise ValueError(f"must be a URL like {example}, without a user")
    return text


ExperimentName = Annotated[
    str,
    _written(
        r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}",
        "1 to 63 letters, digits, dots, hyphens and underscores, of which the first is a letter "
        "or a digit",
    ),
]
# Binance's own rule: word characters, hyphens and dots, 1 to 50 of them, none of them a to z. Some
# symbols are dated (BTCUSDT_260925) or perpetual (BTCUSD_PERP), some have Chinese characters.
SYMBOL_PATTERN: Final = r"(?:(?![a-z])[\w.-]){1,50}"
Symbol = Annotated[
    str,
    _written(
        SYMBOL_PATTERN,
        "a symbol as Binance lists it, in capitals, like BTCUSDT or BTCUSD_PERP",
    ),
]
StreamName = Annotated[
    str,
    _written(
        r"[A-Za-z0-9]+(_[A-Za-z0-9]+)?(@[0-9]+ms)?",
        "a stream's name without its symbol, like trade or depth@100ms",
    ),
]
StartOfWindow = Annotated[
    str, _written(r"([01][0-9]|2[0-3]):[0-5][0-9]", "a UTC time of day from 00:00 to 23:59")
]
EndOfWindow = Annotated[
    str, _written(r"([01][0-9]|2[0-3]):[0-5][0-9]|24:00", "a UTC time of day from 00:00 to 24:00")
]
Endpoint = Annotated[str, AfterValidator(_websocket_base)]
TimeEndpoint = Annotated[str, AfterValidator(_time_url)]


def without_user(text: str) -> str:
    """A text in which what may be the user and password of a URL is replaced by asterisks."""
    return _USER.sub("***@", text)


def is_symbol(text: str) -> bool:
    """Whether a name is formed like a symbol of Binance."""
    return re.fullmatch(SYMBOL_PATTERN, text) is not None

"""What a client may request: by the URL of a connection and by messages sent over it.

Errors are worded like the exchange's; see its "Live Subscribing/Unsubscribing to streams".
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from latency_sweep.lab.exchange.markets.events import TimeUnit

if TYPE_CHECKING:
    from latency_sweep.lab.exchange.markets.rules import Rules

METHODS: Final = (
    "SUBSCRIBE",
    "UNSUBSCRIBE",
    "LIST_SUBSCRIPTIONS",
    "SET_PROPERTY",
    "GET_PROPERTY",
)
TEXT_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,36}")
UNKNOWN_PROPERTY: Final = 0
INVALID_VALUE: Final = 1
INVALID_REQUEST: Final = 2
INVALID_JSON: Final = 3


@dataclass(frozen=True, slots=True)
class Opening:
    """What the URL of a connection asks for.

    Attributes:
        streams: streams to begin with.
        combined: whether messages are wrapped with their stream's name.
        unit: unit of every time.
        route: first part of the path, empty for none; see `rules.Rules`.
    """

    streams: tuple[str, ...]
    combined: bool
    unit: TimeUnit
    route: str = ""


class UnknownPathError(ValueError):
    """The path is not one of the exchange's."""


class BadParameterError(ValueError):
    """A query parameter has a value that the exchange does not know."""


def parse_target(target: str, rules: Rules) -> Opening:
    """Read the request target of a WebSocket handshake.

    `/ws`, `/ws/<stream>[/<stream>...]`, `/stream` and `/stream?streams=<stream>[/<stream>...]`,
    behind one of the market's routes; each with an optional `timeUnit` where the market lets the
    client choose. Unknown streams are accepted, as the exchange does.

    Raises:
        UnknownPathError: any other path.
        BadParameterError: `timeUnit` is neither MILLISECOND nor MICROSECOND, in one case.
    """
    parts = urlsplit(target)
    query = dict(parse_qsl(parts.query))
    unit = _unit(query.get("timeUnit"), rules)
    path = parts.path.removeprefix("/")
    first = path.partition("/")[0]
    route = first if first and first in rules.routes else ""
    root, _, rest = path.removeprefix(f"{route}/" if route else "").partition("/")
    if root == "ws":
        return Opening(_names(unquote(rest)), combined=False, unit=unit, route=route)
    if root == "stream" and not rest:
        names = _names(query.get("streams", ""))
        return Opening(names, combined=True, unit=unit, route=route)
    raise UnknownPathError(f"no such path: {parts.path}")


def _unit(name: str | None, rules: Rules) -> TimeUnit:
    if name is None or len(rules.units) == 1:
        return rules.units[0]
    if name.upper() not in TimeUnit.__members__ or name not in (name.upper(), name.lower()):
        raise BadParameterError(f"timeUnit {name!r} is not MILLISECOND or MICROSECOND")
    return TimeUnit[name.upper()]


def _names(joined: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in joined.split("/") if name))


class Subscriptions:
    """The streams of one connection and the requests that change them."""

    def __init__(self, opening: Opening, limit: int) -> None:
        """Start with the streams of the URL; at most `limit` at any time."""
        self.combined = opening.combined
        self._streams = dict.fromkeys(opening.streams)
        self._limit = limit

    def __contains__(self, stream: str) -> bool:
        """Whether a stream is subscribed."""
        return stream in self._streams

    @property
    def names(self) -> list[str]:
        """Subscribed streams in order of subscription."""
        return list(self._streams)

    def answer(self, text: bytes) -> bytes:
        """Carry out one request and return the reply, an error included."""
        try:
            request = json.loads(text)
        except json.JSONDecodeError as error:
            where = f"expected value at line {error.lineno} column {error.colno}"
            return _error(INVALID_JSON, f"Invalid JSON: {where}", None)
        except (ValueError, RecursionError):  # no UTF-8, too deep, or a number without an end
            return _error(INVALID_JSON, "Invalid JSON: expected value at line 1 column 1", None)
        if not isinstance(request, dict):
            return _error(INVALID_REQUEST, "Invalid request: expected a map", None)
        number = request.get("id")
        if not _is_id(number):
            message = "Invalid request: request ID must be an unsigned integer"
            return _error(INVALID_REQUEST, message, None)
        try:
            result = self._carry_out(request)
        except _RequestError as error:
            return _error(error.code, str(error), number)
        return _document({"result": result, "id": number})

    def _carry_out(self, request: dict[str, Any]) -> Any:
        if "method" not in request:
            raise _RequestError("Invalid request: missing field `method`")
        method, params = request["method"], request.get("params", [])
        if not isinstance(params, list):
            raise _RequestError("Invalid request: expected a sequence")
        match method:
            case "SUBSCRIBE":
                wanted = self._streams | dict.fromkeys(_stream_names(params))
                if len(wanted) > self._limit:
                    raise _RequestError(f"Invalid request: more than {self._limit} streams")
                self._streams = wanted
                return None
            case "UNSUBSCRIBE":
                for stream in _stream_names(params):
                    self._streams.pop(stream, None)
                return None
            case "LIST_SUBSCRIPTIONS":
                return self.names
            case "SET_PROPERTY" | "GET_PROPERTY":
                return self._property(method, params)
            case _:
                expected = ", ".join(f"`{name}`" for name in METHODS)
                raise _RequestError(
                    f"Invalid request: unknown variant `{method}`, expected one of {expected}"
                )

    def _property(self, method: str, params: list[Any]) -> Any:
        values = params[1:]
        if not params or not isinstance(params[0], str):
            raise _RequestError("Invalid request: property name must be a string")
        if len(values) > (method == "SET_PROPERTY"):
            raise _RequestError("Invalid request: too many parameters")
        if params[0] != "combined":
            raise _RequestError("Unknown property", UNKNOWN_PROPERTY)
        if method == "GET_PROPERTY":
            return self.combined
        if not values or not isinstance(values[0], bool):
            raise _RequestError("Invalid value type: expected Boolean", INVALID_VALUE)
        self.combined = values[0]
        return None


class _RequestError(Exception):
    def __init__(self, message: str, code: int = INVALID_REQUEST) -> None:
        super().__init__(message)
        self.code = code


def _stream_names(params: list[Any]) -> list[str]:
    if not params:
        raise _RequestError("Invalid request: missing field `params`")
    for name in params:
        if not isinstance(name, str):
            raise _RequestError("Invalid request: stream name must be a string")
    return params


def _is_id(number: Any) -> bool:
    if isinstance(number, str):
        return TEXT_ID.fullmatch(number) is not None
    if isinstance(number, bool) or not (number is None or isinstance(number, int)):
        return False
    return number is None or number >= 0


def _error(code: int, message: str, number: int | str | None) -> bytes:
    return _document({"code": code, "msg": message} | ({} if number is None else {"id": number}))


def _document(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()

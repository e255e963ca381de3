"""Requests and their answers, without any connection."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from latency_sweep.lab.exchange.commands import (
    BadParameterError,
    Opening,
    Subscriptions,
    UnknownPathError,
    parse_target,
)
from latency_sweep.lab.exchange.markets.events import TimeUnit
from latency_sweep.lab.exchange.markets.spot import SPOT


@pytest.fixture
def subscriptions() -> Subscriptions:
    return Subscriptions(parse_target("/stream?streams=a@trade/b@trade", SPOT), limit=3)


def answer(subscriptions: Subscriptions, request: object) -> dict[str, Any]:
    text = request if isinstance(request, bytes) else json.dumps(request).encode()
    document: dict[str, Any] = json.loads(subscriptions.answer(text))
    return document


@pytest.mark.parametrize(
    ("target", "opening"),
    [
        ("/ws", Opening((), combined=False, unit=TimeUnit.MILLISECOND)),
        ("/ws/a@trade", Opening(("a@trade",), combined=False, unit=TimeUnit.MILLISECOND)),
        ("/ws/a@trade/b%40trade", Opening(("a@trade", "b@trade"), False, TimeUnit.MILLISECOND)),
        ("/stream", Opening((), combined=True, unit=TimeUnit.MILLISECOND)),
        (
            "/stream?streams=a@trade/a@trade&timeUnit=MICROSECOND",
            Opening(("a@trade",), combined=True, unit=TimeUnit.MICROSECOND),
        ),
        ("/ws?timeUnit=millisecond", Opening((), combined=False, unit=TimeUnit.MILLISECOND)),
    ],
)
def test_targets_are_read(target: str, opening: Opening) -> None:
    assert parse_target(target, SPOT) == opening


@pytest.mark.parametrize("target", ["/", "/wss/a@trade", "/stream/a@trade", "/public/ws"])
def test_other_paths_are_unknown(target: str) -> None:
    with pytest.raises(UnknownPathError):
        parse_target(target, SPOT)


@pytest.mark.parametrize("unit", ["Microsecond", "us", "NANOSECOND"])
def test_other_time_units_are_refused(unit: str) -> None:
    with pytest.raises(BadParameterError):
        parse_target(f"/ws/a@trade?timeUnit={unit}", SPOT)


def test_a_second_question_mark_hides_the_time_unit() -> None:
    opening = parse_target("/stream?streams=a@trade?timeUnit=MICROSECOND", SPOT)
    assert opening.unit is TimeUnit.MILLISECOND
    assert opening.streams != ("a@trade",)


@pytest.mark.parametrize("number", [0, 1 << 60, "abc-1", None])
def test_the_answer_repeats_the_request_s_id(subscriptions: Subscriptions, number: object) -> None:
    request = {"method": "LIST_SUBSCRIPTIONS", "id": number}
    assert answer(subscriptions, request) == {"result": ["a@trade", "b@trade"], "id": number}


@pytest.mark.parametrize("number", [-1, 1.5, True, [], "x" * 37])
def test_an_improper_id_is_an_error(subscriptions: Subscriptions, number: object) -> None:
    request = {"method": "LIST_SUBSCRIPTIONS", "id": number}
    assert answer(subscriptions, request) == {
        "code": 2,
        "msg": "Invalid request: request ID must be an unsigned integer",
    }


@pytest.mark.parametrize(
    ("request_", "code", "message"),
    [
        ({"params": [], "id": 1}, 2, "Invalid request: missing field `method`"),
        ({"method": "NONSENSE", "id": 1}, 2, "Invalid request: unknown variant `NONSENSE`"),
        ({"method": "SUBSCRIBE", "id": 1}, 2, "Invalid request: missing field `params`"),
        ({"method": "SUBSCRIBE", "params": "a", "id": 1}, 2, "expected a sequence"),
        ({"method": "SUBSCRIBE", "params": [1], "id": 1}, 2, "stream name must be a string"),
        ({"method": "SUBSCRIBE", "params": ["c", "d"], "id": 1}, 2, "more than 3 streams"),
        ({"method": "SET_PROPERTY", "params": [1], "id": 1}, 2, "name must be a string"),
        ({"method": "SET_PROPERTY", "params": ["x", True], "id": 1}, 0, "Unknown property"),
        ({"method": "SET_PROPERTY", "params": ["combined", 1], "id": 1}, 1, "expected Boolean"),
        ({"method": "GET_PROPERTY", "params": ["combined", 1], "id": 1}, 2, "too many parameters"),
    ],
)
def test_a_bad_request_is_answered_with_its_code_and_id(
    subscriptions: Subscriptions, request_: object, code: int, message: str
) -> None:
    reply = answer(subscriptions, request_)
    assert (reply["code"], reply["id"]) == (code, 1)
    assert message in reply["msg"]
    assert subscriptions.names == ["a@trade", "b@trade"]


@given(st.binary())
@example(b'{"id":' + b"1" * 5_000 + b"}")
@settings(deadline=None)
def test_any_bytes_get_an_answer_that_is_no_market_data(text: bytes) -> None:
    reply = answer(Subscriptions(parse_target("/ws", SPOT), limit=3), text)
    assert reply.keys() in ({"code", "msg"}, {"code", "msg", "id"}, {"result", "id"})


def test_subscribing_twice_changes_nothing(subscriptions: Subscriptions) -> None:
    request = {"method": "SUBSCRIBE", "params": ["a@trade"], "id": 1}
    assert answer(subscriptions, request) == {"result": None, "id": 1}
    assert subscriptions.names == ["a@trade", "b@trade"]


def test_unsubscribing_removes_only_what_is_named(subscriptions: Subscriptions) -> None:
    request = {"method": "UNSUBSCRIBE", "params": ["a@trade", "z@trade"], "id": 1}
    assert answer(subscriptions, request) == {"result": None, "id": 1}
    assert subscriptions.names == ["b@trade"]


def test_the_combined_property_can_be_changed(subscriptions: Subscriptions) -> None:
    request = {"method": "SET_PROPERTY", "params": ["combined", False], "id": 1}
    assert answer(subscriptions, request) == {"result": None, "id": 1}
    query = {"method": "GET_PROPERTY", "params": ["combined"], "id": 2}
    assert answer(subscriptions, query) == {"result": False, "id": 2}

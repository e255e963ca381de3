"""Symbols are checked against a saved exchangeInfo."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from latency_sweep.contract.exchange_info import ExchangeInfoError, check_listed
from latency_sweep.probe.options import settings_of
from latency_sweep.probe.settings import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

LISTED = [
    {"symbol": "BTCUSDT", "status": "TRADING"},
    {"symbol": "ETHUSDT", "status": "BREAK"},
    {"symbol": "BTCUSD_PERP", "contractStatus": "TRADING"},
    {"symbol": "BTCUSD_260327", "contractStatus": "PENDING_TRADING"},
    {"symbol": "币安人生USDT"},
]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "info.json"
    path.write_text(json.dumps({"timezone": "UTC", "symbols": LISTED}), encoding="utf-8")
    return path


def test_listed_symbols_pass(saved: Path) -> None:
    check_listed(saved, ["BTCUSDT", "BTCUSD_PERP", "币安人生USDT"])


@pytest.mark.parametrize(
    ("symbol", "says"),
    [
        ("BTCUSTD", "symbol BTCUSTD is none of the 5 in {}; the nearest name is BTCUSDT."),
        (
            "BTCUSDPERP",
            "symbol BTCUSDPERP is none of the 5 in {}; the nearest name is BTCUSD_PERP.",
        ),
        ("XYZ", "symbol XYZ is none of the 5 in {}."),
        ("ETHUSDT", "symbol ETHUSDT is listed in {} but not traded: its status is BREAK."),
        (
            "BTCUSD_260327",
            "symbol BTCUSD_260327 is listed in {} but not traded: its status is PENDING_TRADING.",
        ),
    ],
)
def test_others_are_named_with_the_nearest(saved: Path, symbol: str, says: str) -> None:
    with pytest.raises(ExchangeInfoError) as caught:
        check_listed(saved, ["BTCUSDT", symbol])
    assert str(caught.value) == says.format(saved)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"symbols":null}', '{"symbols":[1]}', '{"symbols":[{}]}', "[" * 10**5],
)
def test_what_is_no_exchange_info_is_said(tmp_path: Path, text: str) -> None:
    path = tmp_path / "info.json"
    path.write_text(text)
    with pytest.raises(ExchangeInfoError, match="is not an exchangeInfo"):
        check_listed(path, ["BTCUSDT"])


def test_a_file_without_symbols_or_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "info.json"
    with pytest.raises(ExchangeInfoError, match="cannot be read: No such file"):
        check_listed(path, [])
    path.write_text('{"symbols":[]}')
    with pytest.raises(ExchangeInfoError, match="lists no symbol"):
        check_listed(path, [])


def test_the_probe_takes_the_file(saved: Path) -> None:
    settings_of(["--symbols", "BTCUSDT", "--exchange-info", str(saved)], {})
    with pytest.raises(SettingsError, match="nearest name is BTCUSDT"):
        settings_of(["--symbols", "BTCUSTD"], {"PROBE_EXCHANGE_INFO": str(saved)})

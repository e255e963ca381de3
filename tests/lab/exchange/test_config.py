"""The configuration: defaults, round trip, and one sentence for every mistake."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from latency_sweep.lab.exchange.config import ConfigError, ExchangeConfig, load, parse
from latency_sweep.lab.exchange.markets.rules import ConnectionLimits
from latency_sweep.lab.exchange.markets.table import RULES

if TYPE_CHECKING:
    from pathlib import Path

    from latency_sweep.lab.exchange.config import MarketName

MINIMAL: dict[str, Any] = {"sites": {"tokyo": {}}, "symbols": {"BTCUSDT": {}}}


def test_a_yaml_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "exchange.yaml"
    path.write_text(
        "sites:\n"
        "  tokyo:\n"
        "    latency: {distribution: gamma, shape: 2, scale_ms: 1.5, floor_ms: 1}\n"
        "    level: {sigma: 0.1}\n"
        "symbols: {BTCUSDT: {trades_per_sec: 5}}\n"
    )
    config = load(path)
    assert config.sites["tokyo"].latency.distribution == "gamma"
    assert config.symbols["BTCUSDT"].trades_per_sec == 5


def test_a_configuration_survives_json(tmp_path: Path) -> None:
    document = MINIMAL | {"ground_truth_dir": "truth", "replay": {"file": "frames.gz", "limit": 3}}
    config = parse(document, source="test")
    path = tmp_path / "exchange.json"
    path.write_text(config.model_dump_json())
    assert load(path) == config


@pytest.mark.parametrize(
    ("market", "limits"),
    [
        ("spot", ConnectionLimits(5, 1024, 20, 60, 24 * 3600)),
        ("usdm", ConnectionLimits(10, 1024, 180, 600, 24 * 3600)),
        ("coinm", ConnectionLimits(10, 200, 180, 600, 24 * 3600)),
        ("sbe", ConnectionLimits(5, 1024, 20, 60, 24 * 3600)),
    ],
)
def test_defaults_are_binance_s_limits(market: MarketName, limits: ConnectionLimits) -> None:
    assert RULES[market].limits == limits


def test_a_limit_that_is_given_leaves_the_market_s_others() -> None:
    config = parse(MINIMAL | {"limits": {"streams": 7}}, source="test")
    limits = RULES["usdm"].limits.changed(config.limits)
    assert limits == ConnectionLimits(10, 7, 180, 600, 24 * 3600)


def test_a_market_may_trade_other_symbols() -> None:
    markets: dict[str, Any] = {"spot": {}, "usdm": {"symbols": {"ETHUSDT": {}}}}
    config = parse(MINIMAL | {"markets": markets}, source="test")
    assert [list(config.symbols_of(market)) for market in config.markets] == [
        ["BTCUSDT"],
        ["ETHUSDT"],
    ]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"sites": {}}, "test: sites: dictionary should have at least 1 item"),
        ({"sites": {"a/b": {}}}, "test: sites.a/b"),
        ({"site": {}}, "test: site: unknown key; remove it or correct its spelling."),
        ({"symbols": {}}, "test: file: name at least one of `symbols` or give `replay`."),
        ({"seed": "1"}, "test: seed: input should be a valid integer."),
        (
            {"sites": {"a": {"latency": {"distribution": "uniform", "low_ms": 2, "high_ms": 1}}}},
            "test: sites.a.latency.uniform: low_ms 2 must not exceed high_ms 1.",
        ),
        (
            {"symbols": {"BTCUSDT": {"trades_per_sec": 1e6}}},
            "test: symbols.BTCUSDT: 1e+06 trades_per_sec cannot be reached",
        ),
        ({"symbols": {"BTCUSDT": {"price": 0.001}}}, "symbols.BTCUSDT: price must exceed tick."),
        ({"sites": {"a": {"loss": {"trade": 2}}}}, "test: sites.a.loss.trade"),
        ({"markets": {}}, "test: markets: dictionary should have at least 1 item"),
        ({"markets": {"options": {}}}, "test: markets.options"),
        ({"markets": {"sbe": {}}}, "test: file: markets.sbe.api_keys: name at least one key."),
        ({"markets": {"sbe": {"api_keys": ["a b"]}}}, "test: markets.sbe.api_keys.0"),
        (
            {"markets": {"spot": {}, "usdm": {}}, "sites": {"a": {"port": 7000}}},
            "give each market its port, as in {spot: 7000, usdm: 7001}.",
        ),
        (
            {"markets": {"spot": {}, "usdm": {}}, "replay": {"file": "x"}},
            "test: file: replay.market: name one of spot, usdm.",
        ),
        (
            {"replay": {"file": "x", "market": "usdm"}},
            "test: file: replay.market: usdm is none of the `markets`.",
        ),
        (
            {"markets": {"sbe": {"api_keys": ["k"]}}, "replay": {"file": "x"}},
            "recordings are JSON; sbe cannot be replayed.",
        ),
    ],
)
def test_a_mistake_is_named_in_one_sentence(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(MINIMAL | change, source="test")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read: No such file"):
        load(tmp_path / "none.yaml")


@pytest.mark.parametrize("text", ["{", "\x00", "[1, 2]", "seed: 2026-02-30"])
def test_a_file_that_is_no_mapping_of_plain_values_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "exchange.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"exchange\.yaml: "):
        load(path)


def test_the_clock_s_error_is_given_in_nanoseconds() -> None:
    config = ExchangeConfig.model_validate(MINIMAL | {"clock_offset_ms": -1.5})
    assert config.clock_offset_ns == -1_500_000

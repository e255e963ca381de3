"""The experiment file is validated on load, and faults are named by their key."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from latency_sweep.contract import experiment
from latency_sweep.contract.experiment import ExperimentError

if TYPE_CHECKING:
    from pathlib import Path

SHIPPED = experiment.default_path().read_text(encoding="utf-8")


def parse_with(old: str, new: str) -> experiment.Experiment:
    assert SHIPPED.count(old) >= 1
    return experiment.parse(SHIPPED.replace(old, new, 1), source="x.yaml")


# The sweep as it was planned; whoever changes it changes what all published results mean.
PLANNED: dict[str, Any] = {
    "timing.warmup_sec": 300,
    "timing.measurement_sec": 3600,
    "timing.cooldown_sec": 60,
    "market_data.market": "spot",
    "market_data.symbols": ["BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT"],
    "market_data.streams": ["trade", "aggTrade", "depth@100ms", "bookTicker"],
    "regions": {
        "eu-west-1": {"name": "Ireland", "phase": 1},
        "eu-central-1": {"name": "Frankfurt", "phase": 1},
        "eu-west-2": {"name": "London", "phase": 1},
        "ap-southeast-1": {"name": "Singapore", "phase": 2},
        "me-central-1": {"name": "UAE", "phase": 2},
        "ap-northeast-1": {"name": "Tokyo", "phase": 2},
    },
    "instance_types": {
        "c6i.large": {"family": "compute", "architecture": "x86_64"},
        "c6in.large": {"family": "network", "architecture": "x86_64"},
        "c7gn.medium": {"family": "network_arm", "architecture": "arm64"},
        "r6i.large": {"family": "memory", "architecture": "x86_64"},
    },
    "time_strata": {
        "low": {"from": "06:00", "to": "08:00"},
        "high": {"from": "14:00", "to": "16:00"},
        "peak": {"from": "00:00", "to": "02:00"},
    },
    "histogram.classic_buckets": 50,
    "histogram.classic_min_sec": 1e-6,
    "histogram.classic_max_sec": 10.0,
    "decision.confidence": 0.95,
    "decision.min_runs": 3,
    "decision.outlier_cap_percentile": 99.99,
    "decision.constraints.p99_sec": 0.05,
    "decision.constraints.reconnects_per_hour": 1.0,
    "decision.constraints.loss_ratio": 0.0001,
    "decision.constraints.tail_ratio": 3.0,
    "decision.constraints.min_samples": 10_000,
    "decision.weights": {"p99": 0.7, "stability": 0.3},
    "decision.preferences": {"cost": 0.1, "redundancy": 0.05, "graviton": 0.05},
}


@pytest.mark.parametrize("key", PLANNED)
def test_the_shipped_experiment_is_as_planned(key: str) -> None:
    found: Any = experiment.load().model_dump(by_alias=True)
    for part in key.split("."):
        found = found[part]
    assert found == PLANNED[key]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("p99_sec: 0.050", "p99_sec: fast", "x.yaml: decision.constraints.p99_sec: .*'fast'"),
        ("p99_sec: 0.050", "p99_sec: -1", "x.yaml: decision.constraints.p99_sec: .*-1"),
        ("p99_sec: 0.050", "p99_sec: .inf", "x.yaml: decision.constraints.p99_sec: .*inf"),
        ("phase: 1}", "phase: one}", "x.yaml: regions.eu-west-1.phase: .*'one'"),
        ("warmup_sec: 300", "warmup_sec: 0.5", "x.yaml: timing.warmup_sec: .*0.5"),
        ("warmup_sec: 300", "warmup_sec: yes", "x.yaml: timing.warmup_sec: .*True"),
        ("confidence: 0.95", "confidance: 0.95", "x.yaml: decision.confidance: unknown key"),
        ("min_runs: 3", "", "x.yaml: decision.min_runs: field required"),
        ("p99: 0.7", "p99: 0.8", "x.yaml: decision.weights: p99 .* must be 1, not 1.1"),
        ("BTCUSDT,", "btcusdt,", "x.yaml: market_data.symbols.0: .*'btcusdt'"),
        ('"06:00"', '"6"', "x.yaml: time_strata.low.from: .*'6'"),
        ("wss://stream", "ftp://stream", "x.yaml: market_data.endpoint: "),
        ("version: 1", "version: 2", "x.yaml: version: input should be 1, got 2"),
        ("schema: 8", "schema: 9", "x.yaml: histogram.schema: .*got 9"),
    ],
)
def test_a_bad_value_is_named_by_its_key(old: str, new: str, expected: str) -> None:
    with pytest.raises(ExperimentError, match=expected):
        parse_with(old, new)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            "XRPUSDT]",
            "xrpusdt]",
            (
                "market_data.symbols.3: must be a symbol as Binance lists it, in capitals, like "
                "BTCUSDT or BTCUSD_PERP, got 'xrpusdt'."
            ),
        ),
        (
            "[trade, aggTrade",
            "[Trade!, aggTrade",
            (
                "market_data.streams.0: must be a stream's name without its symbol, like trade or "
                "depth@100ms, got 'Trade!'."
            ),
        ),
        (
            "symbols: [BTCUSDT, ETHUSDT, SOLUSDT, XRPUSDT]",
            "symbols: []",
            "market_data.symbols: must name at least one.",
        ),
        (
            "evidence_streams: [trade, depth]",
            "evidence_streams: [trad]",
            (
                "file: decision.evidence_streams has none of the streams that are measured; it has "
                "trad, market_data.streams has trade, aggTrade, depth@100ms, bookTicker."
            ),
        ),
        (
            "evidence_streams: [trade, depth]",
            'evidence_streams: ["trade|.*"]',
            (
                "decision.evidence_streams.0: must be a stream's name without its symbol, like "
                "trade or depth@100ms, got 'trade|.*'."
            ),
        ),
        (
            'peak: {from: "00:00", to: "02:00"}',
            'peak: {from: "02:00", to: "02:00"}',
            (
                "time_strata.peak: from 02:00 to 02:00 is empty; write the whole day as "
                "00:00 to 24:00."
            ),
        ),
        (
            'peak: {from: "00:00", to: "02:00"}',
            'peak: {from: "24:00", to: "02:00"}',
            "time_strata.peak.from: must be a UTC time of day from 00:00 to 23:59, got '24:00'.",
        ),
        (
            "classic_buckets: 50",
            "classic_buckets: 1000000",
            "histogram.classic_buckets: input should be less than or equal to 1000, got 1000000.",
        ),
        (
            "classic_max_sec: 10",
            "classic_max_sec: 1.0e-6",
            "histogram: classic_max_sec 1e-06 must be at least twice classic_min_sec 1e-06.",
        ),
        (
            "scrape_interval_sec: 15",
            "scrape_interval_sec: 15\n  random_blocks: {per_day: 24, seed: 1, most: 44}",
            (
                "timing: a block of 3960 s (warmup_sec + measurement_sec + cooldown_sec) does not "
                "fit into a band of 3600 s; shorten it or lower random_blocks.per_day."
            ),
        ),
        (
            "scrape_interval_sec: 15",
            "scrape_interval_sec: 15\n  random_blocks: {per_day: 6, seed: 1, most: 4}",
            ("timing.random_blocks.most: input should be greater than or equal to 8, got 4."),
        ),
        (
            "measurement_sec: 3600",
            "measurement_sec: 99999999999999999999",
            (
                "timing.measurement_sec: input should be less than or equal to 604800, "
                "got 99999999999999999999."
            ),
        ),
        (
            "measurement_sec: 3600",
            f"measurement_sec: 0x{'f' * 5000}",
            (
                "timing.measurement_sec: input should be less than or equal to 604800, "
                "got a number of thousands of digits."
            ),
        ),
        (
            "name: binance-latency-sweep",
            "name: my sweep",
            (
                "name: must be 1 to 63 letters, digits, dots, hyphens and underscores, of which "
                "the first is a letter or a digit, got 'my sweep'."
            ),
        ),
    ],
)
def test_a_value_that_cannot_work_is_said_in_one_whole_sentence(
    old: str, new: str, sentence: str
) -> None:
    with pytest.raises(ExperimentError) as caught:
        parse_with(old, new)
    assert str(caught.value) == f"x.yaml: {sentence}"


def test_a_long_value_is_quoted_in_part() -> None:
    with pytest.raises(ExperimentError) as caught:
        parse_with("name: binance-latency-sweep", f"name: {'x' * 10_000}")
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("name", ["trade", "depth", "depth@100ms"])
def test_one_measured_stream_is_enough_evidence(name: str) -> None:
    decision = parse_with("[trade, depth]", f"[{name}, bestBidAsk]").decision
    assert decision.evidence_streams == [name, "bestBidAsk"]


@pytest.mark.parametrize(
    "endpoint",
    [
        "wss://stream.binance.com:9443",
        "wss://data-stream.binance.vision",
        "ws://[::1]:9443/ws",
        "ws://127.0.0.1:1",
        "wss://localhost:65535/",
    ],
)
def test_endpoints_that_can_be_connected_to(endpoint: str) -> None:
    chosen = parse_with("endpoint: wss://stream.binance.com:9443", f'endpoint: "{endpoint}"')
    assert chosen.market_data.endpoint == endpoint


@pytest.mark.parametrize("place", ["endpoint", "time_endpoint"])
@pytest.mark.parametrize(
    ("authority", "fault"),
    [
        ("h:0", "must have a port of 1 to 65535, or none"),
        ("h:65536", "must have a port of 1 to 65535, or none"),
        ("h:port", "must have a port of 1 to 65535, or none"),
        ("h:-1", "must have a port of 1 to 65535, or none"),
        ("[::1", "with a host that can be looked up"),
        ("[::zz]", "with a host that can be looked up"),
        ("a..b", "with a host that can be looked up"),
        ("x" * 64, "with a host that can be looked up"),
        (":9443", "must be a URL like"),
        ("", "must be a URL like"),
    ],
)
def test_an_endpoint_that_nothing_can_connect_to_is_refused(
    place: str, authority: str, fault: str
) -> None:
    scheme = {"endpoint": "wss", "time_endpoint": "https"}[place]
    document = yaml.safe_load(SHIPPED)
    document["market_data"][place] = f"{scheme}://{authority}"
    with pytest.raises(ExperimentError, match=rf"^x\.yaml: market_data\.{place}: .*{fault}"):
        experiment.parse(yaml.safe_dump(document), source="x.yaml")


@pytest.mark.parametrize(
    "endpoint", ["wss://h/stream?streams=x", "wss://h/#x", "wss://key@h", "https://h", "WSS://h"]
)
def test_an_endpoint_is_a_websocket_base_url(endpoint: str) -> None:
    with pytest.raises(ExperimentError, match=r"must be a URL like wss://stream.binance.com:9443"):
        parse_with("endpoint: wss://stream.binance.com:9443", f'endpoint: "{endpoint}"')


@pytest.mark.parametrize("text", ["a: [", "\t- x", "a: b: c", "{", "&a [*a]", "!!python/none x"])
def test_malformed_yaml_is_one_sentence_with_the_file(text: str) -> None:
    with pytest.raises(ExperimentError, match=r"^x\.yaml"):
        experiment.parse(text, source="x.yaml")


@pytest.mark.parametrize("text", ["", "3", "- a", "null"])
def test_anything_but_a_mapping_is_refused(text: str) -> None:
    with pytest.raises(ExperimentError, match="expected a mapping"):
        experiment.parse(text, source="x.yaml")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=r"gone\.yaml: cannot be read: No such file"):
        experiment.load(tmp_path / "gone.yaml")


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "binary.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ExperimentError, match=r"binary\.yaml: is not UTF-8"):
        experiment.load(path)


@pytest.mark.parametrize(
    ("clock", "expected"),
    [
        ("05:59:59", None),
        ("06:00:00", "low"),
        ("07:59:59", "low"),
        ("08:00:00", None),
        ("00:00:00", "peak"),
        ("15:00:00", "high"),
    ],
)
def test_stratum_of_a_moment(clock: str, expected: str | None) -> None:
    moment = datetime.fromisoformat(f"2026-01-02T{clock}").replace(tzinfo=UTC)
    assert experiment.load().stratum_of(moment) == expected


def test_a_stratum_may_pass_midnight() -> None:
    night = parse_with('peak: {from: "00:00", to: "02:00"}', 'peak: {from: "23:00", to: "01:00"}')
    for hour, expected in ((22, None), (23, "peak"), (0, "peak"), (1, None)):
        assert night.stratum_of(datetime(2026, 1, 2, hour, 30, tzinfo=UTC)) == expected

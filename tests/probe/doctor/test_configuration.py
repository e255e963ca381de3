"""Settings as the doctor sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from latency_sweep.probe.doctor.configuration import check_configuration
from latency_sweep.probe.options import settings_of
from latency_sweep.runtime.check_result import CheckStatus

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from latency_sweep.probe.settings import Settings


def given(*flags: str) -> Callable[[], Settings]:
    return lambda: settings_of(flags, {})


def test_settings_that_make_a_feed_pass() -> None:
    flags = given("--symbols", "BTCUSDT", "--streams", "trade", "--endpoint", "ws://127.0.0.1:1")
    result, configuration = check_configuration(flags)
    assert result.status is CheckStatus.PASS
    assert result.found.endswith("spot, 1 channel")
    assert configuration is not None
    assert configuration.url.startswith("ws://127.0.0.1:1/")


def test_channels_of_all_feeds_count() -> None:
    flags = given("--market", "usdm", "--symbols", "BTCUSDT", "--streams", "trade,bookTicker")
    result, _ = check_configuration(flags)
    assert (result.status, result.found[-16:]) == (CheckStatus.PASS, "usdm, 2 channels")


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--warmup-sec", "0"], "--warmup-sec"),
        (["--metrics-port", "70000"], "70000"),
        (["--endpoint", "ws://127.0.0.1:99999"], "must have a port of 1 to 65535"),
        (["--streams", "nosuchstream"], "nosuchstream"),
        (["--config", "/nonexistent.yaml"], "/nonexistent.yaml"),
    ],
)
def test_settings_that_make_none_fail_with_the_reason(flags: list[str], reason: str) -> None:
    result, configuration = check_configuration(given(*flags))
    assert (result.status, configuration) == (CheckStatus.FAIL, None)
    assert reason in result.found


def test_a_missing_authority_fails(tmp_path: Path) -> None:
    result, configuration = check_configuration(given("--ca-file", str(tmp_path / "none.pem")))
    assert (result.status, configuration) == (CheckStatus.FAIL, None)
    assert "--ca-file" in result.found

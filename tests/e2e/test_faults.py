"""Every fault of the laboratory once, all at the same time, each against a probe of its own.

The probes are real ones in two processes; what is expected of each is read from one Prometheus.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pytest

from latency_sweep.lab.exchange.ground_truth.reader import read_ground_truth
from latency_sweep.lab.faults import laboratory
from latency_sweep.lab.faults.probes import in_two_processes
from latency_sweep.lab.faults.registry import FAULTS
from latency_sweep.lab.faults.scraper import LABEL, Scraper, running_scraper

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pandas as pd

    from latency_sweep.lab.binaries.prometheus_binary import Binaries
    from latency_sweep.lab.faults.laboratory import FaultResult

pytestmark = [pytest.mark.e2e, pytest.mark.alone, pytest.mark.timeout(400)]

# As long as the probe waits in earnest, nobody should wait for a test.
# Longer than the longest fault that is not silence.
WAITS = {"STALL_TIMEOUT_SEC": 10.0, "FIRST_MESSAGE_TIMEOUT_SEC": 10.0}
EARLIER = "[10m]"  # the probes have ended since
EXACT = "trade"
WIRE = "btcusdt@trade"
LOWER_BOUND = "depth@100ms"
LOSSLESS = [name for name, entry in FAULTS.items() if entry.lossless]


@dataclass(frozen=True)
class Aftermath:
    outcomes: dict[str, FaultResult]
    scraper: Scraper
    folder: Path

    def ground_truth(self, fault: str) -> pd.DataFrame:
        return read_ground_truth(self.folder / "ground_truth" / f"{fault}.truth")

    def value(self, fault: str, expression: str) -> float:
        return self.scraper.query(expression)[fault]


@pytest.fixture(scope="module")
def after(
    prometheus_binaries: Binaries, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Aftermath]:
    folder = tmp_path_factory.mktemp("faults")
    start = partial(in_two_processes, waits=WAITS)
    with running_scraper(prometheus_binaries, folder / "prometheus", 5) as scraper:
        outcomes = asyncio.run(laboratory.run(FAULTS, folder / "laboratory", scraper, start))
        yield Aftermath(outcomes, scraper, folder / "laboratory")


@pytest.mark.parametrize("fault", FAULTS)
def test_the_probe_survives_and_messages_come_again(fault: str, after: Aftermath) -> None:
    outcome = after.outcomes[fault]
    assert outcome.survived
    assert outcome.recovered_sec is not None


@pytest.mark.parametrize("fault", FAULTS)
def test_the_accounts_close_exactly(fault: str, after: Aftermath) -> None:
    account = after.outcomes[fault].accounts[EXACT]
    assert account.sent > account.in_flight
    assert account.unaccounted == 0, account


@pytest.mark.parametrize("fault", FAULTS)
def test_depth_counts_a_lower_bound_of_what_is_missing(fault: str, after: Aftermath) -> None:
    account = after.outcomes[fault].accounts[LOWER_BOUND]
    assert min(1, account.missing) <= account.lost <= account.missing, account


@pytest.mark.parametrize("fault", LOSSLESS)
def test_nothing_is_lost_that_only_came_late_twice_or_in_pieces(
    fault: str, after: Aftermath
) -> None:
    assert after.outcomes[fault].accounts[EXACT].lost == 0


@pytest.mark.parametrize("fault", [name for name, entry in FAULTS.items() if entry.shows])
def test_the_fault_shows_under_its_name(fault: str, after: Aftermath) -> None:
    shown = after.outcomes[fault].shown
    assert all(value > 0 for value in shown.values()), shown


def test_the_time_without_a_connection_is_measured(after: Aftermath) -> None:
    outcome = after.outcomes["refuse"]
    window_sec = (outcome.over_ns - outcome.began_ns) / 1e9
    # From when the probe saw it: it shares a process with all the others, struck at once.
    assert outcome.disconnected_sec >= window_sec / 2
    assert after.outcomes["stall"].disconnected_sec == 0


def test_messages_late_by_a_stall_are_recorded_late(after: Aftermath) -> None:
    """No coordinated omission: the histogram holds every message of the stall, with its age."""
    outcome = after.outcomes["stall"]
    sent = after.ground_truth("stall")
    trades = sent[(sent["stream"] == WIRE) & (sent["outcome"] == "sent")]
    withheld = trades[trades["send_ns"].between(outcome.began_ns, outcome.over_ns)]
    ages_sec = (outcome.over_ns - withheld["event_ns"]) / 1e9
    latency = f'last_over_time(feed_latency_seconds{{fault="stall",stream="{EXACT}"}}{EARLIER})'
    # A second is the bound of a bucket, so the fraction is exact.
    late = f"histogram_count({latency}) * histogram_fraction(1, +Inf, {latency})"
    assert round(after.value("stall", late)) >= (ages_sec > 1.2).sum() > 0
    assert after.value("stall", f"histogram_quantile(1, {latency})") > ages_sec.max() - 1.0


def test_silence_shows_as_the_age_of_the_newest_message(after: Aftermath) -> None:
    outcome = after.outcomes["stall"]
    age = "timestamp(feed_last_message_timestamp_seconds) - feed_last_message_timestamp_seconds"
    # Of the stall alone: when the exchange has ended, every probe is silent.
    during = f"[{(outcome.over_ns - outcome.began_ns) // 10**6}ms:100ms] @ {outcome.over_ns / 1e9}"
    oldest = f"max by ({LABEL}) (max_over_time(({age}){during}))"
    # A scrape every three seconds begins after the first of the six, and ends within them.
    assert after.value("stall", oldest) > 1.0

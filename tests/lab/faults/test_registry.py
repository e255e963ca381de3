"""The table holds every fault there should be, and each says what it does."""

from __future__ import annotations

import re

import pytest

from latency_sweep.contract import metrics
from latency_sweep.lab.faults.dns import DnsServer
from latency_sweep.lab.faults.fault import Fault
from latency_sweep.lab.faults.registry import FAULTS, FaultContext

CLOSES = [*range(1000, 1004), *range(1007, 1015), 3000, 4000, 4999]
WANTED = [
    "refuse",
    "reset",
    "reset-with-data",
    "end-with-data",
    "half-close",
    "ping-flood",
    "continuation-flood",
    "half-open",
    "stall",
    "stream-stall",
    "quiet",
    "delay",
    "throttle",
    "cut-mid-frame",
    "single-bytes",
    "join",
    "fragments",
    "oversize",
    "wrong-mask",
    "bad-utf8",
    "http-401",
    "http-403",
    "http-429",
    "http-418",
    "http-451",
    "http-503",
    "upgrade-not-http",
    "tls-expired",
    "tls-wrong-name",
    "dns-unknown-name",
    "dns-change",
    "tls-slow",
    "age-limit",
    "server-shutdown",
    "no-pings",
    "wrong-route",
    "gaps",
    "duplicates",
    "reordering",
    "renumbered",
    "wrong-ids",
    "future-minutes",
    "clock-steps",
]


@pytest.mark.parametrize("name", [*WANTED, *(f"close-{code}" for code in CLOSES)])
def test_a_fault_that_real_clients_meet_is_in_the_table(name: str) -> None:
    assert name in FAULTS


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_can_be_made_and_says_what_it_does(name: str) -> None:
    dns = DnsServer()
    dns.answers["here.test"] = "127.0.0.1"
    entry = FAULTS[name]
    assert isinstance(entry.make(FaultContext(dns, "here.test")), Fault)
    assert entry.description
    assert entry.window_sec > 0


@pytest.mark.parametrize("name", [name for name, entry in FAULTS.items() if entry.shows])
def test_a_fault_shows_in_metrics_that_exist(name: str) -> None:
    known = {metric.name for metric in metrics.ALL}
    for selector in FAULTS[name].shows:
        assert re.split(r"[{ ]", selector)[0] in known

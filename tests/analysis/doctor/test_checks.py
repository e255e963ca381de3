"""Each check of `analyze doctor`: what is found, and that the fix is named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from latency_sweep.analysis.doctor.checks import run_checks
from latency_sweep.analysis.doctor.facts import LoadedRule, Scrapes, ScrapeTarget, ServerFacts
from latency_sweep.analysis.evidence.attribution import (
    AttributedProbe,
    ProbeAttribution,
    SourceGroup,
)
from latency_sweep.analysis.evidence.label_names import LabelNames
from latency_sweep.analysis.evidence.sources import Source, SourceQuery
from latency_sweep.contract import experiment
from latency_sweep.contract.program import program_version
from latency_sweep.contract.targets import Target
from latency_sweep.runtime.check_result import CheckResult, CheckStatus

TOKYO = Target("10.0.0.1:9101", "ap-northeast-1", "apne1-az4", "c6in.large")
QUERY = SourceQuery("sweep", "spot", LabelNames())
UNLABELLED = replace(QUERY, labelled=False)
LABELS = {**TOKYO._asdict(), "experiment": "sweep", "job": "binance"}
SOURCE = Source(frozenset(LABELS.items()), 9, {"version": frozenset({program_version()})})
GOOD = ServerFacts(
    url="http://prometheus:9090",
    version="3.13.1",
    ahead_sec=0.01,
    behind_probe_sec=-0.3,
    retention="15d",
    rules=(LoadedRule("candidate:x:y"), LoadedRule("FeedScrapeFailing")),
    targets=(ScrapeTarget(LABELS, "up"),),
    experiment=QUERY,
    probes=ProbeAttribution((SourceGroup(QUERY),), (AttributedProbe(TOKYO, (SOURCE,), ()),)),
    scrapes=(Scrapes(TOKYO.instance, LABELS, 15.0, 0.0, up=True),),
    native=True,
    first_run_age_sec=3600.0,
)
NO_PROBES = replace(
    GOOD, experiment="http://prometheus:9090 holds no probe's metrics.", probes=None, scrapes=()
)


def checked(facts: ServerFacts) -> dict[str, CheckResult]:
    return {result.name: result for result in run_checks(facts, experiment.load())}


def scrapes(**changes: Any) -> dict[str, Any]:
    return {"scrapes": (replace(GOOD.scrapes[0], **changes),)}


def test_a_fit_server_passes_every_check() -> None:
    assert {result.status for result in checked(GOOD).values()} == {CheckStatus.PASS}


def test_a_server_without_probes_has_the_same_checks() -> None:
    results = checked(NO_PROBES)
    assert results.keys() == checked(GOOD).keys()
    assert results["experiment"].status is CheckStatus.FAIL
    assert results["attribution"].status is CheckStatus.SKIP


@pytest.mark.parametrize(
    ("name", "changes", "status", "found", "action"),
    [
        ("server", {"version": "2.53.0"}, "FAIL", "2.53.0", "Upgrade"),
        ("server", {"version": None}, "SKIP", "does not tell", ""),
        ("clock", {"ahead_sec": -3.0}, "WARN", "3 s behind this machine's", "chrony"),
        ("clock", {"behind_probe_sec": 5.0}, "FAIL", "5 s behind a probe's", "chrony"),
        (
            "experiment",
            {"experiment": UNLABELLED},
            "WARN",
            "sweep, as",
            "label",
        ),
        ("native histograms", {"native": False}, "WARN", "no latency at", "Wait"),
        (
            "native histograms",
            {"native": False, "classic": True},
            "FAIL",
            "only classic buckets",
            "scrape_native_histograms: true",
        ),
        (
            "native histograms",
            {"native": False, "classic": True, "version": "3.5.0"},
            "FAIL",
            "only classic buckets",
            "--enable-feature=native-histograms",
        ),
        ("probes", scrapes(up=False), "FAIL", "10.0.0.1:9101 cannot be scraped", "Check address"),
        ("probes", scrapes(instance="other"), "WARN", "10.0.0.1:9101 is no longer", "Put it back"),
        ("scrape interval", scrapes(interval_sec=30.0), "FAIL", "30 s for", "scrape_interval: 15s"),
        ("scrape interval", scrapes(interval_sec=5.0), "WARN", "5 s for", "scrape_interval_sec"),
        ("scrape interval", scrapes(interval_sec=None), "SKIP", "too few", ""),
        ("scrape failures", scrapes(failed=0.02), "WARN", "up to 2%", "targets"),
        ("scrape failures", scrapes(failed=0.2), "FAIL", "up to 20%", "targets"),
        ("labels", {"displaced": ("market",)}, "FAIL", "market is set by", "Rename"),
        ("retention", {"retention": "1h"}, "FAIL", "60 min", "retention.time"),
        ("retention", {"retention": "1GiB"}, "SKIP", "does not tell", ""),
        (
            "retention",
            {"retention": "2d12h or 10GiB", "first_run_age_sec": 200_000.0},
            "WARN",
            "2.5 days, and the first run is 2.31 days old",
            "analyze export",
        ),
        ("rules", {"rules": None}, "SKIP", "does not list", ""),
        ("rules", {"rules": ()}, "WARN", "feed.yml and alerts.yml not loaded", "rule_files"),
        (
            "rules",
            {"rules": (LoadedRule("FeedScrapeFailing", "err", "many-to-many"),)},
            "WARN",
            "FeedScrapeFailing fails (many-to-many)",
            "duplicate",
        ),
    ],
)
def test_what_is_wrong_is_found_with_its_fix(
    name: str, changes: dict[str, Any], status: str, found: str, action: str
) -> None:
    result = checked(replace(GOOD, **changes))[name]
    assert (result.status, found in result.found) == (CheckStatus(status), True), result
    assert action in result.action
    assert bool(result.action) == (status in {"WARN", "FAIL"})


def test_why_a_target_is_down_is_told() -> None:
    down = (ScrapeTarget(LABELS, "down", "connection refused"),)
    for facts in (replace(GOOD, **scrapes(up=False)), NO_PROBES):
        result = checked(replace(facts, targets=down))["probes"]
        assert result.status is CheckStatus.FAIL
        assert result.found == "10.0.0.1:9101 cannot be scraped (connection refused)"


@pytest.mark.parametrize(
    ("versions", "status", "found"),
    [
        ({"0.0.1"}, "WARN", "0.0.1 on 10.0.0.1:9101"),
        (set(), "WARN", "the probes do not tell theirs"),
    ],
)
def test_a_probe_of_another_version_is_named(versions: set[str], status: str, found: str) -> None:
    source = replace(SOURCE, own={"version": frozenset(versions)} if versions else {})
    probes = ProbeAttribution((SourceGroup(QUERY),), (AttributedProbe(TOKYO, (source,), ()),))
    result = checked(replace(GOOD, probes=probes))["probe versions"]
    assert (result.status, result.found) == (CheckStatus(status), found)


def test_a_place_that_is_not_known_fails_with_the_label_to_add() -> None:
    lost = [
        AttributedProbe(Target(f"10.0.0.{n}:9101", *["unknown"] * 3), (SOURCE,), ()) for n in (1, 2)
    ]
    probes = ProbeAttribution((SourceGroup(QUERY),), tuple(lost))
    result = checked(replace(GOOD, probes=probes))["attribution"]
    assert result.status is CheckStatus.FAIL
    assert result.found.startswith("10.0.0.1:9101 and 10.0.0.2:9101 cannot be told apart")
    assert "target_label: region" in result.action

"""Whether a Prometheus is fit to hold the evidence of a sweep, check by check."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from latency_sweep.analysis.doctor.facts import PROBES_SEC, SCRAPES_SEC
from latency_sweep.analysis.evidence.attribution import listing
from latency_sweep.analysis.evidence.places import AttributionError, dimensions
from latency_sweep.analysis.evidence.sources import SourceQuery
from latency_sweep.contract.program import program_version
from latency_sweep.contract.targets import UNKNOWN
from latency_sweep.contract.usable_runs import MIN_COVERAGE
from latency_sweep.runtime.check_result import CheckResult, CheckStatus, duration, plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from latency_sweep.analysis.doctor.facts import Scrapes, ServerFacts
    from latency_sweep.contract.experiment import Experiment

# The first long-term release with stable native histograms, and the one from which on a
# configuration key enables them.
_MINIMUM: Final = (3, 5)
_BY_CONFIG: Final = (3, 9)
_CLOCK_SEC: Final = 2.0
# A scrape is stamped when it begins; a probe may receive something before it answers.
_BEHIND_SEC: Final = 1.0
_INTERVAL_RATIO: Final = 1.2
_NEARLY_OVER: Final = 0.8
_UNITS_SEC: Final = {"ms": 1e-3, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_UNITS_SEC["y"] = 365 * 86_400
_NUMBERS: Final = re.compile(r"\d+")
_REACH: Final = "Check address, port, TLS and token of the job, and that the probe runs."
_NO_EXPERIMENT: Final = "no probes are known"


def run_checks(
    facts: ServerFacts, experiment: Experiment, by: tuple[str, ...] = ()
) -> list[CheckResult]:
    """All checks, in the order in which their results are read.

    Args:
        facts: what the server said.
        experiment: what it should hold.
        by: dimensions of a candidate that were asked for; empty for all that are known.
    """
    results = [_version(facts), _clock(facts)]
    if facts.probes is None or not isinstance(facts.experiment, SourceQuery):
        action = "Start the probes, and let this server scrape them (docs/existing-prometheus.md)."
        found = str(facts.experiment).rstrip(".")
        return [
            *results,
            CheckResult("experiment", CheckStatus.FAIL, found, "probes", action),
            _targets(facts),
            *(
                CheckResult(name, CheckStatus.SKIP, _NO_EXPERIMENT, "")
                for name in (
                    *("native histograms", "scrape interval", "scrape failures", "labels"),
                    *("attribution", "duplicate series", "probe versions"),
                )
            ),
            _retention(facts, experiment),
            _rules(facts),
        ]
    return [
        *results,
        _experiment(facts, facts.experiment),
        _native(facts),
        _probes(facts),
        _interval(facts, experiment.timing.scrape_interval_sec),
        _failures(facts),
        _labels(facts),
        _attribution(facts, facts.experiment, by),
        _duplicates(facts),
        _probe_versions(facts),
        _retention(facts, experiment),
        _rules(facts),
    ]


def _version(facts: ServerFacts) -> CheckResult:
    name, expected = "server", f"≥ {_dotted(_MINIMUM)}"
    if facts.version is None:
        found = "answers queries, but does not tell its version"
        return CheckResult(name, CheckStatus.SKIP, found, expected)
    if _numbers(facts.version) >= _MINIMUM:
        return CheckResult(name, CheckStatus.PASS, facts.version, expected)
    action = "Upgrade it: native histograms are not stable before."
    return CheckResult(name, CheckStatus.FAIL, facts.version, expected, action)


def _clock(facts: ServerFacts) -> CheckResult:
    name, expected = "clock", f"within {_CLOCK_SEC:g} s"
    behind = facts.behind_probe_sec
    if behind is not None and behind > _BEHIND_SEC:
        found = f"{duration(behind)} behind a probe's newest message"
        action = "Synchronise the server's clock (chrony): runs would be read too early."
        return CheckResult(name, CheckStatus.FAIL, found, expected, action)
    side = "ahead of" if facts.ahead_sec >= 0 else "behind"
    found = f"{duration(abs(facts.ahead_sec))} {side} this machine's"
    if abs(facts.ahead_sec) <= _CLOCK_SEC:
        return CheckResult(name, CheckStatus.PASS, found, expected)
    action = "Synchronise the clocks of the server and of this machine (chrony)."
    return CheckResult(name, CheckStatus.WARN, found, expected, action)


def _experiment(facts: ServerFacts, query: SourceQuery) -> CheckResult:
    name, expected = "experiment", f"label {query.names.experiment}"
    if not query.labelled:
        return CheckResult(
            name,
            CheckStatus.WARN,
            f"{query.experiment}, as the probes say themselves",
            expected,
            f"Add the label {query.names.experiment} to the targets: dashboards and rules need it.",
        )
    probes = facts.probes.probes if facts.probes else ()
    other = [
        (probe.target.instance, said)
        for probe in probes
        for source in probe.sources[:1]
        for said in sorted(source.own.get("experiment", frozenset({query.experiment})))
        if said != query.experiment
    ]
    if other:
        names = listing(instance for instance, _ in other)
        return CheckResult(
            name,
            CheckStatus.WARN,
            f"{query.experiment}; the probe on {names} says {other[0][1]}",
            expected,
            "Check that this probe measures the same experiment, with the same timing.",
        )
    return CheckResult(name, CheckStatus.PASS, query.experiment, expected)


def _native(facts: ServerFacts) -> CheckResult:
    name, expected = "native histograms", "native latency"
    if facts.native:
        return CheckResult(name, CheckStatus.PASS, "feed_latency_seconds is native", expected)
    if not facts.classic:
        found = "no latency at the moment"
        action = "Wait until a run is measured, then ask again."
        return CheckResult(name, CheckStatus.WARN, found, expected, action)
    by_config = facts.version is None or _numbers(facts.version) >= _BY_CONFIG
    switch = (
        "scrape_native_histograms: true in the job or under global"
        if by_config
        else "--enable-feature=native-histograms on its command line"
    )
    found = "only classic buckets, too coarse to decide on"
    return CheckResult(name, CheckStatus.FAIL, found, expected, f"Set {switch}.")


def _probes(facts: ServerFacts) -> CheckResult:
    name, expected = "probes", "all scraped"
    assert facts.probes is not None
    assert isinstance(facts.experiment, SourceQuery)
    instance = facts.experiment.names.instance
    down = {s.instance: s.labels for s in facts.scrapes if not s.up}
    up = {s.instance for s in facts.scrapes if s.up}
    gone = {
        probe.target.instance
        for probe in facts.probes.probes
        if not {source.label(instance) for source in probe.sources} & (up | down.keys())
    }
    if down:
        why = _last_error(facts, next(iter(down.values())))
        found = f"{listing(sorted(down))} cannot be scraped{why}"
        return CheckResult(name, CheckStatus.FAIL, found, expected, _REACH)
    if gone and facts.scrapes:
        found = f"{listing(sorted(gone))} is no longer a target"
        action = "Put it back into the configuration or discovery, unless it was meant to stop."
        return CheckResult(name, CheckStatus.WARN, found, expected, action)
    if not facts.probes.probes:
        found = f"none in the last {_days(PROBES_SEC)}"
        action = "Start the probes; what was measured before can still be analyzed."
        return CheckResult(name, CheckStatus.WARN, found, expected, action)
    found = f"{plural(len(facts.probes.probes), 'probe')} up"
    return CheckResult(name, CheckStatus.PASS, found, expected)


def _targets(facts: ServerFacts) -> CheckResult:
    """Where no probe is known yet: what the server cannot scrape."""
    name, expected = "probes", "all scraped"
    down = [target for target in facts.targets or () if target.health == "down"]
    if not down:
        return CheckResult(name, CheckStatus.SKIP, _NO_EXPERIMENT, expected)
    names = listing(target.labels.get("instance", "a target") for target in down)
    found = f"{names} cannot be scraped ({down[0].lastError})"
    return CheckResult(name, CheckStatus.FAIL, found, expected, _REACH)


def _last_error(facts: ServerFacts, labels: Mapping[str, str]) -> str:
    for target in facts.targets or ():
        if target.labels == labels and target.lastError:
            return f" ({target.lastError})"
    return ""


def _interval(facts: ServerFacts, wanted_sec: float) -> CheckResult:
    name, expected = "scrape interval", f"{wanted_sec:g} s"
    known = {s.instance: s.interval_sec for s in facts.scrapes if s.interval_sec is not None}
    if not known:
        return CheckResult(name, CheckStatus.SKIP, "too few scrapes so far", expected)
    slow = {one: sec for one, sec in known.items() if wanted_sec < MIN_COVERAGE * sec}
    fast = {one: sec for one, sec in known.items() if wanted_sec > _INTERVAL_RATIO * sec}
    odd = slow or fast
    if not odd:
        return CheckResult(name, CheckStatus.PASS, _range(known.values()), expected)
    found = f"{_range(odd.values())} for {listing(sorted(odd))}"
    if slow:
        action = (
            f"Set scrape_interval: {wanted_sec:g}s in the job of the probes; runs with fewer "
            "scrapes are excluded."
        )
        return CheckResult(name, CheckStatus.FAIL, found, expected, action)
    action = (
        "Set scrape_interval_sec of the experiment file to that, or the job to the experiment's: "
        "coverage and hours are overstated."
    )
    return CheckResult(name, CheckStatus.WARN, found, expected, action)


def _failures(facts: ServerFacts) -> CheckResult:
    name, expected = "scrape failures", f"none in {_days(SCRAPES_SEC)}"
    failed = {s.instance: s for s in facts.scrapes if s.failed > 0}
    if not failed:
        status = CheckStatus.PASS if facts.scrapes else CheckStatus.SKIP
        return CheckResult(name, status, "none" if facts.scrapes else "no scrapes", expected)
    most = max(scrapes.failed for scrapes in failed.values())
    worst: Scrapes = max(failed.values(), key=lambda scrapes: scrapes.failed)
    found = f"up to {most:.0%} of the scrapes of {listing(sorted(failed))}"
    action = f"See why on the server's page of targets{_last_error(facts, worst.labels)}."
    bad = most > 1 - MIN_COVERAGE
    return CheckResult(name, CheckStatus.FAIL if bad else CheckStatus.WARN, found, expected, action)


def _labels(facts: ServerFacts) -> CheckResult:
    name, expected = "labels", "none hidden"
    if not facts.displaced:
        return CheckResult(name, CheckStatus.PASS, "none is hidden", expected)
    hidden = ", ".join(facts.displaced)
    action = f"Rename the target label {hidden}: the probe's own is kept as exported_… only."
    found = f"{hidden} is set by a target label"
    return CheckResult(name, CheckStatus.FAIL, found, expected, action)


def _attribution(facts: ServerFacts, query: SourceQuery, by: tuple[str, ...]) -> CheckResult:
    name, expected = "attribution", "a place for each"
    assert facts.probes is not None
    probes = facts.probes.probes
    if not probes:
        return CheckResult(name, CheckStatus.SKIP, _NO_EXPERIMENT, expected)
    try:
        known = dimensions((p.target for p in probes), probes, by, query.names)
    except AttributionError as error:
        fault, _, action = str(error).rstrip(".").rpartition("; ")
        return CheckResult(name, CheckStatus.FAIL, fault, expected, f"{_capital(action)}.")
    if known.notes:
        note = known.notes[0].rstrip(".")
        action = "Add the labels, or start the probes with these options, to tell more apart."
        return CheckResult(name, CheckStatus.WARN, note, expected, action)
    if all(UNKNOWN in p.target for p in probes):
        action = "Label the target, or start the probe with --region, --az-id and --instance-type."
        found = f"the place of {listing(p.target.instance for p in probes)} is not known in full"
        return CheckResult(name, CheckStatus.WARN, found, expected, action)
    places = {tuple(getattr(p.target, label) for label in known.by) for p in probes}
    found = f"{plural(len(probes), 'probe')}, {plural(len(places), 'candidate')}"
    return CheckResult(name, CheckStatus.PASS, found, expected)


def _duplicates(facts: ServerFacts) -> CheckResult:
    name, expected = "duplicate series", "none"
    assert facts.probes is not None
    if not facts.probes.notes:
        return CheckResult(name, CheckStatus.PASS, "none", expected)
    action = (
        "analyze and sweep watch count each probe once; dashboards and rules add them up, unless "
        "the label is dropped or one job is removed."
    )
    found = " ".join(facts.probes.notes).rstrip(".")
    return CheckResult(name, CheckStatus.WARN, found, expected, action)


def _probe_versions(facts: ServerFacts) -> CheckResult:
    own = program_version()
    name, expected = "probe versions", own
    assert facts.probes is not None
    versions: dict[str, list[str]] = {}
    for probe in facts.probes.probes:
        for version in sorted({v for s in probe.sources for v in s.own.get("version", ())}):
            versions.setdefault(version, []).append(probe.target.instance)
    if not versions:
        found = "the probes do not tell theirs"
        return CheckResult(name, CheckStatus.WARN, found, expected, "Upgrade the probes.")
    odd = {version: probes for version, probes in versions.items() if version != own}
    if not odd:
        return CheckResult(name, CheckStatus.PASS, own, expected)
    found = "; ".join(f"{version} on {listing(probes)}" for version, probes in sorted(odd.items()))
    action = "Upgrade the older ones between two sweeps: what a metric means may have changed."
    return CheckResult(name, CheckStatus.WARN, found, expected, action)


def _retention(facts: ServerFacts, experiment: Experiment) -> CheckResult:
    timing = experiment.timing
    cycle_sec = timing.warmup_sec + timing.measurement_sec + timing.cooldown_sec
    least_sec = cycle_sec * experiment.decision.min_runs
    name, expected = "retention", f"≥ {_days(least_sec)}"
    kept_sec = _seconds(facts.retention or "")
    if kept_sec is None:
        found = "the server does not tell how long it keeps samples"
        return CheckResult(name, CheckStatus.SKIP, found, expected)
    raising = "raise --storage.tsdb.retention.time"
    if kept_sec < least_sec:
        action = f"{_capital(raising)}: the first runs are deleted before the last ones end."
        return CheckResult(name, CheckStatus.FAIL, _days(kept_sec), expected, action)
    age_sec = facts.first_run_age_sec or 0.0
    if age_sec > _NEARLY_OVER * kept_sec:
        found = f"{_days(kept_sec)}, and the first run is {_days(age_sec)} old"
        action = f"Keep the evidence with analyze export, or {raising}."
        return CheckResult(name, CheckStatus.WARN, found, expected, action)
    return CheckResult(name, CheckStatus.PASS, _days(kept_sec), expected)


def _rules(facts: ServerFacts) -> CheckResult:
    name, expected = "rules", "loaded"
    if facts.rules is None:
        return CheckResult(name, CheckStatus.SKIP, "the server does not list its rules", expected)
    own = [r for r in facts.rules if r.name.startswith(("candidate", "Feed"))]
    broken = [rule for rule in own if rule.health == "err"]
    if broken:
        found = f"{listing(r.name for r in broken)} fails ({broken[0].lastError or 'no reason'})"
        action = "Correct it; duplicate series of a probe are the usual cause."
        return CheckResult(name, CheckStatus.WARN, found, expected, action)
    recorded = any(rule.name.startswith("candidate") for rule in own)
    alerts = any(rule.name.startswith("Feed") for rule in own)
    if recorded and alerts:
        return CheckResult(name, CheckStatus.PASS, f"{plural(len(own), 'rule')} loaded", expected)
    missing = " and ".join(
        file for file, there in (("feed.yml", recorded), ("alerts.yml", alerts)) if not there
    )
    action = f"Add {missing} to rule_files; analyze and sweep watch need no rules."
    return CheckResult(name, CheckStatus.WARN, f"{missing} not loaded", expected, action)


def _range(values: Iterable[float]) -> str:
    known = sorted(values)
    least, most = f"{known[0]:.3g} s", f"{known[-1]:.3g} s"
    return least if least == most else f"{least} to {most}"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, _NUMBERS.findall(version)[:3]))


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _seconds(text: str) -> float | None:
    """A duration as Prometheus writes it, `1w2d`, perhaps with `or 10GiB`; None without one."""
    parts = re.findall(r"(\d+)(ms|[smhdwy])", text.partition(" or ")[0])
    return sum(int(number) * _UNITS_SEC[unit] for number, unit in parts) if parts else None


def _days(seconds: float) -> str:
    for unit, size in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]

"""What a reader needs to trust a report and to repeat it."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from latency_sweep.analysis.decision.verdict import VerdictKind
from latency_sweep.analysis.report import figures
from latency_sweep.contract.program import DISTRIBUTION, program_version

if TYPE_CHECKING:
    from latency_sweep.analysis.decision.verdict import Rule, Verdict

# What the sweep was run with, as it keeps it beside its report.
EXPERIMENT_FILE: Final = "experiment.yaml"
HEADLINES: Final = {
    VerdictKind.WINNER: "WINNER",
    VerdictKind.TIE: "TIE",
    VerdictKind.INCONCLUSIVE: "INCONCLUSIVE",
    VerdictKind.NONE_PASSES: "NONE PASSES",
}


def moment(seconds: float) -> str:
    """A time as ISO 8601 in UTC; plain Unix seconds where no calendar reaches."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return str(seconds)


def provenance(verdict: Verdict) -> tuple[tuple[str, str], ...]:
    """Everything that the verdict depends on besides the evidence itself, as label and value."""
    scope, rule = verdict.scope, verdict.rule
    facts = [
        ("Experiment", scope.experiment),
        ("Settings", f"the file that the sweep was run with; sweep keeps it as {EXPERIMENT_FILE}"),
        ("Source", verdict.source),
        ("Range", f"{moment(scope.since)} to {moment(scope.until)}"),
        ("Market", scope.market),
        ("Streams", ", ".join(scope.streams)),
        ("Symbols", ", ".join(scope.symbols) or "all"),
        ("Candidates by", ", ".join(scope.by)),
        ("Confidence", figures.share(rule.confidence)),
        ("Fewest runs", str(rule.min_runs)),
        ("Weights", f"p99 {rule.weight_p99:g}, steadiness {rule.weight_stability:g}"),
        ("Outliers capped at", f"percentile {rule.outlier_cap_percentile:g} (mean, sd, cv only)"),
        ("Smallest difference that counts", f"{figures.share(rule.relevant_difference_ratio)}"),
        ("Time strata required", ", ".join(rule.required_strata) or "none"),
        ("Bootstrap", f"{rule.bootstrap_resamples:,} resamples, seed {rule.seed}"),
        ("Prices", " ".join(filter(None, (rule.prices_date, rule.prices_source))) or "none"),
        ("Program", f"{DISTRIBUTION} {program_version()}"),
    ]
    return tuple((label, value) for label, value in facts if value)


def command(verdict: Verdict) -> str | None:
    """The command that repeats the verdict, a line per option; None if the source is no server."""
    scope = verdict.scope
    if not verdict.source.startswith(("http://", "https://")):
        return None
    options = {
        "--from-prometheus": verdict.source,
        "--config": EXPERIMENT_FILE,
        "--experiment-id": scope.experiment,
        "--since": _argument(scope.since),
        "--until": _argument(scope.until),
        "--by": ",".join(scope.by),
        "--market": scope.market,
        "--streams": ",".join(scope.streams),
        "--symbols": ",".join(scope.symbols),
        "--seed": str(verdict.rule.seed),
    }
    words = [
        "analyze",
        *(f"{name} {shlex.quote(value)}" for name, value in options.items() if value),
    ]
    return " \\\n  ".join(words)


def _argument(seconds: float) -> str:
    return moment(seconds) if float(seconds).is_integer() else repr(float(seconds))


def method(rule: Rule) -> tuple[str, ...]:
    """How the verdict was reached, in plain words."""
    confidence = figures.share(rule.confidence)
    strata = (
        f" It must not be beaten in any required time stratum ({', '.join(rule.required_strata)})."
        if rule.required_strata
        else ""
    )
    difference = figures.share(rule.relevant_difference_ratio)
    text = f"""
Latency is the time from the exchange's event time to the moment the kernel of the receiving
machine saw the message. Each machine counts every message in a histogram with narrow buckets;
histograms are added up, percentiles are never averaged.

All places measure the same minutes, again and again. One such run is one piece of evidence,
however many messages it holds; fewer than {rule.min_runs} usable runs decide nothing. Runs with a
bad clock, gaps or a restart are kept out and listed.

First the hard limits: a place passes only if the evidence shows so at {confidence} confidence,
and what is not known never counts as good.

Then the score, {rule.weight_p99:g} * p99 + {rule.weight_stability:g} * steadiness, each scaled
over the places that pass, names one place to put to the test.

The test compares it with every rival, run by run: could the signs of the differences be chance
(exact sign-flip test, adjusted by Holm for the number of rivals), and is the difference larger
than what the clocks and buckets leave open, and than {difference} of p99?{strata}

Intervals of pooled differences come from a bootstrap that draws whole runs, then blocks of time
within them. Mann-Whitney and Cliff's delta are shown beside it and decide nothing.
"""
    return tuple(" ".join(part.split()) for part in text.strip().split("\n\n"))

"""What a reader needs to trust a report and to repeat it."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from latency_sweep.analysis.decision.verdict import VerdictKind
from latency_sweep.analysis.report.words import figures
from latency_sweep.contract.program import DISTRIBUTION, program_version

if TYPE_CHECKING:
    from latency_sweep.analysis.decision.verdict import Rule, Verdict

# What the sweep was run with, as saved beside its report.
EXPERIMENT_FILE: Final = "experiment.yaml"
HEADLINES: Final = {
    VerdictKind.WINNER: "WINNER",
    VerdictKind.SHORTLIST: "SHORTLIST",
    VerdictKind.TIE: "TIE",
    VerdictKind.INCONCLUSIVE: "INCONCLUSIVE",
    VerdictKind.NONE_PASSES: "NONE PASSES",
}


def moment(seconds: float) -> str:
    """A time as ISO 8601 in UTC; plain Unix seconds beyond the calendar."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return str(seconds)


def provenance(verdict: Verdict) -> tuple[tuple[str, str], ...]:
    """Everything that the verdict depends on besides the evidence itself, as label and value."""
    selection, rule = verdict.selection, verdict.rule
    facts = [
        ("Experiment", selection.experiment),
        ("Settings", f"the file that the sweep was run with; sweep saves it as {EXPERIMENT_FILE}"),
        ("Source", verdict.source),
        ("Range", f"{moment(selection.since)} to {moment(selection.until)}"),
        ("Market", selection.market),
        ("Streams", ", ".join(selection.streams)),
        ("Symbols", ", ".join(selection.symbols) or "all"),
        ("Candidates by", ", ".join(selection.by)),
        ("Confidence", figures.share(rule.confidence)),
        ("Minimum runs", str(rule.min_runs)),
        ("Weights", f"p99 {rule.weight_p99:g}, stability {rule.weight_stability:g}"),
        ("Outliers capped at", f"percentile {rule.outlier_cap_percentile:g} (mean, sd, cv only)"),
        ("Smallest relevant difference", f"{figures.share(rule.relevant_difference_ratio)}"),
        ("Time strata required", ", ".join(rule.required_strata) or "none"),
        ("Bootstrap", f"{rule.bootstrap_resamples:,} resamples, seed {rule.seed}"),
        ("Prices", " ".join(filter(None, (rule.prices_date, rule.prices_source))) or "none"),
        ("Program", f"{DISTRIBUTION} {program_version()}"),
    ]
    return tuple((label, value) for label, value in facts if value)


def command(verdict: Verdict) -> str | None:
    """The command that repeats the verdict, a line per option; None if the source is no server."""
    selection = verdict.selection
    if not verdict.source.startswith(("http://", "https://")):
        return None
    options = {
        "--from-prometheus": verdict.source,
        "--config": EXPERIMENT_FILE,
        "--experiment-id": selection.experiment,
        "--since": _argument(selection.since),
        "--until": _argument(selection.until),
        "--by": ",".join(selection.by),
        "--market": selection.market,
        "--streams": ",".join(selection.streams),
        "--symbols": ",".join(selection.symbols),
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
        " No rival may be ahead of it by more than the margin in any required time stratum"
        f" ({', '.join(rule.required_strata)})."
        if rule.required_strata
        else ""
    )
    difference = figures.share(rule.relevant_difference_ratio)
    text = f"""
Latency is the time from the exchange's event time to the kernel's receive timestamp on the
instance. Each instance counts every message in a histogram with narrow buckets; histograms are
added up, percentiles are never averaged.

All candidates measure the same minutes, run after run. One run is one independent observation,
however many messages it holds; fewer than {rule.min_runs} usable runs decide nothing. Runs with an
untrustworthy clock, gaps in scraping or a restart are excluded and listed.

First the hard constraints: a candidate passes only if the evidence shows it at {confidence}
confidence, and what is not known never counts as a pass.

Then the score, {rule.weight_p99:g} * p99 + {rule.weight_stability:g} * stability, each normalised
over the candidates that pass, selects the leader, the one candidate that is tested.

The leader is tested against every rival, run by run: could chance explain the signs of the
differences (exact sign-flip test, adjusted by Holm for the number of rivals), and does the
difference exceed the margin, the larger of {difference} of p99 and what clocks and histogram
buckets cannot resolve?{strata}

Intervals of pooled differences come from a bootstrap that resamples whole runs, then blocks of
time within them. Mann-Whitney and Cliff's delta are shown for comparison and decide nothing.
"""
    return tuple(" ".join(part.split()) for part in text.strip().split("\n\n"))

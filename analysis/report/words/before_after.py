"""What changed between two sides, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from latency_sweep.analysis.decision.before_after import Movement
from latency_sweep.analysis.report.words.quantities import count, enumeration
from latency_sweep.analysis.report.words.sentences import change

if TYPE_CHECKING:
    from latency_sweep.analysis.decision.before_after import BeforeAfter
    from latency_sweep.analysis.decision.verdict import Verdict


def sentence(found: BeforeAfter) -> str:
    """The answer in one sentence."""
    if found.same_sweep:
        return change(found.candidates[0])
    moved = {m: sum(c.movement is m for c in found.candidates) for m in Movement}
    parts = [f"{number} {movement}" for movement, number in moved.items() if number]
    total = count(len(found.candidates), "candidate")
    verdict = "the verdict stays the same"
    if found.verdict_changed:
        verdict = f"the verdict changed from {_outcome(found.before)} to {_outcome(found.after)}"
    return f"Of {total} in common, {enumeration(parts)}; {verdict}."


def warnings(found: BeforeAfter) -> tuple[str, ...]:
    """What makes the two sides less comparable."""
    if found.same_sweep:
        return found.after.source_warnings
    warnings = []
    for what in ("market", "streams", "symbols"):
        values = [getattr(side.selection, what) for side in (found.before, found.after)]
        if values[0] != values[1]:
            shown = " and ".join(_shown(value) for value in values)
            warnings.append(f"The two sides differ in {what}: {shown}.")
    if not found.same_rules:
        warnings.append(
            "The two sides were evaluated under different rules; the comparison uses the second's."
        )
    if any(not c.paired for c in found.candidates):
        warnings.append(
            "The two sides were measured at different times: a change of the exchange, or of the"
            " hours measured, looks like a change of the candidate."
        )
    if found.before.approximate or found.after.approximate:
        warnings.append(
            "One side's histograms were rebuilt from percentiles: its numbers are approximate."
        )
    return tuple(warnings)


def _outcome(side: Verdict) -> str:
    name = side.kind.replace("_", " ")
    return f"{name} ({side.winner})" if side.winner else name


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else ", ".join(value) or "all"

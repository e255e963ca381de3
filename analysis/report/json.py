"""The verdict as JSON, in the form that `verdict.schema.json` describes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from latency_sweep.analysis.decision.verdict import as_json
from latency_sweep.contract.program import DISTRIBUTION, program_version

if TYPE_CHECKING:
    from latency_sweep.analysis.decision.verdict import Verdict

# Raised when a key goes away or changes its meaning; new keys do not count.
SCHEMA_VERSION: Final = 1


def render_json(verdict: Verdict) -> str:
    """The verdict as one JSON object; durations in seconds, null where a number is not known."""
    return dumps(verdict)


def dumps(record: Any) -> str:
    """A record under its schema's version and the program's, with keys in a fixed order."""
    document = {
        "schema_version": SCHEMA_VERSION,
        "program": {"name": DISTRIBUTION, "version": program_version()},
        **as_json(record),
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

"""Which candidates AWS has no room for, from Terraform's errors."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from latency_sweep.collector.state import Dropped

if TYPE_CHECKING:
    from collections.abc import Iterable

    from latency_sweep.collector.aws.terraform import Diagnostic

# Codes of RunInstances that waiting and retrying do not fix soon, but that concern one
# candidate only. https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
CAPACITY_CODES: Final = (
    "InsufficientInstanceCapacity",
    "InsufficientHostCapacity",
    "InsufficientCapacityOnHost",
    "InsufficientReservedInstanceCapacity",
    "InstanceLimitExceeded",
    "VcpuLimitExceeded",
    "Unsupported",
)

_CODE: Final = re.compile(rf"\b({'|'.join(CAPACITY_CODES)})\b:?\s*([^\n]*)")
# The key of a probe in the root module: region/az_id/instance_type/replica.
_KEY: Final = re.compile(
    r'\["(?P<candidate>[a-z0-9-]+/[a-z0-9]+-az[0-9]+/[a-z0-9-]+\.[a-z0-9-]+)(?:/[0-9]+)?"\]'
)


def shortages(diagnostics: Iterable[Diagnostic]) -> tuple[tuple[Dropped, ...], bool]:
    """Sort Terraform's errors.

    Returns:
        The candidates without capacity, each once with AWS's words; and whether there is nothing
        else wrong, so that leaving them out is worth a try.
    """
    found: dict[str, Dropped] = {}
    all_understood = True
    for diagnostic in diagnostics:
        text = f"{diagnostic.summary}\n{diagnostic.detail}"
        code, key = _CODE.search(text), _KEY.search(diagnostic.address)
        if code is None or key is None:
            all_understood = False
            continue
        words = f"{code[1]}: {code[2]}".rstrip(": ")
        found.setdefault(key["candidate"], Dropped(candidate=key["candidate"], reason=words))
    return tuple(found.values()), all_understood

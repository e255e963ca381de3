"""What clocks that are right may still do: beyond this, one of them is wrong.

The probe, its doctor, the rules and the analysis share these limits.
"""

from __future__ import annotations

from typing import Final

# An exchange steers its own clock to a millisecond or so, and its hosts differ among themselves.
EXCHANGE_TOLERANCE_SEC: Final = 5e-3
# PHI, the frequency tolerance of a disciplined clock (RFC 5905, section 7.1): 15 ppm. A crystal
# that nobody steers is off by 10 to 100 ppm.
MAX_DRIFT_RATIO: Final = 15e-6
# What the exchange's own hosts may be apart from their middle: those that answer with their time
# and those that put event times on messages.
EXCHANGE_HOSTS_SEC: Final = 1e-3
# The least that a reading in a bucket can be, as a share of the bucket's far end, down to schema 3.
LEAST_IN_BUCKET: Final = 0.9
# Of the latency, on average: more may change which candidate is best.
MAX_TIMESTAMP_ERROR_RATIO: Final = 0.02

"""Is every message accounted for? What the exchange sent against what the probe counted.

For a stream whose ids go up one by one, message by message:

    sent = received + counted lost + in flight at the cut

- *sent*: what the market sent since the first message to this probe, whether or not the probe was
  connected: the ground truth of a witness, a connection that has no faults.
- *received*: `feed_messages_total` minus duplicates (`feed_duplicates_total`).
- *counted lost*: `feed_messages_lost_total` minus what arrived after it had been counted lost
  (`feed_messages_recovered_total`). Messages missed without a connection are a gap in the ids and
  are included.
- *in flight*: what the market sent after the last message to this probe. No later message can
  reveal these as missing.

Where a message covers a range of ids (depth), a gap says that at least one is missing, not how
many: the counter is a lower bound and can be checked only as such.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Sent:
    """What the exchange sent in one stream, as seen from one probe.

    Attributes:
        messages: sent by the market since the probe's first one.
        in_flight: of these, sent after the last one that was sent to the probe.
    """

    messages: int
    in_flight: int


@dataclass(frozen=True, slots=True)
class Account:
    """One stream of one probe.

    Attributes:
        sent: messages of the market.
        in_flight: of these, still on the way at the end.
        received: messages the probe counted, without duplicates.
        duplicates: messages it counted more than once.
        lost: messages it counted as lost and that never arrived.
    """

    sent: int
    in_flight: int
    received: int
    duplicates: int
    lost: int

    @property
    def missing(self) -> int:
        """Messages sent that did not arrive, whether the probe knows it or not."""
        return self.sent - self.in_flight - self.received

    @property
    def unaccounted(self) -> int:
        """Missing messages that the probe did not count; negative if it counted some twice."""
        return self.missing - self.lost


def sent(witness: pd.DataFrame, site: pd.DataFrame, stream: str) -> Sent:
    """What the market sent in a stream, seen from one site.

    Args:
        witness: ground truth of a site that was connected all the time.
        site: ground truth of the probe's site.
        stream: name of the stream on the wire.

    Raises:
        ValueError: nothing was sent to the site.
    """
    theirs = site[(site["stream"] == stream) & (site["outcome"] == "sent")]
    if theirs.empty:
        raise ValueError(f"nothing of {stream} was sent")
    all_ids = witness[witness["stream"] == stream]["last_id"].drop_duplicates()
    since_first = all_ids[all_ids >= theirs["last_id"].min()]
    return Sent(len(since_first), int((since_first > theirs["last_id"].max()).sum()))

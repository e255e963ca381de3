"""What becomes of a message, by its id and its event time."""

from __future__ import annotations

from enum import Enum


class Arrival(Enum):
    """What becomes of a message."""

    COUNTED = "counted"
    REDUNDANT = "redundant"  # another connection has delivered it
    STRAY = "stray"  # another connection has delivered it, and here it has a wrong id

"""What is given for one host whose recordings are evaluated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class RecordedHost:
    """What is given for one host.

    Attributes:
        name: of the host.
        files: its recordings.
        clock_bound_sec: by how much its clock may have been wrong; None if not known.
    """

    name: str
    files: tuple[Path, ...]
    clock_bound_sec: float | None = None

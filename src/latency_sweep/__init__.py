"""Where on AWS market-data latency from Binance is lowest; see `README.md`.

For notebooks: `latency_sweep.load("sweep.parquet")`, explained in `docs/notebook.md`. Everything
else is internal and may change without notice.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from os import PathLike

    from latency_sweep.analysis.frames import SweepFrames

__all__ = ["__version__", "load"]
__version__: str


def __getattr__(name: str) -> str:
    """`__version__`, read when it is asked for: importing the package must be instant."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from latency_sweep.contract.program import program_version  # noqa: PLC0415

    return program_version()


def load(path: str | PathLike[str]) -> SweepFrames:
    """Read an archive that `analyze export` wrote, as pandas data frames and the verdict.

    Args:
        path: the Parquet file.

    Raises:
        ImportError: the extra `analysis` is not installed.
        latency_sweep.analysis.evidence.archive.ArchiveError: the file cannot be read, is damaged,
            is something else, or was written by a later version.
    """
    # Imported late: importing the package must be instant and need no extra.
    from latency_sweep.runtime import extras  # noqa: PLC0415

    extras.require(extras.Extra.ANALYSIS, "latency_sweep.load")
    from latency_sweep.analysis import frames  # noqa: PLC0415

    return frames.load(Path(path))

"""The lines of a text file that may be compressed: plain, gzip, bzip2, xz or Zstandard.

How a file is compressed is seen from its first bytes; its name says nothing.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import sys
import zlib
from typing import TYPE_CHECKING, Final

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import BufferedIOBase
    from pathlib import Path

_OPENERS: Final[dict[bytes, Callable[[Path], BufferedIOBase]]] = {
    b"\x1f\x8b": gzip.GzipFile,
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
    b"\x28\xb5\x2f\xfd": zstd.ZstdFile,
}
_MAGIC_BYTES: Final = max(map(len, _OPENERS))
_DAMAGE: Final = (OSError, zlib.error, lzma.LZMAError, zstd.ZstdError)


class UnreadableFileError(Exception):
    """A file cannot be read; the message names it and the reason."""


class CompressedLines:
    """The lines of one file, with their ends, as often as they are asked for.

    Attributes:
        path: of the file.
        cut_off: the compressed data end in the middle, as when their writer was killed. Known once
            all lines have been read; what had been written is among them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cut_off = False

    def __iter__(self) -> Iterator[bytes]:
        """Read the file from its start.

        Raises:
            UnreadableFileError: it cannot be read, or its compressed data are damaged.
        """
        try:
            with self.path.open("rb") as start:
                magic = start.read(_MAGIC_BYTES)
            opener = next((o for m, o in _OPENERS.items() if magic.startswith(m)), None)
            with self.path.open("rb") if opener is None else opener(self.path) as lines:
                yield from lines
        except EOFError:
            self.cut_off = True
        except _DAMAGE as error:
            reason = getattr(error, "strerror", None) or error
            raise UnreadableFileError(f"{self.path}: cannot be read: {reason}.") from error

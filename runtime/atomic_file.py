"""Files that appear complete or not at all."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path to write to, whose file takes the place of `path` unless an error is raised.

    Links are followed. What is no file, such as a pipe, `/dev/stdout` or `/dev/null`, is written
    to: a file in its place would break it for every program of the machine.

    Args:
        path: the file in the end; an existing one is kept until then.

    Raises:
        OSError: the folder cannot be written, or something other than a file is in the way.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        yield path
        return
    path = path.resolve()
    # A folder of its own, beside the target for an atomic rename; a file made by `tempfile`
    # itself would be readable by its owner only.
    with TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        scratch = Path(folder) / path.name
        yield scratch
        scratch.replace(path)

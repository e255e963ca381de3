"""What a program prints on a full disk, to nobody, and where a character is missing."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.repository import ROOT

PROGRAM = """\
import sys
from latency_sweep.runtime import standard_output
error = standard_output.write("p99 ± 1 ms\\n"{})
print(type(error).__name__, file=sys.stderr)
"""


def printed(shell: str, *, arguments: str = "", encoding: str = "utf-8") -> tuple[bytes, str, int]:
    """Standard output, the kind of the error returned, and the exit code."""
    done = subprocess.run(
        ["sh", "-c", f'"$0" -c "$1" {shell}', sys.executable, PROGRAM.format(arguments)],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        cwd=ROOT,
        check=False,
    )
    return done.stdout, done.stderr.decode().strip(), done.returncode


def test_a_text_is_written() -> None:
    assert printed("") == ("p99 ± 1 ms\n".encode(), "NoneType", 0)


def test_a_full_disk_is_told_to_the_caller_and_does_not_end_the_program() -> None:
    assert printed(">/dev/full") == (b"", "OSError", 0)


def test_nobody_needs_to_listen() -> None:
    assert printed(">&-") == (b"", "NoneType", 0)


def test_a_character_that_the_terminal_lacks_is_a_question_mark() -> None:
    assert printed("", encoding="ascii") == (b"p99 ? 1 ms\n", "NoneType", 0)


def test_what_programs_read_is_in_the_encoding_that_they_expect() -> None:
    written = printed("", arguments=', encoding="utf-8"', encoding="ascii")
    assert written == ("p99 ± 1 ms\n".encode(), "NoneType", 0)

"""What others wrote, as terminals and logs are shown it."""

from __future__ import annotations

import json
import sys
import unicodedata

import pytest

from latency_sweep.runtime.printable import printable, printable_json, printable_lines

HOSTILE = "\x1b]0;title\x07\x1b[2J\x9b31m\u202e\u2066\u200f\ud800\U000e0041\x7f\r\t\u2028é東"


def test_what_cannot_be_seen_becomes_its_escape() -> None:
    assert printable("a\x1b[31m\u202eb\n") == "a\\x1b[31m\\u202eb\\n"
    assert printable("é東") == "é東"


def test_lines_stay_apart() -> None:
    assert printable_lines("a\x07\nb") == "a\\x07\nb"


@pytest.mark.parametrize("escaped", [True, False])
@pytest.mark.parametrize("text", [HOSTILE, "plain", "\x7f"])
def test_json_shows_everything_and_keeps_the_data(text: str, *, escaped: bool) -> None:
    data = {text: [text, 1]}
    shown = printable_json(json.dumps(data, indent=2, ensure_ascii=escaped))
    assert json.loads(shown) == data
    assert not any(unicodedata.category(c) in {"Cc", "Cf", "Cs"} and c != "\n" for c in shown)


def test_every_character_that_is_written_can_be_written() -> None:
    # Two surrogates side by side would be one character.
    every = " ".join(map(chr, range(sys.maxunicode + 1)))
    printable(every).encode()
    assert json.loads(printable_json(json.dumps(every, ensure_ascii=False))) == every

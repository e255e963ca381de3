"""Help fits the terminal, and examples can be copied out of it."""

from __future__ import annotations

import argparse

import pytest

from latency_sweep.runtime.help import HelpFormatter

EXAMPLES = """\
examples:
  command --with an option    and what this one does, in one line as long as it has to be

exit codes:
  0  done
"""


@pytest.fixture
def text(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", "60")
    parser = argparse.ArgumentParser(
        "command", description="word " * 40, epilog=EXAMPLES, formatter_class=HelpFormatter
    )
    return parser.format_help()


def test_a_description_is_wrapped(text: str) -> None:
    lines = [line for line in text.splitlines() if line.startswith("word")]
    assert len(lines) > 3
    assert max(map(len, lines)) <= 60


def test_examples_stay_as_they_are_written(text: str) -> None:
    assert text.endswith(EXAMPLES)

"""Every reader survives its corpus, and changes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import CORPUS, TARGETS

if TYPE_CHECKING:
    from tests.fuzz.targets import Target


each_target = pytest.mark.parametrize("target", list(TARGETS.values()), ids=list(TARGETS))


@each_target
def test_a_corpus_is_survived(target: Target) -> None:
    for file in target.corpus:
        target.run(file.read_bytes())


def test_every_reader_has_a_corpus() -> None:
    assert {folder.name for folder in CORPUS.iterdir()} == set(TARGETS)


@st.composite
def changed(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """A kept input with a piece replaced by arbitrary bytes."""
    seed = draw(st.sampled_from(seeds))
    begin = draw(st.integers(0, len(seed)))
    end = draw(st.integers(begin, min(len(seed), begin + 16)))
    return seed[:begin] + draw(st.binary(max_size=16)) + seed[end:]


@each_target
@settings(max_examples=50)
@given(data=st.data())
def test_changes_of_a_corpus_are_survived(target: Target, data: st.DataObject) -> None:
    seeds = [file.read_bytes() for file in target.corpus]
    target.run(data.draw(changed(seeds)))

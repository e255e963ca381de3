from __future__ import annotations

from latency_sweep.lab.local.replay_lateness import lateness_sentences

STATS = {"sites": {"a": {"late_sec": {"p50": 0.0002, "p99": 0.001}}}}


def test_what_was_added_is_said() -> None:
    (sentence,) = lateness_sentences(STATS, 0.060, 0.02)
    assert sentence.startswith("Frames left 0.200 ms late at p50 and 1.000 ms at p99;")


def test_a_lateness_that_matters_against_the_recording_s_p99_is_warned_of() -> None:
    _, warning = lateness_sentences(STATS, 0.010, 0.02)
    assert warning.startswith("WARNING: the recording's own p99 is 10.000 ms")
    assert ": 10% of it." in warning


def test_nothing_is_said_where_nothing_was_sent() -> None:
    assert list(lateness_sentences({"sites": {"a": {"late_sec": None}}}, 0.01, 0.02)) == []

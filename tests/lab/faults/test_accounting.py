"""Accounts close when every message sent is received, counted lost or in flight."""

from __future__ import annotations

import pandas as pd
import pytest

from latency_sweep.lab.faults.accounting import Account, Sent, sent

STREAM = "btcusdt@trade"


def ground_truth(ids: list[int], outcome: str = "sent", stream: str = STREAM) -> pd.DataFrame:
    return pd.DataFrame({"stream": stream, "outcome": outcome, "last_id": ids})


def test_what_the_market_sent_counts_from_the_sites_first_message_on() -> None:
    assert sent(ground_truth([1, 2, 3, 4, 5]), ground_truth([3, 5]), STREAM) == Sent(3, 0)


def test_what_came_after_the_sites_last_message_is_in_flight() -> None:
    assert sent(ground_truth([1, 2, 3, 4, 5]), ground_truth([1, 3]), STREAM) == Sent(5, 2)


def test_what_was_not_sent_to_the_site_is_no_beginning() -> None:
    site = pd.concat([ground_truth([1], "unsent"), ground_truth([2]), ground_truth([4], "dropped")])
    assert sent(ground_truth([1, 2, 3, 4]), site, STREAM) == Sent(3, 2)


def test_what_the_witness_was_sent_twice_counts_once() -> None:
    assert sent(ground_truth([1, 2, 2, 3]), ground_truth([1, 3]), STREAM) == Sent(3, 0)


def test_other_streams_do_not_count() -> None:
    witness = pd.concat([ground_truth([1, 2]), ground_truth([7, 8, 9], stream="btcusdt@depth")])
    assert sent(witness, ground_truth([1, 2]), STREAM) == Sent(2, 0)


def test_a_site_that_was_sent_nothing_has_no_account() -> None:
    with pytest.raises(ValueError, match="nothing of btcusdt@trade"):
        sent(ground_truth([1]), ground_truth([]), STREAM)


@pytest.mark.parametrize(("lost", "unaccounted"), [(3, 0), (2, 1), (4, -1)])
def test_what_is_neither_received_nor_lost_nor_in_flight_is_unaccounted(
    lost: int, unaccounted: int
) -> None:
    account = Account(sent=10, in_flight=1, received=6, duplicates=2, lost=lost)
    assert account.missing == 3
    assert account.unaccounted == unaccounted

"""Ends of TLS records are found however the stream is cut."""

from __future__ import annotations

from itertools import accumulate, pairwise

from hypothesis import given
from hypothesis import strategies as st

from latency_sweep.probe.net.tls_records import TlsRecords


def record(size: int) -> bytes:
    return b"\x17\x03\x03" + size.to_bytes(2, "big") + bytes(size)


def expected(start: int, end: int, starts: list[int], ends: list[int]) -> int:
    """The reference: the record that ends with the piece, from the whole stream."""
    if end not in ends:
        return -1
    return max(starts[ends.index(end)] - start, 0)


@given(st.lists(st.integers(0, 300), min_size=1, max_size=12), st.data())
def test_the_last_record_of_each_piece_is_found(sizes: list[int], data: st.DataObject) -> None:
    stream = b"".join(map(record, sizes))
    edges = [0, *accumulate(size + 5 for size in sizes)]
    cuts = sorted({*data.draw(st.lists(st.integers(0, len(stream)), max_size=12)), 0, len(stream)})
    records = TlsRecords()
    for start, end in pairwise(cuts):
        found = records.last_start(stream[start:end])
        assert found == expected(start, end, edges[:-1], edges[1:])


def test_an_empty_piece_between_records_ends_none() -> None:
    records = TlsRecords()
    assert records.last_start(record(3)) == 0
    assert records.last_start(b"") in (0, -1)
    assert records.last_start(record(4) + record(1)) == 9

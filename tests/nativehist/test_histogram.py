"""Observing: batches against single observations, limits, moments, threads."""

from __future__ import annotations

import math
import statistics
import threading
from array import array
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from latency_sweep.nativehist.bounds import exponential_bounds
from latency_sweep.nativehist.fold import _fold_batch, _fold_one_by_one
from latency_sweep.nativehist.histogram import CapturedHistogram, NativeHistogram
from latency_sweep.nativehist.moments import Moments
from latency_sweep.nativehist.settings import HistogramSettings
from latency_sweep.nativehist.sparse_buckets import SparseBuckets

if TYPE_CHECKING:
    from latency_sweep.nativehist.snapshot import HistogramSnapshot

# Every double, and clusters in which buckets fill up.
LATENCIES = st.floats(-0.01, 0.05)
VALUES = st.lists(st.one_of(st.floats(), LATENCIES, st.sampled_from([0.0, -0.0, 2.0**-128])))
FINITE = st.lists(st.floats(-1e100, 1e100), min_size=1)
SETTINGS = st.builds(
    HistogramSettings,
    schema=st.integers(-4, 8),
    zero_threshold=st.sampled_from([0.0, 2.0**-128, 0.001, 1.0]),
    classic_bounds=st.just((-1.0, 0.0, 0.001, 1.0)),
)


def _sparse(snapshot: HistogramSnapshot) -> dict[str, Any]:
    return {
        "schema": snapshot.schema,
        "zero_threshold": snapshot.zero_threshold,
        "zero_count": snapshot.zero_count,
        "positive": snapshot.positive.as_dict(),
        "negative": snapshot.negative.as_dict(),
    }


def _observed(values: list[float], **kwargs: Any) -> HistogramSnapshot:
    histogram = NativeHistogram(HistogramSettings(**kwargs))
    for value in values:
        histogram.observe(value)
    return histogram.snapshot()


@given(VALUES, VALUES, SETTINGS)
def test_a_batch_is_counted_as_its_values_one_by_one(
    earlier: list[float], values: list[float], how: HistogramSettings
) -> None:
    with np.errstate(all="ignore"):
        start = _fold_batch(how.empty(0), np.array(earlier)) if earlier else how.empty(0)
        batch = _fold_batch(start, np.array(values))
        single = _fold_one_by_one(start, np.array(values), replace(how, max_buckets=10**9), 0)
    assert _sparse(batch) == _sparse(single)
    assert batch.count == len(earlier) + len(values)


@given(VALUES)
def test_the_count_is_that_of_buckets_and_zero_bucket_and_nan(values: list[float]) -> None:
    snapshot = _observed(values)
    in_buckets = snapshot.positive.total + snapshot.negative.total + snapshot.zero_count
    assert snapshot.count == len(values) == in_buckets + sum(map(math.isnan, values))


@given(VALUES)
def test_classic_buckets_count_exactly_what_is_up_to_their_bounds(values: list[float]) -> None:
    bounds = (-0.001, 0.0, 0.001, 0.02, 1.0)
    expected = tuple(sum(value <= bound for value in values) for bound in bounds)
    assert _observed(values, classic_bounds=bounds).classic_counts == expected


@given(FINITE)
def test_sum_is_that_of_all_values(values: list[float]) -> None:
    expected = math.fsum(values)
    assert _observed(values).sum == pytest.approx(
        expected, rel=1e-9, abs=1e-9 * max(map(abs, values))
    )


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, math.inf], math.inf),
        ([1.0, -math.inf], -math.inf),
        ([math.inf, -math.inf], math.nan),
        ([1.0, math.nan], math.nan),
    ],
)
def test_sum_of_values_that_are_not_finite(values: list[float], expected: float) -> None:
    assert _observed(values).sum == pytest.approx(expected, nan_ok=True)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=200), st.integers(0, 200))
@example([1.0, 2.0, 30.0, 50.0], 2)
def test_moments_are_those_of_all_finite_values_however_they_were_batched(
    values: list[float], cut: int
) -> None:
    histogram = NativeHistogram()
    for value in [*values[:cut], math.nan, math.inf]:
        histogram.observe(value)
    histogram.snapshot()
    for value in values[cut:]:
        histogram.observe(value)
    snapshot = histogram.snapshot()
    scale = max(map(abs, values)) or 1
    assert snapshot.minimum == min(values)
    assert snapshot.maximum == max(values)
    assert snapshot.mean == pytest.approx(statistics.fmean(values), abs=1e-9 * scale)
    assert snapshot.sd == pytest.approx(statistics.stdev(values), rel=1e-6, abs=1e-9 + 1e-9 * scale)


def test_moments_of_nothing_are_not_numbers() -> None:
    snapshot = _observed([math.nan])
    assert all(map(math.isnan, (snapshot.minimum, snapshot.maximum, snapshot.mean)))
    assert snapshot.sd == 0
    assert Moments() + Moments(1, 2.0, 0.0, 2.0, 2.0) == Moments(1, 2.0, 0.0, 2.0, 2.0)


# The vectors of client_golang's own test of native histograms, and one where the zero bucket ends
# at its limit: observations a minute apart.
CLIENT_GOLANG: list[tuple[str, list[float], dict[str, Any], dict[str, Any]]] = [
    (
        "factor 1.1",
        [0, 1, 2, 3],
        {"schema": 3},
        {"schema": 3, "zero_count": 1, "positive": {0: 1, 8: 1, 13: 1}},
    ),
    (
        "factor 1.2",
        [0, 1, 1.2, 1.4, 1.8, 2],
        {"schema": 2},
        {"schema": 2, "zero_count": 1, "positive": {0: 1, 2: 2, 4: 2}},
    ),
    (
        "factor 4",
        [0.0156251, 0.0625, 0.1, 0.25, 0.5, 1, 1.5, 2, 3, 3.5, 5, 6, 7, 33.33],
        {"schema": -1},
        {"schema": -1, "positive": {-2: 2, -1: 2, 0: 2, 1: 4, 2: 3, 3: 1}},
    ),
    (
        "factor 17",
        [0.0156251, 0.0625, 0.1, 0.25, 0.5, 1, 1.5, 2, 3, 3.5, 5, 6, 7, 33.33],
        {"schema": -2},
        {"schema": -2, "positive": {-1: 2, 0: 4, 1: 7, 2: 1}},
    ),
    (
        "negative and positive",
        [0, -1, -1.2, -1.4, -1.8, -2, 1, 1.2, 1.4, 1.8, 2],
        {"schema": 2},
        {
            "schema": 2,
            "zero_count": 1,
            "positive": {0: 1, 2: 2, 4: 2},
            "negative": {0: 1, 2: 2, 4: 2},
        },
    ),
    (
        "wide zero bucket",
        [0, -1, -1.2, -1.4, -1.8, -2, 1, 1.2, 1.4, 1.8, 2],
        {"schema": 2, "zero_threshold": 1.4},
        {
            "schema": 2,
            "zero_threshold": 1.4,
            "zero_count": 7,
            "positive": {4: 2},
            "negative": {4: 2},
        },
    ),
    (
        "NaN",
        [0, 1, 1.2, 1.4, 1.8, 2, math.nan],
        {"schema": 2},
        {"schema": 2, "zero_count": 1, "positive": {0: 1, 2: 2, 4: 2}},
    ),
    (
        "+Inf",
        [0, 1, 1.2, 1.4, 1.8, 2, math.inf],
        {"schema": 2},
        {"schema": 2, "zero_count": 1, "positive": {0: 1, 2: 2, 4: 2, 4097: 1}},
    ),
    (
        "-Inf",
        [0, 1, 1.2, 1.4, 1.8, 2, -math.inf],
        {"schema": 2},
        {"schema": 2, "zero_count": 1, "positive": {0: 1, 2: 2, 4: 2}, "negative": {4097: 1}},
    ),
    (
        "limit not reached",
        [0, 1, 1.2, 1.4, 1.8, 2],
        {"schema": 2, "max_buckets": 4},
        {"schema": 2, "zero_count": 1, "positive": {0: 1, 2: 2, 4: 2}},
    ),
    (
        "limited by halving the resolution",
        [0, 1, 1.1, 1.2, 1.4, 1.8, 2, 3],
        {"schema": 2, "max_buckets": 4},
        {"schema": 1, "zero_count": 1, "positive": {0: 1, 1: 3, 2: 2, 4: 1}},
    ),
    (
        "limited by halving the resolution, negative",
        [0, -1, -1.1, -1.2, -1.4, -1.8, -2, -3],
        {"schema": 2, "max_buckets": 4},
        {"schema": 1, "zero_count": 1, "negative": {0: 1, 1: 3, 2: 2, 4: 1}},
    ),
    (
        "limited by widening the zero bucket",
        [0, 1, 1.1, 1.2, 1.4, 1.8, 2, 3],
        {"schema": 2, "max_buckets": 4, "max_zero_threshold": 1.2},
        {
            "schema": 2,
            "zero_threshold": 1.0,
            "zero_count": 2,
            "positive": {1: 1, 2: 2, 4: 2, 7: 1},
        },
    ),
    (
        "limited by widening the zero bucket twice",
        [0, 1, 1.1, 1.2, 1.4, 1.8, 2, 3, 4],
        {"schema": 2, "max_buckets": 4, "max_zero_threshold": 1.2},
        {
            "schema": 2,
            "zero_threshold": 1.189207115002721,
            "zero_count": 3,
            "positive": {2: 2, 4: 2, 7: 1, 8: 1},
        },
    ),
    (
        "limited by widening the zero bucket to the very limit",
        [0, 1, 1.1, 1.2, 1.4, 1.8, 2, 3],
        {"schema": 2, "max_buckets": 4, "max_zero_threshold": 1.0},
        {
            "schema": 2,
            "zero_threshold": 1.0,
            "zero_count": 2,
            "positive": {1: 1, 2: 2, 4: 2, 7: 1},
        },
    ),
    (
        "limited by a reset",
        [0, 1, 1.1, 1.2, 1.4, 1.8, 2, 3, 4],
        {"schema": 2, "max_buckets": 4, "max_zero_threshold": 1.2, "min_reset_sec": 300},
        {"schema": 2, "count": 2, "sum": 7.0, "created": 480.0, "positive": {7: 1, 8: 1}},
    ),
    (
        "halved, then reset when that was due",
        [0, 1, 1.1, 1.2, 1.4, 1.8, 2, 5, 5.1, 3, 4],
        {"schema": 2, "max_buckets": 4, "min_reset_sec": 540},
        {
            "schema": 2,
            "count": 3,
            "sum": 12.1,
            "created": 540.0,
            "positive": {7: 1, 8: 1, 10: 1},
        },
    ),
]


@pytest.mark.parametrize(
    ("values", "kwargs", "expected"),
    [vector[1:] for vector in CLIENT_GOLANG],
    ids=[vector[0] for vector in CLIENT_GOLANG],
)
def test_observing_ends_as_in_the_go_client(
    values: list[float], kwargs: dict[str, Any], expected: dict[str, Any]
) -> None:
    now = 0.0
    histogram = NativeHistogram(HistogramSettings(**kwargs), clock=lambda: now)
    for value in values:
        now += 60
        histogram.observe(value)
        histogram.snapshot()
    snapshot = histogram.snapshot()
    plain = _sparse(snapshot) | {
        "count": snapshot.count,
        "sum": pytest.approx(snapshot.sum),
        "created": snapshot.created,
    }
    defaults = {"zero_threshold": 2.0**-128, "zero_count": 0, "positive": {}, "negative": {}}
    wanted = defaults | {key: plain[key] for key in ("count", "sum", "created")} | expected
    assert wanted == plain


@given(VALUES, st.integers(1, 12), st.sampled_from([0.0, 0.01, 1.0]), st.integers(1, 40))
@settings(max_examples=200)
def test_the_limit_works_observation_by_observation_however_values_are_batched(
    values: list[float], limit: int, max_zero_threshold: float, batch: int
) -> None:
    how = HistogramSettings(max_buckets=limit, max_zero_threshold=max_zero_threshold)
    batched, single = NativeHistogram(how), NativeHistogram(how)
    for at, value in enumerate(values):
        batched.observe(value)
        single.observe(value)
        single.snapshot()
        if at % batch == 0:
            batched.snapshot()
    assert _sparse(batched.snapshot()) == _sparse(single.snapshot())


def test_a_limit_that_the_lowest_resolution_cannot_keep_loses_nothing() -> None:
    snapshot = _observed([1e-300, 1e-100, 1.0, 1e100, 1e300, -1.0] * 5, max_buckets=1)
    assert snapshot.schema == -4
    assert snapshot.bucket_count > 1
    inside = snapshot.positive.total + snapshot.negative.total + snapshot.zero_count
    assert snapshot.count == inside == 30


def test_a_reset_forgets_classic_counts_and_moments_too() -> None:
    now = 0.0
    how = HistogramSettings(max_buckets=2, min_reset_sec=10, classic_bounds=(1.0, 10.0))
    histogram = NativeHistogram(how, clock=lambda: now)
    histogram.observe(1)
    histogram.observe(2)
    now = 20.0
    histogram.observe(5)
    snapshot = histogram.capture().resolve()
    assert (snapshot.count, snapshot.created) == (1, 20.0)
    assert snapshot.classic_counts == (0, 1)
    assert (snapshot.minimum, snapshot.maximum) == (5, 5)
    now = 21.0
    assert histogram.snapshot() == snapshot


def test_a_capture_does_not_change_when_observing_goes_on() -> None:
    histogram = NativeHistogram()
    histogram.observe(1)
    capture = histogram.capture()
    for _ in range(5000):
        histogram.observe(2)
    assert capture.resolve().count == 1
    assert histogram.snapshot().count == 5001


def test_something_that_is_no_number_is_refused_where_it_is_observed() -> None:
    histogram = NativeHistogram()
    with pytest.raises(TypeError):
        histogram.observe("0.1")  # type: ignore[arg-type]
    assert histogram.snapshot().count == 0


@pytest.mark.parametrize(
    ("kwargs", "name"),
    [
        ({"schema": 9}, "schema"),
        ({"schema": -5}, "schema"),
        ({"max_buckets": -1}, "max_buckets"),
        ({"zero_threshold": math.inf}, "zero_threshold"),
        ({"zero_threshold": math.nan}, "zero_threshold"),
        ({"classic_bounds": (1.0, 1.0)}, "classic_bounds"),
        ({"classic_bounds": (1.0, math.inf)}, "classic_bounds"),
    ],
)
def test_a_setting_out_of_range_is_named(kwargs: dict[str, Any], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        HistogramSettings(**kwargs)


def test_nothing_is_lost_or_counted_twice_between_observing_and_capturing_threads() -> None:
    bounds = exponential_bounds(1e-4, 1, 10)
    histogram = NativeHistogram(HistogramSettings(classic_bounds=bounds))
    writers, each = 3, 20_000
    start = threading.Barrier(writers + 2)
    done = threading.Event()
    captures: list[HistogramSnapshot] = []

    def write(seed: int) -> None:
        values = np.random.default_rng(seed).normal(0.005, 0.004, each).tolist()
        start.wait()
        for value in values:
            histogram.observe(value)

    def read() -> None:
        start.wait()
        writing = True
        while writing:  # once more at the end, as this thread may start late
            writing = not done.is_set()
            captures.append(histogram.capture().resolve())
            captures.append(histogram.snapshot())

    threads = [threading.Thread(target=write, args=(seed,)) for seed in range(writers)]
    reader = threading.Thread(target=read)
    for thread in (*threads, reader):
        thread.start()
    start.wait()
    for thread in threads:
        thread.join()
    done.set()
    reader.join()

    final = histogram.snapshot()
    values = np.concatenate(
        [np.random.default_rng(seed).normal(0.005, 0.004, each) for seed in range(writers)]
    )
    assert final.count == writers * each
    assert final.classic_counts == tuple(int((values <= bound).sum()) for bound in bounds)
    assert final.sum == pytest.approx(values.sum())
    assert captures
    for snapshot in captures:
        inside = snapshot.positive.total + snapshot.negative.total + snapshot.zero_count
        assert snapshot.count == inside == snapshot.moments.count
    counts = [snapshot.count for snapshot in captures]
    assert counts == sorted(counts)


def test_a_capture_in_the_middle_of_a_fold_counts_nothing_twice() -> None:
    """When the state has the pending values already, and the list still has them too."""
    captures: list[CapturedHistogram] = []
    at_the_lock_or_done = threading.Event()
    fold_lock = threading.Lock()

    def capture() -> None:
        captures.append(histogram.capture())
        at_the_lock_or_done.set()

    reader = threading.Thread(target=capture)

    class AnnouncedLock:
        def __enter__(self) -> None:
            if threading.current_thread() is reader:
                at_the_lock_or_done.set()
            fold_lock.acquire()

        def __exit__(self, *_: object) -> None:
            fold_lock.release()

    class CapturedBeforeDeletion(array):  # type: ignore[type-arg]
        def __delitem__(self, which: Any) -> None:
            reader.start()
            at_the_lock_or_done.wait()
            super().__delitem__(which)

    histogram: Any = NativeHistogram()
    histogram._pending = CapturedBeforeDeletion("d", [1.0])
    histogram._lock = AnnouncedLock()
    histogram.snapshot()
    reader.join()
    assert captures[0].resolve().count == 1


def test_an_empty_histogram_has_no_buckets() -> None:
    snapshot = NativeHistogram().capture().resolve()
    assert snapshot.bucket_count == 0
    assert snapshot.positive == SparseBuckets.of({})


@given(
    st.lists(st.lists(st.floats(width=32), max_size=5), max_size=600),
    st.integers(0, 40),
)
def test_appending_batches_gives_what_observing_one_by_one_gives(
    batches: list[list[float]], repeat: int
) -> None:
    """Whatever is captured in between."""
    one_by_one, batched = NativeHistogram(clock=float), NativeHistogram(clock=float)
    for number, batch in enumerate(batches):
        values = batch * (repeat + 1)
        for value in values:
            one_by_one.observe(value)
        batched.extend(values)
        if number % 50 == 0:
            assert batched.capture().resolve().count == one_by_one.capture().resolve().count
        batched.maybe_fold()
    one, other = one_by_one.snapshot(), batched.snapshot()
    assert (one.positive, one.negative) == (other.positive, other.negative)
    assert (one.count, one.zero_count, one.classic_counts) == (
        other.count,
        other.zero_count,
        other.classic_counts,
    )


def test_pending_values_are_folded_only_when_they_are_many() -> None:
    histogram = NativeHistogram()
    histogram.append(1.0)
    assert not histogram.maybe_fold()
    histogram.extend([1.0] * 10_000)
    assert histogram.maybe_fold()
    assert not histogram.maybe_fold()
    assert histogram.snapshot().count == 10_001

"""Random delays: the configured distribution, reproducible, with a slow level."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from scipy import stats

from latency_sweep.lab.exchange.config import Constant, Delay, Level, SiteConfig
from latency_sweep.lab.exchange.latency import (
    DelaySampler,
    LevelProcess,
    SiteLatency,
    draw,
    generator,
    scalar_random,
)

DELAY: TypeAdapter[Delay] = TypeAdapter(Delay)
SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"distribution": "uniform", "low_ms": 2, "high_ms": 5}, stats.uniform(2, 3)),
        (
            {"distribution": "lognormal", "median_ms": 3, "sigma": 0.5, "floor_ms": 1},
            stats.lognorm(0.5, loc=1, scale=3),
        ),
        (
            {"distribution": "gamma", "shape": 2, "scale_ms": 1.5, "floor_ms": 0.5},
            stats.gamma(2, loc=0.5, scale=1.5),
        ),
    ],
    ids=["uniform", "lognormal", "gamma"],
)
def test_draws_follow_the_configured_distribution(
    document: dict[str, object], expected: stats.rv_continuous
) -> None:
    sample = draw(DELAY.validate_python(document), generator(1, "test"), 20_000)
    assert stats.kstest(sample, expected.cdf).pvalue > 0.001


def test_a_mixture_draws_each_component_by_its_weight() -> None:
    document = {
        "distribution": "mixture",
        "components": [
            {"weight": 9, "of": {"distribution": "constant", "ms": 1}},
            {"weight": 1, "of": {"distribution": "constant", "ms": 50}},
        ],
    }
    sample = draw(DELAY.validate_python(document), generator(1, "test"), 20_000)
    assert set(sample) == {1.0, 50.0}
    assert stats.binomtest(int((sample == 50).sum()), 20_000, 0.1).pvalue > 0.001


@given(ms=st.floats(0, 1e5))
@settings(deadline=None)
def test_a_constant_delay_is_itself_in_nanoseconds(ms: float) -> None:
    assert DelaySampler(Constant(ms=ms), generator(1)).next_ns() == int(ms * 1e6)


@given(seed=st.integers(0, 1 << 32), name=st.text(max_size=10))
@settings(max_examples=20, deadline=None)
def test_the_same_seed_and_name_give_the_same_latencies(seed: int, name: str) -> None:
    site = SiteConfig.model_validate(
        {"latency": {"distribution": "uniform", "low_ms": 0, "high_ms": 9}, "level": {"sigma": 1}}
    )
    one, two = (SiteLatency(name, site, seed, 0) for _ in range(2))
    moments = range(0, 5 * SECOND, SECOND)
    assert [one.next_ns(m) for m in moments] == [two.next_ns(m) for m in moments]


def test_sites_draw_independently() -> None:
    assert scalar_random(1, "a").random() != scalar_random(1, "b").random()
    assert generator(1, "a").random() != generator(1, "b").random()


def test_the_level_is_an_ar1_process_of_the_configured_spread() -> None:
    level = LevelProcess(Level(sigma=0.3, phi=0.9), scalar_random(1, "level"), 0)
    x = np.log([level.factor(second * SECOND) for second in range(20_000)])
    assert np.std(x) == pytest.approx(0.3, rel=0.1)
    assert np.corrcoef(x[:-1], x[1:])[0, 1] == pytest.approx(0.9, abs=0.02)


def test_the_level_stays_between_its_steps() -> None:
    level = LevelProcess(Level(sigma=0.3), scalar_random(1, "level"), 0)
    factor = level.factor(0)
    assert level.factor(SECOND - 1) == factor
    assert level.factor(SECOND) != factor


def test_the_level_scales_the_latency_of_a_site() -> None:
    site = SiteConfig.model_validate(
        {"latency": {"distribution": "constant", "ms": 10}, "level": {"sigma": 0.5}}
    )
    latency = SiteLatency("tokyo", site, 1, 0)
    assert len({latency.next_ns(second * SECOND) for second in range(10)}) == 10

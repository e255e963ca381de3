"""Random delays: samplers of the configured distributions, and the latency of a site."""

from __future__ import annotations

import math
import random
import zlib
from typing import TYPE_CHECKING, assert_never

import numpy as np

from latency_sweep.lab.exchange import config

if TYPE_CHECKING:
    from numpy.typing import NDArray

NS_PER_MS = 1e6
NS_PER_SEC = 1e9
BLOCK = 1024


def generator(seed: int, *names: str) -> np.random.Generator:
    """A random generator of its own for each combination of names, the same in every process."""
    return np.random.default_rng([seed, *(zlib.crc32(name.encode()) for name in names)])


def scalar_random(seed: int, *names: str) -> random.Random:
    """Like `generator`, for single draws, where the standard library is the faster one."""
    return random.Random(int(generator(seed, *names).integers(1 << 62)))  # noqa: S311 - simulation


def draw(delay: config.Delay, rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    """`size` independent delays in milliseconds."""
    match delay:
        case config.Constant():
            return np.full(size, delay.ms)
        case config.Uniform():
            return rng.uniform(delay.low_ms, delay.high_ms, size)
        case config.Lognormal():
            return delay.floor_ms + rng.lognormal(math.log(delay.median_ms), delay.sigma, size)
        case config.Gamma():
            return delay.floor_ms + rng.gamma(delay.shape, delay.scale_ms, size)
        case config.Mixture():
            weights = np.array([component.weight for component in delay.components])
            chosen = rng.choice(len(weights), size, p=weights / weights.sum())
            columns = [draw(component.of, rng, size) for component in delay.components]
            return np.stack(columns)[chosen, np.arange(size)]
        case _:
            assert_never(delay)


class DelaySampler:
    """Delays in nanoseconds, one at a time, drawn in blocks because that is ten times cheaper."""

    def __init__(self, delay: config.Delay, rng: np.random.Generator) -> None:
        """Sample `delay` from a generator that nothing else uses."""
        self._delay = delay
        self._rng = rng
        self._block: list[int] = []

    def next_ns(self) -> int:
        """One delay in nanoseconds."""
        if not self._block:
            block = draw(self._delay, self._rng, BLOCK) * NS_PER_MS
            self._block = block.astype(np.int64).tolist()
        return self._block.pop()


class LevelProcess:
    """The factor exp(x) of a slow AR(1) process x over wall-clock time."""

    def __init__(self, level: config.Level, rng: random.Random, start_ns: int) -> None:
        """Start from the process' long-run distribution at Unix time `start_ns`."""
        self._phi = level.phi
        self._noise = level.sigma * math.sqrt(1 - level.phi**2)
        self._step_ns = max(1, round(level.step_sec * NS_PER_SEC))
        self._rng = rng
        self._next_step_ns = start_ns + self._step_ns
        self._x = rng.gauss(0.0, level.sigma)

    def factor(self, unix_ns: int) -> float:
        """The factor at a moment; moments must not decrease, an earlier one gets the newest."""
        while unix_ns >= self._next_step_ns:
            self._x = self._phi * self._x + self._rng.gauss(0.0, self._noise)
            self._next_step_ns += self._step_ns
        return math.exp(self._x)


class SiteLatency:
    """One-way latency from the exchange to one site."""

    def __init__(self, name: str, site: config.SiteConfig, seed: int, start_ns: int) -> None:
        """The latency of site `name`; every site draws from its own generator."""
        self._sampler = DelaySampler(site.latency, generator(seed, "latency", name))
        self._level: LevelProcess | None = None
        if site.level is not None:
            self._level = LevelProcess(site.level, scalar_random(seed, "level", name), start_ns)

    def next_ns(self, unix_ns: int) -> int:
        """The latency in nanoseconds of a message that leaves the exchange at `unix_ns`."""
        latency = self._sampler.next_ns()
        return latency if self._level is None else int(latency * self._level.factor(unix_ns))

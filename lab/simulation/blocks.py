"""Models of what lasts longer than a block: p99 of sites at random times, truth included.

A model is a function

    model(rng, levels, starts_hours, hosts) -> BlockSeries

of a random generator, the lasting level of each site (logarithm of p99, shape (sites,)), the start
of each block in hours from the start of the sweep (ascending, shape (blocks,)), and "fresh" or
"kept". `benchmarks/calibration.py --model MODULE:FUNCTION` runs the decision on it.

`compose` makes a model from effects that add up: what belongs to a block alone, and paths, which
the level of a site follows through all of the sweep.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    # (rng, hours) -> path of one site's level, the shape of `hours`, which are evenly spaced.
    Path = Callable[[np.random.Generator, Floats], Floats]
    # (rng, (sites, blocks)) -> what a block has to itself.
    Own = Callable[[np.random.Generator, tuple[int, int]], Floats]

Hosts = Literal["fresh", "kept"]
# Standard deviation of the logarithm of p99 over ten minutes, of the calibration's messages.
BLOCK_SD: Final = 0.0345
# How long a block is measured, hours, and how finely paths are drawn.
MEASURED_HOURS: Final = 1 / 6
_STEP_HOURS: Final = 0.1
HOURS_PER_DAY: Final = 24


@dataclass(frozen=True)
class BlockSeries:
    """What the sites show in each block, and how they really are.

    Attributes:
        log_p99: natural logarithm of p99 in seconds, shape (sites, blocks); NaN where a block is
            missing.
        truth: mean over the period from the start of the sweep to the end of each block of the
            site's true level, likewise; host effects, which a block's host brings, not included.
        lasting: the level that remains over many days, shape (sites,).
        clock_error: what the site's clock adds, as a share of p99, shape (sites,).
        clock_bound: how far it may be off as is known, as a share of p99.
    """

    log_p99: Floats
    truth: Floats
    lasting: Floats
    clock_error: Floats
    clock_bound: float = 0.0


class Model(Protocol):
    """See the module."""

    def __call__(
        self, rng: np.random.Generator, levels: Floats, starts_hours: Floats, hosts: Hosts
    ) -> BlockSeries:
        """One sweep."""


@dataclass(frozen=True)
class Effects:
    """What a simulated sweep is made of. Spreads are of logarithms of p99.

    Attributes:
        own: what a block has to itself; noise, bursts, the kind of connection.
        paths: what the level of each site follows; drifts, levels of a route, days.
        shared: paths that all sites follow alike.
        host_sd: spread of hosts; each block has one, or each site if hosts are kept.
        missing: share of a site's blocks that are missing.
        clock: share of p99 that clocks may be off; the first site's is behind by as much, so
            that it seems faster, and the others' are ahead.
    """

    own: tuple[Own, ...] = ()
    paths: tuple[Path, ...] = ()
    shared: tuple[Path, ...] = ()
    host_sd: float = 0.0
    missing: float = 0.0
    clock: float = 0.0


def compose(effects: Effects) -> Model:
    """A model of these effects."""

    def model(
        rng: np.random.Generator, levels: Floats, starts_hours: Floats, hosts: Hosts
    ) -> BlockSeries:
        shape = (levels.size, starts_hours.size)
        hours = np.arange(0.0, starts_hours[-1] + 1, _STEP_HOURS)
        level = np.repeat(levels[:, np.newaxis], hours.size, axis=1)
        for path in effects.paths:
            level += np.stack([path(rng, hours) for _ in levels])
        for path in effects.shared:
            level += path(rng, hours)
        seen = level[:, np.searchsorted(hours, starts_hours)]
        for own in effects.own:
            seen = seen + own(rng, shape)
        kept = hosts == "kept"
        host = effects.host_sd * rng.standard_normal((shape[0], 1 if kept else shape[1]))
        # A host that is kept is a part of what is compared: "these instances".
        truth = level + host if kept else level
        clock = effects.clock * np.where(np.arange(shape[0]) == 0, -1.0, 1.0)
        seen = seen + host + np.log1p(clock)[:, np.newaxis]
        seen[rng.random(shape) < effects.missing] = np.nan
        ends = np.searchsorted(hours, starts_hours + MEASURED_HOURS)
        average = np.cumsum(truth, axis=1) / np.arange(1, hours.size + 1)
        lasting = levels + host[:, 0] if kept else levels
        return BlockSeries(seen, average[:, ends], lasting, clock, effects.clock)

    return model


def normal(sd: float = BLOCK_SD) -> Own:
    """Noise of a block, normal."""
    return lambda rng, shape: sd * rng.standard_normal(shape)


def heavy_tailed(sd: float = BLOCK_SD) -> Own:
    """Noise of a block with Student's t of four degrees of freedom."""
    return lambda rng, shape: sd / math.sqrt(2) * rng.standard_t(4, shape)


def skewed(sd: float = BLOCK_SD) -> Own:
    """Noise of a block, shifted exponential: p99 is seldom better and often worse."""
    return lambda rng, shape: sd * (rng.standard_exponential(shape) - 1)


def pareto(sd: float = BLOCK_SD) -> Own:
    """Noise of a block with Pareto tails of index 3."""
    return lambda rng, shape: np.asarray(sd / math.sqrt(0.75) * (rng.pareto(3, shape) - 0.5))


def bimodal(gap: float) -> Own:
    """A connection gets one of two front ends that differ by so much."""
    return lambda rng, shape: np.asarray(gap * (rng.integers(0, 2, shape) - 0.5))


def bursts(size: float, share: float = 0.1) -> Own:
    """Some blocks are slower by an exponential amount, the site's own."""

    def draw(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
        hit = rng.random(shape) < share
        return np.asarray(hit * rng.exponential(size, shape) - share * size)

    return draw


def common_bursts(size: float, share: float = 0.1) -> Own:
    """Some blocks are slower by an exponential amount at all sites."""
    own = bursts(size, share)
    return lambda rng, shape: own(rng, (1, shape[1]))


def unequal_noise(sd: float = BLOCK_SD, ratio: float = 4.0) -> Own:
    """Noise of a block that depends on the site: counts of messages differ by `ratio` squared."""

    def draw(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
        scale = np.where(np.arange(shape[0]) % 2, ratio, 1.0)[:, np.newaxis]
        return np.asarray(sd * scale / math.sqrt(ratio) * rng.standard_normal(shape))

    return draw


def two_levels(stay_hours: float, gap: float) -> Path:
    """A route that has two levels and stays exponentially long in each."""

    def draw(rng: np.random.Generator, hours: Floats) -> Floats:
        number = int(4 * hours[-1] / stay_hours) + 50
        changes = np.cumsum(rng.exponential(stay_hours, number))
        state = np.searchsorted(changes, hours) + rng.integers(0, 2)
        return np.asarray(gap * (state % 2 - 0.5))

    return draw


def drift(memory_hours: float, sd: float) -> Path:
    """A smooth Gaussian drift whose correlation is exp(-(t / memory)^2)."""

    def draw(rng: np.random.Generator, hours: Floats) -> Floats:
        reach = np.arange(-3 * memory_hours, 3 * memory_hours + _STEP_HOURS / 2, _STEP_HOURS)
        kernel = np.exp(-2 * (reach / memory_hours) ** 2)
        kernel /= math.sqrt(float(kernel @ kernel))
        white = rng.standard_normal(hours.size + kernel.size - 1)
        return np.asarray(sd * np.convolve(white, kernel, "valid"))

    return draw


def days(sd: float) -> Path:
    """A level for each day."""

    def draw(rng: np.random.Generator, hours: Floats) -> Floats:
        day = (hours // HOURS_PER_DAY).astype(np.int64)
        return np.asarray(sd * rng.standard_normal(int(day[-1]) + 1)[day])

    return draw


def daily_cycle(amplitude: float) -> Path:
    """Slower in a part of the day, which is drawn once for the site."""

    def draw(rng: np.random.Generator, hours: Floats) -> Floats:
        phase = hours / HOURS_PER_DAY + rng.random()
        return np.asarray(amplitude * np.sin(2 * np.pi * phase))

    return draw


def walk(sd_per_day: float) -> Path:
    """A random walk that never returns."""

    def draw(rng: np.random.Generator, hours: Floats) -> Floats:
        steps = rng.standard_normal(hours.size) * math.sqrt(_STEP_HOURS / HOURS_PER_DAY)
        return np.asarray(sd_per_day * np.cumsum(steps))

    return draw


@dataclass(frozen=True)
class Family:
    """A kind of noise under which the promises must hold.

    Attributes:
        name: for the table.
        effects: what it is made of.
        hosts: whether instances are kept.
        lasting: it has an effect that lasts as long as the sweep: only a claim about the measured
            period can be made within few days.
    """

    name: str
    effects: Effects
    hosts: Hosts = "fresh"
    lasting: bool = False
    model: Model = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Make the model once."""
        object.__setattr__(self, "model", compose(self.effects))


def families() -> tuple[Family, ...]:
    """The rows of the published table."""
    noise = (normal(),)
    return (
        Family("independent", Effects(noise)),
        Family("t, 4 degrees", Effects((heavy_tailed(),))),
        Family("exponential", Effects((skewed(),))),
        Family("Pareto tails", Effects((pareto(),))),
        Family("unequal counts 1:16", Effects((unequal_noise(),))),
        Family("bimodal connections 5 %", Effects((normal(), bimodal(0.05)))),
        Family("own bursts 10 %", Effects((normal(), bursts(0.1)))),
        Family("common bursts 30 %", Effects((normal(), common_bursts(0.3)))),
        Family("host 1 %, fresh", Effects(noise, host_sd=0.01)),
        Family("host 2 %, fresh", Effects(noise, host_sd=0.02)),
        Family("host 2 %, kept", Effects(noise, host_sd=0.02), hosts="kept"),
        Family("route 2 h, 4 %", Effects(noise, (two_levels(2, 0.04),))),
        Family("route 8 h, 4 %", Effects(noise, (two_levels(8, 0.04),))),
        Family("route 8 h, 10 %", Effects(noise, (two_levels(8, 0.1),))),
        Family("drift 1 h, 3 %", Effects(noise, (drift(1, 0.03),))),
        Family("drift 3 h, 3 %", Effects(noise, (drift(3, 0.03),))),
        Family("drift 6 h, 3 %", Effects(noise, (drift(6, 0.03),))),
        Family("daily cycle 5 %", Effects(noise, (daily_cycle(0.05),))),
        Family("common trend", Effects(noise, shared=(walk(0.05),))),
        Family("15 % of blocks missing", Effects(noise, missing=0.15)),
        Family("clocks 2.5 % apart, kept", Effects(noise, clock=0.0125), hosts="kept"),
        Family(
            "host 2 %, route 8 h, drift 3 h",
            Effects(noise, (two_levels(8, 0.04), drift(3, 0.03)), host_sd=0.02),
        ),
        Family("t, bursts, drift 6 h", Effects((heavy_tailed(), bursts(0.1)), (drift(6, 0.03),))),
        Family(
            "exponential, route 8 h, missing",
            Effects((skewed(),), (two_levels(8, 0.04),), missing=0.15),
        ),
        Family(
            "clocks, route 2 h, bimodal, kept",
            Effects((normal(), bimodal(0.05)), (two_levels(2, 0.04),), clock=0.0125),
            hosts="kept",
        ),
        Family("route 24 h, 4 %", Effects(noise, (two_levels(24, 0.04),)), lasting=True),
        Family("days 3 %", Effects(noise, (days(0.03),)), lasting=True),
        Family("walk 3 % a day", Effects(noise, (walk(0.03),)), lasting=True),
        Family(
            "days 3 %, route 8 h, missing",
            Effects(noise, (days(0.03), two_levels(8, 0.04)), missing=0.1),
            lasting=True,
        ),
    )

"""Simulated sweeps of random blocks: the noise is what it says, and the contest judges it well."""

from __future__ import annotations

import numpy as np
import pytest

from latency_sweep.contract.timeline import NS_PER_SEC, SEC_PER_DAY, RandomStarts, Timeline
from latency_sweep.lab.simulation import blocks
from latency_sweep.lab.simulation.block_calibration import (
    SimulatedContest,
    Staged,
    staged_trial,
    starts_of,
    trial,
)

LEVELS = np.array([0.0, 0.1])
STARTS = starts_of(1, 6, 60)
QUIET = blocks.compose(blocks.Effects((blocks.normal(),)))


def series_of(effects: blocks.Effects, hosts: blocks.Hosts = "fresh") -> blocks.BlockSeries:
    return blocks.compose(effects)(np.random.default_rng(1), LEVELS, STARTS, hosts)


def test_the_schedule_is_the_one_that_probes_follow() -> None:
    timeline = Timeline(300 * NS_PER_SEC, 600 * NS_PER_SEC, 0, random_starts=RandomStarts(6, 1))
    midnight_ns = 20_000 * SEC_PER_DAY * NS_PER_SEC
    run = timeline.run_at(midnight_ns)
    for start in STARTS[:5]:
        assert (run.measure_start_ns - midnight_ns) / NS_PER_SEC / 3600 == pytest.approx(start)
        run = timeline.run_after(run)


@pytest.mark.parametrize(
    "own",
    [
        blocks.normal(),
        blocks.heavy_tailed(),
        blocks.skewed(),
        blocks.pareto(),
        blocks.bimodal(0.05),
        blocks.bursts(0.1),
        blocks.common_bursts(0.1),
        blocks.unequal_noise(),
    ],
)
def test_what_a_block_has_to_itself_has_no_mean(own: blocks.Own) -> None:
    drawn = own(np.random.default_rng(1), (2, 40_000))
    assert abs(drawn.mean()) < 0.002
    assert 0.01 < drawn.std() < 0.2


@pytest.mark.parametrize(
    ("path", "sd"),
    [
        (blocks.two_levels(8, 0.04), 0.02),
        (blocks.drift(3, 0.03), 0.03),
        (blocks.days(0.03), 0.03),
        (blocks.daily_cycle(0.05), 0.05 / np.sqrt(2)),
    ],
)
def test_paths_vary_as_much_as_they_say(path: blocks.Path, sd: float) -> None:
    hours = np.arange(0, 24 * 400, 0.1)
    drawn = path(np.random.default_rng(1), hours)
    assert drawn.shape == hours.shape
    assert drawn.std() == pytest.approx(sd, rel=0.15)
    # They hang together over minutes.
    assert np.corrcoef(drawn[:-1], drawn[1:])[0, 1] > 0.9


def test_the_truth_is_the_mean_level_of_the_period() -> None:
    seen = series_of(blocks.Effects(paths=(blocks.drift(3, 0.2),)))
    # Without noise, blocks at random times estimate it, and it moves while the sweep goes on.
    assert seen.log_p99.mean(axis=1) == pytest.approx(seen.truth[:, -1], abs=0.1)
    assert np.abs(np.diff(seen.truth[0])).max() > 0.001
    still = series_of(blocks.Effects((blocks.normal(),)))
    assert still.truth == pytest.approx(np.repeat(LEVELS[:, np.newaxis], 60, axis=1))


def test_a_kept_host_is_part_of_what_is_compared_and_a_fresh_one_is_noise() -> None:
    effects = blocks.Effects(host_sd=0.5)
    fresh, kept = series_of(effects), series_of(effects, "kept")
    assert fresh.log_p99[0].std() > 0.3
    assert kept.log_p99[0].std() < 1e-9
    assert fresh.lasting == pytest.approx(LEVELS)
    assert kept.truth[:, 0] == pytest.approx(kept.lasting)
    assert np.abs(kept.lasting - LEVELS).max() > 0.1


def test_blocks_are_missing_and_clocks_off_as_asked() -> None:
    seen = series_of(blocks.Effects(missing=0.5, clock=0.01), "kept")
    assert 0.3 < np.isnan(seen.log_p99).mean() < 0.7
    apart = np.nanmean(seen.log_p99[1]) - np.nanmean(seen.log_p99[0])
    assert apart == pytest.approx(0.1 + 0.02, abs=1e-4)
    assert seen.clock_bound == 0.01


def test_families_have_names_of_their_own() -> None:
    names = [family.name for family in blocks.families()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("hosts", ["fresh", "kept"])
def test_two_sites_alike_seldom_get_a_winner(hosts: blocks.Hosts) -> None:
    trials = [trial(SimulatedContest(QUIET, hosts), (1, n)) for n in range(40)]
    assert sum(t.false for t in trials) <= 5
    assert sum(t.covered for t in trials) >= 35
    assert not any(t.beyond_margin for t in trials)


def test_clocks_at_opposite_ends_of_their_bounds_win_nothing() -> None:
    model = blocks.compose(blocks.Effects((blocks.normal(0.01),), clock=0.0125))
    trials = [trial(SimulatedContest(model, "kept"), (2, n)) for n in range(20)]
    assert sum(t.false for t in trials) <= 3
    # Were they taken for the clocks of fresh hosts, which they are not, all would be fooled.
    assert sum(trial(SimulatedContest(model, "fresh"), (2, n)).false for n in range(5)) == 5


def test_a_site_that_is_better_by_five_per_cent_wins_within_the_cap() -> None:
    trials = [trial(SimulatedContest(QUIET, levels=(0.05, 0.0, 0.05)), (3, n)) for n in range(20)]
    assert sum(t.right for t in trials) >= 19
    assert np.mean([t.result.blocks for t in trials]) < 25


def test_two_stages_find_region_and_type_in_few_instance_hours() -> None:
    staged = Staged("", tuple(np.log([10.0, 20.0, 30.0])), (0.0, 0.05, 0.05, 0.05))
    trials = [staged_trial(staged, (4, n)) for n in range(20)]
    assert all(t.region_right for t in trials)
    assert sum(t.right for t in trials) >= 18
    assert np.mean([t.hours for t in trials]) < 30
    assert np.mean([t.region_hours for t in trials]) < 6

"""All checks, in the order in which their results are read."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from latency_sweep.contract import experiment
from latency_sweep.probe.clock import local
from latency_sweep.probe.clock.steps import StepDetector
from latency_sweep.probe.doctor import cpu, ethtool, network_card
from latency_sweep.probe.doctor.clock import check_leap_smear, check_local_clock, check_steps
from latency_sweep.probe.doctor.configuration import Configuration, check_configuration
from latency_sweep.probe.doctor.event_loop import check_lateness, measure_lateness
from latency_sweep.probe.doctor.exchange_clock import ExchangeClockCheck
from latency_sweep.probe.doctor.limits import check_file_descriptors
from latency_sweep.probe.doctor.route import check_endpoint
from latency_sweep.probe.doctor.timestamps import check_receive_timestamps, check_timestamp_sources
from latency_sweep.probe.net.loop import Loop
from latency_sweep.probe.net.receiving import Timestamps
from latency_sweep.runtime.check_result import CheckResult, CheckStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from latency_sweep.probe.settings import Settings

WATCH_SEC: Final = 1.0
_NEED_CONFIGURATION: Final = (
    "DNS",
    "route to exchange",
    "TLS",
    "exchange clock",
    "clock drift",
)


def run_checks(load: Callable[[], Settings], *, watch_sec: float = WATCH_SEC) -> list[CheckResult]:
    """Run every check; takes a little more than `watch_sec`.

    Args:
        load: gives the settings, or raises SettingsError or ExperimentError, which is a finding.
        watch_sec: how long clock steps, event loop, CPU and network card are watched.
    """
    with asyncio.Runner(loop_factory=Loop) as runner:
        return runner.run(_run(load, watch_sec))


async def _run(load: Callable[[], Settings], watch_sec: float) -> list[CheckResult]:
    configured, configuration = check_configuration(load)
    clock, reading = check_local_clock(*_clock_source(configuration))
    timestamps = check_receive_timestamps()
    usable = cpu.usable_cpus()

    interface = network_card.default_interface()
    exchange = _exchange(configuration)
    if exchange is not None:
        await exchange.ask()
    steps = StepDetector()
    time_before, counters_before = cpu.read_cpu_time(), _counters(interface)
    late_ns = await measure_lateness(watch_sec)
    time_after, counters_after = cpu.read_cpu_time(), _counters(interface)
    step_sec = steps.check()

    if configuration is None or exchange is None:
        network = [
            CheckResult(name, CheckStatus.SKIP, "the configuration is not valid", "")
            for name in _NEED_CONFIGURATION
        ]
    else:
        await exchange.ask()
        network = await check_endpoint(
            configuration.url, configuration.tls, pinned=configuration.settings.pin_address
        )
        network += [
            exchange.check_clock(reading),
            exchange.check_drift(stepped=step_sec is not None),
        ]
    return [
        configured,
        clock,
        check_steps(step_sec, watch_sec),
        check_leap_smear(reading),
        timestamps,
        check_timestamp_sources(_asked_timestamps(configuration), interface),
        check_lateness(late_ns),
        cpu.check_cores(usable),
        cpu.check_isolation(usable),
        cpu.check_governor(),
        cpu.check_clock_source(),
        cpu.check_load(len(usable)),
        cpu.check_steal(time_before, time_after),
        network_card.check_allowances(interface, counters_before, counters_after),
        check_file_descriptors(),
        *network,
    ]


def _clock_source(
    configuration: Configuration | None,
) -> tuple[Callable[[], local.ClockReading], float]:
    """The reader to ask and the bound to hold it against, the experiment's defaults if need be."""
    if configuration is None:
        limit_sec = experiment.load(None).decision.constraints.clock_error_bound_sec
        return local.SOURCES[local.AUTO], limit_sec
    settings = configuration.settings
    limit_sec = settings.experiment.decision.constraints.clock_error_bound_sec
    return local.SOURCES[settings.clock_source], limit_sec


def _asked_timestamps(configuration: Configuration | None) -> Timestamps:
    return Timestamps.AUTO if configuration is None else configuration.settings.receiving.timestamps


def _exchange(configuration: Configuration | None) -> ExchangeClockCheck | None:
    if configuration is None:
        return None
    url = configuration.settings.experiment.market_data.time_endpoint
    return ExchangeClockCheck(url, configuration.tls)


def _counters(interface: str | None) -> dict[str, int]:
    if interface is None:
        return {}
    try:
        return ethtool.read_statistics(interface)
    except OSError:
        return {}

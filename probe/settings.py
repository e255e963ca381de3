"""Settings of a probe, as a typed record; `latency_sweep.probe.options` parses them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

    from latency_sweep.contract.experiment import Experiment
    from latency_sweep.probe.net.receiving import Receiving
    from latency_sweep.probe.tuning import Tuning
    from latency_sweep.runtime.logs import LogFormat

# Binance allows an address 300 attempts to connect in five minutes. A connection that is cut again
# and again makes 60 of them: after 5 s it was a good one, and is replaced at once.
MAX_CONNECTIONS: Final = 5


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a probe needs to know.

    Attributes:
        experiment: the experiment with all overrides applied.
        experiment_id: value of the `experiment` label of `feed_probe_info`.
        region: what the probe was told of its region.
        instance_family: what it was told of its instance.
        az_id: what it was told of its availability zone.
        instance_type: what it was told of its instance type.
        metrics_host: address the metrics endpoint listens on.
        metrics_port: that port; 0 picks a free one.
        web_config_file: access control of the metrics endpoint in exporter-toolkit's format, or
            None.
        bearer_token_file: tokens that the metrics endpoint accepts, or None.
        final_scrape_wait_sec: how long to wait after SIGTERM for a scrape of the last values.
        api_key: key of markets that need one, or None; never shown.
        api_key_file: where it was read, or None.
        connections: parallel connections; of redundant messages the first arrival counts.
        pin_address: IP address of the exchange to use, or None.
        all_addresses: one connection to each IP address of the endpoint.
        ca_file: CA certificates to trust instead of the system's, or None.
        clock_source: name of the local clock's source.
        time_interval_sec: between queries of the exchange's time.
        receiving: where receive timestamps come from, and whether to poll.
        tuning: options that make the reader faster to run.
        record_file: file that every message is recorded in, or None.
        log_format: how a line of the log is written.
        log_level: the least that is logged, one of `runtime.logs.LEVELS`.
    """

    experiment: Experiment
    experiment_id: str
    region: str
    instance_family: str
    az_id: str
    instance_type: str
    metrics_host: str
    metrics_port: int
    web_config_file: Path | None
    bearer_token_file: Path | None
    final_scrape_wait_sec: float
    api_key: str | None = field(repr=False)
    api_key_file: Path | None
    connections: int
    pin_address: str | None
    all_addresses: bool
    ca_file: Path | None
    clock_source: str
    time_interval_sec: float
    receiving: Receiving
    tuning: Tuning
    record_file: Path | None
    log_format: LogFormat
    log_level: str


class SettingsError(Exception):
    """Settings that cannot work; the message is one sentence that says which and why."""


def read_api_key(path: Path) -> str:
    """The API key in a file.

    Raises:
        SettingsError: it cannot be read, or is no text.
    """
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise SettingsError(f"--api-key-file {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"--api-key-file {path}: is no key of letters and digits.") from error

"""Check of the settings."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from latency_sweep.contract.experiment import ExperimentError
from latency_sweep.probe.app import make_feeds
from latency_sweep.probe.settings import SettingsError
from latency_sweep.runtime.check_result import CheckResult, CheckStatus, plural

if TYPE_CHECKING:
    from collections.abc import Callable

    from latency_sweep.probe.settings import Settings

_NAME: Final = "configuration"
_EXPECTED: Final = "valid"


@dataclass(frozen=True, slots=True)
class Configuration:
    """Settings that work, and what the checks need of them.

    Attributes:
        settings: all of them.
        url: of the first feed's WebSocket; a market's feeds share the host.
        tls: CAs to trust.
    """

    settings: Settings
    url: str
    tls: ssl.SSLContext


def check_configuration(load: Callable[[], Settings]) -> tuple[CheckResult, Configuration | None]:
    """Whether flags, environment and experiment file make a probe."""
    try:
        settings = load()
        feeds = make_feeds(settings.experiment.market_data, settings.api_key)
        tls = ssl.create_default_context(cafile=settings.ca_file)
        tls.options |= ssl.OP_NO_RENEGOTIATION
    except (ExperimentError, SettingsError) as error:
        return CheckResult(
            _NAME, CheckStatus.FAIL, str(error), _EXPECTED, "Correct the setting that is named."
        ), None
    except (OSError, ssl.SSLError) as error:
        found = f"--ca-file cannot be used: {error.strerror or error}"
        return CheckResult(
            _NAME, CheckStatus.FAIL, found, _EXPECTED, "Give a readable PEM file."
        ), None
    market = settings.experiment.market_data.market
    channels = sum(len(feed.channels) for feed in feeds)
    found = f"{settings.experiment_id}: {market}, {plural(channels, 'channel')}"
    return CheckResult(_NAME, CheckStatus.PASS, found, _EXPECTED), Configuration(
        settings, feeds[0].url, tls
    )

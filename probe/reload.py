"""Reloads secrets and the web configuration, at SIGHUP and when their files change."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from latency_sweep.probe.feeds.base import FeedConfigError
from latency_sweep.probe.feeds.binance_sbe import BinanceSbe
from latency_sweep.probe.http.policy import LivePolicy
from latency_sweep.probe.settings import SettingsError, read_api_key
from latency_sweep.runtime import logs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latency_sweep.probe.feeds.base import Feed
    from latency_sweep.probe.measurement.instruments import Instruments
    from latency_sweep.probe.settings import Settings

_LOG: Final = logs.logger(__name__)


class Reloader:
    """What may change while the probe runs; the experiment may not.

    Args:
        settings: name the files.
        feeds: take a new API key for their next connection.
        instruments: show whether the last reload succeeded.

    Attributes:
        policy: of the metrics port.

    Raises:
        WebConfigError: the files of the metrics port cannot be used.
    """

    def __init__(self, settings: Settings, feeds: Sequence[Feed], instruments: Instruments) -> None:
        self._api_key_file = settings.api_key_file
        self._api_key = settings.api_key
        self._api_key_bad = False
        self._feeds = [feed for feed in feeds if isinstance(feed, BinanceSbe)]
        self._instruments = instruments
        self.policy = LivePolicy(
            settings.web_config_file, settings.bearer_token_file, on_reload=self._show
        )
        self._show()

    def reload(self) -> None:
        """Reload everything; what cannot be used is logged, and the old value stays in use."""
        self._reload_api_key()
        self.policy.reload()

    def _reload_api_key(self) -> None:
        if self._api_key_file is None or not self._feeds:
            return
        try:
            key = read_api_key(self._api_key_file)
            if key == self._api_key:
                return
            for feed in self._feeds:
                feed.use_api_key(key)
        except (SettingsError, FeedConfigError) as error:
            self._api_key_bad = True
            _LOG.error("the old API key stays in use", extra={"error": error})
        else:
            self._api_key_bad = False
            self._api_key = key
            _LOG.info("the API key has changed; connections opened from now on use the new one")

    def _show(self) -> None:
        succeeded = not self._api_key_bad and self.policy.last_error is None
        self._instruments.config_reload_successful.set(succeeded)
        if succeeded:
            self._instruments.config_reload_success.set(time.time())

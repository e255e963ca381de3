"""The simulated exchange as a child process, for tests and the local stack."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any, Self

from latency_sweep.lab.exchange.ground_truth.reader import read_ground_truth
from latency_sweep.runtime.child import Child

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    import pandas as pd

    from latency_sweep.lab.exchange.config import ExchangeConfig, MarketName

# Generous: a busy machine is slow, and these only bound the wait for a failure.
READY_TIMEOUT_SEC = 120.0
STOP_TIMEOUT_SEC = 60.0
CONTROL_TIMEOUT_SEC = 10.0


class ExchangeProcessError(Exception):
    """The exchange refused a command; the message quotes it."""


class ExchangeProcess:
    """Start, command and stop a simulated exchange. A context manager.

    The folder receives `exchange.json` (the configuration), `exchange.log` (its standard error)
    and, unless the configuration names other paths, `ready.json` and `ground_truth/`.
    """

    def __init__(self, config: ExchangeConfig, folder: Path) -> None:
        """Prepare an exchange with a folder of its own; nothing is started yet."""
        self._ground_truth_dir = config.ground_truth_dir or folder / "ground_truth"
        self._ready_file = config.ready_file or folder / "ready.json"
        self.config = config.model_copy(
            update={"ground_truth_dir": self._ground_truth_dir, "ready_file": self._ready_file}
        )
        self.folder = folder
        self._child: Child | None = None
        self._addresses: dict[str, Any] = {}

    def start(self) -> Self:
        """Start it and wait until it is ready.

        Raises:
            ChildError: it ended, or was not ready in time.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._ready_file.unlink(missing_ok=True)
        config_file = self.folder / "exchange.json"
        config_file.write_text(self.config.model_dump_json(indent=2), encoding="utf-8")
        command = [sys.executable, "-m", "latency_sweep.lab.exchange", "--config", str(config_file)]
        self._child = Child("exchange", command, folder=self.folder)
        try:
            self._child.wait_until(
                self._ready_file.exists, within_sec=READY_TIMEOUT_SEC, what="get ready"
            )
        except BaseException:
            self._child.stop()
            self._child = None
            raise
        self._addresses = json.loads(self._ready_file.read_text(encoding="utf-8"))
        return self

    def stop(self) -> None:
        """Stop it cleanly: the ground truth is complete afterwards. Does nothing if it is stopped.

        Raises:
            ChildError: it did not end in time or ended with an error.
        """
        child, self._child = self._child, None
        if child is None:
            return
        with child:
            child.ask_to_stop()
            if child.wait(within_sec=STOP_TIMEOUT_SEC) != 0:
                child.check()

    def __enter__(self) -> Self:
        """Start it."""
        return self.start()

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Stop it."""
        self.stop()

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._child.pid if self._child else None

    def url(self, site: str, market: MarketName | None = None) -> str:
        """WebSocket endpoint of a site, `wss://127.0.0.1:PORT`; of the first market for None."""
        urls: dict[str, str] = self._addresses["sites"][site]["urls"]
        return urls[market or next(iter(self.config.markets))]

    @property
    def rest_url(self) -> str:
        """Base of the REST interface, `https://127.0.0.1:PORT`."""
        url: str = self._addresses["rest"]
        return url

    @property
    def time_url(self) -> str:
        """The REST time endpoint of the first market."""
        return self.market_time_url(next(iter(self.config.markets)))

    def market_time_url(self, market: MarketName) -> str:
        """The REST time endpoint of a market."""
        url: str = self._addresses["time"][market]
        return url

    @property
    def control_url(self) -> str:
        """Base of the control interface, `http://127.0.0.1:PORT`."""
        url: str = self._addresses["control"]
        return url

    def stats(self) -> dict[str, Any]:
        """Counters of the running exchange."""
        return self._request("stats", None)

    def control(self, action: str, **parameters: object) -> int:
        """Carry out a control action and return the number of connections concerned.

        Raises:
            ExchangeProcessError: the exchange refused it.
        """
        answer: int = self._request(action, parameters)["connections"]
        return answer

    def ground_truth(self, site: str) -> pd.DataFrame:
        """The ground truth of a site so far; see `ground_truth.reader.read_ground_truth`."""
        if self._child is not None:
            self.control("flush", site=site)
        return read_ground_truth(self._ground_truth_dir / f"{site}.truth")

    def _request(self, action: str, parameters: dict[str, object] | None) -> dict[str, Any]:
        body = None if parameters is None else json.dumps(parameters).encode()
        request = urllib.request.Request(  # noqa: S310 - our own http address
            f"{self.control_url}/control/{action}",
            data=body,
            headers={"Content-Type": "application/json"},
        )
        # A proxy in the environment must not be used.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=CONTROL_TIMEOUT_SEC) as response:
                answer: dict[str, Any] = json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                text = error.read().decode(errors="replace")
            raise ExchangeProcessError(f"{action}: {text}") from None
        return answer

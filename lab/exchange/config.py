"""Configuration of the simulated exchange: one validated description, from YAML or JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from latency_sweep.contract import markets as contract_markets
from latency_sweep.contract import values

if TYPE_CHECKING:
    from collections.abc import Sequence

SiteName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
SymbolName = values.Symbol
Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0, le=1)]
AnyPath = Annotated[Path, Field(strict=False)]
# The part of a stream's name after `@`, up to the next one: `depth` of `btcusdt@depth@100ms`.
StreamKind = str
# `*` stands for every kind that is not named.
PerKind = dict[StreamKind, Probability]
NS_PER_MS = 1_000_000
# Spot and futures in JSON, and spot in SBE: each has a host of its own.
MarketName = contract_markets.MarketName
MARKET_NAMES: Final[tuple[MarketName, ...]] = get_args(MarketName)
Port = Annotated[int, Field(ge=0, le=65535)]


class ConfigError(Exception):
    """The configuration cannot be used; the message names the file, the key and the fix."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Constant(_Section):
    """Always the same."""

    distribution: Literal["constant"] = "constant"
    ms: NotNegative = 0.0


class Uniform(_Section):
    """Equally likely between two bounds."""

    distribution: Literal["uniform"]
    low_ms: NotNegative
    high_ms: NotNegative

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low_ms > self.high_ms:
            raise ValueError(f"low_ms {self.low_ms:g} must not exceed high_ms {self.high_ms:g}")
        return self


class Lognormal(_Section):
    """`floor_ms` plus a log-normal variable with this median and sigma of the logarithm."""

    distribution: Literal["lognormal"]
    median_ms: Positive
    sigma: NotNegative
    floor_ms: NotNegative = 0.0


class Gamma(_Section):
    """`floor_ms` plus a gamma variable; its mean is `shape * scale_ms`."""

    distribution: Literal["gamma"]
    shape: Positive
    scale_ms: Positive
    floor_ms: NotNegative = 0.0


class Component(_Section):
    """One part of a mixture; weights need not add up to one."""

    weight: Positive
    of: Delay


class Mixture(_Section):
    """Each delay comes from one component, chosen by weight; a rare slow one makes spikes."""

    distribution: Literal["mixture"]
    components: Annotated[list[Component], Field(min_length=1)]


Delay = Annotated[
    Constant | Uniform | Lognormal | Gamma | Mixture, Field(discriminator="distribution")
]
Component.model_rebuild()


class Level(_Section):
    """A slow AR(1) factor exp(x) on every latency: x' = phi * x + noise, once per `step_sec`.

    `sigma` is the standard deviation of x in the long run.
    """

    sigma: NotNegative
    phi: Annotated[float, Field(ge=0, lt=1)] = 0.98
    step_sec: Positive = 1.0


class SiteConfig(_Section):
    """One site where the feed is received: its latency and its faults.

    Attributes:
        latency: one-way latency from the exchange to the site.
        level: slow change of that latency, or None.
        loss: share of messages never sent although their ids are consumed, by stream kind.
        duplicates: share of messages sent twice, by stream kind.
        reordering: share of messages sent right after their successor, by stream kind.
        port: port of the site's endpoint, or of each market's; 0 takes a free one.
    """

    latency: Delay = Constant()
    level: Level | None = None
    loss: PerKind = {}
    duplicates: PerKind = {}
    reordering: PerKind = {}
    port: Port | dict[MarketName, Port] = 0

    def port_of(self, market: MarketName) -> int:
        """Port of one market's endpoint."""
        return self.port.get(market, 0) if isinstance(self.port, dict) else self.port


class Bursts(_Section):
    """Orders that follow another one closely; counted in the symbol's `trades_per_sec`.

    Attributes:
        probability: share of ordinary orders that start a burst.
        orders: mean number of orders that follow.
        gap_ms: mean time between them.
    """

    probability: Probability = 0.01
    orders: Annotated[float, Field(ge=1)] = 10.0
    gap_ms: Positive = 0.5


class Symbol(_Section):
    """How busily a symbol trades.

    Attributes:
        trades_per_sec: mean rate of `trade` messages.
        mean_fills: mean number of trades that one order makes; they share T and E.
        bursts: orders that come together.
        book_updates_per_sec: mean rate of changes of the book that no trade makes.
        depth_levels: most levels per side in one `depth` message.
        price: first price; a random walk follows.
        tick: smallest step of the price.
        never_sent: share of messages that no site gets although their ids are consumed, by stream
            kind.
    """

    trades_per_sec: Positive = 20.0
    mean_fills: Annotated[float, Field(ge=1)] = 1.6
    bursts: Bursts = Bursts()
    book_updates_per_sec: NotNegative = 20.0
    depth_levels: Annotated[int, Field(ge=1, le=1000)] = 12
    price: Positive = 100.0
    tick: Annotated[float, Field(ge=1e-8, allow_inf_nan=False)] = 0.01
    never_sent: PerKind = {}

    @property
    def mean_gap_sec(self) -> float:
        """Mean time from an ordinary order, or from the burst it started, to the next one."""
        followers = self.bursts.probability * self.bursts.orders
        cycle_sec = self.mean_fills * (1 + followers) / self.trades_per_sec
        return cycle_sec - followers * self.bursts.gap_ms / 1e3

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.mean_gap_sec <= 0:
            raise ValueError(
                f"{self.trades_per_sec:g} trades_per_sec cannot be reached with bursts this slow; "
                "lower bursts.gap_ms"
            )
        if self.price <= self.tick:
            raise ValueError("price must exceed tick")
        return self


class Tls(_Section):
    """The server's certificate and key, PEM files."""

    cert: AnyPath
    key: AnyPath


class LimitOverrides(_Section):
    """Changes to the limits of a connection, and to its timers.

    None keeps the market's own limit; see `rules.ConnectionLimits`.
    """

    messages_per_sec: Annotated[int, Field(ge=1)] | None = None
    streams: Annotated[int, Field(ge=1)] | None = None
    ping_interval_sec: Positive | None = None
    pong_timeout_sec: Positive | None = None
    lifetime_sec: Positive | None = None


class MarketConfig(_Section):
    """One market of the exchange.

    Attributes:
        symbols: what is traded there; None: what is traded on the whole exchange.
        api_keys: keys that open a connection, where one is needed.
    """

    symbols: dict[SymbolName, Symbol] | None = None
    api_keys: list[Annotated[str, Field(pattern=r"^[A-Za-z0-9]+$")]] = []


class Replay(_Section):
    """Recorded frames to send in place of the generated market.

    Attributes:
        market: which market they are from; may be left out if there is only one.
        file: a receive time and a frame per line, in any format that docs/recordings.md lists.
        streams: full names of the streams whose raw messages it holds.
        speed: 2 sends in half the time; each frame's own latency is kept.
        limit: most frames to send.
        start_at: Unix seconds; None starts once every site has a subscriber.
    """

    market: MarketName | None = None
    file: AnyPath
    streams: list[str] = []
    speed: Positive = 1.0
    limit: Annotated[int, Field(ge=1)] | None = None
    start_at: Positive | None = None


class ExchangeConfig(_Section):
    """The whole simulated exchange.

    Attributes:
        seed: the same seed and configuration give the same market and the same random draws.
        sites: the sites that receive the feed, by name.
        markets: its markets, by name; every site receives all of them.
        symbols: what is traded in every market that has no list of its own; unused in one whose
            recording is replayed.
        exchange_delay: trade time T to event time E.
        clock_offset_ms: added to every time that leaves the exchange: E, T and serverTime.
        limits: what differs from each market's own limits.
        tls: None serves ws:// and http://.
        host: address of every listener; a loopback address.
        rest_port: port of the REST listener; 0 takes a free one.
        control_port: port of the control listener; 0 takes a free one.
        ready_file: where the addresses are written, besides the line on stdout.
        ground_truth_dir: folder of the ground truth; None writes none.
    """

    seed: Annotated[int, Field(ge=0)] = 1
    sites: Annotated[dict[SiteName, SiteConfig], Field(min_length=1)]
    markets: Annotated[dict[MarketName, MarketConfig], Field(min_length=1)] = {
        "spot": MarketConfig()
    }
    symbols: dict[SymbolName, Symbol] = {}
    exchange_delay: Delay = Lognormal(distribution="lognormal", median_ms=1.2, sigma=0.8)
    clock_offset_ms: Finite = 0.0
    limits: LimitOverrides = LimitOverrides()
    tls: Tls | None = None
    host: Literal["127.0.0.1", "::1"] = "127.0.0.1"
    rest_port: Annotated[int, Field(ge=0, le=65535)] = 0
    control_port: Annotated[int, Field(ge=0, le=65535)] = 0
    ready_file: AnyPath | None = None
    ground_truth_dir: AnyPath | None = None
    replay: Replay | None = None

    @model_validator(mode="after")
    def _has_a_source(self) -> Self:
        if self.replay is not None and self.replay.market is None and len(self.markets) > 1:
            raise ValueError(f"replay.market: name one of {', '.join(self.markets)}")
        for name in self.markets:
            replayed = name == self.replayed_market
            if not replayed and not self.symbols_of(name):
                raise ValueError("name at least one of `symbols` or give `replay`")
            if replayed and name == "sbe":
                raise ValueError("replay.market: recordings are JSON; sbe cannot be replayed")
            if name == "sbe" and not self.markets[name].api_keys:
                raise ValueError("markets.sbe.api_keys: name at least one key")
        if self.replay is not None and self.replayed_market not in self.markets:
            raise ValueError(f"replay.market: {self.replay.market} is none of the `markets`")
        return self

    @model_validator(mode="after")
    def _ports_are_clear(self) -> Self:
        for name, site in self.sites.items():
            if isinstance(site.port, int) and site.port and len(self.markets) > 1:
                raise ValueError(
                    f"sites.{name}.port: give each market its port, as in "
                    f"{{spot: {site.port}, usdm: {site.port + 1}}}"
                )
        return self

    def symbols_of(self, market: MarketName) -> dict[SymbolName, Symbol]:
        """What is traded in a market."""
        own = self.markets[market].symbols
        return self.symbols if own is None else own

    @property
    def replayed_market(self) -> MarketName | None:
        """The market whose messages come from a recording, or None."""
        if self.replay is None:
            return None
        return self.replay.market or next(iter(self.markets))

    @property
    def clock_offset_ns(self) -> int:
        """`clock_offset_ms` in nanoseconds."""
        return round(self.clock_offset_ms * NS_PER_MS)


def load(path: Path) -> ExchangeConfig:
    """Read and validate a configuration file, YAML or JSON.

    Raises:
        ConfigError: unreadable, malformed, or a key missing, unknown or of a wrong value.
    """
    try:
        # JSON is a subset of YAML.
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}.") from error
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        problem = " ".join(str(error).split())
        raise ConfigError(f"{path}: not valid YAML or JSON: {problem}.") from error
    return parse(document, source=str(path))


def parse(document: object, *, source: str) -> ExchangeConfig:
    """Validate a configuration that has been read already; see `load`."""
    if not isinstance(document, dict):
        raise ConfigError(f"{source}: expected a mapping with keys such as `sites` and `symbols`.")
    try:
        return ExchangeConfig.model_validate(document)
    except ValidationError as error:
        raise ConfigError(_sentence(source, error.errors(include_url=False))) from error


def _sentence(source: str, faults: Sequence[Any]) -> str:
    """The first fault; the others often follow from it."""
    fault = faults[0]
    key = ".".join(str(part) for part in fault["loc"]) or "file"
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "extra_forbidden":
        message = "unknown key; remove it or correct its spelling"
    more = f" ({len(faults) - 1} more)" if len(faults) > 1 else ""
    return f"{source}: {key}: {message[:1].lower()}{message[1:]}{more}."

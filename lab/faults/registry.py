"""The table of faults by name: what each does and which metrics must show it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from latency_sweep.contract.metrics import ErrorKind, ReconnectReason
from latency_sweep.lab.faults import at_connect as c
from latency_sweep.lab.faults import frames as f
from latency_sweep.lab.faults import in_flight as i
from latency_sweep.lab.faults.certificates import Identity
from latency_sweep.lab.faults.dns import NXDOMAIN, SERVFAIL, DnsServer, Silence
from latency_sweep.lab.faults.fault import Fault
from latency_sweep.lab.faults.ids import Renumber, shift_ids

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# Longer than the longest message that a client of market data should take.
_OVERSIZE_BYTES: Final = 1 << 40
# More than a client of market data should take in a second.
_FLOOD_FRAMES: Final = 5000
# The codes that a server may send (RFC 6455, section 7.4, and IANA's registry), and others.
CLOSE_CODES: Final = (*range(1000, 1004), *range(1007, 1015), 3000, 4000, 4999)
FORBIDDEN_CODES: Final = (999, 1004, 1005, 1006, 1015, 2999, 5000)
_STATUSES: Final = (401, 403, 418, 429, 451, 503)
# Where a name moves to; all of 127.0.0.0/8 is this machine.
MOVED_TO: Final = "127.0.0.2"


@dataclass(frozen=True, slots=True)
class FaultContext:
    """What a fault may need besides its proxy.

    Attributes:
        dns: the server that resolves the probe's names.
        host: the name under which this probe knows the exchange.
    """

    dns: DnsServer
    host: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One fault of the table.

    Attributes:
        description: description for the report.
        make: makes the fault for one proxy.
        window_sec: duration.
        shows: selectors of series of the probe that must be above zero afterwards.
        command: what the exchange is told when the fault begins: action and parameters.
        patched: which part of the probe is patched for it, `dns` or `rollover`; empty for none.
        lossless: whether no message may be lost.
    """

    description: str
    make: Callable[[FaultContext], Fault]
    window_sec: float
    shows: tuple[str, ...] = ()
    command: tuple[str, Mapping[str, Any]] | None = None
    patched: str = ""
    lossless: bool = False

    @property
    def lasting(self) -> bool:
        """Whether it lasts for its window; else it occurs once, at the beginning."""
        return self.window_sec > STRIKE_SEC


# A momentary fault gets this long to find a frame to change.
STRIKE_SEC: Final = 1.0


def _errors(kind: ErrorKind) -> str:
    return f'feed_errors_total{{kind="{kind}"}}'


def _reconnects(reason: ReconnectReason) -> str:
    return f'feed_reconnects_total{{reason="{reason}"}}'


_LOST = _reconnects(ReconnectReason.CONNECTION_LOST)
_CLOSED = _reconnects(ReconnectReason.SERVER_CLOSE)
_VIOLATED = _reconnects(ReconnectReason.PROTOCOL_ERROR)
_LIMITED = _reconnects(ReconnectReason.LIMIT_EXCEEDED)
_SILENT = _reconnects(ReconnectReason.STALLED)
_CONNECT_FAILED = _errors(ErrorKind.CONNECT_FAILED)


def _once(description: str, make: Callable[[], Fault], *shows: str) -> Entry:
    return Entry(description, lambda _: make(), STRIKE_SEC, shows)


def _while(description: str, make: Callable[[], Fault], window_sec: float, *shows: str) -> Entry:
    return Entry(description, lambda _: make(), window_sec, shows)


def _harmless(description: str, make: Callable[[], Fault], window_sec: float, *shows: str) -> Entry:
    return Entry(description, lambda _: make(), window_sec, shows, lossless=True)


def _dns(description: str, failure: int | Silence) -> Entry:
    return Entry(
        description,
        lambda context: c.DnsFailure(context.dns, context.host, failure),
        6.0,
        (_CONNECT_FAILED, _LOST),
        patched="dns",
    )


def _drop(_frame: bytes) -> bytes:
    return b""


FAULTS: Final[Mapping[str, Entry]] = {
    # Connecting.
    "refuse": _while("TCP connections are refused for 6 s", c.Refuse, 6.0, _CONNECT_FAILED, _LOST),
    "reset-on-accept": _while(
        "connections are reset as soon as they are accepted, for 6 s", c.ResetOnAccept, 6.0, _LOST
    ),
    "dns-unknown-name": _dns("the name does not exist for 6 s (NXDOMAIN)", NXDOMAIN),
    "dns-server-failure": _dns("the name server fails for 6 s (SERVFAIL)", SERVFAIL),
    "dns-silent": _dns("the name server does not answer for 6 s", Silence.SILENT),
    "dns-change": Entry(
        "the exchange moves to another address; the name follows 4 s later",
        lambda context: c.DnsChange(context.dns, context.host, MOVED_TO),
        4.0,
        (_CONNECT_FAILED, _LOST),
        patched="dns",
    ),
    "tls-slow": _while("TLS handshakes take 3 s longer, for 6 s", lambda: c.SlowTls(3.0), 6.0),
    "tls-never": _while(
        "TLS handshakes begun within 2 s are never answered",
        lambda: c.SlowTls(3600.0),
        2.0,
        _errors(ErrorKind.TLS_FAILED),
    ),
    "tls-expired": _while(
        "the certificate has expired, for 6 s",
        lambda: c.BadCertificate(Identity.EXPIRED),
        6.0,
        _errors(ErrorKind.TLS_FAILED),
    ),
    "tls-wrong-name": _while(
        "the certificate is for another name, for 6 s",
        lambda: c.BadCertificate(Identity.WRONG_NAME),
        6.0,
        _errors(ErrorKind.TLS_FAILED),
    ),
    **{
        f"http-{status}": _while(
            f"upgrades are answered with {status} and `Retry-After: 2`, for 5 s",
            partial(c.RejectUpgrade, status, 2),
            5.0,
            _errors(ErrorKind.UPGRADE_REJECTED),
        )
        for status in _STATUSES
    },
    "http-503-bare": _while(
        "upgrades are answered with 503 and no `Retry-After`, for 5 s",
        partial(c.RejectUpgrade, 503, None),
        5.0,
        _errors(ErrorKind.UPGRADE_REJECTED),
    ),
    "upgrade-not-http": _while(
        "upgrades are answered by a server that speaks another protocol, for 5 s",
        c.AnswerAnotherProtocol,
        5.0,
        _errors(ErrorKind.UPGRADE_REJECTED),
    ),
    "wrong-route": _while(
        "a connection opened within 4 s answers pings and never sends a message",
        c.WrongRoute,
        4.0,
        _errors(ErrorKind.NO_FIRST_MESSAGE),
        _SILENT,
    ),
    # The connection's bytes.
    "reset": _once("TCP reset", i.Reset, _LOST),
    "reset-with-data": _once(
        "TCP reset in the moment in which messages arrive",
        lambda: i.EndWithData(lambda link: link.reset()),
        _LOST,
    ),
    "end-with-data": _once(
        "the connection ends in the moment in which messages arrive",
        lambda: i.EndWithData(lambda link: link.cut()),
        _LOST,
    ),
    "half-close": _once(
        "the server ends its side with the last messages, and goes on reading",
        lambda: i.EndWithData(lambda link: link.half_close()),
        _LOST,
    ),
    "half-open": _once("the peer vanishes without a word", i.HalfOpen, _SILENT),
    "stall": _harmless("nothing moves in either direction for 6 s, then all of it", i.Stall, 6.0),
    "stream-stall": _once("messages end while pings are answered", i.StreamStall, _SILENT),
    # Longer than the probe waits before it suspects a stalled stream.
    "quiet": _while(
        "no connection brings a message for 33 s, while pings are answered",
        i.Quiet,
        33.0,
        _reconnects(ReconnectReason.QUIET),
    ),
    "backlog": Entry(
        "messages are withheld while pings are answered, and arrive 2 s after the probe reconnects",
        lambda _: i.Backlog(2.0),
        STRIKE_SEC,
        (_SILENT, "feed_messages_recovered_total"),
        lossless=True,
    ),
    "delay": _harmless("everything is 0.5 s later, for 4 s", lambda: i.Delay(0.5), 4.0),
    "throttle": _harmless(
        "4,000 bytes a second get through, for 5 s", lambda: i.Throttle(4000.0), 5.0
    ),
    "cut-mid-frame": _once("the connection ends in the middle of a frame", i.CutMidFrame, _LOST),
    "single-bytes": _harmless("every byte travels alone, for 3 s", i.SingleBytes, 3.0),
    "join": _harmless(
        "frames arrive 200 at a time, in one write, for 6 s", lambda: i.Join(200), 6.0
    ),
    "fragments": _harmless(
        "messages in 4 fragments with pings between, for 4 s", lambda: i.Fragments(4), 4.0
    ),
    # The protocol.
    "oversize": _once(
        "a frame header claims 1 TiB",
        lambda: i.Violation(lambda _: f.oversize(_OVERSIZE_BYTES)),
        _VIOLATED,
    ),
    "wrong-mask": _once("a masked frame", lambda: i.Violation(f.masked), _VIOLATED),
    "reserved-opcode": _once(
        "a frame of an opcode that does not exist",
        lambda: i.Violation(lambda frame: b"\x83" + frame[1:]),
        _VIOLATED,
    ),
    "ping-flood": _once(
        "5,000 empty pings at once",
        lambda: i.Flood(f.ping_flood(_FLOOD_FRAMES)),
        _errors(ErrorKind.CONTROL_FRAMES),
        _LIMITED,
    ),
    "continuation-flood": _once(
        "a message begins, and 5,000 empty continuations follow",
        lambda: i.Flood(f.continuation_flood(_FLOOD_FRAMES)),
        _errors(ErrorKind.CONTINUATION_FRAMES),
        _LIMITED,
    ),
    "message-flood": _once(
        "12,000 empty messages at once",
        lambda: i.Flood(f.message_flood(12_000)),
        _errors(ErrorKind.UNUSABLE_FRAMES),
        _LIMITED,
    ),
    "bad-utf8": _while(
        "every fifth message is no UTF-8, for 4 s",
        lambda: i.EveryNth(5, f.with_bad_utf8),
        4.0,
        _errors(ErrorKind.BAD_JSON),
    ),
    **{
        f"close-{code}": _once(
            f"closed with code {code}",
            partial(i.Close, code),
            _CLOSED,
        )
        for code in CLOSE_CODES
    },
    "close-without-code": _once("closed without a code", lambda: i.Close(None), _CLOSED),
    **{
        f"close-{code}": _once(
            f"closed with code {code}, which is forbidden",
            partial(i.Close, code),
            _VIOLATED,
        )
        for code in FORBIDDEN_CODES
    },
    # The exchange's own doings.
    "age-limit": _while(
        "connections are closed unannounced at an age of 3 s, for 8 s (24 h, scaled)",
        lambda: i.AgeLimit(3.0),
        8.0,
        _CLOSED,
    ),
    "rollover": Entry(
        "the probe replaces its connections at an age of 4 s (23 h 50 min, scaled)",
        lambda _: Fault(),
        8.0,
        (_reconnects(ReconnectReason.ROLLOVER),),
        patched="rollover",
        lossless=True,
    ),
    "server-shutdown": Entry(
        "`serverShutdown`, and a close 10 s later",
        lambda _: i.OnConnection(),
        STRIKE_SEC,
        (_reconnects(ReconnectReason.SERVER_SHUTDOWN),),
        # Of all the probes that open a connection now, the last one must have it by then.
        command=("shutdown_event", {"disconnect_after_sec": 10.0}),
        lossless=True,
    ),
    "no-pings": _harmless("the server's pings never arrive, for 6 s", i.NoPings, 6.0),
    # The stream.
    "gaps": _while(
        "every tenth message is missing, for 4 s",
        lambda: i.EveryNth(10, _drop),
        4.0,
        "feed_sequence_gaps_total",
    ),
    "duplicates": _harmless(
        "every fifth message comes twice, for 4 s",
        lambda: i.EveryNth(5, lambda frame: frame * 2),
        4.0,
        "feed_duplicates_total",
    ),
    "reordering": _harmless(
        "every fifth message comes behind its successor, for 4 s",
        lambda: i.Reorder(5),
        4.0,
        "feed_out_of_order_total",
    ),
    "renumbered": _harmless(
        "ids begin anew, 10^12 higher, and go back after 4 s",
        lambda: Renumber(10**12),
        4.0,
        "feed_sequence_restarts_total",
    ),
    "wrong-ids": _harmless(
        "every thirtieth message has an id 10^12 too high, for 4 s",
        lambda: i.EveryNth(30, lambda frame: shift_ids(frame, 10**12)),
        4.0,
        _errors(ErrorKind.BAD_ID),
    ),
    "future-minutes": _harmless(
        "events are dated 10 min ahead, for 4 s",
        lambda: i.EveryFrame(lambda frame: i.shift_event_time(frame, 600.0)),
        4.0,
        "feed_negative_latency_total",
    ),
    "future-days": _while(
        "events are dated 2 days ahead, for 4 s",
        lambda: i.EveryFrame(lambda frame: i.shift_event_time(frame, 2 * 86_400.0)),
        4.0,
        _errors(ErrorKind.BAD_FIELD),
    ),
    "clock-steps": _harmless(
        "the exchange's clock jumps 0.5 s ahead and back every second, for 6 s",
        lambda: i.ClockSteps(0.5, 1.0),
        6.0,
        "feed_negative_latency_total",
    ),
}

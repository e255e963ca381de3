"""Names, labels and meanings of every metric the probe exposes: the contract.

Dashboards, rules and the analysis are written against this table. All durations are seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from latency_sweep.contract.targets import Target


class MetricKind(StrEnum):
    """How a metric accumulates."""

    COUNTER = "counter"
    GAUGE = "gauge"
    NATIVE_HISTOGRAM = "native_histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric family.

    Attributes:
        name: full name as Prometheus stores it, `_total` included for counters.
        kind: how it accumulates.
        help: one line for `# HELP`.
        labels: label names in order.
        unit: base unit, the suffix of the name, or empty.
    """

    name: str
    kind: MetricKind
    help: str
    labels: tuple[str, ...]
    unit: str = ""


# Labels of a feed: which market, which stream as subscribed (`depth@100ms`), which symbol.
FEED: Final = ("market", "stream", "symbol")
# A run is named by the UTC start of its measurement, `2026-01-31T06:05:00Z`.
RUN: Final = "run"
FEED_RUN: Final = (*FEED, RUN)

# Labels that Prometheus' relabelling adds to every target, from EC2 metadata.
TARGET_LABELS: Final = (*Target._fields, "architecture", "experiment")
JOB: Final = "probe"
# Of prometheus_client's process collector: Unix seconds.
PROCESS_START: Final = "process_start_time_seconds"


class Phase(StrEnum):
    """Phases of a run, and `wait` for a probe that joined too late to take part in one."""

    WAIT = "wait"
    WARMUP = "warmup"
    MEASURE = "measure"
    COOLDOWN = "cooldown"


class ConnectStep(StrEnum):
    """Steps of opening a connection."""

    DNS = "dns"
    TCP = "tcp"
    TLS = "tls"
    UPGRADE = "upgrade"
    SUBSCRIBE = "subscribe"  # of streams that the URL does not name


class ReconnectReason(StrEnum):
    """Why an established connection was replaced.

    `schedule` is for the fresh connection of a new run, `rollover` for the one before the
    exchange's maximum connection age, `quiet` for one that turned out to have been healthy when it
    was compared with a fresh one, because the market was quiet; these overlap the old one and lose
    nothing. `limit_exceeded` and `internal_error` come with an error of a kind that says more.
    """

    SCHEDULE = "schedule"
    ROLLOVER = "rollover"
    QUIET = "quiet"
    SERVER_CLOSE = "server_close"
    CONNECTION_LOST = "connection_lost"
    PROTOCOL_ERROR = "protocol_error"
    STALLED = "stalled"
    SERVER_SHUTDOWN = "server_shutdown"
    LIMIT_EXCEEDED = "limit_exceeded"
    INTERNAL_ERROR = "internal_error"


# Replacements that the probe planned itself; constraints on reconnects do not count them.
PLANNED: Final = (ReconnectReason.SCHEDULE, ReconnectReason.ROLLOVER, ReconnectReason.QUIET)


class ErrorKind(StrEnum):
    """What can be wrong with what was received, or with an attempt to connect.

    `control_frames`, `continuation_frames`, `unusable_frames` and `unsent_bytes` end the connection
    that exceeds the limit, `interim_responses` and `retry_after` an attempt to connect; see
    `probe.net.limits`.
    """

    BAD_JSON = "bad_json"
    BAD_FIELD = "bad_field"
    BAD_ID = "bad_id"
    BAD_TRADE_TIME = "bad_trade_time"
    WRONG_SYMBOL = "wrong_symbol"
    BINARY_FRAME = "binary_frame"
    TRAILING_DATA = "trailing_data"  # the first message of the frame is used
    UNKNOWN_EVENT = "unknown_event"
    UNKNOWN_STREAM = "unknown_stream"
    EXCHANGE_ERROR = "exchange_error"
    CONNECT_FAILED = "connect_failed"
    TLS_FAILED = "tls_failed"
    UPGRADE_REJECTED = "upgrade_rejected"
    INTERIM_RESPONSES = "interim_responses"
    RETRY_AFTER = "retry_after"
    CONTROL_FRAMES = "control_frames"
    CONTINUATION_FRAMES = "continuation_frames"
    UNUSABLE_FRAMES = "unusable_frames"
    UNSENT_BYTES = "unsent_bytes"
    SUBSCRIBE_FAILED = "subscribe_failed"
    NO_FIRST_MESSAGE = "no_first_message"
    TIME_ENDPOINT = "time_endpoint"
    # An answer of the time endpoint beyond a limit.
    TIME_ENDPOINT_SIZE = "time_endpoint_size"
    TIME_ENDPOINT_INFORMATIONAL = "time_endpoint_informational"
    TIME_ENDPOINT_RETRY_AFTER = "time_endpoint_retry_after"
    # Messages are missing in the file of --record; what is measured is complete.
    RECORDING = "recording"
    INTERNAL = "internal"


class RejectionReason(StrEnum):
    """Why the metrics endpoint rejected a connection or a request."""

    UNAUTHENTICATED = "unauthenticated"
    WRONG_TOKEN = "wrong_token"  # noqa: S105 - a reason, no token
    WRONG_PASSWORD = "wrong_password"  # noqa: S105 - a reason, no password
    NO_CLIENT_CERTIFICATE = "no_client_certificate"
    WRONG_CLIENT_CERTIFICATE = "wrong_client_certificate"
    PLAIN_HTTP = "plain_http"
    TLS = "tls"
    REQUEST_LINE = "request_line"
    HEADERS = "headers"
    BODY = "body"
    MALFORMED = "malformed"
    NOT_SERVED = "not_served"
    SLOW = "slow"
    RATE = "rate"
    CONNECTIONS = "connections"


def _histogram(name: str, text: str, labels: tuple[str, ...]) -> Metric:
    return Metric(name, MetricKind.NATIVE_HISTOGRAM, text, labels, "seconds")


def _counter(name: str, text: str, labels: tuple[str, ...] = FEED, unit: str = "") -> Metric:
    return Metric(name, MetricKind.COUNTER, text, labels, unit)


def _gauge(name: str, text: str, labels: tuple[str, ...] = (), unit: str = "") -> Metric:
    return Metric(name, MetricKind.GAUGE, text, labels, unit)


LATENCY: Final = _histogram(
    "feed_latency_seconds",
    "Event time E to kernel receive timestamp, for events of the run's measurement.",
    FEED_RUN,
)
EXCHANGE_DELAY: Final = _histogram(
    "feed_exchange_delay_seconds",
    "Trade time T to event time E: delay inside the exchange.",
    FEED_RUN,
)
DELAY_VARIATION: Final = _histogram(
    "feed_delay_variation_seconds",
    "Packet delay variation (RFC 3393): absolute difference in latency between consecutive "
    "messages of one stream.",
    FEED_RUN,
)
RECEIVE_DELAY: Final = _histogram(
    "feed_receive_delay_seconds",
    "Kernel receive timestamp to the read by the probe: the probe's own delay.",
    FEED_RUN,
)
TIMESTAMP_ERROR: Final = _histogram(
    "feed_timestamp_error_seconds",
    "Bound on how late the receive timestamp of a message may be, of those in feed_latency_seconds "
    "whose timestamp is not exact.",
    FEED_RUN,
)
TIMESTAMPS_EXACT: Final = _counter(
    "feed_timestamps_exact_total",
    "Messages in feed_latency_seconds whose receive timestamp is that of their last byte.",
    FEED_RUN,
)
CONNECTION_LATENCY: Final = _histogram(
    "feed_connection_latency_seconds",
    "As feed_latency_seconds, by parallel connection, redundant messages included.",
    ("market", "connection", RUN),
)
RTT: Final = _histogram(
    "feed_rtt_seconds",
    "Round-trip time from WebSocket ping to pong; needs no common clock.",
    ("market",),
)
CONNECT_DURATION: Final = _histogram(
    "feed_connect_duration_seconds", "Duration of each step of connecting.", ("market", "step")
)

MESSAGES: Final = _counter("feed_messages_total", "Market-data messages received.")
BYTES: Final = _counter("feed_bytes_total", "Payload bytes received.")
LOST: Final = _counter(
    "feed_messages_lost_total",
    "Messages missing from the sequence for longer than the grace period; where a message covers a "
    "range of ids (depth, trades in SBE) a lower bound.",
)
RECOVERED: Final = _counter(
    "feed_messages_recovered_total",
    "Messages that arrived after they had been counted as lost, or were counted so by a wrong id.",
)
RUN_LOST: Final = _gauge(
    "feed_run_lost_messages",
    "As feed_messages_lost_total, of the messages of one run.",
    FEED_RUN,
)
RUN_MISSING: Final = _gauge(
    "feed_run_missing_messages",
    "Messages of the run that were counted as lost and have not arrived since.",
    FEED_RUN,
)
RUN_FIRST_ID: Final = _gauge(
    "feed_run_first_id",
    "First of the ids, up to feed_run_last_id, that each arrived or are known to be missing.",
    FEED_RUN,
)
RUN_LAST_ID: Final = _gauge(
    "feed_run_last_id", "Last of these ids, while the run lasted.", FEED_RUN
)
RUN_MISSING_IDS: Final = _gauge(
    "feed_run_missing_ids",
    "Invertible Bloom lookup table of the missing ids; what two targets miss alike cancels when "
    "their tables are subtracted.",
    (*FEED_RUN, "cell", "field"),
)
GAPS: Final = _counter("feed_sequence_gaps_total", "Jumps forward in the sequence of ids.")
RESTARTS: Final = _counter(
    "feed_sequence_restarts_total",
    "New numberings of a stream's ids: neither losses nor duplicates.",
)
DUPLICATES: Final = _counter("feed_duplicates_total", "Messages received more than once.")
OUT_OF_ORDER: Final = _counter(
    "feed_out_of_order_total", "Messages that arrived after a later one."
)
REDUNDANT: Final = _counter(
    "feed_redundant_messages_total",
    "Messages that another connection had already delivered.",
    ("market", "connection"),
)
FIRST_ARRIVALS: Final = _counter(
    "feed_first_arrivals_total",
    "Messages that this connection delivered first.",
    ("market", "connection"),
)
SHARED_TIMESTAMPS: Final = _counter(
    "feed_shared_timestamps_total",
    "Messages read together with an earlier one, whose timestamp they share.",
    ("market", "connection"),
)
WITHOUT_TIMESTAMP: Final = _counter(
    "feed_messages_without_timestamp_total",
    "Messages without a kernel timestamp, timestamped by the program instead.",
    ("market", "connection"),
)
CAPTURE_MISSED: Final = _counter(
    "feed_capture_missed_reads_total",
    "Reads with a packet that the capture did not see; their messages have the socket's timestamp, "
    "within its bound.",
    ("market",),
)
NEGATIVE_LATENCY: Final = _counter(
    "feed_negative_latency_total", "Messages with an event time later than their receive time."
)
LAST_MESSAGE: Final = _gauge(
    "feed_last_message_timestamp_seconds",
    "Kernel receive timestamp of the newest message, Unix time.",
    FEED,
    "seconds",
)

RECONNECTS: Final = _counter(
    "feed_reconnects_total",
    "Established connections that were replaced, by reason; `schedule`, `rollover` and `quiet` are "
    "planned.",
    ("market", "reason"),
)
DISCONNECTED: Final = _counter(
    "feed_disconnected_seconds_total",
    "Time without a connection for at least one stream, since all had one for the first time; an "
    "outage counts from the last byte received before it.",
    ("market",),
    "",
)
CONNECTED: Final = _gauge("feed_connected", "1 while every stream has a connection.", ("market",))
CONNECTION_INFO: Final = _gauge(
    "feed_connection_info",
    "IP address of the server that a connection uses.",
    ("market", "connection", "remote_address"),
)
ERRORS: Final = _counter(
    "feed_errors_total",
    "Errors in what was received, and failed attempts to connect.",
    ("market", "kind"),
)

CLOCK_OFFSET: Final = _gauge(
    "feed_clock_offset_seconds", "Local clock minus UTC.", ("source",), "seconds"
)
CLOCK_ERROR_BOUND: Final = _gauge(
    "feed_clock_error_bound_seconds", "Bound on the local clock's error.", ("source",), "seconds"
)
CLOCK_SYNCHRONIZED: Final = _gauge(
    "feed_clock_synchronized", "1 while the local clock is synchronised.", ("source",)
)
CLOCK_STEPS: Final = _counter(
    "feed_clock_steps_total", "Times the local clock was set instead of slewed.", ()
)
EXCHANGE_CLOCK_OFFSET: Final = _gauge(
    "feed_exchange_clock_offset_seconds",
    "The exchange's clock minus the local clock, from the time endpoint.",
    ("market",),
    "seconds",
)
EXCHANGE_CLOCK_ERROR_BOUND: Final = _gauge(
    "feed_exchange_clock_error_bound_seconds",
    "Bound on the offset's error, from the round trips to the time endpoint.",
    ("market",),
    "seconds",
)
EXCHANGE_CLOCK_DRIFT: Final = _gauge(
    "feed_exchange_clock_drift_ratio",
    "Rate of the exchange's clock against the local clock, minus one; 5e-05 is 50 ppm.",
    ("market",),
    "ratio",
)
EXCHANGE_CLOCK_DRIFT_BOUND: Final = _gauge(
    "feed_exchange_clock_drift_error_bound_ratio",
    "Bound on the drift's error; large at first.",
    ("market",),
    "ratio",
)

LOOP_DELAY: Final = _histogram(
    "feed_loop_delay_seconds",
    "Delay of the probe's event loop in handling a kernel timer, sampled ten times a second.",
    (),
)
GC_PAUSE: Final = _histogram(
    "feed_gc_pause_seconds",
    "Garbage collection pause duration.",
    ("generation",),
)

HTTP_REJECTED_REQUESTS: Final = _counter(
    "feed_http_rejected_requests_total",
    "Connections and requests that the metrics endpoint rejected.",
    ("reason",),
)
CONFIG_RELOAD_SUCCESSFUL: Final = _gauge(
    "feed_config_last_reload_successful",
    "1 if the last reload of secrets and web configuration succeeded.",
)
CONFIG_RELOAD_SUCCESS: Final = _gauge(
    "feed_config_last_reload_success_timestamp_seconds",
    "Time of the last successful reload, Unix time.",
    (),
    "seconds",
)

RUN_INFO: Final = _gauge("feed_run_info", "The current run and phase.", (RUN, "phase"))
RUN_PHASE_STARTED: Final = _gauge(
    "feed_run_phase_started_timestamp_seconds",
    "Start of the current phase, Unix time.",
    (),
    "seconds",
)
PROBE_INFO: Final = _gauge(
    "feed_probe_info",
    "Version of this probe, the experiment and place it was configured with, and where its receive "
    "timestamps come from.",
    (
        "version",
        "experiment",
        "region",
        "instance_family",
        "az_id",
        "instance_type",
        "timestamps",
    ),
)
BUILD_INFO: Final = _gauge(
    "feed_build_info", "The running build.", ("version", "python_version", "websockets_version")
)

ALL: Final[tuple[Metric, ...]] = tuple(
    value for value in list(globals().values()) if isinstance(value, Metric)
)

"""Client of the Prometheus HTTP API, for any server that speaks it.

All that can go wrong is one exception with one sentence, never with a secret in it:

    PrometheusError
    ├── InvalidUrlError        the address cannot be one of a server
    ├── InvalidAccessError     a credential or header cannot be sent
    ├── UnreachableError       refused, unknown host, timeout, TLS failure, HTTP 429 and 502 to 504
    ├── AccessDeniedError      HTTP 401 or 403: the credentials are missing or wrong
    ├── ProxyRefusedError      the proxy that the environment sets refuses, or is not one
    ├── NotPrometheusError     something answers, but not the Prometheus API
    ├── TruncatedAnswerError   the answer ends before it is complete
    ├── LargeAnswerError       the answer is larger than this program reads
    └── QueryError             the server's own error message for a query
"""

from __future__ import annotations

import math
import re
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self, TypeVar
from urllib.parse import urlsplit, urlunsplit

import msgspec
import numpy as np
import requests
from requests.auth import AuthBase, HTTPBasicAuth
from requests.utils import select_proxy
from urllib3.exceptions import ReadTimeoutError

from latency_sweep.analysis import bounded_http
from latency_sweep.nativehist import api_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray

    from latency_sweep.nativehist.float_histogram import FloatHistogram

# The server refuses range queries with more points per series.
MAX_POINTS: Final = 11_000

_CONNECT_TIMEOUT_SEC: Final = 10.0
_FIRST_BACKOFF_SEC: Final = 0.25
# To find out what answers instead of a Prometheus.
_GLANCE_SEC: Final = 3.0
_GLANCE_CHUNK_BYTES: Final = 64 * 1024
_GLANCE_BYTES: Final = 8 * 1024 * 1024
_RETRIED_STATUS: Final = frozenset({429, 502, 503, 504})
# The end of the year 9999, beyond which no calendar goes.
_LATEST_TIME_SEC: Final = 253_402_300_799.0
_PROXY_AUTHENTICATION: Final = 407
# As http.client words the answer of a proxy that opens no tunnel.
_TUNNEL_STATUS: Final = re.compile(r"Tunnel connection failed: (\d{3})")
_SET_BY: Final = "the proxy is set by HTTP_PROXY, HTTPS_PROXY or ALL_PROXY; NO_PROXY exempts hosts"
# What another attempt would not change.
_NOT_RETRIED: Final = (requests.exceptions.SSLError, requests.exceptions.ProxyError)
_PARTIAL: Final = "The server's answer is partial: some of its storage did not reply."
# What a header's name and value may consist of (RFC 9110, 5.1 and 5.5), tabs left out.
_HEADER_NAME: Final = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_HEADER_VALUE: Final = re.compile(r"[\x20-\x7e\xa0-\xff]*")

T = TypeVar("T")


class PrometheusError(Exception):
    """The server could not answer; the message is one sentence fit to be shown."""


class InvalidUrlError(PrometheusError):
    """The address cannot be one of a server."""


class InvalidAccessError(PrometheusError):
    """A credential or header cannot be sent; the message does not quote it."""


class UnreachableError(PrometheusError):
    """No connection, or no answer in time."""


class AccessDeniedError(PrometheusError):
    """The server wants other credentials."""


class NotPrometheusError(PrometheusError):
    """What answers does not speak the Prometheus API."""


class TruncatedAnswerError(PrometheusError):
    """The answer ended early."""


class LargeAnswerError(PrometheusError):
    """The answer is larger than `bounded_http.MAX_ANSWER_BYTES`."""


class ProxyRefusedError(PrometheusError):
    """The proxy between here and the server refused, or could not be reached."""


class QueryError(PrometheusError):
    """The server evaluated the query and refused it."""


@dataclass(frozen=True, slots=True)
class Access:
    """How to get in. Secrets are kept out of `repr` and of every message.

    Attributes:
        bearer_token: sent as `Authorization: Bearer …`.
        basic: user name and password.
        headers: further headers, such as `X-Scope-OrgID`.
        ca_file: certificates to trust instead of the system's.
        client_cert: certificate file and key file of a client certificate.

    Raises:
        InvalidAccessError: what is to be sent holds anything but printable Latin-1 characters.
    """

    bearer_token: str | None = field(default=None, repr=False)
    basic: tuple[str, str] | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    ca_file: Path | None = None
    client_cert: tuple[Path, Path] | None = None

    def __post_init__(self) -> None:
        """Check what becomes a header: the HTTP library's own complaints quote it."""
        user, password = self.basic or ("", "")
        sent = {
            "bearer token (--bearer-token-file or $PROMETHEUS_TOKEN)": self.bearer_token or "",
            "user name (--username)": user,
            "password (--password-file or $PROMETHEUS_PASSWORD)": password,
        }
        for name, value in self.headers.items():
            if not _HEADER_NAME.fullmatch(name):
                raise InvalidAccessError(
                    "The name of a header (--header) may hold only letters, digits and"
                    " !#$%&'*+-.^_`|~."
                )
            sent[f"value of the header {name} (--header)"] = value
        for what, text in sent.items():
            if not _HEADER_VALUE.fullmatch(text):
                raise InvalidAccessError(
                    f"The {what} holds a line break, another control character or one outside"
                    " Latin-1, which cannot be sent; correct it."
                )


@dataclass(frozen=True, slots=True)
class FloatSample:
    """A number of one series at the time of an instant query."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class HistogramSample:
    """A native histogram of one series at the time of an instant query."""

    labels: Mapping[str, str]
    value: FloatHistogram


@dataclass(frozen=True, slots=True)
class Vector:
    """The answer to an instant query: floats and histograms apart."""

    floats: tuple[FloatSample, ...]
    histograms: tuple[HistogramSample, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Series:
    """One series over time; a series may hold floats and histograms.

    Attributes:
        labels: its labels.
        times: Unix seconds of the floats, shape (n,).
        values: the floats, shape (n,).
        histograms: Unix seconds and histogram, in order of time.
    """

    labels: Mapping[str, str]
    times: NDArray[np.float64]
    values: NDArray[np.float64]
    histograms: tuple[tuple[float, FloatHistogram], ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    """The answer to a range query, or the raw samples of a range selector."""

    series: tuple[Series, ...]
    notes: tuple[str, ...] = ()


class _BearerAuth(AuthBase):
    """Also keeps requests from reading ~/.netrc when there is no token."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token is not None:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class _Envelope(msgspec.Struct):
    """The API's; servers that are written in Go may say null for an empty list or text."""

    status: str
    data: msgspec.Raw = msgspec.Raw()
    errorType: str | None = None  # noqa: N815 - the API's spelling
    error: str | None = None
    warnings: list[str] | None = None
    infos: list[str] | None = None
    # Of VictoriaMetrics' clusters, which answer with what the storage nodes alive have.
    isPartial: bool | None = None  # noqa: N815 - the API's spelling


class _Data(msgspec.Struct):
    resultType: str  # noqa: N815 - the API's spelling
    result: msgspec.Raw


class _Result(msgspec.Struct):
    metric: dict[str, str] | None = None
    value: tuple[float, str] | None = None
    values: list[tuple[float, str]] | None = None
    histogram: tuple[float, msgspec.Raw] | None = None
    histograms: list[tuple[float, msgspec.Raw]] | None = None


@dataclass(frozen=True, slots=True)
class Glance:
    """The beginning of what a server shows at a path, whatever it is.

    Attributes:
        status: of the HTTP answer.
        headers: of it.
        text: its first bytes.
    """

    status: int
    headers: Mapping[str, str]
    text: str


@dataclass(frozen=True, slots=True)
class _Answer:
    """An HTTP answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes


# What decoding bytes that are no such JSON raises.
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_decode_envelope: Final = msgspec.json.Decoder(_Envelope)
_decode_data: Final = msgspec.json.Decoder(_Data)
_decode_results: Final = msgspec.json.Decoder(list[_Result] | None)


class PrometheusClient:
    """A session with one server. Safe to use from several threads."""

    def __init__(
        self,
        url: str,
        access: Access | None = None,
        *,
        timeout_sec: float = 60.0,
        attempts: int = 3,
        first_backoff_sec: float = _FIRST_BACKOFF_SEC,
        connections: int = 4,
    ) -> None:
        """Prepare a session; nothing is sent yet.

        Args:
            url: base URL, `http://prometheus:9090` or with the path prefix of a gateway.
                A user name and password in it are used for basic authentication.
            access: credentials and certificates.
            timeout_sec: how long one answer may take, from its request to its last byte.
            attempts: how often to try when the server refuses a connection or is overloaded.
            first_backoff_sec: pause before the second attempt; doubles from then on.
            connections: how many requests may run at once.

        Raises:
            InvalidUrlError: the URL is not an http or https URL, or its user name or password
                cannot be sent.
        """
        access = access or Access()
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            host, port = parts.hostname, parts.port
        except ValueError:
            host = None
        if not host or parts.scheme not in {"http", "https"}:
            raise InvalidUrlError(
                "The Prometheus URL must look like http://HOST:PORT or https://HOST/prefix."
            )
        name = f"[{host}]" if ":" in host else host
        location = name if port is None else f"{name}:{port}"
        # Without the user name and password that it may have carried.
        self.url: Final = urlunsplit((parts.scheme, location, parts.path.rstrip("/"), "", ""))
        self._timeout_sec = timeout_sec
        self._attempts = attempts
        self._first_backoff_sec = first_backoff_sec
        self._session = requests.Session()
        basic = access.basic
        if basic is None and parts.username is not None:
            basic = (parts.username, parts.password or "")
            if not all(map(_HEADER_VALUE.fullmatch, basic)):
                raise InvalidUrlError(
                    "The user name and password in the Prometheus URL may hold only printable"
                    " Latin-1 characters."
                )
        self._session.auth = HTTPBasicAuth(*basic) if basic else _BearerAuth(access.bearer_token)
        self._session.headers.update(access.headers)
        # Handed to each request, because a session's own is overruled by the environment.
        self._verify = None if access.ca_file is None else str(access.ca_file)
        if access.client_cert is not None:
            certificate, key = access.client_cert
            self._session.cert = (str(certificate), str(key))
        adapter = bounded_http.BoundedAdapter(pool_maxsize=connections)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    def __enter__(self) -> Self:
        """The client itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the session."""
        self._session.close()

    def query(self, expression: str, *, at: float | None = None) -> Vector:
        """Evaluate an expression at one moment.

        Args:
            expression: PromQL that yields an instant vector or a scalar.
            at: Unix seconds; the server's present if None.

        Raises:
            PrometheusError: see the tree above.
        """
        data, notes = self._evaluate("query", {"query": expression, **_moment("time", at)})
        if data.resultType == "scalar":
            _, text = self._typed(data.result, tuple[float, str])
            return Vector((FloatSample({}, self._float(text)),), (), notes)
        self._expect(data, "vector", expression)
        floats, histograms = [], []
        for result in self._results(data):
            if result.value is not None:
                floats.append(FloatSample(result.metric or {}, self._float(result.value[1])))
            if result.histogram is not None:
                value = self._histogram(result.histogram[1])
                histograms.append(HistogramSample(result.metric or {}, value))
        return Vector(tuple(floats), tuple(histograms), notes)

    def query_raw(self, selector: str, *, at: float) -> Matrix:
        """The raw samples of a range selector such as `feed_messages_total[5m]`.

        Args:
            selector: PromQL with a range.
            at: Unix seconds, the end of the range (included; its start is not).

        Raises:
            PrometheusError: see the tree above.
        """
        data, notes = self._evaluate("query", {"query": selector, **_moment("time", at)})
        self._expect(data, "matrix", selector)
        return Matrix(tuple(self._series(self._results(data))), notes)

    def query_range(self, expression: str, *, start: float, end: float, step: float) -> Matrix:
        """Evaluate an expression at `start`, `start + step`, … up to `end`.

        Ranges of more than 11,000 points are asked for in pieces.

        Args:
            expression: PromQL that yields an instant vector or a scalar.
            start: Unix seconds.
            end: Unix seconds, included.
            step: seconds, greater than zero.

        Raises:
            PrometheusError: see the tree above.
        """
        points = int((end - start) / step + 1e-9) + 1
        pieces: list[_Result] = []
        notes: dict[str, None] = {}
        for first in range(0, points, MAX_POINTS):
            last = min(first + MAX_POINTS, points) - 1
            data, piece_notes = self._evaluate(
                "query_range",
                {
                    "query": expression,
                    **_moment("start", start + first * step),
                    **_moment("end", start + last * step),
                    "step": f"{step:.3f}",
                },
            )
            self._expect(data, "matrix", expression)
            pieces.extend(self._results(data))
            notes |= dict.fromkeys(piece_notes)
        return Matrix(tuple(self._series(pieces)), tuple(notes))

    def series(
        self, match: Sequence[str], *, start: float | None = None, end: float | None = None
    ) -> tuple[dict[str, str], ...]:
        """Label sets of the series that match any of the selectors.

        Raises:
            PrometheusError: see the tree above.
        """
        form = _selection(match, start, end)
        envelope = self._call("POST", "series", form)
        return tuple(self._listed(envelope.data, dict[str, str]))

    def label_names(
        self, match: Sequence[str] = (), *, start: float | None = None, end: float | None = None
    ) -> tuple[str, ...]:
        """Names of the labels of the series that match, sorted.

        Raises:
            PrometheusError: see the tree above.
        """
        form = _selection(match, start, end)
        return tuple(self._listed(self._call("POST", "labels", form).data, str))

    def label_values(
        self,
        name: str,
        match: Sequence[str] = (),
        *,
        start: float | None = None,
        end: float | None = None,
    ) -> tuple[str, ...]:
        """Values of a label among the series that match, sorted.

        The server may answer for whole blocks of time, so a little outside the range as well.

        Raises:
            PrometheusError: see the tree above.
        """
        form = _selection(match, start, end)
        envelope = self._call("GET", f"label/{name}/values", form)
        return tuple(self._listed(envelope.data, str))

    def build_info(self) -> dict[str, str]:
        """The server's version and the like; some compatible servers do not tell.

        Raises:
            PrometheusError: see the tree above.
        """
        return self._typed(self._call("GET", "status/buildinfo", {}).data, dict[str, str])

    def fetch(self, endpoint: str, kind: type[T]) -> T:
        """What another endpoint of the API says, such as `status/flags`.

        Raises:
            PrometheusError: see the tree above; compatible servers lack some endpoints.
        """
        return self._typed(self._call("GET", endpoint, {}).data, kind)

    def glance(self, path: str) -> Glance | None:
        """Look at a path of the server's host, once and briefly; None if nothing answers."""
        parts = urlsplit(self.url)
        wait_sec = min(_GLANCE_SEC, self._timeout_sec)
        try:
            answer = self._session.get(
                f"{parts.scheme}://{parts.netloc}{path}",
                headers={"Accept": "*/*"},
                timeout=(wait_sec, wait_sec),
                verify=self._verify,
                allow_redirects=False,
                stream=True,
            )
            body = bytearray()
            with answer:
                for chunk in answer.iter_content(_GLANCE_CHUNK_BYTES):
                    body += chunk
                    if len(body) >= _GLANCE_BYTES:
                        break
        except (requests.RequestException, bounded_http.TooLargeError, OSError, ValueError):
            return None
        text = body.decode("utf-8", errors="replace")
        return Glance(answer.status_code, dict(answer.headers), text)

    def now(self) -> float:
        """The server's clock, Unix seconds.

        Raises:
            PrometheusError: see the tree above.
        """
        floats = self.query("time()").floats
        if not floats or not 0 <= floats[0].value <= _LATEST_TIME_SEC:
            raise self._not_prometheus("it does not tell the time")
        return floats[0].value

    def _evaluate(self, endpoint: str, form: dict[str, str]) -> tuple[_Data, tuple[str, ...]]:
        # Prometheus knows no fractions in a duration.
        timeout = f"{math.ceil(self._timeout_sec)}s"
        envelope = self._call("POST", endpoint, {**form, "timeout": timeout})
        try:
            data = _decode_data.decode(envelope.data)
        except _UNREADABLE as error:
            raise self._not_prometheus("its answer has an unknown form") from error
        partial = [_PARTIAL] if envelope.isPartial else []
        return data, (*partial, *(envelope.warnings or ()), *(envelope.infos or ()))

    def _expect(self, data: _Data, kind: str, expression: str) -> None:
        if data.resultType != kind:
            raise QueryError(f"`{expression}` yields a {data.resultType}, not a {kind}.")

    def _results(self, data: _Data) -> list[_Result]:
        try:
            return _decode_results.decode(data.result) or []
        except _UNREADABLE as error:
            raise self._not_prometheus("its result has an unknown form") from error

    def _typed(self, raw: msgspec.Raw, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(raw, type=kind)
        except _UNREADABLE as error:
            raise self._not_prometheus("its answer has an unknown form") from error

    def _listed(self, raw: msgspec.Raw, kind: type[T]) -> list[T]:
        """A list, or null for an empty one."""
        return [] if bytes(memoryview(raw)[:5]) == b"null" else self._typed(raw, list[kind])  # type: ignore[valid-type]

    def _float(self, text: str) -> float:
        try:
            return float(text)
        except ValueError as error:
            raise self._not_prometheus("one of its values is no number") from error

    def _histogram(self, raw: msgspec.Raw) -> FloatHistogram:
        try:
            return api_json.decode(raw)
        except ValueError as error:
            raise self._not_prometheus("one of its histograms cannot be read") from error

    def _series(self, results: Sequence[_Result]) -> Iterator[Series]:
        """Join the pieces of each series, keeping the order of first appearance."""
        pieces: dict[tuple[tuple[str, str], ...], list[_Result]] = {}
        for result in results:
            pieces.setdefault(tuple(sorted((result.metric or {}).items())), []).append(result)
        for labels, parts in pieces.items():
            points = [point for part in parts for point in part.values or ()]
            yield Series(
                dict(labels),
                np.array([moment for moment, _ in points], dtype=np.float64),
                np.array([self._float(text) for _, text in points], dtype=np.float64),
                tuple(
                    (moment, self._histogram(raw))
                    for part in parts
                    for moment, raw in part.histograms or ()
                ),
            )

    def _call(
        self, method: str, endpoint: str, form: Mapping[str, str | Sequence[str]]
    ) -> _Envelope:
        """Send one request, with further attempts, and open the envelope of the answer."""
        pause = self._first_backoff_sec
        for attempt in range(1, self._attempts + 1):
            wanted: float | None = None
            last = attempt == self._attempts
            try:
                answer = self._send(method, endpoint, form)
            except requests.ConnectionError as error:
                if last or isinstance(error, _NOT_RETRIED):
                    raise self._unreachable(error) from None
            else:
                wanted = _retry_after(answer)
                final = wanted is None and _is_api_error(answer)
                if last or answer.status not in _RETRIED_STATUS or final:
                    return self._open(answer)
            time.sleep(max(pause, min(wanted or 0.0, self._timeout_sec)))
            pause *= 2
        raise AssertionError("the last attempt returns or raises")

    def _send(self, method: str, endpoint: str, form: Mapping[str, str | Sequence[str]]) -> _Answer:
        try:
            answer = self._session.request(
                method,
                f"{self.url}/api/v1/{endpoint}",
                params=form if method == "GET" else None,
                data=form if method == "POST" else None,
                timeout=(min(_CONNECT_TIMEOUT_SEC, self._timeout_sec), self._timeout_sec),
                verify=self._verify,
                # A login page hides behind a redirect, and a redirected POST loses its query.
                allow_redirects=False,
                stream=True,
            )
            return _Answer(answer.status_code, answer.headers, bounded_http.read(answer))
        except requests.Timeout:
            raise self._too_slow() from None
        except bounded_http.TooLargeError:
            raise LargeAnswerError(
                f"The answer of {self.url} is larger than "
                f"{bounded_http.MAX_ANSWER_BYTES // 2**20} MiB and was not read further; narrow "
                "the range with --since and --until, or check that this is a Prometheus."
            ) from None
        except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError):
            raise TruncatedAnswerError(
                f"The answer of {self.url} ended before it was complete."
            ) from None
        except requests.ConnectionError as error:
            # So requests calls it when an answer stops in its midst.
            if any(isinstance(cause, ReadTimeoutError) for cause in error.args):
                raise self._too_slow() from None
            raise
        except (ValueError, OverflowError):  # these may quote a header, so they are not quoted
            raise UnreachableError(
                f"{self.url} cannot be asked: the request cannot be written; check the address, "
                "the credentials, --header, --timeout and the proxy set in the environment."
            ) from None
        except OSError as error:  # requests reports missing certificate files so
            raise UnreachableError(f"{self.url} cannot be asked: {error}.") from None

    def _too_slow(self) -> UnreachableError:
        return UnreachableError(
            f"{self.url} did not answer within {self._timeout_sec:g} s; is it overloaded? "
            "Raise --timeout or narrow the range."
        )

    def _refused_by_proxy(self, why: str) -> ProxyRefusedError:
        """The error for a proxy that opens no way to the server."""
        proxy = self._proxy()
        status = _TUNNEL_STATUS.search(why)
        if status is None:
            return ProxyRefusedError(
                f"The proxy {proxy} cannot be reached or does not answer as one; {_SET_BY}."
            )
        return ProxyRefusedError(
            f"The proxy {proxy} refuses to connect to {self.url} (HTTP {status[1]}); {_SET_BY}."
        )

    def _proxy(self) -> str | None:
        """The proxy that the environment sets for this server, without its user and password."""
        settings = self._session.merge_environment_settings(self.url, {}, None, None, None)
        proxy = select_proxy(self.url, settings["proxies"])
        if not proxy:
            return None
        scheme, _, location = proxy.rpartition("://")
        return f"{scheme or 'http'}://{location.rpartition('@')[2]}"

    def _perhaps_proxy(self) -> str:
        """Who else may have answered instead of the server: half a sentence, or nothing."""
        proxy = self._proxy()
        return f"; it or the proxy {proxy} answered, and {_SET_BY}" if proxy else ""

    def _unreachable(self, error: requests.ConnectionError) -> PrometheusError:
        text = str(error)
        if isinstance(error, requests.exceptions.ProxyError):
            return self._refused_by_proxy(text)
        if isinstance(error, requests.exceptions.SSLError):
            why = "its TLS certificate is not trusted or TLS failed; see --ca-file"
        elif "NameResolutionError" in text or "getaddrinfo" in text:
            why = "the host name cannot be resolved"
        elif "refused" in text:
            why = "the connection was refused; is Prometheus running there?"
        else:
            why = "no connection, or it was closed before an answer came"
        return UnreachableError(f"{self.url} is unreachable: {why}")

    def _open(self, answer: _Answer) -> _Envelope:
        status = answer.status
        self._expect_access(status)
        if 300 <= status < 400:  # noqa: PLR2004 - the class of redirects
            raise self._not_prometheus(
                f"it redirects (HTTP {status}), perhaps to a login page{self._perhaps_proxy()}"
            )
        try:
            envelope = _decode_envelope.decode(answer.body)
        except msgspec.DecodeError as error:
            if status in _RETRIED_STATUS:
                raise UnreachableError(
                    f"{self.url} answers HTTP {status} instead of the query: the server, or one "
                    "behind a gateway, is overloaded, starting or away; try again later"
                    f"{self._perhaps_proxy()}."
                ) from None
            if answer.body.lstrip()[:1] == b"{" and "truncated" in str(error):
                raise TruncatedAnswerError(
                    f"The answer of {self.url} ended before it was complete."
                ) from None
            if isinstance(error, msgspec.ValidationError):
                raise self._not_prometheus(
                    f"it answers HTTP {status} with JSON of an unknown form"
                ) from None
            kind = answer.headers.get("Content-Type", "no content type").partition(";")[0]
            raise self._not_prometheus(
                f"it answers HTTP {status} with {kind} where JSON was expected"
                f"{self._perhaps_proxy()}"
            ) from None
        except (UnicodeDecodeError, RecursionError):
            raise self._not_prometheus("its answer is not text or nested too deep") from None
        if envelope.status == "error":
            why = " ".join((envelope.error or "").split()) or f"HTTP {status} without a reason"
            raise QueryError(f"{self.url} answers: {why.rstrip('.')}.")
        if envelope.status != "success":
            raise self._not_prometheus("its answer has an unknown form")
        return envelope

    def _expect_access(self, status: int) -> None:
        if status == _PROXY_AUTHENTICATION:
            raise ProxyRefusedError(
                f"The proxy {self._proxy() or 'in front of ' + self.url} wants a user name and "
                f"password (HTTP {status}); {_SET_BY}."
            )
        if status in {401, 403}:
            raise AccessDeniedError(
                f"{self.url} denies access (HTTP {status}); check the token, user name or "
                f"certificate given{self._perhaps_proxy()}."
            )

    def _not_prometheus(self, why: str) -> NotPrometheusError:
        return NotPrometheusError(f"{self.url} does not seem to be a Prometheus API: {why}.")


def _retry_after(answer: _Answer) -> float | None:
    """Seconds after which the server wants to be asked again; None if it does not say."""
    text = answer.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() else None


def _is_api_error(answer: _Answer) -> bool:
    """Whether Prometheus itself says why it failed; asking again would not help."""
    with suppress(*_UNREADABLE):
        return bool(_decode_envelope.decode(answer.body).error)
    return False


def _selection(
    match: Sequence[str], start: float | None, end: float | None
) -> dict[str, str | Sequence[str]]:
    return {"match[]": list(match), **_moment("start", start), **_moment("end", end)}


def _moment(name: str, unix_sec: float | None) -> dict[str, str]:
    return {} if unix_sec is None else {name: f"{unix_sec:.3f}"}

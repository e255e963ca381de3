"""The API client against a real Prometheus, and against servers that misbehave."""

from __future__ import annotations

import io
import socket
import threading
import time
import zlib
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs

import numpy as np
import pytest
import requests

from latency_sweep.analysis.prometheus_api import (
    MAX_POINTS,
    Access,
    AccessDeniedError,
    InvalidAccessError,
    InvalidUrlError,
    LargeAnswerError,
    NotPrometheusError,
    PrometheusClient,
    PrometheusError,
    ProxyRefusedError,
    QueryError,
    TruncatedAnswerError,
    UnreachableError,
)
from latency_sweep.lab.simulation.remote_write import History, Native
from latency_sweep.nativehist.float_histogram import FloatHistogram
from latency_sweep.runtime.loopback import hold_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

EMPTY = b'{"status":"success","data":{"resultType":"vector","result":[]}}'


class Answer:
    """What a scripted server sends, and what it was asked."""

    def __init__(
        self,
        body: bytes = EMPTY,
        *,
        status: int = 200,
        content_type: str = "application/json",
        length: int | None = None,
        before: Callable[[], object] = lambda: None,
        after: Callable[[], object] = lambda: None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.body = body
        self.status = status
        self.content_type = content_type
        self.length = len(body) if length is None else length
        self.before = before
        self.after = after
        self.headers = headers or {}


class Server(ThreadingHTTPServer):
    """Gives the scripted answers in turn, the last one again and again."""

    daemon_threads = False
    block_on_close = True

    def __init__(self, *answers: Answer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = list(answers)
        self.headers_seen: list[dict[str, str]] = []
        self.forms: list[dict[str, list[str]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.headers_seen.append(dict(self.headers))
        self.server.forms.append(parse_qs(body.decode()))
        answers = self.server.answers
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        answer.before()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(answer.length))
        if answer.status == 302:
            self.send_header("Location", "/login")
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)
        answer.after()

    do_POST = do_GET = _answer  # noqa: N815 - names the base class looks for

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Keep quiet."""


@contextmanager
def serving(*answers: Answer) -> Iterator[Server]:
    with Server(*answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def client_of(server: Server | str, **options: Any) -> PrometheusClient:
    url = server if isinstance(server, str) else server.url
    return PrometheusClient(url, first_backoff_sec=0.0, **options)


@pytest.fixture(scope="module")
def stored(history_server: str) -> tuple[float, np.ndarray]:
    """Three scrapes of a counter and of a histogram; the time of the last one, and its values."""
    end = float(int(time.time()) - 86_400)
    values = np.random.default_rng(3).lognormal(-4, 0.4, 300)
    history = History()
    for index in range(3):
        moment = end - 15 * (2 - index)
        history.add("api_requests_total", {"code": "200"}, moment, float(index))
        history.add("api_duration_seconds", {}, moment, Native.of(values[: 100 * (index + 1)]))
    history.send(history_server)
    return end, values


def test_an_instant_query_tells_floats_from_histograms(
    history_client: PrometheusClient, stored: tuple[float, np.ndarray]
) -> None:
    end, values = stored
    vector = history_client.query('{__name__=~"api_(requests|duration)_.*"}', at=end)
    (number,), (histogram,) = vector.floats, vector.histograms
    assert number.labels == {"__name__": "api_requests_total", "code": "200"}
    assert number.value == 2
    assert histogram.value.count == 300
    expected = FloatHistogram.from_samples(values)
    assert np.array_equal(histogram.value.counts, expected.counts)
    assert np.array_equal(histogram.value.upper, expected.upper)


def test_quantiles_are_those_that_the_server_computes(
    history_client: PrometheusClient, stored: tuple[float, np.ndarray]
) -> None:
    end, values = stored
    histogram = FloatHistogram.from_samples(values)
    for q in (0.0, 0.01, 0.37, 0.5, 0.9, 0.99, 0.999, 1.0):
        (answer,) = history_client.query(
            f"histogram_quantile({q}, api_duration_seconds)", at=end
        ).floats
        assert histogram.quantile(q) == pytest.approx(answer.value, rel=1e-12)


def test_fractions_and_deviation_are_those_that_the_server_computes(
    history_client: PrometheusClient, stored: tuple[float, np.ndarray]
) -> None:
    end, values = stored
    histogram = FloatHistogram.from_samples(values)
    (below,) = history_client.query(
        "histogram_fraction(-Inf, 0.02, api_duration_seconds)", at=end
    ).floats
    assert histogram.fraction_above(0.02) == pytest.approx(1 - below.value)
    (deviation,) = history_client.query("histogram_stddev(api_duration_seconds)", at=end).floats
    assert histogram.sd() == pytest.approx(deviation.value * (300 / 299) ** 0.5, rel=1e-6)


# Observations of both signs and of zero, as they come of clocks that are apart.
SIGNED = {
    "negative": -np.random.default_rng(4).lognormal(-4, 0.4, 200),
    "both": np.append(np.random.default_rng(5).normal(0.001, 0.01, 200), np.zeros(30)),
    "zeros-and-above": np.append(np.random.default_rng(6).lognormal(-4, 0.4, 50), np.zeros(50)),
    "zeros-and-below": np.append(-np.random.default_rng(7).lognormal(-4, 0.4, 50), np.zeros(50)),
    "zeros": np.zeros(7),
}


@pytest.fixture(scope="module")
def signed(history_server: str) -> float:
    """A histogram of each kind, at a resolution of its own; the time they are of."""
    moment = float(int(time.time()) - 86_400)
    history = History()
    for schema, (kind, values) in enumerate(SIGNED.items(), start=4):
        history.add("api_skew_seconds", {"kind": kind}, moment, Native.of(values, schema))
    history.send(history_server)
    return moment


@pytest.mark.parametrize("kind", SIGNED)
def test_what_is_read_of_signed_observations_is_what_the_server_computes(
    history_client: PrometheusClient, signed: float, kind: str
) -> None:
    selector = f'api_skew_seconds{{kind="{kind}"}}'
    (sample,) = history_client.query(selector, at=signed).histograms
    assert sample.value.counts.sum() == len(SIGNED[kind])

    def ask(question: str) -> float:
        (answer,) = history_client.query(f"{question}, {selector})", at=signed).floats
        return answer.value

    for q in (0.0, 0.01, 0.3, 0.5, 0.6, 0.9, 0.99, 1.0):
        expected = ask(f"histogram_quantile({q}")
        assert sample.value.quantile(q) == pytest.approx(expected, rel=1e-12)
    for value in (-0.02, -0.004, 0.0, 0.004, 0.02):
        expected = ask(f"histogram_fraction({value}, +Inf")
        assert sample.value.fraction_above(value) == pytest.approx(expected)


def test_merging_signed_observations_is_what_the_server_sums(
    history_client: PrometheusClient, signed: float
) -> None:
    parts = history_client.query("api_skew_seconds", at=signed).histograms
    (total,) = history_client.query("sum(api_skew_seconds)", at=signed).histograms
    merged = FloatHistogram.merge(*(part.value for part in parts))
    assert total.value.count == merged.count == sum(map(len, SIGNED.values()))
    # The server lowers all to the lowest resolution; what lay alone keeps its finer bucket here.
    assert np.array_equal((total.value + merged).counts, 2 * total.value.counts)
    assert np.array_equal((total.value + merged).lower, total.value.lower)


def test_a_scalar_is_a_float_without_labels(history_client: PrometheusClient) -> None:
    (sample,) = history_client.query("42").floats
    assert (sample.labels, sample.value) == ({}, 42)


def test_the_servers_clock_is_read(history_client: PrometheusClient) -> None:
    assert abs(history_client.now() - time.time()) < 60


def test_a_range_query_gives_series_over_time(
    history_client: PrometheusClient, stored: tuple[float, np.ndarray]
) -> None:
    end, _ = stored
    (series,) = history_client.query_range(
        "api_requests_total", start=end - 30, end=end, step=15
    ).series
    assert series.times.tolist() == [end - 30, end - 15, end]
    assert series.values.tolist() == [0, 1, 2]
    assert series.histograms == ()


def test_raw_samples_keep_their_own_times(
    history_client: PrometheusClient, stored: tuple[float, np.ndarray]
) -> None:
    end, _ = stored
    (series,) = history_client.query_raw("api_duration_seconds[1m]", at=end).series
    assert [moment for moment, _ in series.histograms] == [end - 30, end - 15, end]
    assert [histogram.count for _, histogram in series.histograms] == [100, 200, 300]
    assert series.times.size == 0


def test_a_range_beyond_the_servers_limit_is_asked_for_in_pieces(
    history_client: PrometheusClient,
) -> None:
    points = 2 * MAX_POINTS + 5
    (series,) = history_client.query_range("time()", start=0, end=points - 1, step=1).series
    assert np.array_equal(series.values, np.arange(points))


@pytest.mark.usefixtures("stored")
def test_labels_and_series_are_listed(history_client: PrometheusClient) -> None:
    match = ["api_requests_total"]
    assert history_client.label_values("code", match) == ("200",)
    assert history_client.label_names(match) == ("__name__", "code")
    assert history_client.series(match) == ({"__name__": "api_requests_total", "code": "200"},)


def test_the_servers_version_is_told(history_client: PrometheusClient) -> None:
    assert history_client.build_info()["version"].startswith("3.")


def test_the_servers_notes_are_passed_on(
    history_client: PrometheusClient, stored: tuple[float, np.ndarray]
) -> None:
    end, _ = stored
    (note,) = history_client.query("rate(api_duration_seconds[1m]) > bool 1", at=end).notes
    assert "histogram" in note


@pytest.mark.parametrize(("flag", "notes"), [("true", 1), ("false", 0), ("null", 0)])
def test_a_partial_answer_is_said_to_be_one(flag: str, notes: int) -> None:
    with (
        serving(Answer(EMPTY[:-1] + f',"isPartial":{flag}}}'.encode())) as server,
        client_of(server) as client,
    ):
        said = client.query("up").notes
    assert len(said) == notes
    assert all("partial" in note for note in said)


def test_a_malformed_query_is_answered_with_the_servers_message(
    history_client: PrometheusClient,
) -> None:
    with pytest.raises(QueryError, match=r"answers: .*parse error: unclosed left parenthesis\.$"):
        history_client.query("sum(")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [(r"two\nlines\n", "two lines"), ("", "HTTP 500 without a reason")],
)
def test_the_servers_message_is_one_sentence(error: str, sentence: str) -> None:
    body = f'{{"status":"error","errorType":"internal","error":"{error}"}}'.encode()
    with (
        serving(Answer(body, status=500)) as server,
        client_of(server) as client,
        pytest.raises(QueryError, match=rf"answers: {sentence}\.$"),
    ):
        client.query("up")


def test_a_result_of_another_kind_is_refused(history_client: PrometheusClient) -> None:
    with pytest.raises(QueryError, match=r"`up` yields a vector, not a matrix\."):
        history_client.query_raw("up", at=0.0)


def test_overflow_buckets_are_read() -> None:
    body = (
        b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"histogram":'
        b'[1,{"count":"2","sum":"+Inf","buckets":[[0,"1","2","1"],[0,"1.7e308","+Inf","1"]]}]}]}}'
    )
    with serving(Answer(body)) as server, client_of(server) as client:
        (sample,) = client.query("x").histograms
    assert sample.value.upper.tolist() == [2, np.inf]


def test_a_refused_connection_is_named() -> None:
    with hold_port(0) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        refused = f"^{url} is unreachable: the connection was refused"
        with client_of(url) as client, pytest.raises(UnreachableError, match=refused):
            client.query("up")


def test_an_unknown_host_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    # As a resolver answers that can be reached, which may take its time about it.
    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    with (
        client_of("http://prometheus.invalid", attempts=1) as client,
        pytest.raises(UnreachableError, match="the host name cannot be resolved"),
    ):
        client.query("up")


def test_a_slow_server_runs_into_the_timeout() -> None:
    released = threading.Event()
    with (
        serving(Answer(before=released.wait)) as server,
        client_of(server, timeout_sec=0.05) as client,
    ):
        with pytest.raises(UnreachableError, match=r"did not answer within 0\.05 s"):
            client.query("up")
        released.set()


def test_an_answer_that_stops_in_its_midst_runs_into_the_timeout_once() -> None:
    asked, released = threading.Event(), threading.Event()
    stopping = Answer(EMPTY, length=len(EMPTY) + 10, before=asked.set, after=released.wait)
    with serving(stopping) as server, client_of(server, timeout_sec=0.05) as client:
        try:
            with pytest.raises(UnreachableError, match=r"did not answer within 0\.05 s"):
                client.query("up")
            asked.wait()  # on a busy machine the client gives up before the server has read
        finally:
            released.set()
    assert len(server.forms) == 1


@pytest.mark.parametrize("status", [200, 404])
def test_json_without_a_status_is_not_called_something_else(status: int) -> None:
    with (
        serving(Answer(b'{"message": "Not found"}', status=status)) as server,
        client_of(server) as client,
        pytest.raises(NotPrometheusError, match=f"HTTP {status} with JSON of an unknown form"),
    ):
        client.query("up")


def test_a_web_page_is_not_prometheus() -> None:
    page = Answer(b"<html>Welcome</html>", content_type="text/html; charset=utf-8")
    with (
        serving(page) as server,
        client_of(server) as client,
        pytest.raises(NotPrometheusError, match="answers HTTP 200 with text/html where JSON"),
    ):
        client.query("up")


def test_a_login_redirect_is_not_followed() -> None:
    with (
        serving(Answer(b"", status=302)) as server,
        client_of(server) as client,
        pytest.raises(NotPrometheusError, match=r"it redirects \(HTTP 302\)"),
    ):
        client.query("up")
    assert len(server.forms) == 1


@pytest.mark.parametrize(
    "body",
    [
        b'{"hello": "world"}',
        b"[]",
        b'{"status":"success","data":{"result":[]}}',
        b'{"status":"success","data":{"resultType":"vector","result":{}}}',
        b'{"status":"success","data":{"resultType":"scalar","result":[]}}',
        b'{"status":"odd","data":{}}',
        b'{"status":"success","data":{"resultType":"vector","result":[{"histogram":[1,{}]}]}}',
        b"\xff\xfe",
    ],
)
def test_json_of_another_kind_is_not_prometheus(body: bytes) -> None:
    with (
        serving(Answer(body)) as server,
        client_of(server) as client,
        pytest.raises(NotPrometheusError, match="does not seem to be a Prometheus API"),
    ):
        client.query("up")


@pytest.mark.parametrize("status", [401, 403])
def test_denied_access_says_to_check_the_credentials(status: int) -> None:
    with (
        serving(Answer(b"no", status=status)) as server,
        client_of(server, access=Access(bearer_token="hunter2")) as client,
        pytest.raises(AccessDeniedError, match=rf"denies access \(HTTP {status}\)") as caught,
    ):
        client.query("up")
    assert "hunter2" not in str(caught.value)


def test_an_answer_cut_off_by_the_connection_is_truncated() -> None:
    with (
        serving(Answer(EMPTY, length=len(EMPTY) + 10)) as server,
        client_of(server, attempts=1) as client,
        pytest.raises(TruncatedAnswerError, match="ended before it was complete"),
    ):
        client.query("up")


def test_json_that_stops_in_the_middle_is_truncated() -> None:
    with (
        serving(Answer(EMPTY[:-5])) as server,
        client_of(server) as client,
        pytest.raises(TruncatedAnswerError, match="ended before it was complete"),
    ):
        client.query("up")


def test_an_overloaded_server_is_asked_again() -> None:
    busy = Answer(b"Service Unavailable", status=503, content_type="text/plain")
    with serving(busy, busy, Answer()) as server, client_of(server) as client:
        assert client.query("up").floats == ()
    assert len(server.forms) == 3


def test_a_server_is_asked_again_after_as_long_as_it_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("latency_sweep.analysis.prometheus_api.time.sleep", slept.append)
    error = b'{"status":"error","errorType":"too_many_requests","error":"slow down"}'
    busy = Answer(error, status=429, headers={"Retry-After": "3"})
    date = Answer(b"", status=503, headers={"Retry-After": "Fri, 27 Nov 2026 12:00:00 GMT"})
    with serving(busy, date, Answer()) as server, client_of(server) as client:
        assert client.query("up").floats == ()
    assert len(server.forms) == 3
    assert slept[0] == 3


def test_a_pause_that_a_server_asks_for_is_no_longer_than_the_timeout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("latency_sweep.analysis.prometheus_api.time.sleep", slept.append)
    busy = Answer(b"", status=503, headers={"Retry-After": "86400"})
    with serving(busy, Answer()) as server, client_of(server, timeout_sec=7.0) as client:
        client.query("up")
    assert slept == [7.0]


@pytest.mark.parametrize("body", [b"Bad Gateway", b'{"message": "no upstream"}'])
def test_a_server_that_stays_overloaded_is_given_up(body: bytes) -> None:
    busy = Answer(body, status=502, content_type="text/plain")
    with (
        serving(busy) as server,
        client_of(server, attempts=2) as client,
        pytest.raises(UnreachableError, match=r"answers HTTP 502 .* try again later\.$"),
    ):
        client.query("up")
    assert len(server.forms) == 2


def test_a_query_that_the_server_gave_up_is_not_asked_again() -> None:
    body = b'{"status":"error","errorType":"timeout","error":"query timed out"}'
    with (
        serving(Answer(body, status=503)) as server,
        client_of(server) as client,
        pytest.raises(QueryError, match=r"answers: query timed out\.$"),
    ):
        client.query("up")
    assert len(server.forms) == 1


def test_queries_are_sent_as_forms_with_time_and_timeout() -> None:
    with serving(Answer()) as server, client_of(server, timeout_sec=5.0) as client:
        client.query("up", at=1.5)
    assert server.forms == [{"query": ["up"], "time": ["1.500"], "timeout": ["5s"]}]


@pytest.mark.parametrize(
    ("timeout_sec", "sent"), [(0.5, "1s"), (2.5, "3s"), (30.5, "31s"), (1234567.0, "1234567s")]
)
def test_a_timeout_is_sent_in_whole_seconds(
    monkeypatch: pytest.MonkeyPatch, timeout_sec: float, sent: str
) -> None:
    forms: list[dict[str, str]] = []
    answer = requests.Response()
    answer.status_code, answer.raw = 200, io.BytesIO(EMPTY)

    def ask(*_: object, data: dict[str, str], **__: object) -> requests.Response:
        forms.append(data)
        return answer

    with client_of("http://127.0.0.1:1", timeout_sec=timeout_sec) as client:
        monkeypatch.setattr(client._session, "request", ask)
        client.query("up")
    assert [form["timeout"] for form in forms] == [sent]


# As long as even a busy machine needs: a shorter one would be kept, by the server too.
@pytest.mark.parametrize("timeout_sec", [30.5, 1234567.0])
def test_prometheus_understands_every_timeout(
    history_client: PrometheusClient, timeout_sec: float
) -> None:
    with PrometheusClient(history_client.url, timeout_sec=timeout_sec) as client:
        assert client.query("1").floats


@pytest.mark.parametrize(
    ("access", "header", "value"),
    [
        (Access(bearer_token="abc"), "Authorization", "Bearer abc"),
        (Access(basic=("me", "secret")), "Authorization", "Basic bWU6c2VjcmV0"),
        (Access(headers={"X-Selection-OrgID": "desk"}), "X-Selection-OrgID", "desk"),
    ],
)
def test_credentials_are_sent(access: Access, header: str, value: str) -> None:
    with serving(Answer()) as server, client_of(server, access=access) as client:
        client.query("up")
    assert server.headers_seen[0][header] == value


def test_credentials_in_the_url_are_used_and_forgotten() -> None:
    with serving(Answer(b"no", status=401)) as server:
        url = server.url.replace("http://", "http://me:secret@")
        with client_of(url) as client, pytest.raises(AccessDeniedError) as caught:
            client.query("up")
    assert server.headers_seen[0]["Authorization"] == "Basic bWU6c2VjcmV0"
    assert "secret" not in str(caught.value)
    assert client.url == server.url


def test_secrets_are_not_shown() -> None:
    access = Access("token-1", ("me", "word-2"), {"X-Key": "key-3"})
    assert not any(secret in repr(access) for secret in ("token-1", "word-2", "key-3"))


def test_a_path_prefix_is_kept() -> None:
    assert PrometheusClient("https://gateway.example/prometheus/").url.endswith("e/prometheus")
    assert PrometheusClient("[::1]:9090").url == "http://[::1]:9090"


@pytest.mark.parametrize("url", ["ftp://host", "http://", "http://host:port", "http://[::1"])
def test_another_kind_of_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidUrlError, match="must look like http://HOST:PORT"):
        PrometheusClient(url)


def test_a_plain_port_behind_https_fails_as_tls() -> None:
    with (
        serving(Answer()) as server,
        client_of(server.url.replace("http", "https")) as client,
        pytest.raises(UnreachableError, match=r"TLS .*--ca-file"),
    ):
        client.query("up")


def test_a_missing_certificate_file_is_named(tmp_path: Path) -> None:
    access = Access(ca_file=tmp_path / "ca.pem")
    with (
        client_of("https://127.0.0.1:1", access=access) as client,
        pytest.raises(UnreachableError, match=r"ca\.pem"),
    ):
        client.query("up")


@pytest.mark.parametrize("ending", ["\r", "\n", "\r\nX-Forged: 1", "\x00", "\x85", "€"])
@pytest.mark.parametrize(
    ("kept_in", "named"),
    [
        (lambda secret: {"bearer_token": secret}, "bearer token"),
        (lambda secret: {"basic": ("me", secret)}, "password"),
        (lambda secret: {"basic": (secret, "word")}, "user name"),
        (lambda secret: {"headers": {"X-Key": secret}}, "value of the header X-Key"),
        (lambda secret: {"headers": {secret: "x"}}, "name of a header"),
    ],
)
def test_what_no_header_can_carry_is_named_and_not_quoted(
    kept_in: Callable[[str], dict[str, Any]], named: str, ending: str
) -> None:
    with pytest.raises(InvalidAccessError, match=f"^The {named}") as caught:
        Access(**kept_in(f"topsecret{ending}"))
    assert "topsecret" not in str(caught.value)


def test_latin_1_credentials_are_sent() -> None:
    with serving(Answer()) as server, client_of(server, access=Access(basic=("usér", "wörd"))) as c:
        c.query("1")
        assert server.headers_seen[0]["Authorization"] == "Basic dXPpcjp39nJk"


@pytest.mark.parametrize("url", ["http://me:tops€cret@host", "http://tops\x01cret@host"])
def test_a_url_whose_user_or_password_cannot_be_sent_is_refused(url: str) -> None:
    with pytest.raises(InvalidUrlError, match="user name and password in the Prometheus URL") as e:
        PrometheusClient(url)
    assert "tops" not in str(e.value)


def test_a_request_that_cannot_be_written_is_one_sentence_without_its_headers() -> None:
    # A no-break space in front is Latin-1, and yet the HTTP library refuses it.
    access = Access(headers={"X-Key": "\xa0topsecret"})
    with (
        client_of("http://127.0.0.1:1", access=access) as client,
        pytest.raises(UnreachableError, match="the request cannot be written") as caught,
    ):
        client.query("1")
    assert "topsecret" not in str(caught.value)


def test_a_timeout_longer_than_the_system_can_wait_is_one_sentence() -> None:
    with (
        serving(Answer()) as server,
        client_of(server, timeout_sec=1e300) as client,
        pytest.raises(UnreachableError, match=r"cannot be asked: .* --timeout"),
    ):
        client.query("1")


class RawServer:
    """Sends what a function writes to each connection, until the client goes away."""

    def __init__(self, answer: Callable[[socket.socket], None]) -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.recv(65536)
            self._answer(connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def dripping(head: bytes, drop: bytes) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        connection.sendall(head)
        while True:
            connection.sendall(drop)
            time.sleep(0.01)

    return answer


@pytest.mark.parametrize(
    ("head", "drop"),
    [
        (CHUNKED, b"1\r\n \r\n"),
        (CHUNKED, b"0"),
        (CHUNKED + b"0\r\n", b"X: y\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b" "),
        (b"HTTP/1.1 200 OK\r\nX: ", b"a"),
        (b"", b"H"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["chunks", "a chunk's size", "trailers", "body", "header", "status line", "continue"],
)
def test_an_answer_that_drips_is_cut_off_at_the_timeout(head: bytes, drop: bytes) -> None:
    began = time.monotonic()
    with (
        RawServer(dripping(head, drop)) as server,
        client_of(server.url, timeout_sec=0.3, attempts=1) as client,
        pytest.raises(UnreachableError, match=r"did not answer within 0\.3 s"),
    ):
        client.query("up")
    assert time.monotonic() - began < 5


def endless(head: bytes, block: bytes) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        connection.sendall(head)
        while True:
            connection.sendall(block)

    return answer


def gzip_bomb() -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    return packer.compress(b" " * 4_000_000) + packer.flush()


@pytest.mark.parametrize(
    ("head", "block"),
    [
        (CHUNKED, b"10000\r\n" + b" " * 65536 + b"\r\n"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b" " * 65536),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
            % len(gzip_bomb()),
            gzip_bomb(),
        ),
    ],
    ids=["chunks", "without length", "packed"],
)
def test_an_answer_beyond_the_size_limit_is_its_own_error(
    monkeypatch: pytest.MonkeyPatch, head: bytes, block: bytes
) -> None:
    monkeypatch.setattr("latency_sweep.analysis.bounded_http.MAX_ANSWER_BYTES", 1_000_000)
    with (
        RawServer(endless(head, block)) as server,
        client_of(server.url, timeout_sec=30, attempts=1) as client,
        pytest.raises(LargeAnswerError, match=r"is larger than .* MiB"),
    ):
        client.query("up")


@pytest.mark.parametrize(
    ("head", "block"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"X-a: " + b"b" * 60000 + b"\r\n"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"b" * 65536),
        (CHUNKED, b"0" * 65536),
        (CHUNKED + b"0\r\n", b"X: " + b"b" * 60000 + b"\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    ],
    ids=["headers", "header", "a chunk's size", "trailers", "continue"],
)
def test_what_is_read_besides_the_body_is_bounded_too(
    monkeypatch: pytest.MonkeyPatch, head: bytes, block: bytes
) -> None:
    monkeypatch.setattr("latency_sweep.analysis.bounded_http.MAX_ANSWER_BYTES", 1_000_000)
    with (
        RawServer(endless(head, block)) as server,
        client_of(server.url, timeout_sec=30, attempts=1) as client,
        pytest.raises((UnreachableError, TruncatedAnswerError, LargeAnswerError)),
    ):
        client.query("up")


@pytest.mark.parametrize(
    "body",
    [
        b'{"status":"success","data":{"resultType":"vector","result":null}}',
        EMPTY[:-1] + b',"warnings":null,"infos":null,"error":null,"errorType":null}',
    ],
)
def test_null_is_an_empty_list(body: bytes) -> None:
    with serving(Answer(body)) as server, client_of(server) as client:
        vector = client.query("up")
    assert (vector.floats, vector.histograms, vector.notes) == ((), (), ())


def test_null_in_a_series_is_nothing() -> None:
    body = (
        b'{"status":"success","data":{"resultType":"matrix","result":'
        b'[{"metric":null,"values":null,"histograms":null}]}}'
    )
    with serving(Answer(body)) as server, client_of(server) as client:
        (series,) = client.query_raw("up[5m]", at=0.0).series
    assert (series.labels, series.values.tolist(), series.histograms) == ({}, [], ())


def test_null_for_labels_and_series_is_none_of_them() -> None:
    with serving(Answer(b'{"status":"success","data":null}')) as server, client_of(server) as c:
        assert (c.series(["up"]), c.label_names(), c.label_values("region")) == ((), (), ())


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-1e300", "-1", "1e18"])
def test_a_server_without_a_usable_clock_is_not_prometheus(value: str) -> None:
    body = b'{"status":"success","data":{"resultType":"scalar","result":[1,"%s"]}}'
    with (
        serving(Answer(body % value.encode())) as server,
        client_of(server) as client,
        pytest.raises(NotPrometheusError, match="does not tell the time"),
    ):
        client.now()


@pytest.fixture
def behind_proxy(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def use(url: str) -> None:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
            monkeypatch.setenv(name, url.replace("http://", "http://me:hunter2@"))
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.setenv(name, "")

    return use


def tunnel_refusal(status: bytes) -> Callable[[socket.socket], None]:
    return lambda connection: connection.sendall(
        b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n"
    )


@pytest.mark.parametrize("status", [403, 407, 502])
def test_a_proxy_that_opens_no_tunnel_is_named(
    behind_proxy: Callable[[str], None], status: int
) -> None:
    with RawServer(tunnel_refusal(b"%d No" % status)) as proxy:
        behind_proxy(proxy.url)
        with (
            client_of("https://prometheus.example") as client,
            pytest.raises(
                ProxyRefusedError, match=rf"^The proxy {proxy.url} refuses .*HTTP {status}"
            ) as caught,
        ):
            client.query("up")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_not_there_is_named(
    behind_proxy: Callable[[str], None], scheme: str
) -> None:
    with hold_port(0) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        behind_proxy(url)
        with (
            client_of(f"{scheme}://prometheus.example") as client,
            pytest.raises(ProxyRefusedError, match=rf"^The proxy {url} cannot be reached"),
        ):
            client.query("up")


def test_a_proxy_that_wants_a_password_is_named(behind_proxy: Callable[[str], None]) -> None:
    with serving(Answer(b"no", status=407)) as proxy:
        behind_proxy(proxy.url)
        with (
            client_of("http://prometheus.example") as client,
            pytest.raises(ProxyRefusedError, match=rf"^The proxy {proxy.url} wants a user name"),
        ):
            client.query("up")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(b"no", status=403), AccessDeniedError),
        (Answer(b"<html>Sign in</html>", content_type="text/html"), NotPrometheusError),
        (Answer(b"", status=302), NotPrometheusError),
        (Answer(b"<html>", status=503, content_type="text/html"), UnreachableError),
    ],
)
def test_an_answer_that_a_proxy_may_have_given_names_it(
    behind_proxy: Callable[[str], None], answer: Answer, error: type[PrometheusError]
) -> None:
    with serving(answer) as proxy:
        behind_proxy(proxy.url)
        with (
            client_of("http://prometheus.example", attempts=1) as client,
            pytest.raises(error, match=rf"the proxy {proxy.url} answered.*NO_PROXY") as caught,
        ):
            client.query("up")
    assert "hunter2" not in str(caught.value)

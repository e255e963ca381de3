"""A URL that is not a Prometheus' is told as what it is, by every command that asks one."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from latency_sweep.analysis.cli import main
from latency_sweep.collector.cli import main as sweep
from latency_sweep.contract.exit_codes import ExitCode
from tests.analysis.fake_probes import FakeProbe, serving
from tests.analysis.planted import short_experiment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

GRAFANA = {
    "/api/health": (200, '{"commit":"a","database":"ok","version":"12.1.0"}'),
    "": (401, '{"message":"Unauthorized"}'),
}
NODE_EXPORTER = {
    "/metrics": (200, '# TYPE node_load1 gauge\nnode_load1 1\nnode_exporter_build_info{a="b"} 1\n'),
    "": (404, "404 page not found"),
}
UNNAMED_EXPORTER = {
    "/metrics": (200, "# HELP x Something.\n# TYPE x gauge\nx 1\n"),
    "": (404, "404 page not found"),
}
SQUID = {"": (400, "<html>Invalid URL</html>")}
PAGE = {"": (200, "<html>Welcome</html>")}


@contextmanager
def answering(answers: Mapping[str, tuple[int, str]], server_name: str = "") -> Iterator[str]:
    """A server with an answer for each path, and one for all others; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, text = answers.get(self.path, answers[""])
            self.send_response_only(status)
            if server_name:
                self.send_header("Server", server_name)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_POST = _answer  # noqa: N815 - names the base class looks for

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def told(capsys: pytest.CaptureFixture[str], url: str) -> str:
    """What `analyze`, `analyze doctor` and `sweep watch` say, which is the same."""
    commands = (
        (main.main, ["--from-prometheus", url]),
        (main.main, ["doctor", "--from-prometheus", url]),
        (sweep.main, ["watch", "--from-prometheus", url, "--once"]),
    )
    sentences = set()
    for command, arguments in commands:
        assert command(arguments) == ExitCode.PROMETHEUS_FAILED
        sentences.add(capsys.readouterr().err.partition(": ")[2])
    (sentence,) = sentences
    return sentence


@pytest.mark.parametrize(
    ("answers", "server_name", "sentence"),
    [
        (GRAFANA, "", "is a Grafana, not a Prometheus; give the URL of the Prometheus that it"),
        (NODE_EXPORTER, "", "is an exporter of metrics (node_exporter), not a Prometheus"),
        (UNNAMED_EXPORTER, "", "is an exporter of metrics, not a Prometheus"),
        (SQUID, "squid/6.9", "is answered by a proxy or web server (squid, HTTP 400)"),
        (PAGE, "nginx/1.27", "is answered by a proxy or web server (nginx, HTTP 200)"),
        (PAGE, "", "does not seem to be a Prometheus API: it answers HTTP 200"),
    ],
)
def test_what_is_no_prometheus_is_named(
    capsys: pytest.CaptureFixture[str],
    answers: Mapping[str, tuple[int, str]],
    server_name: str,
    sentence: str,
) -> None:
    with answering(answers, server_name) as url:
        assert told(capsys, url).startswith(f"{url} {sentence}")


def test_a_probe_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with serving([FakeProbe(short_experiment("a-probe"), 0.01)]) as (address,):
        assert told(capsys, f"http://{address}").startswith(
            f"http://{address} is a probe of this project, not a Prometheus; give the URL of the"
        )


@pytest.mark.parametrize("page", ["/graph", "/query", "/targets"])
def test_a_page_of_a_prometheus_is_answered_with_its_address(
    capsys: pytest.CaptureFixture[str], history_server: str, page: str
) -> None:
    assert told(capsys, history_server + page) == (
        f"{history_server}{page} is a page of a Prometheus whose API is at {history_server};"
        f" leave out {page}.\n"
    )

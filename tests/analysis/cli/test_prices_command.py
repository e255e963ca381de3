"""`analyze prices`: the table in use, and a fresh one from a price list on the loopback."""

from __future__ import annotations

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from latency_sweep.analysis.cli import main
from latency_sweep.analysis.pricing.prices import default_path, load_prices
from latency_sweep.contract.exit_codes import ExitCode
from latency_sweep.contract.experiment import load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OFFERED = {("eu-west-1", "c6i.large"): "0.0912", ("eu-west-1", "c7gn.medium"): "0.0705"}


class PriceList(BaseHTTPRequestHandler):
    """Answers `GetProducts` in AWS's JSON protocol; knows what is `OFFERED`.

    Moto's price list is of no use here: it passes the question on to AWS.
    """

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        wanted = {f["Field"]: f["Value"] for f in body["Filters"]}
        price = OFFERED.get((wanted["regionCode"], wanted["instanceType"]))
        dimension = {"unit": "Hrs", "pricePerUnit": {"USD": price}}
        product = {"terms": {"OnDemand": {"term": {"priceDimensions": {"hour": dimension}}}}}
        if "denied" in self.headers["Authorization"]:
            fault = {"__type": "AccessDeniedException", "message": "You may not."}
            self._answer(400, fault)
        else:
            self._answer(200, {"PriceList": [json.dumps(product)] if price else []})

    def _answer(self, status: int, document: dict[str, Any]) -> None:
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's
        """Be quiet."""


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Credentials of nobody, and no way to any others."""
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_ENDPOINT_URL_PRICING"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def price_list(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with ThreadingHTTPServer(("127.0.0.1", 0), PriceList) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield
        server.shutdown()
        thread.join()


def refused(path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a refresh in vain ends with."""
    assert main.main(["prices", "--refresh", "-o", str(path)]) == ExitCode.AWS_FAILED
    out, err = capsys.readouterr()
    assert (out, err.count("\n"), path.exists()) == ("", 1, False)
    return err


def test_the_table_in_use_is_shown_with_its_date_and_that_it_is_not_verified(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main.main(["prices"]) == ExitCode.DONE
    out = capsys.readouterr().out
    table = load_prices()
    assert out.startswith(f"Prices of {table.date}, NOT verified against AWS.\n")
    assert f"File: {default_path()}\n" in out
    assert f"Source: {table.source}\n" in out
    assert all(region in out for region in load().regions)
    assert "analyze prices --refresh" in out


@pytest.mark.usefixtures("price_list")
def test_a_refresh_writes_and_shows_what_aws_says_of_what_was_chosen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "prices.yaml"
    chosen = ["--regions", "eu-west-1,me-central-1", "--instance-types", "c6i.large"]
    assert main.main(["prices", "--refresh", "-o", str(path), *chosen]) == ExitCode.DONE
    table = load_prices(path)
    assert table.verified
    assert table.usd_per_hour == {"eu-west-1": {"c6i.large": 0.0912}}
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"Prices of {table.date}, read from AWS's price list."
    assert lines[4:7] == [
        "region        c6i.large",
        "eu-west-1        0.0912",
        "me-central-1          -",
    ]


@pytest.mark.usefixtures("price_list")
def test_a_refresh_asks_for_every_candidate_of_the_experiment(tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    assert main.main(["prices", "--refresh", "-o", str(path)]) == ExitCode.DONE
    found = load_prices(path).usd_per_hour
    assert {(r, t): f"{p:.4f}" for r, prices in found.items() for t, p in prices.items()} == OFFERED


@pytest.mark.usefixtures("price_list")
def test_a_refusal_names_the_permission_that_is_needed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "denied")
    line = refused(tmp_path / "prices.yaml", capsys)
    assert "You may not; it needs credentials that may call pricing:GetProducts." in line


@pytest.mark.usefixtures("price_list")
def test_candidates_that_aws_does_not_offer_are_no_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["prices", "--refresh", "-o", str(tmp_path / "p.yaml"), "--regions", "mars-1"]
    assert main.main(arguments) == ExitCode.BAD_INPUT
    assert "has none of these instance types in these regions." in capsys.readouterr().err


def test_missing_credentials_are_said_to_be_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    line = refused(tmp_path / "prices.yaml", capsys)
    assert "no complete AWS credentials were found; sign in with `aws sso login`" in line


def test_a_price_list_out_of_reach_is_said_to_be_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        line = refused(tmp_path / "prices.yaml", capsys)
    assert url in line
    assert "check the network, the proxy and AWS_ENDPOINT_URL." in line


@pytest.mark.parametrize(
    ("variable", "value"), [("AWS_PROFILE", "nobody"), ("AWS_ENDPOINT_URL", "nonsense")]
)
def test_a_setting_of_aws_that_cannot_be_used_is_named(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
) -> None:
    monkeypatch.setenv(variable, value)
    line = refused(tmp_path / "prices.yaml", capsys)
    assert value in line
    assert "check the AWS configuration" in line

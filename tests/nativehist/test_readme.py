"""The examples of the package's README run as they are printed, and Prometheus can read them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from latency_sweep.prometheus.version import NATIVE_HISTOGRAMS_BY_CONFIG
from tests.repository import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from latency_sweep.lab.binaries.prometheus_binary import Binaries

README = (ROOT / "nativehist/README.md").read_text(encoding="utf-8")
EXPOSE, CALCULATE = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
SCRAPE = re.findall(r"^```yaml\n(.*?)^```", README, re.MULTILINE | re.DOTALL)[0]
PROTOBUF = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
)


@pytest.fixture
def metrics_url(tmp_path: Path) -> Iterator[str]:
    script = tmp_path / "shop.py"
    script.write_text(EXPOSE, encoding="utf-8")
    environment = {**os.environ, "PORT": "0", "PYTHONPATH": str(ROOT / "src")}
    with subprocess.Popen(
        [sys.executable, script], env=environment, stdout=subprocess.PIPE, text=True
    ) as shop:
        assert shop.stdout is not None
        try:
            yield shop.stdout.readline().strip()
        finally:
            shop.kill()


def test_the_example_serves_protobuf_and_text(
    metrics_url: str, decode: Callable[[bytes], dict[str, Any]]
) -> None:
    families = decode(requests.get(metrics_url, headers={"Accept": PROTOBUF}, timeout=10).content)
    histogram = families["shop_request_duration_seconds"].metric[0].histogram
    assert histogram.schema == 8
    assert histogram.sample_count >= 0
    text = requests.get(metrics_url, timeout=10).text
    samples = {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.labels.get("path") == "/checkout"
    }
    assert samples["shop_requests_total"] >= histogram.sample_count
    assert samples["shop_request_duration_seconds_count"] >= histogram.sample_count


def test_the_example_of_calculations_holds(capsys: pytest.CaptureFixture[str]) -> None:
    exec(CALCULATE, {})
    p99, mean, sd = map(float, capsys.readouterr().out.split())
    assert 0.0625 < p99 < 0.125
    assert mean == pytest.approx(0.39 / 8)
    assert sd > 0


def test_promtool_takes_the_scrape_configuration(
    prometheus_binaries: Binaries, promtool_binary: Path, tmp_path: Path
) -> None:
    configuration = tmp_path / "prometheus.yml"
    text = SCRAPE
    if prometheus_binaries.version < NATIVE_HISTOGRAMS_BY_CONFIG:
        text = text.replace("    scrape_native_histograms: true\n", "")
        assert text != SCRAPE
    configuration.write_text(text, encoding="utf-8")
    check = subprocess.run(
        [promtool_binary, "check", "config", configuration],
        capture_output=True,
        text=True,
        check=False,
    )
    assert check.returncode == 0, check.stderr


def test_importing_the_package_imports_nothing_else() -> None:
    code = (
        "import sys, latency_sweep.nativehist; "
        "print([m for m in ('numpy', 'prometheus_client', 'msgspec') if m in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.strip() == "[]"

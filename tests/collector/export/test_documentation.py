"""What reads the snippets of docs/existing-prometheus.md and deploy/kubernetes accepts them."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml

from latency_sweep.collector.export.request import Discovery, ExportKind
from latency_sweep.collector.export.scraping import POD_NAME, PORT_NAME
from latency_sweep.contract import versions
from latency_sweep.probe.options import settings_of
from latency_sweep.prometheus.version import NATIVE_HISTOGRAMS_BY_CONFIG, Version
from tests.collector.export.exporting import NAME, experiment_file, run
from tests.repository import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PAGE: Final = (ROOT / "docs" / "existing-prometheus.md").read_text(encoding="utf-8")
KEY: Final = "scrape_native_histograms"
# What the components of Alloy take, of what the page uses; from their reference.
ALLOY: Final = {
    "prometheus.scrape": {
        *("targets", "job_name", "scrape_interval", "scrape_native_histograms"),
        *("scrape_protocols", "forward_to"),
    },
    "prometheus.remote_write": set(),
    "endpoint": {"url", "send_native_histograms"},
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


YAML: Final = {
    f"{number}-{re.sub(r'[^a-z_]', '', text.strip().splitlines()[0])}": text
    for number, text in enumerate(blocks("yaml"))
}


def readable(text: str) -> dict[str, Any] | list[Any]:
    """A block as a document, and a part of a scrape job as that job."""
    found: dict[str, Any] | list[Any] = yaml.safe_load(text)
    return found


def complete(text: str) -> dict[str, Any] | None:
    """The configuration of Prometheus that a block is, is part of, or contains."""
    document = readable(text)
    if isinstance(document, list):  # a file of targets
        job = {"job_name": "j", KEY: True, "static_configs": document}
        return {"scrape_configs": [job]}
    if "receivers" in document:  # of the OpenTelemetry collector, which doubles every $
        within: dict[str, Any] = document["receivers"]["prometheus"]["config"]
        return within
    if {"relabel_configs", "scheme"} & document.keys():
        return {"scrape_configs": [{"job_name": "j", **document}]}
    return document


def suited(document: dict[str, Any], version: Version) -> dict[str, Any]:
    """What the page says to leave out for old versions is left out."""
    for job in document.get("scrape_configs", []):
        if version < NATIVE_HISTOGRAMS_BY_CONFIG:
            job.pop(KEY, None)
    return document


@pytest.mark.parametrize("name", YAML)
def test_promtool_accepts_the_snippet(name: str, promtool_binary: Path, tmp_path: Path) -> None:
    document = complete(YAML[name])
    assert document is not None
    document = suited(document, Version.of_binary(promtool_binary))
    text = yaml.safe_dump(document).replace("/etc/prometheus/", f"{tmp_path}/")
    for file in ("probe-token", "probe-ca.pem"):
        (tmp_path / file).touch()
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets" / "probes.yml").write_text("[]\n")
    (tmp_path / "prometheus.yml").write_text(text)
    done = subprocess.run(
        [promtool_binary, "check", "config", tmp_path / "prometheus.yml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_job_of_the_page_asks_for_native_histograms() -> None:
    jobs = [
        job
        for text in YAML.values()
        for job in (complete(text) or {}).get("scrape_configs", [])
        if len(job) > 2 and job["job_name"] != "j"
    ]
    assert len(jobs) >= 4
    assert all(job[KEY] is True for job in jobs)


def test_every_remote_write_of_the_page_sends_native_histograms() -> None:
    writes = [w for text in YAML.values() for w in (complete(text) or {}).get("remote_write", [])]
    assert len(writes) >= 2
    assert all(write["send_native_histograms"] is True for write in writes)


def exported_job(discovery: Discovery, folder: Path) -> dict[str, Any]:
    config = ("--config", str(experiment_file(folder)))
    assert run(ExportKind.PROMETHEUS, folder, *config, "--discovery", discovery) == 0
    ((job,),) = yaml.safe_load((folder / "scrape-probes.yml").read_text()).values()
    assert isinstance(job, dict)
    return job


@pytest.mark.parametrize(
    ("discovery", "key"),
    [(Discovery.EC2, "ec2_sd_configs"), (Discovery.KUBERNETES, "kubernetes_sd_configs")],
)
def test_the_page_shows_what_is_exported(discovery: Discovery, key: str, tmp_path: Path) -> None:
    (shown,) = [
        job
        for text in YAML.values()
        for job in (complete(text) or {}).get("scrape_configs", [])
        if key in job
    ]
    exported = exported_job(discovery, tmp_path)
    assert shown["relabel_configs"] == exported["relabel_configs"]
    first = exported[key][0]
    if discovery is Discovery.EC2:
        shown[key][0] |= {"region": first["region"], "refresh_interval": "60s"}
    assert shown[key][0] == first
    assert NAME == "my-sweep"


def test_the_versions_of_the_page_are_those_of_the_code() -> None:
    assert f"pinned {versions.load().prometheus}" in PAGE
    first = f"{NATIVE_HISTOGRAMS_BY_CONFIG.major}.{NATIVE_HISTOGRAMS_BY_CONFIG.minor}"
    assert re.search(rf"^\| {re.escape(first)} and newer.*`{KEY}: true`", PAGE, re.MULTILINE)


def test_the_options_and_kinds_of_the_page_are_those_of_the_command(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    section = PAGE.partition("## Files to start from")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == {*ExportKind}
    with pytest.raises(SystemExit):
        run("rules", tmp_path, "--help")
    known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", section)) <= known


def test_the_alloy_snippet_has_components_and_arguments_that_there_are() -> None:
    """Alloy's own parser accepted it when it was written; here its blocks and names are checked."""
    (text,) = blocks("alloy")
    stack: list[str] = []
    for line in text.splitlines():
        if found := re.fullmatch(r"\s*([a-z_.]+)(?: \"\w+\")? \{", line):
            assert found[1] in ALLOY
            stack.append(found[1])
        elif re.fullmatch(r"\s*\{", line):
            stack.append("object")
        elif re.fullmatch(r"\s*\},?", line):
            stack.pop()
        elif (found := re.fullmatch(r"\s*([a-z_]+) += .+", line)) and stack[-1] != "object":
            assert found[1] in ALLOY[stack[-1]], line
    assert stack == []
    for asked in ("scrape_native_histograms", "send_native_histograms"):
        assert re.search(rf"{asked} += true", text)


@pytest.mark.skipif(shutil.which("alloy") is None, reason="the program alloy is not installed")
def test_alloy_accepts_the_snippet(tmp_path: Path) -> None:
    (text,) = blocks("alloy")
    (tmp_path / "config.alloy").write_text(text)
    subprocess.run(["alloy", "validate", tmp_path / "config.alloy"], check=True)


def manifests(name: str) -> dict[str, Mapping[str, Any]]:
    text = (ROOT / "deploy" / "kubernetes" / name).read_text(encoding="utf-8")
    return {document["kind"]: document for document in yaml.safe_load_all(text)}


def test_the_pod_starts_a_probe_that_can_be_scraped_and_found(tmp_path: Path) -> None:
    daemons = manifests("probes.yaml")["DaemonSet"]["spec"]
    pod = daemons["template"]
    (container,) = pod["spec"]["containers"]
    assert container["command"] == ["probe", "run"]
    flags = [text.replace("$(HOST_IP)", "10.0.1.5") for text in container["args"]]
    flags = [text.replace("/config/", f"{tmp_path}/") for text in flags]
    experiment_file(tmp_path)
    settings = settings_of(flags, {})
    assert settings.experiment.name == NAME
    (port,) = container["ports"]
    assert port["name"] == PORT_NAME
    assert port["containerPort"] == port["hostPort"] == settings.metrics_port
    assert pod["metadata"]["labels"]["app.kubernetes.io/name"] == POD_NAME
    assert daemons["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert pod["spec"]["hostNetwork"] is True
    assert container["image"] in (ROOT / "docker-compose.yml").read_text()


def test_the_pod_may_do_nothing_that_it_need_not() -> None:
    pod = manifests("probes.yaml")["DaemonSet"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    rules = manifests("prometheus-access.yaml")["ClusterRole"]["rules"]
    assert rules == [
        {"apiGroups": [""], "resources": ["pods", "nodes"], "verbs": ["get", "list", "watch"]}
    ]

"""A Prometheus that a stranger configured by hand: the planted winner, or the reason why not."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from latency_sweep.analysis.cli import main
from latency_sweep.collector.cli import main as sweep
from latency_sweep.contract.exit_codes import ExitCode
from latency_sweep.contract.experiment import parse
from latency_sweep.contract.timeline import NS_PER_SEC, Timeline
from latency_sweep.lab.local.prometheus_process import running_with
from latency_sweep.prometheus.version import NATIVE_HISTOGRAMS_BY_CONFIG
from tests.analysis.fake_probes import FakeProbe, serving
from tests.analysis.planted import short_experiment_text
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from latency_sweep.contract.experiment import Experiment
    from latency_sweep.lab.binaries.prometheus_binary import Binaries
    from latency_sweep.lab.local.prometheus_process import Prometheus

# Scrapes and runs follow the clock: a busy machine misses them.
pytestmark = [pytest.mark.e2e, pytest.mark.alone, pytest.mark.timeout(300)]

# Their median latency, milliseconds.
PLACES = {
    ("ap-northeast-1", "apne1-az4", "c6in.large"): 10,
    ("ap-northeast-1", "apne1-az1", "c6in.large"): 12,
    ("ap-northeast-1", "apne1-az4", "c6i.large"): 14,
    ("ap-southeast-1", "apse1-az1", "c6i.large"): 20,
    ("eu-central-1", "euc1-az2", "c6i.large"): 30,
    ("eu-west-2", "euw2-az3", "c6i.large"): 35,
}
LABELS = ("region", "az_id", "instance_type")
WINNER = "/".join(next(iter(PLACES)))
RUNS = 6
NAME = "by-hand"


def experiment_text() -> str:
    text = short_experiment_text(NAME)
    for key, value in (
        ("warmup_sec", 1),
        ("measurement_sec", 4),
        ("cooldown_sec", 1),
        ("scrape_interval_sec", 1),
        ("confidence", 0.8),
        ("min_runs", RUNS),
        ("min_samples", 1000),
        ("reconnects_per_hour", 10_000),
        ("loss_ratio", 0.1),
        ("tail_ratio", 10),
    ):
        text, found = re.subn(rf"(?m)^( *{key}:) [0-9.]+", rf"\1 {value}", text)
        assert found == 1, key
    return re.sub(r"(?ms)^time_strata:.*?^(?=\w)", "time_strata: {}\n", text)


@dataclass(frozen=True)
class Stranger:
    """Two servers of a stranger, and the experiment.

    Attributes:
        labelled: URL of the one with labels of the targets, in one experiment for each way.
        bare: URL of the one whose configuration is a list of addresses.
        addresses: of the probes that say where they are.
        text: of the experiment file.
    """

    labelled: str
    bare: str
    addresses: Sequence[str]
    text: str


def job(
    name: str,
    targets: Sequence[tuple[str, Mapping[str, str]]],
    relabelled: str = "",
    *,
    by_config: bool,
) -> str:
    lines = [f"  - job_name: {name}", relabelled] if relabelled else [f"  - job_name: {name}"]
    if by_config:
        lines.append("    scrape_native_histograms: true")
    lines.append("    static_configs:")
    for address, labels in targets:
        lines.append(f"      - targets: [{json.dumps(address)}]")
        if labels:
            lines.append(f"        labels: {json.dumps(dict(labels))}")
    return "\n".join(lines)


@pytest.fixture(scope="module")
def stranger(
    prometheus_binaries: Binaries, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stranger]:
    text = experiment_text()
    experiment = parse(text, source="test")
    own = [dict(zip(LABELS, place, strict=True)) for place in PLACES]
    telling = [
        FakeProbe(experiment, ms / 1000, own=place, seed=seed)
        for seed, (place, ms) in enumerate(zip(own, PLACES.values(), strict=True))
    ]
    silent = [
        FakeProbe(experiment, ms / 1000, seed=100 + seed) for seed, ms in enumerate(PLACES.values())
    ]
    by_config = prometheus_binaries.version >= NATIVE_HISTOGRAMS_BY_CONFIG
    with serving([*telling, *silent]) as served:
        known, placeless = served[:6], served[6:]

        def each(
            addresses: Sequence[str], experiment_label: str, *labels: Mapping[str, str]
        ) -> list[tuple[str, dict[str, str]]]:
            return [
                (address, {"experiment": experiment_label, **(labels[i] if labels else {})})
                for i, address in enumerate(addresses)
            ]

        foreign = [
            {"aws_region": p["region"], "zone_id": p["az_id"], "type": p["instance_type"]}
            for p in own
        ]
        zoneless = [{k: v for k, v in p.items() if i or k != "az_id"} for i, p in enumerate(own)]
        wrong = [{**p, "region": "us-east-1"} if i else p for i, p in enumerate(own)]
        replicas = [
            (address, {**labels, "replica": replica})
            for replica in ("a", "b")
            for address, labels in each(placeless, "pair", *own)
        ]
        jobs = [
            job("own-words", each(known, "own-words"), by_config=by_config),
            job("foreign", each(placeless, "foreign", *foreign), by_config=by_config),
            job("nowhere", each(placeless[:2], "nowhere"), by_config=by_config),
            job("zoneless", each(placeless[:2], "zoneless", *zoneless), by_config=by_config),
            job("wrong", each(known[:2], "wrong", *wrong), by_config=by_config),
            job("pair", replicas, by_config=by_config),
            job("two-jobs", each(placeless, "two-jobs", *own), by_config=by_config),
            job("team-b", each(placeless[:1], "two-jobs", own[0]), by_config=by_config),
        ]
        head = "global: {scrape_interval: 1s, scrape_timeout: 900ms}\nscrape_configs:\n"
        plain = job("whatever", [(address, {}) for address in known], by_config=by_config)
        folders = [tmp_path_factory.mktemp(name) for name in ("labelled", "bare")]
        with (
            running_with(head + "\n".join(jobs), prometheus_binaries, folders[0]) as labelled,
            running_with(head + plain, prometheus_binaries, folders[1]) as bare,
        ):
            for server in (labelled, bare):
                wait_until(
                    "every probe with a whole run",
                    partial(measured, server, experiment),
                    within_sec=100,
                )
            yield Stranger(labelled.url, bare.url, known, text)


def measured(server: Prometheus, experiment: Experiment) -> bool:
    """Whether every target has latencies of some run that is over."""
    targets = len(server.query("up"))
    now_ns = time.time_ns() - 2 * NS_PER_SEC
    over = Timeline.of(experiment.timing).run_at(now_ns - Timeline.of(experiment.timing).cycle_ns)
    shown = server.query(f'histogram_count(feed_latency_seconds{{run="{over.label}"}}) > 0')
    return 0 < targets == len(shown)


def analyze(
    url: str,
    stranger: Stranger,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    *options: str,
) -> tuple[int, str, str]:
    config = tmp_path / "experiment.yaml"
    config.write_text(stranger.text, encoding="utf-8")
    code = main.main(
        ["--from-prometheus", url, "--config", str(config), "--output", "json", *options]
    )
    told = capsys.readouterr()
    return code, told.out, told.err


@pytest.mark.parametrize(
    ("experiment", "options"),
    [
        ("own-words", ()),
        ("pair", ()),
        ("two-jobs", ()),
        (
            "foreign",
            (
                *("--label", "region=aws_region", "--label", "az_id=zone_id"),
                *("--label", "instance_type=type"),
            ),
        ),
        (None, ()),
    ],
)
def test_the_planted_winner_is_found(
    stranger: Stranger,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    experiment: str | None,
    options: tuple[str, ...],
) -> None:
    url = stranger.bare if experiment is None else stranger.labelled
    chosen = () if experiment is None else ("--experiment-id", experiment)
    # More runs come by the clock, and a busy machine spoils some.
    wait_until(
        "a verdict",
        lambda: (
            analyze(url, stranger, tmp_path, capsys, *chosen, *options)[0]
            not in {ExitCode.INCONCLUSIVE, ExitCode.NONE_PASSES}
        ),
        within_sec=100,
    )
    code, text, errors = analyze(url, stranger, tmp_path, capsys, *chosen, *options)
    assert errors == ""
    verdict = json.loads(text)
    assert (code, verdict["kind"], verdict["winner"]) == (ExitCode.DONE, "winner", WINNER)
    assert {row["name"] for row in verdict["ranking"]} == {"/".join(place) for place in PLACES}
    counted = [w for w in verdict["warnings"] if "counts once" in w]
    differing = {"pair": "the label replica (a, b)", "two-jobs": "the label job (team-b, two-jobs)"}
    assert len(counted) == int(experiment in differing)
    assert all(differing[str(experiment)] in note for note in counted)


_NOT_TOLD = (
    r"and what these probes say of themselves \(feed_probe_info\) does not tell it either; "
    r"add it with this rule under relabel_configs: \{source_labels: \[__address__\], "
    r"regex: '127\\\.0\\\.0\\\.1:\d+', target_label: LABEL, replacement: \w+\} for each, "
    r"or start the probes with --OPTION\."
)
_NOWHERE = (
    r"HOST and HOST cannot be told apart: they have no label region or az_id or instance_type, "
    + _NOT_TOLD.replace("LABEL", "region").replace("OPTION", "region")
)
_ZONELESS = r"HOST has no label az_id, which other targets have, " + _NOT_TOLD.replace(
    "LABEL", "az_id"
).replace("OPTION", "az-id")
_WRONG = (
    r'HOST has the label region="us-east-1", but its probe says of itself \(feed_probe_info\) '
    r"ap-northeast-1; correct the label with this rule .* target_label: region, "
    r"replacement: REGION\}, or the probe's --region\."
)
_FOREIGN = (
    r"HOST, HOST, .* and 1 more cannot be told apart: .* pass --label region=aws_region if that "
    r"label holds it, or add it with .*\."
)


@pytest.mark.parametrize(
    ("experiment", "options", "complaint"),
    [
        ("nowhere", (), _NOWHERE),
        ("zoneless", (), _ZONELESS),
        ("zoneless", ("--by", "az_id"), _ZONELESS),
        ("wrong", (), _WRONG),
        ("foreign", (), _FOREIGN),
    ],
)
def test_what_cannot_be_attributed_is_refused_with_the_label_to_add(
    stranger: Stranger,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    experiment: str,
    options: tuple[str, ...],
    complaint: str,
) -> None:
    chosen = ("--experiment-id", experiment, *options)
    code, text, errors = analyze(stranger.labelled, stranger, tmp_path, capsys, *chosen)
    assert (code, text) == (ExitCode.BAD_INPUT, "")
    expected = complaint.replace("HOST", r"127\.0\.0\.1:\d+")
    assert re.fullmatch(f"analyze: {expected}\n", errors), errors


def watch(
    url: str,
    stranger: Stranger,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    *options: str,
) -> dict[tuple[str, ...], dict[str, Any]]:
    """The rows of the live table by candidate."""
    config = tmp_path / "experiment.yaml"
    config.write_text(stranger.text, encoding="utf-8")
    arguments = ["--from-prometheus", url, "--config", str(config), "--once", "--json"]
    assert sweep.main(["watch", *arguments, *options]) == ExitCode.DONE
    rows = json.loads(capsys.readouterr().out)["candidates"]
    return {tuple(row[label] for label in LABELS): row for row in rows}


@pytest.mark.parametrize("experiment", ["own-words", "pair", "two-jobs", None])
def test_the_live_table_shows_each_probe_once_and_at_its_place(
    stranger: Stranger,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    experiment: str | None,
) -> None:
    url = stranger.bare if experiment is None else stranger.labelled
    chosen = () if experiment is None else ("--experiment-id", experiment)
    rows = watch(url, stranger, tmp_path, capsys, *chosen)
    assert rows.keys() == PLACES.keys()
    for place, milliseconds in PLACES.items():
        row = rows[place]
        assert row["probes"] == row["probes_up"] == 1
        assert row["connected"] is True
        assert row["p50_sec"] == pytest.approx(milliseconds / 1000, rel=0.1)
        assert row["clock_error_bound_sec"] == 1e-5


def test_the_live_table_pools_no_probes_whose_place_is_not_known(
    stranger: Stranger, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = watch(stranger.labelled, stranger, tmp_path, capsys, "--experiment-id", "nowhere")
    assert len(rows) == 2
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+", place[1]) for place in rows)


def doctor(
    url: str,
    stranger: Stranger,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    *options: str,
) -> tuple[int, dict[str, dict[str, str]]]:
    """The exit code and the results by their names."""
    config = tmp_path / "experiment.yaml"
    config.write_text(stranger.text, encoding="utf-8")
    arguments = ["--from-prometheus", url, "--config", str(config), "--json", *options]
    code = main.main(["doctor", *arguments])
    results = json.loads(capsys.readouterr().out)["results"]
    return code, {result["name"]: result for result in results}


@pytest.mark.parametrize(
    ("experiment", "name", "status", "found"),
    [
        ("own-words", "attribution", "PASS", "6 probes, 6 candidates"),
        ("own-words", "duplicate series", "PASS", "none"),
        ("own-words", "native histograms", "PASS", "feed_latency_seconds is native"),
        ("own-words", "probes", "PASS", "6 probes up"),
        ("own-words", "probe versions", "WARN", "1 on 127.0.0.1:"),
        ("own-words", "experiment", "WARN", "says by-hand"),
        ("own-words", "rules", "WARN", "feed.yml and alerts.yml not loaded"),
        ("pair", "duplicate series", "WARN", "which differ in the label replica (a, b)"),
        ("nowhere", "attribution", "FAIL", "cannot be told apart"),
        ("wrong", "attribution", "FAIL", 'has the label region="us-east-1"'),
        (None, "experiment", "WARN", "by-hand, as the probes say themselves"),
        (None, "attribution", "PASS", "6 probes, 6 candidates"),
    ],
)
def test_the_doctor_tells_what_a_stranger_s_server_lacks(
    stranger: Stranger,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    experiment: str | None,
    name: str,
    status: str,
    found: str,
) -> None:
    url = stranger.bare if experiment is None else stranger.labelled
    chosen = () if experiment is None else ("--experiment-id", experiment)
    code, results = doctor(url, stranger, tmp_path, capsys, *chosen)
    assert (results[name]["status"], found in results[name]["found"]) == (status, True), results
    assert bool(results[name]["action"]) == (status != "PASS")
    assert code == int(any(result["status"] == "FAIL" for result in results.values()))

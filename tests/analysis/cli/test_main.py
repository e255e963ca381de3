"""The `analyze` command: sources, formats, exit codes, and one sentence for what goes wrong."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
import pytest

from latency_sweep.analysis.cli import main
from latency_sweep.analysis.evidence import archive
from latency_sweep.analysis.evidence.archive import Archive
from latency_sweep.analysis.evidence.records import (
    Candidate,
    Evidence,
    EvidenceSelection,
    InstanceEvidence,
    RunEvidence,
)
from latency_sweep.analysis.prometheus_api import PrometheusError
from latency_sweep.contract.exit_codes import ExitCode
from latency_sweep.contract.experiment import default_path, load
from latency_sweep.contract.targets import Target
from latency_sweep.lab.simulation.remote_write import History
from latency_sweep.nativehist.float_histogram import FloatHistogram
from latency_sweep.runtime.options import PASSWORD_VARIABLE, TOKEN_VARIABLE
from tests.analysis.candidates import changed
from tests.analysis.planted import (
    CHANNELS,
    PlantedProbe,
    finished_runs,
    poisson_events,
    short_experiment,
    short_experiment_text,
)

if TYPE_CHECKING:
    from pathlib import Path

BY = ("region", "instance_type")


def runs_of(region: str, p50: float, **changes: Any) -> list[RunEvidence]:
    """Nine hours of one place, three in each stratum, all in order."""
    rng = np.random.default_rng(sum(map(ord, region)))
    runs = []
    for number in range(9):
        windows = tuple(
            FloatHistogram.from_samples(p50 * rng.lognormal(0.0, 0.2, 1500)) for _ in range(4)
        )
        instance = InstanceEvidence(
            instance="i-1",
            az_id=None,
            latency=FloatHistogram.merge(*windows),
            windows=windows,
            messages=20_000,
            lost=0,
            reconnects=0,
            negative=0,
            hours=1.1,
            coverage=1.0,
            clock_error_bound_sec=1e-5,
            clock_synchronized=True,
        )
        run = RunEvidence(
            candidate=Candidate(BY, (region, "c6i.large")),
            run=f"2026-01-{number + 1:02}T06:05:00Z",
            stratum=("low", "high", "peak")[number % 3],
            instances=(instance,),
        )
        runs.append(changed(run, **changes))
    return runs


@pytest.fixture
def kept(tmp_path: Path) -> Any:
    """Writes an archive of given runs and returns its path."""

    def write(*runs: RunEvidence) -> Path:
        selection = EvidenceSelection("sweep", "spot", ("trade", "depth"), (), BY, 1.77e9, 1.78e9)
        path = tmp_path / "sweep.parquet"
        archive.write(path, Archive(Evidence(selection, runs, "http://prometheus:9090"), load()))
        return path

    return write


@cache
def fast_and_slow() -> list[RunEvidence]:
    return [*runs_of("ap-northeast-1", 0.010), *runs_of("eu-west-1", 0.020)]


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on standard error, with nothing on standard output."""
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1, err
    return err.strip()


def test_a_winner_ends_with_zero_and_the_report(
    kept: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["--from-archive", str(kept(*fast_and_slow()))]) == ExitCode.DONE
    out, err = capsys.readouterr()
    assert "ap-northeast-1/c6i.large" in out
    assert out.endswith("\n")
    assert "\x1b" not in out
    assert err == ""


def test_equal_candidates_end_as_a_tie(kept: Any) -> None:
    first = runs_of("eu-west-1", 0.01)
    same = [replace(r, candidate=Candidate(BY, ("eu-west-2", "c6i.large"))) for r in first]
    assert main.main(["--from-archive", str(kept(*first, *same))]) == ExitCode.TIE


def test_too_little_evidence_ends_as_inconclusive(kept: Any) -> None:
    path = kept(*fast_and_slow()[:2])
    assert main.main(["--from-archive", str(path)]) == ExitCode.INCONCLUSIVE


def test_no_candidate_within_the_limits_ends_as_such(kept: Any) -> None:
    slow = [*runs_of("ap-northeast-1", 0.5), *runs_of("eu-west-1", 0.7)]
    assert main.main(["--from-archive", str(kept(*slow))]) == ExitCode.NONE_PASSES


@pytest.mark.parametrize(
    ("output", "start"),
    [("json", "{"), ("markdown", "#"), ("html", "<!"), ("csv", "")],
)
def test_every_format_can_be_asked_for(
    kept: Any, capsys: pytest.CaptureFixture[str], output: str, start: str
) -> None:
    path = kept(*fast_and_slow())
    assert main.main(["--from-archive", str(path), "--output", output]) == ExitCode.DONE
    out = capsys.readouterr().out
    assert out.lstrip().startswith(start)
    assert "ap-northeast-1" in out


def test_the_format_follows_from_the_files_suffix(
    kept: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "verdict.json"
    assert main.main(["--from-archive", str(kept(*fast_and_slow())), "-o", str(target)]) == 0
    assert json.loads(target.read_text(encoding="utf-8"))
    assert capsys.readouterr().out == ""


def test_output_names_the_format_where_the_suffix_does_not(kept: Any, tmp_path: Path) -> None:
    target = tmp_path / "verdict.out"
    path = str(kept(*fast_and_slow()))
    assert main.main(["--from-archive", path, "-o", str(target), "--output", "json"]) == 0
    assert json.loads(target.read_text(encoding="utf-8"))


def test_one_verdict_is_written_in_several_formats(kept: Any, tmp_path: Path) -> None:
    targets = [tmp_path / name for name in ("r.txt", "r.json", "r.md")]
    files = [part for target in targets for part in ("-o", str(target))]
    assert main.main(["--from-archive", str(kept(*fast_and_slow())), *files]) == ExitCode.DONE
    text, document, markdown = (target.read_text(encoding="utf-8") for target in targets)
    assert text.startswith("WINNER")
    assert markdown.startswith("#")
    sentence = json.loads(document)["sentence"]
    assert all(sentence in " ".join(report.split()) for report in (text, markdown))


def test_json_goes_to_standard_output_beside_the_files(
    kept: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "report.txt"
    path = str(kept(*fast_and_slow()))
    assert main.main(["--from-archive", path, "-o", str(target), "--json"]) == ExitCode.DONE
    assert json.loads(capsys.readouterr().out)["kind"] == "winner"
    assert target.read_text(encoding="utf-8").startswith("WINNER")


def test_one_format_for_several_files_is_refused(
    kept: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ["-o", str(tmp_path / "r.txt"), "-o", str(tmp_path / "r.md")]
    path = str(kept(*fast_and_slow()))
    code = main.main(["--from-archive", path, *files, "--output", "json"])
    assert code == ExitCode.BAD_INPUT
    assert "--output is for one -o" in complaint(capsys)
    assert not list(tmp_path.glob("r.*"))


def test_an_output_file_that_cannot_be_written_is_named(
    kept: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(kept(*fast_and_slow()))
    code = main.main(["--from-archive", path, "-o", str(tmp_path / "no" / "r.html")])
    assert code == ExitCode.BAD_INPUT
    assert "r.html: there is no folder" in complaint(capsys)


@pytest.mark.parametrize("command", [[], ["export"]])
def test_an_output_file_that_cannot_be_written_is_named_before_any_query(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = ["--from-prometheus", "http://127.0.0.1:1"]
    assert main.main([*command, *nowhere, "-o", str(tmp_path)]) == ExitCode.BAD_INPUT
    assert f"{tmp_path}: cannot be written: Is a directory." in complaint(capsys)
    missing = tmp_path / "no" / "r.parquet"
    assert main.main([*command, *nowhere, "-o", str(missing)]) == ExitCode.BAD_INPUT
    assert f"{missing}: there is no folder {missing.parent}." in complaint(capsys)


def test_a_folder_instead_of_a_file_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["--from-archive", str(tmp_path)]) == ExitCode.BAD_INPUT
    assert f"{tmp_path}: cannot be read: Is a directory." in complaint(capsys)
    arguments = ["--from-prometheus", "http://127.0.0.1:1", "--ca-file", str(tmp_path)]
    assert main.main(arguments) == ExitCode.BAD_INPUT
    assert f"{tmp_path}: cannot be read: Is a directory." in complaint(capsys)


def test_an_unusable_price_table_is_named_before_any_query(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "prices.yaml"
    table.write_bytes(b"\xff\xfe")
    arguments = ["--from-prometheus", "http://127.0.0.1:1", "--prices", str(table)]
    assert main.main(arguments) == ExitCode.BAD_INPUT
    assert f"{table}: is not UTF-8 text." in complaint(capsys)


def test_the_same_seed_gives_the_same_bytes(kept: Any, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--from-archive", str(kept(*fast_and_slow())), "--output", "json", "--seed", "5"]
    main.main(arguments)
    first = capsys.readouterr().out
    main.main(arguments)
    assert capsys.readouterr().out == first


def test_two_archives_can_be_compared(kept: Any, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(kept(*fast_and_slow()))
    assert main.main(["compare", path, path]) == ExitCode.DONE
    assert "eu-west-1/c6i.large" in capsys.readouterr().out


def test_two_candidates_of_an_archive_can_be_compared(
    kept: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(kept(*fast_and_slow()))
    places = ["eu-west-1/c6i.large", "ap-northeast-1/c6i.large"]
    assert main.main(["compare", "--from-archive", path, *places, "--output", "json"]) == 0
    assert json.loads(capsys.readouterr().out)


def test_a_candidate_that_is_not_there_is_answered_with_those_that_are(
    kept: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(kept(*fast_and_slow()))
    code = main.main(["compare", "--from-archive", path, "mars", "eu-west-1/c6i.large"])
    assert code == ExitCode.BAD_INPUT
    assert "no candidate 'mars' in the evidence; it has ap-northeast-1/c6i.large" in complaint(
        capsys
    )


def test_two_candidates_and_two_experiments_in_prometheus_can_be_compared(
    history_server: str, planted_config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = ["compare", "--from-prometheus", history_server, "--config", str(planted_config)]
    name = load(planted_config).name
    places = ["--experiment-id", name, "--by", "region", "ap-northeast-1", "eu-west-1"]
    for what in (places, [name, name]):
        assert main.main([*source, *what]) == ExitCode.DONE
        assert "eu-west-1" in capsys.readouterr().out


def test_a_config_replaces_the_rule_of_an_archive(kept: Any, tmp_path: Path) -> None:
    strict = tmp_path / "strict.yaml"
    text = default_path().read_text(encoding="utf-8")
    strict.write_text(text.replace("p99_sec: 0.050", "p99_sec: 0.0001"), encoding="utf-8")
    path = str(kept(*fast_and_slow()))
    assert main.main(["--from-archive", path, "--config", str(strict)]) == ExitCode.NONE_PASSES


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--from-archive", "none.parquet"], "none.parquet: there is no such file."),
        (["--from-jsonl", "none.jsonl"], "none.jsonl: cannot be read: No such file"),
        (["--from-jsonl", "x", "--config", "none.yaml"], "none.yaml: cannot be read"),
        (["--from-prometheus", "ftp://host"], "The Prometheus URL must look like"),
        (["--from-prometheus", "x", "--username", "me"], "--username needs --password-file"),
        (["--from-prometheus", "x", "--client-key", "k"], "need one another"),
        (["--from-prometheus", "x", "--ca-file", "none.pem"], "none.pem: there is no such file."),
        (["--from-prometheus", "x", "--bearer-token-file", "none"], "none: cannot be read"),
        (["--from-archive", "a", "--since", "1h"], "--since only works with --from-prometheus."),
        (["--from-archive", "a", "--since", "0"], "--since only works with --from-prometheus."),
        (["--from-prometheus", "x", "--since", "2", "--until", "2"], "--since must be earlier"),
        (["--from-archive", "a", "--by", "region"], "--by only works with --from-prometheus."),
        (["--from-jsonl", "a", "--market", "usdm"], "--market only works with --from-prometheus."),
        (["compare", "a", "b", "--streams", "x"], "--streams only works with --from-prometheus."),
        (
            ["compare", "a", "b", "-o", "c.html"],
            "c.html: this report has no format html;",
        ),
        (["compare", "none.parquet", "b"], "none.parquet: there is no such file."),
        (["export", "--from-prometheus", "x", "-o", "no/where.parquet"], "there is no folder"),
        (["prices", "--regions", "x"], "--regions only works with --refresh."),
        (["prices", "-o", "x"], "--output-file only works with --refresh."),
        (["prices", "--prices", "none.yaml"], "none.yaml: cannot be read: No such file"),
        (["prices", "--refresh", "--prices", "x"], "--prices only shows a table; name the one to"),
        (["prices", "--refresh", "--config", "none.yaml"], "none.yaml: cannot be read"),
    ],
)
def test_what_cannot_be_used_is_named_in_one_sentence(
    arguments: list[str],
    sentence: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    assert main.main(arguments) == ExitCode.BAD_INPUT
    line = complaint(capsys)
    assert line.startswith("analyze: ")
    assert sentence in line


@pytest.mark.parametrize("ending", ["\rx", "\nx", "€"])
@pytest.mark.parametrize(
    "place", ["token variable", "token file", "password variable", "password file", "header", "URL"]
)
def test_a_secret_that_cannot_be_sent_is_never_shown(
    place: str,
    ending: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    secret = f"topsecret{ending}"
    file = tmp_path / "kept"
    file.write_text(secret, encoding="utf-8")
    monkeypatch.setenv(TOKEN_VARIABLE, secret if place == "token variable" else "fine")
    monkeypatch.setenv(PASSWORD_VARIABLE, secret)
    url = "http://me:tops€cret@127.0.0.1:1" if place == "URL" else "http://127.0.0.1:1"
    given = {
        "token file": ["--bearer-token-file", str(file)],
        "password variable": ["--username", "me"],
        "password file": ["--username", "me", "--password-file", str(file)],
        "header": ["--header", f"X-Key: {secret}"],
    }.get(place, [])
    assert main.main(["--from-prometheus", url, *given]) == ExitCode.BAD_INPUT
    line = complaint(capsys)
    assert line.startswith("analyze: The ")
    assert "tops" not in line


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            [],
            "--from-prometheus --from-archive --from-jsonl --from-recordings is required",
        ),
        (["--from-archive", "a", "--from-jsonl", "b"], "not allowed with argument"),
        (["--from-prometheus", "x", "--by", "planet"], "'planet' is none of region, az_id, inst"),
        (["--from-prometheus", "x", "--since", "teatime"], "'teatime' is not a time; write it as"),
        (["--from-prometheus", "x", "--symbols", "A,,B"], "'A,,B' has an empty name"),
        (["--from-prometheus", "x", "--header", "nothing"], "a header is written NAME:VALUE"),
        (
            ["--from-prometheus", "x", "--timeout", "-1"],
            "'-1' is not a duration such as 300, 5m",
        ),
        (["--from-prometheus", "x", "--seed", "-1"], "'-1' is not a whole number from 0 on"),
        (["--from-prometheus", "x", "--seed", "9" * 30], "with at most 18 digits"),
        (["--from-archive", "a", "--output", "pdf"], "invalid choice: 'pdf'"),
        (["--from-archive", "a", "--output", "text", "--json"], "not allowed with argument"),
        (["export", "--from-prometheus", "x"], "required: -o/--output-file"),
    ],
)
def test_a_wrong_option_ends_with_usage_and_code_two(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main.main(arguments)
    assert caught.value.code == ExitCode.BAD_INPUT
    assert sentence in capsys.readouterr().err


def test_an_unreachable_prometheus_has_a_code_of_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        assert main.main(["--from-prometheus", url]) == ExitCode.PROMETHEUS_FAILED
    assert f"{url} is unreachable: the connection was refused" in complaint(capsys)


def test_a_fault_of_the_program_is_reported_as_such(
    kept: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(main, "decide", lambda *_, **__: 1 / 0)
    assert main.main(["--from-archive", str(kept(*fast_and_slow()))]) == ExitCode.INTERNAL_ERROR
    assert "analyze: internal error: ZeroDivisionError" in capsys.readouterr().err


def test_an_interruption_has_the_shells_code(kept: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "decide", interrupted)
    assert main.main(["--from-archive", str(kept(*fast_and_slow()))]) == ExitCode.INTERRUPTED


def test_a_reader_that_stops_early_is_no_error(kept: Any) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        command = [sys.executable, "-m", "latency_sweep.analysis.cli.main", "--from-archive"]
        ended = subprocess.run(
            [*command, str(kept(*fast_and_slow()))],
            stdout=closed,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert ended.returncode == ExitCode.DONE
    assert ended.stderr == b""


def printed(arguments: list[str], stdout: int, **environment: str) -> tuple[int, bytes, bytes]:
    """Exit code, standard output and standard error of the command in a process of its own."""
    ended = subprocess.run(
        [sys.executable, "-m", "latency_sweep.analysis.cli.main", *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        env=os.environ | environment,
        check=False,
    )
    return ended.returncode, ended.stdout or b"", ended.stderr


def test_a_reader_that_stops_early_does_not_change_the_exit_code(kept: Any) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        arguments = ["--from-archive", str(kept(*fast_and_slow()[:2]))]
        code, _, err = printed(arguments, closed.fileno())
    assert (code, err) == (ExitCode.INCONCLUSIVE, b"")


def test_a_full_disk_behind_standard_output_is_one_sentence(kept: Any) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        code, _, err = printed(["--from-archive", str(kept(*fast_and_slow()))], full)
    finally:
        os.close(full)
    assert code == ExitCode.BAD_INPUT
    assert err == b"analyze: Standard output: cannot be written: No space left on device.\n"


def test_without_a_standard_output_the_exit_code_still_tells(
    kept: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert main.main(["--from-archive", str(kept(*fast_and_slow()))]) == ExitCode.DONE


def test_a_terminal_without_a_character_shows_a_question_mark(kept: Any) -> None:
    arguments = ["--from-archive", str(kept(*fast_and_slow()))]
    code, out, err = printed(arguments, subprocess.PIPE, PYTHONIOENCODING="ascii")
    assert (code, err) == (ExitCode.DONE, b"")
    assert b"clock ?" in out


@pytest.mark.parametrize("output", ["html", "json"])
def test_what_programs_read_is_utf_8_in_every_locale(kept: Any, output: str) -> None:
    place = Candidate(BY, ("東京", "c6i.large"))
    runs = [replace(run, candidate=place) for run in runs_of("ap-northeast-1", 0.5)]
    arguments = ["--from-archive", str(kept(*runs)), "--output", output]
    code, out, err = printed(arguments, subprocess.PIPE, PYTHONIOENCODING="ascii")
    assert (code, err) == (ExitCode.NONE_PASSES, b"")
    assert "東京" in out.decode("utf-8")


def test_a_server_cannot_write_to_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def complain(*_: object, **__: object) -> None:
        raise PrometheusError("http://x answers: \x1b]0;title\x07.")

    monkeypatch.setattr(main, "collect", complain)
    assert main.main(["--from-prometheus", "x"]) == ExitCode.PROMETHEUS_FAILED
    assert complaint(capsys) == r"analyze: http://x answers: \x1b]0;title\x07."


@pytest.mark.parametrize(
    ("arguments", "codes"),
    [
        (["--help"], [0, 2, 3, 4, 5, 6, 7, 16, 70, 130]),
        (["export", "--help"], [0, 2, 6, 7, 70, 130]),
        (["compare", "--help"], [0, 2, 6, 7, 70, 130]),
        (["prices", "--help"], [0, 2, 9, 70, 130]),
    ],
)
def test_help_has_an_example_and_the_exit_codes_it_can_return(
    arguments: list[str], codes: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main.main(arguments)
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert "analyze" in text.partition("example")[2]
    listed = text.partition("exit codes:\n")[2].splitlines()
    assert [int(line.split()[0]) for line in listed] == codes


@pytest.fixture
def planted_config(history_server: str, tmp_path: Path) -> Path:
    """An experiment file whose sweep of two places is in Prometheus.

    Of a name of its own each time: the runs are the last ones before now, and once another one
    has ended, the events of the same name would be others at the times of those planted before.
    """
    experiment = short_experiment(f"command-line-{uuid4().hex[:8]}")
    runs = finished_runs(experiment, 2, time.time())
    rng = np.random.default_rng(1)
    history = History()
    for region in ("ap-northeast-1", "eu-west-1"):
        channels = {c: poisson_events(rng, runs) for c in CHANNELS}
        place = Target(f"i-{region}", region, f"{region}-az1", "c6i.large")
        PlantedProbe(experiment.name, place, runs, channels).plant(history)
    history.send(history_server)
    path = tmp_path / "experiment.yaml"
    path.write_text(short_experiment_text(experiment.name), encoding="utf-8")
    return path


def test_an_exported_archive_repeats_the_verdict_to_the_byte(
    history_server: str, planted_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = ["--from-prometheus", history_server, "--config", str(planted_config)]
    live = main.main([*source, "--output", "json"])
    verdict = capsys.readouterr().out
    kept = tmp_path / "sweep.parquet"
    assert main.main(["export", *source, "-o", str(kept)]) == ExitCode.DONE
    assert capsys.readouterr().out == f"Wrote 4 runs of 2 candidates to {kept}.\n"
    assert main.main(["--from-archive", str(kept), "--output", "json"]) == live
    assert capsys.readouterr().out == verdict


def test_an_empty_prometheus_range_has_a_code_of_its_own(
    history_server: str, planted_config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = ["--from-prometheus", history_server, "--config", str(planted_config)]
    assert main.main([*source, "--until", "1000000000"]) == ExitCode.NO_DATA
    assert "has no latency in that range" in complaint(capsys)

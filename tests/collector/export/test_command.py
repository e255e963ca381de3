"""How `sweep export` treats options, and files that are there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_sweep.collector.cli import entry, main
from latency_sweep.collector.export.request import ExportError, ExportKind, ProbeTarget, matchers
from latency_sweep.contract.exit_codes import ExitCode
from latency_sweep.runtime import extras
from tests.collector.export.exporting import run


@pytest.mark.parametrize("kind", ExportKind)
def test_every_kind_takes_every_option_and_lists_what_it_wrote(
    kind: ExportKind, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--job", "j", "--selector", 'job="j"', "--runbook-url", "https://w.example/r")
    rest = ("--datasource", "d", "--experiment-id", "e", "--target", "h:1")
    assert run(kind, tmp_path / "new" / "folder", *options, *rest) == ExitCode.DONE
    told = capsys.readouterr()
    listed = {Path(line) for line in told.out.splitlines()}
    assert listed == {path for path in (tmp_path / "new").rglob("*") if path.is_file()}
    assert told.err == ""


def test_the_default_of_the_runbook_s_address_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(ExportKind.RULES, tmp_path) == ExitCode.DONE
    assert "--runbook-url" in capsys.readouterr().err
    assert run(ExportKind.ALERTMANAGER, tmp_path) == ExitCode.DONE
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--selector", "job=binance"), "no list of label matchers"),
        (("--selector", 'job="a" or up'), "no list of label matchers"),
        (("--selector", 'job="a"\n,b="c"}'), "no list of label matchers"),
        (("--selector", ""), "no list of label matchers"),
        (("--job", " "), "--job"),
        (("--job", "a\nb"), "--job"),
        (("--runbook-url", "docs/runbook.md"), "not an absolute URL"),
        (("--runbook-url", "https://wiki.example/a b"), "not an absolute URL"),
        (("--runbook-url", "https://wiki.example/#x"), "not an absolute URL"),
        (("--runbook-url", "https://[wiki/"), "not an absolute URL"),
        (("--target", "10.0.1.5"), "not a host and a port"),
        (("--target", "10.0.1.5:70000"), "not a host and a port"),
        (("--target", "10.0.1.5:9090,region"), "not a label"),
        (("--target", "10.0.1.5:9090,__address__=x"), "not a label"),
        (("--target", "10.0.1.5:9090,a=b,a=c"), "twice"),
        (("--target", "h:1", "--discovery", "ec2"), "--target only works with"),
        (("--discovery", "static"), "--target HOST:PORT"),
        (("--prometheus-version", "2.42.0"), "too old"),
        (("--prometheus-version", "new"), "not a version"),
        (("--config", "nowhere.yaml"), "nowhere.yaml"),
    ],
)
def test_a_value_that_cannot_work_is_one_sentence_and_nothing_is_written(
    options: tuple[str, ...],
    complaint: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(ExportKind.PROMETHEUS, tmp_path / "out", *options) == ExitCode.BAD_INPUT
    told = capsys.readouterr()
    assert told.err.startswith("sweep export: ")
    assert complaint in told.err
    assert told.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_pods_are_not_looked_for_from_compose(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(ExportKind.COMPOSE, tmp_path, "--discovery", "kubernetes") == ExitCode.BAD_INPUT
    assert "export prometheus" in capsys.readouterr().err


def test_an_edited_file_is_kept_and_nothing_else_written_without_force(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(ExportKind.PROMETHEUS, tmp_path) == ExitCode.DONE
    targets, rules = tmp_path / "targets" / "probes.yml", tmp_path / "rules" / "feed.yml"
    targets.write_text("- targets: [a:1]\n")
    rules.unlink()
    capsys.readouterr()
    assert run(ExportKind.PROMETHEUS, tmp_path) == ExitCode.BAD_INPUT
    assert str(targets) in capsys.readouterr().err
    assert targets.read_text() == "- targets: [a:1]\n"
    assert not rules.exists()
    assert run(ExportKind.PROMETHEUS, tmp_path, "--force") == ExitCode.DONE
    assert targets.read_text() != "- targets: [a:1]\n"
    assert rules.exists()


def test_writing_the_same_again_is_no_error(tmp_path: Path) -> None:
    assert run(ExportKind.DASHBOARDS, tmp_path) == ExitCode.DONE
    assert run(ExportKind.DASHBOARDS, tmp_path) == ExitCode.DONE


def test_a_folder_that_cannot_be_made_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert run(ExportKind.RULES, tmp_path / "file" / "out") == ExitCode.BAD_INPUT
    assert capsys.readouterr().err.count("\n") == 1


@given(st.text())
def test_a_target_is_read_or_refused(text: str) -> None:
    try:
        target = ProbeTarget.parse(text)
    except ExportError:
        return
    again = ",".join([target.address, *(f"{name}={value}" for name, value in target.labels)])
    assert ProbeTarget.parse(again) == target


@given(st.text())
def test_matchers_are_read_or_refused(text: str) -> None:
    try:
        read = matchers(text)
    except ExportError:
        return
    assert matchers(f"{{{read}}}") == read


def test_the_whole_program_exports_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["export", "alertmanager", "-o", str(tmp_path)]) == ExitCode.DONE
    assert main.main(["export", "rules", "-o", str(tmp_path), "--job", ""]) == ExitCode.BAD_INPUT
    assert capsys.readouterr().err.startswith("sweep export: --job")


def test_it_needs_its_own_extra_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []
    monkeypatch.setattr(extras, "require", lambda extra, what: asked.append((extra, what)))
    monkeypatch.setattr("sys.argv", ["sweep", "export", "alertmanager", "-o", os.fspath(tmp_path)])
    assert entry.main() == ExitCode.DONE
    assert set(asked) == {(extras.Extra.EXPORT, "sweep export")}
    assert capsys.readouterr().out == f"{tmp_path}/alertmanager.yml\n"

"""The public API for notebooks, and the page that explains it."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import latency_sweep
from latency_sweep.analysis.decision.decide import decide
from latency_sweep.analysis.evidence import archive
from latency_sweep.analysis.evidence.archive import Archive, ArchiveError
from latency_sweep.analysis.frames import HISTOGRAM_COLUMNS, RUN_COLUMNS, SweepFrames
from latency_sweep.runtime import extras
from tests.analysis.candidates import candidate_of, evidence, rules, runs_of, steady
from tests.repository import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PAGE = (ROOT / "docs" / "notebook.md").read_text(encoding="utf-8")


@pytest.fixture
def kept(tmp_path: Path) -> Archive:
    """Evidence of two candidates, of which a run does not count and a counter is not known."""
    fast, slow = candidate_of("c6in.large"), candidate_of("c6i.large")
    odd, *_ = runs_of(slow, steady(0.03), lost=None, exclusion_reasons=("odd", "late"))
    good = runs_of(slow, steady(0.03, 10))[1:]
    found = Archive(evidence(runs_of(fast, steady(0.01, 10)), [odd], good), rules())
    archive.write(tmp_path / "sweep.parquet", found)
    return found


@pytest.fixture
def sweep(kept: Archive, tmp_path: Path) -> SweepFrames:
    assert kept.evidence.runs
    return latency_sweep.load(str(tmp_path / "sweep.parquet"))


def test_each_run_is_a_row(sweep: SweepFrames, kept: Archive) -> None:
    runs = sweep.runs
    assert dict(runs.dtypes.astype(str)) == RUN_COLUMNS
    assert len(runs) == len(kept.evidence.runs)
    assert list(runs["start"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")) == list(runs["run"])
    assert list(runs["p99_sec"]) == [run.latency.quantile(0.99) for run in kept.evidence.runs]
    assert runs["az_id"].isna().all()
    assert set(runs["region"]) == {"ap-northeast-1"}


def test_what_is_not_known_is_missing_and_not_zero(sweep: SweepFrames) -> None:
    excluded = sweep.runs[~sweep.runs["used"]]
    assert list(excluded["exclusion_reasons"]) == ["odd; late"]
    assert list(excluded["lost"].isna()) == [True]
    assert (sweep.runs.loc[sweep.runs["used"], "lost"] == 0).all()


def test_buckets_add_up_to_the_samples_of_their_run(sweep: SweepFrames) -> None:
    histograms = sweep.histograms
    assert dict(histograms.dtypes.astype(str)) == HISTOGRAM_COLUMNS
    whole = histograms[histograms["instance"].isna() & histograms["window"].isna()]
    counted = whole.groupby(["candidate", "run"], observed=True)["count"].sum()
    expected = sweep.runs.set_index(["candidate", "run"])["samples"]
    assert counted.to_dict() == expected.to_dict()
    assert (histograms["lower_sec"] < histograms["upper_sec"]).all()


def test_the_verdict_is_the_one_of_the_evidence(sweep: SweepFrames, kept: Archive) -> None:
    assert sweep.verdict == decide(kept.evidence, kept.experiment)
    assert sweep.verdict is sweep.verdict


def test_a_sweep_without_runs_has_empty_frames() -> None:
    empty = SweepFrames(evidence(), rules())
    assert list(empty.runs) == list(RUN_COLUMNS)
    assert list(empty.histograms) == list(HISTOGRAM_COLUMNS)
    assert (len(empty.runs), len(empty.histograms)) == (0, 0)


def test_a_file_that_is_no_archive_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="there is no such file"):
        latency_sweep.load(tmp_path / "none.parquet")


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "pandas" else name)
    with pytest.raises(ImportError) as raised:
        latency_sweep.load("sweep.parquet")
    assert str(raised.value) == (
        "`latency_sweep.load` needs the extra `analysis` (pandas missing); "
        "install it with: pip install 'binance-latency-sweep[analysis]'"
    )


def test_importing_the_package_imports_nothing_else() -> None:
    code = "import sys, latency_sweep; print(*(name.split('.')[0] for name in sys.modules))"
    before = "import sys; print(*(name.split('.')[0] for name in sys.modules))"
    names, known = (
        set(subprocess.check_output([sys.executable, "-c", text], text=True).split())
        for text in (code, before)
    )
    other = names - known - sys.stdlib_module_names
    assert other == {"latency_sweep"}


@pytest.mark.usefixtures("kept")
def test_the_example_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "docs/notebook.md", "exec"), {})
    printed = capsys.readouterr().out
    assert printed.endswith("winner ap-northeast-1/c6in.large\n")


@pytest.mark.parametrize(
    ("heading", "columns"),
    [
        ("`sweep.runs`", list(RUN_COLUMNS)),
        ("`sweep.histograms`", list(HISTOGRAM_COLUMNS)),
        ("The file", archive._SCHEMA.names),
    ],
)
def test_the_page_explains_every_column_in_order(heading: str, columns: list[str]) -> None:
    section = PAGE[PAGE.index(f"\n## {heading}") + 1 :].split("\n## ")[0]
    rows = re.findall(r"^\| (`.*?`) \|", section, re.MULTILINE)
    assert [name for row in rows for name in re.findall(r"`(\w+)`", row)] == columns

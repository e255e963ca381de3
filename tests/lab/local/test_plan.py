from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from latency_sweep.lab.local.plan import DemoOptions, ResultsError, demo_plan

if TYPE_CHECKING:
    from pathlib import Path


def test_demos_that_start_in_the_same_second_share_no_folder(tmp_path: Path) -> None:
    folders = {demo_plan(DemoOptions(results=tmp_path)).setup.folder for _ in range(3)}
    assert folders == set(tmp_path.iterdir())
    assert len(folders) == 3


def test_results_that_are_no_folder_are_told_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "results").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ResultsError, match=r"^--results: .* cannot be made \(File exists\); name"):
        demo_plan(DemoOptions(results=tmp_path / "results"))

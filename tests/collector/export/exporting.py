"""Runs `sweep export` as its user does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from latency_sweep.collector.cli import export
from latency_sweep.contract import experiment

if TYPE_CHECKING:
    from pathlib import Path

LIMITS = {
    "p99_sec": 0.123,
    "reconnects_per_hour": 7.5,
    "loss_ratio": 0.0456,
    "tail_ratio": 8.25,
    "min_samples": 4321,
    "clock_error_bound_sec": 0.0789,
}
NAME = "my-sweep"
JOB = "their-feed"
TARGET = "10.0.1.5:9090,region=eu-central-1,az_id=euc1-az2,instance_type=c6in.large"


def run(kind: str, folder: Path, *options: str) -> int:
    """The exit code."""
    return export.main(["export", kind, "-o", str(folder), *options])


def experiment_file(folder: Path) -> Path:
    """An experiment with a name and limits of its own."""
    document = experiment.load().model_dump(by_alias=True)
    document["name"] = NAME
    document["decision"]["constraints"] = LIMITS
    file = folder / "experiment.yaml"
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    return file

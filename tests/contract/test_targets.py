"""Target labels are read in one way."""

from __future__ import annotations

from latency_sweep.contract.metrics import TARGET_LABELS
from latency_sweep.contract.targets import CANDIDATE_LABELS, CandidateLabels, Target

LABELS = {
    "instance": "i-1",
    "region": "eu-west-1",
    "az_id": "euw1-az1",
    "instance_type": "c6i.large",
}


def test_labels_of_a_series_name_its_target_and_candidate() -> None:
    assert Target.of(LABELS) == ("i-1", "eu-west-1", "euw1-az1", "c6i.large")
    assert CandidateLabels.of(LABELS) == Target.of(LABELS)[1:]


def test_a_label_that_is_missing_is_unknown() -> None:
    without_zone = {name: value for name, value in LABELS.items() if name != "az_id"}
    assert Target.of(without_zone).az_id == CandidateLabels.of(without_zone).az_id == "unknown"


def test_a_target_is_an_instance_of_a_candidate() -> None:
    assert Target._fields == ("instance", *CANDIDATE_LABELS)
    assert set(Target._fields) < set(TARGET_LABELS)

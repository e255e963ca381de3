"""Which instances a sweep has, evaluated by Terraform itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from latency_sweep.collector.aws.instance_clocks import clock_table
from tests.deploy.aws.paths import ROOT
from tests.deploy.aws.terraform_module import RefusedError, evaluate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="module")
def experiment(experiment_path: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(experiment_path.read_text())
    return document


@pytest.fixture
def plan(
    terraform_binary: Path, experiment: dict[str, Any], tmp_path: Path
) -> Callable[..., dict[str, Any]]:
    """Evaluate the module; every type is offered in zones 1 and 2 unless said otherwise."""

    def run(**variables: Any) -> dict[str, Any]:
        offerings = {
            region: {
                key: [f"{region}-az2", f"{region}-az1"] for key in experiment["instance_types"]
            }
            for region in experiment["regions"]
        }
        given = {"experiment": experiment, "phases": [1], "offerings": offerings, **variables}
        return evaluate(terraform_binary, ROOT / "modules/plan", given, tmp_path)

    return run


def test_phase_one_is_europe_with_every_type_once(plan: Callable[..., dict[str, Any]]) -> None:
    outputs = plan()
    assert outputs["regions"] == ["eu-central-1", "eu-west-1", "eu-west-2"]
    assert len(outputs["probes"]) == 3 * 4
    assert outputs["probes"]["eu-west-1/eu-west-1-az1/c7gn.medium/1"] == {
        "region": "eu-west-1",
        "az_id": "eu-west-1-az1",
        "instance_type": "c7gn.medium",
        "family": "network_arm",
        "architecture": "arm64",
        "replica": 1,
        "has_phc": False,
    }
    assert outputs["dropped"] == {}


def test_replicas_and_zones_multiply(plan: Callable[..., dict[str, Any]]) -> None:
    zones = ["eu-west-1-az1", "eu-west-1-az2"]
    outputs = plan(replicas=2, az_ids={"eu-west-1": zones}, instance_types=["c6i.large"])
    names = [n for n in outputs["probes"] if n.startswith("eu-west-1/")]
    assert names == [
        f"eu-west-1/{zone}/c6i.large/{replica}" for zone in zones for replica in (1, 2)
    ]
    assert outputs["zones"]["eu-west-1"] == zones


def test_excluded_candidate_is_dropped_with_its_reason_and_moves_no_zone(
    plan: Callable[..., dict[str, Any]],
) -> None:
    name = "eu-west-1/eu-west-1-az1/c6i.large"
    outputs = plan(excluded_candidates=[name])
    assert f"{name}/1" not in outputs["probes"]
    assert outputs["dropped"] == {name: "excluded"}
    assert outputs["zones"]["eu-west-1"] == ["eu-west-1-az1"]


def test_types_share_a_zone_that_offers_them_all(
    plan: Callable[..., dict[str, Any]], experiment: dict[str, Any]
) -> None:
    offerings = {
        region: {
            "c6i.large": ["z-az1", "z-az2", "z-az3"],
            "c6in.large": ["z-az2", "z-az3"],
            "c7gn.medium": [],
            "r6i.large": ["z-az3", "z-az1"],
        }
        for region in experiment["regions"]
    }
    outputs = plan(offerings=offerings)
    assert {probe["az_id"] for probe in outputs["probes"].values()} == {"z-az3"}
    assert outputs["dropped"]["eu-west-1/-/c7gn.medium"] == "not offered in this zone"


def test_type_not_offered_in_a_chosen_zone_is_dropped_not_moved(
    plan: Callable[..., dict[str, Any]], experiment: dict[str, Any]
) -> None:
    offerings = {
        region: {**{key: ["z-az1"] for key in experiment["instance_types"]}, "c6i.large": ["z-az2"]}
        for region in experiment["regions"]
    }
    outputs = plan(offerings=offerings, az_ids={"eu-west-1": ["z-az1"]})
    assert "eu-west-1/z-az1/c6i.large" in outputs["dropped"]
    assert not [n for n in outputs["probes"] if n.startswith("eu-west-1/z-az2")]


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"phases": [7]}, "No region of the experiment belongs to phases [7]"),
        ({"instance_types": ["m9.huge"]}, "types that the experiment does not have: m9.huge"),
        ({"az_ids": {"mars-north-1": ["m-az1"]}}, "regions that the experiment does not have"),
        ({"offerings": {}}, "No candidate is left"),
    ],
)
def test_plan_that_cannot_be_is_refused_with_the_reason(
    plan: Callable[..., dict[str, Any]], variables: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(RefusedError) as refusal:
        plan(**variables)
    assert sentence in " ".join(str(refusal.value).replace("│", " ").split())


def test_types_with_a_hardware_clock_are_those_of_the_list_and_those_named(
    plan: Callable[..., dict[str, Any]], experiment: dict[str, Any]
) -> None:
    types = experiment["instance_types"]
    chosen = {**types, "m8a.large": types["c6i.large"], "m9x.large": types["c6i.large"]}
    probes = plan(
        experiment={**experiment, "instance_types": chosen},
        offerings={
            region: {t: [f"{region}-az1"] for t in chosen} for region in experiment["regions"]
        },
        phc_families=sorted(clock_table().phc_families),
        phc_types=["m9x.large"],
    )["probes"]
    having = {p["instance_type"] for p in probes.values() if p["has_phc"]}
    assert {"m8a.large", "m9x.large"} <= having
    # Their cards have none, and a reload of their driver would drop the network for nothing.
    assert not having & {"c6i.large", "c6in.large", "c7gn.medium", "r6i.large"}


def test_a_hardware_clock_that_a_type_does_not_have_is_refused_before_anything_is_created(
    plan: Callable[..., dict[str, Any]],
) -> None:
    with pytest.raises(RefusedError, match=r"c7gn\.medium"):
        plan(phc_wanted=True, phc_families=sorted(clock_table().phc_families))

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from latency_sweep.contract import experiment
from latency_sweep.lab.local import sites
from latency_sweep.lab.local.plan import EXPERIMENT
from latency_sweep.lab.local.sites import PlacesError

if TYPE_CHECKING:
    from pathlib import Path

ONE_PLACE = """
places:
  - region: ap-northeast-1
    zone: ap-northeast-1a
    instance_type: c6in.large
"""


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "sites.yaml"
    file.write_text(text)
    return file


def test_the_shipped_places_suit_the_shipped_experiment() -> None:
    sites.check(sites.load(), experiment.load(EXPERIMENT))


def test_the_shipped_places_are_three_regions_of_two_types_each() -> None:
    shipped = sites.load().places
    assert len({place.region for place in shipped}) == 3
    assert {sum(p.region == place.region for p in shipped) for place in shipped} == {2}
    assert len({place.instance_type for place in shipped}) == 2


def test_a_place_without_a_feed_has_a_perfect_one(tmp_path: Path) -> None:
    (place,) = sites.load(write(tmp_path, ONE_PLACE)).places
    assert place.feed.latency.model_dump() == {"distribution": "constant", "ms": 0.0}


def test_a_place_is_named_by_zone_and_type(tmp_path: Path) -> None:
    (place,) = sites.load(write(tmp_path, ONE_PLACE)).places
    assert place.name == "ap-northeast-1a-c6in.large"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("places: [", "not valid YAML"),
        ("seed: 2026-02-30", "not valid YAML: day .* month"),
        ("[" * 3_000, "not valid YAML: it is nested too deep"),
        (ONE_PLACE + "seed: 1\nseed: 2\n", "the key 'seed' stands twice"),
        ("places: []", r"places: list should have at least 1 item"),
        (ONE_PLACE + "    rack: 7\n", r"places\.0\.rack: extra inputs are not permitted"),
        (ONE_PLACE + "    feed: {latency: {distribution: normal}}\n", r"places\.0\.feed\.latency"),
        ("[]", "valid dictionary"),
    ],
)
def test_a_bad_file_is_told_with_the_key(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(PlacesError, match=complaint):
        sites.load(write(tmp_path, text))


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(PlacesError, match="cannot be read: No such file"):
        sites.load(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("ap-northeast-1\n", "us-east-1\n", "the experiment has no region us-east-1"),
        ("c6in.large", "m5.large", r"the experiment has no instance type m5\.large"),
    ],
)
def test_a_place_that_the_experiment_does_not_know_is_named(
    tmp_path: Path, old: str, new: str, complaint: str
) -> None:
    scenery = sites.load(write(tmp_path, ONE_PLACE.replace(old, new)))
    with pytest.raises(PlacesError, match=complaint):
        sites.check(scenery, experiment.load(EXPERIMENT))


def test_a_place_that_stands_twice_is_named(tmp_path: Path) -> None:
    text = ONE_PLACE + ONE_PLACE.replace("\nplaces:\n", "")
    scenery = sites.load(write(tmp_path, text))
    with pytest.raises(PlacesError, match=r"ap-northeast-1a-c6in\.large stands twice"):
        sites.check(scenery, experiment.load(EXPERIMENT))

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from latency_sweep.contract import experiment
from latency_sweep.lab.local import sites
from latency_sweep.lab.local.plan import EXPERIMENT
from latency_sweep.lab.local.sites import SitesError

if TYPE_CHECKING:
    from pathlib import Path

ONE_SITE = """
sites:
  - region: ap-northeast-1
    zone: ap-northeast-1a
    instance_type: c6in.large
"""


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "sites.yaml"
    file.write_text(text)
    return file


def test_the_shipped_sites_suit_the_shipped_experiment() -> None:
    sites.check(sites.load(), experiment.load(EXPERIMENT))


def test_the_shipped_sites_are_three_regions_of_two_types_each() -> None:
    shipped = sites.load().sites
    assert len({site.region for site in shipped}) == 3
    assert {sum(p.region == site.region for p in shipped) for site in shipped} == {2}
    assert len({site.instance_type for site in shipped}) == 2


def test_a_site_without_a_feed_has_a_perfect_one(tmp_path: Path) -> None:
    (site,) = sites.load(write(tmp_path, ONE_SITE)).sites
    assert site.feed.latency.model_dump() == {"distribution": "constant", "ms": 0.0}


def test_a_site_is_named_by_zone_and_type(tmp_path: Path) -> None:
    (site,) = sites.load(write(tmp_path, ONE_SITE)).sites
    assert site.name == "ap-northeast-1a-c6in.large"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("sites: [", "not valid YAML"),
        ("seed: 2026-02-30", "not valid YAML: day .* month"),
        ("[" * 3_000, "not valid YAML: it is nested too deep"),
        (ONE_SITE + "seed: 1\nseed: 2\n", "the key 'seed' is repeated"),
        ("sites: []", r"sites: list should have at least 1 item"),
        (ONE_SITE + "    rack: 7\n", r"sites\.0\.rack: extra inputs are not permitted"),
        (ONE_SITE + "    feed: {latency: {distribution: normal}}\n", r"sites\.0\.feed\.latency"),
        ("[]", "valid dictionary"),
    ],
)
def test_a_bad_file_is_told_with_the_key(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(SitesError, match=complaint):
        sites.load(write(tmp_path, text))


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(SitesError, match="cannot be read: No such file"):
        sites.load(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("ap-northeast-1\n", "us-east-1\n", "the experiment has no region us-east-1"),
        ("c6in.large", "m5.large", r"the experiment has no instance type m5\.large"),
    ],
)
def test_a_site_that_the_experiment_does_not_know_is_named(
    tmp_path: Path, old: str, new: str, complaint: str
) -> None:
    scenario = sites.load(write(tmp_path, ONE_SITE.replace(old, new)))
    with pytest.raises(SitesError, match=complaint):
        sites.check(scenario, experiment.load(EXPERIMENT))


def test_a_site_that_stands_twice_is_named(tmp_path: Path) -> None:
    text = ONE_SITE + ONE_SITE.replace("\nsites:\n", "")
    scenario = sites.load(write(tmp_path, text))
    with pytest.raises(SitesError, match=r"ap-northeast-1a-c6in\.large is listed twice"):
        sites.check(scenario, experiment.load(EXPERIMENT))

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from latency_sweep.analysis.pricing.prices import load_prices
from latency_sweep.collector.aws.cost import CostGroup, FeesError, estimate, load_fees
from latency_sweep.collector.aws.instance_clocks import clock_table

if TYPE_CHECKING:
    from pathlib import Path

GROUPS = (
    CostGroup("eu-west-1", 1, "c6i.large", 2),
    CostGroup("ap-northeast-1", 2, "c6i.large", 1),
)


def test_everything_that_costs_is_added_up_per_phase() -> None:
    prices, fees = load_prices(), load_fees()
    found = estimate(
        GROUPS, hours=10, scrape_interval_sec=15, monitor_region=None, prices=prices, fees=fees
    )
    gib_per_hour = fees.scrape_kib * 240 / 1024**2
    europe = (
        2 * 0.0912
        + 2 * fees.public_ipv4_usd_per_hour
        + 2 * fees.volume_gib * fees.gp3_usd_per_gib_month["default"] / 730
        + 2 * gib_per_hour * fees.transfer_out_usd_per_gib["default"]
    )
    by_phase = found.usd_per_hour_by_phase()
    assert by_phase[1] == pytest.approx(europe)
    assert found.usd == pytest.approx(10 * (by_phase[1] + by_phase[2]))


def test_a_monitor_is_paid_once() -> None:
    prices, fees = load_prices(), load_fees()
    without, with_one = (
        estimate(
            GROUPS, hours=1, scrape_interval_sec=15, monitor_region=r, prices=prices, fees=fees
        )
        for r in (None, "eu-west-1")
    )
    assert with_one.usd_per_hour > without.usd_per_hour
    assert with_one.usd_per_hour_by_phase() == without.usd_per_hour_by_phase()


def test_an_unknown_price_is_told_and_left_out() -> None:
    groups = [CostGroup("eu-west-1", 1, "x9.huge", 1)]
    found = estimate(
        groups,
        hours=1,
        scrape_interval_sec=15,
        monitor_region=None,
        prices=load_prices(),
        fees=load_fees(),
    )
    assert found.items[0].usd_per_hour is None
    assert any("No price is known for 1 x x9.huge in eu-west-1" in c for c in found.warnings)


@pytest.mark.parametrize(
    ("text", "complaint"), [("a: [", "not valid YAML"), ("date: 2026-01-01", "source")]
)
def test_a_bad_table_of_fees_is_refused(text: str, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "fees.yaml"
    path.write_text(text)
    with pytest.raises(FeesError, match=complaint):
        load_fees(path)


def test_the_clock_of_a_type_is_told_with_the_date_of_the_table() -> None:
    table = clock_table()
    assert table.offers_phc("c7i.large")
    assert "PHC" in table.describe("c7i.large")
    assert not table.offers_phc("c7gn.medium")
    assert f"{table.date}" in table.describe("c7gn.medium")

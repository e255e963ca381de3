"""The error bound of the network card's PTP clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from latency_sweep.probe.clock import phc
from latency_sweep.probe.clock.reading import UnknownBoundError

if TYPE_CHECKING:
    from pathlib import Path


def publish(sysfs: Path, interface: str, text: str) -> None:
    """Publish a bound as the ENA driver does."""
    device = sysfs / "class/net" / interface / "device"
    device.mkdir(parents=True)
    (device / "phc_error_bound").write_text(text)


def test_the_bound_is_in_nanoseconds(tmp_path: Path) -> None:
    publish(tmp_path, "ens5", "4500\n")
    assert phc.error_bound_sec(tmp_path) == pytest.approx(4.5e-6)


def test_of_several_cards_the_worst_counts(tmp_path: Path) -> None:
    publish(tmp_path, "ens5", "4500\n")
    publish(tmp_path, "ens6", "9000\n")
    assert phc.error_bound_sec(tmp_path) == pytest.approx(9e-6)


def test_no_card_that_publishes_one_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UnknownBoundError, match="no network card publishes phc_error_bound"):
        phc.error_bound_sec(tmp_path)


def test_a_bound_that_is_no_number_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    publish(tmp_path, "ens5", "disabled\n")
    with pytest.raises(UnknownBoundError, match="ens5/device/phc_error_bound has no number"):
        phc.error_bound_sec(tmp_path)

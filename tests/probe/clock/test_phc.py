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


def publish_clock(sysfs: Path, number: int, clock_name: str, bound: str | None) -> None:
    """A PTP clock as the kernel shows it."""
    clock = sysfs / "class/ptp" / f"ptp{number}"
    (clock / "device").mkdir(parents=True)
    (clock / "clock_name").write_text(clock_name + "\n")
    if bound is not None:
        (clock / "device/phc_error_bound").write_text(bound + "\n")


def test_of_a_known_device_its_own_card_s_bound_counts(tmp_path: Path) -> None:
    publish_clock(tmp_path, 90, "ena-ptp-05", "4500")
    publish_clock(tmp_path, 91, "ena-ptp-06", "9000")
    assert phc.device_error_bound_sec("/dev/ptp90", tmp_path) == pytest.approx(4.5e-6)


def test_the_link_to_ena_s_clock_is_followed_by_the_clock_s_name_where_devices_are_hidden(
    tmp_path: Path,
) -> None:
    publish_clock(tmp_path, 0, "ptp_vmclock", None)
    publish_clock(tmp_path, 1, "ena-ptp-05", "4500")
    assert phc.device_error_bound_sec("/dev/ptp_ena", tmp_path) == pytest.approx(4.5e-6)


def test_a_link_is_followed_to_its_device(tmp_path: Path) -> None:
    publish_clock(tmp_path, 90, "ena-ptp-05", "4500")
    (tmp_path / "ptp90").touch()
    (tmp_path / "ptp_mine").symlink_to("ptp90")
    device = str(tmp_path / "ptp_mine")
    assert phc.device_error_bound_sec(device, tmp_path) == pytest.approx(4.5e-6)


@pytest.mark.parametrize(
    "device", ["/dev/ptp90", "/dev/ptp_kvm", "/dev/ptp99", "/dev/ptp_ena", "0"]
)
def test_a_device_of_no_card_has_no_bound_though_a_card_publishes_one(
    tmp_path: Path, device: str
) -> None:
    """ptp_kvm, ptp_vmclock and ptp_hyperv are PHCs to chrony too."""
    publish_clock(tmp_path, 90, "KVM virtual PTP", None)
    publish(tmp_path, "ens5", "4500\n")
    with pytest.raises(UnknownBoundError, match=f"{device}, which publishes no phc_error_bound"):
        phc.device_error_bound_sec(device, tmp_path)

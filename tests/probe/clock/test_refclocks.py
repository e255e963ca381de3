"""What chronyd's configuration says of reference ids."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latency_sweep.probe.clock.refclocks import Refclock, configured

if TYPE_CHECKING:
    from pathlib import Path


def test_a_name_is_that_of_the_directive_or_driver_and_number(tmp_path: Path) -> None:
    """Numbers count over all drivers."""
    file = tmp_path / "chrony.conf"
    file.write_text(
        "# refclock PHC /dev/ptp9\n"
        "server 169.254.169.123 iburst\n"
        "refclock PHC /dev/ptp_ena poll 0 delay 0.000010 prefer\n"
        "RefClock shm 0 refid GPSD precision 1e-1\n"
        "refclock PPS /dev/pps0:clear lock GPSD\n"
        "refclock SOCK /run/chrony.ttyS0.sock\n"
        "refclock PHC /dev/ptp1:nocrossts RefID ABCDE\n"
        "refclock\n"
    )
    assert configured([tmp_path / "missing.conf", file]) == {
        "PHC0": Refclock("PHC", "/dev/ptp_ena"),
        "GPSD": Refclock("SHM", "0"),
        "PPS2": Refclock("PPS", "/dev/pps0"),
        "SOC3": Refclock("SOCK", "/run/chrony.ttyS0.sock"),
        "ABCD": Refclock("PHC", "/dev/ptp1"),
    }


def test_included_files_and_folders_are_read_in_their_place(tmp_path: Path) -> None:
    first, second = tmp_path / "first.d", tmp_path / "second.d"
    for folder, name, line in (
        (first, "b.conf", "refclock PHC /dev/ptp1"),
        (first, "ignored.txt", "refclock PHC /dev/ptp7"),
        (second, "a.conf", "refclock PHC /dev/ptp0"),
        (second, "b.conf", "refclock PHC /dev/ptp8"),
    ):
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(line + "\n")
    (tmp_path / "one.inc").write_text("refclock SHM 2\n")
    file = tmp_path / "chrony.conf"
    file.write_text(f"confdir {first} {second}\ninclude {tmp_path}/*.inc\n")
    found = configured([file])
    assert found["PHC0"] == Refclock("PHC", "/dev/ptp0")
    assert found["PHC1"] == Refclock("PHC", "/dev/ptp1")
    assert found["SHM2"] == Refclock("SHM", "2")


def test_without_a_configuration_nothing_is_known(tmp_path: Path) -> None:
    assert configured([tmp_path / "chrony.conf"]) == {}


def test_a_file_that_includes_itself_comes_to_an_end(tmp_path: Path) -> None:
    file = tmp_path / "chrony.conf"
    file.write_text(f"refclock PHC /dev/ptp0\ninclude {file}\n")
    assert configured([file])["PHC0"] == Refclock("PHC", "/dev/ptp0")

"""Allowances of the network card, and the counters they are read from."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from latency_sweep.probe.doctor import ethtool
from latency_sweep.probe.doctor.network_card import check_allowances, default_interface
from latency_sweep.runtime.check_result import CheckStatus

if TYPE_CHECKING:
    from pathlib import Path

CALM = {
    "bw_in_allowance_exceeded": 0,
    "bw_out_allowance_exceeded": 0,
    "pps_allowance_exceeded": 0,
    "conntrack_allowance_exceeded": 0,
    "linklocal_allowance_exceeded": 0,
    "conntrack_allowance_available": 136_812,
    "rx_drops": 9,
}


def test_a_card_that_was_never_shaped_passes() -> None:
    assert check_allowances("ens5", CALM, CALM).status is CheckStatus.PASS


def test_a_card_shaped_before_is_told_by_how_much() -> None:
    shaped = CALM | {"pps_allowance_exceeded": 12}
    result = check_allowances("ens5", shaped, shaped)
    assert (result.status, result.found) == (CheckStatus.WARN, "ens5, since boot: pps 12")


def test_a_card_shaped_right_now_fails() -> None:
    result = check_allowances("ens5", CALM, CALM | {"bw_in_allowance_exceeded": 1})
    assert (result.status, result.found) == (CheckStatus.FAIL, "ens5: bw_in exceeded right now")


def test_a_card_of_another_make_is_skipped() -> None:
    assert check_allowances("eth0", {}, {"rx_drops": 1}).status is CheckStatus.SKIP


def test_a_host_without_a_way_out_is_skipped() -> None:
    result = check_allowances(None, {}, {})
    assert (result.status, result.found) == (CheckStatus.SKIP, "no default route")


def routes(proc: Path, *lines: str) -> Path:
    (proc / "net").mkdir()
    header = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT"
    (proc / "net/route").write_text("\n".join([header, *lines]) + "\n")
    return proc


def test_the_card_is_that_of_the_default_route(tmp_path: Path) -> None:
    local = "lo 0000007F 00000000 0001 0 0 0 000000FF 0 0 0"
    default = "ens5 00000000 010200C0 0003 0 0 0 00000000 0 0 0"
    assert default_interface(routes(tmp_path, local, default)) == "ens5"


def test_no_default_route_is_no_card(tmp_path: Path) -> None:
    assert default_interface(routes(tmp_path)) is None


def test_an_unknown_interface_is_an_error() -> None:
    with pytest.raises(OSError, match="No such device"):
        ethtool.read_statistics("nosuchcard0")


def test_counters_are_those_that_the_ethtool_command_shows() -> None:
    interface = default_interface()
    program = shutil.which("ethtool")
    if interface is None or program is None:
        pytest.skip("needs a default route and the ethtool command")
    shown = subprocess.run([program, "-S", interface], capture_output=True, text=True, check=False)
    if shown.returncode:
        pytest.skip(f"{interface} keeps no counters")
    names = [line.split(":")[0].strip() for line in shown.stdout.splitlines()[1:]]
    assert list(ethtool.read_statistics(interface)) == names

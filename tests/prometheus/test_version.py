from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from latency_sweep.prometheus.version import MINIMUM, Version, VersionError, honours_ec2_endpoint

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("text", ["3.5.3", "v3.5.3", "3.5.3+ds1", "3.5.3-rc.1"])
def test_a_version_is_read_without_its_suffix(text: str) -> None:
    assert Version.parse(text) == Version(3, 5, 3)


def test_a_version_without_a_patch_is_its_first() -> None:
    assert Version.parse("3.5") == Version(3, 5, 0)


def test_versions_are_ordered_by_number_and_not_by_text() -> None:
    assert Version.parse("3.9.1") < Version.parse("3.13.0")


@pytest.mark.parametrize("text", ["", "three", "x3.5"])
def test_a_text_that_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(VersionError, match="is not a version"):
        Version.parse(text)


def test_a_real_binary_tells_a_supported_version(prometheus_binary: Path) -> None:
    assert Version.of_binary(prometheus_binary) >= MINIMUM


def test_promtool_tells_the_version_of_its_prometheus(
    prometheus_binary: Path, promtool_binary: Path
) -> None:
    assert Version.of_binary(promtool_binary) == Version.of_binary(prometheus_binary)


def test_another_program_is_not_taken_for_prometheus(tmp_path: Path) -> None:
    program = tmp_path / "prometheus"
    program.write_text("#!/bin/sh\necho other, version 9.9.9\n")
    program.chmod(0o755)
    with pytest.raises(VersionError, match="is not a Prometheus"):
        Version.of_binary(program)


def test_a_missing_binary_is_named(tmp_path: Path) -> None:
    with pytest.raises(VersionError) as raised:
        Version.of_binary(tmp_path / "none")
    reason = "No such file or directory"
    assert str(raised.value) == f"{tmp_path}/none cannot be run as Prometheus: {reason}."


@pytest.mark.parametrize(
    ("version", "honoured"),
    [("3.5.0", True), ("3.6.9", True), ("3.7.0", False), ("3.10.9", False), ("3.11.0", True)],
)
def test_the_releases_that_ignore_the_ec2_endpoint_are_known(version: str, honoured: bool) -> None:  # noqa: FBT001 - parametrized
    assert honours_ec2_endpoint(Version.parse(version)) is honoured

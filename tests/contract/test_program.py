"""What the package says of itself."""

from __future__ import annotations

from importlib.metadata import version

import pytest

import latency_sweep
from latency_sweep.contract.program import DISTRIBUTION


def test_package_has_the_version_of_its_distribution() -> None:
    assert latency_sweep.__version__ == version(DISTRIBUTION)


def test_package_has_no_other_attribute_that_is_made_up() -> None:
    with pytest.raises(AttributeError, match="no attribute 'versions'"):
        _ = latency_sweep.versions

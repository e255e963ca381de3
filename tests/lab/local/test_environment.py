"""What the shell says to other programs does not reach the stack's processes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from latency_sweep.lab.local.environment import clean_environment
from tests import foreign

if TYPE_CHECKING:
    import pytest

FOREIGN = {**foreign.VARIABLES, "PROMETHEUS_BIN": "/none", "GODEBUG": "x509sha1=1"}
NEEDED = {"PATH": "/bin", "HOME": "/home/me", "LC_ALL": "C", "OPENBLAS_CORETYPE": "Haswell"}


def test_only_what_every_program_needs_is_kept() -> None:
    assert clean_environment({**FOREIGN, **NEEDED}) == NEEDED


def test_what_is_meant_for_the_child_is_added() -> None:
    assert clean_environment(NEEDED, PROBE_API_KEY="x") == {**NEEDED, "PROBE_API_KEY": "x"}


def test_the_environment_is_the_one_of_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert clean_environment()["TZ"] == "Asia/Tokyo"
    assert clean_environment().items() <= os.environ.items()

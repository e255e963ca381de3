"""A pytest plugin that measures branch coverage: `python -m pytest -p tests.branch_coverage`.

Each process of pytest-xdist writes a data file of its own; `coverage combine` joins them, and
`coverage report` compares the total with the floor in pyproject.toml. Programs that a test starts
are not measured: a tracer would change their timing.

Property tests run without the tracer: each would pay for it hundreds of times, and their branches
are those of the example-based tests beside them. pytest-cov cannot do this under pytest-xdist,
where it starts two tracers and pauses one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
from coverage import Coverage

if TYPE_CHECKING:
    from collections.abc import Generator

_COVERAGE: Final = Coverage(data_suffix=True)
# Started while pytest loads its plugins, so that the import of every module is measured too.
_COVERAGE.start()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Pause in property tests; Hypothesis' own plugin marks them."""
    if item.get_closest_marker("hypothesis") is None:
        return (yield)
    _COVERAGE.stop()
    try:
        return (yield)
    finally:
        _COVERAGE.start()


def pytest_unconfigure() -> None:
    """Write the data file."""
    _COVERAGE.stop()
    _COVERAGE.save()

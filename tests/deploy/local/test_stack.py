"""The stack itself is started by the end-to-end tests; here is what can be said without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.local import places
from deploy.local.child import Priority
from deploy.local.stack import Setup
from probe.contract import experiment


@pytest.mark.parametrize(
    ("urgent", "expected"), [(True, Priority.PROMPT), (False, Priority.NORMAL)]
)
def test_a_stack_that_is_not_urgent_holds_up_no_other(
    urgent: bool,  # noqa: FBT001 - pytest passes it by name
    expected: Priority,
) -> None:
    setup = Setup(experiment.load(), places.load(), Path("unused"), urgent=urgent)
    assert setup.priority(Priority.PROMPT) is expected

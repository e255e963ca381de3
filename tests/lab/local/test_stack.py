"""The stack itself is started by the end-to-end tests; here is what can be said without it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from latency_sweep.contract import experiment
from latency_sweep.lab.local import sites
from latency_sweep.lab.local.prometheus_process import Prometheus
from latency_sweep.lab.local.stack import LocalExchange, Setup, Stack, _all_are_up
from latency_sweep.runtime.child import Child, Priority


@pytest.mark.parametrize(
    ("urgent", "expected"), [(True, Priority.PROMPT), (False, Priority.NORMAL)]
)
def test_a_stack_that_is_not_urgent_holds_up_no_other(
    urgent: bool,  # noqa: FBT001 - pytest passes it by name
    expected: Priority,
) -> None:
    setup = Setup(experiment.load(), sites.load(), Path("unused"), urgent=urgent)
    assert setup.priority(Priority.PROMPT) is expected


def test_a_prometheus_that_is_too_busy_to_answer_is_asked_again(tmp_path: Path) -> None:
    with socket.socket() as closed, Child("prometheus", ["sleep", "60"], folder=tmp_path) as child:
        closed.bind(("127.0.0.1", 0))  # nobody listens
        prometheus = Prometheus(f"http://127.0.0.1:{closed.getsockname()[1]}", child)
        setup = Setup(experiment.load(), sites.load(), tmp_path)
        exchange = LocalExchange({}, "", "", tmp_path, child, "")
        assert not _all_are_up(Stack(setup, exchange, (), prometheus, (child,)))

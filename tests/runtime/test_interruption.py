from __future__ import annotations

import signal

import pytest

from latency_sweep.runtime.interruption import Interrupted, interruptible


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_becomes_an_exception_with_the_shell_s_exit_code(
    number: signal.Signals, code: int
) -> None:
    with pytest.raises(Interrupted) as caught, interruptible():
        signal.raise_signal(number)
    assert caught.value.exit_code == code


def interrupted_clean_up(steps: list[str]) -> None:
    try:
        signal.raise_signal(signal.SIGINT)
    finally:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        steps.append("tidied up")


def test_a_second_signal_does_not_disturb_the_clean_up() -> None:
    steps: list[str] = []
    with pytest.raises(Interrupted), interruptible():
        interrupted_clean_up(steps)
    assert steps == ["tidied up"]


def test_the_handlers_are_as_before_afterwards() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with interruptible():
        pass
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before

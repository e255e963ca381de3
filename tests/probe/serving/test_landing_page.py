"""The page at `/`."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from typing import TYPE_CHECKING, Any

from aiohttp.test_utils import make_mocked_request

from latency_sweep.contract.metrics import Phase
from latency_sweep.probe.options import settings_of
from latency_sweep.probe.serving.landing_page import LandingPage, render
from tests.probe.summary.summaries import UNTIMED, stream, summary

if TYPE_CHECKING:
    from latency_sweep.probe.summary.records import ProbeSummary

HOSTILE = "<script>alert(1)</script>\"'\u202e"


def page(of: ProbeSummary, *flags: str) -> str:
    return render(settings_of(flags, {}), of)


def cells(of: ProbeSummary, stream_name: str) -> dict[str, str]:
    row = page(of).partition(f"<tr><td>{stream_name}</td>")[2].partition("</tr>")[0]
    return dict(re.findall(r'data-name="([^"]+)">([^<]+)</td>', row))


def test_it_shows_every_number_of_each_stream() -> None:
    found = summary(stream(), UNTIMED)
    assert cells(found, "BTCUSDT trade") == {
        "p50": "10.00",
        "p99": "15.00",
        "p99.9": "30.00",
        "jitter": "2.000",
        "rate": "40/s",
        "loss": "0.1%",
        "own": "0.250",
        "exact": "90.0%",
        "late": "0.200",
    }
    assert cells(found, "BTCUSDT bookTicker")["p99"] == "-"


def test_during_warm_up_it_says_that_the_numbers_are_of_the_previous_run() -> None:
    assert "previous run: 2,000 messages" in page(summary(phase=Phase.WARMUP))
    assert "previous run" not in page(summary())
    assert "previous run" not in page(summary(phase=Phase.WARMUP, measured_sec=0.0))


def test_what_others_chose_is_escaped() -> None:
    odd = summary(stream(symbol=HOSTILE), endpoint=HOSTILE, connected=False, last_error=HOSTILE)
    found = page(odd)
    assert found.count("<script>") == 1  # its own
    assert "alert(1)" in found
    assert "\u202e" not in found


class Parts:
    """Captures that count, the first of which fail."""

    def __init__(self, failures: int = 0) -> None:
        self.captured = 0
        self._failures = failures

    def capture(self) -> Parts:
        self.captured += 1
        return self

    def resolve(self) -> ProbeSummary:
        if self.captured <= self._failures:
            raise RuntimeError
        return summary()


def landing_page(parts: Any) -> LandingPage:
    return LandingPage(settings_of([], {}), parts)


REQUEST = make_mocked_request("GET", "/")


async def test_all_who_ask_within_a_second_get_one_drawing() -> None:
    parts = Parts()
    shown = landing_page(parts)
    answers = await asyncio.gather(*(shown.answer(REQUEST) for _ in range(20)))
    assert parts.captured == 1
    assert len({answer.text for answer in answers}) == 1


async def test_a_drawing_that_failed_is_not_shown_to_others() -> None:
    parts = Parts(failures=1)
    shown = landing_page(parts)
    first = await asyncio.gather(shown.answer(REQUEST), return_exceptions=True)
    assert isinstance(first[0], RuntimeError)
    assert (await shown.answer(REQUEST)).status == 200


async def test_the_browser_may_run_nothing_but_the_page_s_own_script() -> None:
    answer = await landing_page(Parts()).answer(REQUEST)
    assert answer.text is not None
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")
    for kind in ("style", "script"):
        (text,) = re.findall(f"<{kind}>(.*?)</{kind}>", answer.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}';" in policy
    assert "unsafe" not in policy
    assert "://" not in re.sub("wss://stream.example:9443", "", answer.text)
    assert answer.headers["Cache-Control"] == "no-store"

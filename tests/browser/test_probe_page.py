"""The page of a running probe in a real browser, where its policy is enforced."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from tests.browser.opened import Opened

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

PHONE, DESK = 390, 1280
PROBE = str(Path(sys.executable).with_name("probe"))
# Nothing listens on the discard port: there is a page all the same.
OFFLINE = ("--endpoint", "ws://127.0.0.1:9", "--time-endpoint", "", "--clock-source", "shared")
WITHIN_MS = 45_000


class RunningProbe:
    """A probe and the address of its page."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [PROBE, "run", "--metrics-port", "0", *OFFLINE],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        self.url = json.loads(self.process.stdout.readline())["metrics_url"]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture(scope="module")
def probe() -> Iterator[RunningProbe]:
    running = RunningProbe()
    yield running
    running.kill()


@pytest.mark.parametrize(("width", "scheme"), [(PHONE, "dark"), (DESK, "light")])
def test_it_fits_follows_the_scheme_and_breaks_no_policy(
    browser: Browser, probe: RunningProbe, width: int, scheme: Literal["light", "dark"]
) -> None:
    with browser.new_context(
        viewport={"width": width, "height": 844}, color_scheme=scheme
    ) as context:
        opened = Opened.of(context.new_page(), probe.url)
        page = opened.page
        assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(18, 21, 27)"}[scheme]
        # A phone shows each stream as a card, without what it does not have.
        assert page.locator("thead").is_visible() == (width == DESK)
        assert page.locator("td.none").first.is_visible() == (width == DESK)
        page.evaluate("document.querySelector('main').id = 'old'")
        page.wait_for_selector("#old", state="detached", timeout=WITHIN_MS)
        assert page.locator("main tbody tr").count() == 16
        assert opened.complaints == []
        assert {request.rstrip("/") for request in opened.requests} == {probe.url}


def test_it_says_when_the_probe_does_not_answer_any_more(browser: Browser) -> None:
    running = RunningProbe()
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(running.url)
        assert not page.locator("#stale").is_visible()
        running.kill()
        page.wait_for_selector("#stale", state="visible", timeout=WITHIN_MS)
        assert page.locator("main tbody tr").count() == 16  # the last numbers stay

"""A real Chromium, and the report open in it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

import pytest
from playwright.sync_api import sync_playwright

from latency_sweep.analysis.report.rendering import render
from tests.analysis.report.sweeps import evidence_of, verdict_of
from tests.browser.chromium import find_or_fetch
from tests.browser.opened import Opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, BrowserContext


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser; where there is none, the error says how to get it.

    It ends with its module: while it runs, Playwright keeps an event loop running, beside which
    no asynchronous test can run.
    """
    chromium = find_or_fetch()
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=chromium.program,
            env={**os.environ, **chromium.environment},
            # Its sandbox does not work for root, as whom tests run in containers.
            args=["--no-sandbox", "--disable-dev-shm-usage"],
            timeout=0,  # a busy machine takes its time; each test has a limit
        )
        yield started
        started.close()


@pytest.fixture
def report(browser: Browser, tmp_path: Path) -> Iterator[Callable[..., Opened]]:
    """Opens the report of one of the sweeps in a window of its own."""
    contexts: list[BrowserContext] = []

    def opened(
        sweep: str = "winner", *, width: int = 1280, scheme: Literal["light", "dark"] = "light"
    ) -> Opened:
        file = tmp_path / f"{sweep}.html"
        file.write_text(render(verdict_of(sweep), evidence_of(sweep), "html"), encoding="utf-8")
        context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
        contexts.append(context)
        return Opened.of(context.new_page(), file.as_uri())

    yield opened
    for context in contexts:
        context.close()

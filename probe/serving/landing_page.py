"""The page at `/`: what the probe measures now, redrawn while it is looked at."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from html import escape
from typing import TYPE_CHECKING, Final

from aiohttp import web

from latency_sweep.contract.metrics import Phase
from latency_sweep.probe.summary import wording
from latency_sweep.runtime.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latency_sweep.probe.settings import Settings
    from latency_sweep.probe.summary.collect import CapturedSummary, ProbeParts
    from latency_sweep.probe.summary.records import ProbeSummary, StreamSummary

# A page is drawn at most this often, however many look at it: drawing takes the interpreter from
# the reader for as long as there are streams.
_REDRAW_SEC: Final = 1.0
_LARGEST_SHARE: Final = 0.1
_STYLE: Final = """
:root { color-scheme: light dark; --fg: #1d2433; --dim: #5b6474; --bg: #fff; --card: #f4f6f9;
  --line: #d5dae2; --link: #175cd3; --warn: #8a4b00; --warnbg: #fff4e0 }
@media (prefers-color-scheme: dark) { :root { --fg: #e6e9ef; --dim: #9aa4b5; --bg: #12151b;
  --card: #1b2029; --line: #323a47; --link: #84adff; --warn: #ffc678; --warnbg: #33260f } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 72rem; padding: 1.5rem 1rem; background: var(--bg);
  color: var(--fg); font: 16px/1.45 system-ui, sans-serif }
h1 { font-size: 1.25rem; margin: 0 } p { margin: .4rem 0 } a { color: var(--link) }
.dim, th, dt { color: var(--dim); font-weight: normal } .state { font-weight: 600 }
.warning { background: var(--warnbg); color: var(--warn); border-radius: 6px; padding: .5rem .7rem }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; font-variant-numeric: tabular-nums }
th, td { padding: .4rem .6rem; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap }
th:first-child, td:first-child { text-align: left; padding-left: 0 }
td:first-child { overflow-wrap: anywhere; white-space: normal; font-weight: 600 }
abbr { text-decoration: none; cursor: help }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem; margin: 1rem 0 }
dd { margin: 0; overflow-wrap: anywhere }
ul { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .3rem 1rem }
#stale { display: none } body.stale #stale { display: block } body.stale main { opacity: .5 }
@media (max-width: 48rem) {
  thead { display: none } table, tbody { display: block }
  tr { display: grid; grid-template-columns: repeat(3, 1fr); gap: .4rem .6rem; margin: 0 0 .8rem;
    padding: .7rem .8rem; background: var(--card); border-radius: 8px }
  td, td:first-child { display: block; padding: 0; border: 0; text-align: left }
  td:first-child { grid-column: 1 / -1 } td.none { display: none }
  td[data-name]::before { content: attr(data-name); display: block; color: var(--dim);
    font-size: .8rem }
  dl { grid-template-columns: 1fr; gap: 0 } dd { margin-bottom: .5rem }
}
"""
_SCRIPT: Final = """
"use strict";
const period = 2000, patience = 8000;
async function redraw() {
  if (!document.hidden) {
    try {
      const answer = await fetch("", {cache: "no-store", signal: AbortSignal.timeout(patience)});
      if (!answer.ok) throw new Error(answer.status);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.querySelector("main");
      const focused = document.querySelector("main").contains(document.activeElement);
      const selected = !getSelection().isCollapsed;
      if (fresh && !focused && !selected) document.querySelector("main").replaceWith(fresh);
      document.body.classList.remove("stale");
    } catch { document.body.classList.add("stale") }
  }
  setTimeout(redraw, period);
}
setTimeout(redraw, period);
"""
_PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Feed probe: {title}</title>
<link rel="icon" href="data:,">
<noscript><meta http-equiv="refresh" content="5"></noscript>
<style>{style}</style>
</head>
<body>
<p id="stale" class="warning" role="status">The probe does not answer. These numbers are old.</p>
<main>
<h1>{title}</h1>
<p class="dim">{place} &middot; {market} at {endpoint}</p>
<p><span class="state">{state}</span><br>{measured}</p>
{warnings}
{table}
<dl>
{facts}
</dl>
<p class="dim">{legend}</p>
</main>
<ul>
<li><a href="metrics"><code>/metrics</code></a> for Prometheus</li>
<li><a href="status"><code>/status</code></a> as JSON</li>
<li><a href="samples"><code>/samples</code></a> newest messages</li>
<li><a href="-/healthy"><code>/-/healthy</code></a></li>
<li><a href="-/ready"><code>/-/ready</code></a></li>
</ul>
<script>{script}</script>
</body>
</html>
"""


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        f"default-src 'none'; style-src {_hash(_STYLE)}; script-src {_hash(_SCRIPT)}; "
        "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class LandingPage:
    """Draws the page, once for all who ask for it within a second or more.

    Args:
        settings: what the probe was told about itself.
        parts: whose numbers are shown.
    """

    def __init__(self, settings: Settings, parts: ProbeParts) -> None:
        self._settings = settings
        self._parts = parts
        self._newest: asyncio.Task[str] | None = None
        self._draw_from = 0.0

    async def answer(self, _: web.Request) -> web.Response:
        """The page for a request."""
        now = time.monotonic()
        if self._newest is None or now >= self._draw_from or _failed(self._newest):
            self._draw_from = now + _REDRAW_SEC
            # A moment of the event loop; what takes milliseconds is for a thread.
            captured = self._parts.capture()
            self._newest = asyncio.create_task(asyncio.to_thread(self._draw, captured))
        # Others wait for it too, if this client goes away.
        page = await asyncio.shield(self._newest)
        return web.Response(text=page, content_type="text/html", headers=_HEADERS)

    def _draw(self, captured: CapturedSummary) -> str:
        began = time.monotonic()
        page = render(self._settings, captured.resolve())
        self._draw_from = max(self._draw_from, began + (time.monotonic() - began) / _LARGEST_SHARE)
        return page


def _failed(task: asyncio.Task[str]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


def render(settings: Settings, summary: ProbeSummary) -> str:
    """The whole page as HTML.

    Args:
        settings: what the probe was told about itself.
        summary: what it measures.
    """
    place = f"{settings.region}, {settings.az_id}, {settings.instance_type}"
    run = "" if summary.run is None else f", run {summary.run}"
    measured = wording.measured(summary) + run
    ended = summary.phase is not Phase.MEASURE
    if summary.phase in {Phase.WAIT, Phase.WARMUP} and summary.measured_sec > 0:
        measured = f"previous run: {measured}"
    return _PAGE.format(
        title=_text(settings.experiment_id),
        place=_text(place),
        market=_text(summary.market),
        endpoint=_text(summary.endpoint),
        state=_text(wording.state(summary)),
        measured=_text(measured),
        warnings="\n".join(
            f'<p class="warning">{_text(each)}</p>'
            for each in wording.warnings(summary, ended=ended)
        ),
        table=_table(summary),
        facts="\n".join(
            f"<dt>{_text(name)}</dt><dd>{_text(fact)}</dd>" for name, fact in wording.facts(summary)
        ),
        legend=_text(wording.legend(wording.COLUMNS)),
        style=_STYLE,
        script=_SCRIPT,
    )


def _table(summary: ProbeSummary) -> str:
    headings = "".join(
        f'<th scope="col"><abbr title="{_text(column.explanation)}">{_text(column.heading)}'
        "</abbr></th>"
        for column in wording.COLUMNS
    )
    rows: Sequence[str] = [
        f"<tr><td>{_text(stream.name)}</td>"
        + "".join(_cell(column, stream) for column in wording.COLUMNS)
        + "</tr>"
        for stream in summary.streams
    ]
    body = "\n".join(rows)
    return (
        f'<table>\n<thead><tr><th scope="col">stream</th>{headings}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table>"
    )


def _cell(column: wording.SummaryColumn, stream: StreamSummary) -> str:
    text = column.of(stream)
    kind = ' class="none"' if text == wording.UNKNOWN else ""
    return f'<td{kind} data-name="{_text(column.heading)}">{_text(text)}</td>'


def _text(text: str) -> str:
    return escape(printable(text))

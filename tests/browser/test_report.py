"""The HTML report in a real browser: what a reader can do with it, and on what."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

    from tests.browser.opened import Opened

PHONE, DESK = 390, 1280
# The longest page, the oddest names, and hardly anything to show.
PAGES = ("many", "hostile", "unknown", "nothing")


def draw(page: Page) -> None:
    """Return once a frame has been drawn: only then does a page show what was done to it."""
    page.evaluate(
        """async () => {
            const frame = () => new Promise(drawn => requestAnimationFrame(drawn));
            await frame();
            await frame();
        }"""
    )


def shut(page: Page) -> list[bool]:
    """For each details section, whether its content cannot be seen in the next frame drawn."""
    draw(page)
    found: list[bool] = page.locator("details").evaluate_all(
        """all => {
            const seen = {contentVisibilityAuto: true, visibilityProperty: true};
            return all.map(d => !d.querySelector('summary ~ *').checkVisibility(seen));
        }"""
    )
    return found


def open_all(page: Page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")


def colour(page: Page, selector: str, what: str) -> str:
    value: str = page.locator(selector).first.evaluate(
        "(element, what) => getComputedStyle(element).getPropertyValue(what)", what
    )
    return value


def test_each_section_opens_and_closes_by_mouse(report: Callable[..., Opened]) -> None:
    page = report().page
    before = shut(page)
    assert set(before) == {True, False}
    for _ in range(2):
        for summary in page.locator("summary").all():
            summary.click()
        before = [not closed for closed in before]
        assert shut(page) == before


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_each_section_opens_and_closes_by_keyboard(report: Callable[..., Opened], key: str) -> None:
    page = report().page
    before = shut(page)
    for _ in range(2):
        for summary in page.locator("summary").all():
            summary.focus()
            page.keyboard.press(key)
        before = [not closed for closed in before]
        assert shut(page) == before


def test_every_section_is_reached_by_the_tab_key(report: Callable[..., Opened]) -> None:
    page = report().page
    wanted = page.locator("summary, nav a, .scroll, pre[tabindex]").count()
    reached = set()
    for _ in range(wanted):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate("[...document.querySelectorAll('*')].indexOf(document.activeElement)")
        )
        assert page.evaluate("document.activeElement.matches('summary, a, .scroll, pre')")
    assert len(reached) == wanted


def test_what_has_the_focus_is_outlined(report: Callable[..., Opened]) -> None:
    page = report().page
    page.keyboard.press("Tab")
    assert colour(page, ":focus", "outline-style") != "none"


def test_closed_sections_are_printed_open(report: Callable[..., Opened]) -> None:
    page = report("many").page
    assert any(shut(page))
    page.emulate_media(media="print")
    assert not any(shut(page))


def test_print_is_on_white_even_in_the_dark(report: Callable[..., Opened]) -> None:
    page = report(scheme="dark").page
    page.emulate_media(media="print")
    assert colour(page, "body", "background-color") == "rgb(255, 255, 255)"
    assert colour(page, "body", "color") == "rgb(0, 0, 0)"


def test_a_printed_page_is_not_wider_than_paper(report: Callable[..., Opened]) -> None:
    page = report("many", width=718).page  # A4 less usual margins
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") <= 718


@pytest.mark.parametrize("sweep", PAGES)
def test_the_page_asks_for_nothing_and_complains_of_nothing(
    report: Callable[..., Opened], sweep: str
) -> None:
    opened = report(sweep)
    open_all(opened.page)
    opened.page.emulate_media(media="print")
    assert opened.requests == [opened.page.url]
    assert opened.complaints == []


@pytest.mark.parametrize("sweep", PAGES)
def test_nothing_scrolls_sideways_on_a_phone(report: Callable[..., Opened], sweep: str) -> None:
    page = report(sweep, width=PHONE).page
    open_all(page)
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_a_wide_table_scrolls_by_itself(report: Callable[..., Opened], width: int) -> None:
    page = report("many", width=width).page
    ranking = page.locator("section[aria-labelledby=ranking] .scroll")
    ranking.focus()
    hidden = ranking.evaluate("box => box.scrollWidth - box.clientWidth")
    ranking.evaluate("box => box.scrollTo(box.scrollWidth, 0)")
    assert ranking.evaluate("box => box.scrollLeft") == hidden
    assert (hidden > 0) == (width == PHONE)


@pytest.mark.parametrize(
    ("scheme", "paper", "ink"),
    [
        ("light", "rgb(255, 255, 255)", "rgb(27, 31, 36)"),
        ("dark", "rgb(13, 17, 23)", "rgb(230, 237, 243)"),
    ],
)
def test_the_page_follows_the_colour_scheme(
    report: Callable[..., Opened], scheme: str, paper: str, ink: str
) -> None:
    page = report(scheme=scheme).page
    assert colour(page, "body", "background-color") == paper
    assert colour(page, "body", "color") == ink


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_each_link_of_the_contents_leads_to_its_heading(
    report: Callable[..., Opened], width: int
) -> None:
    page = report(width=width).page
    for link in page.locator("nav a").all():
        target = link.get_attribute("href")
        assert target is not None
        link.click()
        page.wait_for_url(f"**{target}")  # told by the browser beside the end of the click
        draw(page)  # which scrolls
        heading = page.locator(f"h2{target}")
        top = heading.evaluate("heading => heading.getBoundingClientRect().top")
        at_the_end = page.evaluate(
            "Math.ceil(scrollY + innerHeight) >= document.documentElement.scrollHeight"
        )
        assert -1 < top < 844  # positions are fractions of a pixel
        assert top < 5 or at_the_end or target in {"#why", "#next"}


def test_pictures_have_names_that_assistive_technology_hears(
    report: Callable[..., Opened],
) -> None:
    page = report("many").page
    pictures = page.get_by_role("img")
    assert pictures.count() > 24
    for name in pictures.evaluate_all("all => all.map(p => p.getAttribute('aria-label'))"):
        assert name
    shown = page.locator("svg:not([aria-hidden] svg):not([aria-hidden]):not(svg svg)").count()
    assert shown == pictures.count()


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_no_labels_of_an_axis_overlap(report: Callable[..., Opened], width: int) -> None:
    page = report("many", width=width).page
    overlaps = page.locator(".x-axis").evaluate_all(
        """axes => axes.flatMap(axis => {
            const boxes = [...axis.querySelectorAll('.tick')]
                .map(tick => tick.getBoundingClientRect()).filter(box => box.width)
                .sort((a, b) => a.left - b.left);
            return boxes.slice(1).filter((box, i) => box.left < boxes[i].right);
        })"""
    )
    assert overlaps == []


def test_a_hostile_name_stays_text(report: Callable[..., Opened]) -> None:
    opened = report("hostile")
    assert opened.page.locator("script").count() == 0
    assert "<script>alert(1)</script>" in opened.page.inner_text("main")

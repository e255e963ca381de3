"""The HTML report: one page that needs nothing else and can be read by anyone."""

from __future__ import annotations

import re
from functools import cache
from itertools import pairwise

import pytest

from latency_sweep.analysis.report.html import breakable, prose
from latency_sweep.analysis.report.rendering import render
from latency_sweep.analysis.report.words.conclusion import sentence
from latency_sweep.runtime.printable import printable
from tests.analysis.report.page_outline import Outline
from tests.analysis.report.sweeps import HOSTILE, SCRIPT, SWEEPS, TOKYO, evidence_of, verdict_of

LIMIT_BYTES = 2_000_000


@cache
def page(name: str) -> str:
    return render(verdict_of(name), evidence_of(name), "html")


@pytest.fixture(params=list(SWEEPS))
def any_sweep(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def test_every_tag_is_closed_where_it_was_opened(any_sweep: str) -> None:
    assert Outline.of(page(any_sweep)).faults == []


def test_identifiers_are_unique_and_references_to_them_resolve(any_sweep: str) -> None:
    outline = Outline.of(page(any_sweep))
    identifiers = outline.values("id")
    assert len(identifiers) == len(set(identifiers))
    assert set(outline.values("aria-labelledby")) <= set(identifiers)
    assert {target.removeprefix("#") for target in outline.values("href")} <= set(identifiers)


def test_the_contents_link_every_section(any_sweep: str) -> None:
    outline = Outline.of(page(any_sweep))
    sections = [e.attributes["id"] for e in outline.all("h2")]
    assert [target.removeprefix("#") for target in outline.values("href")] == sections


def test_headings_start_at_one_and_skip_no_level(any_sweep: str) -> None:
    levels = [int(e.tag[1]) for e in Outline.of(page(any_sweep)).all("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in pairwise(levels))


def test_nothing_is_loaded_from_anywhere(any_sweep: str) -> None:
    text = page(any_sweep)
    outline = Outline.of(text)
    assert not outline.all("script", "link", "img", "iframe", "object", "embed", "base")
    assert outline.values("src") == outline.values("xlink:href") == []
    assert all(target.startswith("#") for target in outline.values("href"))
    style = " ".join(element.text for element in outline.all("style"))
    assert "url(" not in style
    assert "@import" not in style
    policies = [
        e.attributes["content"] for e in outline.all("meta") if "http-equiv" in e.attributes
    ]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_the_verdict_comes_first_as_the_only_top_heading(any_sweep: str) -> None:
    found = verdict_of(any_sweep)
    (heading,) = Outline.of(page(any_sweep)).all("h1")
    assert heading.text.replace("\u00a0", " ") == printable(sentence(found))
    assert heading.parents[-1] == "header"


def test_every_candidate_is_in_ranking_and_constraints(any_sweep: str) -> None:
    rows = [
        e.text.strip()
        for e in Outline.of(page(any_sweep)).all("th")
        if "row" in (e.attributes.get("scope") or "")
    ]
    for row in verdict_of(any_sweep).ranking:
        assert rows.count(printable(row.name)) >= 2


def test_no_attribute_gets_in_through_a_name() -> None:
    outline = Outline.of(page("hostile"))
    assert {e.tag for e in outline.elements} & {"b", "x", "script"} == set()
    assert printable(HOSTILE) in "".join(e.text for e in outline.all("main"))
    assert SCRIPT in "".join(e.text for e in outline.all("main"))
    assert not any(name.startswith("on") for e in outline.elements for name in e.attributes)


def test_no_invisible_character_reaches_the_page() -> None:
    assert not re.search("[\x00-\x08\x0b-\x1f\u202e\u200d]", page("hostile"))


def test_pictures_tell_what_they_show_in_words(any_sweep: str) -> None:
    pictures = [e for e in Outline.of(page(any_sweep)).all("svg") if "svg" not in e.parents]
    for picture in pictures:
        hidden = picture.attributes.get("aria-hidden") == "true"
        assert hidden or picture.attributes.get("aria-label")
        assert hidden or picture.attributes.get("role") == "img"


def test_status_is_said_in_words_not_only_in_colour() -> None:
    lights = {
        e.text.split()[-1]
        for e in Outline.of(page("winner")).all("span")
        if (e.attributes.get("class") or "").startswith("light")
    }
    assert lights == {"Pass", "Fail"}


def test_tables_have_a_caption_and_scoped_headings(any_sweep: str) -> None:
    outline = Outline.of(page(any_sweep))
    assert len(outline.all("caption")) == len(outline.all("table"))
    assert all(e.attributes.get("scope") in {"row", "col"} for e in outline.all("th"))


def test_rows_have_as_many_cells_as_their_table_has_columns(any_sweep: str) -> None:
    for table in re.findall(r"<table.*?</table>", page(any_sweep), re.DOTALL):
        widths = {len(re.findall(r"<t[hd][ >]", row)) for row in table.split("<tr")[1:]}
        assert len(widths) == 1


def test_positions_lie_within_the_charts(any_sweep: str) -> None:
    text = page(any_sweep)
    positions = [float(x) for x in re.findall(r'(?:c?[xy][12]?|left|top)[=:]"?(-?[\d.]+)%', text)]
    assert all(0 <= x <= 100 for x in positions)
    assert not re.search(r"\b(nan|inf)\b", text, re.IGNORECASE)


def test_twenty_four_candidates_stay_below_two_megabytes() -> None:
    assert len(verdict_of("many").ranking) == 24
    assert len(page("many").encode()) < LIMIT_BYTES


def test_the_same_input_gives_the_same_page() -> None:
    again = render(verdict_of("winner"), evidence_of("winner"), "html")
    assert page("winner") == again


def test_runs_excluded_are_listed_with_their_reasons() -> None:
    text = Outline.of(page("winner")).all("main")[0].text
    assert "only 61 % of the scrapes succeeded; the probe restarted" in text


def test_the_page_carries_all_that_is_needed_to_repeat_it() -> None:
    footer = Outline.of(page("winner")).all("footer")[0].text
    for fact in (
        "november",
        "http://prometheus:9090",
        "2026-11-01T00:00:00Z",
        "seed 0",
        "--seed 0",
    ):
        assert fact in footer


def test_dark_print_and_phone_styles_are_there() -> None:
    style = Outline.of(page("winner")).all("style")[0].text
    for query in ("prefers-color-scheme: dark", "@media print", "max-width: 40rem"):
        assert query in style


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_colours_have_enough_contrast(scheme: str) -> None:
    style = Outline.of(page("winner")).all("style")[0].text
    blocks = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", blocks[0 if scheme == "light" else 1]))
    pairs = [
        ("ink", "paper"),
        ("soft", "paper"),
        ("ink", "panel"),
        ("good", "good-bg"),
        ("bad", "bad-bg"),
        ("open", "open-bg"),
        ("ink", "good-bg"),
        ("ink", "bad-bg"),
        ("ink", "open-bg"),
        *(("on-heat", f"h{n}") for n in range(5)),
    ]
    for ink, ground in pairs:
        assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
    for n in range(1, 7):
        assert contrast(colours[f"c{n}"], colours["paper"]) >= 3, n


def contrast(first: str, second: str) -> float:
    """Contrast ratio by WCAG 2."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def test_a_name_breaks_after_slashes_only() -> None:
    assert breakable("a-b/<c>") == (
        "<span class=whole>a-b/</span><wbr><span class=whole>&lt;c&gt;</span>"
    )


def test_a_quantity_in_a_sentence_is_not_torn() -> None:
    assert prose("p = 0.01 and 5 ms") == "p\u00a0=\u00a00.01 and 5\u00a0ms"


def test_the_value_of_a_constraint_is_not_torn_from_its_unit() -> None:
    assert re.search(r"</span> \d+\.\d+\u00a0ms", page("winner"))


def test_times_are_not_torn_at_their_hyphens() -> None:
    time = "2026-11-04T00:00:00Z"
    assert prose(f"No usable run: {time}.").endswith(f"<span class=whole>{time}.</span>")
    assert re.search(rf'<td class="words"><span class=whole>{time}</span>', page("winner"))
    assert "<dd><span class=whole>2026-11-01T00:00:00Z</span> to" in page("winner")


def test_the_leader_is_marked_in_the_ranking() -> None:
    chosen = re.findall(r'<tr class="chosen">(.*?)</tr>', page("winner"), re.DOTALL)
    assert chosen
    assert all(TOKYO in re.sub(r"<.*?>", "", row) for row in chosen)

"""The page in a real browser: it asks no network, runs nothing that it shows, and pairs can be found and read."""

import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from rlaif.evaluation import plots
from rlaif.evaluation.report import Report, Section
from rlaif.evaluation.writing import write_report
from rlaif.statistics.intervals import Estimate

CHROMIUM = shutil.which("chromium")
HOSTILE = (
    "<script>document.title='run'</script></script><img src=x onerror=\"document.title='run'\">\u2028{{ 7 * 7 }} \ud800"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        if os.environ.get("RLAIF_REQUIRE_CHROMIUM"):
            pytest.fail("chromium is not installed")
        pytest.skip("chromium is not installed (Debian's package of this name)")
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


def label(name: str, first: float, second: float, human: float, **more: Any) -> dict[str, Any]:
    said = (first + second) / 2
    own = {"labeler": name, "preference": said, "preference_12": first, "preference_21": second}
    return own | {"agrees": None if human == 0.5 else (said > 0.5) == (human > 0.5)} | more


def pair(number: int, labels: list[dict[str, Any]], human: float = 1, **more: Any) -> dict[str, Any]:
    query = [{"role": "user", "content": f"Question {number}"}, {"role": "assistant", "content": "Which?"}]
    texts = {"query": query, "responses": [f"one {number}", f"two {number}"]}
    return {"id": f"id-{number}", **texts, "human": human, "labels": labels} | more


PAIRS = [
    pair(0, [label("a", 0.9, 0.8, 1), label("b", 0.9, 0.9, 1)]),
    pair(1, [label("a", 0.2, 0.1, 1, rationales_12=["It names the river."]), label("b", 0.9, 0.9, 1)]),
    pair(2, [label("a", 0.9, 0.35, 1), label("b", 0.9, 0.9, 1)], models=["m1", "m2"], annotations=[1, 0.5, 0]),
    pair(3, [label("a", 0.55, 0.52, 0.5), label("b", 0.1, 0.8, 0.5)], human=0.5),
    pair(4, [{"labeler": "a", "failure": "refused", "detail": HOSTILE}, label("b", 0.2, 0.2, 1)]),
    pair(5, [label("a", 0.9, 0.9, 1)], responses=[HOSTILE, HOSTILE], query=HOSTILE, columns={"topic": HOSTILE}),
]


def write(folder: Path, pairs: list[dict[str, Any]]) -> Path:
    rows = [("a", Estimate(0.71, 0.66, 0.75, 999, 170, "bca"), None), (HOSTILE, Estimate(None, n=3), 0.5)]
    plot = plots.forest([("a", Estimate(0.71, 0.66, 0.75, 999))], "Agreement", "share", 0.5)
    section = Section("alignment", "Agreement", "A note.", ("labeler", "agreement", "p"), rows, (plot,))
    write_report(Report("Labeler alignment", {"Labels": HOSTILE}, [section, section], pairs), folder)
    return folder / "report.html"


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Iterator[Page]:
    yield from opened(browser, write(tmp_path, PAIRS))


def opened(browser: Browser, path: Path, link: str = "", **options: Any) -> Iterator[Page]:
    """A page on which nothing went wrong and nothing was asked for."""
    page = browser.new_page(**options)
    trouble: list[str] = []
    page.on("console", lambda message: trouble.append(message.text))
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on(
        "request", lambda request: trouble.append(request.url) if request.url.split("#")[0] != path.as_uri() else None
    )
    page.goto(path.as_uri() + link)
    page.wait_for_selector("html[data-ready]")
    yield page
    page.close()
    assert not trouble


def shown(page: Page) -> list[str]:
    return [element.inner_text() for element in page.query_selector_all(".row .id")]


@pytest.mark.parametrize(
    ("choice", "by_any", "by_b"),
    [
        ("all", [0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5]),
        ("disagreement", [1, 4], [4]),
        ("flip", [2, 3], [3]),
        ("low", [3], [3]),
        ("failure", [4], []),
    ],
)
def test_every_filter_shows_what_it_says(page: Page, choice: str, by_any: list[int], by_b: list[int]) -> None:
    page.check(f"input[value={choice}]")
    assert shown(page) == [f"id-{number}" for number in by_any]
    assert page.inner_text("#count") == f"{len(by_any)} of 6"
    page.select_option("#labeler", "b")
    assert shown(page) == [f"id-{number}" for number in by_b]
    assert page.inner_text("#count") == f"{len(by_b)} of 6"


def test_a_disagreement_is_found_and_read_by_keyboard_alone(page: Page) -> None:
    page.keyboard.press("/")
    page.keyboard.type("question 1")
    expect(page.locator("#count")).to_have_text("1 of 6")
    page.keyboard.press("Escape")
    reader = page.inner_text("#reader")
    assert "It names the river." in reader
    assert "People say otherwise." in reader
    assert "0.150" in reader
    page.keyboard.press("/")
    page.keyboard.press("Delete")
    expect(page.locator("#count")).to_have_text("6 of 6")
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowDown")
    assert "Prefers what is shown first in both orders." in page.inner_text("#reader")
    assert "each: 1, tie, 2" in page.inner_text("#reader")
    assert page.url.endswith("#pair=id-2")
    page.keyboard.press("j")
    assert page.inner_text("#reader").startswith("id-3")
    page.keyboard.press("Home")
    page.keyboard.press("k")
    assert page.get_attribute("#list", "aria-activedescendant") == "row-0"


def test_hostile_text_is_shown_and_not_run(page: Page) -> None:
    page.keyboard.press("Tab")
    page.focus("#list")
    page.keyboard.press("End")
    reader = page.inner_text("#reader")
    assert reader.count("<script>document.title='run'</script>") == 4
    assert reader.count("{{ 7 * 7 }} \ufffd") == 4
    assert page.title() == "Labeler alignment"
    assert not page.query_selector_all("#reader script, #reader img, table script, table img, header script")
    assert "<img src=x" in page.inner_text("table")


def test_pairs_that_nobody_labeled_are_shown_without_verdicts_and_filters(browser: Browser, tmp_path: Path) -> None:
    unjudged = {"id": "id-0", "query": "Question", "responses": ["before", "after"], "columns": {"gold": "0.1 → 0.9"}}
    for page in opened(browser, write(tmp_path, [unjudged, unjudged | {"id": "id-1"}])):
        assert not page.query_selector_all("input[type=radio]")
        assert page.inner_text(".row .said") == ""
        assert "gold: 0.1 → 0.9" in page.inner_text("#reader")
        page.keyboard.press("/")
        page.keyboard.type("question")
        expect(page.locator("#count")).to_have_text("2 of 2")


def test_a_link_to_a_pair_opens_it(browser: Browser, tmp_path: Path) -> None:
    for page in opened(browser, write(tmp_path, PAIRS), "#pair=id-4"):
        assert "No label: refused." in page.inner_text("#reader")
        page.check("input[value=flip]")
        # Another link, followed on the open page, to a pair that the filter hides.
        page.evaluate("location.hash = '#pair=id-1'")
        expect(page.locator("#reader")).to_contain_text("It names the river.")
        assert page.inner_text("#count") == "6 of 6"


@pytest.mark.parametrize("id_", ["id-77", "%E0%A4"])
def test_a_link_to_no_pair_of_the_page_says_so(browser: Browser, tmp_path: Path, id_: str) -> None:
    for page in opened(browser, write(tmp_path, PAIRS), f"#pair={id_}"):
        assert page.inner_text("#reader") == f"This page has no pair {id_}."
        page.keyboard.press("j")
        assert page.inner_text("#reader").startswith("id-1")


def test_odd_values_are_shown_and_break_nothing(browser: Browser, tmp_path: Path) -> None:
    odd: dict[str, Any] = {"labeler": "a", "preference": float("nan"), "preference_12": 0.7, "rationales_12": [None]}
    turns = [{"role": "user", "content": {"parts": [1]}}, {"role": "assistant", "content": None}]
    columns = {"where": {"page": 3}, "size": float("inf")}
    pairs = [pair(0, [odd], query=turns, columns=columns), pair(1, []) | {"id": "cut \ud800"}]
    for page in opened(browser, write(tmp_path, pairs)):
        reader = page.inner_text("#reader")
        assert '{"parts":[1]}' in reader
        assert 'where: {"page":3}' in reader
        assert "NaN" not in reader
        assert "null" not in reader
        page.keyboard.press("j")
        assert page.inner_text("#reader .id") == "cut \ufffd"


def test_a_rationale_that_is_a_text_is_read_and_the_list_stays(browser: Browser, tmp_path: Path) -> None:
    pairs = [pair(0, [label("a", 0.9, 0.8, 1, rationales_12="It names the river.")]), pair(1, [])]
    for page in opened(browser, write(tmp_path, pairs)):
        assert "It names the river." in page.inner_text("#reader")
        assert shown(page) == ["id-0", "id-1"]


def test_one_response_is_read_as_yes_or_no(browser: Browser, tmp_path: Path) -> None:
    said = {"labeler": "a", "preference": 0.2, "rationales_12": ["It tells how."], "agrees": False}
    for page in opened(browser, write(tmp_path, [pair(0, [said], responses=["one"])])):
        reader = page.inner_text("#reader")
        assert "P(yes)" in reader
        assert "People: yes" in reader
        assert page.locator(".card").count() == 1
        assert "people yes · labeled no" in page.inner_text(".row")


def test_without_pairs_there_is_no_viewer_and_no_script(browser: Browser, tmp_path: Path) -> None:
    page = browser.new_page()
    page.goto(write(tmp_path, []).as_uri())
    assert not page.query_selector_all("#pairs, script")
    assert page.get_attribute(".skip", "href") == "#headline"
    page.close()


def test_a_narrow_page_does_not_run_out_of_the_window(browser: Browser, tmp_path: Path) -> None:
    pairs = [pair(0, [label(f"provider:model-{name}/" + "task/" * 20, 0.9, 0.8, 1) for name in "ab"])]
    for page in opened(browser, write(tmp_path, pairs), viewport={"width": 360, "height": 800}):
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        # Smaller, the labels of a picture could not be read.
        assert page.locator("figure svg").first.bounding_box()["width"] > 400  # type: ignore[index]


def test_paper_is_light_and_holds_every_table_and_the_pair_that_is_read(browser: Browser, tmp_path: Path) -> None:
    for page in opened(browser, write(tmp_path, PAIRS), color_scheme="dark"):
        page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = false; })")
        page.emulate_media(media="print", color_scheme="dark")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert page.is_visible("details table")
        assert page.is_hidden("#list")
        assert page.is_hidden("#filters")
        assert page.is_visible("#reader .card")


def test_ten_thousand_pairs_with_rationales_stay_small_and_fluent(
    browser: Browser, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9))) for _ in range(20_000)]

    def text(count: int) -> str:
        return " ".join(rng.choices(words, k=count))

    many = [
        pair(
            number,
            [label("a", rng.random(), rng.random(), 1, rationales_12=[text(50)], rationales_21=[text(50)])],
            query=text(30),
            responses=[text(60), text(60)],
        )
        for number in range(10_000)
    ]
    path = write(tmp_path, many)
    assert path.stat().st_size < 25e6
    for page in opened(browser, path):
        assert page.inner_text("#count") == "10,000 of 10,000"
        paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        record_property("first_contentful_paint_ms", paint)
        page.focus("#list")
        page.keyboard.press("End")
        assert page.inner_text("#reader").startswith("id-9999")
        assert len(page.query_selector_all(".row")) < 60


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_legible_in_both_schemes(browser: Browser, tmp_path: Path, scheme: Any) -> None:
    for page in opened(browser, write(tmp_path, PAIRS), color_scheme=scheme):
        colors = page.evaluate(
            "() => { const of = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();"
            "return Object.fromEntries(['--paper', '--panel', '--ink', '--muted', '--accent', '--series-2', '--wash']"
            ".map(name => [name, of(name)])); }"
        )
        for name in ("--ink", "--muted", "--accent", "--series-2"):
            for background in ("--paper", "--panel", "--wash"):
                assert contrast(colors[name], colors[background]) >= 4.5, (name, background)
        drawn = page.evaluate("() => getComputedStyle(document.querySelector('figure svg text')).fill")
        assert tuple(int(part) for part in drawn[4:-1].split(",")) == rgb(colors["--ink"])


def rgb(color: str) -> tuple[int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def contrast(one: str, other: str) -> float:
    """WCAG 2.2, contrast ratio."""

    def luminance(color: str) -> float:
        parts = [part / 255 for part in rgb(color)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)

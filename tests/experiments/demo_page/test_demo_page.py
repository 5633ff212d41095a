"""The page of a run in a real browser: each tab at two widths, in light and dark, by keyboard alone."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.experiments.demo_page.served_run import ServedRun, serving_run
from tests.experiments.shape_search.searched_run import Searched

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (the extra dev)")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on PATH (Debian: apt-get install chromium)"
)

LAPTOP, PHONE = {"width": 1366, "height": 768}, {"width": 390, "height": 844}
CONTRAST = (Path(__file__).parents[2] / "align3d" / "reviewing" / "contrast.js").read_text(encoding="utf-8")
QUERY = "a red cube"
PAINTED = """(selector) => {
    const canvas = document.querySelector(selector);
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    const seen = new Set();
    for (let i = 0; i < data.length; i += 4)
        if (data[i + 3]) seen.add((data[i] << 16) | (data[i + 1] << 8) | data[i + 2]);
    return seen.size;
}"""
SMALL = (
    "[...document.querySelectorAll('button')].filter((one) => one.checkVisibility())"
    ".map((one) => one.getBoundingClientRect()).filter((box) => Math.min(box.width, box.height) < 24).length"
)


@pytest.fixture(scope="module")
def served(searched: Searched) -> Iterator[ServedRun]:
    with serving_run(searched.run) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def visit(served: ServedRun, browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens a page in a context of its own; at the end, no page may have complained or asked anyone else."""
    contexts, faults = [], []

    def opened(address: str = "", viewport: dict[str, int] = LAPTOP, **more: Any) -> Any:
        context = browser.new_context(viewport=viewport, reduced_motion="reduce", **more)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: faults.append(str(error)))
        own = served.server.url
        page.on("request", lambda request: request.url.startswith(own) or faults.append(request.url))
        page.goto(own + address)
        page.wait_for_selector("[role=tab][aria-selected=true]")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not [one for one in faults if not one.startswith("data:")]


def wait_for(page: Any, selector: str, text: str) -> None:
    page.wait_for_function(
        "([s, t]) => document.querySelector(s)?.textContent.includes(t)", arg=[selector, text]
    )


def drawn(page: Any, selector: str) -> None:
    page.wait_for_function(f"(selector) => ({PAINTED})(selector) > 20", arg=selector)


def focused(page: Any) -> str:
    return page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()")


def tab_to(page: Any, wanted: str, key: str = "Tab") -> None:
    """Presses Tab until what is wanted has the focus."""
    for _ in range(80):
        if wanted in focused(page):
            return
        page.keyboard.press(key)
    raise AssertionError(f"{wanted} is not reached by {key}")


def checked(page: Any, path: Path) -> None:
    """Contrast of WCAG AA, nothing that sticks out, targets of 24 pixels; a picture for whoever looks."""
    seen = page.evaluate(CONTRAST)
    assert [text for text in seen["texts"] if text["ratio"] < 4.5] == []
    assert [edge for edge in seen["edges"] if edge["ratio"] < 3] == []
    wide = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide[0] <= wide[1]
    assert page.evaluate(SMALL) == 0
    page.screenshot(path=path, full_page=True)
    assert path.stat().st_size > 5_000


looks = pytest.mark.parametrize(
    ("viewport", "scheme"),
    [(LAPTOP, "light"), (LAPTOP, "dark"), (PHONE, "light"), (PHONE, "dark")],
    ids=["laptop-light", "laptop-dark", "phone-light", "phone-dark"],
)


@looks
def test_a_search_looks_well(
    visit: Callable[..., Any], viewport: dict[str, int], scheme: str, tmp_path: Path
) -> None:
    page = visit("#search?q=a+red+cube&k=20", viewport, color_scheme=scheme)
    wait_for(page, "#status", "20 of 60 shapes for “a red cube”")
    assert page.inner_text("#answers .strong >> nth=0") == "1. a red cube"
    assert page.locator("#answers li").count() == 20
    drawn(page, "#answers canvas")
    checked(page, tmp_path / "search.png")
    page.click("#answers button >> nth=1")
    drawn(page, "dialog canvas")
    wait_for(page, "dialog dl", "cube")
    checked(page, tmp_path / "large.png")
    page.keyboard.press("Escape")
    page.fill("#category", "nosuch")
    page.click("form button[type=submit] >> nth=0")
    wait_for(page, "#alert", "no category fits 'nosuch'")
    checked(page, tmp_path / "refused.png")


@looks
def test_attention_looks_well(
    visit: Callable[..., Any], viewport: dict[str, int], scheme: str, tmp_path: Path
) -> None:
    page = visit("#attention?q=a+red+cube", viewport, color_scheme=scheme)
    wait_for(page, "#status", "Answer 1: a red cube")
    drawn(page, "canvas.shape")
    page.wait_for_selector(".strip .card[aria-pressed=true]")
    drawn(page, ".pairs canvas")
    checked(page, tmp_path / "attention.png")


@looks
def test_an_upload_looks_well(
    visit: Callable[..., Any], viewport: dict[str, int], scheme: str, tmp_path: Path, searched: Searched
) -> None:
    page = visit("#upload", viewport, color_scheme=scheme)
    page.set_input_files("#upload", next(searched.meshes.glob("ring*.ply")))
    page.click("text=Find")
    wait_for(page, "#status", "captions that fit")
    drawn(page, "canvas.shape")
    drawn(page, "#uploaded .gallery canvas")
    assert "ring" in page.inner_text(".fits")
    checked(page, tmp_path / "upload.png")


def test_a_search_by_keyboard_alone(visit: Callable[..., Any]) -> None:
    page = visit()
    page.wait_for_function("() => document.activeElement.id === 'query'")
    page.keyboard.press("Enter")
    wait_for(page, "#alert", "Type what to search for")
    page.keyboard.type(QUERY)
    page.keyboard.press("Enter")
    wait_for(page, "#status", "20 of 60 shapes")
    tab_to(page, "category")
    page.keyboard.type("ball")
    page.keyboard.press("Enter")
    wait_for(page, "#status", "5 of 60 shapes")
    tab_to(page, "1. a")
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[open]")
    drawn(page, "dialog canvas")
    before = page.evaluate("document.querySelector('dialog canvas').toDataURL()")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("(b) => document.querySelector('dialog canvas').toDataURL() !== b", arg=before)
    page.keyboard.press("Escape")
    assert "1. a" in focused(page)  # where one was before
    page.keyboard.press("Enter")
    tab_to(page, "Where do the words look?")
    page.keyboard.press("Enter")
    wait_for(page, "#status", "Answer 1")
    assert "where=category%3Dball" in page.url
    page.go_back()
    page.wait_for_selector("#tab-search[aria-selected=true]")
    assert page.input_value("#query") == QUERY


def test_attention_by_keyboard_alone(visit: Callable[..., Any]) -> None:
    page = visit()
    page.wait_for_function("() => document.activeElement.id === 'query'")
    tab_to(page, "tab-search", "Shift+Tab")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#attention-query")
    page.wait_for_function("() => document.activeElement.id === 'tab-attention'")  # arrows go on from there
    tab_to(page, "attention-query")
    page.keyboard.type("a blue ball")
    page.keyboard.press("Enter")
    wait_for(page, "#status", "Answer 1: ")
    drawn(page, "canvas.shape")
    own = page.evaluate("document.querySelector('canvas.shape').toDataURL()")
    tab_to(page, "own colors")
    page.keyboard.press("Enter")
    page.wait_for_function("(b) => document.querySelector('canvas.shape').toDataURL() !== b", arg=own)
    tab_to(page, "ball ", "Shift+Tab")
    page.keyboard.press(" ")
    assert page.get_attribute("[data-word='2']", "aria-pressed") == "true"
    wait_for(page, "#looks", "“ball” weighs")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    assert page.is_checked("input[value=patches]")
    tab_to(page, "2. ", "Shift+Tab")
    page.keyboard.press("Enter")
    wait_for(page, "#status", "Answer 2")


def test_a_word_is_text_and_not_html(visit: Callable[..., Any]) -> None:
    page = visit("#attention?q=red+%3Cimg+src%3Dx+onerror%3Dalert(1)%3E+cube")
    wait_for(page, "#status", "Answer 1")
    assert page.locator("#panel-attention img").count() == 0
    page = visit("#search?q=%3Cb%3Ecube%3C%2Fb%3E")
    wait_for(page, "#status", "“<b>cube</b>”")


def test_a_bad_upload_is_a_sentence_and_the_next_one_is_read(
    visit: Callable[..., Any], searched: Searched, tmp_path: Path
) -> None:
    page = visit("#upload")
    page.click("text=Find")
    wait_for(page, "#alert", "Choose a file first")
    (tmp_path / "letter.glb").write_text("Dear all")
    page.set_input_files("#upload", tmp_path / "letter.glb")
    tab_to(page, "Find")
    page.keyboard.press("Enter")
    wait_for(page, "#alert", "no mesh or cloud that can be read here")
    page.set_input_files("#upload", next(searched.meshes.glob("disc*.stl")))
    page.click("text=Find")
    wait_for(page, "#status", "disc_gray.stl: read")
    assert page.inner_text("#alert") == ""


def test_a_search_that_is_overtaken_does_not_show(visit: Callable[..., Any]) -> None:
    page = visit("#search?q=a+red+cube")
    page.evaluate("location.hash = '#search?q=a+blue+ring'")
    page.evaluate("location.hash = '#search?q=a+gray+board&k=10'")
    wait_for(page, "#status", "10 of 60 shapes for “a gray board”")
    page.wait_for_timeout(500)
    assert page.locator("#answers").count() == 1  # the tab was filled once
    assert page.locator("#answers li").count() == 10
    assert page.inner_text("#alert") == ""


def test_the_tabs_are_tabs(visit: Callable[..., Any], served: ServedRun) -> None:
    page = visit()
    page.wait_for_function("() => document.activeElement.id === 'query'")
    tabs = page.get_by_role("tab")
    assert tabs.first.inner_text() == "Search"
    assert page.get_by_role("tabpanel").count() == 1
    assert page.evaluate("document.documentElement.lang") == "en"
    tab_to(page, "tab-search", "Shift+Tab")
    page.keyboard.press("End")
    page.wait_for_selector("[role=tab]:last-child[aria-selected=true]")
    page.keyboard.press("Home")
    page.wait_for_selector("#tab-search[aria-selected=true]")


def test_twenty_clouds_turn_smoothly(served: ServedRun, browser: Any) -> None:
    context = browser.new_context(viewport={"width": 1366, "height": 1600})
    page = context.new_page()
    page.goto(served.server.url + "#search?q=a+red+cube&k=20")
    page.wait_for_selector("#answers li >> nth=19")
    drawn(page, "#answers canvas")
    spent = page.evaluate(
        """async () => {
            const { Cloud } = await import("./page/cloud.js"), draw = Cloud.prototype.draw;
            let spent = 0, frames = 0;
            Cloud.prototype.draw = function () {
                const start = performance.now();
                draw.call(this);
                spent += performance.now() - start;
            };
            await new Promise((end) => {
                const frame = () => (++frames < 30 ? requestAnimationFrame(frame) : end());
                requestAnimationFrame(frame);
            });
            return spent / frames;
        }"""
    )
    assert 0 < spent < 150, f"{spent} ms a frame"  # about 8 on an idle laptop; a machine of tests may be busy
    context.close()

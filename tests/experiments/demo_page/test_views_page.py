"""Calibrate, Map and Runs in a real browser: by keyboard, for two at once, dark and light, two widths."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from experiments.demo_page.demo_server import DemoServer
from experiments.demo_page.demo_state import Demo
from experiments.demo_page.work_queue import WorkQueue
from experiments.search import Searcher
from tests.experiments.demo_page.served_run import serving
from tests.experiments.reporting.synthetic_runs import write_run
from tests.experiments.shape_search.searched_run import Searched

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (the extra dev)")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on PATH (Debian: apt-get install chromium)"
)

LAPTOP, PHONE = {"width": 1366, "height": 768}, {"width": 390, "height": 844}
CONTRAST = (Path(__file__).parents[2] / "align3d" / "reviewing" / "contrast.js").read_text(encoding="utf-8")
CURVE = [(100, 0.01), (200, 0.02), (300, 0.05)]
CALIBRATED = "calibrate?q=a+gray+cone&agent=mcts&budget=16&label=17"


SMALL = (
    "[...document.querySelectorAll('button')].filter((one) => one.checkVisibility())"
    ".map((one) => one.getBoundingClientRect()).filter((box) => Math.min(box.width, box.height) < 24).length"
)


@pytest.fixture(scope="module")
def server(searched: Searched, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoServer]:
    folder = tmp_path_factory.mktemp("runs")
    others = [
        write_run(folder / "one", seed=0, final=0.6, returns=CURVE, settings={"reward.alpha": 0.5}),
        write_run(folder / "two", agent="none", seed=1),
    ]
    run = folder / "shown"
    shutil.copytree(searched.run, run)
    searcher = Searcher(run, named={"data.root": str(searched.meshes)})
    searcher.teach("a red ring", 44)
    with serving(Demo(run, searcher, WorkQueue(2), runs=others)) as served:
        yield served.server


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser: Any, server: DemoServer) -> Iterator[Callable[..., Any]]:
    """Opens a tab in a context of its own; at the end, no page may have complained or asked anyone else."""
    contexts, faults = [], []

    def opened(tab: str, viewport: dict[str, int] = LAPTOP, **more: Any) -> Any:
        context = browser.new_context(viewport=viewport, **{"reduced_motion": "reduce", **more})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda line: "Content Security" in line.text and faults.append(line.text))
        page.on("request", lambda request: request.url.startswith(server.url) or faults.append(request.url))
        page.goto(f"{server.url}#{tab}")
        return page

    yield opened
    for context in contexts:
        context.close()
    faults = [one for one in faults if not one.startswith("data:")]
    assert not faults


def decided(page: Any) -> None:
    page.wait_for_function(
        "() => document.querySelector('#calibrate-line')?.textContent.match(/return|as it is/)"
    )


def ranking(page: Any, which: str = "before") -> list[str]:
    return page.eval_on_selector_all(
        f"#calibrate-{which} .card .soft", "found => found.map((one) => one.textContent)"
    )


def at(page: Any) -> int:
    return int(page.input_value("#calibrate-at"))


def test_a_calibration_by_keyboard_alone(visit: Callable[..., Any]) -> None:
    page = visit("calibrate")
    page.wait_for_selector("#calibrate-agent option", state="attached")
    page.wait_for_function("() => document.activeElement.id === 'calibrate-query'")
    page.keyboard.type("a gray cone")
    for _ in range(2):
        page.keyboard.press("Tab")
    page.keyboard.type("random act")  # picks an agent by its name
    assert page.input_value("#calibrate-agent") == "random"
    page.focus("#calibrate-query")
    page.keyboard.press("Enter")
    page.wait_for_selector("#calibrate-before .card")
    page.wait_for_selector("#calibrate-first:enabled")  # it is over, and shown at its end
    assert "nothing is earned" in page.inner_text(".charts")
    page.focus("#calibrate-query")
    passed = []
    for _ in range(16):
        page.keyboard.press("Tab")
        passed.append(page.evaluate("document.activeElement.id.replace('calibrate-', '')"))
    wanted = ["agent", "budget", "speed", "known", "first", "back", "play", "at"]
    assert [one for one in passed if one in wanted] == wanted
    page.focus("#calibrate-at")
    page.keyboard.press("Home")
    assert at(page) == 0
    assert "nothing is changed" in page.inner_text("#calibrate-step")
    first = ranking(page)
    assert len(first) == 8
    page.keyboard.press("ArrowRight")
    assert at(page) == 1
    assert page.inner_text("#calibrate-step").startswith("Evaluation 1: ")
    page.focus("#calibrate-before .card")
    page.keyboard.press("Enter")  # a candidate large, and from there: this one is meant
    page.wait_for_selector("dialog[open]")
    page.get_by_role("button", name="This one is meant").focus()
    page.keyboard.press("Enter")
    page.wait_for_function("() => location.hash.includes('label=')")
    page.wait_for_selector(".chart")
    assert "Forget it" in page.inner_text("#calibrate-meant")


def test_a_search_tree_grows_and_can_be_gone_through(visit: Callable[..., Any]) -> None:
    page = visit(CALIBRATED)
    decided(page)
    steps = int(page.get_attribute("#calibrate-at", "max"))
    assert steps >= 3
    counts = []
    for step in (0, 1, 2, 3):
        page.evaluate(
            "(step) => { const it = document.getElementById('calibrate-at'); it.value = step;"
            " it.dispatchEvent(new Event('input')); }",
            step,
        )
        counts.append(page.locator(".search-tree [role=treeitem]").count())
    assert counts[0] == 1
    assert counts == sorted(counts)
    assert counts[-1] > 1
    assert page.locator(".chart").count() == 3
    page.focus(".search-tree [aria-selected=true]")
    page.keyboard.press("Home")
    assert page.evaluate("document.activeElement.dataset.node") == "0"
    page.keyboard.press("ArrowRight")
    node = page.evaluate("document.activeElement.dataset.node")
    assert node != "0"
    assert page.inner_text("#calibrate-step").startswith("Chosen in the tree: ")
    assert "visits, mean return" in page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert page.locator("#calibrate-now").is_visible()
    assert sum("meant" in text for text in page.locator("#calibrate-before li").all_inner_texts()) >= 1
    page.click("#calibrate-play")
    assert page.inner_text("#calibrate-play") == "Pause"
    page.wait_for_function("() => Number(document.getElementById('calibrate-at').value) > 0")


def test_motion_plays_by_itself_where_it_is_welcome(visit: Callable[..., Any]) -> None:
    page = visit(CALIBRATED, reduced_motion="no-preference")
    page.wait_for_selector("#calibrate-before .card")
    page.wait_for_function("() => Number(document.getElementById('calibrate-at').value) > 1")
    page.wait_for_function(
        "() => { const it = document.getElementById('calibrate-at'); return it.value === it.max; }"
    )


def test_two_people_calibrate_at_once(visit: Callable[..., Any]) -> None:
    ada = visit(CALIBRATED)
    bob = visit("calibrate?q=a+blue+disc&agent=random_search&budget=32&label=20")
    for page in (bob, ada):
        decided(page)
    assert ada.input_value("#calibrate-query") == "a gray cone"
    assert ranking(ada)[0].endswith("cone")
    assert ranking(bob)[0].endswith("disc")
    assert ranking(ada) != ranking(bob)
    before = ranking(ada)
    bob.click("text=Forget it")
    bob.select_option("#calibrate-agent", "random")
    bob.fill("#calibrate-query", "a red ring")
    bob.keyboard.press("Enter")
    bob.wait_for_function(
        "() => document.querySelector('#calibrate-before .soft')?.textContent.endsWith('ring')"
    )
    assert ranking(ada) == before


def test_what_cannot_be_calibrated_is_said_and_the_page_goes_on(visit: Callable[..., Any]) -> None:
    page = visit("calibrate?q=a+gray+cone&agent=mcts")
    page.wait_for_function(
        "() => document.getElementById('alert').textContent.includes('which shape is meant')"
    )
    assert "take a known caption" in page.inner_text("#calibrate-hint")
    page.click("#calibrate-known")
    page.wait_for_function("() => document.getElementById('calibrate-meant').textContent.includes('Meant')")
    page.focus("#calibrate-query")
    page.keyboard.press("Enter")
    decided(page)
    assert not page.inner_text("#alert")


def test_the_map_is_gone_into_and_left_by_keys(visit: Callable[..., Any]) -> None:
    page = visit("map")
    page.wait_for_selector(".tile")
    page.wait_for_function("() => document.querySelectorAll('#map-shapes .card').length === 60")
    sizes = [int(text) for text in page.locator(".tile .tile-size:nth-child(2)").all_inner_texts()]
    assert sum(sizes) == 60
    assert "found in 1 of 1 visits (100 %)" in page.inner_text("#map-facts")
    assert page.locator(".tile.taught-3").count() == 1
    boxes = page.eval_on_selector_all(".tile", "all => all.map((one) => one.offsetWidth * one.offsetHeight)")
    assert boxes == sorted(boxes, reverse=True)
    page.focus(".tile")
    name = page.inner_text(".tile .tile-name")
    page.keyboard.press("Enter")
    page.wait_for_function(
        "(name) => document.querySelector('.crumbs [aria-current]').textContent === name", arg=name
    )
    page.wait_for_function("() => document.activeElement.className.includes('tile')")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.querySelectorAll('.crumbs li').length === 3")
    page.wait_for_function("() => document.querySelectorAll('#map-shapes .card').length > 0")
    assert page.locator("#map-shapes .card").count() < 60
    page.focus("#map-shapes .card")
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[open]")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="hidden")
    page.focus(".crumbs button")
    page.keyboard.press("Escape")
    page.wait_for_function("() => document.querySelectorAll('.crumbs li').length === 2")
    page.keyboard.press("Escape")
    page.wait_for_function("() => document.querySelectorAll('.crumbs li').length === 1")
    assert "The index is sound" in page.inner_text(".health")
    page.focus("summary")
    page.keyboard.press("Enter")
    assert page.locator(".figures tbody tr").count() == len(sizes)


def test_runs_stand_side_by_side(visit: Callable[..., Any]) -> None:
    page = visit("runs?n=1,2")
    page.wait_for_selector("#runs-results td")
    assert page.locator(".verdicts li").count() == 2
    assert page.locator("#runs-results td.best").all_inner_texts()[0].startswith("60.0")
    rows = page.locator("[aria-label='Settings that differ'] tbody tr").all_inner_texts()
    assert any(row.split() == ["reward.alpha", "0.5", "0"] for row in rows)
    line = page.locator(".plots svg path[data-style*='stroke: #1f83d2']").first
    assert line.evaluate("(one) => getComputedStyle(one).stroke") == "rgb(31, 131, 210)"
    page.focus("input[type=checkbox][value='0']")
    page.keyboard.press("Space")
    page.wait_for_function("() => document.querySelectorAll('.verdicts li').length === 3")
    assert "cannot be compared" in page.inner_text(".compared > .bad")
    for number in "012":
        page.uncheck(f"input[type=checkbox][value='{number}']")
    page.wait_for_selector("text=Choose runs to see them side by side")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [LAPTOP, PHONE], ids=["laptop", "phone"])
@pytest.mark.parametrize(
    ("tab", "ready"),
    [
        (CALIBRATED, "#calibrate-before canvas"),
        ("map", "#map-shapes canvas"),
        ("runs?n=1,2", ".plots svg"),
    ],
    ids=["calibrate", "map", "runs"],
)
def test_every_view_is_legible_at_both_widths_dark_and_light(
    visit: Callable[..., Any], tmp_path: Path, tab: str, ready: str, viewport: dict[str, int], scheme: str
) -> None:
    page = visit(tab, viewport, color_scheme=scheme)
    page.wait_for_selector(ready)
    if tab == CALIBRATED:
        decided(page)
    found = page.evaluate(CONTRAST)
    assert len(found["texts"]) > 10
    assert [one for one in found["texts"] if one["ratio"] < 4.5] == []
    named = [one for one in found["edges"] if one["text"]]  # the others are pictures that can be pressed
    assert [one for one in named if one["ratio"] < 3] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate(SMALL) == 0
    unnamed = page.eval_on_selector_all(
        "button, input, select",
        "all => all.filter((one) => one.checkVisibility() && !(one.textContent.trim() || one.ariaLabel"
        " || one.labels?.length)).map((one) => one.outerHTML)",
    )
    assert unnamed == []
    kept = Path(os.environ.get("ALIGN3D_SCREENSHOTS", tmp_path))
    kept.mkdir(parents=True, exist_ok=True)
    name = f"{tab.partition('?')[0]}-{'phone' if viewport is PHONE else 'laptop'}-{scheme}.png"
    page.screenshot(path=kept / name, full_page=True)
    assert (kept / name).stat().st_size > 10_000

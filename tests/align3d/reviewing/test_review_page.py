"""The page of a review in a real browser: keys, pointer, what is kept, contrast, and the keyboard alone."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from align3d import ShapeDataset
from align3d.decisions import read_decisions
from align3d.reviewing.review_log import reviews_folder
from align3d.reviewing.review_server import ReviewServer
from tests.align3d.reviewing.reviewed_set import boxes, session_of

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (the extra dev)")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on PATH (Debian: apt-get install chromium)"
)

LAPTOP, PHONE = {"width": 1366, "height": 768}, {"width": 390, "height": 844}
CONTRAST = (Path(__file__).parent / "contrast.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> ShapeDataset:
    return boxes(tmp_path_factory.mktemp("seen"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def serve(dataset: ShapeDataset) -> Iterator[Callable[..., ReviewServer]]:
    servers = []
    for path in reviews_folder(dataset.path).glob("*"):
        path.unlink()

    def start(reviewer: str = "ada", share: float = 0.5) -> ReviewServer:
        server = ReviewServer(session_of(dataset, reviewer, share))
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens a page in a context of its own; at the end, no page may have complained or asked anyone else."""
    contexts, faults = [], []

    def opened(server: ReviewServer, viewport: dict[str, int] = LAPTOP, **more: Any) -> Any:
        context = browser.new_context(viewport=viewport, **more)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda request: request.url.startswith(server.url) or faults.append(request.url))
        page.goto(server.url)
        page.wait_for_selector("#captions > li")
        return page

    yield opened
    for context in contexts:
        context.close()
    faults = [one for one in faults if not one.startswith("data:")]
    assert not faults


def wait_for(page: Any, selector: str, text: str) -> None:
    page.wait_for_function(
        "([s, t]) => document.querySelector(s)?.textContent.includes(t)", arg=[selector, text]
    )


def actions(server: ReviewServer) -> list[str]:
    path = server.session.log.path
    return [one.action for one in read_decisions(path)] if path.exists() else []


def canvas(page: Any) -> str:
    return page.evaluate("document.getElementById('cloud').toDataURL()")


def test_a_review_by_keys_from_the_first_shape_to_the_last(
    serve: Callable[..., ReviewServer], visit: Callable[..., Any]
) -> None:
    server = serve()
    page = visit(server)
    first = server.session.shape(0)
    assert page.inner_text("#item") == first["item"]
    assert "0 of 6 decided" in page.inner_text("#count")
    page.keyboard.press("d")
    page.wait_for_selector("li.drop del")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("e")
    assert page.input_value("#field") == first["captions"][1]["caption"]
    page.fill("#field", "a <b>crate</b>")
    page.keyboard.press("Enter")
    page.wait_for_selector("li.edit")
    assert page.inner_text("#caption-1") == "a <b>crate</b>"  # as text, not as HTML
    page.keyboard.press("a")
    wait_for(page, "#status", "Accepted. Shape 2 of 6")
    page.keyboard.press("r")
    page.keyboard.press("4")
    page.keyboard.press("Tab")
    page.keyboard.type("of 1")  # digits in the field are text
    page.keyboard.press("Enter")
    wait_for(page, "#status", "Rejected. Shape 3 of 6")
    page.keyboard.press("u")
    wait_for(page, "#status", "Taken back: reject. Shape 2 of 6")
    page.keyboard.press("a")
    wait_for(page, "#status", "Accepted. Shape 3 of 6")
    for place in range(4, 7):
        page.keyboard.press("a")
        wait_for(page, "#status", f"Accepted. Shape {place} of 6")
    page.keyboard.press("a")
    wait_for(page, "#status", "All 6 shapes of the sample are decided")
    assert page.evaluate("document.getElementById('bar').value") == 6
    assert actions(server) == ["drop_caption", "edit_caption", *["accept"] * 6]
    made = read_decisions(server.session.log.path)
    assert made[1].text == "a <b>crate</b>"
    assert {one.item_hash for one in made[:3]} == {
        server.session.dataset.content_hashes[server.session.rows[0]]
    }


def test_a_rejection_is_written_with_its_reason(
    serve: Callable[..., ReviewServer], visit: Callable[..., Any]
) -> None:
    server = serve()
    page = visit(server)
    page.keyboard.press("r")
    page.keyboard.press("Escape")
    assert actions(server) == []
    page.click("#reject")
    page.check("text=duplicate shape")
    page.fill("#more", "of box 1")
    page.click("dialog button.reject")
    wait_for(page, "#status", "Rejected")
    assert read_decisions(server.session.log.path)[0].reason == "duplicate shape: of box 1"


def test_a_reload_and_a_new_server_show_what_was_decided(
    serve: Callable[..., ReviewServer], visit: Callable[..., Any]
) -> None:
    server = serve()
    page = visit(server)
    page.keyboard.press("d")
    page.wait_for_selector("li.drop")
    page.reload()
    page.wait_for_selector("li.drop")
    again = visit(serve())
    again.wait_for_selector("li.drop")
    again.keyboard.press("d")
    again.wait_for_selector("li.keep")
    assert actions(server) == ["drop_caption", "keep_caption"]


def test_two_reviewers_at_once_do_not_see_each_other(
    serve: Callable[..., ReviewServer], visit: Callable[..., Any]
) -> None:
    servers = serve("ada"), serve("bob")
    ada, bob = map(visit, servers)
    assert ada.inner_text("#item") == bob.inner_text("#item")
    ada.keyboard.press("a")
    wait_for(ada, "#status", "Accepted")
    bob.keyboard.press("r")
    bob.keyboard.press("Enter")
    wait_for(bob, "#status", "Rejected")
    assert [actions(server) for server in servers] == [["accept"], ["reject"]]
    bob.keyboard.press("ArrowLeft")
    wait_for(bob, "#verdict", "Rejected, not what the captions say")
    ada.keyboard.press("ArrowLeft")
    wait_for(ada, "#verdict", "Accepted")


def test_a_second_window_notices_what_the_first_decided(
    serve: Callable[..., ReviewServer], visit: Callable[..., Any]
) -> None:
    server = serve()
    first, second = visit(server), visit(server)
    first.keyboard.press("a")
    wait_for(first, "#status", "Accepted")
    second.keyboard.press("u")
    wait_for(second, "#alert", "Another window has decided since")
    wait_for(second, "#verdict", "Accepted")
    assert actions(server) == ["accept"]
    second.keyboard.press("u")
    wait_for(second, "#status", "Taken back")
    assert actions(server) == []


def test_a_server_that_has_ended_is_told(
    serve: Callable[..., ReviewServer], visit: Callable[..., Any]
) -> None:
    server = serve()
    page = visit(server)
    page.context.set_offline(True)
    page.keyboard.press("a")
    wait_for(page, "#alert", "The server does not answer")
    assert page.inner_text("#verdict") == "Not decided yet"
    page.context.set_offline(False)
    page.keyboard.press("a")
    wait_for(page, "#status", "Accepted")


def test_what_is_refused_is_told_and_the_text_stays(
    serve: Callable[..., ReviewServer], visit: Callable[..., Any]
) -> None:
    page = visit(serve())
    page.keyboard.press("e")
    page.fill("#field", "...")
    page.keyboard.press("Enter")
    wait_for(page, "#alert", "A caption needs a letter or a digit")
    assert page.input_value("#field") == "..."
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "edit-0"


def test_the_shape_turns_by_itself_and_by_hand(
    serve: Callable[..., ReviewServer], visit: Callable[..., Any]
) -> None:
    page = visit(serve())
    drawn = page.evaluate(
        """() => new Promise((done) => {
            const canvas = document.getElementById("cloud"), pictures = new Set(), start = performance.now();
            let frames = 0;
            const look = () => {
                frames++;
                const { width, height } = canvas;
                const line = canvas.getContext("2d").getImageData(0, height >> 1, width, 1).data;
                pictures.add(line.join());
                if (performance.now() - start < 1000) requestAnimationFrame(look);
                else done([frames, pictures.size]);
            };
            look();
        })"""
    )
    assert drawn[1] > 5  # as many as a busy machine draws
    assert drawn[1] > 0.6 * drawn[0]  # nearly every frame shows it a little further on
    page.click("#pause")
    page.wait_for_timeout(100)
    still = canvas(page)
    page.wait_for_timeout(150)
    assert canvas(page) == still
    assert page.inner_text("#pause").startswith("Turn")

    def changed(by: Callable[[], object]) -> bool:
        before = canvas(page)
        by()
        page.wait_for_timeout(100)
        return canvas(page) != before

    box = page.locator("#cloud").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def drag() -> None:
        page.mouse.move(*middle)
        page.mouse.down()
        page.mouse.move(middle[0] + 80, middle[1] + 30, steps=4)
        page.mouse.up()

    assert changed(drag)
    assert changed(lambda: page.mouse.wheel(0, -300))
    page.focus("#cloud")
    assert changed(lambda: page.keyboard.press("ArrowLeft"))
    assert changed(lambda: page.keyboard.press("+"))
    assert changed(lambda: page.keyboard.press("c"))
    assert page.get_attribute("#parts", "aria-pressed") == "true"
    page.keyboard.press("c")
    page.keyboard.press("0")
    page.wait_for_timeout(100)
    front = canvas(page)
    page.keyboard.press("ArrowUp")
    page.keyboard.press("0")
    page.wait_for_timeout(100)
    assert canvas(page) == front


def test_who_wants_less_motion_gets_a_shape_that_stands_still(
    serve: Callable[..., ReviewServer], visit: Callable[..., Any]
) -> None:
    page = visit(serve(), reduced_motion="reduce")
    page.wait_for_timeout(200)
    still = canvas(page)
    page.wait_for_timeout(200)
    assert canvas(page) == still
    page.keyboard.press(" ")
    page.wait_for_timeout(200)
    assert canvas(page) != still


def test_single_keys_can_be_switched_off(
    serve: Callable[..., ReviewServer], visit: Callable[..., Any]
) -> None:
    server = serve()
    page = visit(server)
    page.uncheck("#keys")
    for key in "adu":
        page.keyboard.press(key)
    page.wait_for_timeout(200)
    assert actions(server) == []
    page.click("#accept")
    wait_for(page, "#status", "Accepted. Shape 2")
    page.focus("#keys")
    page.keyboard.press(" ")  # switches them on again, and does not pause
    assert page.inner_text("#pause").startswith("Pause")
    page.keyboard.press("a")  # though the box has the focus
    wait_for(page, "#status", "Accepted. Shape 3")


def test_a_key_that_is_held_down_decides_once(
    serve: Callable[..., ReviewServer], visit: Callable[..., Any]
) -> None:
    server = serve()
    page = visit(server)
    for _ in range(20):
        page.keyboard.down("a")  # the second and later ones repeat
    wait_for(page, "#status", "Accepted")
    page.wait_for_timeout(200)
    assert actions(server) == ["accept"]


def test_the_keyboard_reaches_every_control_and_shows_where_it_is(
    serve: Callable[..., ReviewServer], visit: Callable[..., Any]
) -> None:
    page = visit(serve())
    wanted = set(
        page.evaluate(
            "[...document.querySelectorAll('button, input, canvas')]"
            ".filter((one) => one.checkVisibility() && !one.disabled).map((one) => one.id)"
        )
    )
    assert {"accept", "edit-0", "drop-1", "cloud", "keys"} <= wanted
    reached = set()
    for _ in range(len(wanted) + 2):
        page.keyboard.press("Tab")
        one, outline, inside = page.evaluate(
            """() => {
                const focused = document.activeElement, style = getComputedStyle(focused);
                const box = focused.getBoundingClientRect();
                const at = document.elementFromPoint((box.left + box.right) / 2, (box.top + box.bottom) / 2);
                const outline = parseFloat(style.outlineWidth) * (style.outlineStyle !== "none");
                return [focused.id, outline, focused.contains(at) || at?.contains(focused)];
            }"""
        )
        if one:
            assert outline >= 2, one
            assert inside, f"{one} is covered"
        reached.add(one)
    assert wanted <= reached


def test_screen_readers_are_told_what_controls_are_called(
    serve: Callable[..., ReviewServer], visit: Callable[..., Any]
) -> None:
    page = visit(serve())
    page.keyboard.press("e")
    unnamed = page.evaluate(
        """[...document.querySelectorAll("button, input, textarea, canvas, dialog, progress, section")]
            .filter((one) => !(one.getAttribute("aria-label") || one.labels?.length ||
                one.textContent.trim() || document.getElementById(one.getAttribute("aria-labelledby"))))"""
    )
    assert unnamed == []
    seen = page.get_by_role("button", name="Accept")
    assert seen.count() == 1
    assert page.get_by_role("textbox", name="Caption 1").count() == 1
    assert page.get_by_role("status").count() == page.get_by_role("alert").count() == 1
    assert page.get_by_role("list", name="Captions").get_by_role("listitem").count() == 2
    assert "points" in (page.get_attribute("#cloud", "aria-label") or "")
    assert page.evaluate("document.documentElement.lang") == "en"
    levels = page.evaluate(
        "[...document.querySelectorAll('h1, h2, h3')].map((one) => Number(one.tagName[1]))"
    )
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [LAPTOP, PHONE], ids=["laptop", "phone"])
def test_contrast_is_that_of_wcag_aa_and_nothing_sticks_out(
    serve: Callable[..., ReviewServer], visit: Callable[..., Any], scheme: str, viewport: dict[str, int]
) -> None:
    page = visit(serve(), viewport, color_scheme=scheme)
    page.keyboard.press("d")
    page.wait_for_selector("li.drop")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("e")
    page.fill("#field", "...")
    page.keyboard.press("Enter")
    wait_for(page, "#alert", "letter")
    seen = page.evaluate(CONTRAST)
    assert len(seen["texts"]) > 30
    assert [text for text in seen["texts"] if text["ratio"] < 4.5] == []
    assert len(seen["edges"]) > 10
    assert [edge for edge in seen["edges"] if edge["ratio"] < 3] == []
    page.keyboard.press("Escape")
    page.keyboard.press("r")
    page.wait_for_selector("dialog[open]")
    seen = page.evaluate(CONTRAST)
    assert [text for text in seen["texts"] if text["ratio"] < 4.5] == []
    page.keyboard.press("Escape")
    page.keyboard.press("a")
    wait_for(page, "#status", "Accepted")
    page.keyboard.press("ArrowLeft")
    wait_for(page, "#verdict", "Accepted")
    assert [text for text in page.evaluate(CONTRAST)["texts"] if text["ratio"] < 4.5] == []
    wide = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide[0] <= wide[1]
    small = page.evaluate(
        "[...document.querySelectorAll('button')].filter((one) => one.checkVisibility())"
        ".map((one) => one.getBoundingClientRect())"
        ".filter((box) => Math.min(box.width, box.height) < 24).length"
    )
    assert small == 0  # WCAG 2.2, 2.5.8: targets of 24 pixels


def test_long_texts_do_not_break_the_page(
    serve: Callable[..., ReviewServer], visit: Callable[..., Any]
) -> None:
    server = serve()
    page = visit(server, PHONE)
    page.keyboard.press("e")
    page.fill("#field", "x" * 1500)
    page.keyboard.press("Enter")
    page.wait_for_selector("li.edit")
    wide = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide[0] <= wide[1]


def test_another_page_of_the_browser_can_decide_nothing(
    serve: Callable[..., ReviewServer], browser: Any
) -> None:
    server, stranger = serve("ada"), serve("bob")  # another port is another origin
    context = browser.new_context()
    page = context.new_page()
    page.goto(stranger.url + "review.css")
    body = {"place": 0, "item": server.session.shape(0)["item"], "action": "accept", "seen": 0}
    outcome = page.evaluate(
        """async ([url, body]) => {
            const tries = [
                { method: "POST", body },
                { method: "POST", body, mode: "no-cors" },
                { method: "POST", body, headers: { "Content-Type": "application/json" } },
            ];
            const seen = [];
            for (const one of tries) seen.push(await fetch(url, one).then((a) => a.status, () => "blocked"));
            return seen;
        }""",
        [server.url + "api/decide", str(body).replace("'", '"')],
    )
    assert set(outcome) <= {"blocked", 0, 403}
    time.sleep(0.1)
    assert actions(server) == []
    context.close()

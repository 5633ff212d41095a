"""Pictures as a terminal gets them: bytes of each protocol, and which one a terminal takes."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from experiments.evaluation.shape_views import VIEWS
from experiments.shape_search.answer_sheet import answer_sheet, shape_picture, strip
from experiments.shape_search.terminal_pictures import CHUNK, encoded, half_blocks, protocol_of, sixels

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 96, 3)).astype(np.uint8))
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def test_kitty_gets_a_png_in_chunks() -> None:
    text = encoded(NOISE, "kitty")
    parts = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", text)
    assert len(parts) > 1
    assert parts[0][0] == "a=T,f=100,q=2,m=1"
    assert [control for control, _ in parts[1:]] == ["m=1"] * (len(parts) - 2) + ["m=0"]
    assert all(len(data) <= CHUNK for _, data in parts)
    picture = Image.open(io.BytesIO(base64.b64decode("".join(data for _, data in parts))))
    assert np.array_equal(np.asarray(picture), np.asarray(NOISE))


def test_iterm_gets_a_png_and_its_size() -> None:
    match = re.fullmatch(
        r"\x1b\]1337;File=inline=1;size=(\d+);preserveAspectRatio=1:(.*)\x07\n", encoded(NOISE, "iterm2")
    )
    assert match is not None
    content = base64.b64decode(match[2])
    assert len(content) == int(match[1])
    assert Image.open(io.BytesIO(content)).size == NOISE.size


def test_sixels_are_the_picture() -> None:
    picture = np.zeros((8, 10, 3), np.uint8)
    picture[:4], picture[4:, :5] = RED, GREEN
    assert np.array_equal(decoded(sixels(Image.fromarray(picture))), picture)


def decoded(text: str) -> np.ndarray:
    """A picture from its sixels, as a terminal reads them."""
    head = re.match(r'\x1bP9;1q"1;1;(\d+);(\d+)', text)
    assert head is not None
    assert text.endswith("\x1b\\")
    width, height = int(head[1]), int(head[2])
    found = np.zeros((height + 6, width, 3), np.uint8)
    colors: dict[int, list[int]] = {}
    top = left = color = 0
    for define, pick, count, run, one, control in re.findall(
        r"#(\d+;2;\d+;\d+;\d+)|#(\d+)|!(\d+)([?-~])|([?-~])|([$-])", text[head.end() : -2]
    ):
        if define:
            number, _, *shares = map(int, define.split(";"))
            colors[number] = [round(share * 2.55) for share in shares]
        elif pick:
            color = int(pick)
        elif control:
            left, top = 0, top + 6 * (control == "-")
        else:
            width_of_run = int(count or 1)
            for row in range(6):
                if (ord(run or one) - 63) >> row & 1:
                    found[top + row, left : left + width_of_run] = colors[color]
            left += width_of_run
    return found[:height]


def test_half_blocks_hold_two_pixels_each() -> None:
    picture = np.zeros((2, 3, 3), np.uint8)
    picture[0], picture[1] = RED, GREEN
    assert half_blocks(Image.fromarray(picture), 80) == "\x1b[38;2;255;0;0;48;2;0;255;0m▀▀▀\x1b[0m\n"
    assert max(len(re.sub("\x1b[^m]*m", "", line)) for line in half_blocks(NOISE, 40).splitlines()) == 40


@pytest.mark.parametrize(
    ("environment", "protocol"),
    [
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM_PROGRAM": "ghostty"}, "kitty"),
        ({"TERM_PROGRAM": "iTerm.app"}, "iterm2"),
        ({"LC_TERMINAL": "iTerm2"}, "iterm2"),
        ({"TERM": "foot"}, "sixel"),
        ({"TERM": "xterm-256color"}, "text"),
        ({"TERM": "xterm-kitty", "TMUX": "/tmp/tmux"}, "text"),
        ({}, "text"),
    ],
)
def test_terminals_are_known_by_their_variables(environment: dict[str, str], protocol: str) -> None:
    assert protocol_of(environment, ask=False) == protocol


def test_nearer_points_hide_farther_ones() -> None:
    turn, height = np.deg2rad(VIEWS[0])
    ahead = np.array([np.cos(turn) * np.cos(height), np.sin(turn) * np.cos(height), np.sin(height)])
    aside = np.array([-np.sin(turn), np.cos(turn), 0])
    points = np.stack([-0.5 * ahead, 0.5 * ahead, aside, -aside]).astype(np.float32)
    colors = np.array([GREEN, RED, BLUE, BLUE], np.uint8)
    for order in ([0, 1, 2, 3], [1, 0, 2, 3]):
        picture = shape_picture(points[order], colors[order], 56)
        assert picture[28, 28].tolist() == [*RED]
        assert not (picture.argmax(-1) == 1)[(picture < 255).any(-1)].any()  # no green


def test_a_sheet_has_a_panel_for_each_answer() -> None:
    draw = np.random.default_rng(0)
    points = draw.normal(size=(7, 50, 3)).astype(np.float32)
    points[3] = np.nan
    colors = np.zeros((7, 50, 3), np.uint8)
    sheet = np.asarray(answer_sheet(points, colors, [""] * 7))
    panels = [sheet[:, 220 * place : 220 * (place + 1)] for place in range(5)]
    dark = [(panel < 60).all(-1) for panel in panels]
    half = len(sheet) // 2
    assert [bool(own[:half].any()) for own in dark] == [True, True, True, False, True]
    assert [bool(own[half:].any()) for own in dark] == [True, True, False, False, False]
    assert strip(points[:2], colors[:2], 30).size == (60, 30)

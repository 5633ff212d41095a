"""Pictures in a terminal: by kitty's and iTerm2's protocols, as sixels, or in colored half blocks.

Protocols: https://sw.kovidgoyal.net/kitty/graphics-protocol, https://iterm2.com/documentation-images.html,
and the VT330/VT340 Programmer Reference Manual, chapter 14 (sixels).
"""

from __future__ import annotations

import base64
import io
import os
import select
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np
from PIL import Image

Protocol = Literal["kitty", "iterm2", "sixel", "text"]

ESCAPE, END = "\x1b", "\x1b\\"
CHUNK = 4096
"""Characters of kitty's chunks, at most."""
PALETTE = 64
ANSWER_SECONDS = 0.5
"""How long a terminal may take to say what it can."""
_SIXEL_ROWS = 6
_ASK, _SIXELS = "\x1b[c", "4"


def protocol_of(environment: Mapping[str, str] | None = None, *, ask: bool = True) -> Protocol:
    """The best protocol of the terminal that this process writes to.

    Args:
        environment: Its variables; None for this process's.
        ask: Whether the terminal may be asked if it has sixels.
    """
    known = os.environ if environment is None else environment
    term, program = known.get("TERM", ""), known.get("TERM_PROGRAM", "")
    if known.get("TMUX") or term.startswith(("screen", "tmux")):
        return "text"  # a multiplexer passes none of them on by default
    if (
        known.get("KITTY_WINDOW_ID")
        or "kitty" in term
        or program in ("ghostty", "WezTerm")
        or "ghostty" in term
    ):
        return "kitty"
    if program == "iTerm.app" or known.get("LC_TERMINAL") == "iTerm2":
        return "iterm2"
    if any(name in term for name in ("sixel", "foot", "mlterm", "contour")):
        return "sixel"
    return "sixel" if ask and _says_sixel() else "text"


def encoded(picture: Image.Image, protocol: Protocol, columns: int = 80) -> str:
    """Characters that show a picture in a terminal.

    Args:
        picture: RGB.
        protocol: Of the terminal.
        columns: Of the terminal, which pictures in half blocks fit into.
    """
    if protocol == "kitty":
        return "".join(_kitty(picture)) + "\n"
    if protocol == "iterm2":
        content = _png(picture)
        data = base64.b64encode(content).decode()
        return f"{ESCAPE}]1337;File=inline=1;size={len(content)};preserveAspectRatio=1:{data}\x07\n"
    if protocol == "sixel":
        return sixels(picture) + "\n"
    return half_blocks(picture, columns)


def half_blocks(picture: Image.Image, columns: int) -> str:
    """Two pixels a character, the upper one in its color and the lower one in that of its background."""
    width = min(columns, picture.width)
    height = max(2, round(picture.height * width / picture.width / 2) * 2)
    small = np.asarray(picture.convert("RGB").resize((width, height), Image.Resampling.BOX))
    lines = []
    for upper, lower in zip(small[::2].tolist(), small[1::2].tolist(), strict=True):
        cells, before = [], None
        for colors in zip(upper, lower, strict=True):
            if colors != before:
                over, under = (";".join(map(str, color)) for color in colors)
                cells.append(f"{ESCAPE}[38;2;{over};48;2;{under}m")
            cells.append("▀")
            before = colors
        lines.append("".join(cells) + f"{ESCAPE}[0m\n")
    return "".join(lines)


def sixels(picture: Image.Image) -> str:
    """A picture as sixels: bands of six rows, in each the pixels of one color after the other's."""
    small = picture.convert("RGB").quantize(PALETTE)
    codes = np.asarray(small)
    colors = np.array(small.getpalette()).reshape(-1, 3)
    parts = [f'{ESCAPE}P9;1q"1;1;{picture.width};{picture.height}']
    for code in np.unique(codes):
        red, green, blue = (round(100 * value / 255) for value in colors[code])
        parts.append(f"#{code};2;{red};{green};{blue}")
    weights = 1 << np.arange(_SIXEL_ROWS)
    for top in range(0, picture.height, _SIXEL_ROWS):
        band = codes[top : top + _SIXEL_ROWS]
        for code in np.unique(band):
            bits = ((band == code) * weights[: len(band), None]).sum(0)
            parts.append(f"#{code}{_repeated(bits)}$")
        parts.append("-")
    return "".join(parts) + END


def _repeated(bits: np.ndarray) -> str:
    """Sixels ``[width]`` as characters, runs of equal ones shortened."""
    starts = np.flatnonzero(np.diff(bits, prepend=-1))
    lengths = np.diff(np.append(starts, len(bits)))
    runs = zip(bits[starts].tolist(), lengths.tolist(), strict=True)
    return "".join(f"!{n}{chr(63 + value)}" if n > 3 else chr(63 + value) * n for value, n in runs)


def _kitty(picture: Image.Image) -> Iterator[str]:
    data = base64.b64encode(_png(picture)).decode()
    pieces = [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)]
    for place, piece in enumerate(pieces):
        more = int(place < len(pieces) - 1)
        control = f"a=T,f=100,q=2,m={more}" if place == 0 else f"m={more}"
        yield f"{ESCAPE}_G{control};{piece}{END}"


def _png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def _says_sixel() -> bool:
    """Whether the terminal names sixels among its attributes (DA1); no where it does not answer in time."""
    try:
        import termios
        import tty
    except ImportError:  # no terminal of this kind
        return False
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    number = sys.stdin.fileno()
    try:
        before = termios.tcgetattr(number)
    except termios.error:
        return False
    answer, end = "", time.monotonic() + ANSWER_SECONDS
    try:
        tty.setcbreak(number)
        sys.stdout.write(_ASK)
        sys.stdout.flush()
        while not answer.endswith("c") and (left := end - time.monotonic()) > 0:
            if select.select([number], [], [], left)[0]:
                answer += os.read(number, 64).decode("ascii", "ignore")
    finally:
        termios.tcsetattr(number, termios.TCSANOW, before)
    return _SIXELS in answer.partition("?")[2].rstrip("c").split(";")[1:]

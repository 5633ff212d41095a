"""Console of rich's that takes texts as they are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, RenderableType
from rich.segment import Segment
from rich.text import Text

from align3d.console.terminal import encodable, visible


class Terminal(Console):
    """A console of rich's that takes texts as they are: no markup, no emoji by name, all `visible`.

    Args:
        **settings: Those of `rich.console.Console`.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(markup=False, emoji=False, **settings)

    def render_str(self, text: str, **settings: Any) -> Text:
        """Text of a cell or a title, as wide as it will come out; markup in it is text, whoever asks."""
        plain = encodable(visible(text), self.encoding)
        return super().render_str(plain, **{**settings, "markup": False, "emoji": False})

    def render(self, renderable: RenderableType, options: Any = None) -> Iterable[Segment]:
        """Pieces to be written; rich's own controls stay."""
        for segment in super().render(renderable, options):
            if segment.control is None and not (segment.text.isascii() and segment.text.isprintable()):
                yield Segment(visible(segment.text), segment.style)
            else:
                yield segment

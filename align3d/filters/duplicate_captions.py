"""Filter of captions that stand at many different shapes, and so tell none from the others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar

from annotated_types import Ge

from align3d.captions import normalize_caption
from align3d.decisions import Decision
from align3d.filters import register
from align3d.filters.protocol import Remaining
from align3d.hashing import hash_code, hash_json


@register
class DuplicateCaptions:
    """Captions whose normal form stands at many different shapes, such as "a 3D model of an object".

    Shapes of equal content count once.

    Args:
        shapes: Most shapes of different content that may have one caption.
        keep_last: Whether a shape keeps its first caption where all of them would go.
    """

    name: ClassVar[str] = "duplicate_captions"

    def __init__(self, shapes: Annotated[int, Ge(1)] = 5, keep_last: bool = False) -> None:
        self.shapes, self.keep_last = shapes, keep_last

    def fingerprint(self) -> str:
        """Sha256 of the settings and the code."""
        return hash_json([self.name, vars(self), hash_code(__name__, "align3d.captions")])

    def decide(self, remaining: Remaining, *, progress: bool = True) -> Iterator[Decision]:
        """Drop a caption at every shape that has it."""
        dataset = remaining.dataset
        forms = [[normalize_caption(text) for text in texts] for texts in remaining.captions]
        having: dict[str, set[str]] = {}
        for row, texts in zip(remaining.rows.tolist(), forms, strict=True):
            for form in texts:
                having.setdefault(form, set()).add(dataset.content_hashes[row])
        for row, texts, captions in zip(remaining.rows.tolist(), forms, remaining.captions, strict=True):
            generic = [len(having[form]) > self.shapes for form in texts]
            if generic and all(generic) and self.keep_last:
                generic[0] = False
            for form, text, is_generic in zip(texts, captions, generic, strict=True):
                if is_generic:
                    reason = f"duplicate caption: of {len(having[form])} different shapes"
                    yield Decision(dataset.ids[row], "drop_caption", reason, self.name, caption=text)

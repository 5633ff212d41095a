"""Filter of captions that are too short, too long, or no description at all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar

from annotated_types import Ge

from align3d.decisions import Decision
from align3d.errors import DataError
from align3d.filters import register
from align3d.filters.nonsense import nonsense, words_of
from align3d.filters.protocol import Remaining
from align3d.hashing import hash_code, hash_json


@register
class Length:
    """Captions by their words and characters, and such as are no description: markup, prompts, codes.

    Args:
        min_words: Fewest words and numbers of a caption; 2 drops bare names of classes.
        max_words: Most words and numbers of a caption.
        min_chars: Fewest characters of a caption.
        max_chars: Most characters of a caption.
        nonsense: Whether captions go that hold web addresses or markup, speak of the task ("as an AI language
            model"), say one thing again and again, or hold no word.
    """

    name: ClassVar[str] = "length"

    def __init__(
        self,
        min_words: Annotated[int, Ge(1)] = 1,
        max_words: Annotated[int, Ge(1)] = 120,
        min_chars: Annotated[int, Ge(1)] = 2,
        max_chars: Annotated[int, Ge(1)] = 1000,
        nonsense: bool = True,
    ) -> None:
        for what, least, most in (("words", min_words, max_words), ("chars", min_chars, max_chars)):
            if least > most:
                raise DataError(f"filters.length: min_{what}={least} is above max_{what}={most}")
        self.min_words, self.max_words, self.min_chars, self.max_chars = (
            min_words,
            max_words,
            min_chars,
            max_chars,
        )
        self.nonsense = nonsense

    def fingerprint(self) -> str:
        """Sha256 of the settings and the rules."""
        code = hash_code(__name__, "align3d.filters.nonsense")
        return hash_json([self.name, vars(self), code])

    def decide(self, remaining: Remaining, *, progress: bool = True) -> Iterator[Decision]:
        """Drop captions, by the first thing that is wrong with each."""
        for item, text in remaining.texts():
            if reason := self.reason(text):
                yield Decision(item, "drop_caption", reason, self.name, caption=text)

    def reason(self, text: str) -> str:
        """Why a caption goes; empty where it stays."""
        words, chars = len(words_of(text)), len(text.strip())
        for what, count, least, most in (
            ("word", words, self.min_words, self.max_words),
            ("character", chars, self.min_chars, self.max_chars),
        ):
            if not least <= count <= most:
                return f"length: {count} {what}{'s' * (count != 1)}, expected {least} to {most}"
        if self.nonsense and (sign := nonsense(text)):
            return f"nonsense: {sign}"
        return ""

"""Filter of captions in languages that are not wanted, by an identifier that needs no network."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Le

from align3d.console.progress import Tracker
from align3d.decisions import Decision
from align3d.errors import DataError, did_you_mean
from align3d.filters import register
from align3d.filters.protocol import Remaining
from align3d.hashing import hash_code, hash_json

_CODE = re.compile(r"\S*\d\S*")
"""What holds a digit: sizes and codes are of no language."""
_NEAR = {"pcm": "en"}
"""Languages whose short texts are taken for those of another: Nigerian Pidgin and English."""
_LEAST = 3
"""Letters of a text, codes aside, below which its language is undecided."""


@register
class Language:
    """Captions by their language; where that is not certain, they stay.

    Args:
        keep: Codes of the languages that stay (ISO 639-1), such as en,de.
        confidence: Probability from which a language counts as known.
    """

    name: ClassVar[str] = "language"

    def __init__(
        self, keep: Sequence[str] = ("en",), confidence: Annotated[float, Ge(0), Le(1)] = 0.5
    ) -> None:
        self.keep, self.confidence = tuple(keep), confidence

    def fingerprint(self) -> str:
        """Sha256 of the settings, the code and the identifier's version."""
        from importlib.metadata import version

        self._identifier  # noqa: B018 - a missing package is told in our words
        return hash_json([self.name, self.keep, self.confidence, hash_code(__name__), version("py3langid")])

    def decide(self, remaining: Remaining, *, progress: bool = True) -> Iterator[Decision]:
        """Drop captions of other languages."""
        known: dict[str, tuple[str, float]] = {}
        total = sum(map(len, remaining.captions))
        with Tracker("languages", total, "captions", patience=2.0, enabled=progress) as bar:
            for item, text in remaining.texts():
                if text not in known:
                    known[text] = self.identify(text)
                language, certainty = known[text]
                bar.advance()
                if language and language not in self.keep and certainty >= self.confidence:
                    yield Decision(item, "drop_caption", f"language: {language}", self.name, caption=text)

    def identify(self, text: str) -> tuple[str, float]:
        """Most probable language of a text and its probability; "" and 0 for one without enough letters."""
        words = _CODE.sub(" ", text)
        if sum(map(str.isalpha, words)) < _LEAST and not any(ord(one) > 0x2E80 for one in words):
            return "", 0.0
        language, certainty = self._identifier.classify(" ".join(words.split()))
        return _NEAR.get(language, language), float(certainty)

    @cached_property
    def _identifier(self) -> Any:
        try:
            from py3langid.langid import MODEL_FILE, LanguageIdentifier
        except ImportError as error:
            raise DataError("filters=language needs the package py3langid: pip install py3langid") from error
        made = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
        labels = [str(label) for label in made.labels]
        for code in self.keep:
            if code not in labels:
                raise DataError(
                    f"filters.language.keep={code}: no such language{did_you_mean(code, labels)} "
                    f"(known: {', '.join(sorted(labels))})"
                )
        return made

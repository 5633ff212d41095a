"""Filter of captions by the quality of their text."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Annotated, ClassVar

from annotated_types import Ge, Le

from align3d.console.progress import Tracker
from align3d.decisions import Decision
from align3d.filters import register
from align3d.filters.protocol import Remaining
from align3d.filters.text_quality import Classifier, fault
from align3d.hashing import hash_code, hash_json
from durable.checksums import file_sha256

_AT_ONCE = 1024
"""Captions that are embedded at once."""


@register
class Quality:
    """Captions by the quality of their text: by rules, or by a classifier that learned from labels.

    Args:
        model: File of a classifier, made by ``python -m align3d.filter train=labels.csv model=FILE``; None:
            rules alone, about captions that speak of the file, its maker, the picture or the task.
        threshold: Probability of being good below which the classifier drops a caption.
    """

    name: ClassVar[str] = "quality"

    def __init__(self, model: Path | None = None, threshold: Annotated[float, Ge(0), Le(1)] = 0.5) -> None:
        self.model, self.threshold = None if model is None else Path(model).expanduser(), threshold

    def fingerprint(self) -> str:
        """Sha256 of the settings, the rules and the classifier's file."""
        code = hash_code(__name__, "align3d.filters.text_quality", "align3d.filters.nonsense")
        if self._classifier is None or self.model is None:
            return hash_json([self.name, code])
        return hash_json([self.name, code, self.threshold, file_sha256(self.model)])

    def decide(self, remaining: Remaining, *, progress: bool = True) -> Iterator[Decision]:
        """Drop captions, each with the rule or the probability that speaks against it."""
        texts = list(dict.fromkeys(text for _, text in remaining.texts()))
        reasons = self.reasons(texts, progress=progress)
        for item, text in remaining.texts():
            if reason := reasons[text]:
                yield Decision(item, "drop_caption", reason, self.name, caption=text)

    def reasons(self, texts: list[str], *, progress: bool = True) -> dict[str, str]:
        """Why each caption goes; empty where it stays."""
        if self._classifier is None:
            return {text: f"quality: {found}" if (found := fault(text)) else "" for text in texts}
        reasons = {}
        with Tracker("captions' quality", len(texts), "captions", patience=2.0, enabled=progress) as bar:
            for start in range(0, len(texts), _AT_ONCE):
                some = texts[start : start + _AT_ONCE]
                for text, good in zip(some, self._classifier.good(some).tolist(), strict=True):
                    reasons[text] = f"quality: {good:.2f} good" if good < self.threshold else ""
                bar.advance(len(some))
        return reasons

    @cached_property
    def _classifier(self) -> Classifier | None:
        return None if self.model is None else Classifier.read(self.model)

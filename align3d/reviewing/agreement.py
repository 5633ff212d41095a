"""Agreement of reviewers: Cohen's kappa with an interval, and what they differ about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from align3d.captions import normalize_caption
from align3d.dataset import ShapeDataset
from align3d.decisions import Decision
from align3d.reviewing.review_log import Subject, subject_of

_DRAWS, _SEED = 10_000, 0


@dataclass(frozen=True)
class Kappa:
    """Agreement of two reviewers about things that both have judged.

    Attributes:
        count: Number of things.
        agreed: Number of those about which they say the same.
        value: Cohen's kappa; NaN where it is undefined, as both gave one verdict only.
        low: Lower end of its 95 % interval; NaN likewise.
        high: Upper end.
    """

    count: int
    agreed: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """One thing about which two reviewers differ: ``caption`` is empty where it is the shape."""

    item: str
    caption: str
    first: str
    second: str


@dataclass(frozen=True)
class PairAgreement:
    """Two reviewers: how far they agree about shapes and captions, and where they do not."""

    first: str
    second: str
    shapes: Kappa
    captions: Kappa
    differences: tuple[Difference, ...]


def cohen_kappa(counts: NDArray[np.floating | np.integer]) -> NDArray[np.float64]:
    """Cohen's kappa of tables of counts or shares ``[..., k, k]``: ``[...]``, NaN where it is undefined.

    kappa = (p_o - p_e) / (1 - p_e) (Cohen 1960, equation 1).
    """
    shares = counts / counts.sum(axis=(-2, -1), keepdims=True)
    observed = np.trace(shares, axis1=-2, axis2=-1)
    expected = (shares.sum(axis=-1) * shares.sum(axis=-2)).sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(expected < 1, (observed - expected) / (1 - expected), np.nan)


def kappa_of(pairs: Sequence[tuple[bool, bool]]) -> Kappa:
    """Kappa of pairs of verdicts, with a credible interval of 95 %.

    The shares of the four kinds of pairs are drawn from their posterior under Jeffreys' prior (a Dirichlet
    distribution of the counts plus a half), and kappa's quantiles are the interval's ends, moved out to kappa
    itself where they leave it out, as at 1 (Brown, Cai and DasGupta 2001 do so for a share). Unlike the
    normal approximation and the bootstrap, that leaves some doubt where a few pairs agree without exception.
    """
    table = np.zeros((2, 2))
    for one, other in pairs:
        table[int(one), int(other)] += 1
    agreed = int(np.trace(table))
    value = float(cohen_kappa(table)) if pairs else np.nan
    if np.isnan(value):
        return Kappa(len(pairs), agreed, np.nan, np.nan, np.nan)
    draws = np.random.default_rng(_SEED).dirichlet(table.ravel() + 0.5, _DRAWS).reshape(-1, 2, 2)
    low, high = np.quantile(cohen_kappa(draws), (0.025, 0.975))
    return Kappa(len(pairs), agreed, value, min(float(low), value), max(float(high), value))


def agreements(reviews: Mapping[str, Sequence[Decision]], dataset: ShapeDataset) -> list[PairAgreement]:
    """Agreement of every two reviewers, over the shapes that both accepted or rejected.

    Captions are compared for shapes that both accepted: those of the dataset and those that one of the two
    decided about. A caption is kept, or it is not: dropped or edited; two edits differ if their texts do, but
    count as agreed.

    Args:
        reviews: Decisions of each reviewer.
        dataset: What was reviewed; shapes that it lost since, by a rejection, count all the same.
    """
    rows = zip(dataset.ids, dataset.content_hashes, dataset.captions, strict=True)
    captions = {(item, content_hash): own for item, content_hash, own in rows}
    last = {name: {subject_of(one): one for one in decisions} for name, decisions in reviews.items()}
    return [_agreement(one, other, last[one], last[other], captions) for one, other in combinations(last, 2)]


def _agreement(
    first: str,
    second: str,
    one: dict[Subject, Decision],
    other: dict[Subject, Decision],
    captions: Mapping[tuple[str, str], Sequence[str]],
) -> PairAgreement:
    shapes, texts, differences = [], [], []
    for subject in (subject for subject in one if not subject[2] and subject in other):
        item, content_hash, _ = subject
        verdicts = one[subject].action, other[subject].action
        shapes.append((verdicts[0] == "accept", verdicts[1] == "accept"))
        if verdicts[0] != verdicts[1]:
            differences.append(Difference(item, "", _words(one[subject]), _words(other[subject])))
        elif verdicts[0] == "accept":
            forms = _caption_forms(item, content_hash, (one, other), captions.get((item, content_hash), ()))
            for form, caption in forms.items():
                made = one.get((item, content_hash, form)), other.get((item, content_hash, form))
                texts.append((_is_kept(made[0]), _is_kept(made[1])))
                if _words(made[0]) != _words(made[1]):
                    differences.append(Difference(item, caption, _words(made[0]), _words(made[1])))
    return PairAgreement(first, second, kappa_of(shapes), kappa_of(texts), tuple(differences))


def _caption_forms(
    item: str, content_hash: str, sides: Sequence[dict[Subject, Decision]], captions: Sequence[str]
) -> dict[str, str]:
    """Captions of a shape by their normal form, as they were before an edit that the dataset has by now."""
    about = [made for side in sides for made in side.values() if made.caption]
    about = [made for made in about if (made.item, made.item_hash) == (item, content_hash)]
    edited = {normalize_caption(made.text) for made in about if made.action == "edit_caption"}
    forms = {normalize_caption(caption): caption for caption in captions}
    forms = {form: caption for form, caption in forms.items() if form not in edited}
    return forms | {normalize_caption(made.caption): made.caption for made in about}


def _is_kept(made: Decision | None) -> bool:
    return made is None or made.action == "keep_caption"


def _words(made: Decision | None) -> str:
    """A decision in words; a rejection with its reason, an edit with its text."""
    if made is None or made.action == "keep_caption":
        return "keep"
    if made.action == "edit_caption":
        return f"edit: {made.text}"
    return f"reject: {made.reason}" if made.action == "reject" else made.action.removesuffix("_caption")

"""Grounding: how much of a word's attention falls on the part of the shape that the word names.

For each place of a caption that names a part (`align3d.naming`, no learned matching) the attention of its
words, their mean, is spread over the points of the shape (`experiments.lifting`). Points are drawn evenly
from the surface, so a part's share of them is its share of the surface, and that is what chance would give:

* ``mass_ratio``: attention on the part over its share of the surface; 1 is no better than chance;
  ``log_mass_ratio``, the mean of its logarithm, is not carried away by small parts;
* ``pointing_accuracy``: the point with the most attention lies on the part. Points of one patch have equal
  attention; the share of them that lies on the part counts. ``chance_pointing`` is that of a random point,
  ``random_patch_pointing`` that of a random patch, of which thin parts have more than their share;
* ``other_words_ratio``, ``log_other_words_ratio``, ``other_words_pointing``: the same for the caption's other
  words on the same part: a part that all words look at is not grounded by its own;
* ``spatial_share``: attention on patches and regions. What is on the object's nodes is on no part, and the
  figures above are of the rest.

Shapes are the unit of the intervals (95 %, bootstrap): the captions of one shape are not independent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from align3d.naming import mentions
from experiments.data import Corpus
from experiments.embedding import frozen
from experiments.evaluation import Calibrations, Gallery, without_association
from experiments.lifting import lift, points_of_patches, token_maps
from experiments.progress import Tracker
from experiments.runtime import generator
from models import AlignmentModel

BEFORE, AFTER, CHANGE, COVERAGE = "before", "after", "change", "coverage"
#: Parts with fewer points are left out: their share of the surface is not known well enough.
LEAST_POINTS = 8
RESAMPLES = 2000
#: Figures that come with the ends of their interval, as in ``mass_ratio_low``.
WITH_INTERVAL = (
    "mass_ratio",
    "log_mass_ratio",
    "other_words_ratio",
    "log_other_words_ratio",
    "pointing_accuracy",
    "other_words_pointing",
    "spatial_share",
)
COUNTS = ("shapes", "unlabelled", "unnamed", "captions", "captions_naming")
_LEAST_RATIO = 1e-9  # a float's zero is a very small share of the attention, its logarithm finite
_SCAN = 64


@dataclass
class Pairs:
    """Places of captions that name a part. ``K`` pairs.

    Attributes:
        shape: ``[K]`` int64, the shape's place among those asked for.
        text: ``[K]`` int64, the caption's number in the corpus.
        words: ``[K, T]`` bool, the words that name the part.
        on_part: ``[K, N_0]`` how many points of each patch are on the part.
        coverage: what was looked through for them: shapes, those without part labels, those without a named
            part; captions of shapes with labels, and how many of them name a part.
    """

    shape: Tensor
    text: Tensor
    words: Tensor
    on_part: Tensor
    coverage: dict[str, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.shape)


def grounding(
    model: AlignmentModel,
    corpus: Corpus,
    indices: Tensor,
    gallery: Gallery,
    calibrations: Calibrations | None = None,
    *,
    shapes: int = 500,
    seed: int = 0,
    batch_size: int = 32,
) -> dict[str, dict[str, float]]:
    """Measures grounding, before and after the agent calibrated the captions.

    Args:
        model: a trained model.
        corpus: the data.
        indices: ``[M]`` shapes of a split.
        gallery: the same shapes and their captions, encoded.
        calibrations: what the agent made of the captions; None leaves out ``after`` and ``change``.
        shapes: at most so many shapes that have a named part, drawn at random.
        seed: of the draw and of the bootstrap.
        batch_size: pairs at a time.

    Returns:
        ``before``, ``after``: the figures of the module's docstring, with ``pairs`` and ``shapes``;
        ``change``: after less before, pair by pair; ``coverage``: how much could be measured. Without any
        pair the first three hold ``pairs`` and ``shapes`` alone.
    """
    pairs = find_pairs(corpus, indices, shapes, generator(seed, "grounding"))
    before = measure(model, corpus, indices, gallery, pairs, batch_size=batch_size)
    found = {COVERAGE: pairs.coverage, BEFORE: summary(before, pairs.shape, seed)}
    if calibrations is not None:
        after = measure(model, corpus, indices, gallery, pairs, calibrations, batch_size=batch_size)
        found[AFTER] = summary(after, pairs.shape, seed)
        change = {name: after[name] - before[name] for name in WITH_INTERVAL}
        found[CHANGE] = summary(change, pairs.shape, seed)
    return found


def flat(found: dict[str, dict[str, float]]) -> dict[str, float]:
    """The figures by TensorBoard's names: ``grounding/before/mass_ratio``."""
    return {
        f"grounding/{row}/{name}": value for row, values in found.items() for name, value in values.items()
    }


def find_pairs(corpus: Corpus, indices: Tensor, shapes: int, draws: torch.Generator) -> Pairs:
    """Looks through shapes in random order until enough of them have a caption that names a part.

    A part that is all of the surface, or has fewer than `LEAST_POINTS` points, cannot be pointed at and is
    left out.

    Args:
        corpus: the data.
        indices: ``[M]`` shapes.
        shapes: how many with a named part; fewer are found where there are no more.
        draws: decides the order.
    """
    patches, length = corpus.shapes.centers.shape[1], corpus.text.mask.shape[1]
    points = corpus.shapes.patch_of_point.shape[1]
    found: list[tuple[int, int, tuple[int, ...], Tensor]] = []
    count: dict[str, float] = dict.fromkeys(COUNTS, 0)
    order = torch.randperm(len(indices), generator=draws)
    for place, labels in _labels(corpus, indices, order, points):
        if count["shapes"] - count["unlabelled"] - count["unnamed"] >= shapes:
            break
        index = int(indices[place])
        count["shapes"] += 1
        if not corpus.dataset.part_names[index] or not bool((labels >= 0).any()):
            count["unlabelled"] += 1
            continue
        texts = [text for text in corpus.texts_of[index].tolist() if text >= 0]
        own = [(place, text, *pair) for text in texts for pair in _named(corpus, index, text, labels)]
        count["captions"] += len(texts)
        count["captions_naming"] += len({text for _, text, _, _ in own})
        count["unnamed"] += not own
        found += own
    words = torch.zeros(len(found), length, dtype=torch.bool)
    on_part = torch.zeros(len(found), patches)
    for row, (place, _, named, on) in enumerate(found):
        words[row, list(named)] = True
        on_part[row] = points_of_patches(corpus.shapes.patch_of_point[indices[place]].long(), patches, on)
    return Pairs(
        shape=torch.tensor([place for place, _, _, _ in found], dtype=torch.int64),
        text=torch.tensor([text for _, text, _, _ in found], dtype=torch.int64),
        words=words,
        on_part=on_part,
        coverage=count,
    )


def _labels(corpus: Corpus, indices: Tensor, order: Tensor, points: int) -> Iterator[tuple[int, Tensor]]:
    """Each place in ``order`` with its shape's part labels ``[P]``; the model reads the first points."""
    for places in order.split(_SCAN):
        rows = corpus.dataset.part(indices[places].numpy())[:, :points]
        yield from zip(places.tolist(), torch.from_numpy(rows), strict=True)


def _named(corpus: Corpus, index: int, text: int, labels: Tensor) -> Iterator[tuple[tuple[int, ...], Tensor]]:
    """The words of a caption that name a part of a shape, and the points ``[P]`` of that part."""
    names, kind = corpus.dataset.part_names[index], corpus.dataset.categories[index]
    for mention in mentions(corpus.text.strings[text], names, kind):
        on_part = torch.isin(labels, torch.tensor(mention.parts, dtype=labels.dtype))
        if LEAST_POINTS <= int(on_part.sum()) < len(labels):
            yield mention.words, on_part


def measure(
    model: AlignmentModel,
    corpus: Corpus,
    indices: Tensor,
    gallery: Gallery,
    pairs: Pairs,
    calibrations: Calibrations | None = None,
    *,
    batch_size: int = 32,
) -> dict[str, Tensor]:
    """The figures of each pair.

    Args:
        model: a model.
        corpus: the data.
        indices: ``[M]`` shapes of a split.
        gallery: the same shapes and their captions, encoded.
        pairs: what to measure.
        calibrations: of the gallery's captions; None measures the attention as it is. Associations count
            where the pair's shape is the one that they were made for, as in re-ranking.
        batch_size: pairs at a time.

    Returns:
        Figures ``[K]`` by name.
    """
    queries = torch.searchsorted(corpus.unique_texts(indices), pairs.text)
    device = gallery.text.tokens.device
    length = gallery.text.tokens.shape[1]
    parts: list[dict[str, Tensor]] = []
    name = "grounding" if calibrations is None else "grounding after calibration"
    with frozen(model), Tracker(name, len(pairs), "pairs") as tracker:
        for rows in torch.arange(len(pairs)).split(batch_size):
            query, place = queries[rows].to(device), pairs.shape[rows].to(device)
            calibration = None
            if calibrations is not None:
                elsewhere = calibrations.paired[query] != place
                calibration = without_association(calibrations.calibration[query], elsewhere)
            itself = torch.arange(len(rows), device=device).unsqueeze(1)  # one candidate: the pair's shape
            text, shape = gallery.text.select(query), gallery.shapes.select(place)
            state = model.attend(text, shape, itself)
            output = model.haf.fuse(state, calibration)
            maps = token_maps(model.haf, output, calibration)
            patches = model.haf.level_sizes[0]
            nearest = corpus.shapes.patch_of_point[indices[pairs.shape[rows]]].to(device).long()
            points = points_of_patches(nearest, patches)
            lifted = lift(maps, shape.region[:, :patches], points, model.haf.level_sizes)
            words, on_part = pairs.words[rows, :length].to(device), pairs.on_part[rows].to(device)
            parts.append(figures(lifted, text.mask, words, points, on_part))
            tracker.advance(len(rows))
    return {key: torch.cat([part[key] for part in parts]).cpu() for key in (parts[0] if parts else ())}


def figures(
    lifted: Tensor, mask: Tensor, words: Tensor, points: Tensor, on_part: Tensor
) -> dict[str, Tensor]:
    """What the attention on points says of each pair.

    Args:
        lifted: ``[B, T, N_0]`` attention of tokens to one point of each patch, see `lift`.
        mask: ``[B, T]`` bool, true at real tokens.
        words: ``[B, T]`` bool, the tokens that name the part; at least one.
        points: ``[B, N_0]`` points of each patch.
        on_part: ``[B, N_0]`` those that are on the part.

    Returns:
        Figures ``[B]`` by the names of the module's docstring, and ``mass``. Where a caption has no other
        word, those of the other words are NaN.
    """
    own, others = _mean_of(lifted, words), _mean_of(lifted, mask & ~words)
    chance = on_part.sum(-1) / points.sum(-1)
    mass = (own * on_part).sum(-1) / (own * points).sum(-1)
    ratio = mass / chance
    other_ratio = (others * on_part).sum(-1) / (others * points).sum(-1) / chance
    return {
        "mass": mass,
        "mass_ratio": ratio,
        "log_mass_ratio": ratio.clamp_min(_LEAST_RATIO).log(),
        "other_words_ratio": other_ratio,
        "log_other_words_ratio": other_ratio.clamp_min(_LEAST_RATIO).log(),
        "pointing_accuracy": _pointing(own, points, on_part),
        "other_words_pointing": _pointing(others, points, on_part),
        "chance_pointing": chance,
        "random_patch_pointing": (on_part / points.clamp_min(1)).sum(-1) / (points > 0).sum(-1),
        "spatial_share": (own * points).sum(-1),
    }


def _mean_of(lifted: Tensor, tokens: Tensor) -> Tensor:
    """Mean attention ``[B, N_0]`` of the chosen tokens ``[B, T]``; NaN where none is chosen."""
    return torch.einsum("bt,btn->bn", tokens.to(lifted), lifted) / tokens.sum(-1, keepdim=True)


def _pointing(attention: Tensor, points: Tensor, on_part: Tensor) -> Tensor:
    """Share ``[B]`` of the points with the most attention ``[B, N_0]`` that is on the part."""
    attention = attention.masked_fill(points == 0, -1.0)
    best = attention == attention.amax(-1, keepdim=True)  # nowhere where it is NaN
    return (best * on_part).sum(-1) / (best * points).sum(-1)


def summary(values: dict[str, Tensor], shape: Tensor, seed: int) -> dict[str, float]:
    """Means over pairs, and 95 % intervals from a bootstrap over shapes.

    Args:
        values: figures ``[K]``; pairs that are NaN are left out of that figure.
        shape: ``[K]`` which shape each pair is of.
        seed: of the resamples, which are the same for equal ``shape``.
    """
    owners, owner = shape.unique(return_inverse=True)
    result: dict[str, float] = {"pairs": len(shape), "shapes": len(owners)}
    if not len(shape):
        return result
    draws = generator(seed, "grounding", "bootstrap")
    chosen = torch.randint(len(owners), (RESAMPLES, len(owners)), generator=draws)
    times = torch.zeros(RESAMPLES, len(owners), dtype=torch.float64)
    times.scatter_add_(1, chosen, torch.ones_like(chosen, dtype=torch.float64))
    for name, value in values.items():
        known = ~value.isnan()
        if not bool(known.any()):
            continue
        result[name] = float(value[known].mean())
        if name in WITH_INTERVAL:
            total, number = (
                torch.zeros(len(owners), dtype=torch.float64).index_add_(0, owner[known], x)
                for x in (value[known].double(), torch.ones(int(known.sum()), dtype=torch.float64))
            )
            means = (times @ total) / (times @ number)  # a resample without any known pair is NaN
            low, high = means.nanquantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
            result |= {f"{name}_low": low, f"{name}_high": high}
    return result

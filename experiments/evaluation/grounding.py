"""Grounding: how much of a word's attention falls on the part of the shape that the word names.

For each place of a caption that names a part (`align3d.naming`, no learned matching) the attention of its
words, their mean, is spread over the points of the shape (`attention_maps`). Points are drawn evenly
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

import torch
from torch import Tensor

from align3d.console.progress import Tracker
from experiments.console.process import generator
from experiments.data.attention_maps import lift, mass_on_part, mean_of, points_of_patches, token_maps
from experiments.data.corpus import Corpus
from experiments.data.encoding import frozen
from experiments.data.part_mentions import Pairs, find_pairs
from experiments.evaluation.gallery import Gallery
from experiments.evaluation.pair_scores import Calibrations, without_association
from models import AlignmentModel

BEFORE, AFTER, CHANGE, COVERAGE = "before", "after", "change", "coverage"
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
_LEAST_RATIO = 1e-9  # a float's zero is a very small share of the attention, its logarithm finite


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
        model: A trained model.
        corpus: The data.
        indices: ``[M]`` shapes of a split.
        gallery: The same shapes and their captions, encoded.
        calibrations: What the agent made of the captions; None leaves out ``after`` and ``change``.
        shapes: At most so many shapes that have a named part, drawn at random.
        seed: Of the draw and of the bootstrap.
        batch_size: Pairs at a time.

    Returns:
        ``before``, ``after``: the figures of the module's docstring, with ``pairs`` and ``shapes``;
        ``change``: after less before, pair by pair; ``coverage``: how much could be measured. Without any
        pair the first three hold ``pairs`` and ``shapes`` alone.
    """
    pairs = find_pairs(corpus, indices, shapes, generator(seed, "grounding"))
    before = measure(model, corpus, indices, gallery, pairs, batch_size=batch_size)
    found = {COVERAGE: pairs.coverage, BEFORE: summary(before, pairs.shape, seed)}
    if calibrations is not None:
        after = before  # of an agent that rests
        if bool(calibrations.changed.any()):
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
        model: A model.
        corpus: The data.
        indices: ``[M]`` shapes of a split.
        gallery: The same shapes and their captions, encoded.
        pairs: What to measure.
        calibrations: Of the gallery's captions; None measures the attention as it is. Associations count
            where the pair's shape is the one that they were made for, as in re-ranking.
        batch_size: Pairs at a time.

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
    """Figures of the attention on points for each pair.

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
    own, others = mean_of(lifted, words), mean_of(lifted, mask & ~words)
    chance = on_part.sum(-1) / points.sum(-1)
    mass = mass_on_part(own, points, on_part)
    ratio = mass / chance
    other_ratio = mass_on_part(others, points, on_part) / chance
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


def _pointing(attention: Tensor, points: Tensor, on_part: Tensor) -> Tensor:
    """Share ``[B]`` of the points with the most attention ``[B, N_0]`` that is on the part."""
    attention = attention.masked_fill(points == 0, -1.0)
    best = attention == attention.amax(-1, keepdim=True)  # nowhere where it is NaN
    return (best * on_part).sum(-1) / (best * points).sum(-1)


def summary(values: dict[str, Tensor], shape: Tensor, seed: int) -> dict[str, float]:
    """Means over pairs, and 95 % intervals from a bootstrap over shapes.

    Args:
        values: Figures ``[K]``; pairs that are NaN are left out of that figure.
        shape: ``[K]`` which shape each pair is of.
        seed: Of the resamples, which are the same for equal ``shape``.
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

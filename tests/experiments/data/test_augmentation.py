"""Augmented shapes against shapes that were prepared from augmented points."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from experiments.data.augmentation import Augmentation
from experiments.data.batches import Batches
from experiments.data.corpus import SHAPE_FIELDS, Corpus
from experiments.settings.schema import TrainConfig
from models import ShapeBatch, prepare_shapes
from tests.experiments.evaluation.masts import CONFIG

ROWS = torch.tensor([9, 2, 5, 14, 0, 7])
CPU = torch.device("cpu")


def points_of(corpus: Corpus) -> torch.Tensor:
    return torch.from_numpy(corpus.dataset.points(ROWS.numpy())).float()


def augmented(corpus: Corpus, seed: int = 0, **settings: object) -> ShapeBatch:
    config = dataclasses.replace(TrainConfig(), **settings)
    draws = torch.Generator().manual_seed(seed)
    return Augmentation(config, "z")(corpus.shapes[ROWS], corpus.dataset, ROWS, draws)


def prepared(corpus: Corpus, points: torch.Tensor, size_m: torch.Tensor) -> ShapeBatch:
    return prepare_shapes(points, torch.from_numpy(corpus.dataset.colors(ROWS.numpy())), size_m, CONFIG)


def angles(corpus: Corpus, shapes: ShapeBatch) -> torch.Tensor:
    """About z, in degrees from 0 to 360, by which each shape's patches were turned."""
    before = torch.view_as_complex(corpus.shapes[ROWS].centers[:, 1, :2].double().contiguous())
    after = torch.view_as_complex(shapes.centers[:, 1, :2].double().contiguous())
    return torch.rad2deg((after / before).angle()) % 360


def test_a_quarter_turn_is_what_is_prepared_from_turned_points(corpus: Corpus) -> None:
    shapes = augmented(corpus, turn="quarter")
    found = angles(corpus, shapes)
    quarter = (found / 90).round()
    torch.testing.assert_close(found, 90 * quarter, atol=0.5, rtol=0)
    assert len(set((quarter % 4).tolist())) > 2
    turned, size = points_of(corpus), corpus.shapes[ROWS].size_m.clone()
    for row, times in enumerate((quarter % 4).long().tolist()):
        for _ in range(times):
            x, y, z = turned[row].unbind(-1)
            turned[row] = torch.stack([-y, x, z], dim=-1)
            size[row] = size[row, [1, 0, 2]]
    wanted = prepared(corpus, turned, size)
    for name in ("patches", "centers", "region", "region_centers", "size_m", "patch_of_point"):
        assert torch.equal(shapes.get(name), wanted.get(name)), name
    for name in ("profile", "spectrum"):  # but for a point on the edge between two bins
        torch.testing.assert_close(shapes.get(name), wanted.get(name), atol=0.3, rtol=0)
    assert not torch.equal(shapes.profile, corpus.shapes[ROWS].profile)


def test_a_turn_by_any_angle_keeps_patches_together_and_measures_the_box_again(corpus: Corpus) -> None:
    shapes, before = augmented(corpus, turn="any"), corpus.shapes[ROWS]
    turns = torch.deg2rad(angles(corpus, shapes)).float()
    cosine, sine, one = turns.cos(), turns.sin(), torch.ones_like(turns)
    zero = torch.zeros_like(turns)
    turn = torch.stack([cosine, -sine, zero, sine, cosine, zero, zero, zero, one], dim=-1).view(-1, 3, 3)
    cloud = points_of(corpus)
    turned = cloud @ turn.mT
    wanted = prepared(corpus, turned, before.size_m)
    torch.testing.assert_close(shapes.centers, wanted.centers, atol=5e-3, rtol=0)
    torch.testing.assert_close(shapes.patches, wanted.patches, atol=5e-3, rtol=0)
    old, new = (x.amax(1) - x.amin(1) for x in (cloud, turned))
    torch.testing.assert_close(shapes.size_m, before.size_m / old * new, atol=0.02, rtol=0.05)
    assert torch.equal(shapes.size_m[:, 2], before.size_m[:, 2])


def test_another_scale_leaves_what_captions_speak_of(corpus: Corpus) -> None:
    shapes, before = augmented(corpus, scale=0.3), corpus.shapes[ROWS]
    factor = shapes.centers[:, 1].float().norm(dim=-1) / before.centers[:, 1].float().norm(dim=-1)
    assert bool(((factor > 0.69) & (factor < 1.31)).all())
    assert float(factor.std()) > 0.05
    for name in ("centers", "region_centers"):
        scaled = before.get(name).float() * factor[:, None, None]
        torch.testing.assert_close(shapes.get(name).float(), scaled, atol=2e-3, rtol=2e-3)
    scaled = before.patches[..., :3].float() * factor[:, None, None, None]
    torch.testing.assert_close(shapes.patches[..., :3].float(), scaled, atol=2e-3, rtol=2e-3)
    for name in ("size_m", "profile", "spectrum", "region", "patch_of_point"):
        assert torch.equal(shapes.get(name), before.get(name))
    assert torch.equal(shapes.patches[..., 3:], before.patches[..., 3:])


def test_noise_is_on_the_points_and_not_on_the_size(corpus: Corpus) -> None:
    shapes, before = augmented(corpus, jitter=0.03), corpus.shapes[ROWS]
    noise = shapes.patches[..., :3].float() - before.patches[..., :3].float()
    assert float(noise.std()) == pytest.approx(0.03, rel=0.1)
    assert float(noise.abs().max()) < 0.03 * 5 + 0.01
    assert torch.equal(shapes.size_m, before.size_m)
    assert not torch.equal(shapes.profile, before.profile)
    torch.testing.assert_close(
        shapes.profile[:, :, 0].float().mean(-1), torch.ones(len(ROWS), 3), atol=0.01, rtol=0
    )


def batches_of(corpus: Corpus, **settings: object) -> Batches:
    sizes = {"batch_size": 6, "group": 3, "grounding": 0.0}
    corpus = dataclasses.replace(corpus, splits={"train": torch.arange(16)})
    return Batches(corpus, dataclasses.replace(TrainConfig(), **sizes, **settings), 3, CPU)


def equal(one: ShapeBatch, other: ShapeBatch) -> bool:
    return all(torch.equal(one.get(name), other.get(name)) for name in SHAPE_FIELDS)


def test_a_batch_is_augmented_by_seed_and_step_alone(corpus: Corpus, tmp_path: Path) -> None:
    plain, moved = batches_of(corpus), batches_of(corpus, turn="any", scale=0.1, jitter=0.01)
    once = [moved.at(step) for step in range(4)]
    again = batches_of(corpus, turn="any", scale=0.1, jitter=0.01)
    for step in (3, 1):  # as after a resume: no batch depends on those before
        assert equal(again.at(step).shapes, once[step].shapes)
        assert torch.equal(plain.at(step).indices, once[step].indices)
        assert torch.equal(plain.at(step).texts, once[step].texts)
        assert equal(plain.at(step).shapes, corpus.shapes[plain.at(step).indices])
        assert not equal(plain.at(step).shapes, once[step].shapes)
    angles = [float(batch.shapes.centers[0, 1, 0]) for batch in once]
    assert len(set(angles)) == len(angles)


def test_the_stored_shapes_stay_as_they_are(corpus: Corpus) -> None:
    before = corpus.shapes.clone()
    batches = batches_of(corpus, turn="quarter", scale=0.2, jitter=0.02)
    for step in range(3):
        batches.at(step)
    assert equal(corpus.shapes, before)

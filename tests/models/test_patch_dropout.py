"""Patches hidden in training: what they hold reaches nothing, and in evaluation there are none."""

import dataclasses

import torch

from models import SIZES, AlignmentModel, ShapeBatch, TextFeatures, prepare_shapes
from models.points import PointHierarchy

CONFIG = dataclasses.replace(SIZES["tiny"], color_dropout=0.0, patch_dropout=0.5)
SHAPES = 6


def shapes_of(seed: int = 0) -> ShapeBatch:
    draws = torch.Generator().manual_seed(seed)
    xyz = torch.rand(SHAPES, 256, 3, generator=draws) - 0.5
    rgb = torch.randint(256, (SHAPES, 256, 3), generator=draws)
    return prepare_shapes(xyz, rgb, torch.ones(SHAPES, 3), CONFIG)


def model_of(share: float = CONFIG.patch_dropout) -> AlignmentModel:
    torch.manual_seed(0)
    return AlignmentModel(dataclasses.replace(CONFIG, patch_dropout=share), text_width=8)


def encoded(model: AlignmentModel, shapes: ShapeBatch) -> PointHierarchy:
    torch.manual_seed(1)
    return model.encode_shapes(shapes)


def scores(model: AlignmentModel, found: PointHierarchy) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores ``[B, B]`` of fixed texts, and the attention on the shapes."""
    draws = torch.Generator().manual_seed(2)
    tokens = torch.randn(SHAPES, 3, 8, generator=draws)
    text = TextFeatures(
        tokens,
        torch.ones(SHAPES, 3, dtype=torch.bool),
        torch.full((SHAPES, 3, 2), torch.nan),
        [["a"]] * SHAPES,
    )
    every = torch.arange(SHAPES).expand(SHAPES, -1)
    output = model.haf.fuse(model.attend(model.encode_text(text), found, every))
    return output.score, output.attention


def test_in_evaluation_nothing_is_hidden() -> None:
    dropping, whole = model_of().eval(), model_of(0.0).eval()
    found, wanted = encoded(dropping, shapes_of()), encoded(whole, shapes_of())
    assert found.hidden is None
    assert torch.equal(found.nodes, wanted.nodes)
    assert torch.equal(found.embedding, wanted.embedding)


def test_half_of_the_patches_are_hidden_and_one_of_each_region_never() -> None:
    model, shapes = model_of().train(), shapes_of()
    shares = []
    for seed in range(20):
        torch.manual_seed(seed)
        hidden = model.encode_shapes(shapes).hidden
        assert hidden is not None
        assert not hidden[:, CONFIG.patches :].any()
        shown = ~hidden[:, : CONFIG.patches]
        for row, region in zip(shown, shapes.region, strict=True):
            assert set(region[row].tolist()) == set(range(CONFIG.regions))
        shares.append(float(shown.float().mean()))
    mean = sum(shares) / len(shares)
    assert 0.5 < mean < 0.5 + 1 / (CONFIG.patches / CONFIG.regions)  # and the one that must be shown


def test_what_a_hidden_patch_holds_reaches_neither_embedding_nor_score() -> None:
    model, shapes = model_of().train(), shapes_of()
    found = encoded(model, shapes)
    assert found.hidden is not None
    hidden = found.hidden[:, : CONFIG.patches]
    changed = shapes.clone()
    changed.patches = torch.where(hidden[..., None, None], shapes_of(1).patches, shapes.patches)
    again = encoded(model, changed)
    assert torch.equal(again.hidden, found.hidden)
    assert torch.equal(again.embedding, found.embedding)
    (score, attention), (other, _) = scores(model, found), scores(model, again)
    torch.testing.assert_close(score, other)
    assert float(attention.detach().masked_fill(~found.hidden[None, :, None, None], 0).abs().max()) == 0
    whole = encoded(model.eval(), shapes)
    assert not torch.equal(whole.embedding, found.embedding)


def test_a_selection_keeps_what_is_hidden() -> None:
    found = encoded(model_of().train(), shapes_of())
    assert found.hidden is not None
    rows = torch.tensor([3, 0])
    selected = found.select(rows).hidden
    assert selected is not None
    assert torch.equal(selected, found.hidden[rows])

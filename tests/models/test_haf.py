"""Attention fusion: what a calibration does, and to whom."""

import dataclasses

import pytest
import torch

from models import (
    SIZES,
    AlignmentModel,
    AttentionOutput,
    AttentionState,
    Calibration,
    TextFeatures,
    prepare_shapes,
)
from models.alignment import TextEmbedding
from models.attention_statistics import STATISTICS, attention_statistics
from models.losses import attention_divergence, multi_positive_cross_entropy, symmetric_contrastive_loss
from models.points import PointHierarchy

CONFIG = dataclasses.replace(SIZES["tiny"], dropout=0.0, color_dropout=0.0, token_dropout=0.0)
LEVELS = 3


@pytest.fixture(scope="module")
def model() -> AlignmentModel:
    torch.manual_seed(0)
    model = AlignmentModel(CONFIG, text_width=12).eval()
    torch.nn.init.normal_(model.haf.query.weight, std=0.5)  # maps that are not all uniform
    torch.nn.init.normal_(model.haf.key.weight, std=0.5)
    return model


@pytest.fixture(scope="module")
def encoded(model: AlignmentModel) -> tuple[TextEmbedding, PointHierarchy]:
    generator = torch.Generator().manual_seed(1)
    xyz = torch.rand(6, 256, 3, generator=generator) - 0.5
    rgb = torch.randint(0, 256, (6, 256, 3), generator=generator, dtype=torch.uint8)
    shapes = prepare_shapes(xyz, rgb, torch.rand(6, 3, generator=generator) + 0.1, CONFIG)
    mask = torch.arange(7) < torch.tensor([[7], [4], [1]])
    text = TextFeatures(
        tokens=torch.randn(3, 7, 12, generator=generator) * mask.unsqueeze(-1),
        mask=mask,
        quantities=torch.full((3, 7, 2), torch.nan),
        strings=[["w"] * n for n in (7, 4, 1)],
    )
    with torch.no_grad():
        return model.encode_text(text), model.encode_shapes(shapes)


@pytest.fixture(scope="module")
def state(model: AlignmentModel, encoded: tuple[TextEmbedding, PointHierarchy]) -> AttentionState:
    candidates = torch.tensor([[0, 1, 2, 3], [5, 4, 3, 2], [1, 3, 5, 0]])
    with torch.no_grad():
        return model.attend(*encoded, candidates, paired=torch.tensor([2, 0, 1]))


def identity() -> Calibration:
    return Calibration.identity(3, tokens=7, levels=LEVELS, heads=CONFIG.heads, regions=CONFIG.regions)


@torch.no_grad()
def test_maps_are_distributions(model: AlignmentModel, state: AttentionState) -> None:
    output = model.haf.fuse(state)
    for level in output.attention.split(model.haf.level_sizes, dim=-1):
        torch.testing.assert_close(level.sum(-1), torch.ones(3, 4, CONFIG.heads, 7))
    torch.testing.assert_close(output.gates.sum(-1), torch.ones(3, 7))
    torch.testing.assert_close(output.token_weights.sum(-1), torch.ones(3))
    assert (output.token_weights > 0).equal(state.mask)


@torch.no_grad()
def test_identity_changes_nothing(model: AlignmentModel, state: AttentionState) -> None:
    assert torch.equal(model.haf.fuse(state).score, model.haf.fuse(state, identity()).score)


@torch.no_grad()
def test_padding_and_other_rows_do_not_matter(model: AlignmentModel, state: AttentionState) -> None:
    alone = model.haf.fuse(state[1:2])
    torch.testing.assert_close(alone.score, model.haf.fuse(state).score[1:2])
    poisoned = state.clone()
    poisoned.tokens[1, 4:] = 1e3
    torch.testing.assert_close(model.haf.fuse(poisoned).score[1], alone.score[0])


@torch.no_grad()
def test_temperature_sharpens_its_level_alone(model: AlignmentModel, state: AttentionState) -> None:
    calibration = identity()
    calibration.temperature[:, 0] = 1.0
    before, after = model.haf.fuse(state), model.haf.fuse(state, calibration)
    sizes = model.haf.level_sizes

    def peak(output: AttentionOutput) -> list[torch.Tensor]:
        return [level.amax(-1).mean() for level in output.attention.split(sizes, dim=-1)]

    assert peak(after)[0] > peak(before)[0]
    assert peak(after)[1:] == peak(before)[1:]


@torch.no_grad()
def test_gates_heads_and_tokens_move_their_weights(model: AlignmentModel, state: AttentionState) -> None:
    calibration = identity()
    calibration.level[:, 2] = 0.5
    calibration.token[:, 0] = -0.5
    before, after = model.haf.fuse(state), model.haf.fuse(state, calibration)
    assert (after.gates[..., 2] > before.gates[..., 2]).all()
    assert (after.token_weights[:2, 0] < before.token_weights[:2, 0]).all()
    assert torch.equal(after.attention, before.attention)
    calibration = identity()
    calibration.head[:, 0, 1] = 0.5
    assert not torch.allclose(model.haf.fuse(state, calibration).score, before.score)


@torch.no_grad()
def test_association_touches_the_paired_candidate_and_region_alone(
    model: AlignmentModel, state: AttentionState
) -> None:
    calibration = identity()
    calibration.association[0, 3, 1] = 1.0
    before, after = model.haf.fuse(state), model.haf.fuse(state, calibration)
    changed = (after.attention != before.attention).flatten(2).any(-1)
    assert changed.tolist() == [[False, False, True, False], [False] * 4, [False] * 4]
    patches = slice(0, CONFIG.patches)
    inside = state.region[0, 2, patches] == 1
    gain = (after.attention - before.attention)[0, 2, :, 3, patches]
    assert (gain[:, inside] > 0).all()
    assert (gain[:, ~inside] < 0).all()
    assert not torch.equal(after.score[0], before.score[0])
    assert torch.equal(after.score[1:], before.score[1:])


@torch.no_grad()
def test_statistics_follow_the_maps(model: AlignmentModel, state: AttentionState) -> None:
    sharp = identity()
    sharp.temperature[:] = 1.0
    plain = attention_statistics(state, model.haf.fuse(state), model.haf.level_sizes)
    sharper = attention_statistics(state, model.haf.fuse(state, sharp), model.haf.level_sizes)
    assert plain.shape == (3, LEVELS, CONFIG.heads, len(STATISTICS))
    entropy, peak = STATISTICS.index("entropy"), STATISTICS.index("peak")
    assert (sharper[..., entropy] < plain[..., entropy]).all()
    assert (sharper[..., peak] >= plain[..., peak]).all()
    assert plain.min() >= 0
    assert plain[..., [0, 1, 2, 4]].max() <= 1 + 1e-5


def test_losses_equal_a_plain_sum() -> None:
    logits = torch.randn(5, 5, generator=torch.Generator().manual_seed(0))
    positives = torch.eye(5, dtype=torch.bool)
    positives[0, 3] = positives[3, 0] = True
    rows = []
    for i in range(5):
        exponentials = [float(x) for x in logits[i].exp()]
        terms = [
            -torch.log(torch.tensor(exponentials[j] / sum(exponentials))) for j in range(5) if positives[i, j]
        ]
        rows.append(sum(terms) / len(terms))
    torch.testing.assert_close(multi_positive_cross_entropy(logits, positives), torch.stack(rows))
    expected = torch.nn.functional.cross_entropy(logits[1:3], torch.tensor([1, 2]), reduction="none")
    torch.testing.assert_close(multi_positive_cross_entropy(logits, positives)[1:3], expected)
    symmetric = symmetric_contrastive_loss(logits, positives)
    torch.testing.assert_close(symmetric, symmetric_contrastive_loss(logits.T, positives.T))


def test_divergence_is_zero_only_for_equal_maps() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(2, 3, 6, generator=generator).softmax(-1) for _ in range(2))
    weight = torch.full((2, 3), 1 / 3)
    assert attention_divergence(a, a, weight).abs() < 1e-6
    expected = (a * (a / b).log()).sum(-1).mean()
    torch.testing.assert_close(attention_divergence(a, b, weight), expected)


def test_gradients_reach_every_parameter(model: AlignmentModel) -> None:
    generator = torch.Generator().manual_seed(2)
    shapes = prepare_shapes(
        torch.rand(4, 256, 3, generator=generator) - 0.5,
        torch.randint(0, 256, (4, 256, 3), generator=generator, dtype=torch.uint8),
        torch.rand(4, 3, generator=generator) + 0.1,
        CONFIG,
    )
    text = TextFeatures(
        torch.randn(4, 5, 12, generator=generator),
        torch.ones(4, 5, dtype=torch.bool),
        torch.rand(4, 5, 2, generator=generator) * 9,
        [["w"] * 5] * 4,
    )
    encoded_text, hierarchy = model.encode_text(text), model.encode_shapes(shapes)
    state = model.attend(encoded_text, hierarchy, torch.arange(4).expand(4, 4))
    symmetric_contrastive_loss(model.haf.fuse(state).score, torch.eye(4, dtype=torch.bool)).backward()
    missing = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().any()]
    assert missing in ([], ["text.position"])

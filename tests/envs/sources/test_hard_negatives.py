"""Episodes beside the model's own nearest wrong shapes."""

import dataclasses

import pytest
import torch

from envs import CalibrationCore, HardNegativeEpisodes, mine_hard_negatives
from models import SIZES, AlignmentModel, TextFeatures, prepare_shapes

CONFIG = dataclasses.replace(SIZES["tiny"], dropout=0.1, color_dropout=0.0)
QUERIES, SHAPES = 10, 12


@pytest.fixture(scope="module")
def given():
    torch.manual_seed(0)
    model = AlignmentModel(CONFIG, text_width=12)
    generator = torch.Generator().manual_seed(1)
    clouds = torch.rand(SHAPES, 256, 3, generator=generator) - 0.5
    colors = torch.randint(0, 256, (SHAPES, 256, 3), generator=generator, dtype=torch.uint8)
    shapes = prepare_shapes(clouds, colors, torch.rand(SHAPES, 3, generator=generator) + 0.1, CONFIG)
    mask = torch.arange(7) < torch.randint(1, 8, (QUERIES, 1), generator=generator)
    text = TextFeatures(
        tokens=torch.randn(QUERIES, 7, 12, generator=generator) * mask.unsqueeze(-1),
        mask=mask,
        quantities=torch.full((QUERIES, 7, 2), torch.nan),
        strings=[["w"] * int(n) for n in mask.sum(-1)],
    )
    positives = torch.rand(QUERIES, SHAPES, generator=generator) < 0.15
    positives[0] = False
    positives[1:, 0] |= ~positives[1:].any(1)
    model.eval()
    with torch.no_grad():
        return model.train(), model.eval().encode_text(text), model.encode_shapes(shapes), positives


def test_candidates_are_the_nearest_and_a_right_one(given):
    model, text, shapes, positives = given
    episodes = HardNegativeEpisodes(CalibrationCore(model.haf), model, text, shapes, positives, 4)
    similarity = text.embedding @ shapes.embedding.T
    for row in range(QUERIES):
        nearest = similarity[row].argsort(descending=True)[:4]
        found = episodes.candidates[row]
        if not positives[row].any() or positives[row, nearest].any():
            assert found.tolist() == nearest.tolist()
        else:
            assert found[:3].tolist() == nearest[:3].tolist()
            right = torch.where(positives[row], similarity[row], -torch.inf)
            assert int(found[3]) == int(right.argmax())
    free = HardNegativeEpisodes(
        CalibrationCore(model.haf), model, text, shapes, positives, 4, keep_true=False
    )
    assert torch.equal(free.candidates, similarity.topk(4, dim=1).indices)


def test_haf_chooses_from_a_shortlist(given):
    model, text, shapes, positives = given
    core = CalibrationCore(model.haf)
    episodes = HardNegativeEpisodes(core, model, text, shapes, positives, 3, shortlist=9, keep_true=False)
    similarity = text.embedding @ shapes.embedding.T
    shortlist = similarity.topk(9, dim=1).indices
    with torch.no_grad():
        model.eval()
        score = model.haf.fuse(model.attend(text, shapes, shortlist)).score
    expected = shortlist.gather(1, score.topk(3, dim=1).indices)
    assert torch.equal(episodes.candidates, expected)


def test_a_draw_is_an_episode_of_its_text(given):
    model, text, shapes, positives = given
    model.train()
    core = CalibrationCore(model.haf)
    episodes = HardNegativeEpisodes(core, model, text, shapes, positives, 5)
    episode = episodes.sample(6, torch.Generator().manual_seed(2))
    assert model.training, "put back as it was"
    rows = torch.randint(QUERIES, (6,), generator=torch.Generator().manual_seed(2))
    stood = episodes.candidates[rows].gather(1, episode.candidates)
    assert torch.equal(episode.positives, positives[rows].gather(1, stood))
    assert torch.equal(episode.attention.mask, text.mask[rows])
    again = episodes.sample(6, torch.Generator().manual_seed(2))
    assert torch.equal(again.initial.score, episode.initial.score)
    assert (core.transition(episode, core.initial(episode), torch.ones(6, dtype=torch.int64)).kl > 0).all()


def test_the_hardest_of_none_and_of_all():
    score = torch.tensor([[3.0, 1.0, 2.0], [1.0, 2.0, 3.0]])
    positives = torch.tensor([[False, True, False], [False, False, False]])
    assert mine_hard_negatives(score, positives, 2).tolist() == [[0, 1], [2, 1]]
    assert mine_hard_negatives(score, positives, 3).tolist() == [[0, 2, 1], [2, 1, 0]]


def test_wrong_use_is_named(given):
    model, text, shapes, positives = given
    core = CalibrationCore(model.haf)
    with pytest.raises(ValueError, match=r"positives: expected torch.bool \[10, 12\]"):
        HardNegativeEpisodes(core, model, text, shapes, positives.T, 4)
    with pytest.raises(ValueError, match="candidates=0"):
        HardNegativeEpisodes(core, model, text, shapes, positives, 0)
    with pytest.raises(ValueError, match="shortlist=3: must be at least candidates=4"):
        HardNegativeEpisodes(core, model, text, shapes, positives, 4, shortlist=3)

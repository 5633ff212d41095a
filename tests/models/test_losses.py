"""Contrastive losses: hubness in the logits, and the divergence from a target."""

import pytest
import torch
from torch import Tensor

from models.losses import multi_positive_cross_entropy, score_divergence, symmetric_contrastive_loss

RIGHT = torch.eye(4, dtype=torch.bool)


@pytest.fixture
def logits() -> Tensor:
    """Scores with a hub, the last shape: it answers every text."""
    scores = torch.randn(4, 4, generator=torch.Generator().manual_seed(0)) + 4 * RIGHT
    scores[:, 3] += 3
    return scores


def test_without_hubness_it_is_the_mean_of_both_directions(logits: Tensor) -> None:
    rows = -logits.log_softmax(1)[RIGHT].mean()
    columns = -logits.log_softmax(0)[RIGHT].mean()
    assert torch.equal(symmetric_contrastive_loss(logits, RIGHT, 0.0), 0.5 * (rows + columns))


@pytest.mark.parametrize("weight", [0.7, -1.0])
def test_hubness_is_of_the_queries_that_a_candidate_does_not_answer(logits: Tensor, weight: float) -> None:
    def hubness(scores: Tensor) -> Tensor:  # of columns
        return torch.stack([scores[:, i][~RIGHT[:, i]].exp().mean().log() for i in range(4)])

    rows = -(logits + weight * hubness(logits)).log_softmax(1)[RIGHT].mean()
    columns = -(logits.T + weight * hubness(logits.T)).log_softmax(1)[RIGHT].mean()
    torch.testing.assert_close(symmetric_contrastive_loss(logits, RIGHT, weight), 0.5 * (rows + columns))


def test_what_is_added_pushes_a_hub_away(logits: Tensor) -> None:
    def pull(weight: float) -> float:
        """Gradient of the hub's score for texts that it is not the answer of."""
        scores = logits.clone().requires_grad_()
        symmetric_contrastive_loss(scores, RIGHT, weight).backward()
        assert scores.grad is not None
        return float(scores.grad[:3, 3].sum())

    assert pull(0.5) > pull(0.0) > pull(-0.5) > 0


def test_only_the_own_distribution_learns_from_a_target(logits: Tensor) -> None:
    target = logits.clone().requires_grad_()
    own = logits.flip(1).clone().requires_grad_()
    divergence = score_divergence(target, own)
    divergence.backward()
    assert target.grad is None
    torch.testing.assert_close(own.grad, (own.softmax(-1) - target.softmax(-1)).detach() / 4)
    reference = torch.distributions.kl_divergence(
        torch.distributions.Categorical(logits=target), torch.distributions.Categorical(logits=own)
    )
    torch.testing.assert_close(divergence, reference.mean())
    assert float(score_divergence(logits + 5.0, logits)) == pytest.approx(0, abs=1e-6)


def test_a_distribution_may_be_over_some_candidates(logits: Tensor) -> None:
    among = torch.tensor([True, False, True, True]).expand(4, 4)
    own = logits.flip(1).clone().requires_grad_()
    divergence = score_divergence(logits, own, among)
    torch.testing.assert_close(divergence, score_divergence(logits[:, [0, 2, 3]], own[:, [0, 2, 3]]))
    divergence.backward()
    assert own.grad is not None
    assert not bool(own.grad[:, 1].any())


def one_direction(logits: Tensor, positives: Tensor, ignored: Tensor) -> float:
    """The definition, pair by pair: of each query's candidates those that are ignored are not there."""
    losses = []
    for scores, right, out in zip(logits.detach(), positives, ignored, strict=True):
        total = scores[~out].exp().sum()
        own = [-(score.exp() / total).log() for score in scores[right]]
        losses.append(sum(own) / len(own))
    return float(sum(losses) / len(losses))


def test_ignored_pairs_are_neither_right_nor_wrong(logits: Tensor) -> None:
    own = logits.detach().clone().requires_grad_()
    positives = torch.eye(len(own), own.shape[1], dtype=torch.bool)
    ignored = torch.zeros_like(positives)
    ignored[0, 1:3] = ignored[2, 1] = True
    loss = symmetric_contrastive_loss(own, positives, ignored=ignored)
    loss.backward()
    wanted = (one_direction(own, positives, ignored) + one_direction(own.T, positives.T, ignored.T)) / 2
    assert float(loss.detach()) == pytest.approx(wanted, rel=1e-5)
    assert own.grad is not None
    assert bool((own.grad[ignored] == 0).all())
    assert bool(own.grad.isfinite().all())


def test_if_every_caption_stands_twice_the_loss_differs_by_a_constant(logits: Tensor) -> None:
    positives = torch.eye(len(logits), logits.shape[1], dtype=torch.bool)
    once = symmetric_contrastive_loss(logits, positives)
    by_text = multi_positive_cross_entropy(logits, positives).mean()
    by_shape = multi_positive_cross_entropy(logits.T, positives.T).mean()
    torch.testing.assert_close(once, 0.5 * (by_text + by_shape))
    twice = symmetric_contrastive_loss(torch.cat([logits, logits]), torch.cat([positives, positives]))
    doubled = by_shape + torch.log(torch.tensor(2.0))  # of two equal answers each has half
    torch.testing.assert_close(twice, 0.5 * (by_text + doubled))

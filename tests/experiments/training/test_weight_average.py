"""The moving average of the weights: what it is, what serves, and what a checkpoint holds."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from experiments.training.weight_average import WeightAverage


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def trained(model: nn.Module, average: WeightAverage, steps: range) -> None:
    for step in steps:
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(step)))
        average.update(step)


@pytest.fixture
def model() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(3, 2)


def test_it_is_a_mean_whose_decay_rises_to_what_was_asked_for(model: nn.Linear) -> None:
    average, wanted = WeightAverage(model, 0.5), weights(model)
    for step in range(20):
        trained(model, average, range(step, step + 1))
        decay = min(0.5, (1 + step) / (10 + step))
        wanted = {name: decay * old + (1 - decay) * weights(model)[name] for name, old in wanted.items()}
    last = weights(model)
    average.serve()
    for name, mean in wanted.items():
        torch.testing.assert_close(model.state_dict()[name], mean)
        assert not torch.equal(mean, last[name])
    state = average.state()
    assert state["trained"] is not None
    assert all(torch.equal(state["trained"][name], last[name]) for name in last)
    average.serve()  # once is enough
    torch.testing.assert_close(model.weight.detach(), wanted["weight"])


def test_without_it_the_model_is_what_was_trained(model: nn.Linear) -> None:
    average = WeightAverage(model, 0.0)
    trained(model, average, range(5))
    last = weights(model)
    average.serve()
    assert torch.equal(model.weight, last["weight"])
    assert average.state()["trained"] is None


@pytest.mark.parametrize("cut", [3, 8])
def test_it_goes_on_from_a_checkpoint_to_the_same_bits(model: nn.Linear, cut: int) -> None:
    average = WeightAverage(model, 0.9)
    trained(model, average, range(cut))
    kept = copy.deepcopy(average.state())
    other = nn.Linear(3, 2)
    again = WeightAverage(other, 0.9)
    again.restore(kept, serves=False)
    assert torch.equal(other.weight, model.weight)
    for one, mean in ((model, average), (other, again)):
        trained(one, mean, range(cut, 10))
        mean.serve()
    assert torch.equal(other.weight, model.weight)
    third = nn.Linear(3, 2)
    served = WeightAverage(third, 0.9)
    served.restore(average.state(), serves=True)
    assert torch.equal(third.weight, model.weight)
    assert served.serves


def test_a_checkpoint_of_other_settings_is_refused(model: nn.Linear) -> None:
    with pytest.raises(LookupError, match="averaged"):
        WeightAverage(model, 0.9).restore(WeightAverage(model, 0.0).state(), serves=False)
    with pytest.raises(LookupError, match="averaged"):
        WeightAverage(model, 0.0).restore(WeightAverage(model, 0.9).state(), serves=False)

"""Moving average of a model's weights in training, which is what serves afterwards.

As in Tarvainen & Valpola, "Mean teachers are better role models" (2017). The decay rises with the steps, so
that the first weights, which are random, are soon forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class WeightAverage:
    """Exponential moving average of a model's weights; nothing where ``decay`` is 0.

    Args:
        model: What is trained.
        decay: Share of the average that a step leaves as it was, once training is under way.

    Attributes:
        serves: Whether the model's weights are the average.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._model, self.decay = model, decay
        self._other = _copied(model.state_dict()) if decay else {}
        self.serves = False

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Takes in the weights after a step, the first of which is 0."""
        if not self.decay:
            return
        decay = min(self.decay, (1 + step) / (10 + step))
        now = self._model.state_dict()
        names = [name for name, mean in self._other.items() if mean.is_floating_point()]
        torch._foreach_lerp_([self._other[name] for name in names], [now[name] for name in names], 1 - decay)
        for name in self._other.keys() - set(names):
            self._other[name].copy_(now[name])

    def serve(self) -> None:
        """Gives the model the average, for good; the weights that were trained are kept beside it."""
        if not self.decay or self.serves:
            return
        trained = _copied(self._model.state_dict())
        self._model.load_state_dict(self._other)
        self._other, self.serves = trained, True

    def state(self) -> dict[str, dict[str, Tensor] | None]:
        """For a checkpoint: the model is what serves, beside it the weights that are trained."""
        own = self._model.state_dict()
        if not self.decay:
            return {"model": own, "trained": None}
        average, trained = (own, self._other) if self.serves else (self._other, own)
        return {"model": average, "trained": trained}

    def restore(self, state: Mapping[str, dict[str, Tensor] | None], *, serves: bool) -> None:
        """Takes over what `state` returned.

        Args:
            state: It.
            serves: Whether the training is over, so that the model has the average.

        Raises:
            LookupError: It has no weights beside those of the model, or there should be none.
            RuntimeError: The weights are not of such a model.
        """
        average, trained = state["model"], state.get("trained")
        assert average is not None
        if (trained is not None) != bool(self.decay):
            raise LookupError("the weights are averaged, and there is no average, or the other way round")
        if trained is None:
            self._model.load_state_dict(average)
            return
        self._model.load_state_dict(average if serves else trained)
        self._other, self.serves = _copied(trained if serves else average), serves


def _copied(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in weights.items()}

"""Divergence of HAF's attention from the agent's, before and after a training step."""

from __future__ import annotations

from experiments.dap.controller import CalibratedRows
from experiments.data.batches import Batch
from experiments.data.encoding import frozen
from models import AlignmentModel, AttentionState
from models.losses import attention_divergence


class Distillation:
    """The calibrated attention of some rows of a batch, held fast while the model takes a step.

    Args:
        model: As it is before the step.
        batch: Of the step.
        calibrated: What the agent made of some of its rows.
    """

    def __init__(self, model: AlignmentModel, batch: Batch, calibrated: CalibratedRows) -> None:
        self.model, self.batch, self.calibrated = model, batch, calibrated
        with frozen(model):
            self.target = model.haf.fuse(self._state(), calibrated.calibration).attention
        self.before = self._divergence()

    def values(self) -> dict[str, float]:
        """KL(calibrated ‖ the model's own) before the step and now, in nats, as in ``loss/distill``."""
        return {"distill/kl_before": self.before, "distill/kl_after": self._divergence()}

    def _divergence(self) -> float:
        with frozen(self.model):
            own = self.model.haf.fuse(self._state())
            weight = own.token_weights[:, None, None, :]
            return float(attention_divergence(self.target, own.attention, weight))

    def _state(self) -> AttentionState:
        rows, model = self.calibrated.rows, self.model
        text = model.encode_text(self.batch.text).select(rows)
        shapes = model.encode_shapes(self.batch.shapes)
        return model.attend(text, shapes, self.calibrated.candidates, self.calibrated.paired)

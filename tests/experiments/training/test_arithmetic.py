"""Training with products in bfloat16, against float32."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from experiments.data.corpus import Corpus
from experiments.settings.schema import register_sizes
from experiments.training.loop import advance
from tests.experiments.processes.pair import SHARED, lines_of, session_of

register_sizes()


@pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="this processor has no bfloat16 instructions"
)
def test_products_in_bfloat16_are_near_those_in_float32(corpus: Corpus, tmp_path: Path) -> None:
    lines = []
    for precision in ("32-true", "bf16-mixed"):
        session = session_of(corpus, tmp_path / precision, *SHARED, f"precision={precision}")
        session.model.train()
        terms = session.objective(session.batches.at(0))
        assert {term.dtype for term in terms.values()} == {torch.float32}
        advance(session, 3)
        session.journal.close()
        assert {weight.dtype for weight in session.model.parameters()} == {torch.float32}
        lines.append(lines_of(session.folder))
    wide, narrow = lines
    assert wide != narrow
    for one, other in zip(wide, narrow, strict=True):
        assert other == pytest.approx(one, rel=0.1, abs=0.05)

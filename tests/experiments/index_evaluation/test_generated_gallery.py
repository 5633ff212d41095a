"""New shapes of a run's source: made and encoded in pieces that are kept, and found by their captions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from align3d.errors import UserError
from align3d.pipeline import build
from align3d.sources.procedural import ProceduralSource
from experiments.data.corpus import Corpus
from experiments.index_evaluation import generated_gallery
from experiments.index_evaluation.generated_gallery import fresh_shapes, new_source
from experiments.index_evaluation.load_run import Trained
from experiments.index_evaluation.problems import same_captions
from experiments.index_evaluation.rerankers import compressed
from models import AlignmentModel, prepare_shapes
from models.rerank.cached_haf import compact_shapes
from models.rerank.late_interaction import LightHead
from tests.experiments.run_folder.test_run_files import settings

CPU = torch.device("cpu")
POINTS = 256


@pytest.fixture
def trained(
    tmp_path: Path, corpus: Corpus, model: AlignmentModel, monkeypatch: pytest.MonkeyPatch
) -> Trained:
    monkeypatch.setattr(generated_gallery, "PIECE", 8)
    config = settings(data="procedural", model="tiny", **{"data.points": POINTS, "data.seed": 3})
    return Trained(tmp_path, config, corpus, model, {})


def test_they_are_those_of_the_next_seed_and_encoded_as_ever(trained: Trained, tmp_path: Path) -> None:
    found = fresh_shapes(trained, 20, CPU)
    dataset = build(ProceduralSource(20, seed=4), tmp_path / "data", points=POINTS, seed=3, workers=1)
    assert found.captions == dataset.captions
    assert found.hashes == dataset.content_hashes
    every = slice(0, 20)
    shapes = trained.model.encode_shapes(
        prepare_shapes(
            torch.from_numpy(dataset.points(every)),
            torch.from_numpy(dataset.colors(every)),
            torch.from_numpy(dataset.size_m(every)),
            trained.config.model,
        )
    )
    np.testing.assert_allclose(found.vectors(), shapes.embedding.detach().numpy(), atol=1e-5)
    pieces = list(found.pieces())
    assert [len(piece.embedding) for piece in pieces] == [8, 8, 4]
    nodes = torch.cat([piece.nodes for piece in pieces])
    torch.testing.assert_close(nodes, shapes.nodes.detach(), atol=2e-3, rtol=2e-3)

    head = LightHead(trained.config.model.width, trained.model.points.level_sizes)
    light, full = compressed(trained.model, head, found.pieces(), 20, CPU)
    whole = compact_shapes(trained.model.haf, shapes, "int8")
    assert len(light) == len(full) == 20
    assert (full.keys.int() - whole.keys.int()).abs().max() <= 2
    torch.testing.assert_close(full.extent, whole.extent)


def test_what_was_cut_off_or_damaged_is_made_again_and_nothing_else(
    trained: Trained, capfd: pytest.CaptureFixture[str]
) -> None:
    first = fresh_shapes(trained, 20, CPU)
    before, made = first.vectors(), [path.stat().st_mtime_ns for path in first.files]
    first.files[2].unlink()
    content = bytearray(first.files[1].read_bytes())
    content[-99] ^= 4
    first.files[1].write_bytes(content)
    capfd.readouterr()
    again = fresh_shapes(trained, 20, CPU)
    assert again.files == first.files
    assert again.files[0].stat().st_mtime_ns == made[0]
    np.testing.assert_array_equal(again.vectors(), before)
    assert again.captions == first.captions
    assert f"{first.files[1]} is damaged" in capfd.readouterr().err
    left = {path.name for path in again.files[0].parent.iterdir()} - {path.name for path in again.files}
    assert left == {f"{first.files[1].name}.damaged"}


def test_other_weights_are_other_embeddings(trained: Trained) -> None:
    first = fresh_shapes(trained, 4, CPU).files[0].parent
    other = AlignmentModel(trained.config.model, text_width=12).eval()
    trained.model = other
    assert fresh_shapes(trained, 4, CPU).files[0].parent != first


def test_a_library_has_no_new_shapes() -> None:
    with pytest.raises(UserError, match="gallery=new: data=kicad has a fixed stock of shapes"):
        new_source(settings(data="kicad"), 10)


def test_all_shapes_with_the_same_caption_are_right() -> None:
    captions = [["A red chair."], ["a blue chair", "a  red chair"], ["a table"]]
    right = same_captions(["a red chair", "A table", "a red chair"], captions)
    assert [rows.tolist() for rows in right] == [[0, 1], [2], [0, 1]]


def test_more_than_memory_holds_is_refused_before_the_first_is_made() -> None:
    config = settings(data="procedural", model="tiny")
    with pytest.raises(UserError, match=r"size=99999999999999: .* GB for vectors of width 32, and this"):
        new_source(config, 99_999_999_999_999)

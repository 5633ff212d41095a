"""Filters that a trained run judges by: near-duplicates of its embeddings, captions that do not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from align3d.dataset import ShapeDataset
from align3d.decisions import Decision
from align3d.errors import UserError
from align3d.filters import Remaining, decisions_of, make_filter
from align3d.filters.filter_settings import filters_of
from experiments.dataset_filters.near_duplicates import NearDuplicates, nearest
from experiments.dataset_filters.pair_alignment import PairAlignment
from tests.experiments.shape_search.searched_run import Searched

NEAR = "experiments.dataset_filters.near_duplicates:NearDuplicates"
ALIGNED = "experiments.dataset_filters.pair_alignment:PairAlignment"


def test_near_duplicates_are_those_of_which_an_earlier_one_stays(searched: Searched) -> None:
    dataset = ShapeDataset.load(searched.dataset)
    judge = NearDuplicates(searched.run, cosine=0.98, numbers=False)
    vectors = judge.run.embeddings(dataset, torch.arange(len(dataset)), progress=False).numpy()
    cosines = vectors @ vectors.T
    kept: list[int] = []
    expected = []
    for row in range(len(dataset)):
        if any(cosines[row, other] >= 0.98 for other in kept):
            expected.append(dataset.ids[row])
        else:
            kept.append(row)
    made = decisions_of(dataset, [judge], progress=False)
    assert [one.item for one in made] == expected
    assert 0 < len(made) < len(dataset)
    first, cosine = made[0].reason.removeprefix("near duplicate: of ").split(", cosine ")
    places = dataset.ids.index(made[0].item), dataset.ids.index(first)
    assert float(cosine) == pytest.approx(cosines[places], abs=1e-3)
    assert places[1] < places[0]


def test_the_nearest_are_found_by_ers() -> None:
    vectors = np.random.default_rng(0).normal(size=(300, 16)).astype(np.float32)
    vectors[7] = vectors[200]
    ids, cosines = nearest(vectors, 2)
    assert set(ids[7].tolist()) == {7, 200}
    assert cosines[7] == pytest.approx([1, 1], abs=1e-5)


def test_captions_of_other_shapes_are_outliers(searched: Searched) -> None:
    dataset = ShapeDataset.load(searched.dataset)
    judge = make_filter(ALIGNED, run=searched.run, others=29)
    assert isinstance(judge, PairAlignment)
    everything = Remaining.after(dataset, [])
    scores = judge.scores(everything, progress=False)
    assert len(scores) == sum(map(len, everything.captions))
    share = np.array([better / others for better, others in scores.values()])
    assert np.median(share) < 0.1  # the run has learned these captions
    made = decisions_of(dataset, [judge], progress=False)
    assert len(made) == int((share >= 0.5).sum())
    strict = make_filter(ALIGNED, run=searched.run, others=29, beaten=0.01)
    assert len(decisions_of(dataset, [strict], progress=False)) == int((share >= 0.01).sum())
    assert strict.fingerprint() != judge.fingerprint()


def test_both_are_named_on_a_command_line(searched: Searched) -> None:
    words = [f"filters={NEAR},{ALIGNED}", f"filters.near_duplicates.run={searched.run}"]
    made, _ = filters_of([*words, f"filters.alignment.run={searched.run}", "filters.alignment.beaten=0.9"])
    assert [one.name for one in made] == ["near_duplicates", "alignment"]
    with pytest.raises(UserError, match=r"near_duplicates\.run is missing: Folder of a finished run"):
        filters_of([f"filters={NEAR}"])


def test_a_run_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run="):
        NearDuplicates(tmp_path).fingerprint()


def test_only_what_is_left_is_compared(searched: Searched) -> None:
    dataset = ShapeDataset.load(searched.dataset)
    before = [Decision(one, "reject", "reviewed", "reviewer:ada") for one in dataset.ids[1:]]
    assert not decisions_of(dataset, [NearDuplicates(searched.run)], before=before, progress=False)

"""Galleries of the agent's episodes under several shifts: one source each, with the same queries."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from envs import HardNegativeEpisodes, MixedEpisodes
from experiments.data.corpus import Corpus
from experiments.settings.command import check
from experiments.settings.schema import register_sizes
from experiments.training.agent_training import sources, validate
from experiments.training.session import Session

register_sizes()


def session_of(corpus: Corpus, folder: Path, *more: str) -> Session:
    agent = ["imports=[examples.first_legal_agent]", "agent=custom", "agent.name=first_legal"]
    agent.append("env.families=[temperature,stop]")  # so that the first legal action does something
    sizes = ["model=tiny", "train.batch_size=4", "train.group=2", "dap.validation_folds=2", f"cache={folder}"]
    (config,) = check([*agent, *sizes, "eval.candidates=3", *more])
    splits = {"train": torch.arange(4), "reward": torch.arange(4, 12), "test": torch.arange(12, 16)}
    torch.manual_seed(0)
    corpus = dataclasses.replace(corpus, splits=splits)
    session = Session(config, folder / "run", corpus, torch.device("cpu"))
    session.model.eval()
    return session


def queries_of(episodes: HardNegativeEpisodes) -> set[tuple[float, ...]]:
    return {tuple(row.tolist()) for row in episodes.text.embedding}


def test_every_shift_has_the_same_queries_and_shapes_of_its_own(corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    session = session_of(corpus, tmp_path, "env.shift=[clean,unit,jitter:4]")
    (mixture,), folds = sources(session)
    learning = mixture.parts
    assert (len(learning), len(folds)) == (3, 2)
    everything = queries_of(learning[0])
    held_out = [queries_of(fold.validation[0]) for fold in folds]
    assert held_out[0] | held_out[1] == everything
    assert not held_out[0] & held_out[1]
    for fold, own in zip(folds, held_out, strict=True):
        assert fold.policy is not session.policy
        assert fold.learning is not None
        assert queries_of(fold.learning.parts[0]) == everything - own
    for group in (learning, folds[0].learning.parts, folds[1].validation):
        assert len({frozenset(queries_of(one)) for one in group}) == 1
        clean, unit, jitter = (one.shapes.extent for one in group)
        torch.testing.assert_close(unit, clean + torch.full_like(clean, 25.4).log2())
        assert torch.equal(jitter, clean)  # noise changes the points alone
        assert not torch.equal(group[2].shapes.embedding, group[0].shapes.embedding)
    (only,), _ = sources(session_of(corpus, tmp_path))
    assert torch.equal(only.parts[0].shapes.nodes, learning[0].shapes.nodes)
    assert torch.equal(only.parts[0].candidates, learning[0].candidates)


def test_validation_is_over_the_mixture_of_shifts(corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    session = session_of(corpus, tmp_path, "env.shift=[clean,partial:4]")
    _, folds = sources(session)
    together, earned = validate(folds, 4)
    assert len(earned) == sum(len(fold.validation[0]) for fold in folds)
    assert float(earned.mean()) == pytest.approx(together["validation/return"])

    def under(*shifts: int) -> dict[str, float]:
        some = [dataclasses.replace(fold, validation=[fold.validation[i] for i in shifts]) for fold in folds]
        return validate(some, 4)[0]

    apart = [under(0), under(1)]
    assert apart[0]["validation/return"] != apart[1]["validation/return"]
    for name in together.keys() - {"validation/return_error"}:
        mean = (apart[0][name] + apart[1][name]) / 2
        assert together[name] == pytest.approx(mean, abs=1e-6), name
    assert under(0, 0) == pytest.approx(apart[0], abs=1e-6), "a query under two shifts is no second query"


def test_a_batch_has_episodes_of_every_shift(corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    session = session_of(corpus, tmp_path, "env.shift=[clean,unit]")
    (mixture,), _ = sources(session)
    clean, unit = mixture.parts
    assert len(mixture) == len(clean) + len(unit)
    drawn = mixture.sample(40, torch.Generator().manual_seed(0))
    place = torch.randint(len(mixture), (40,), generator=torch.Generator().manual_seed(0))
    own, other = place[place < len(clean)], place[place >= len(clean)] - len(clean)
    assert min(len(own), len(other)) > 10
    expected = torch.cat([clean.take(own).initial.score, unit.take(other).initial.score])
    torch.testing.assert_close(drawn.initial.score, expected)
    alone = MixedEpisodes([unit]).sample(7, torch.Generator().manual_seed(1))
    as_before = unit.sample(7, torch.Generator().manual_seed(1))
    assert torch.equal(alone.initial.score, as_before.initial.score)


def test_parts_that_do_not_fit_together_are_refused(corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    session = session_of(corpus, tmp_path)
    (mixture,), _ = sources(session)
    (narrow,), _ = sources(session_of(corpus, tmp_path, "eval.candidates=2"))
    with pytest.raises(ValueError, match="one decision process"):
        MixedEpisodes([*mixture.parts, *narrow.parts])
    narrow.parts[0].core = mixture.core
    with pytest.raises(ValueError, match=r"equal numbers of candidates, got \[2, 3\]"):
        MixedEpisodes([*mixture.parts, *narrow.parts])
    with pytest.raises(ValueError, match="one source or more"):
        MixedEpisodes([])

"""Findings of the controls where known pairs are all that helps, and where they are wrong."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from experiments.console.process import generator
from experiments.data.corpus import Corpus
from experiments.data.encoding import embed_shapes
from experiments.memory_controls.altered_banks import with_wrong_pairs
from experiments.memory_controls.bank_controls import by_caption, by_size, by_wrong_pairs
from experiments.memory_controls.control_options import Settings, parse
from experiments.memory_controls.control_tables import control_table, strengths_words, summarize
from experiments.memory_controls.examined_run import ROWS, Case, Examined, examine
from experiments.memory_controls.intervals import over_draws, over_runs_and_queries
from experiments.memory_controls.query_controls import by_popularity, sinkhorn, transductive, zipf
from experiments.memory_controls.query_costs import costs, rankings
from models import AlignmentModel
from tests.experiments.memory_controls.known_world import CPU, SIZES, world
from tests.experiments.run_folder.test_run_files import settings

__all__ = ["world"]


def asked(*more: str) -> Settings:
    return parse(["run=here", "resamples=200", *more])


def found(case: Case, row: str, direction: str = "text_to_shape") -> float:
    return float(case.values[direction][row].mean())


def test_more_pairs_help_more_and_few_rest(world: Examined) -> None:
    cases = by_size(world, asked("sizes=5,100,900"))
    names = ["5 pairs", "100 pairs", "all 300 pairs"]
    assert [case.name for case in cases] == [*names, *(f"{name}, strengths 1" for name in names)]
    few, some, whole = cases[:3]
    assert found(few, "KNN") == found(whole, "KNN") < 0.2
    assert found(whole, "KNN + memory") > found(some, "KNN + memory") > found(few, "KNN + memory")
    assert found(whole, "KNN + memory") > 0.5
    assert found(whole, "HAF + memory") > found(whole, "HAF") + 0.2
    for direction in ("text_to_shape", "shape_to_text"):
        for row in ROWS:
            np.testing.assert_array_equal(whole.values[direction][row], world.whole.values[direction][row])


def test_wrong_pairs_help_less_and_not_at_all_where_all_are_wrong(world: Examined) -> None:
    cases = {case.name: case for case in by_wrong_pairs(world, asked("wrong=1,0.3"))}
    assert list(cases) == [
        "no pair wrong",
        "30% wrong",
        "30% wrong, strengths for right pairs",
        "100% wrong",
        "100% wrong, strengths for right pairs",
    ]
    gains = {name: found(case, "KNN + memory") - found(case, "KNN") for name, case in cases.items()}
    right = gains["no pair wrong"]
    assert right > 0.4
    assert 0.1 < gains["30% wrong"] < right
    assert gains["100% wrong"] < 0.1
    assert gains["100% wrong, strengths for right pairs"] < 0.05


def test_hubness_is_that_of_the_same_texts_and_shapes(world: Examined) -> None:
    """A bank of wrong pairs would make the hubness that `by_wrong_pairs` takes over from the right ones."""
    bank = with_wrong_pairs(world.bank, 0.5, generator(world.config.seed, "memory", "wrong"))
    plainly = world.measured("50% wrong", world.remembering(bank))
    quickly = by_wrong_pairs(world, asked("wrong=0.5"))[1]
    assert quickly.strengths == plainly.strengths
    for direction, rows in plainly.values.items():
        for row, values in rows.items():
            np.testing.assert_array_equal(quickly.values[direction][row], values)


def test_test_queries_choose_no_strengths(world: Examined) -> None:
    """With other labels of the test split the strengths are the same; with others of the reward split not."""
    turned = {
        name: dataclasses.replace(one, positives=one.positives.roll(1, dims=1))
        for name, one in world.test.plain.items()
    }
    test = dataclasses.replace(world.test, plain=turned)
    relabeled = dataclasses.replace(world, test=test)
    assert relabeled.whole.strengths == world.whole.strengths
    assert found(relabeled.whole, "KNN + memory") < found(world.whole, "KNN + memory")
    turned = {
        name: dataclasses.replace(one, positives=one.positives.roll(1, dims=1))
        for name, one in world.reward.plain.items()
    }
    reward = dataclasses.replace(world.reward, plain=turned)
    assert dataclasses.replace(world, reward=reward).whole.strengths != world.whole.strengths


def test_the_bank_is_of_the_train_split_alone(model: AlignmentModel, corpus: Corpus) -> None:
    every = torch.arange(len(corpus.dataset))
    splits = {"train": every[:8], "reward": every[8:12], "test": every[12:]}
    config = settings(data="procedural", model="tiny")
    examined = examine(model, config, dataclasses.replace(corpus, splits=splits), CPU)
    train = embed_shapes(model, corpus, splits["train"], CPU).embedding
    torch.testing.assert_close(examined.bank.memory.shape, train)
    for one, name in ((examined.reward, "reward"), (examined.test, "test")):
        assert torch.equal(one.indices, splits[name])
        assert float(torch.cdist(one.gallery.shapes.embedding, train).min()) > 0


def test_captions_in_the_bank_are_apart_from_the_others(world: Examined) -> None:
    texts_of = world.corpus.texts_of.clone()
    texts_of[world.test.indices[:7], 0] = torch.arange(7)  # captions of the train split
    some = dataclasses.replace(world, corpus=dataclasses.replace(world.corpus, texts_of=texts_of))
    held, others = by_caption(some, asked())
    assert (held.name, others.name) == ("caption in the bank", "caption not in the bank")
    for direction, rows in some.whole.values.items():
        for row, values in rows.items():
            np.testing.assert_array_equal(held.values[direction][row], values[:7])
            np.testing.assert_array_equal(others.values[direction][row], values[7:])


def test_a_group_without_queries_has_no_row(world: Examined) -> None:
    held, others = summarize([by_caption(world, asked())], 50, 0)
    assert held["rows"] == {}
    assert held["queries"] == {"text_to_shape": 0, "shape_to_text": 0}
    assert set(others["rows"]) == {"text_to_shape", "shape_to_text"}


def test_a_popular_shape_weighs_more(world: Examined) -> None:
    np.testing.assert_allclose(zipf(3, 1.0), np.array([6, 3, 2]) / 11)
    once, skewed = by_popularity(world, asked("orders=400"))
    assert skewed.spread
    assert len(skewed.values["text_to_shape"]["KNN"]) == 400
    for direction in once.values:
        values = {row: skewed.values[direction][row] for row in ROWS}
        assert values["KNN + memory"].mean() == pytest.approx(
            once.values[direction]["KNN + memory"].mean(), abs=0.05
        )
        assert values["KNN + memory"].std() > 0.05
    (flat,) = by_popularity(world, asked("orders=2", "exponent=0"))[1:]
    assert flat.values["text_to_shape"]["HAF"] == pytest.approx([found(once, "HAF")] * 2)


def test_normalization_over_queries_leaves_each_answer_one_unit() -> None:
    scores = torch.randn(6, 5, generator=torch.Generator().manual_seed(1))
    scores[0, 1:], scores[:, 4] = -torch.inf, -torch.inf
    once = sinkhorn(scores, 2.0, 1)
    torch.testing.assert_close(once[:, :4], (2 * scores)[:, :4].log_softmax(0))
    assert bool((once[:, 4] == -torch.inf).all())
    often = sinkhorn(scores, 2.0, 50).exp()
    torch.testing.assert_close(often.sum(0)[:4], torch.ones(4))
    square = sinkhorn(torch.randn(5, 5, generator=torch.Generator().manual_seed(2)), 1.0, 100).exp()
    torch.testing.assert_close(square.sum(1), torch.ones(5))


def test_transductive_figures_have_no_known_pair(world: Examined) -> None:
    memory, hubness, inverted, sinkhorned = transductive(world, asked())
    assert memory.values is world.whole.values
    assert hubness.strengths is not None
    assert all(own.recall == 0 for own in hubness.strengths.values())
    assert inverted.strengths is sinkhorned.strengths is None
    for case in (hubness, inverted, sinkhorned):
        assert found(case, "KNN") == found(world.whole, "KNN")


def test_what_is_timed_ranks_as_what_is_measured(world: Examined) -> None:
    gallery, count = world.galleries[1], SIZES["test"]
    texts = torch.arange(count)
    with torch.no_grad():
        made = {row: ask(texts) for row, ask in rankings(world.model, gallery, count).items()}
    (whole,) = [case for case in by_size(world, asked("sizes=300")) if case.name.endswith("strengths 1")]
    for row, first in made.items():
        hit = (first[:, 0] == texts).numpy()
        assert (hit != whole.values["text_to_shape"][row].astype(bool)).mean() < 0.05  # near ties aside
    assert set(made) == set(ROWS)


def test_costs_are_of_every_ranking_and_count_every_byte(world: Examined, model: AlignmentModel) -> None:
    small = dataclasses.replace(world, corpus=_encodable(world))
    spent = costs(small, asked("queries=3"))
    width = model.config.embedding
    assert spent["bytes a shape, embedding"] == 4 * width
    assert spent["bytes a shape, added by the memory"] == 4 * width + 8
    assert spent["bytes a known pair, to search"] == 16 + 4 * 4 * width  # a text and a shape for each pair
    assert all(value > 0 for value in spent.values())
    for row in ROWS:
        assert {f"ms a query, {row}, {size} at a time" for size in (1, 32)} <= set(spent)


def _encodable(world: Examined) -> Corpus:
    """The corpus with a train split of shapes that are there, to time their encoding."""
    few = torch.arange(4)
    texts_of = few.unsqueeze(1)
    return dataclasses.replace(world.corpus, texts_of=texts_of, splits={"train": few})


def test_intervals_are_over_runs_and_queries() -> None:
    draws = np.random.default_rng(0)
    values = (draws.random((5, 400)) < np.linspace(0.3, 0.5, 5)[:, None]).astype(float)
    own = over_runs_and_queries(values, np.random.default_rng(1), 2_000)
    assert own.value == pytest.approx(values.mean())
    assert own.low is not None
    assert own.high is not None
    one = over_runs_and_queries(values[2:3], np.random.default_rng(1), 2_000)
    assert one.high is not None
    assert one.low is not None
    error = values[2].std() / 20
    assert (one.high - one.low) / 2 == pytest.approx(1.96 * error, rel=0.1)
    spread = values.mean(1).std() / 5**0.5  # of runs alone, which is wider than that of queries in five
    assert (own.high - own.low) / 2 > 1.5 * spread
    equal = over_runs_and_queries(np.repeat(values[:1], 5, 0), np.random.default_rng(1), 2_000)
    assert equal.high is not None
    assert equal.low is not None
    error = values[0].std() / 20  # the same queries in all runs are no more queries
    assert (equal.high - equal.low) / 2 == pytest.approx(1.96 * error, rel=0.1)
    drawn = over_draws(np.arange(101.0).reshape(1, 101))
    assert (drawn.low, drawn.value, drawn.high) == pytest.approx((2.5, 50, 97.5))


def test_runs_are_summed_up_together(world: Examined) -> None:
    whole = world.whole
    worse = {
        key: {row: np.zeros_like(values) for row, values in rows.items()}
        for key, rows in whole.values.items()
    }
    (content,) = summarize([[whole], [dataclasses.replace(whole, values=worse)]], 200, 0)
    one = content["rows"]["text_to_shape"]["KNN + memory"]
    assert one["by_run"] == [found(whole, "KNN + memory"), 0.0]
    assert one["recall@1"] == pytest.approx(found(whole, "KNN + memory") / 2)
    gain = found(whole, "KNN + memory") - found(whole, "KNN")
    assert one["gain"]["value"] == pytest.approx(gain / 2)
    assert one["gain"]["low"] < gain / 2 < one["gain"]["high"]
    table = control_table("size", [content])
    assert table.row_count == 2
    strengths = [{"search": {"x": {"recall": 1.0, "hubness": 0.5}}}]
    rests = [{"search": {"x": {"recall": 0.0, "hubness": 0.0}}}]
    assert strengths_words(strengths, "search", "x") == "1 / 0.5"
    assert strengths_words(strengths + rests, "search", "x") == "0.5 / 0.25 (rests in 1)"
    assert strengths_words(rests, "search", "x") == "rests"
    assert strengths_words([], "search", "x") == "–"

"""Calibrations that are watched: what is told of a search, whose session is whose, what is refused."""

from __future__ import annotations

import json
import shutil
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from agents.mcts.agent import MctsAgent
from align3d.errors import UserError
from durable.checksums import write_json
from experiments.console.process import generator
from experiments.demo_views.calibration_sessions import (
    BusyError,
    CalibrationSessions,
    UnknownSessionError,
)
from experiments.demo_views.search_record import SearchRecord
from experiments.demo_views.watched_calibration import WatchedCalibration, Wish, choices
from experiments.demo_views.watched_core import WatchedCore
from experiments.search import Searcher
from experiments.shape_search.query_calibration import env_config
from tests.experiments.shape_search.searched_run import Searched

BUDGET = 24


@pytest.fixture(scope="module")
def searcher(searched: Searched) -> Searcher:
    return Searcher(searched.run)


@pytest.fixture(scope="module")
def hard(searcher: Searcher) -> Wish:
    """A query whose answer is not first before any calibration."""
    for row in range(len(searcher)):
        for words in ("red", "a thing", "gray"):
            wish = Wish(words, "mcts", BUDGET, row)
            watched = WatchedCalibration(searcher, wish)
            if int(watched.episode.positives[0].int().argmax()) >= 3:
                return wish
    raise AssertionError("HAF finds everything")


def told(watched: WatchedCalibration) -> dict[str, Any]:
    return json.loads(json.dumps(watched.record.since(0, 0)))


def finished(sessions: CalibrationSessions, name: str) -> dict[str, Any]:
    for _ in range(3000):
        found = sessions.progress(name)
        if found["state"] not in ("waiting", "running"):
            return found
        time.sleep(0.01)
    raise AssertionError("the search does not end")


def test_a_tree_search_is_told_of_as_it_grew(searcher: Searcher, hard: Wish) -> None:
    watched = WatchedCalibration(searcher, hard)
    trees = []
    follow = watched.record.follow
    watched.record.follow = lambda tree: (trees.append(tree), follow(tree))[1]  # type: ignore[method-assign]
    watched.run()
    found, tree = told(watched), trees[0]
    nodes, start = found["nodes"], watched.start()
    assert len(nodes) == int(tree.used[0]) >= 3
    assert [node["parent"] for node in nodes] == tree.parent[0, : len(nodes)].tolist()
    figures = {}
    for frame in found["frames"]:
        for node, visits, mean, best in frame["changed"]:
            assert visits >= figures.get(node, (0,))[0]
            figures[node] = visits, mean, best
    for node in range(1, len(nodes)):
        edge = 0, nodes[node]["parent"], nodes[node]["action"]
        assert figures[node][0] == int(tree.visits[edge])
        above = nodes[nodes[node]["parent"]]["gain"]
        assert figures[node][1] == pytest.approx(above + float(tree.q_values[edge]), abs=2e-4)
    assert figures[0][0] == sum(frame["node"] is not None for frame in found["frames"])
    weights = [term["weight"] for term in start["terms"]]
    for node in nodes:
        assert node["gain"] == pytest.approx(
            sum(w * t for w, t in zip(weights, node["terms"], strict=True)), abs=1e-3
        )
    plain = MctsAgent(BUDGET, guide=False, seed=0)
    core = WatchedCore(searcher.model.haf, env_config(searcher.library.header), _deaf, threading.Event())
    result = plain.plan(core, watched.episode, generator(0, "demo"))
    assert nodes[found["moves"][-1]]["gain"] == pytest.approx(float(result.return_[0]), abs=1e-3)


def _deaf(*_: Any) -> None: ...


def test_ranks_change_as_the_scores_say(searcher: Searcher, hard: Wish) -> None:
    watched = WatchedCalibration(searcher, hard)
    start = watched.start()
    assert start["positives"][0] >= 3
    rows = [one["row"] for one in start["candidates"]]
    assert hard.label in rows
    plain = Searcher.consider(searcher, hard.query, [hard.label])
    scores = searcher.model.haf.fuse(plain.attention).score[0]
    by_row = dict(zip(plain.rows.tolist(), scores.tolist(), strict=True))
    first = told(watched)["nodes"][0]["scores"]
    assert first == pytest.approx([by_row[row] for row in rows], abs=2e-3)
    assert first == sorted(first, reverse=True)


@pytest.mark.parametrize("agent", ["greedy", "random_search", "random"])
def test_tries_of_other_agents_are_counted_as_simulations(searcher: Searcher, hard: Wish, agent: str) -> None:
    watched = WatchedCalibration(searcher, Wish(hard.query, agent, BUDGET, hard.label))
    watched.run()
    found = told(watched)
    nodes, frames, moves = found["nodes"], found["frames"], found["moves"]
    assert 1 <= len(frames) <= BUDGET
    assert all(node["parent"] < number for number, node in enumerate(nodes))
    last = {node: visits for frame in frames for node, visits, _, _ in frame["changed"]}
    assert last[0] == len(frames)
    assert moves[0] == 0
    assert all(nodes[below]["parent"] == above for above, below in pairwise(moves))
    best = max(best for frame in frames for _, _, _, best in frame["changed"])
    if agent == "random_search":
        assert nodes[moves[-1]]["gain"] == pytest.approx(max(best, 0.0), abs=1e-3)


def test_a_greedy_move_is_the_best_of_its_tries(searcher: Searcher, hard: Wish) -> None:
    watched = WatchedCalibration(searcher, Wish(hard.query, "greedy", 200, hard.label))
    watched.run()
    found = told(watched)
    gains = [node["gain"] for node in found["nodes"] if node["parent"] == 0]
    decided = found["nodes"][found["moves"][1]]["gain"] if len(found["moves"]) > 1 else 0.0
    assert decided == pytest.approx(max(0.0, *gains), abs=1e-3)


def test_strengths_for_all_queries_are_one_step(searched: Searched) -> None:
    searcher = Searcher(searched.run)
    searcher.fixed = (1.5, 0.5)
    assert "fixed" in [choice.name for choice in choices(searcher)]
    watched = WatchedCalibration(searcher, Wish("a red ring", "fixed"))
    watched.run()
    found = told(watched)
    assert found["moves"] == [0, 1]
    attention = watched.episode.attention
    expected = searcher.model.haf.fuse(attention).score + 1.5 * attention.recall - 0.5 * attention.hubness
    assert found["nodes"][1]["scores"] == pytest.approx(expected[0].tolist(), abs=2e-3)


@pytest.mark.parametrize("label", [None, 7])
def test_the_runs_agent_acts_as_it_does_in_a_search(
    searched: Searched, tmp_path: Path, label: int | None
) -> None:
    run = tmp_path / "run"
    shutil.copytree(searched.run, run)
    results = json.loads((run / "results.json").read_text())
    results["agent"]["acts"] = True
    write_json(run / "results.json", results)
    searcher = Searcher(run)
    assert choices(searcher)[0].name == "run"
    watched = WatchedCalibration(searcher, Wish("a red ring", "run", label=label))
    watched.run()
    found, start = told(watched), watched.start()
    last = found["nodes"][found["moves"][-1]]
    scores = dict(zip([one["row"] for one in start["candidates"]], last["scores"], strict=True))
    answers = {one.row: one.score for one in searcher.search("a red ring", 60)}
    both = scores.keys() & answers.keys()
    assert len(both) >= 15
    assert [scores[row] for row in both] == pytest.approx([answers[row] for row in both], abs=2e-3)
    assert start["labeled"] is (label is not None)
    guided = WatchedCalibration(searcher, Wish("a red ring", "mcts", BUDGET, 7))
    guided.run()
    assert "guides this search" in guided.start()["notes"][-1]
    assert guided.record.moves is not None
    assert searcher.agent is not None
    assert searcher.agent.watcher is None  # type: ignore[attr-defined]  # the visitors' copies are watched


def test_actions_speak_of_the_querys_own_words(searcher: Searcher) -> None:
    watched = WatchedCalibration(searcher, Wish("a red ring", "random"))
    start = watched.start()
    assert start["words"] == ["a", "red", "ring"]
    assert start["groups"][:3] == ["a", "red", "ring"]
    assert start["actions"][0] == "stop"
    assert "trust known pairs more" in start["actions"]
    assert len(start["actions"]) == watched.core.actions == len(set(start["actions"]))


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"agent": "mcts"}, "say which shape is meant"),
        ({"agent": "ppo"}, "agent=ppo: expected one of "),
        ({"agent": "random", "query": " "}, "type some words"),
        ({"agent": "random", "query": "x" * 501}, "501 characters: at most 500"),
        ({"agent": "random", "budget": 10_000}, "budget=10000: expected a whole number from 0 to 512"),
        ({"agent": "random", "budget": True}, "budget=True: expected a whole number"),
        ({"agent": "greedy", "label": 60}, "label=60: expected 0 to 59"),
        ({"agent": "greedy", "label": "3"}, "label=3: expected the number of a shape"),
        ({"agent": "random", "query": "!?"}, "no word or number"),
    ],
)
def test_what_cannot_be_watched_is_refused(searcher: Searcher, wish: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said.replace("?", r"\?")):
        WatchedCalibration(searcher, Wish(**{"query": "a red ring", **wish}))


def test_a_shape_that_the_index_does_not_find_stands_in_for_the_last(searched: Searched) -> None:
    searcher = Searcher(searched.run, candidates=4)
    found = {one.row for one in searcher.search("a red ring", 8)}
    other = next(row for row in range(60) if row not in found)
    watched = WatchedCalibration(searcher, Wish("a red ring", "greedy", 4, other))
    start = watched.start()
    assert len(start["candidates"]) == 4
    assert [one["row"] for one in start["candidates"]].count(other) == 1
    assert "stands in for the last" in " ".join(start["notes"])


def test_two_visitors_do_not_see_each_others_calibration(searcher: Searcher, hard: Wish) -> None:
    alone = WatchedCalibration(searcher, hard)
    alone.run()
    sessions = CalibrationSessions(searcher, workers=2)
    try:
        ada = sessions.start(hard)
        bob = sessions.start(Wish("a blue disc", "random_search", BUDGET, 5, seed=3))
        assert ada["session"] != bob["session"]
        found, other = finished(sessions, ada["session"]), finished(sessions, bob["session"])
        assert found["state"] == other["state"] == "done"
        assert {key: found[key] for key in ("nodes", "moves")} == {
            key: value for key, value in told(alone).items() if key != "frames"
        }
        assert bob["query"] == "a blue disc"
        assert len(found["nodes"][0]["scores"]) == len(ada["candidates"])
        assert other["nodes"] != found["nodes"]
        kept = sessions._sessions[ada["session"]][0].calibration
        assert not hasattr(kept, "episode")  # what is over takes little room
        sessions.cancel(bob["session"])
        sessions.end(bob["session"])
        assert sessions.progress(ada["session"])["state"] == "done"
        with pytest.raises(UnknownSessionError, match="over and forgotten"):
            sessions.progress(bob["session"])
        with pytest.raises(UnknownSessionError):
            sessions.progress("guessed")
    finally:
        sessions.close()


def test_a_search_that_is_broken_off_keeps_what_it_found(
    searcher: Searcher, hard: Wish, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard, reached = SearchRecord.heard, threading.Event()

    def slowly(record: SearchRecord, *transition: Any) -> None:
        heard(record, *transition)
        reached.set()
        time.sleep(0.02)

    monkeypatch.setattr(SearchRecord, "heard", slowly)
    sessions = CalibrationSessions(searcher, workers=1, waiting=1)
    try:
        first = sessions.start(Wish(hard.query, "random_search", 512, hard.label))["session"]
        second = sessions.start(hard)["session"]
        with pytest.raises(BusyError, match="2 calibrations are under way"):
            sessions.start(hard)
        assert reached.wait(10)
        assert sessions.progress(second)["state"] == "waiting"
        sessions.cancel(second)
        assert finished(sessions, second)["state"] == "cancelled"
        sessions.cancel(first)
        found = finished(sessions, first)
        assert found["state"] == "cancelled"
        assert 1 <= len(found["frames"]) < 512
        assert found["moves"] is None
        assert len(sessions.progress(first, len(found["nodes"]), len(found["frames"]))["nodes"]) == 0
    finally:
        sessions.close()


def test_sessions_end_when_idle_and_are_bounded(searcher: Searcher) -> None:
    now = [0.0]
    sessions = CalibrationSessions(searcher, most=3, idle_seconds=60, clock=lambda: now[0])
    try:
        names = []
        for _ in range(3):
            names.append(sessions.start(Wish("a red ring", "random"))["session"])
            finished(sessions, names[-1])
            now[0] += 1
        sessions.progress(names[0])  # the oldest is asked for, so the second one is the one to go
        names.append(sessions.start(Wish("a red ring", "random"))["session"])
        assert len(sessions) == 3
        with pytest.raises(UnknownSessionError):
            sessions.progress(names[1])
        with pytest.raises(UserError):
            sessions.start(Wish("a red ring", "mcts"), instead_of=names[3])
        assert finished(sessions, names[3])["moves"]  # a wish that is refused ends nothing
        replaced = sessions.start(Wish("a red ring", "random"), instead_of=names[3])["session"]
        assert len(sessions) == 3
        finished(sessions, replaced)
        now[0] += 61
        with pytest.raises(UnknownSessionError):
            sessions.progress(replaced)
        assert len(sessions) == 0
    finally:
        sessions.close()


def test_a_fault_ends_one_session_alone(searcher: Searcher, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("a bug")

    sessions = CalibrationSessions(searcher)
    try:
        with monkeypatch.context() as patched:
            patched.setattr(WatchedCalibration, "run", broken)
            found = finished(sessions, sessions.start(Wish("a red ring", "random"))["session"])
        assert found["state"] == "failed"
        assert found["message"] == "the calibration broke off by a fault of the program"
        assert "a bug" in capsys.readouterr().err
        assert finished(sessions, sessions.start(Wish("a red ring", "random"))["session"])["state"] == "done"
    finally:
        sessions.close()


def test_watching_changes_nothing_about_the_process(searcher: Searcher, hard: Wish) -> None:
    heard: list[int] = []
    core = WatchedCore(
        searcher.model.haf,
        env_config(searcher.library.header),
        lambda _, action, __: heard.append(action),
        threading.Event(),
    )
    considered = searcher.consider(hard.query)
    episode = core.episode(considered.attention)
    state = core.initial(episode)
    action = torch.tensor([int(core.mask(episode, state)[0].nonzero()[-1])])
    following = core.transition(episode, state, action)
    direct = core.state_under(episode, following.calibration)
    assert torch.allclose(direct.evaluation.score, following.evaluation.score, atol=1e-4)
    assert torch.allclose(direct.potentials, following.potentials, atol=1e-4)
    core.transition(episode, state, torch.tensor([core.stop]))
    assert heard == [int(action)]

"""The command that evaluates retrieval: what it measures, what it writes, and what a mistake looks like."""

from __future__ import annotations

import dataclasses
import json
import sys

import numpy as np
import pytest
import torch

from experiments import retrieval as command
from experiments.index_evaluation.distill_light import Lessons, fit
from experiments.index_evaluation.load_run import read_config
from experiments.index_evaluation.measure import (
    Problem,
    bootstrap,
    choose,
    engines_of,
    for_candidates,
    measure,
)
from experiments.index_evaluation.options import Settings, parse
from experiments.settings.named_again import NAMED
from models import PointHierarchy, TextEmbedding
from models.rerank.late_interaction import LightHead
from retrieval.benchmark.curves import Point, Speed
from retrieval.engines import ENGINES, make_index

FAST = ["rounds=1", "singles=3", "resamples=100", "engines=flat,ivf"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run=/nowhere"], "run=/nowhere: no config.yaml there"),
        (["rnu=/nowhere"], "did you mean run?"),
        (["size=1000"], "give one of run=FOLDER"),
        (["run=/nowhere", "mixture=easier"], "give one of run=FOLDER"),
        (["mixture=easyer"], "mixture=easyer: expected 'easier' or 'harder'"),
        (["mixture=easier", "size=0"], "size=0"),
        (["mixture=easier", "size=50", "queries=51"], "queries=51 of 50"),
        (["mixture=easier", "keep=3"], "belongs to run"),
        (["run=/nowhere", "dim=3"], "belongs to mixture"),
        (["run=/nowhere", "size=300"], "belongs to mixture=… or gallery=new"),
        (["run=/nowhere", "gallery=new", "dim=3"], "belongs to mixture"),
        (["run=/nowhere", "gallery=new", "size=500"], "queries=1000 of 500"),
        (["mixture=easier", "engines=hsnw"], "did you mean hnsw?"),
        (["mixture=easier", "engines=hsnw:M=8"], "engines=hsnw:M=8: no such engine; did you mean hnsw?"),
        (["mixture=easier", "engines=ivf:nlist"], "engines=ivf:nlist: 'nlist': expected setting=value"),
        (["mixture=easier", "engines=ivf:nprobe=1:nprobe=2"], "nprobe is given twice"),
        (["mixture=easier", "engines=ivf:threads=2"], "same threads; write threads=2 apart"),
        (["mixture=easier", "engines=ivf:cells=2"], "engines=ivf:cells=2: cells: ivf has no such setting"),
        (
            ["mixture=easier", "engines=ivf:codes=sq4"],
            "engines=ivf:codes=sq4: codes=sq4: expected flat or sq8",
        ),
        (["mixture=easier", "engines=ers:backend=gpu"], "engines=ers:backend=gpu: "),
        (["mixture=easier", "backend=torch"], "backend=torch: expected 'auto', 'faiss' or 'numba'"),
        (["run=/nowhere", "candidates=5"], "candidates=5: expected at least k=10"),
        (["mixture"], "expected key=value"),
        (["mixture=easier", "dim=1"], "dim=1: expected greater than or equal to 2"),
        (["mixture=easier", "size=99999999999999"], "size=99999999999999: 204,800,"),
        (["mixture=easier", "dim=999999999"], "GB for vectors of width 999999999"),
        (["mixture=easier", "threads=1000000"], "threads=1000000: this process may use"),
        (["mixture=easier", "engines="], "engines=: expected at least one value"),
        (["mixture=easier", "size=[]"], "size=[]: expected at least one value"),
        (["run="], "run=: expected a value"),
        (["mixture=easier", "recall=nan"], "recall=nan: expected a finite number"),
        (["mixture=easier", "out=/proc/x"], "out=/proc/x: cannot be written to (No such file"),
        (["mixture=easier", f"out={__file__}"], "a file is there; expected a folder"),
        (["mixture=easier", f"out={__file__}/x"], "cannot be written to (Not a directory)"),
    ],
)
def test_a_mistake_is_one_line(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert command.main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert shown.err.startswith("error: ")
    assert words in shown.err


def test_a_folder_that_is_no_finished_run_is_named(tmp_path, capsys):
    (tmp_path / "run").mkdir()
    assert command.main([f"run={tmp_path / 'run'}"]) == 2
    assert "no config.yaml there" in capsys.readouterr().err
    (tmp_path / "run" / "config.yaml").write_text("seed: 0\n")
    assert command.main([f"run={tmp_path / 'run'}"]) == 2
    assert "not finished" in capsys.readouterr().err


def test_a_mixture_is_measured_shown_and_written(tmp_path, capsys):
    out = tmp_path / "deep" / "out"
    arguments = ["mixture=easier", "size=600,1200", "dim=16", "queries=40", f"out={out}", *FAST]
    assert command.main(arguments) == 0
    shown = capsys.readouterr().out
    for word in ("exact KNN (flat)", "ivf", "NDCG@5", "overlap", "resident MB", "p99 ms"):
        assert word in shown
    content = json.loads((out / "retrieval.json").read_text())
    assert list(content["problems"]) == ["easier 600 × 16", "easier 1,200 × 16"]
    for problem in content["problems"].values():
        assert (out / problem["plot"]).read_bytes().startswith(b"\x89PNG")
        flat = problem["engines"]["flat"]
        assert flat["chosen"]["recall"] == 1
        assert flat["chosen"]["speed"]["batched"] > 0
        assert set(flat["chosen"]["quality"]) == {"recall@1", "recall@5", "recall@10", "mrr@10", "ndcg@5"}
        assert flat["reranked"] == {}
    assert (out / "size.png").exists()


def test_a_reranker_that_knows_beats_exact_search_and_its_interval_says_so():
    draw = np.random.default_rng(0)
    vectors = draw.standard_normal((200, 8)).astype(np.float32)
    queries = (vectors[:60] + 2 * draw.standard_normal((60, 8))).astype(np.float32)
    rows = np.arange(60)
    asked: list[np.ndarray] = []

    def knows(query_rows: np.ndarray, ids: np.ndarray) -> np.ndarray:
        asked.append(ids)
        return (ids == query_rows[:, None]).astype(np.float32)

    problem = Problem("here", vectors, queries, list(rows[:, None]), rows, {"light": knows})
    settings = dataclasses.replace(parse(["mixture=easier", *FAST]), candidates=50)
    found = measure(problem, settings)
    for measured in found.values():
        ranking = measured.reranked["light"]
        there = (asked[-1] == rows[:, None]).any(1).mean()
        assert ranking.quality["recall@1"] == pytest.approx(there, abs=0.2)
        mean, low, high = ranking.gain
        assert 0 < low < mean < high
        exact = found["flat"].chosen.quality["recall@1"]
        assert ranking.quality["recall@1"] - exact == pytest.approx(mean)


def test_candidates_are_found_by_the_fastest_setting_that_finds_enough_of_them():
    vectors = np.random.default_rng(0).standard_normal((400, 8)).astype(np.float32)
    queries = vectors[:30] + 0.1
    engine, exact = make_index("ivf", codes="flat", nlist=16), make_index("flat")
    for index in (engine, exact):
        index.build(vectors, np.arange(400))
    wanted, _ = exact.search(queries, 10)
    points = [Point({"nprobe": probes}, 0.0, {}, Speed(1 / probes, 1, 1, 1)) for probes in (16, 1, 2, 4, 8)]
    found = for_candidates(engine, queries, wanted, points, 0.9)
    enough = []
    for engine.nprobe in (1, 2, 4, 8, 16):
        near, _ = engine.search(queries, 10)
        enough.append(
            np.mean([np.isin(one, other).mean() for one, other in zip(wanted, near, strict=True)]) >= 0.9
        )
    assert not enough[0]
    assert found.search_params["nprobe"] == (1, 2, 4, 8, 16)[enough.index(True)]
    assert found.overlap == pytest.approx(
        np.mean([np.isin(one, other).mean() for one, other in zip(wanted, found.ids, strict=True)])
    )
    few = for_candidates(engine, queries, wanted, points[1:3], 0.9)
    assert few.search_params == {"nprobe": 2}
    assert few.overlap < 0.9


def test_the_interval_is_that_of_the_mean():
    difference = np.random.default_rng(0).choice([-1.0, 0.0, 1.0], 900, p=[0.1, 0.7, 0.2])
    mean, low, high = bootstrap(difference, 4000, 0)
    error = 1.96 * difference.std() / 30
    assert mean == difference.mean()
    assert (low, high) == (pytest.approx(mean - error, abs=0.004), pytest.approx(mean + error, abs=0.004))
    assert bootstrap(difference, 4000, 0) == (mean, low, high)


def point(recall: float, rate: float) -> Point:
    return Point({}, recall, {}, Speed(rate, rate, 1 / rate, 1 / rate))


def test_the_fastest_that_is_good_enough_is_chosen():
    points = [point(0.9, 100), point(0.96, 30), point(0.95, 50), point(1.0, 1)]
    assert choose(points, 0.95) == points[2]
    assert choose(points[:1], 0.95) == points[0]


def test_settings_have_the_types_that_they_say():
    settings = parse(["run=a", "engines=[flat,ers]", "rerank=light", "recall=0.9"])
    assert (settings.engines, settings.rerank, settings.recall) == (("flat", "ers"), ("light",), 0.9)
    assert parse(["mixture=harder", "size=10,20", "queries=5"]).size == (10, 20)
    shown = command.usage()
    typed = {field.name for field in dataclasses.fields(Settings)} - {NAMED}
    assert not [name for name in typed if f"  {name}=" not in shown]


def test_a_run_that_is_older_than_a_setting_has_todays_default(tmp_path):
    from omegaconf import OmegaConf

    from experiments.settings.command import CONF

    plain = OmegaConf.load(CONF / "config.yaml")
    for key in ("defaults", "hydra"):
        plain.pop(key)
    plain.train.pop("reuse")
    plain.train.epochs = 3
    plain.data = {**OmegaConf.load(CONF / "data" / "procedural.yaml")}
    plain.data.pop("train", None)
    plain.model = {"name": "tiny"}
    plain.agent = {"name": "long gone", "budget": 3}
    path = tmp_path / "config.yaml"
    OmegaConf.save(plain, path)
    config = read_config(path)
    assert (config.train.reuse, config.train.epochs) == (True, 3)


def test_the_light_reranker_learns_what_haf_says():
    torch.manual_seed(0)
    nodes, width, shapes, texts = 10, 16, 40, 32
    gallery = PointHierarchy(
        nodes=torch.randn(shapes, nodes, width),
        centers=torch.zeros(shapes, nodes, 3),
        region=torch.zeros(shapes, nodes, dtype=torch.int64),
        extent=torch.zeros(shapes, 3),
        spectrum=torch.zeros(shapes, 3, 2, 64),
        embedding=torch.zeros(shapes, 4),
    )
    text = TextEmbedding(
        tokens=torch.randn(texts, 5, width),
        mask=torch.ones(texts, 5, dtype=torch.bool),
        quantities=torch.full((texts, 5, 2), torch.nan),
        embedding=torch.zeros(texts, 4),
    )
    candidates = torch.stack([torch.randperm(shapes)[:8] for _ in range(texts)])
    fine = torch.einsum("btd,bcnd->bcnt", text.tokens, gallery.nodes[candidates]).amax(2).mean(-1)
    right = fine == fine.amax(1, keepdim=True)
    lessons = Lessons(text, candidates, right, torch.zeros_like(fine), fine)
    head = LightHead(width, (4, 2, 4), nodes=10, width=16)
    before = (head.scores(text, gallery, candidates).argmax(1) == fine.argmax(1)).float().mean()
    fit(head, lessons, gallery, seed=0, steps=60)
    after = (head.scores(text, gallery, candidates).argmax(1) == fine.argmax(1)).float().mean()
    assert after > before + 0.3


def test_an_engine_of_ones_own_is_evaluated(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(ENGINES, "projection", ("examples.projection_index", "ProjectionIndex"))
    monkeypatch.delitem(ENGINES, "projection")  # what the import registers is forgotten afterwards
    monkeypatch.delitem(sys.modules, "examples.projection_index", raising=False)
    asked = ["mixture=harder", "size=600", "dim=16", "queries=20", "singles=2", "rounds=1"]
    mine = ["imports=[examples.projection_index]", "engines=flat,projection"]
    assert command.main([*asked, *mine, f"out={tmp_path}"]) == 0
    assert "projection" in capsys.readouterr().out
    engines = json.loads((tmp_path / "retrieval.json").read_text())["problems"]["harder 600 × 16"]["engines"]
    assert engines["projection"]["chosen"]["recall"] >= 0.95
    assert "candidates" in engines["projection"]["chosen"]["knobs"]
    assert parse([*asked, "imports=examples.projection_index"]).engines == tuple(ENGINES)
    assert "projection" in ENGINES
    assert command.main([*asked, "imports=no_such_module"]) == 2
    assert "imports=[no_such_module]" in capsys.readouterr().err


def test_the_backend_of_ers_is_a_setting():
    settings = parse(["mixture=easier", "engines=ers,flat", "backend=faiss"])
    made = {name: make() for name, make in engines_of(settings).items()}
    vectors = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for engine in made.values():
        engine.build(vectors, np.arange(300))
        assert engine.search(vectors[:3], 1)[0][:, 0].tolist() == [0, 1, 2]
    assert "backend='faiss'" in repr(made["ers"])


def test_one_engine_takes_part_with_several_settings(tmp_path):
    asked = ["mixture=harder", "size=600", "dim=16", "queries=20", "rounds=1", "singles=2", f"out={tmp_path}"]
    titles = ["flat", "ivf", "ivf:nlist=8:codes=flat", "ers", "ers:backend=faiss"]
    assert command.main([*asked, f"engines={','.join(titles)}"]) == 0
    found = json.loads((tmp_path / "retrieval.json").read_text())["problems"]["harder 600 × 16"]["engines"]
    assert list(found) == titles
    makers = engines_of(parse(["mixture=easier", f"engines={','.join(titles)}"]))
    coarse, other = makers["ivf:nlist=8:codes=flat"](), makers["ers:backend=faiss"]()
    assert (coarse.nlist, coarse.codes) == (8, "flat")
    assert "backend='faiss'" in repr(other)

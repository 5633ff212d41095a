"""The search command: JSON, filters, calibrations, shapes that ask, a prompt that learns, mistakes."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import pty
import random
import select
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from align3d.errors import UserError
from align3d.pipeline import build
from align3d.sources.folder import FolderSource
from durable.checksums import write_json
from experiments import search as command
from experiments.data.bank import remember
from experiments.data.encoding import embed_features
from experiments.evaluation.directions import directions_of
from experiments.evaluation.gallery import encode_split
from experiments.index_evaluation.load_run import open_run
from experiments.run_folder.config_file import write_config
from experiments.search import Searcher
from experiments.shape_search.shape_file import read_shape
from experiments.shape_search.shape_query import encoded_cloud, shape_cloud
from models.text import TextEncoder
from retrieval.ers.inspect import read_outline
from tests.durable.test_checksums import flipped
from tests.experiments.shape_search.searched_run import ROOT, Searched
from tests.experiments.shape_search.step_box import step_box

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def searcher(searched: Searched) -> Searcher:
    return Searcher(searched.run)


def asked(capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    """The JSON that a search prints, alone on stdout."""
    assert command.main([*words, "json=true"]) == 0
    return json.loads(capsys.readouterr().out)


def test_json_holds_all_that_programs_need(searched: Searched, capsys) -> None:
    found = asked(capsys, "a red ring", f"run={searched.run}", "k=4")
    assert list(found) == [
        *["schema", "query", "where", "score", "calibration", "calibrated", "library"],
        *["answers", "captions", "seconds", "sheet"],
    ]
    assert found["schema"] == 1
    assert found["library"] == 60
    assert [answer["rank"] for answer in found["answers"]] == [1, 2, 3, 4]
    assert set(found["answers"][0]) == {"rank", "score", "id", "caption", "category", "file", "row"}
    scores = [answer["score"] for answer in found["answers"]]
    assert scores == sorted(scores, reverse=True)
    assert all(Path(answer["file"]).is_file() for answer in found["answers"])
    assert set(found["seconds"]) == {"encode", "ers", "memory", "rerank"}
    assert Path(found["sheet"]) == searched.run / "search" / "answers.png"
    assert Path(found["sheet"]).stat().st_size > 1000


def test_people_read_captions_categories_files_and_times(searched: Searched, capsys) -> None:
    assert command.main(["a", "red", "ring", f"run={searched.run}", "k=1"]) == 0
    shown = capsys.readouterr().out
    assert "a red ring" in shown
    assert f"[ring] {searched.meshes / 'ring_red.glb'}" in shown
    for words in ("1 of 60 shapes", "calibration: ", "encode ", "ERS ", "memory ", "re-rank ", "pictures: "):
        assert words in shown
    assert "\x1b" not in shown  # no pictures where there is no terminal


@pytest.mark.parametrize(
    ("protocol", "begins"), [("kitty", "\x1b_G"), ("sixel", "\x1bP"), ("text", "\x1b[38;2")]
)
def test_pictures_are_written_where_they_are_asked_for(
    searched: Searched, capsys, protocol: str, begins: str
) -> None:
    assert command.main(["a red ring", f"run={searched.run}", "k=2", f"pictures={protocol}"]) == 0
    assert begins in capsys.readouterr().out


def test_patterns_filter(searched: Searched, capsys) -> None:
    found = asked(capsys, "a red ring", f"run={searched.run}", "where=category=C*,disc,caption=*blue*")
    kinds = {"capsule", "cone", "corner bracket", "cross", "cube", "disc"}
    assert {answer["category"] for answer in found["answers"]} == kinds  # fewer than the ten asked for
    assert all("blue" in answer["caption"] for answer in found["answers"])


def test_without_calibration_answers_are_those_of_hafs_evaluation(searched: Searched) -> None:
    trained = open_run(searched.run, CPU)
    every = torch.arange(len(trained.corpus.dataset))
    gallery = encode_split(trained.model, trained.corpus, every, CPU)
    direction = directions_of(trained.model, gallery, trained.config.eval)["text_to_shape"]
    plain = Searcher(searched.run, calibration="none")
    for row in (0, 17, 33, 59):
        query = trained.corpus.captions[int(trained.corpus.first_texts(every[row : row + 1]))]
        found = plain.search(query, k=5)
        scores = direction.plain[row]
        best = scores.argsort(descending=True)[:5]
        assert [one.score for one in found] == pytest.approx(scores[best].tolist(), abs=0.05)
        assert found[0].row == int(direction.candidates[row, best[0]])
        assert found.calibration == "none"


def test_known_pairs_say_what_they_say_in_the_evaluation(searched: Searched, searcher: Searcher) -> None:
    trained = open_run(searched.run, CPU)
    splits = trained.corpus.splits
    bank = remember(trained.model, trained.corpus, splits["train"], CPU)
    shapes, same = searcher.library.shapes, dict(atol=5e-3, rtol=5e-3)
    for split in ("reward", "test"):  # of which nothing is known
        memory = encode_split(trained.model, trained.corpus, splits[split], CPU, bank).memory
        assert memory is not None
        for name in ("recalled", "hubness", "likeness"):
            torch.testing.assert_close(shapes[name][splits[split]], getattr(memory.library, name), **same)
    known = bank.library(trained.model, bank.shapes)  # as if a known shape could recall itself
    assert float(known.likeness.min()) > 0.999
    assert float(shapes["likeness"][splits["train"]].max()) < 0.999


def test_queries_are_encoded_as_captions_are(searched: Searched, searcher: Searcher) -> None:
    texts = ["a red ring", "2.54 mm pitch, 1x13 naïve Stühle", "x", "a 灯 lamp " * 12]
    ours, theirs = searcher._encoder.encode(texts), TextEncoder(max_tokens=32).encode(texts)
    assert ours.strings == theirs.strings
    assert (ours.unknown, ours.cut) == (theirs.unknown, theirs.cut)
    assert ours.unknown
    torch.testing.assert_close(ours.tokens, theirs.tokens, atol=2e-3, rtol=1e-3)
    same = [embed_features(searcher.model, own, CPU).embedding for own in (ours, theirs)]
    torch.testing.assert_close(*same, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("name", ["ring_red.glb", "cone_gray.stl", "board_gray.off", "pipe_blue.ply"])
def test_a_shape_finds_itself_and_its_caption(searched: Searched, searcher: Searcher, name: str) -> None:
    found = searcher.search_shape(searched.meshes / name, k=3)
    assert found[0].file == str(searched.meshes / name)
    assert found[0].score == pytest.approx(1, abs=0.05)
    kind = name.partition("_")[0]
    assert any(kind in own.caption for own in found.captions)
    assert len(found.captions) == 3
    assert found.score == "cosine"


def test_a_built_dataset_is_searched_by_a_run(searched: Searched, tmp_path: Path, capsys) -> None:
    dataset = build(FolderSource(searched.meshes, size=20), tmp_path / "twenty", points=512, workers=1)
    asks = [f"run={searched.run}", f"dataset={dataset.path}"]
    found = asked(capsys, dataset.captions[7][0], *asks, "k=20")
    assert found["library"] == 20
    assert {answer["id"] for answer in found["answers"]} == {*dataset.ids}
    assert {answer["category"] for answer in found["answers"][:1]} == {dataset.categories[7]}
    (dataset.path / "manifest.json").write_text("{}")
    assert command.main(["a ring", *asks]) == 2
    assert "has no schema; build it again" in capsys.readouterr().err


def test_a_dataset_of_few_points_is_refused(searched: Searched, tmp_path: Path, capsys) -> None:
    dataset = build(FolderSource(searched.meshes, size=5), tmp_path / "coarse", points=64, workers=1)
    assert command.main(["a ring", f"run={searched.run}", f"dataset={dataset.path}"]) == 2
    shown = capsys.readouterr().err.splitlines()[-1]
    assert "its shapes have 64 points, the run's model reads 256; build it with points=256 or more" in shown


def test_a_query_that_is_cut_is_told_of(searcher: Searcher, capsys) -> None:
    searcher.search("a red ring " * 20, k=1)
    assert capsys.readouterr().err == "the model reads the first 32 words and numbers of the query\n"
    searcher.search("a red 灯", k=1)
    assert capsys.readouterr().err == "the text encoder does not know: 灯\n"


def test_a_prompt_takes_feedback_and_ers_keeps_it(
    searched: Searched, tmp_path: Path, capsys, monkeypatch
) -> None:
    run = tmp_path / "run"
    shutil.copytree(searched.run, run)
    lines = [
        "a red ring",
        "not 1",
        "more like 2 and 3",
        "more like 9",
        "k 2",
        "where category=cube",
        "help",
        "quit",
    ]
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join([*lines, "a ball"]) + "\n"))
    assert command.main([f"run={run}", "interactive=true", "k=3"]) == 0
    shown = capsys.readouterr()
    answers = [line.split()[1:] for line in shown.out.splitlines() if line[:4].strip().isdecimal()]
    assert len(answers) == 3 + 3 + 3 + 2 + 2
    first, without = answers[:3], answers[3:6]
    assert without[0][1:] != first[0][1:]
    assert shown.err == "error: 9: expected 1 to 3, an answer of the last search\n"
    assert "ERS has learned that; it is kept in " in shown.out
    assert "more like 3" in shown.out  # of the help
    assert "a ball" not in "".join(shown.out.splitlines()[-4:])  # nothing is read after quit
    visits = [read_outline(next((own / "search").glob("*/index"))).visits for own in (run, searched.run)]
    taught, untaught = (sum(float(level.sum()) for level in levels) for levels in visits)
    assert taught > untaught
    again = [Searcher(own).search("a red ring", k=3) for own in (run, searched.run)]
    assert again[0].found == again[1].found  # of such a small library every leaf is visited anyway


def test_feedback_moves_a_query(searcher: Searcher) -> None:
    plain = searcher.search("a red thing", k=60)
    last = plain[-1].row
    ranks = {one.row: one.rank for one in searcher.search("a red thing", k=60, like=[last])}
    assert ranks[last] < 60
    left_out = searcher.search("a red thing", k=60, unlike=[last, plain[0].row])
    assert len(left_out) == 58
    assert not {last, plain[0].row} & {one.row for one in left_out}
    with pytest.raises(UserError, match="no shape is left"):
        searcher.search("a red thing", unlike=range(60))


def test_a_library_is_made_anew_for_other_weights(searched: Searched, tmp_path: Path, capsys) -> None:
    run = tmp_path / "run"
    shutil.copytree(searched.run, run)
    library = next((run / "search").glob("*/library.json"))
    plain = json.loads(library.read_text())
    write_json(library, plain | {"key": "of other weights"})
    Searcher(run)
    told = capsys.readouterr().err
    assert "encoding shapes" in told
    assert "damaged" not in told
    assert json.loads(library.read_text())["key"] == plain["key"]


@pytest.mark.parametrize("seed", range(2))
def test_a_damaged_library_is_set_aside_and_made_anew(
    searched: Searched, searcher: Searcher, tmp_path: Path, capsys, seed: int
) -> None:
    run, draws = tmp_path / "run", random.Random(seed)
    shutil.copytree(searched.run, run)
    folder = next(path.parent for path in (run / "search").glob("*/library.json"))
    wanted = searcher.search("a red ring", k=5).found
    for _ in range(3):
        files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
        assert len(files) > 5
        path = draws.choice(sorted(files))
        assert Searcher(run).search("a red ring", k=5).found == wanted
        capsys.readouterr()
        flipped(path, draws.randrange(8 * path.stat().st_size))
        assert Searcher(run).search("a red ring", k=5).found == wanted
        told = capsys.readouterr().err
        if "encoding shapes" in told:  # else it was a blank in JSON
            assert told.count(" is damaged (") == 1
            assert f"kept as {folder.name}.damaged, made anew" in told
    shapes = folder / "shapes.safetensors"
    shapes.write_bytes(shapes.read_bytes()[:100])
    assert command.main(["a red ring", f"run={run}", "verify=false"]) == 0
    assert "shapes.safetensors is damaged: 100 bytes" in capsys.readouterr().err


def test_an_agent_of_another_version_is_told_of(searched: Searched, tmp_path: Path, capsys) -> None:
    run = tmp_path / "run"
    shutil.copytree(searched.run, run)
    results = json.loads((run / "results.json").read_text())
    results["agent"]["acts"] = True
    results["config"]["agent"]["former_setting"] = 3
    write_config(run, results["config"])
    write_json(run / "results.json", results)
    assert command.main(["a ring", f"run={run}", "k=1"]) == 0
    assert "the run's agent cannot act here" in capsys.readouterr().err
    assert command.main(["a ring", f"run={run}", "k=1", "calibration=agent"]) == 2
    assert "mcts is of another version" in capsys.readouterr().err


@pytest.mark.parametrize("acts", [True, False])
def test_the_calibration_is_the_runs(searched: Searched, tmp_path: Path, acts: bool) -> None:
    run = tmp_path / "run"
    shutil.copytree(searched.run, run)
    results = json.loads((run / "results.json").read_text())
    results["agent"]["acts"] = acts
    strengths = results["memory"]["fixed"]["rerank"]["text_to_shape"]
    strengths |= {"recall": 0.5, "hubness": 0.25}
    write_json(run / "results.json", results)
    found = Searcher(run).search("a red ring", k=3)
    assert found.calibration == ("agent" if acts else "fixed")
    plain = Searcher(run, calibration="none").search("a red ring", k=60)
    fixed = Searcher(run, calibration="fixed").search("a red ring", k=60)
    assert fixed.calibrated == "the same for all queries: recall 0.5, hubness 0.25"
    by_row = {one.row: one.score for one in plain}
    assert any(abs(one.score - by_row[one.row]) > 1e-3 for one in fixed)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run={run}"], "give words to search for"),
        (["a ring"], "give one of run=FOLDER"),
        (["a ring", "run=/nowhere"], "run=/nowhere: no config.yaml there"),
        (["a ring", "rnu={run}"], "rnu: no such setting; did you mean run?"),
        (["a ring", "run={run}", "k=61"], "k=61: expected a whole number from 1 to 60"),
        (["a ring", "run={run}", "k=0"], "k=0: expected greater than"),
        (["a ring", "run={run}", "where=catgory=cube"], "no column 'catgory'; did you mean category?"),
        (["a ring", "run={run}", "where=category=cuube"], "no category fits 'cuube'; did you mean cube?"),
        (["a ring", "run={run}", "where=cube"], "expected COLUMN=PATTERN"),
        (["a ring", "run={run}", "where=category=cube,caption=*ring*"], "no shape fits all of it"),
        (["a ring", "run={run}", "calibration=agents"], "calibration=agents: expected 'auto'"),
        (["a ring", "run={run}", "dataset=/nowhere"], "dataset=/nowhere: no dataset there"),
        (["a ring", "run={run}", "sheet=/proc/nowhere/a.png"], "sheet=/proc/nowhere/a.png: "),
        (["...", "run={run}"], "no word or number to search for"),
        (["灯", "run={run}"], "the text encoder knows none of its words"),
        (["a \ud800 ring", "run={run}"], "query: "),
        (["a ring", "query=a cube", "run={run}"], "expected one query"),
        (["a ring", "shape=a.ply", "run={run}"], "expected one query"),
        (["shape=/nowhere.glb", "run={run}"], "shape=/nowhere.glb: no such file"),
        (["shape={run}/config.yaml", "run={run}"], "format '.yaml' is not read; known: "),
        (["interactive=true", "json=true", "run={run}"], "belongs to single searches"),
        (["a ring", "embeddings=a.npz"], "words need encoder=MODEL"),
        (["a ring", "run={run}", "encoder=minilm"], "encoder=minilm: belongs to embeddings"),
    ],
)
def test_a_mistake_is_one_line(searched: Searched, capsys, arguments: list[str], words: str) -> None:
    Searcher(searched.run)
    capsys.readouterr()
    assert command.main([text.format(run=searched.run) for text in arguments]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert shown.err.count("\n") == 1
    assert words in shown.err


def test_a_broken_mesh_is_one_line(searched: Searched, tmp_path: Path, capsys) -> None:
    broken = tmp_path / "cut.glb"
    broken.write_bytes((searched.meshes / "ring_red.glb").read_bytes()[:200])
    assert command.main([f"shape={broken}", f"run={searched.run}"]) == 2
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert f"shape={broken}: " in shown


def test_a_step_file_asks_where_it_can_be_read(
    searched: Searched, searcher: Searcher, tmp_path: Path
) -> None:
    pytest.importorskip("cascadio")
    path = tmp_path / "board.step"
    path.write_text(step_box(60, 40, 3))
    np.testing.assert_allclose(read_shape(path, 256).size_m, [0.06, 0.04, 0.003], rtol=1e-4)
    found = searcher.search_shape(path, k=3)
    assert found[0].category == "board"


def test_vrml_is_in_meters_but_in_kicads_library(searcher: Searcher, tmp_path: Path) -> None:
    path = tmp_path / "square.wrl"
    corners = "0 0 0, 2 0 0, 2 1 0, 0 1 0"
    path.write_text(
        "#VRML V2.0 utf8\nShape { geometry IndexedFaceSet { coord Coordinate { point ["
        f"{corners}] }} coordIndex [0, 1, 2, -1, 0, 2, 3, -1] }} }}\n"
    )
    np.testing.assert_allclose(read_shape(path, 64).size_m, [2, 1, 0], atol=1e-6)
    np.testing.assert_allclose(read_shape(path, 64, unit_m=0.001).size_m, [2e-3, 1e-3, 0], atol=1e-6)
    header = searcher.library.header
    in_kicad = dataclasses.replace(header, name="kicad")
    as_asked = [
        encoded_cloud(shape_cloud(path, one, unit_m=unit), searcher.model, one).embedding
        for one, unit in ((in_kicad, None), (header, 0.00254), (in_kicad, 1.0), (header, None))
    ]
    torch.testing.assert_close(as_asked[0], as_asked[1])
    torch.testing.assert_close(as_asked[2], as_asked[3])
    assert not torch.allclose(as_asked[0], as_asked[2])


def test_a_step_file_is_one_line_where_it_cannot(
    searched: Searched, tmp_path: Path, capsys, monkeypatch
) -> None:
    monkeypatch.setitem(sys.modules, "cascadio", None)
    path = tmp_path / "board.stp"
    path.write_text(step_box(60, 40, 3))
    assert command.main([f"shape={path}", f"run={searched.run}"]) == 2
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert f"shape={path}: STEP is read by cascadio, which is not installed; pip install cascadio" in shown


def test_the_help_page_names_every_setting(capsys) -> None:
    assert command.main([]) == 0
    shown = capsys.readouterr().out
    for name in ("where=null", "interactive=false", "calibration=auto", "embeddings=null"):
        assert name in shown


def test_a_terminal_is_asked_for_sixels_and_its_prompt_has_a_history(
    searched: Searched, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(searched.run, run)
    hidden = ("TMUX", "KITTY_WINDOW_ID", "TERM_PROGRAM", "LC_TERMINAL")
    known = {name: value for name, value in os.environ.items() if name not in hidden}
    terminal, inner = pty.openpty()
    words = [sys.executable, "-m", "experiments.search", f"run={run}", "interactive=true", "k=2"]
    with subprocess.Popen(
        words, cwd=ROOT, stdin=inner, stdout=inner, stderr=inner, env=known | {"TERM": "xterm-256color"}
    ) as process:
        os.close(inner)
        said = b""

        def wait_for(words: bytes) -> bytes:
            nonlocal said
            while words not in said:
                assert select.select([terminal], [], [], 120)[0], said
                said += os.read(terminal, 65536)
            before, _, said = said.partition(words)
            return before

        wait_for(b"\x1b[c")
        os.write(terminal, b"\x1b[?62;4;22c")  # a VT220 with sixels
        wait_for(b"search> ")
        os.write(terminal, b"a red ring\n")
        shown = wait_for(b"search> ")
        assert b"ring_red.glb" in shown
        assert b"\x1bP9;1q" in shown
        os.write(terminal, b"quit\n")
        assert process.wait(60) == 0
    os.close(terminal)
    assert (run / "search" / "history").read_text().split("\n")[:2] == ["a red ring", "quit"]


def test_clouds_are_upright_and_finite(searcher: Searcher) -> None:
    pillar = searcher.search("a gray pillar", k=1)
    points, colors = searcher.clouds([pillar[0].row])
    assert np.isfinite(points).all()
    assert colors.shape == points.shape
    assert np.ptp(points[0], axis=0).argmax() == 2

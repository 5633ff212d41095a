"""The server of a run's page: what it answers, what it refuses, and many visitors at once."""

import base64
import json
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from align3d.errors import UserError
from experiments.benchmarks.demo_load import demo_load
from experiments.demo_page import upload_tab
from experiments.demo_page.clouds import LARGEST
from experiments.shape_search.explanation import explain
from experiments.shape_search.query_calibration import QueryCalibration
from experiments.shape_search.searcher import Searcher
from models import AttentionState, Calibration
from tests.experiments.demo_page.served_run import ServedRun, serving_run
from tests.experiments.shape_search.searched_run import Searched, shapes

QUERY = "a red cube"


@pytest.fixture(scope="module")
def served(searched: Searched) -> Iterator[ServedRun]:
    with serving_run(searched.run) as found:
        yield found


def test_words_are_answered_as_the_command_answers_them(served: ServedRun) -> None:
    found = served.post("api/search/find", {"query": QUERY, "k": 5})
    own = served.demo.searcher.search(QUERY, 5)
    assert [one["row"] for one in found["answers"]] == [one.row for one in own]
    assert found["answers"][0]["caption"] == QUERY
    assert found["answers"][0]["file"] == "cube_red.glb"  # who looks at the page learns no folders
    assert found["calibrated"] == served.demo.searcher.calibrated
    filtered = served.post("api/search/find", {"query": QUERY, "k": 60, "where": "category=ball"})
    assert {one["category"] for one in filtered["answers"]} == {"ball"}
    _, content, _ = served.ask("GET", "api/search/filters")
    assert ["ball", 5] in json.loads(content)["categories"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"query": ""}, "query: String should have at least 1 character"),
        ({"query": "x" * 3000}, "query: String should have at most 2000"),
        ({"query": "!!!"}, "no word or number"),
        ({"query": QUERY, "k": 0}, "k: Input should be greater"),
        ({"query": QUERY, "k": "5"}, "k: Input should be a valid integer"),
        ({"query": QUERY, "where": "color=red"}, "no column 'color'"),
        ({"query": QUERY, "where": "category=nosuch"}, "no category fits 'nosuch'"),
        ({"query": QUERY, "other": 1}, "other: Extra inputs"),
        ([], "body: "),
        (b"{", "body: Invalid JSON"),
    ],
)
def test_a_bad_query_is_one_sentence_and_the_next_one_is_answered(
    served: ServedRun, body: object, said: str
) -> None:
    told = served.refused("api/search/find", body)
    assert told.startswith(said) or said in told
    assert "\n" not in told
    assert served.post("api/search/find", {"query": QUERY, "k": 1})["answers"]


def test_requests_that_do_not_come_from_the_page_are_refused(served: ServedRun) -> None:
    assert served.ask("GET", "", token="x" * 32)[0] == 404
    assert served.ask("GET", "", headers={"Host": "evil.example"})[0] == 421
    assert served.ask("POST", "api/search/find", {}, {"Origin": "http://evil.example"})[0] == 403
    assert served.ask("POST", "api/search/find", b"query=a", {"Content-Type": "text/plain"})[0] == 415
    assert "larger than 64 KB" in served.refused("api/search/find", b" " * 70_000, 413)
    status, content, _ = served.ask("GET", "api/nothing")
    assert status == 404
    assert "load the page anew" in json.loads(content)["error"]
    assert served.ask("GET", "page/../../demo_options.py")[0] == 404
    assert served.ask("GET", "page/%2e%2e/demo_options.py")[0] == 404
    assert served.ask("GET", "api/search/find")[0] == 405


def test_the_page_asks_nobody_else(served: ServedRun) -> None:
    page = Path(__file__).parents[3] / "experiments" / "demo_page" / "page"
    files = [
        "",
        *(f"page/{path.name}" for path in page.iterdir()),
        "page/cloud.js",
        "page/attention_colors.js",
    ]
    for path in files:
        status, content, headers = served.ask("GET", path)
        assert status == 200, path
        assert b"https://" not in content
        assert b"http://" not in content.replace(b"http://www.w3.org/", b"")
        assert b"innerHTML" not in content
        assert headers["X-Content-Type-Options"] == "nosniff"


def test_clouds_come_as_they_are_drawn(served: ServedRun) -> None:
    status, content, _ = served.ask("GET", "api/clouds?rows=3,0&points=100")
    assert status == 200
    assert len(content) == 2 * 100 * 9
    points, colors = served.demo.searcher.clouds([3, 0])
    for place in range(2):
        own = content[place * 900 : (place + 1) * 900]
        read = np.frombuffer(own[:600], "<i2").reshape(100, 3) / LARGEST
        np.testing.assert_allclose(read, np.clip(points[place][:100], -1, 1), atol=1 / LARGEST)
        np.testing.assert_array_equal(np.frombuffer(own[600:], np.uint8).reshape(100, 3), colors[place][:100])
    for query in (
        "",
        "?rows=",
        "?rows=1000000",
        "?rows=-1",
        "?rows=a",
        "?rows=1&points=0",
        "?rows=" + ",".join("0" * 65),
    ):
        assert served.ask("GET", f"api/clouds{query}")[0] == 400, query


def test_an_explanation_adds_up(served: ServedRun) -> None:
    searcher = served.demo.searcher
    found = served.post("api/attention/explain", {"query": QUERY})
    steps, count = len(found["strengths"]), len(found["words"])
    assert found["words"] == QUERY.split()
    best = searcher.search(QUERY, 1)[0]
    assert (found["row"], found["rank"]) == (best.row, 1)
    assert found["scores"][-1] == pytest.approx(best.score, abs=1e-3)  # as the search had it
    plain = Searcher(served.demo.run, calibration="none").search(QUERY, len(searcher))
    assert found["scores"][0] == pytest.approx({one.row: one.score for one in plain}[best.row], abs=1e-3)
    np.testing.assert_allclose(np.sum(found["weights"], -1), 1, atol=1e-3)
    np.testing.assert_allclose(np.sum(found["gates"], -1), 1, atol=1e-3)
    for light in found["lights"].values():
        values = np.frombuffer(base64.b64decode(light), np.uint8).reshape(steps, count, found["patches"])
        assert (values.max((0, 2)) == 255).all()
    patch = np.frombuffer(base64.b64decode(found["patch"]), np.uint8)
    assert len(patch) * 9 == len(base64.b64decode(found["cloud"]))
    assert patch.max() < found["patches"]


def test_any_answer_can_be_explained(served: ServedRun) -> None:
    searcher = served.demo.searcher
    answers = searcher.search(QUERY, 8)
    for answer in (answers[1], answers[7]):
        found = explain(searcher, QUERY, answer.row)
        assert found.rank == answer.rank
        assert float(found.scores[-1]) == pytest.approx(answer.score, abs=1e-3)
    strangers = set(range(len(searcher))) - {one.row for one in searcher.search(QUERY, 30)}
    assert explain(searcher, QUERY, max(strangers)).row == max(strangers)
    told = served.refused("api/attention/explain", {"query": QUERY, "row": len(searcher)}, 404)
    assert "no such shape" in told


def test_a_calibration_is_explained_as_it_scores(served: ServedRun) -> None:
    searcher = Searcher(served.demo.run)
    haf = searcher.model.haf

    def calibrate(attention: AttentionState) -> Calibration:
        draws = torch.Generator().manual_seed(0)
        tokens, levels = attention.gate_logits.shape[1:]
        sizes = {"tokens": tokens, "levels": levels, "heads": haf.heads, "regions": haf.regions}
        return Calibration.identity(1, **sizes).apply(lambda part: torch.randn(part.shape, generator=draws))

    def scores(attention: AttentionState) -> Tensor:
        attention.paired = haf.fuse(attention).score.argmax(1)  # as episodes pair them
        return haf.fuse(attention, calibrate(attention)).score

    searcher._by_text = QueryCalibration("agent", "at random", scores, calibrate=calibrate)
    plain = {one.row: one.score for one in served.demo.searcher.search(QUERY, 16)}
    for answer in searcher.search(QUERY, 16):
        found = explain(searcher, QUERY, answer.row)
        assert found.rank == answer.rank
        assert found.strengths == (0.0, 0.25, 0.5, 0.75, 1.0)
        assert float(found.scores[0]) == pytest.approx(plain[answer.row], abs=1e-3)
        assert float(found.scores[-1]) == pytest.approx(answer.score, abs=1e-3)
        for light in (*found.lights.values(), found.weights, found.gates):
            assert not torch.allclose(light[0], light[-1], rtol=1e-2)  # the slider shows something
            assert not torch.allclose(light[0], light[2], rtol=1e-3)


def test_known_pairs_speak_as_the_memory_recalls(served: ServedRun) -> None:
    searcher = served.demo.searcher
    memory, header = searcher.library.memory, searcher.library.header
    assert memory is not None
    known = header.known_texts[0]
    found = explain(searcher, known)
    assert found.pairs[0].text == known  # a query that is known recalls itself first
    weights = [pair.weight for pair in found.pairs]
    assert weights == sorted(weights, reverse=True)
    assert 0 < sum(weights) <= 1 + 1e-6
    embedding = searcher.consider(known).embedding
    recalled = memory.recall(embedding, "text")[0]
    shape = searcher.library.shapes["embedding"][found.row]
    whole = 0.5 * float(searcher.model.logit_scale) * float(recalled @ shape)
    assert sum(pair.logits for pair in found.pairs) == pytest.approx(whole, rel=0.35)  # the loudest of all
    for pair in found.pairs:
        for name, row in zip(pair.shapes, pair.rows, strict=True):
            assert header.ids[row] == name


def test_points_have_the_patch_that_is_nearest(served: ServedRun) -> None:
    shapes_of = served.demo.searcher.library.shapes
    patches = served.demo.searcher.model.haf.level_sizes[0]
    cloud, centers = shapes_of["cloud"][5].float(), shapes_of["centers"][5, :patches].float()
    distance = torch.cdist(cloud, centers)
    own = distance.gather(1, shapes_of["patch"][5].long().unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(own, distance.min(1).values, atol=2e-3, rtol=0)


def upload(served: ServedRun, name: str, content: bytes, query: str = "") -> tuple[int, dict]:
    status, answer, _ = served.ask(
        "POST", f"api/upload/shape?name={name}{query}", content, {"Content-Type": "application/octet-stream"}
    )
    return status, json.loads(answer)


def test_an_upload_is_answered_and_leaves_nothing_behind(
    served: ServedRun, searched: Searched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    content = next(searched.meshes.glob("ball*.glb")).read_bytes()
    status, found = upload(served, "mine.bin", content, "&k=5")
    assert status == 200, found
    assert list(tmp_path.iterdir()) == []
    same = tmp_path / "shape.glb"  # points are drawn by a file's name
    same.write_bytes(content)
    own = served.demo.searcher.search_shape(same, 5)
    same.unlink()
    assert [one["row"] for one in found["answers"]] == [one.row for one in own]
    assert [one["caption"] for one in found["captions"]] == [one.caption for one in own.captions]
    assert "ball" in found["answers"][0]["caption"]
    assert len(base64.b64decode(found["cloud"])) % 9 == 0
    _, larger = upload(
        served, "mine.stl", next(searched.meshes.glob("ball*.stl")).read_bytes(), "&unit_m=2&up=x"
    )
    assert larger["size_m"][0] > 0.05
    assert list(tmp_path.iterdir()) == []


def test_a_bad_upload_is_one_sentence(
    served: ServedRun, searched: Searched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    whole = next(searched.meshes.glob("ball*.glb")).read_bytes()
    bomb = b"ply\nformat binary_little_endian 1.0\nelement vertex 4000000000\nproperty float x\nend_header\n"
    for name, content, said in (
        ("empty", b"", "empty: the file is empty"),
        ("cut.glb", whole[: len(whole) // 2], "cut.glb: "),
        ("a.zip", b"PK\x03\x04" + bytes(100), "no mesh or cloud"),
        ("bomb.ply", bomb, "bomb.ply: "),
        ("flat.obj", b"v 0 0 0\nv 0 0 0\nv 0 0 0\nf 1 2 3\n", "flat.obj: "),
    ):
        status, told = upload(served, name, content)
        assert status == 400, (name, told)
        assert said in told["error"]
        assert "\n" not in told["error"]
        assert str(tmp_path) not in told["error"]
    assert upload(served, "a", whole, "&up=w")[0] == 400
    assert upload(served, "a", whole, "&unit_m=-1")[0] == 400
    monkeypatch.setattr(upload_tab, "LARGEST_UPLOAD", 1000)
    status, told = upload(served, "a", whole)
    assert (status, told["error"]) == (413, "larger than 1 KB, which is the most that is read")
    monkeypatch.setattr(upload_tab, "PATIENCE", 0.01)
    status, told = upload(served, "slow", whole[:900])
    assert (status, told["error"]) == (400, "slow: reading it takes more than 0 s")
    assert list(tmp_path.iterdir()) == []
    assert served.post("api/search/find", {"query": QUERY, "k": 1})["answers"]


def test_an_upload_reads_no_other_file(served: ServedRun, tmp_path: Path) -> None:
    secret = tmp_path / "secret.bin"
    secret.write_bytes(struct.pack("<9f", *np.eye(3).ravel()))
    scene = {
        "asset": {"version": "2.0"},
        "buffers": [{"uri": str(secret), "byteLength": 36}],
        "bufferViews": [{"buffer": 0, "byteLength": 36}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
        "nodes": [{"mesh": 0}],
        "scenes": [{"nodes": [0]}],
    }
    status, told = upload(served, "a.gltf", json.dumps(scene).encode())
    assert status == 400
    assert "leaves the root" in told["error"] or "cannot be read" in told["error"]


def test_twenty_at_once_are_all_answered_with_what_they_asked(served: ServedRun) -> None:
    queries = [f"a {color} {kind}" for kind in list(shapes())[:10] for color in ("red", "blue")]
    alone = {query: served.demo.searcher.search(query, 3)[0].row for query in queries}

    def ask(query: str) -> int:
        return served.post("api/search/find", {"query": query, "k": 3})["answers"][0]["row"]

    with ThreadPoolExecutor(20) as visitors:
        found = list(visitors.map(ask, queries * 2))
    assert found == [alone[query] for query in queries * 2]


def test_a_fault_of_the_program_is_a_sentence_and_no_end(
    served: ServedRun, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(served.demo.searcher, "clouds", lambda rows: 1 / 0)
        status, content, _ = served.ask("GET", "api/clouds?rows=1")
    assert status == 500
    assert "ZeroDivisionError" in json.loads(content)["error"]
    assert served.token not in capfd.readouterr().err
    assert served.ask("GET", "api/clouds?rows=1")[0] == 200


def test_a_server_ends_though_connections_are_open(searched: Searched) -> None:
    import http.client

    before = set(threading.enumerate())
    with serving_run(searched.run, token="a-token-of-mine") as served:
        assert served.server.url.endswith("/a-token-of-mine/")
        kept = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
        kept.request("GET", "/a-token-of-mine/", headers={"Host": "localhost"})
        kept.getresponse().read()
        start = time.monotonic()
    assert time.monotonic() - start < 6
    kept.close()
    assert not [one for one in set(threading.enumerate()) - before if one.name.startswith("demo")]


def test_the_load_test_measures_the_real_command(searched: Searched) -> None:
    Searcher(searched.run)  # the library is made
    rows = list(demo_load(searched.run, users=(1, 4), queries=3, threads=2))
    found = {(row.case, row.metric): row.ours for row in rows}
    assert found["60 shapes", "s until the page is up"] > 0
    for case in ("60 shapes, 1 user", "60 shapes, 4 users"):
        p50, p95 = (found[case, f"ms for a text query, p{quantile}"] for quantile in (50, 95))
        assert 0 < p50 <= p95
        assert found[case, "queries/s"] > 0
    with pytest.raises(UserError, match="run=FOLDER is missing"):
        list(demo_load())

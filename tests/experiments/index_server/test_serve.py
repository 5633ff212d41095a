"""An index over HTTP, as a real server: answers, limits, back-pressure, who is let in, and what lasts."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("prometheus_client")

from experiments import serve
from experiments.index_server.index_listener import IndexListener
from experiments.index_server.serve_options import ServeOptions
from experiments.index_server.served_index import ServedVectors, open_served
from experiments.search import Searcher
from retrieval import ErsIndex, KnownPairs, MemoryIndex, ShardedIndex
from tests.experiments.shape_search.searched_run import Searched

WIDTH = 8
ROOT = Path(__file__).parents[3]


def unit(seed: int, rows: int) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(rows, WIDTH))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def metadata(rows: int) -> dict[str, Any]:
    return {"name": ["a", "b"] * (rows // 2), "height": np.arange(rows)}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    with ShardedIndex(2, home=tmp_path / "home") as index:
        index.build(unit(0, 100), np.arange(100), metadata(100))
    return tmp_path / "home"


class Served:
    """A server in a thread, and requests to it."""

    def __init__(self, options: ServeOptions, index: Any = None) -> None:
        self.listener = IndexListener(open_served(options) if index is None else index, options)
        self.port = int(self.listener.url.rsplit(":", 1)[1].strip("/"))
        self.thread = threading.Thread(target=self.listener.serve)

    def __enter__(self) -> "Served":
        self.thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self.listener.stop()
        self.thread.join()
        self.listener.__exit__(None, None, None)

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any, http.client.HTTPMessage]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        chosen = {"Content-Type": "application/json"} if method == "POST" else {}
        connection.request(method, path, content, {**chosen, **(headers or {})})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text if path == "/metrics" else json.loads(text), answer.headers


def test_searches_and_changes_are_those_of_the_index_and_last(home: Path) -> None:
    queries = unit(1, 3)
    with ShardedIndex.load(home) as index:
        expected = index.search(queries, 4, refine=100)
        filtered = index.search(queries, 4, where={"name": ["a"], "height": [2, 4]})[0]
    with Served(ServeOptions(index=home, replicas=2)) as served:
        assert served.ask("GET", "/health")[:2] == (200, {"status": "ok", "vectors": 100, "live": [2, 2]})
        status, found, _ = served.ask("POST", "/search", {"vectors": queries.tolist(), "k": 4})
        assert (status, found["ids"]) == (200, expected[0].tolist())
        np.testing.assert_allclose(found["scores"], expected[1], rtol=1e-6)
        where = {"name": ["a"], "height": [2, 4]}
        body = {"vectors": queries.tolist(), "k": 4, "where": where}
        status, found, _ = served.ask("POST", "/search", body)
        assert [len(ids) for ids in found["ids"]] == [2, 2, 2]
        assert found["ids"] == [[number for number in ids if number >= 0] for ids in filtered.tolist()]
        where = {"height": {"low": 10, "high": 12}}
        status, found, _ = served.ask("POST", "/search", {"vectors": [queries[0].tolist()], "where": where})
        assert sorted(found["ids"][0]) == [10, 11, 12]
        one = {"ids": [500], "vectors": unit(2, 1).tolist(), "metadata": {"name": ["c"], "height": [1]}}
        assert served.ask("POST", "/add", one)[:2] == (200, {"vectors": 101})
        again = served.ask("POST", "/add", one)
        assert again[:2] == (400, {"error": "add of id 500: the index has it; use update or upsert"})
        assert served.ask("POST", "/upsert", one)[0] == 200
        assert served.ask("POST", "/update", {"ids": [500], "metadata": {"height": [7]}})[0] == 200
        assert served.ask("POST", "/remove", {"ids": [3, 4]})[:2] == (200, {"vectors": 99})
        text = served.ask("GET", "/metrics")[1]
        for line in (
            "index_vectors 99.0",
            'index_replicas_live{shard="1"} 2.0',
            'index_requests_total{route="add",status="200"} 1.0',
            'index_requests_total{route="add",status="400"} 1.0',
            'index_request_seconds_count{route="search"} 3.0',
            "index_batch_queries_sum 7.0",
        ):
            assert f"{line}\n" in text
        assert re.search(r"index_shards_asked \d", text)
    with ShardedIndex.load(home) as index:
        assert len(index) == 99
        assert index.get(np.array([500]))[1]["height"].tolist() == [7]


REFUSED = [
    ("POST", "/search", b"{", 400, "body: Invalid JSON"),
    ("POST", "/search", {"k": 3}, 400, "give one of vectors"),
    ("POST", "/search", {"text": "a chair", "k": 3}, 400, "words need run=FOLDER"),
    ("POST", "/search", {"vectors": [], "k": 3}, 400, "expected at least one, 8 numbers each"),
    ("POST", "/search", {"vectors": [[1.0]], "k": 3}, 400, "vectors of width 1: the index was built with 8"),
    ("POST", "/search", {"vectors": [[0.0] * 8]}, 400, "row 0 is zero"),
    ("POST", "/search", {"vectors": [[1.0] * 8, [1.0]]}, 400, "expected an array of numbers"),
    ("POST", "/search", {"vectors": [["x"] * 8]}, 400, "vectors.0.0: Input should be a valid number"),
    ("POST", "/search", {"vectors": [[1.0] * 8], "k": 0}, 400, "k: Input should be greater"),
    ("POST", "/search", {"vectors": [[1.0] * 8], "k": 51}, 400, "k=51: expected at most 50"),
    (
        "POST",
        "/search",
        {"vectors": [[1.0] * 8], "where": {"color": 1}},
        400,
        "field 'color' is unknown",
    ),
    ("POST", "/search", {"vectors": [[1.0] * 8], "bem": 3}, 400, "bem: Extra inputs"),
    ("POST", "/search", {"vectors": [[1.0] * 8] * 400}, 413, "larger than 10,000 bytes"),
    ("POST", "/add", {"ids": [-1], "vectors": [[1.0] * 8]}, 400, "ids.0: Input should be greater"),
    ("POST", "/add", {"ids": [1, 1], "vectors": [[1.0] * 8] * 2}, 400, "id 1 is given 2 times"),
    ("POST", "/add", {"ids": [1]}, 400, "expected at least one"),
    ("POST", "/remove", {"ids": [1000]}, 400, "remove of id 1000: the index has no such id"),
    ("POST", "/remove", {"ids": [1], "vectors": [[1.0] * 8]}, 400, "remove takes ids alone"),
    ("GET", "/search", None, 405, "expected search"),
    ("GET", "/nothing", None, 404, "expected search"),
]


def test_what_does_not_fit_is_refused_by_one_line_and_changes_nothing(home: Path) -> None:
    with Served(ServeOptions(index=home, most_k=50, most_bytes=10_000)) as served:
        for method, path, body, status, message in REFUSED:
            found = served.ask(method, path, body)
            assert found[0] == status, (path, body, found)
            assert message in found[1]["error"]
            assert "\n" not in found[1]["error"]
        plain = served.ask("POST", "/search", b"{}", {"Content-Type": "text/plain"})
        assert plain[0] == 415
        for headers, status in (
            ({"Host": "evil.example"}, 421),
            ({"Sec-Fetch-Site": "cross-site"}, 403),
        ):
            assert served.ask("GET", "/health", None, headers)[0] == status
        assert served.ask("GET", "/health")[1]["vectors"] == 100


def test_a_token_keeps_others_out(home: Path) -> None:
    with Served(ServeOptions(index=home, token="secret", changes=False)) as served:
        body = {"vectors": unit(1, 1).tolist(), "k": 1}
        assert served.ask("POST", "/search", body)[0] == 401
        assert served.ask("GET", "/metrics", None, {"Authorization": "Bearer secrets"})[0] == 401
        assert served.ask("GET", "/health")[0] == 200
        assert served.ask("POST", "/search", body, {"Authorization": "Bearer secret"})[0] == 200
        refused = served.ask("POST", "/remove", {"ids": [1]}, {"Authorization": "Bearer secret"})
        assert refused[:2][0] == 405
        with ShardedIndex.open(home) as index:  # changes=False leaves the home to others
            assert len(index) == 100
    listener = IndexListener(open_served(ServeOptions(index=home)), ServeOptions(index=home, host="0.0.0.0"))
    with listener:
        assert len(listener.token or "") >= 32


class Slow:
    """An index whose searches wait until they are let go."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.go, self.sizes = inner, threading.Event(), list[int]()
        self.metric = "ip"

    def __len__(self) -> int:
        return len(self.inner)

    def search(self, queries: np.ndarray, k: int, **where: Any) -> Any:
        self.sizes.append(len(queries))
        assert self.go.wait(60)
        return self.inner.search(queries, k, **where)


def test_waiting_queries_are_searched_together_and_too_many_are_sent_away() -> None:
    inner = ErsIndex()
    inner.build(unit(0, 100), np.arange(100))
    slow = Slow(inner)
    options = ServeOptions(index=Path("none"), most_waiting=12, batch=6)
    with (
        Served(options, ServedVectors(slow, WIDTH, takes_changes=False)) as served,
        ThreadPoolExecutor(20) as pool,
    ):
        asked = [
            pool.submit(served.ask, "POST", "/search", {"vectors": unit(9 + n, 1).tolist(), "k": 1 + n % 5})
            for n in range(16)
        ]
        while sum(future.done() for future in asked) < 4:
            pass
        refused = [future.result() for future in asked if future.done()]
        assert {status for status, _, _ in refused} == {503}
        assert {headers["Retry-After"] for _, _, headers in refused} == {"1"}
        slow.go.set()
        answered = [(n, future.result()) for n, future in enumerate(asked) if future.result()[0] == 200]
    assert len(answered) == 12
    for n, (_, found, _) in answered:
        expected = inner.search(unit(9 + n, 1), 1 + n % 5)[0]
        assert found["ids"] == expected.tolist()
    assert sum(slow.sizes) == 12
    assert max(slow.sizes) in (5, 6)
    assert len(slow.sizes) < 12


def test_any_saved_index_is_served_and_others_are_refused_by_name(tmp_path: Path) -> None:
    one = ErsIndex()
    one.build(unit(0, 50), np.arange(50))
    one.save(tmp_path / "one")
    memory = MemoryIndex(ErsIndex(), KnownPairs(unit(1, 20), unit(2, 20)))
    memory.build(unit(0, 50), np.arange(50))
    memory.save(tmp_path / "memory")
    queries = unit(3, 2)
    for index, name in ((one, "one"), (memory, "memory")):
        with Served(ServeOptions(index=tmp_path / name)) as served:
            found = served.ask("POST", "/search", {"vectors": queries.tolist(), "k": 3})
            assert found[1]["ids"] == index.search(queries, 3)[0].tolist()  # type: ignore[attr-defined]
            assert served.ask("POST", "/remove", {"ids": [1]})[0] == 405


def test_a_run_is_searched_by_words_and_by_vectors(searched: Searched) -> None:
    with Served(ServeOptions(run=searched.run)) as served:
        count = served.ask("GET", "/health")[1]["vectors"]
        status, found, _ = served.ask("POST", "/search", {"text": "a large box", "k": 3})
        answers = Searcher(searched.run).search("a large box", 3).as_json()
        assert status == 200
        assert [own["id"] for own in found["answers"]] == [own["id"] for own in answers["answers"]]
        row = found["answers"][0]["row"]
        vector = Searcher(searched.run).index.get(np.array([row]))[0]
        by_vector = served.ask("POST", "/search", {"vectors": vector.tolist(), "k": 1})[1]
        assert by_vector["ids"] == [[row]]
        filtered = served.ask("POST", "/search", {"text": "a box", "k": 1, "where": "category=nothing*"})
        assert filtered[0] == 400
        assert served.ask("POST", "/search", {"text": "a box", "k": count + 1})[0] == 400
        assert served.ask("POST", "/remove", {"ids": [0]})[0] == 405


def test_mistakes_of_the_command_line_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, message in (
        (["port=1"], "give one of index=FOLDER"),
        (["index=a", "run=b"], "give one of index=FOLDER"),
        ([f"index={tmp_path}"], "it has no manifest.json"),
        (["index=a", "host=0.0.0.0", "token=short"], "expected at least 16"),
        (["index=a", "token=a b"], "without blanks"),
        (["index=a", "most_k=0"], "most_k"),
        ([f"run={tmp_path}"], str(tmp_path)),
    ):
        assert serve.main(arguments) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1


def test_the_command_serves_until_it_is_interrupted(home: Path) -> None:
    command = [sys.executable, "-m", "experiments.serve", f"index={home}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        url = re.search(r"127\.0\.0\.1:(\d+)", line)
        assert url is not None
        assert "100 vectors of width 8; takes changes" in line
        connection = http.client.HTTPConnection("127.0.0.1", int(url[1]), timeout=60)
        connection.request("POST", "/remove", b'{"ids": [5]}', {"Content-Type": "application/json"})
        assert connection.getresponse().status == 200
        connection.close()
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(60) in (0, 130)
    finally:
        process.kill()
        process.wait()
    with ShardedIndex.load(home) as index:
        assert 5 not in index

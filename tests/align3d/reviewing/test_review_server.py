"""The server of a review: its page, what it answers, and who gets no answer."""

import http.client
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

import align3d.review
from align3d import ShapeDataset
from align3d.decisions import read_decisions
from align3d.errors import UserError
from align3d.reviewing.review_log import reviews_folder
from align3d.reviewing.review_server import LARGEST_BODY, ReviewServer
from tests.align3d.reviewing.reviewed_set import boxes, session_of

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> ShapeDataset:
    return boxes(tmp_path_factory.mktemp("served"))


@pytest.fixture
def server(dataset: ShapeDataset) -> Iterator[ReviewServer]:
    for path in reviews_folder(dataset.path).glob("*"):
        path.unlink()
    with ReviewServer(session_of(dataset)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(
    server: ReviewServer,
    method: str,
    path: str,
    body: Any = None,
    headers: dict[str, str] | None = None,
    token: str | None = None,
) -> tuple[int, bytes, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
    base = {"Host": server.hosts[0]}
    if method == "POST":
        base |= {"Origin": f"http://{server.hosts[0]}", "Content-Type": "application/json"}
    content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    chosen = {name: value for name, value in {**base, **(headers or {})}.items() if value}
    connection.request(method, f"/{server.token if token is None else token}/{path}", content, chosen)
    answer = connection.getresponse()
    return answer.status, answer.read(), answer.headers


def accepting(server: ReviewServer, **change: Any) -> dict[str, Any]:
    item = server.session.shape(0)["item"]
    return {"place": 0, "item": item, "action": "accept", "seen": 0, **change}


def test_the_page_and_its_parts_come_from_here_alone(server: ReviewServer) -> None:
    for path, kind in (("", "text/html"), ("review.css", "text/css"), ("review.js", "text/javascript")):
        status, body, headers = ask(server, "GET", path)
        assert status == 200
        assert headers.get_content_type() == kind
        assert not re.search(rb"""(?:src|href|url|import|from|fetch)\W{1,4}(?:https?:)?//""", body)
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy
        assert "http" not in policy
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-store"
    assert server.server_address[0] == "127.0.0.1"


def test_requests_are_answered_and_decisions_written(server: ReviewServer) -> None:
    status, body, _ = ask(server, "GET", "api/session")
    assert status == 200
    assert json.loads(body)["total"] == 12
    assert ask(server, "GET", "api/points/3")[1] == server.session.points(3)
    status, body, _ = ask(server, "POST", "api/decide", accepting(server))
    assert (status, json.loads(body)["next"]) == (200, 1)
    assert read_decisions(server.session.log.path)[0].action == "accept"
    status, body, _ = ask(server, "POST", "api/undo", {"seen": 1})
    assert (status, json.loads(body)["decided"]) == (200, 0)
    assert read_decisions(server.session.log.path) == []


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1", "127.0.0.1:1", "[::1]:1"])
def test_another_host_is_refused(server: ReviewServer, host: str) -> None:
    for method, path, body in (("GET", "api/session", None), ("POST", "api/decide", accepting(server))):
        assert ask(server, method, path, body, {"Host": host, "Origin": f"http://{host}"})[0] == 421
    assert not server.session.log.path.exists()
    localhost = {"Host": server.hosts[1], "Origin": f"http://{server.hosts[1]}"}
    assert ask(server, "POST", "api/decide", accepting(server), localhost)[0] == 200


def test_two_hosts_are_refused(server: ReviewServer) -> None:
    raw = f"GET /{server.token}/ HTTP/1.1\r\nHost: {server.hosts[0]}\r\nHost: evil.example\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.server_address[1]), timeout=10) as connection:
        connection.sendall(raw.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 421")


@pytest.mark.parametrize("token", ["", "x", "../", "%2e%2e"])
def test_without_the_token_there_is_nothing(server: ReviewServer, token: str) -> None:
    for path in ("", "api/session", "review.js"):
        assert ask(server, "GET", path, token=token)[0] == 404
    assert ask(server, "GET", "", token=server.token[:-1])[0] == 404


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_another_origin_decides_nothing(server: ReviewServer, headers: dict[str, str]) -> None:
    assert ask(server, "POST", "api/decide", accepting(server), headers)[0] == 403
    assert not server.session.log.path.exists()


REFUSED: list[tuple[Any, dict[str, str], int]] = [
    (b"{", {}, 400),
    (b"[]", {}, 400),
    (b"\xff", {}, 400),
    (b"[" * 50_000, {}, 400),
    ({"place": 0}, {}, 400),
    ({"extra": 1}, {}, 400),
    ({"place": "0"}, {}, 400),
    ({"seen": True}, {}, 400),
    ({"place": 10**30}, {}, 404),
    ({"place": 12}, {}, 404),
    ({"item": "../../x"}, {}, 404),
    ({"seen": 7}, {}, 409),
    ({"action": "edit_caption", "caption": "x"}, {}, 404),
    ({}, {"Content-Type": "text/plain"}, 415),
    ({}, {"Content-Type": "application/x-www-form-urlencoded"}, 415),
    ({}, {"Content-Length": "-1"}, 411),
    ({}, {"Content-Length": "1e3"}, 411),
    ({}, {"Content-Length": str(LARGEST_BODY + 1)}, 413),
    ({}, {"Transfer-Encoding": "chunked"}, 411),
]


@pytest.mark.parametrize(("body", "headers", "status"), REFUSED)
def test_what_is_no_decision_is_refused(
    server: ReviewServer, body: Any, headers: dict[str, str], status: int
) -> None:
    if isinstance(body, dict):
        body = {"place": 0} if body == {"place": 0} else accepting(server, **body)
    got, answer, _ = ask(server, "POST", "api/decide", body, headers)
    assert got == status
    assert json.loads(answer)["error"]
    assert not server.session.log.path.exists()
    assert ask(server, "POST", "api/decide", accepting(server))[0] == 200  # and it still serves


@pytest.mark.parametrize(
    "path",
    [
        "api/shape/12",
        "api/shape/-1",
        "api/shape/1e1",
        "api/shape/%31",
        "api/shape/²",
        "api/points/",
        "api/x/1",
        "review.html",
        "../review.py",
        "api",
        "api/session?x=1",
        "api/decide",
        "x" * 3000,
    ],
)
def test_other_paths_are_not_found(server: ReviewServer, path: str) -> None:
    assert ask(server, "GET", quote(path, safe="/%?=.-"))[0] == 404
    assert ask(server, "POST", "api/nothing", {})[0] == 404
    assert ask(server, "PUT", "")[0] == 501


def test_what_the_disk_does_not_take_is_told_and_not_decided(server: ReviewServer) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40, limits[1]))
    try:
        status, body, _ = ask(server, "POST", "api/decide", accepting(server))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert status == 507
    assert "larger than the limit" in json.loads(body)["error"]
    assert server.session.overview()["decided"] == 0
    assert server.session.log.path.read_bytes() == b""  # half a line was written, and taken back
    assert ask(server, "POST", "api/decide", accepting(server))[0] == 200


def test_requests_at_once_are_written_one_after_the_other(server: ReviewServer) -> None:
    statuses: list[int] = []

    def accept(place: int) -> None:
        item = server.session.shape(place)["item"]
        while True:
            seen = json.loads(ask(server, "GET", "api/session")[1])["seen"]
            body = accepting(server, place=place, item=item, seen=seen)
            statuses.append(ask(server, "POST", "api/decide", body)[0])
            if statuses[-1] == 200:
                return

    threads = [threading.Thread(target=accept, args=(place,)) for place in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {one.item for one in read_decisions(server.session.log.path)} == {
        server.session.shape(place)["item"] for place in range(8)
    }
    assert set(statuses) <= {200, 409}


def test_a_taken_port_is_named(server: ReviewServer) -> None:
    with pytest.raises(UserError, match=r"port=\d+: cannot be listened on"):
        ReviewServer(server.session, server.server_address[1])


def test_the_command_serves_until_it_is_interrupted(tmp_path: Path) -> None:
    dataset = boxes(tmp_path)
    command = [
        sys.executable,
        "-m",
        "align3d.review",
        f"dataset={dataset.path}",
        "sample=0.5",
        "reviewer=ada",
    ]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert "6 of 12 shapes" in said
        port, token = re.findall(r"http://127\.0\.0\.1:(\d+)/([\w-]{32})/ ", said)[0]
        connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=10)
        connection.request("GET", f"/{token}/api/session")
        assert json.loads(connection.getresponse().read())["reviewer"] == "ada"
        second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert second.returncode == 2
        assert "is open in another review" in second.stderr
    finally:
        os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")
    assert "0 decisions" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sample=0.1"], "dataset=DIR is missing"),
        (["dataset=/nowhere"], "no dataset at /nowhere"),
        (["dataset={}", "sample=0"], "sample=0: expected greater than 0"),
        (["dataset={}", "sample=5"], "sample=5: expected less than or equal to 1"),
        (["dataset={}", "reviewer=../x"], "reviewer=../x: expected letters"),
        (["dataset={}", "port=70000"], "port=70000"),
    ],
)
def test_mistakes_are_one_line(
    dataset: ShapeDataset, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert align3d.review.main([one.format(dataset.path) for one in arguments]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1

"""Who may ask the page for something, what the command takes, and how visitors are kept apart."""

import threading

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from align3d.errors import UserError
from experiments.console.local_server import bound_socket, is_loopback
from experiments.demo_page.access import Access
from experiments.demo_page.demo_options import parse, usage
from experiments.demo_page.demo_server import names_of
from experiments.demo_page.refusals import RefusedRequest
from experiments.demo_page.upload_format import suffix_of
from experiments.demo_page.visitors import Visitors
from experiments.demo_page.work_queue import WorkQueue

TOKEN = "sesame-sesame-sesame"


async def answer(path: str, headers: dict[str, str], method: str = "GET") -> tuple[int, dict[str, str]]:
    """Status and headers by which `Access` answers."""

    async def there(_: Request) -> Response:
        return PlainTextResponse("there")

    app = Access(Starlette(routes=[Route("/", there, methods=["GET", "POST"])]), TOKEN, {"127.0.0.1", "::1"})
    said: list[dict] = []

    async def receive() -> dict:
        return {"type": "http.request", "body": b""}

    async def send(message: dict) -> None:
        said.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    }
    await app(scope, receive, send)
    start = next(one for one in said if one["type"] == "http.response.start")
    return start["status"], {name.decode(): value.decode() for name, value in start["headers"]}


def status(path: str, headers: dict[str, str], method: str = "GET") -> int:
    import asyncio

    return asyncio.run(answer(path, headers, method))[0]


HOST = {"Host": "127.0.0.1:80"}


def test_the_token_and_the_name_of_the_machine_let_in() -> None:
    assert status(f"/{TOKEN}/", HOST) == 200
    assert status(f"/{TOKEN}/", {"Host": "[::1]:8000"}) == 200
    assert status(f"/{TOKEN}", HOST) == 307
    for path in ("/", "//", f"/{TOKEN}x/", f"/{TOKEN[:-1]}/", f"/x/{TOKEN}/", "/ü/"):
        assert status(path, HOST) == 404, path
    for host in ("evil.example", "127.0.0.1.evil.example", "127.0.0.2:80", "[::1", ""):
        assert status(f"/{TOKEN}/", {"Host": host}) == 421, host


def test_another_site_cannot_ask() -> None:
    own = {"Origin": "http://127.0.0.1:80"}
    assert status(f"/{TOKEN}/", HOST | own, "POST") == 200
    assert status(f"/{TOKEN}/", HOST, "POST") == 403
    for origin in ("null", "http://evil.example", "https://127.0.0.1:80", "http://127.0.0.1:81"):
        assert status(f"/{TOKEN}/", HOST | {"Origin": origin}, "POST") == 403, origin
    assert status(f"/{TOKEN}/", HOST | {"Sec-Fetch-Site": "cross-site"}) == 403
    assert status(f"/{TOKEN}/", HOST | {"Sec-Fetch-Site": "none"}) == 200


def test_every_answer_forbids_what_the_page_does_not_need() -> None:
    import asyncio

    for path in (f"/{TOKEN}/", "/other/"):
        _, headers = asyncio.run(answer(path, HOST))
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"


def test_names_of_the_machine() -> None:
    assert names_of("127.0.0.1") >= {"127.0.0.1", "localhost", "::1"}
    assert names_of("Box.local") == {"box.local"}
    assert names_of("0.0.0.0") >= {"127.0.0.1", "localhost"}
    assert "evil.example" not in names_of("0.0.0.0")
    assert is_loopback("localhost")
    assert is_loopback("127.0.0.3")
    assert is_loopback("[::1]")
    assert not is_loopback("0.0.0.0")
    assert not is_loopback("box.local")


def test_a_port_that_is_taken_is_one_line() -> None:
    with bound_socket("127.0.0.1", 0) as taken:
        taken.listen()
        with pytest.raises(UserError, match=r"port=\d+: cannot be listened on"):
            bound_socket("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(UserError, match=r"host=192\.0\.2\.1"):
        bound_socket("192.0.2.1", 0)  # an address that no machine has
    with pytest.raises(UserError, match=r"host=no\.such\.host\.invalid: no such address"):
        bound_socket("no.such.host.invalid", 0)


def test_the_command_line() -> None:
    assert parse(["run=outputs/a", "host=0.0.0.0"]).token is None  # one is made
    assert parse(["run=outputs/a", "token=short"]).token == "short"
    with pytest.raises(UserError, match="run=FOLDER is missing"):
        parse(["port=1"])
    with pytest.raises(UserError, match="5 letters, expected at least 16 where others reach host=0"):
        parse(["run=outputs/a", "host=0.0.0.0", "token=short"])
    with pytest.raises(UserError, match="token=…: expected letters") as told:
        parse(["run=outputs/a", "token=a/../secret"])
    assert "secret" not in str(told.value)
    with pytest.raises(UserError, match="port"):
        parse(["run=outputs/a", "port=70000"])
    assert "host=" in usage()


def test_visitors_do_not_share_and_are_forgotten_in_time() -> None:
    now = [0.0]
    visitors = Visitors(most=2, patience=10, clock=lambda: now[0])
    one, two, three = ("1" * 32, "2" * 32, "3" * 32)
    visitors.named(one).state["calibrate"] = "mine"
    assert visitors.named(two).state == {}
    assert visitors.named(one).state == {"calibrate": "mine"}
    visitors.named(three)  # too many: the second was heard of longest ago
    assert len(visitors) == 2
    assert visitors.named(one).state == {"calibrate": "mine"}
    now[0] = 11.0
    assert visitors.named(one).state == {}
    for name in (None, "", "../x", "1" * 31, "G" * 32):
        with pytest.raises(UserError, match="X-Visitor"):
            visitors.named(name)


def test_a_queue_refuses_what_would_wait_for_too_long() -> None:
    import asyncio

    async def asked() -> list[object]:
        queue, gate = WorkQueue(1, most=2), threading.Event()
        waiting = [asyncio.create_task(queue.run(gate.wait, 10)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(RefusedRequest) as told:
            await queue.run(int)
        assert told.value.status == 503
        gate.set()
        found = await asyncio.gather(*waiting)
        found.append(await queue.run(int, "3"))
        queue.close()
        return found

    assert asyncio.run(asked()) == [True, True, 3]


@pytest.mark.parametrize(
    ("content", "name", "suffix"),
    [
        (b"glTF\x02\0\0\0", "a.txt", ".glb"),
        (b'{"asset": {"version": "2.0"}}', "a", ".gltf"),
        (b"ply\nformat ascii 1.0\n", "a.obj", ".ply"),
        (b"#VRML V2.0 utf8\n", "a", ".wrl"),
        (b"ISO-10303-21;\n", "a", ".step"),
        (b"\xef\xbb\xbfOFF\n3 1 0\n", "a", ".off"),
        (b"COFF 3 1 0\n", "a", ".off"),
        (b"solid a\n facet normal 0 0 1\n", "a", ".stl"),
        (b"solid but binary".ljust(80) + (1).to_bytes(4, "little") + bytes(50), "a", ".stl"),
        (b"# a comment\nmtllib x.mtl\nv 0 0 0\nv 1 0 0\n", "a.ply", ".obj"),
        (b"# x y z\n0.5 1e-3 -2\n1 2 3\n", "a.csv", ".xyz"),
        (b"1 2 3 0.1 0.2 0.3\n", "a.XYZRGB", ".xyzrgb"),
        (b"1,5;2,5;3,5\n", "a.pts", ".pts"),
    ],
)
def test_a_format_is_told_by_what_a_file_holds(content: bytes, name: str, suffix: str) -> None:
    assert suffix_of(content, name) == suffix


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\x03\x04", b"%PDF-1.7 1 2 3", b"#!/bin/sh\nrm -rf /\n", b"\x7fELF\0\0", b"{}", b"\0" * 200],
)
def test_what_is_no_shape_is_refused(content: bytes) -> None:
    with pytest.raises(RefusedRequest, match="no mesh or cloud"):
        suffix_of(content, "a.glb")

"""Client of a server of chat completions: what it does about every way in which a server can fail."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from align3d.captioning import openai_chat
from align3d.captioning.caption_settings import CaptionerSettings
from align3d.captioning.chat import Answer, CaptionerError, ChatRequest
from align3d.captioning.openai_chat import OpenAIChat
from align3d.captioning.spending import Spending
from tests.align3d.captioning.chat_server import Said, Say, chat_server, pictures

REQUEST = ChatRequest("chair_7", "what is it?", 100, 0.0)
SECRET = "sk-verysecret-0123456789"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(openai_chat, "_FIRST_WAIT", 0.01)
    monkeypatch.setenv("CHAT_KEY", SECRET)


def ask(url: str, folder: Path, request: ChatRequest = REQUEST, **settings: Any) -> tuple[Answer, Spending]:
    given = CaptionerSettings(
        steps=("views",),
        url=url,
        model="m",
        **{"retries": 2, "timeout": 2.0, "key_env": "CHAT_KEY", **settings},
    )
    stopped = threading.Event()
    spending = Spending(folder / "account.json", given, stopped)
    model = OpenAIChat(given, "m", spending, stopped)
    try:
        return model.ask(request), spending
    finally:
        model.close()


def test_a_question_with_pictures(tmp_path: Path) -> None:
    request = ChatRequest("chair_7", "what?", 100, 0.0, lambda: [b"one", b"two"], 2, "k")
    with chat_server(lambda body, number: "a red chair") as server:
        answer, spending = ask(server.url, tmp_path, request, price_in=2.0, price_out=10.0)
    assert answer == Answer("a red chair", "stop", 1000, 100, True)
    (body,) = server.bodies
    assert body["model"] == "m"
    assert body["max_tokens"] == 100
    assert pictures(body) == ["data:image/png;base64,b25l", "data:image/png;base64,dHdv"]
    assert server.keys == [f"Bearer {SECRET}"]
    account = spending.account()
    assert (account.asked, account.tokens_in, account.tokens_out) == (1, 1000, 100)
    assert account.cost == pytest.approx(0.003)
    assert account.reserved == pytest.approx(0.0)


def test_options_are_added_and_taken_out(tmp_path: Path) -> None:
    options = '{"max_tokens": null, "max_completion_tokens": 50}'
    with chat_server(lambda body, number: "a red chair") as server:
        ask(server.url, tmp_path, options=options)
    assert "max_tokens" not in server.bodies[0]
    assert server.bodies[0]["max_completion_tokens"] == 50


HALF = json.dumps({"choices": [{"message": {"content": "a red ch"}}]}).encode()[:-20]


@pytest.mark.parametrize(
    "fault",
    [
        Said(code=429),
        Said(code=500, body=b"<html>oops</html>"),
        Said(code=503, headers={"Retry-After": "0"}),
        Said("a red chair", cut=0),
        Said("a red chair", cut=40),
        Said(body=HALF),
        Said(body=b""),
        Said(body=b'{"choices": []}'),
        Said(body=b'{"error": {"message": "overloaded"}}'),
        Said(body=b"[" * 100_000),
        Said("late", wait=1.0),
    ],
    ids=[
        "429",
        "500",
        "503",
        "cut",
        "cut-body",
        "half-json",
        "empty",
        "no-choice",
        "error-200",
        "deep",
        "late",
    ],
)
def test_what_may_pass_is_asked_again(tmp_path: Path, fault: Said) -> None:
    def say(body: dict[str, Any], number: int) -> Said | str:
        return fault if number == 0 else "a red chair"

    with chat_server(say) as server:
        answer, _ = ask(server.url, tmp_path, timeout=0.5 if fault.wait else 30.0)
    assert answer.text == "a red chair"
    assert server.asked == 2


@pytest.mark.parametrize("date", [False, True])
def test_the_wait_that_a_server_asks_for_is_kept(tmp_path: Path, date: bool) -> None:
    def say(body: dict[str, Any], number: int) -> Said | str:
        until = format_datetime(datetime.now(UTC) + timedelta(seconds=3), usegmt=True)
        return Said(code=429, headers={"Retry-After": until if date else "0.7"}) if number == 0 else "a chair"

    with chat_server(say) as server:
        ask(server.url, tmp_path)
    waited = server.times[1] - server.times[0]
    assert waited >= (1.0 if date else 0.65)


def test_a_server_that_asks_for_an_hour_ends_at_once(tmp_path: Path) -> None:
    say: Say = lambda body, number: Said(code=503, headers={"Retry-After": "3600"})  # noqa: E731
    with chat_server(say) as server, pytest.raises(CaptionerError, match="asks to wait 3600 s"):
        ask(server.url, tmp_path)
    assert server.asked == 1


def test_waits_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_chat, "_FIRST_WAIT", 0.1)
    say: Say = lambda body, number: Said(code=500)  # noqa: E731
    with (
        chat_server(say) as server,
        pytest.raises(CaptionerError, match=r"does not answer \(500; asked 4 times"),
    ):
        ask(server.url, tmp_path, retries=3)
    first, second, third = (b - a for a, b in zip(server.times, server.times[1:], strict=False))
    assert first >= 0.05
    assert second >= 0.1
    assert third >= 0.2


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        with pytest.raises(CaptionerError, match=r"cannot be reached.*asked 3 times.*about chair_7"):
            ask(url, tmp_path)


@pytest.mark.parametrize(
    ("code", "hint"),
    [(401, "key_env right"), (403, "may this key"), (404, "model=m right"), (302, "redirections")],
)
def test_what_will_not_pass_ends_at_once_and_without_the_key(tmp_path: Path, code: int, hint: str) -> None:
    body = json.dumps({"error": {"message": f"Incorrect API key provided: {SECRET}"}}).encode()
    say: Say = lambda _, number: Said(code=code, body=body, headers={"Location": "http://127.0.0.1:9/"})  # noqa: E731
    with chat_server(say) as server, pytest.raises(CaptionerError, match=hint) as caught:
        ask(server.url, tmp_path)
    assert server.asked == 1
    assert SECRET not in str(caught.value)


def test_an_empty_purse_ends_at_once(tmp_path: Path) -> None:
    body = b'{"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}'
    with (
        chat_server(lambda _, number: Said(code=429, body=body)) as server,
        pytest.raises(CaptionerError, match="paid"),
    ):
        ask(server.url, tmp_path)
    assert server.asked == 1


def test_one_refused_question_is_an_answer_where_others_were_answered(tmp_path: Path) -> None:
    def say(body: dict[str, Any], number: int) -> Said | str:
        return Said(code=400, body=b'{"error": {"message": "image too small"}}') if number != 1 else "a chair"

    with chat_server(say) as server:
        with pytest.raises(CaptionerError, match="400: image too small"):  # the first: a wrong setting
            ask(server.url, tmp_path)
        ask(server.url, tmp_path)
        answer, _ = ask(server.url, tmp_path)
    assert answer == Answer("image too small", "refused")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (Said("a chair", finish="length"), Answer("a chair", "length", 1000, 100)),
        (Said("x", finish="content_filter"), Answer("x", "refused", 1000, 100)),
        (Said(None), Answer("", "stop", 1000, 100)),
        (Said(["no", "text"], finish=None), Answer("", "stop", 1000, 100)),
        (Said([{"type": "text", "text": "a chair"}]), Answer("a chair", "stop", 1000, 100)),
        (Said("half \ud800"), Answer("half \ufffd", "stop", 1000, 100)),
    ],
)
def test_odd_answers_are_answers(tmp_path: Path, said: Said, expected: Answer) -> None:
    def say(body: dict[str, Any], number: int) -> Said:
        return said

    with chat_server(say) as server:
        if said.text == ["no", "text"]:
            with pytest.raises(CaptionerError, match="without choices"):
                ask(server.url, tmp_path)
        else:
            assert ask(server.url, tmp_path)[0] == expected


def test_tokens_that_nobody_counts_are_estimated(tmp_path: Path) -> None:
    with chat_server(lambda body, number: Said("a red chair", usage=False)) as server:
        answer, spending = ask(server.url, tmp_path)
    assert not answer.is_counted
    assert answer.tokens_in > 0
    assert spending.account().estimated == 1


def test_the_rate_of_requests_is_kept_by_all_threads(tmp_path: Path) -> None:
    with chat_server(lambda body, number: "a red chair") as server:
        threads = [
            threading.Thread(target=ask, args=(server.url, tmp_path), kwargs={"requests_per_minute": 240})
            for _ in range(5)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    times = sorted(server.times)
    assert len(times) == 5
    assert times[-1] - times[0] >= 4 * 0.25 - 0.05


def test_the_rate_of_tokens_is_kept(tmp_path: Path) -> None:
    with chat_server(lambda body, number: "a red chair") as server:
        began = time.monotonic()
        for _ in range(3):  # of 1,100 tokens each, at 2,200 a second
            ask(server.url, tmp_path, tokens_per_minute=132_000)
    assert time.monotonic() - began >= 0.9


def test_the_budget_is_not_overspent_by_questions_under_way(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "price_in": 0.0,
        "price_out": 10_000.0,
        "budget": 2.5,
    }  # a question: at most 1.0
    faults: list[CaptionerError] = []

    def one() -> None:
        try:
            ask(server.url, tmp_path, **settings)
        except CaptionerError as error:
            faults.append(error)

    with chat_server(lambda body, number: Said("a red chair", wait=0.2)) as server:
        threads = [threading.Thread(target=one) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert server.asked == 2
    assert len(faults) == 4
    assert all("captioner.budget=2.5 is spent" in str(fault) for fault in faults)
    settled = CaptionerSettings(steps=("views",), url=server.url, model="m", **settings)
    account = Spending(tmp_path / "account.json", settled).account()
    assert account.cost == pytest.approx(2.0)
    assert account.cost <= 2.5


def test_an_answer_that_was_lost_is_counted_as_paid(tmp_path: Path) -> None:
    def say(body: dict[str, Any], number: int) -> Said | str:
        return Said(body=HALF) if number == 0 else "a chair"

    with chat_server(say) as server:
        _, spending = ask(server.url, tmp_path, price_out=10_000.0)
    assert spending.account().cost == pytest.approx(2.0)


def test_what_determines_the_answer_is_its_key() -> None:
    def key(request: ChatRequest = REQUEST, model: str = "m", **settings: Any) -> str:
        given = CaptionerSettings(steps=("views",), **{"url": "http://a/v1", "model": model, **settings})
        return OpenAIChat(given, model, Spending(Path("x"), given), threading.Event()).key(request)

    assert key() == key(url="http://b/v1") == key(timeout=3.0)
    others = [
        key(model="n"),
        key(options='{"seed": 1}'),
        key(ChatRequest("chair_7", "what else?", 100, 0.0)),
        key(ChatRequest("chair_7", "what is it?", 101, 0.0)),
        key(ChatRequest("chair_7", "what is it?", 100, 0.5)),
        key(ChatRequest("chair_7", "what is it?", 100, 0.0, tuple, 1, "views")),
    ]
    assert len({key(), *others}) == 7
    assert key(ChatRequest("chair_8", "what is it?", 100, 0.0)) == key()


def test_a_pause_that_a_server_asks_for_holds_for_all(tmp_path: Path) -> None:
    def say(body: dict[str, Any], number: int) -> Said | str:
        return Said(code=429, headers={"Retry-After": "1.5"}) if number == 0 else "a chair"

    with chat_server(say) as server:
        threads = [threading.Thread(target=ask, args=(server.url, tmp_path)) for _ in range(3)]
        threads[0].start()
        given = CaptionerSettings(steps=("views",), url=server.url, model="m")
        while not Spending(tmp_path / "account.json", given).account().paused:
            time.sleep(0.01)
        for thread in threads[1:]:
            thread.start()
        for thread in threads:
            thread.join()
    first, *others = sorted(server.times)
    assert len(others) == 3
    assert min(others) - first >= 1.4


GARBAGE = {
    "nothing": b"",
    "no HTTP": b"\x00\xff\x01 220 smtp.example.com ESMTP\r\n",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Type: appl",
    "wrong length": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n{}",
    "too long a head": b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 300_000 + b"\r\n\r\n",
    "bad chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\nnothing",
    "no gzip": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd",
    "huge": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + b"[" * (5 << 20),
}


@contextmanager
def raw_server(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """Run a server that reads something and then does as it likes with the connection."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                with connection, suppress(OSError):
                    connection.recv(1 << 16)
                    talk(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE)
def test_what_is_no_answer_of_http_ends_in_one_line(tmp_path: Path, data: bytes) -> None:
    talk: Callable[[socket.socket], None] = lambda connection: connection.sendall(data)  # noqa: E731
    with raw_server(talk) as url, pytest.raises(CaptionerError, match="does not answer") as caught:
        ask(url, tmp_path, retries=1)
    assert len(str(caught.value)) < 500


def test_an_answer_that_drips_is_given_up(tmp_path: Path) -> None:
    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")
        for _ in range(100):
            connection.sendall(b"[")
            time.sleep(0.1)

    began = time.monotonic()
    with raw_server(drip) as url, pytest.raises(CaptionerError, match=r"no whole answer within 0\.5 s"):
        ask(url, tmp_path, retries=0, timeout=0.5)
    assert time.monotonic() - began < 5

"""Client of a server that speaks OpenAI's chat completions: tries again, within rates and a budget."""

from __future__ import annotations

import base64
import importlib
import json
import random
import re
import threading
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from align3d.captioning.caption_settings import PREFIX, CaptionerSettings
from align3d.captioning.chat import Answer, CaptionerError, ChatRequest, Stopped
from align3d.captioning.spending import Spending
from align3d.errors import UserError
from align3d.hashing import hash_json

FORMAT = 1
"""Version of how a question is put."""
MOST_BYTES = 1 << 22
"""Largest answer that is read."""
_PASSING = (408, 409, 423, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529)
"""Codes of faults that may pass."""
_OF_THE_QUESTION = (400, 413, 422)
"""Codes by which a server refuses one question, where it has answered others."""
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 60.0


class _Fault(Exception):
    """A try that failed in a way that may pass.

    Attributes:
        reason: What happened, for people.
        wait: Seconds that the server asks to wait; None where it does not say.
        is_paid: Whether the server may have worked on it.
    """

    def __init__(self, reason: str, wait: float | None = None, *, is_paid: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.wait, self.is_paid = reason, wait, is_paid


class OpenAIChat:
    """A model behind a server. Nothing is sent but to ``captioner.url``; redirections are not followed.

    Args:
        settings: Address, key, rates and limits.
        model: Name of the model there.
        spending: Account of the build.
        stopped: Set when nothing more is to be asked: who waits to ask again gives up.
    """

    def __init__(
        self, settings: CaptionerSettings, model: str, spending: Spending, stopped: threading.Event
    ) -> None:
        self._settings, self._spending, self._stopped = settings, spending, stopped
        self._model, self._secret, self._connecting = model, "", threading.Lock()
        self._http: Any = None
        self._client: Any = None
        base = str(settings.url).rstrip("/")
        self._url = base if base.endswith("/chat/completions") else f"{base}/chat/completions"

    def connect(self) -> None:
        """Read the key and open a client, once.

        Raises:
            UserError: The environment lacks the key, or httpx2 is not installed.
        """
        with self._connecting:
            if self._client is not None:
                return
            try:
                self._http = importlib.import_module("httpx2")
            except ImportError as error:
                raise UserError(f"{PREFIX}url needs httpx2: pip install 'align3d[captions]'") from error
            self._secret, settings = self._settings.key(), self._settings
            headers = {"Authorization": f"Bearer {self._secret}"} if self._secret else {}
            self._client = self._http.Client(
                headers=headers,
                timeout=self._http.Timeout(settings.timeout, connect=min(settings.timeout, 20.0)),
                limits=self._http.Limits(max_connections=settings.parallel, keepalive_expiry=2.0),
            )

    def key(self, request: ChatRequest) -> str:
        """Sha256 hex of the model, the question and what determines the pictures; not of the address."""
        parts = [FORMAT, self._model, request.text, request.pictures_key, request.max_tokens]
        return hash_json([*parts, float(request.temperature), self._settings.request_options()])

    def ask(self, request: ChatRequest) -> Answer:
        """The answer of the server, asked again after faults that may pass.

        Raises:
            CaptionerError: It does not answer, refuses the key or the model, or the budget is spent.
        """
        body = self._body(request)
        self.connect()
        begun, reason = time.monotonic(), ""
        for count in range(self._settings.retries + 1):
            amount = self._spending.reserve(request)
            try:
                answer = self._once(body, request)
            except _Fault as fault:
                (self._spending.lose if fault.is_paid else self._spending.release)(amount)
                reason = fault.reason
                if count < self._settings.retries:
                    self._wait(count, fault)
                continue
            except BaseException:
                self._spending.release(amount)
                raise
            self._spending.settle(amount, request, answer)
            return answer
        seconds = time.monotonic() - begun
        raise CaptionerError(
            f"the captioner at {self._url} does not answer ({reason}; asked {self._settings.retries + 1} "
            f"times in {seconds:.0f} s, the last time about {request.about})"
        )

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()

    def _body(self, request: ChatRequest) -> bytes:
        content: list[dict[str, Any]] = [{"type": "text", "text": request.text}]
        for picture in request.pictures():
            url = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
            content.append({"type": "image_url", "image_url": {"url": url}})
        body = {
            "model": self._model,
            "messages": [{"role": "user", "content": content if len(content) > 1 else request.text}],
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
        } | self._settings.request_options()
        return json.dumps({name: value for name, value in body.items() if value is not None}).encode()

    def _once(self, body: bytes, request: ChatRequest) -> Answer:
        """One try.

        Raises:
            _Fault: It failed, and the next one may not.
            CaptionerError: It failed for good.
        """
        http, until = self._http, time.monotonic() + self._settings.timeout
        try:
            with self._client.stream(
                "POST", self._url, content=body, headers={"Content-Type": "application/json"}
            ) as response:
                code, headers, data = response.status_code, response.headers, bytearray()
                for chunk in response.iter_bytes():
                    data += chunk
                    if len(data) > MOST_BYTES:
                        raise _Fault(f"an answer of more than {MOST_BYTES:,} bytes", is_paid=True)
                    if time.monotonic() > until:
                        raise _Fault(f"no whole answer within {self._settings.timeout:g} s", is_paid=True)
        except (http.ConnectError, http.ConnectTimeout, http.PoolTimeout) as error:
            raise _Fault(f"cannot be reached: {self._plain(str(error)) or type(error).__name__}") from error
        except http.TimeoutException as error:
            raise _Fault(f"no answer within {self._settings.timeout:g} s", is_paid=True) from error
        except (http.HTTPError, http.StreamError) as error:
            raise _Fault(
                f"connection cut: {self._plain(str(error)) or type(error).__name__}", is_paid=True
            ) from error
        if code != 200:
            return self._refused(code, headers, bytes(data), request)
        return self._answer(bytes(data), request)

    def _refused(self, code: int, headers: Any, data: bytes, request: ChatRequest) -> Answer:
        """What an answer with another code than 200 means."""
        said = self._message(data)
        told = f"{code}{f': {said}' if said else ''}"
        kind = data.decode(errors="replace")
        if "insufficient_quota" in kind or "billing" in kind[:400]:
            raise CaptionerError(f"the captioner at {self._url} wants to be paid ({told})")
        if code in _PASSING:
            wait = _retry_after(headers)
            if wait is not None and wait > self._settings.patience:
                raise CaptionerError(
                    f"the captioner at {self._url} asks to wait {wait:.0f} s ({told}), more than "
                    f"{PREFIX}patience={self._settings.patience:g}"
                )
            raise _Fault(told, wait)
        if code in _OF_THE_QUESTION and ("content_filter" in kind or self._spending.has_answered()):
            return Answer(said, "refused")
        hint = {
            401: f"; is {PREFIX}key_env right?",
            403: f"; may this key use {PREFIX}model={self._model}?",
            404: f"; are {PREFIX}url and {PREFIX}model={self._model} right?",
        }.get(code, "; redirections are not followed" if 300 <= code < 400 else "")
        raise CaptionerError(
            f"the captioner at {self._url} refuses to answer about {request.about} ({told}){hint}"
        )

    def _answer(self, data: bytes, request: ChatRequest) -> Answer:
        """The answer in a body of JSON."""
        try:
            content = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise _Fault(
                f"half an answer, or no JSON: {self._plain(data[:60].decode(errors='replace'))!r}",
                is_paid=True,
            ) from error
        if isinstance(content, dict) and content.get("error"):  # some servers say so with code 200
            raise _Fault(self._message(data) or "an error without a message")
        try:
            choice = content["choices"][0]
            message = choice["message"]
            said = message.get("content")
            if isinstance(said, list):
                said = " ".join(part["text"] for part in said if part.get("type") == "text")
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise _Fault("an answer without choices", is_paid=True) from error
        finish = choice.get("finish_reason")
        finish = finish if isinstance(finish, str) else "stop"
        if isinstance(refusal := message.get("refusal"), str) and refusal.strip():
            said, finish = refusal, "refused"
        if finish == "content_filter":
            finish = "refused"
        text = said if isinstance(said, str) else ""
        usage = content.get("usage")
        counts = [
            usage.get(name) if isinstance(usage, dict) else None
            for name in ("prompt_tokens", "completion_tokens")
        ]
        text = _without_halves(text)
        whole = [count for count in counts if type(count) is int and 0 <= count < 1 << 31]
        if len(whole) == 2:
            return Answer(text, finish, whole[0], whole[1])
        return Answer(text, finish, self._spending.estimated(request), len(text.encode()) // 3 + 1, False)

    def _message(self, data: bytes) -> str:
        """What a server says of an error, in a line and without the key."""
        try:
            content = json.loads(data)
            found = next((content[name] for name in ("error", "message", "detail") if content.get(name)), "")
            found = found.get("message", "") if isinstance(found, dict) else found
        except (ValueError, AttributeError, RecursionError):
            found = re.sub(rb"<[^>]*>", b" ", data).decode(errors="replace")
        return self._plain(str(found))

    def _plain(self, text: str) -> str:
        if self._secret:
            text = text.replace(self._secret, "***")
        text = re.sub(r"\b(sk|key|Bearer)[-_ ][\w*.-]{6,}", "***", _without_halves(text))
        return " ".join(text.split())[:200]

    def _wait(self, count: int, fault: _Fault) -> None:
        """Wait before the next try: as long as the server asks, else twice as long each time, at random."""
        if fault.wait is not None:  # all workers wait for that, before they send the next question
            self._spending.pause(fault.wait)
            return
        longest = min(_LONGEST_WAIT, self._settings.patience, _FIRST_WAIT * 2.0**count)
        if self._stopped.wait(random.uniform(0.5 * longest, longest)):
            raise Stopped


def _retry_after(headers: Any) -> float | None:
    """Seconds that a server asks to wait: a number, or until a date (RFC 9110, section 10.2.3)."""
    text = str(headers.get("retry-after", "")).strip()
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())


def _without_halves(text: str) -> str:
    """Text in which halves of surrogate pairs are replacement characters."""
    return re.sub(r"[\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", text)

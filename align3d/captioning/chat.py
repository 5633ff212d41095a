"""Protocol of a model that answers a question about pictures or texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from align3d.building.stages import ServiceDown


class CaptionerError(ServiceDown):
    """A model cannot be asked any further; what was answered is kept, and the same call goes on."""


class Stopped(CaptionerError):
    """A question was given up because another one has ended the build."""

    def __init__(self, *_: str) -> None:
        super().__init__("stopped")


@dataclass(frozen=True)
class ChatRequest:
    """A question.

    Attributes:
        about: What it is about, for messages: a shape's id.
        text: The question.
        max_tokens: Largest number of tokens of the answer.
        temperature: Temperature of the draws.
        pictures: Draws the pictures that go with it, PNG files; called when the answer is not known yet.
        num_pictures: How many these are.
        pictures_key: What determines the pictures, for the cache; empty where there are none.
    """

    about: str
    text: str
    max_tokens: int
    temperature: float
    pictures: Callable[[], Sequence[bytes]] = field(default=tuple, compare=False)
    num_pictures: int = 0
    pictures_key: str = ""


@dataclass(frozen=True)
class Answer:
    """An answer, whole or not.

    Attributes:
        text: What the model said.
        finish: Why it stopped: ``stop``, ``length``, ``refused``, or what else a server says.
        tokens_in: Tokens of the question, as the server counts them.
        tokens_out: Tokens of the answer, likewise.
        is_counted: Whether a server counted them; they are estimated otherwise.
    """

    text: str
    finish: str = "stop"
    tokens_in: int = 0
    tokens_out: int = 0
    is_counted: bool = True


class ChatModel(Protocol):
    """A model that is asked one question at a time, by any number of threads."""

    def key(self, request: ChatRequest) -> str:
        """Sha256 hex of all that determines the answer, by which it is kept."""
        ...

    def connect(self) -> None:
        """Make sure that it can be asked, as far as that can be known without asking.

        Raises:
            UserError: Something is missing: a key, a package.
        """
        ...

    def ask(self, request: ChatRequest) -> Answer:
        """The answer.

        Raises:
            CaptionerError: There is none to be had.
        """
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...

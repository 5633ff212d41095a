"""Protocol of a source of captions: what it is given of a shape, and what it offers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, runtime_checkable


@dataclass(frozen=True)
class Caption:
    """A caption and where it comes from, such as ``footprint`` or ``views:MODEL``."""

    text: str
    origin: str


@dataclass(frozen=True)
class Subject:
    """A shape that is to be captioned.

    Attributes:
        id: Unique within its source.
        category: Family, class or folder; may be empty.
        part_names: Names of its parts.
        size_m: Extent of its bounding box in meters along x, y, z.
        content_hash: SHA-256 hex of what determines the shape.
        own: Captions that its source gives.
        drawn_as: What is drawn of it: its surface, many points, or those that are stored.
        draw: Draws its views, as PNG files; called only where they are needed.
    """

    id: str
    category: str
    part_names: tuple[str, ...]
    size_m: tuple[float, float, float]
    content_hash: str
    own: tuple[Caption, ...]
    drawn_as: str
    draw: Callable[[], Sequence[bytes]]


@dataclass(frozen=True)
class Offer:
    """What a source of captions has to say of a shape.

    Attributes:
        captions: Captions that passed its checks, the best first; may be empty.
        problems: Why others were left out, a line each; the build lists them by the shape's name.
    """

    captions: tuple[Caption, ...] = ()
    problems: tuple[str, ...] = field(default=())


@runtime_checkable
class CaptionSource(Protocol):
    """A source of captions: one step of those in ``captioner.steps``.

    Attributes:
        name: How the step is called, and how the origin of its captions begins.
        waits: Whether it waits for a model, so that several shapes are worth asking about at once.
    """

    name: ClassVar[str]
    waits: ClassVar[bool]

    def fingerprint(self) -> str:
        """Sha256 hex of all that determines its captions, the shape and the model's answers aside."""
        ...

    def captions(self, subject: Subject, earlier: Sequence[Caption]) -> Offer:
        """Captions of a shape, the same for the same shape and the same answers.

        Args:
            subject: The shape.
            earlier: What the steps before this one offered.

        Raises:
            CaptionerError: A model does not answer; the build ends, and its next call goes on.
        """
        ...

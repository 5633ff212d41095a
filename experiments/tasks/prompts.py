"""Prompts of zero-shot classification: names of classes, their aliases, and an ensemble of templates.

The 64 templates in ``templates.txt`` are our own, in the spirit of those of ULIP and CLIP: what they are is
written down with each result by name and hash, as figures with other templates differ.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from align3d.errors import UserError

TEMPLATES = Path(__file__).with_name("templates.txt")
ALIASES: Mapping[str, tuple[str, ...]] = {
    "desk": ("desk", "writing desk"),
    "glass box": ("glass box", "glass case"),
    "monitor": ("monitor", "computer monitor"),
    "night stand": ("night stand", "nightstand", "bedside table"),
    "range hood": ("range hood", "kitchen hood"),
    "sofa": ("sofa", "couch"),
    "tv stand": ("tv stand", "television stand"),
    "xbox": ("xbox", "game console"),
}
"""Words for a class beside its own name, by that name as it is spoken."""
_SEPARATORS = re.compile(r"[\s_-]+")


@dataclass(frozen=True)
class PromptSet:
    """Templates that are filled with each name of a class.

    Attributes:
        name: Of the set.
        templates: With one ``{}`` each.
        aliases: Other words for a class, by its name as it is spoken; a class without any has its own name.
        verbatim: Whether labels are put in as they are written, as is the custom with Objaverse-LVIS
            (``arctic_(type_of_shoe)``); otherwise underscores are blanks.
    """

    name: str
    templates: tuple[str, ...]
    aliases: Mapping[str, tuple[str, ...]]
    verbatim: bool = False

    @cached_property
    def hash(self) -> str:
        """Changes with what is asked, 16 hex digits."""
        facts = [*self.templates, *(f"{k}={v}" for k, v in sorted(self.aliases.items())), self.verbatim]
        return hashlib.sha256("\n".join(map(str, facts)).encode()).hexdigest()[:16]

    def names_of(self, label: str) -> tuple[str, ...]:
        """The words that stand for a class in its prompts."""
        if self.verbatim:
            return (label,)
        spoken_label = spoken(label)
        return self.aliases.get(spoken_label.casefold(), (spoken_label,))

    def prompts_of(self, label: str) -> list[str]:
        """All prompts of a class: each template with each of its names."""
        return [template.format(name) for name in self.names_of(label) for template in self.templates]

    def prompts(self, labels: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
        """Prompts of classes.

        Args:
            labels: C.

        Returns:
            P prompts, and ``[P]`` the class of each.
        """
        by_class = [self.prompts_of(label) for label in labels]
        owners = np.repeat(np.arange(len(labels)), [len(own) for own in by_class])
        return [prompt for own in by_class for prompt in own], owners


def read_templates(path: Path = TEMPLATES, *, verbatim: bool = False) -> PromptSet:
    """The prompt set of a text file, one template a line with ``{}`` for the class; ``#`` begins a comment.

    Raises:
        UserError: It cannot be read, holds no template, or a line is none.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"prompts={path}: cannot be read ({error}); expected a text file") from error
    templates = tuple(line for line in lines if line and not line.startswith("#"))
    for template in templates:
        if template.count("{}") != 1 or set("{}") & set(template.replace("{}", "")):
            raise UserError(f"prompts={path}: {template!r}; expected one {{}} where the class stands")
    if not templates:
        raise UserError(f"prompts={path}: no template there; expected lines such as 'a model of a {{}}'")
    name = "align3d-64" if path == TEMPLATES else path.stem
    return PromptSet(name, templates, ALIASES, verbatim)


def spoken(label: str) -> str:
    """A label as it is spoken: ``night_stand`` is "night stand"."""
    return _SEPARATORS.sub(" ", label).strip()


def same_class(label: str) -> str:
    """What the spellings of a class have in common, as the order of classes differs from file to file."""
    return spoken(label).casefold()


def class_embeddings(
    prompts: NDArray[np.floating], owners: NDArray[np.int64], classes: int
) -> NDArray[np.float64]:
    """The embedding of each class: its prompts' embeddings of unit length, their mean, of unit length.

    Args:
        prompts: ``[P, D]``.
        owners: ``[P]`` class of each prompt.
        classes: Number of classes, C.

    Returns:
        ``[C, D]``.

    Raises:
        ValueError: A class has no prompt, or its prompts cancel out.
    """
    sums = np.zeros((classes, prompts.shape[1]))
    np.add.at(sums, owners, unit(prompts))
    counts = np.bincount(owners, minlength=classes)
    if (counts == 0).any():
        raise ValueError(f"class {int(counts.argmin())} has no prompt; expected at least one each")
    return unit(sums / counts[:, None])


def unit(vectors: NDArray[np.floating]) -> NDArray[np.float64]:
    """Vectors ``[N, D]`` of length 1.

    Raises:
        ValueError: One is zero or not finite.
    """
    wide = np.asarray(vectors, dtype=np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    wrong = ~np.isfinite(lengths[:, 0]) | (lengths[:, 0] == 0)
    if wrong.any():
        raise ValueError(f"vector {int(wrong.argmax())} is zero or not finite; expected a direction")
    return wide / lengths

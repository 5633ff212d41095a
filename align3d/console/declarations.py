"""Settings as they are declared: by the fields of a dataclass, or by the arguments of a class or function.

A setting's type and default are those of the field or argument; its comment stands in the docstring, under
``Attributes`` or ``Args``. Help pages and the comments of YAML files are made from it.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REQUIRED: Any = inspect.Parameter.empty
"""Default of a setting that must be given."""

_SECTION = re.compile(r"^(?:Args|Attributes):\n((?:[ ]+.*\n?|\n)*)", re.MULTILINE)
_ENTRY = re.compile(r"^    (\w+): (.*(?:\n(?:     .*)?)*)", re.MULTILINE)
_WORDS = {int: "whole number", float: "number", str: "text", bool: "true or false", Path: "path"}
_BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


@dataclass(frozen=True)
class Setting:
    """One setting.

    Attributes:
        name: Name of the field or argument.
        kind: Its annotation.
        default: Its default; `REQUIRED` where it has none.
        comment: What the docstring says of it, on one line and without marks; empty where it says nothing.
    """

    name: str
    kind: Any
    default: Any
    comment: str


def declared(owner: Callable[..., Any]) -> dict[str, Setting]:
    """The settings of a dataclass, a class or a function by name, in the order of their declaration."""
    fields: dict[str, dataclasses.Field[Any]] = {}
    hinted: Any = owner
    if dataclasses.is_dataclass(owner):
        fields = {field.name: field for field in dataclasses.fields(owner)}
    elif isinstance(owner, type):
        hinted = owner.__init__  # type: ignore[misc]
    hints = typing.get_type_hints(hinted, include_extras=True)
    said = comments(owner)
    found = {}
    for name, parameter in inspect.signature(owner).parameters.items():
        default = parameter.default
        if name in fields and callable(factory := fields[name].default_factory):
            default = factory()
        found[name] = Setting(name, hints.get(name, Any), default, said.get(name, ""))
    return found


def comments(owner: Callable[..., Any]) -> dict[str, str]:
    """Comments of each setting from the docstring; a class also has those of its bases."""
    owners = reversed(owner.__mro__) if isinstance(owner, type) else (owner,)
    found: dict[str, str] = {}
    for one in owners:
        for section in _SECTION.findall(inspect.cleandoc(vars(one).get("__doc__") or one.__doc__ or "")):
            found |= {name: plain_text(text) for name, text in _ENTRY.findall(section)}
    return found


def summary(owner: Callable[..., Any]) -> str:
    """The first paragraph of a docstring, on one line and without marks."""
    return plain_text((inspect.getdoc(owner) or "").split("\n\n")[0])


def plain_text(text: str) -> str:
    """Text of a docstring on one line, without backticks, with null for None, its first letter a capital."""
    text = re.sub(r"\bNone\b", "null", " ".join(text.split()).replace("`", ""))
    return text[:1].upper() + text[1:] if re.match("[a-z]{2}", text) else text


def type_words(kind: Any) -> str:
    """An annotation in words, such as ``whole number ≥ 1, or null``; empty where any value will do."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return type_words(parts[0]) + _bounds(parts[1:])
    if origin is typing.Literal:
        return " | ".join(map(str, parts))
    if origin in (typing.Union, types.UnionType):
        words = dict.fromkeys(type_words(part) for part in parts if part is not types.NoneType)
        if "path" in words:
            words.pop("text", None)
        null = [", or null"] if types.NoneType in parts else []
        return "".join([" or ".join(filter(None, words)), *null])
    if origin in (list, tuple, Sequence):
        return f"list of {_plural(type_words(parts[0]))}" if parts else "list"
    if origin is Mapping or kind is dict:
        return "values by name"
    return _WORDS.get(kind, "path" if "PathLike" in str(kind) else "")


def _bounds(marks: Sequence[Any]) -> str:
    """Range that annotations of pydantic's and annotated-types' allow, in words, such as `` from 0 to 1``."""
    flat = [inner for mark in marks for inner in getattr(mark, "metadata", None) or [mark]]
    found = {name: getattr(mark, name, None) for mark in flat for name in _BOUNDS if hasattr(mark, name)}
    if found.keys() == {"ge", "le"}:
        return f" from {found['ge']} to {found['le']}"
    if found.keys() == {"gt", "lt"}:
        return f" between {found['gt']} and {found['lt']}"
    return ",".join(f" {_BOUNDS[name]} {bound}" for name, bound in found.items())


def _plural(words: str) -> str:
    """The plural of a type in words, its range left as it is."""
    return re.sub("^(whole number|number|text|path)", r"\1s", words)


def shown(value: Any) -> str:
    """A value as it is typed on a command line."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{shown(item)}" for key, item in value.items()) + "}"
    return ",".join(map(shown, value)) if isinstance(value, list | tuple) else str(value)

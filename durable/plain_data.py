"""Plain data of YAML and JSON files, read within bounds: size, depth and number of values.

Numbers, texts, true, false, null, lists, and mappings with text as keys are all that comes out, whatever a
file asks for: no tag makes an object, no alias repeats a part, no ``${...}`` is looked up. A file that breaks
a bound is refused after work in proportion to the bound, not to what the file would unfold to.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from durable.errors import DamagedFileError

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Bounds:
    """Largest file that is read.

    Attributes:
        size: Bytes.
        depth: Mappings and lists within each other.
        values: Mappings, lists, texts and numbers, each counted.
    """

    size: int
    depth: int = 64
    values: int = 1_000_000


YAML = Bounds(size=1 << 18, values=4_000)
"""Settings: those of a run have some 150 values in 4 KB. Some 10,000 values are read a second."""
JSON = Bounds(size=1 << 24)
"""Results and notes: those of a run have some 10 KB."""
_FLOAT = re.compile(
    r"^(?:[-+]?[0-9]+(?:_[0-9]+)*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+(?:_[0-9]+)*[eE][-+]?[0-9]+"
    r"|\.[0-9]+(?:_[0-9]+)*(?:[eE][-+][0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)
"""Floats as OmegaConf writes and reads them: ``1e-05`` is one, which YAML 1.1 takes for a text."""
_KINDS = ("null", "bool", "int", "float", "str", "seq", "map")
_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in _KINDS}


def read_json(path: Path, bounds: Bounds = JSON) -> Any:
    """The value in a JSON file.

    Raises:
        DamagedFileError: There is no such file, it is no JSON in UTF-8, or it breaks a bound.
    """
    text = read_text(path, bounds.size)
    try:
        found = json.loads(text)
        _count(found, bounds)
    except (ValueError, RecursionError) as error:  # ValueError: also a number of too many digits
        raise unreadable(path, _too_deep(bounds) if isinstance(error, RecursionError) else error) from error
    return found


def read_yaml(path: Path, bounds: Bounds = YAML) -> Any:
    """The value in a YAML file of one document.

    Numbers are read as OmegaConf reads them; dates stay texts, and a name that is given twice is refused.

    Raises:
        DamagedFileError: There is no such file, it is no plain YAML in UTF-8, or it breaks a bound.
    """
    text = read_text(path, bounds.size)
    try:
        return _Loader(text, bounds).get_single_data()
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f", line {error.problem_mark.line + 1}"
        raise unreadable(path, f"{error.problem or error.context}{line}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise unreadable(path, error) from error


def typed(kind: type[Kind], content: Any) -> Kind:
    """The dataclass that plain data stand for, whose fields have exactly the types that it declares.

    Raises:
        ValueError: A field is missing or has another type; one line that names it.
    """
    try:
        return TypeAdapter(kind).validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        raise ValueError(f"{place}: {first['msg']}") from error


def read_text(path: Path, most: int) -> str:
    """The text of a regular file in UTF-8 of at most so many bytes; a mark of its order of bytes is left out.

    Raises:
        DamagedFileError: There is no such file, it is a pipe or a device, too large, or not UTF-8.
    """
    try:
        # Without waiting: a pipe may never get a writer.
        number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(number, "rb") as file:
            if not stat.S_ISREG(os.fstat(number).st_mode):
                raise unreadable(path, "not a regular file")
            content = file.read(most + 1)
    except OSError as error:
        raise unreadable(path, error.strerror or error) from error
    if len(content) > most:
        raise unreadable(path, f"larger than {most:,} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise unreadable(path, f"not UTF-8: byte {error.start:,} is 0x{content[error.start]:02x}") from error


def unreadable(path: Path, reason: object) -> DamagedFileError:
    """The error of a file that cannot be read, in one line."""
    return DamagedFileError(f"{path}: cannot be read ({' '.join(str(reason).split())[:200]})")


class _Loader(yaml.SafeLoader):
    """Loader of plain values."""

    def __init__(self, text: str, bounds: Bounds) -> None:
        super().__init__(text)
        self._bounds, self._depth, self._values = bounds, 0, 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.get_event()
            raise ValueError(
                f"alias *{event.anchor} in line {event.start_mark.line + 1}; expected plain values"
            )
        self._values += 1
        if self._values > self._bounds.values:
            raise ValueError(f"more than {self._bounds.values:,} values")
        if self._depth >= self._bounds.depth:
            raise ValueError(_too_deep(self._bounds))
        self._depth += 1
        try:
            node = super().compose_node(parent, index)
        finally:
            self._depth -= 1
        assert node is not None
        line = node.start_mark.line + 1
        if node.tag not in _TAGS:
            raise ValueError(f"tag {node.tag.removeprefix('tag:yaml.org,2002:')!r} in line {line}")
        if isinstance(node, yaml.ScalarNode) and not _is_text(node.value):
            raise ValueError(f"half a surrogate pair in line {line}")
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names: set[str] = set()
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if key.tag != "tag:yaml.org,2002:str":
                raise ValueError(f"the name in line {line} is no text; quotes make it one")
            if key.value in names:
                raise ValueError(f"{key.value} is there twice, again in line {line}")
            names.add(key.value)
        return super().construct_mapping(node, deep=deep)


_Loader.yaml_implicit_resolvers = {
    start: [(tag, words) for tag, words in known if tag in _TAGS and not tag.endswith(":float")]
    for start, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))


def _count(found: Any, bounds: Bounds) -> None:
    """Raise ValueError where a value is nested too deeply or has too many parts."""
    level, count = [found], 0
    for _ in range(bounds.depth + 1):
        count += len(level)
        if count > bounds.values:
            raise ValueError(f"more than {bounds.values:,} values")
        if not all(_is_text(value) for value in level if isinstance(value, str)):
            raise ValueError("half a surrogate pair in a text")
        level = [part for value in level for part in _parts(value)]
        if not level:
            return
    raise ValueError(_too_deep(bounds))


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return [*value, *value.values()]
    return value if isinstance(value, list) else ()


def _is_text(value: str) -> bool:
    """Whether a text can be written in UTF-8."""
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)


def _too_deep(bounds: Bounds) -> str:
    return f"nested more than {bounds.depth} deep"

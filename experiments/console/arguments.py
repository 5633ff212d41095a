"""Reads ``key=value`` arguments by the types that a dataclass or a function declares."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from experiments.console.errors import UserError, did_you_mean


def values_of(kind: type, arguments: Sequence[str], example: str) -> dict[str, Any]:
    """The values that a command line gives to the fields of a dataclass; see `values_by`."""
    return values_by(get_type_hints(kind, include_extras=True), arguments, example)


def values_by(hints: Mapping[str, Any], arguments: Sequence[str], example: str) -> dict[str, Any]:
    """The values that a command line gives.

    Args:
        hints: the settings that there are and their types; what is said of them in pydantic's terms is
            checked, and numbers are finite.
        arguments: ``key=value`` each, lists with commas, in brackets or not.
        example: of an argument, for who forgets the equals sign.

    Raises:
        UserError: a setting that there is not, or a value of the wrong kind.
    """
    values: dict[str, Any] = {}
    for argument in arguments:
        key, equals, text = argument.partition("=")
        if not equals:
            raise UserError(f"{argument!r}: expected key=value, as in {example}")
        if key not in hints:
            close = did_you_mean(key, hints)
            raise UserError(f"{key}: no such setting{close} (settings: {', '.join(hints)})")
        is_list = getattr(hints[key], "__origin__", None) in (tuple, list)
        if not (text.strip("[]") if is_list else text):
            raise UserError(f"{key}={text}: expected {'at least one value' if is_list else 'a value'}")
        value = text.strip("[]").split(",") if is_list else text
        try:
            checked: TypeAdapter[Any] = TypeAdapter(hints[key], config=ConfigDict(allow_inf_nan=False))
            values[key] = checked.validate_python(value)
        except ValidationError as error:
            message = error.errors()[0]["msg"].removeprefix("Input should be ")
            raise UserError(f"{key}={text}: expected {message}") from error
    return values


def listed(kind: type) -> str:
    """The fields of a dataclass and their defaults, a line each."""
    lines = []
    for field in dataclasses.fields(kind):
        default = field.default
        shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
        lines.append(f"  {field.name:<12}{'' if shown is None else shown}".rstrip())
    return "\n".join(lines)

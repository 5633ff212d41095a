"""Parser of ``key=value`` arguments by the types that a dataclass or a function declares."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from align3d.errors import UserError, did_you_mean

HELP = ("-h", "--help", "help")
"""Words that ask for the help page."""


def values_of(kind: type, arguments: Sequence[str], example: str) -> dict[str, Any]:
    """The values that a command line gives to the fields of a dataclass; see `values_by`."""
    return values_by(typing.get_type_hints(kind, include_extras=True), arguments, example)


def values_by(hints: Mapping[str, Any], arguments: Sequence[str], example: str) -> dict[str, Any]:
    """The values that a command line gives.

    Args:
        hints: Settings that there are and their types; what is said of them in pydantic's terms is checked,
            and numbers are finite.
        arguments: ``key=value`` each, of which the last counts; lists with commas, in brackets or not; null
            or none for no value.
        example: An argument that is right, shown where the equals sign is missing.

    Raises:
        UserError: A setting that there is not, or a value of the wrong kind.
    """
    values: dict[str, Any] = {}
    for argument in written_plainly(arguments, hints):
        key, equals, text = argument.partition("=")
        if not equals:
            raise UserError(f"{argument!r}: expected key=value, as in {example}")
        if key not in hints:
            close = did_you_mean(key, hints)
            raise UserError(f"{key}: no such setting{close} (settings: {', '.join(hints)})")
        values[key] = _value(key, text, hints[key])
    return values


def written_plainly(arguments: Sequence[str], names: Mapping[str, Any]) -> Sequence[str]:
    """The arguments, where none is written with dashes.

    Raises:
        UserError: One is; the message says how it is written.
    """
    for place, argument in enumerate(arguments):
        if argument.startswith("-"):
            name, equals, value = argument.partition("=")
            key = name.lstrip("-").replace("-", "_")
            after = arguments[place + 1 : place + 2]
            value = value if equals or not after or "=" in after[0] else after[0]
            hint = f"; write {key}={value or 'VALUE'}" if key in names else did_you_mean(key, names)
            raise UserError(f"{argument}: settings have no dashes{hint}")
    return arguments


def _value(key: str, text: str, hint: Any) -> Any:
    is_list = any(typing.get_origin(kind) in (tuple, list) for kind in (hint, *typing.get_args(hint)))
    if not (text.strip("[]") if is_list else text):
        raise UserError(f"{key}={text}: expected {'at least one value' if is_list else 'a value'}")
    if text.lower() in ("none", "null") and types.NoneType in typing.get_args(hint):
        return None
    value = text.strip("[]").split(",") if is_list else text
    try:
        checked: TypeAdapter[Any] = TypeAdapter(hint, config=ConfigDict(allow_inf_nan=False))
        return checked.validate_python(value)
    except ValidationError as error:
        message = error.errors()[0]["msg"].removeprefix("Input should be ")
        raise UserError(f"{key}={text}: expected {message}") from error

"""Checks of values against the declarations of settings, each refused in one line that names it."""

from __future__ import annotations

import dataclasses
import inspect
import math
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from align3d.console.typed_settings import in_hydras_grammar
from align3d.errors import UserError, did_you_mean
from experiments.settings import schema
from experiments.settings.schema import Seed

T = TypeVar("T")


def check_section(declared: type[T], values: Mapping[str, Any], section: str) -> T:
    """An instance of a dataclass, every value checked against its annotation."""
    prefix = f"{section}." if section else ""
    names = [field.name for field in dataclasses.fields(declared)]  # type: ignore[arg-type]
    refuse_unknown(values, names, section or "settings")
    left_out = [name for name in names if name not in values]
    if left_out and declared.__module__ == schema.__name__:
        raise UserError(f"{prefix}{left_out[0]} has no value; give one: {prefix}{left_out[0]}=VALUE")
    if values.get("mode") is False:  # YAML reads a bare off as false
        values = {**values, "mode": "off"}
    try:
        return TypeAdapter(declared).validate_python(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        where = prefix + ".".join(str(part) for part in first["loc"])
        message = _expected(error)
        if not first["loc"]:  # from a dataclass's own check, which names the setting
            raise UserError(message if message.startswith(prefix) else prefix + message) from error
        raise UserError(f"{where}={in_hydras_grammar(first['input'])}: expected {message}") from error


def check_arguments(cls: type[Any], values: Mapping[str, Any], section: str) -> dict[str, Any]:
    """Settings checked against the annotations of a constructor's arguments."""
    hints = typing.get_type_hints(cls.__init__)
    hints |= {"seed": Seed} if "seed" in hints else {}
    known = [*inspect.signature(cls).parameters]
    refuse_unknown(values, known, section)
    return {
        key: check_value(hints[key], value, f"{section}.{key}") if key in hints else value
        for key, value in values.items()
    }


def check_value(hint: Any, value: Any, name: str) -> Any:
    """The value of one setting as its annotation has it; NaN is refused."""
    try:
        checked = TypeAdapter(hint).validate_python(value)
    except ValidationError as error:
        raise UserError(f"{name}={in_hydras_grammar(value)}: expected {_expected(error)}") from error
    if isinstance(checked, float) and math.isnan(checked):
        raise UserError(f"{name}={value}: expected a number")
    return checked


def refuse_unknown(values: Mapping[str, Any], known: Any, section: str) -> None:
    """Refuses the first setting that is not among the known ones, with the name that was likely meant."""
    for key in values:
        if key not in known:
            close = did_you_mean(str(key), known)
            raise UserError(
                f"{section}.{key}: no such setting{close} (settings: {', '.join(sorted(set(known)))})"
            )


def _expected(error: ValidationError) -> str:
    first = error.errors()[0]
    if first["type"] == "path_type":  # whose message names a class
        return "a path"
    return first["msg"].removeprefix("Input should be ").removeprefix("Value error, ")

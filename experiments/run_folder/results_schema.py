"""Schema of what is read of a results.json: keys and their types; all other keys are kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NotRequired

from pydantic import ConfigDict, TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

from experiments.run_folder.names import PLAIN_SCHEMA, RESULTS, SCHEMA

Numbers = dict[str, float]


class _Open(TypedDict):
    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]


class _Evaluation(_Open):
    candidates: NotRequired[int]


class _AgentSettings(_Open):
    name: NotRequired[str]
    budget: NotRequired[int]


class _Calibration(_Open):
    margin: NotRequired[float]


class _Config(_Open):
    dap: NotRequired[_Calibration]
    eval: NotRequired[_Evaluation]
    agent: NotRequired[_AgentSettings]


class _Dataset(_Open):
    name: str
    test: NotRequired[int]


class _Agent(_Open):
    evaluations: NotRequired[float | None]
    episodes: NotRequired[float | None]
    return_mean: NotRequired[float | None]
    acts: NotRequired[bool | None]
    validation: NotRequired[dict[str, float | None] | None]
    test: NotRequired[Numbers | None]


class _Facts(_Open):
    bytes: int
    sha256: str


class Results(_Open):
    """Content of a results.json."""

    schema: int
    config: _Config
    seed: int
    dataset: _Dataset
    metrics: dict[str, Numbers]
    agent: _Agent
    journal: NotRequired[_Facts]
    versions: NotRequired[dict[str, str]]
    grounding: NotRequired[dict[str, Numbers] | None]
    timing: NotRequired[Numbers]
    processes: NotRequired[int]


_CHECKED = TypeAdapter(Results)


def checked(content: object) -> Mapping[str, Any]:
    """Check the content of a results.json for the types that its readers rely on, and return it.

    Raises:
        ValueError: Its schema is another one, a key is missing, or a value has another type; one line.
    """
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema is not None and schema not in (SCHEMA, PLAIN_SCHEMA):
        raise ValueError(f"{RESULTS} of schema {schema!r}, expected {SCHEMA}")
    try:
        return _CHECKED.validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        if first["type"] == "missing":
            raise ValueError(f"{RESULTS} has no {place!r}") from error
        expected = first["msg"].removeprefix("Input should be ")
        raise ValueError(f"{RESULTS} is damaged: {place or 'the whole'}: expected {expected}") from error

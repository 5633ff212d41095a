"""Settings of the captioner: which steps make captions, which model is asked, and what that may cost."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, TypeAdapter, ValidationError

from align3d.console.typed_settings import from_hydras_grammar
from align3d.errors import UserError, did_you_mean

STEPS = ("source", "template", "file", "footprints", "views", "rewrite", "merge")
"""Steps by name; others are classes of one's own, ``package.module:Class``."""
ASKED = ("views", "rewrite", "merge")
"""Steps that ask a model."""
PREFIX = "captioner."
LIMITS = (
    *("url", "key_env", "parallel", "requests_per_minute", "tokens_per_minute", "timeout", "retries"),
    *("patience", "price_in", "price_out", "budget", "answers"),
)
"""Settings that do not change what captions come out: where and how fast a model is asked, at what cost."""
_Positive = Annotated[int, Field(ge=1)]
_Amount = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class CaptionerSettings:
    """Captions beyond those that a source gives.

    Attributes:
        steps: Where captions come from, in this order: source (its own), template, file, footprints, views (a
            model that sees), rewrite, merge (a model that reads the captions so far), or
            ``package.module:Class``, a `CaptionSource` of one's own.
        keep: Steps whose captions are stored, in this order; none named: all. The first caption is the
            canonical one.
        url: Address of an OpenAI-compatible server, such as ``https://host/v1``; data goes there and nowhere
            else.
        model: Name of the model there.
        text_model: Name of the model there that rewrites and merges; None: that of ``model``.
        key_env: Name of the environment variable that holds the server's key; None: no key is sent.
        local: Folder of a transformers model (image-text-to-text) to ask in place of a server.
        options: JSON object that is added to each request, such as ``{"seed": 1}``; null takes a field out.
        prompt: What the model that sees is asked; None: the default. Fields: ``{category}``, ``{size}``,
            ``{parts}``, ``{captions}``, ``{count}``.
        rewrite_prompt: What is asked to rewrite ``{caption}`` in ``{count}`` ways; None: the default.
        merge_prompt: What is asked to merge ``{captions}``; None: the default.
        template: Caption from metadata; fields ``{category}``, ``{name}``, ``{size}``, ``{parts}``.
        file: Captions file whose paths are the shapes' ids (CSV, JSONL, Parquet).
        footprints: Folder of KiCad footprints whose models are named as the shapes' ids.
        views: Views of a shape: four sides, above, below, then sides in between.
        view_size: Width and height of a view in pixels.
        count: Captions that are asked of a shape's views.
        rewrites: Captions that are asked of each caption that is rewritten.
        rewrite_most: Captions of a shape that are rewritten, from the first.
        max_tokens: Largest number of tokens of an answer.
        temperature: Temperature of the model's draws; 0 for the likeliest answer.
        language: Language that captions must be in; None: any.
        max_words: Largest number of words of a caption.
        parallel: Requests that a worker process has open at once.
        requests_per_minute: Largest rate of requests, of all workers together; None: no limit.
        tokens_per_minute: Largest rate of tokens in and out, likewise; None: no limit.
        timeout: Seconds that one answer may take.
        retries: Times that a request is sent again after a fault that may pass.
        patience: Longest wait in seconds before a request is sent again; a server that asks for a longer one
            ends the build.
        price_in: Price of a million tokens that are sent.
        price_out: Price of a million tokens of answers.
        budget: Largest sum that captions may cost, in the unit of the prices; None: no limit.
        answers: Folder of answers that were given before; None: ``captions`` in the cache.
    """

    steps: tuple[str, ...] = ("source",)
    keep: tuple[str, ...] = ()
    url: str | None = None
    model: str | None = None
    text_model: str | None = None
    key_env: str | None = None
    local: str | None = None
    options: str | None = None
    prompt: str | None = None
    rewrite_prompt: str | None = None
    merge_prompt: str | None = None
    template: str = "{category}, {size}"
    file: str | None = None
    footprints: str | None = None
    views: Annotated[int, Field(ge=1, le=26)] = 5
    view_size: Annotated[int, Field(ge=32, le=2048)] = 336
    count: Annotated[int, Field(ge=1, le=20)] = 1
    rewrites: Annotated[int, Field(ge=1, le=20)] = 1
    rewrite_most: _Positive = 1
    max_tokens: _Positive = 200
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    language: Literal["en", "de", "fr", "es", "it", "pt", "nl"] | None = "en"
    max_words: _Positive = 80
    parallel: Annotated[int, Field(ge=1, le=256)] = 8
    requests_per_minute: _Amount | None = None
    tokens_per_minute: _Amount | None = None
    timeout: _Amount = 120.0
    retries: Annotated[int, Field(ge=0)] = 6
    patience: _Amount = 120.0
    price_in: _Price = 0.0
    price_out: _Price = 0.0
    budget: _Amount | None = None
    answers: str | None = None

    def __post_init__(self) -> None:
        for name in ("steps", "keep"):
            chosen = getattr(self, name)
            if len(set(chosen)) < len(chosen) or not (chosen or name == "keep"):
                raise _fault(name, ",".join(chosen), "expected at least one step, and each once")
        if unknown := [step for step in self.steps if step not in STEPS and ":" not in step]:
            close = did_you_mean(unknown[0], STEPS)
            raise _fault("steps", unknown[0], f"no such step{close} (known: {', '.join(STEPS)})")
        if stray := [step for step in self.keep if step not in self.steps]:
            raise _fault("keep", stray[0], f"expected some of the steps ({', '.join(self.steps)})")
        for step, needed in (("file", self.file), ("footprints", self.footprints)):
            if step in self.steps and needed is None:
                raise UserError(f"{PREFIX}{step} is missing, which {PREFIX}steps asks for")
        if self.budget is not None and not (self.price_in or self.price_out):
            raise _fault("budget", self.budget, f"expected {PREFIX}price_in and {PREFIX}price_out with it")
        self.request_options()
        if self.asks:
            self._check_model()
        elif self.url or self.local:
            model = "local" if self.local else "url"
            raise UserError(
                f"{PREFIX}{model} names a model, but no step asks it; add some of {', '.join(ASKED)}, as in "
                f"{PREFIX}steps=[source,views]"
            )

    @property
    def asks(self) -> bool:
        """Whether any step asks a model."""
        return any(step in ASKED for step in self.steps)

    def request_options(self) -> dict[str, Any]:
        """The fields in ``options``.

        Raises:
            UserError: They are no JSON object.
        """
        try:
            found = json.loads(self.options or "{}")
        except ValueError as error:
            raise _fault("options", self.options, f"expected a JSON object ({error})") from error
        if not isinstance(found, dict):
            raise _fault("options", self.options, "expected a JSON object")
        return found

    def key(self) -> str:
        """The server's key; empty where none is sent.

        Raises:
            UserError: The environment lacks it.
        """
        if self.key_env is None:
            return ""
        if not (key := os.environ.get(self.key_env, "").strip()):
            raise UserError(f"{PREFIX}key_env={self.key_env}: no such environment variable, or it is empty")
        if not (key.isascii() and key.isprintable()):
            raise UserError(f"{PREFIX}key_env={self.key_env}: its value has characters that no key has")
        return key

    def _check_model(self) -> None:
        """Refuse settings by which no model can be asked. What may be a key is not repeated."""
        if (self.url is None) == (self.local is None):
            raise UserError(
                f"{PREFIX}url={self.url}: expected either {PREFIX}url or {PREFIX}local for "
                f"{PREFIX}steps={','.join(self.steps)}"
            )
        if self.url is None:
            return
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise _fault("url", self.url, "expected an address such as https://host/v1")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise UserError(
                f"{PREFIX}url: expected an address without a user, password or query; name the "
                f"variable that holds the key in {PREFIX}key_env"
            )
        if not self.model:
            raise UserError(f"{PREFIX}model is missing: the name of the model at {self.url}")
        if self.key_env is not None and not _VARIABLE.fullmatch(self.key_env):
            raise UserError(f"{PREFIX}key_env: expected the name of an environment variable, never the key")


def _fault(name: str, value: Any, expected: str) -> UserError:
    return UserError(f"{PREFIX}{name}={value}: {expected}")


_NAMES = tuple(field.name for field in fields(CaptionerSettings))
_SETTINGS = TypeAdapter(CaptionerSettings)


def captioner_settings(given: Mapping[str, Any] | CaptionerSettings | str | None) -> CaptionerSettings | None:
    """Settings of a captioner, checked.

    Args:
        given: Values by name, as a configuration has them (null: the default), or as they are typed
            (``{steps:[views],...}``); None: no captioner.

    Raises:
        UserError: There is no such setting, or a value is wrong.
    """
    if given is None or isinstance(given, CaptionerSettings):
        return given
    if isinstance(given, str):
        given = from_hydras_grammar(given)
    if not isinstance(given, Mapping):
        raise UserError(
            f"captioner={given}: expected settings, such as {{steps:[source,views],url:...,model:...}}"
        )
    for name in given:
        if name not in _NAMES:
            close = did_you_mean(name, _NAMES)
            raise UserError(f"{PREFIX}{name}: no such setting{close} (settings: {', '.join(_NAMES)})")
    values = {name: value for name, value in given.items() if value is not None}
    for name in ("steps", "keep"):
        if isinstance(values.get(name), str):
            values[name] = [part.strip() for part in values[name].strip("[]").split(",")]
    try:
        return _SETTINGS.validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][:1])
        if isinstance(inner := first.get("ctx", {}).get("error"), UserError):
            raise inner from error
        message = first["msg"].removeprefix("Input should be ")
        raise UserError(f"{PREFIX}{place}={given.get(place)}: expected {message}") from error

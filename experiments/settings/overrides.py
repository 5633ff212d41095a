"""Overrides of a command line, composed and checked before Hydra starts.

What Hydra says about a wrong override takes several lines and names no closest match. Here each fault is one
line, and the settings of every job of a sweep are checked, so that it does not stop half-way.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from align3d.errors import UserError, closest, did_you_mean
from experiments.settings.reading import CONF, from_hydra
from experiments.settings.schema import SECTIONS, RunConfig

RECIPES = "ablation"
"""Group of conf/ that holds the sweeps that have a name: ``+ablation=agents``."""
OPTIONS = ("agent", "data", "model")
"""Groups whose options have names of their own: an agent, a source, a size."""


def check(overrides: list[str], config_name: str = "config", *, multirun: bool = False) -> list[RunConfig]:
    """Composes and checks the settings of every job of a command line, and leaves no trace.

    Returns:
        The settings of the jobs, of those that differ in nothing but the seed only some.

    Raises:
        UserError: Naming the first override that is wrong, with the closest match.
    """
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        checked: list[RunConfig] = []
        seen: set[frozenset[str]] = set()
        for job in _checked_jobs(overrides, config_name, multirun):
            seeds = frozenset(text for text in job if text.startswith("seed="))
            parts = {seeds, frozenset(job) - seeds}
            if parts <= seen:
                continue  # nothing but a seed that has been checked beside other settings
            seen |= parts
            checked.append(from_hydra(compose(config_name, job)))
        return checked


def output_of(overrides: list[str], config_name: str, multirun: bool) -> tuple[str, Path]:
    """Output folder of a command.

    Returns:
        The setting that names the folder, and what of the folder's name is known by now.
    """
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        named = [
            override
            for override in parse(overrides)
            if override.key_or_group.startswith("hydra") or override.key_or_group == RECIPES
        ]
        fixed = [str(override.input_line) for override in named if not override.is_sweep_override()]
        settings = compose(config_name, fixed, with_hydra=True).hydra
        section = "sweep" if multirun or settings.mode == RunMode.MULTIRUN else "run"
        unresolved = OmegaConf.to_container(settings[section], resolve=False)
    assert isinstance(unresolved, dict)
    start, unknown, _ = str(unresolved["dir"]).partition("${")
    return f"hydra.{section}.dir", Path(start) if not unknown or start.endswith("/") else Path(start).parent


def _checked_jobs(overrides: list[str], config_name: str, multirun: bool) -> Iterator[list[str]]:
    parsed = parse(overrides)
    check_names(parsed, config_name)
    return _jobs(*_with_recipe(parsed, config_name, multirun))


def parse(overrides: list[str]) -> list[Override]:
    """Parses overrides one by one, so that a fault can be pinned on one.

    Raises:
        UserError: An override that is none.
    """
    parsed = []
    for text in overrides:
        try:
            parsed += OverridesParser.create().parse_overrides([text])
        except HydraException as error:
            hint = f"; quotes keep such a value whole: {quoted}" if (quoted := _quoted(text)) else ""
            hint = hint if "=" in text else f"; expected {text}=VALUE"
            raise UserError(
                f"{text!r} is not an override{hint} (as in: agent=mcts train.epochs=8)"
            ) from error
    return parsed


def _quoted(text: str) -> str:
    """An override with its value in quotes, as a shell takes it; empty where that is none either."""
    key, equals, value = text.partition("=")
    quoted = f'{key}="{value}"'
    try:
        OverridesParser.create().parse_overrides([quoted])
    except HydraException:
        return ""
    return f"'{quoted}'" if equals and value.strip("\"'") == value else ""


def compose(config_name: str, overrides: list[str], *, with_hydra: bool = False) -> DictConfig:
    """Configuration that Hydra composes from checked overrides.

    Raises:
        UserError: Hydra cannot.
    """
    try:
        return hydra.compose(config_name, overrides=overrides, return_hydra_config=with_hydra)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(_in_one_line(error)) from error


def _with_recipe(overrides: list[Override], config_name: str, multirun: bool) -> tuple[list[Override], bool]:
    """Adds what the YAML files sweep over (``hydra.sweeper.params``), and whether they ask for a sweep."""
    for override in overrides:
        if override.key_or_group == RECIPES and override.is_sweep_override():
            raise UserError(f"{override.input_line}: expected one recipe; run them one after the other")
    fixed = [str(override.input_line) for override in overrides if not override.is_sweep_override()]
    settings = compose(config_name, fixed, with_hydra=True).hydra
    if not multirun and settings.mode != RunMode.MULTIRUN:
        return overrides, False
    params = parse([f"{key}={value}" for key, value in (settings.sweeper.get("params") or {}).items()])
    given = {override.key_or_group for override in overrides}
    params = [param for param in params if param.key_or_group not in given]
    check_names([*params, *overrides], config_name)
    return [*params, *overrides], True


def _jobs(overrides: list[Override], multirun: bool) -> Iterator[list[str]]:
    """The command lines of the jobs: one, or every combination of the values that a sweep lists."""
    choices: list[list[str]] = []
    for override in overrides:
        if override.get_key_element().startswith("hydra."):
            continue
        if override.is_sweep_override():
            if not multirun:
                raise UserError(f"{override.input_line}: several values; add -m to run each of them")
            key = override.get_key_element()
            choices.append([f"{key}={value!s}" for value in override.sweep_string_iterator()])
        else:
            choices.append([str(override.input_line)])
    return (list(job) for job in itertools.product(*choices))


def check_names(overrides: list[Override], config_name: str) -> None:
    """Find overrides of settings and options that do not exist.

    Raises:
        UserError: Naming the first, with the closest match.
    """
    loader = GlobalHydra.instance().config_loader()
    groups = {group for group in loader.list_groups("") if group != "hydra"}
    chosen: dict[str, list[str]] = {}
    for override in overrides:
        key = override.key_or_group
        if key == RECIPES and not override.is_add():
            raise UserError(f"{override.input_line}: a recipe is added: +{override.input_line}")
        if key in groups and not override.is_delete():
            options = loader.get_group_options(key)
            values = [str(value) for value in _values(override)]
            if len(values) > 1 and not override.is_sweep_override():
                raise UserError(
                    f"{override.input_line}: expected one; several are -m {key}={','.join(values)}"
                )
            for value in values:
                if value not in options:
                    close = did_you_mean(value, options)
                    raise UserError(f"{key}={value}: no such {key}{close} (known: {', '.join(options)})")
            chosen[override.get_key_element()] = values
    _check_options_are_chosen_as_groups(overrides, chosen)
    known: set[str] = set()
    shared: set[str] | None = None  # by all jobs
    for job in itertools.product(*[[f"{key}={value}" for value in values] for key, values in chosen.items()]):
        own = set(_keys(compose(config_name, list(job))))
        known |= own
        shared = own if shared is None else shared & own
    for override in overrides:
        key = override.key_or_group
        adds = override.is_add() or override.is_force_add()
        if adds or key in groups or key.startswith("hydra") or key in (shared or ()):
            continue
        if key in known:
            group = key.partition(".")[0]
            raise UserError(
                f"{override.input_line}: not every {group} of {group}={','.join(chosen.get(group, []))} has "
                "this setting; run them in sweeps of their own"
            )
        value = f"={str(override.input_line).partition('=')[2]}"
        near = _closest(key, known)
        advice = f"; did you mean {near}{value}?" if near else "; `--help` lists all settings"
        raise UserError(f"{override.input_line}: no such setting{advice}")


def _check_options_are_chosen_as_groups(overrides: list[Override], chosen: dict[str, list[str]]) -> None:
    """Finds ``agent.name=ppo``, which would keep another agent's settings: ``agent=ppo`` is meant."""
    for override in overrides:
        group, _, last = override.key_or_group.partition(".")
        if last != "name" or group not in OPTIONS:
            continue
        for value in map(str, _values(override)):
            if value not in chosen.get(group, ()) and "custom" not in chosen.get(group, ()):
                own = "" if group == "model" else f"; {group}.name is for {group}=custom"
                raise UserError(f"{override.input_line}: choose it with {group}={value}{own}")


def _closest(key: str, known: set[str]) -> str | None:
    """The known name that is nearest: in its own section, by its last part, or as a whole."""
    section, _, last = key.rpartition(".")
    siblings = {name.rpartition(".")[2]: name for name in known if name.rpartition(".")[0] == section}
    anywhere = {name.rpartition(".")[2]: name for name in sorted(known, reverse=True)}
    for names in (siblings, anywhere):
        close = closest(last, names)
        if close:
            return names[close]
    return closest(key, known) if section not in known else None


def known_setting(key: str, config_name: str = "config") -> str:
    """The setting or group that is nearest to a name, the name itself where none is near."""
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        known = {*_keys(compose(config_name, []))} - {*SECTIONS} | {*OPTIONS}
    return key if key in known else _closest(key, known) or key


def _values(override: Override) -> list[Any]:
    if override.is_sweep_override():
        return list(override.sweep_string_iterator())
    value = override.value()
    return value if isinstance(value, list) else [value]


def _keys(config: DictConfig, prefix: str = "") -> Iterator[str]:
    """Dotted names of all settings."""
    for key in map(str, config):
        name = prefix + key
        yield name
        child = None if OmegaConf.is_missing(config, key) else config._get_node(key)
        if isinstance(child, DictConfig) and not child._is_none():
            yield from _keys(child, f"{name}.")


def _in_one_line(error: Exception) -> str:
    """Hydra's message without its advice on overrides."""
    first = str(error).strip().splitlines()[0]
    cause = error.__cause__
    if cause is not None:
        first = f"{first}: {str(cause).strip().splitlines()[0]}"
    return re.sub(r"\s+", " ", first)

"""Reading of a run's settings: what Hydra composed, or a file keeps, becomes a checked ``RunConfig``."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

import align3d.sources
from agents import AGENTS, make_agent
from align3d.captioning.caption_settings import captioner_settings
from align3d.console.typed_settings import in_hydras_grammar
from align3d.errors import UserError, did_you_mean, settings_of
from align3d.own_modules import import_own
from envs import FAMILIES, STOP, RewardConfig
from experiments.settings.checks import check_arguments, check_section, check_value, refuse_unknown
from experiments.settings.combinations import check_together
from experiments.settings.schema import (
    SECTIONS,
    AgentConfig,
    DapConfig,
    DataConfig,
    EnvSettings,
    EvalConfig,
    RunConfig,
    TrainConfig,
)
from models.config import ModelConfig

CONF = Path(__file__).parents[1] / "conf"
"""Folder of the settings' default values."""
CAPTIONER = "captioner"
"""Setting of the data that no source declares: captions beyond the source's, see `captioner_settings`."""


def from_hydra(config: DictConfig) -> RunConfig:
    """Checks what Hydra composed.

    Raises:
        UserError: Naming the first setting that is wrong, and what was expected.
    """
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise UserError(f"{missing[0]} has no value; give one: {missing[0]}=VALUE")
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    return from_plain({str(key): value for key, value in plain.items()})


def from_plain(plain: dict[str, Any]) -> RunConfig:
    """Checks settings given as nested plain dictionaries (from YAML or results.json).

    Raises:
        UserError: Naming the first setting that is wrong, and what was expected.
    """
    for name in SECTIONS:
        if not isinstance(plain.get(name), dict):
            raise UserError(
                f"{name}={in_hydras_grammar(plain.get(name))}: expected the settings of {name}, "
                f"as {name}.SETTING=VALUE"
            )
    rest = {key: value for key, value in plain.items() if key not in SECTIONS}
    hints = typing.get_type_hints(RunConfig, include_extras=True)
    for key, value in rest.items():  # first, as settings of sections are made from them
        if key in hints:
            check_value(hints[key], value, key)
    import_modules(plain.get("imports") or [])
    sizes = {key: value for key, value in plain["model"].items() if key != "name"}
    sections = {
        "data": _data(plain["data"]),
        "model": check_section(ModelConfig, sizes, "model"),
        "agent": _agent(plain["agent"]),
        "train": check_section(TrainConfig, plain["train"], "train"),
        "dap": check_section(DapConfig, plain["dap"], "dap"),
        "env": _env(plain["env"], check_section(RewardConfig, plain["reward"], "reward")),
        "eval": check_section(EvalConfig, plain["eval"], "eval"),
    }
    config = check_section(RunConfig, {**rest, **sections, "plain": plain}, "")
    check_together(config)
    return config


def import_modules(modules: Sequence[str]) -> None:
    """Imports the user's modules, which register sources, agents, families and engines."""
    for module in modules:
        if not all(part.isidentifier() for part in module.split(".")):
            raise UserError(
                f"imports=[{module}]: expected names of modules, as in imports=[my_folder.my_module]"
            )
        try:
            import_own(module)
        except ModuleNotFoundError as error:
            raise UserError(f"imports=[{module}]: {error}; run in the folder that holds it") from error


def outdated(plain: Mapping[str, Any]) -> str:
    """Settings that another version of this program had and this one has not, or the other way round.

    Args:
        plain: Settings of a run, as its folder keeps them.

    Returns:
        What differs, in words; empty where nothing does. Settings of agents and sources of one's own may be
        left out.
    """
    import_modules(plain.get("imports") or [])
    known = {name: _names(schema) for name, schema in SECTIONS.items() if name not in ("agent", "data")}
    known["env"] -= {"reward"}
    known["model"] |= {"name"}
    known[""] = _names(RunConfig) - {"plain"} | {"reward"}
    faults = [
        _compared(section, plain if not section else plain.get(section), names)
        for section, names in known.items()
    ]
    for section, schema, find in (
        ("agent", AgentConfig, AGENTS.get),
        ("data", DataConfig, align3d.sources.source_class),
    ):
        values = plain.get(section)
        values = values if isinstance(values, Mapping) else {}
        part = find(str(values.get("name")))
        own = set() if part is None else {*inspect.signature(part).parameters}
        ours = part is not None and part.__module__.startswith(("agents.", "align3d."))
        names = _names(schema) - {"settings"}
        known_here = names | own | ({CAPTIONER} if section == "data" else set())
        faults.append(_compared(section, values, known_here, names | own if ours else names))
    return "; ".join(filter(None, faults))


def renamed(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a run of an older version under the names that they have here.

    ``train.shift_share`` was the share of corrupted shapes where ``train.shift`` named a shift.
    """
    train = plain.get("train")
    if not isinstance(train, Mapping) or "shift_share" not in train:
        return dict(plain)
    kept = {name: value for name, value in train.items() if name != "shift_share"}
    share = train["shift_share"] if kept.get("shift") else 0.0
    return {**plain, "train": {**kept, "corrupt": share}}


def _compared(section: str, values: Any, known: set[str], needed: set[str] | None = None) -> str:
    """Unknown and missing settings of a section, in words."""
    there = set(values) if isinstance(values, Mapping) else set()
    unknown, missing = sorted(there - known), sorted((known if needed is None else needed) - there)
    words = [f"has {', '.join(unknown)}"] if unknown else []
    words += [f"lacks {', '.join(missing)}"] if missing else []
    return f"{section or 'it'} {' and '.join(words)}" if words else ""


def _names(schema: type[Any]) -> set[str]:
    return {field.name for field in dataclasses.fields(schema)}


def _data(values: Mapping[str, Any]) -> DataConfig:
    own, settings = _split(DataConfig, values)
    config: DataConfig = check_section(DataConfig, {**own, "settings": settings}, "data")
    for key in ("test", "reward"):
        if getattr(config, key) >= 1 and getattr(config, key) % 1:
            raise UserError(f"data.{key}={own[key]}: expected a whole number of shapes, or a share below 1")
    source = align3d.sources.source_class(config.name)
    given = {key: value for key, value in settings.items() if value is not None}
    captioner = given.pop(CAPTIONER, None)
    checked = check_arguments(source, given, "data")
    if captioner is not None:
        captioner_settings(captioner)
        checked[CAPTIONER] = captioner
    return dataclasses.replace(config, settings=checked)


def _agent(values: Mapping[str, Any]) -> AgentConfig:
    own, settings = _split(AgentConfig, values)
    config: AgentConfig = check_section(AgentConfig, {**own, "settings": settings}, "agent")
    if config.name not in AGENTS:
        close = did_you_mean(config.name, AGENTS)
        raise UserError(f"agent={config.name}: no such agent{close} (known: {', '.join(sorted(AGENTS))})")
    own_settings = check_arguments(AGENTS[config.name], settings, "agent")
    with settings_of("agent"):
        make_agent(config.name, budget=config.budget, **own_settings)
    return dataclasses.replace(config, settings=own_settings)


def _env(values: Mapping[str, Any], reward: RewardConfig) -> EnvSettings:
    families = [*FAMILIES, STOP]
    named, steps = values.get("families"), values.get("steps") or {}
    if isinstance(named, str):
        raise UserError(f"env.families={named}: expected a list: env.families=[{named}]")
    if not isinstance(steps, Mapping):
        raise UserError(f"env.steps={steps}: expected sizes by family: +env.steps.level=0.3")
    for family in named if isinstance(named, list) else ():
        if family not in families:
            close = did_you_mean(str(family), families)
            raise UserError(f"env.families has {family!r}{close} (known: {', '.join(families)})")
    refuse_unknown(steps, FAMILIES, "env.steps")
    return check_section(EnvSettings, {**values, "reward": reward}, "env")


def _split(schema: type[Any], values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values that the schema names, and the others."""
    names = {field.name for field in dataclasses.fields(schema)}
    own = {key: value for key, value in values.items() if key in names}
    return own, {key: value for key, value in values.items() if key not in names}

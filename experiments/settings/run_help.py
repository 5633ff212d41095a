"""Help page of the command that runs: every setting as it is composed, with its comment and type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from omegaconf import MISSING, DictConfig, OmegaConf

import align3d.sources
from agents import AGENTS
from align3d.console.declarations import Setting, declared, summary
from align3d.console.help_page import Line, Section, page, setting_line
from align3d.console.typed_settings import in_hydras_grammar
from experiments.settings.overrides import CONF, OPTIONS, RECIPES, check_names, compose, parse
from experiments.settings.schema import SECTIONS, RunConfig

USAGE = (
    "python -m experiments.run [setting=value ...]",
    "python -m experiments.run -m [setting=value,value,... ...]",
    "python -m experiments.run resume=true hydra.run.dir=FOLDER",
)
EXAMPLE = "python -m experiments.run agent=ppo data=kicad train.epochs=8"
SUMMARY = "Trains the alignment model, lets the agent learn to calibrate its attention, and evaluates both."
FOLDERS = (
    Line("hydra.run.dir=FOLDER", "Folder of the run; by default outputs/DATE/TIME-AGENT-DATA."),
    Line("hydra.sweep.dir=FOLDER", "Folder of a sweep (-m); by default multirun/DATE/TIME."),
    Line("hydra.launcher.jobs=1", "Runs of a sweep at a time.", "whole number ≥ 1"),
    Line(
        "hydra/launcher=arms",
        "What runs them: arms, submitit_slurm, submitit_local, ray.",
        "docs/ablations.md",
    ),
    Line("-m", "Run every combination of the values that are listed with commas."),
    Line("--cfg job", "Print the settings as YAML and leave."),
    Line("--hydra-help", "List Hydra's own flags."),
)


def help_text(overrides: list[str], config_name: str = "config", width: int = 0) -> str:
    """The help page for a command line: its values, and the settings of the agent and data that it chooses.

    Args:
        overrides: Settings as they are typed.
        config_name: YAML file in conf/ that holds the defaults.
        width: Characters per line; those of the terminal where it is 0.

    Raises:
        UserError: An override that is wrong.
    """
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        parsed = [override for override in parse(overrides) if not override.key_or_group.startswith("hydra")]
        check_names(parsed, config_name)
        config = compose(config_name, [str(override.input_line) for override in parsed])
        loader = GlobalHydra.instance().config_loader()
        options = {group: loader.get_group_options(group) for group in (*OPTIONS, RECIPES)}
    choices = [
        Line(f"{group}={config[group].get('name', '')}", f"One of {', '.join(options[group])}.")
        for group in OPTIONS
    ]
    recipes = Line(f"-m +{RECIPES}=NAME", f"A sweep that has a name: {', '.join(options[RECIPES])}.")
    return page(SUMMARY, USAGE, EXAMPLE, [Section("choices", [*choices, recipes]), *_sections(config)], width)


def _sections(config: DictConfig) -> Iterator[Section]:
    values = OmegaConf.to_container(config, resolve=False)
    assert isinstance(values, dict)
    shared = {name: one for name, one in declared(RunConfig).items() if name not in SECTIONS}
    yield Section("run: what all parts share", [*_lines(shared, values, "")])
    for section, schema in SECTIONS.items():
        settings, title = declared(schema), f"{section}: {summary(schema)}"
        name = str(values[section].get("name"))
        if section == "agent" and name in AGENTS:
            settings |= declared(AGENTS[name])
            title = f"{section}={name}: {summary(AGENTS[name])}"
        elif section == "data" and name in align3d.sources.SOURCES:
            source = align3d.sources.source_class(name)
            settings = declared(source) | settings
            title = f"{section}={name}: {summary(source)}"
        yield Section(title, [*_lines(settings, values[section], f"{section}.")])
    yield Section("folders, sweeps and flags", FOLDERS)


def _lines(settings: Mapping[str, Setting], values: Mapping[Any, Any], prefix: str) -> Iterator[Line]:
    """The entries of what was composed; options of groups are named above."""
    for name, value in values.items():
        if prefix + name in SECTIONS or (name == "name" and value != MISSING):
            continue
        setting = settings.get(name, Setting(name, Any, value, ""))
        yield setting_line(setting, prefix, "VALUE" if value == MISSING else in_hydras_grammar(value))

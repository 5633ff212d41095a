"""Command that runs a task under Hydra, with every fault of the user reported in one line.

Hydra composes the settings, makes the run folder and runs sweeps (``-m``). What is typed is checked before,
so that no empty run folder is left behind.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from align3d.console.help_page import show
from align3d.console.terminal import replace_what_is_lacking, say, say_error
from align3d.console.typed_settings import setting
from align3d.errors import UserError, did_you_mean
from durable.disk_space import full_disk_named
from durable.errors import NoSpaceError
from experiments.console.writable import writable_folder
from experiments.run_folder import checkpoint
from experiments.run_folder.names import CHECKPOINTS, is_begun
from experiments.settings.changes import RUN_DIR
from experiments.settings.overrides import (
    CONF,
    OPTIONS,
    RECIPES,
    check,
    known_setting,
    output_of,
    parse,
)
from experiments.settings.preflight import check_machine
from experiments.settings.reading import from_hydra, from_plain
from experiments.settings.resume import asks_to_resume, resumed_settings, similar_folder
from experiments.settings.run_help import help_text
from experiments.settings.schema import RunConfig, register_sizes
from experiments.sweeps import sweep_launcher

USAGE_EXIT = 2
INTERRUPTED_EXIT = 130

PASSIVE_FLAGS = {"--hydra-help", "--version", "--info", "-i", "--shell-completion", "-sc"}
"""Flags that ask Hydra about itself."""
INFO_FLAGS = {"--info", "-i"}
"""Flags with a value that may be left out."""
FLAGS = ["--help", "-h", "--multirun", "-m", "--run", "-r", "--resolve", *sorted(PASSIVE_FLAGS)]
VALUE_FLAGS = [
    *["--cfg", "-c", "--package", "-p", "--experimental-rerun"],
    *["--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd"],
]
"""Flags that are followed by a value."""


def main(task: Callable[[RunConfig], None], config_name: str = "config") -> None:
    """Run a task with the settings of the command line; leave with exit code 2 upon a user's fault.

    Args:
        task: What to do with the checked settings; runs once, or once for each point of a sweep.
        config_name: YAML file in conf/ that holds the defaults.
    """
    replace_what_is_lacking()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # raise to us instead of printing
    resumed: dict[str, Any] | None = None

    @hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)
    def run(config: DictConfig) -> None:
        folder = Path(HydraConfig.get().runtime.output_dir)
        try:
            with full_disk_named():
                task(from_hydra(config) if resumed is None else from_plain(resumed))
        except UserError as error:  # before Hydra sees it, which would print the overrides as well
            sys.exit(_report(error, folder))
        except KeyboardInterrupt:
            say(f"interrupted; {_going_on(folder)}", error=True)
            sys.exit(INTERRUPTED_EXIT)

    try:
        register_sizes()
        flags = split_flags(sys.argv[1:], config_name)
        if flags.help:
            show(help_text(flags.overrides, config_name))
            return
        if not flags.passive:
            resumed = _prepare(flags.overrides, config_name, multirun=flags.multirun)
        if resumed is not None:
            flags.overrides = [text for text in flags.overrides if text.lstrip("+~").startswith("hydra")]
        sys.argv[1:] = [*flags.words, *flags.overrides]
        with full_disk_named():  # by Hydra's own files, or the log of an arm
            run()
    except (UserError, HydraException, OmegaConfBaseException) as error:
        sys.exit(_report(error))
    except KeyboardInterrupt:
        print("interrupted before anything was begun", file=sys.stderr)
        sys.exit(INTERRUPTED_EXIT)


def _prepare(overrides: list[str], config_name: str, *, multirun: bool) -> dict[str, Any] | None:
    """Check what is typed, and that what it names can be read and written.

    Returns:
        The settings of the run that is resumed; None for a new run or a sweep.
    """
    if asks_to_resume(parse(overrides)):
        key, folder = output_of(overrides, config_name, multirun)
        if not any(text.startswith(f"{key}=") for text in overrides):
            what = "run" if key == RUN_DIR else "sweep"
            raise UserError(f"resume=true: which {what}? name its folder: {key}=FOLDER resume=true")
        if key == RUN_DIR:
            plain = resumed_settings(folder, parse(overrides), (*OPTIONS, RECIPES))
            check_machine(from_plain(plain))
            writable_folder(setting(key, folder), folder)
            return plain
        if not folder.is_dir():
            raise UserError(f"{setting(key, folder)}: no sweep there to resume{similar_folder(folder)}")
    for config in check(overrides, config_name, multirun=multirun):
        check_machine(config)
    key, folder = output_of(overrides, config_name, multirun)
    writable_folder(setting(key, folder), folder)
    return None


@dataclass
class Flags:
    """A command line, taken apart.

    Attributes:
        overrides: Settings, as ``key=value``.
        words: Flags of Hydra's with their values.
    """

    overrides: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    @property
    def multirun(self) -> bool:
        """Whether several jobs are asked for."""
        return not {"-m", "--multirun"}.isdisjoint(self.words)

    @property
    def help(self) -> bool:
        """Whether the settings are to be listed."""
        return not {"-h", "--help"}.isdisjoint(self.words)

    @property
    def passive(self) -> bool:
        """Whether Hydra answers a question about itself, and nothing is composed."""
        return not PASSIVE_FLAGS.isdisjoint(self.words)


def split_flags(arguments: Sequence[str], config_name: str = "config") -> Flags:
    """Take a command line apart.

    Raises:
        UserError: A flag that there is not; the message says how a setting is written.
    """
    found = Flags()
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        name, equals, _ = word.partition("=")
        if not word.startswith("-"):
            found.overrides.append(word)
        elif name not in {*FLAGS, *VALUE_FLAGS}:
            raise UserError(_no_flag(word, rest, config_name))
        else:
            found.words.append(word)
            if name in VALUE_FLAGS and not equals:
                if not rest:
                    raise UserError(f"{word}: expected a value after it")
                found.words.append(rest.pop(0))
            elif name in INFO_FLAGS and rest and "=" not in rest[0]:
                found.words.append(rest.pop(0))
    return found


def _no_flag(word: str, rest: Sequence[str], config_name: str) -> str:
    """Message on ``--agent ppo``: how such a setting is written."""
    name, equals, value = word.partition("=")
    key = name.lstrip("-").replace("-", "_")
    if not equals and rest and "=" not in rest[0] and not rest[0].startswith("-"):
        value = rest[0]
    if not value and (near := did_you_mean(name, [*FLAGS, *VALUE_FLAGS])):
        return f"{word}: no such flag{near}"
    typed = word if equals or not value else f"{word} {value}"
    return f"{typed}: settings have no dashes; write {known_setting(key, config_name)}={value or 'VALUE'}"


def _going_on(folder: Path) -> str:
    """Command by which a run that ended early goes on from its last checkpoint, or begins anew."""
    run_dir = setting(RUN_DIR, folder)
    resume = f"{shlex.join(['python', *sweep_launcher.program()[1:]])} resume=true {run_dir}"
    place = checkpoint.latest(folder / CHECKPOINTS)
    if place is not None:
        return f"{resume} goes on from step {checkpoint.step_of(place)}"
    command = resume if is_begun(folder) else f"the same command with {run_dir}"
    return f"nothing was saved yet: {command} begins anew"


def _report(error: Exception, folder: Path | None = None) -> int:
    """Print a user's fault in one line, and how a run that a full disk ended goes on; the exit code."""
    if folder is not None and isinstance(error, NoSpaceError):
        error = NoSpaceError(f"{error}; {_going_on(folder)}")
    say_error(error)
    return USAGE_EXIT

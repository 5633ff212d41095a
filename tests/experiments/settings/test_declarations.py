"""Settings are declared once: the YAML files and the help page say what the declarations say."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from align3d import SOURCES
from align3d.console.declarations import REQUIRED, declared
from experiments.settings import yaml_comments
from experiments.settings.overrides import CONF
from experiments.settings.run_help import help_text
from experiments.settings.schema import SECTIONS, RunConfig, register_sizes

register_sizes()


def values_in(path: Path) -> dict[str, Any]:
    found = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()}


@pytest.mark.parametrize("path", yaml_comments.files(), ids=lambda path: path.stem)
def test_comments_are_those_of_the_declarations(path: Path) -> None:
    text = path.read_text()
    made = yaml_comments.commented(text, yaml_comments.declarations(path))
    assert text == made, "run: python -m experiments.settings.yaml_comments"


def test_config_yaml_holds_the_declared_defaults() -> None:
    values = values_in(CONF / "config.yaml")
    shared = {name: one.default for name, one in declared(RunConfig).items() if name not in SECTIONS}
    del shared["plain"]
    assert {name: values[name] for name in shared} == shared
    for section in ("train", "dap", "reward", "env", "eval"):
        defaults = {
            name: one.default for name, one in declared(SECTIONS[section]).items() if name != "reward"
        }
        assert {k: tuple(v) if isinstance(v, list) else v for k, v in values[section].items()} == defaults


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_the_yaml_of_a_source_holds_the_declared_defaults(name: str) -> None:
    values = values_in(CONF / "data" / f"{name}.yaml")
    values = values.get("data", values)
    own = {key: one.default for key, one in declared(SOURCES[name]).items()}
    assert {key: values[key] for key in own if values[key] != "???"} == {
        key: default for key, default in own.items() if values[key] != "???"
    }


def test_every_setting_has_a_comment() -> None:
    for path in yaml_comments.files():
        said = yaml_comments.declarations(path)
        for key, value in values_in(path).items():
            names = [f"{key}.{name}" for name in value] if isinstance(value, dict) and value else [key]
            if key not in ("defaults", "hydra", "name") and path.stem != "custom":
                assert not [name for name in names if not said.get(name) and not name.endswith(".name")], path


@pytest.mark.parametrize("width", [80, 120])
def test_help_shows_every_setting_within_the_width(width: int) -> None:
    page = help_text(["agent=ppo", "train.epochs=3"], width=width)
    assert max(map(len, page.splitlines())) <= width
    for section in ("train", "dap", "reward", "env", "eval"):
        for field in dataclasses.fields(SECTIONS[section]):
            assert f"  {section}.{field.name}=" in page or (section, field.name) == ("env", "reward")
    for words in (
        "train.epochs=3",
        "agent.clip_range=0.2",
        "data.reward=600",
        "agent=ppo",
        "[off | substitute",
    ):
        assert words in page
    assert "Hydra" not in page.splitlines()[0]


def test_declarations_are_read_from_classes_and_functions() -> None:
    def build(size: int, *, seed: int | None = None) -> None:  # noqa: D417 - one is left out
        """Build.

        Args:
            size: number of shapes,
                of any kind; `None` is none.
        """

    found = declared(build)
    assert found["size"].comment == "Number of shapes, of any kind; null is none."
    assert (found["size"].default, found["seed"].default, found["seed"].comment) == (REQUIRED, None, "")

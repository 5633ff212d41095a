"""Comments of the YAML files in conf/, made from the declarations of the settings.

``python -m experiments.settings.yaml_comments`` writes them; a test fails where that would change a file.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

import align3d.sources
from agents import AGENTS
from align3d.console.declarations import comments
from experiments.settings.overrides import CONF
from experiments.settings.schema import SECTIONS, RunConfig

WIDTH = 110
LEAST_COLUMN, MOST_COLUMN = 24, 40
_SETTING = re.compile(r"^(?P<indent> *)(?P<name>\w+): +(?P<value>[^#\s](?:[^#]*[^#\s])?) *(?:#.*)?$")
_SECTION = re.compile(r"^(?P<name>\w+):\s*(?:#.*)?$")
_CONTINUED = re.compile(rf"^ {{{LEAST_COLUMN},}}#")


def main() -> None:
    """Write the comments of all files."""
    for path in files():
        text = path.read_text()
        made = commented(text, declarations(path))
        if made != text:
            path.write_text(made)
            print(f"{path}: written")


def files() -> list[Path]:
    """The YAML files that hold settings; those of sweeps say what they are for themselves."""
    return [CONF / "config.yaml", *sorted(CONF.glob("agent/*.yaml")), *sorted(CONF.glob("data/*.yaml"))]


def declarations(path: Path) -> dict[str, str]:
    """Comments of the settings that a file may hold, by their names in that file."""
    said = {name: text for name, text in comments(RunConfig).items() if name not in SECTIONS}
    for section, schema in SECTIONS.items():
        said |= _under(section, comments(schema))
    group = path.parent.name
    if group == "agent" and path.stem in AGENTS:
        said |= _under(group, comments(AGENTS[path.stem]))
    if group == "data" and path.stem in align3d.sources.SOURCES:
        said = _under(group, comments(align3d.sources.source_class(path.stem))) | said
    if group in SECTIONS and "@package _global_" not in path.read_text():
        return {name.removeprefix(f"{group}."): text for name, text in said.items() if name.startswith(group)}
    return said


def commented(text: str, said: Mapping[str, str]) -> str:
    """A YAML file with the comment of each setting behind it, aligned by sections; other lines stay."""
    return "\n".join(line for block in _blocks(text) for line in _with_comments(block, said)) + "\n"


def _under(section: str, said: Mapping[str, str]) -> dict[str, str]:
    return {f"{section}.{name}": text for name, text in said.items() if name != "name"}


def _blocks(text: str) -> Iterator[list[tuple[str, str]]]:
    """Lines with the section that they are in, one list per section and level."""
    block: list[tuple[str, str]] = []
    section = ""
    for line in text.splitlines():
        if _CONTINUED.match(line):
            continue
        if found := _SECTION.match(line):
            section = f"{found['name']}."
        elif not line.startswith(" "):
            section = ""
        if block and block[-1][1] != section:
            yield block
            block = []
        block.append((line, section))
    yield block


def _with_comments(block: list[tuple[str, str]], said: Mapping[str, str]) -> Iterator[str]:
    found = [_SETTING.match(line) for line, _ in block]
    own = [
        f"{match['indent']}{match['name']}: {match['value']}"
        if match and f"{section}{match['name']}" in said
        else ""
        for match, (_, section) in zip(found, block, strict=True)
    ]
    fitting = [len(text) for text in own if len(text) < MOST_COLUMN]
    column = max(LEAST_COLUMN, 2 + max(fitting, default=0))
    for match, text, (line, section) in zip(found, own, block, strict=True):
        if not match or not text:
            yield line
            continue
        start = max(column, len(text) + 2)
        for place, piece in enumerate(textwrap.wrap(said[f"{section}{match['name']}"], WIDTH - start - 2)):
            yield f"{'' if place else text:<{start}}# {piece}"


if __name__ == "__main__":
    main()

"""Page of a single run, results.html: one file that needs no other and no network."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

from durable.errors import UserError
from durable.plain_data import read_json
from experiments.console.tables import DIRECTIONS, MEASURES
from experiments.reporting.formatting import NOTHING, RANKINGS, Grid, duration, shown
from experiments.reporting.html_page import document, escaped, items, table
from experiments.reporting.load_runs import flatten
from experiments.reporting.run_curves import run_curves
from experiments.reporting.verdict import verdict
from experiments.run_folder.names import CLOUDS, JOURNAL, RESULTS, SEARCH
from experiments.settings.defaults import defaults_of

READING = (
    "The interval behind a return is its mean ± 1.96 standard errors over queries; the agent sees no labels "
    "in the test.",
    "Exact KNN: search on global embeddings. HAF re-ranks its first candidates, under its own attention and "
    "as the agent has calibrated it.",
    "Points are painted by how much of a word's attention they get, the most at its darkest (on a dark page: "
    "brightest); the number on a word is its weight in the score. Shapes turn by dragging and by the arrow "
    "keys.",
)
_WORDS = ("ranking", "direction", "setting", "value", "default", "what")
_REFERENCE = re.compile(r"\$\{([\w.]+)\}")
_MOST_BYTES = 1_000_000
"""Bytes up to which a picture is put into the page."""


def page_of(folder: Path) -> str:
    """The page of a finished run.

    Args:
        folder: The run's; its results.json is read, and what else it has of metrics and pictures.

    Raises:
        DamagedFileError: results.json cannot be read.
    """
    return run_page(folder, read_json(folder / RESULTS))


def run_page(folder: Path, results: Mapping[str, Any], notes: Sequence[str] = ()) -> str:
    """The page of a run whose results are read already.

    Args:
        folder: The run's.
        results: Content of its results.json.
        notes: Sentences about what could not be read.
    """
    title, (rankings, changes, facts) = run_title(results), run_grids(folder, results)
    body = [
        f"<h1>{escaped(title)}</h1>",
        f'<p class="verdict">{escaped(verdict(results))}</p>',
        items(notes, "notes"),
        table(rankings),
        *_section("Curves", _curves(folder)),
        *_section("Where words look", _clouds(folder)),
        *_section("A search of the agent", _search(folder)),
        *_section(changes.title, [table(replace(changes, title=""))]),
        *_section(facts.title, [table(replace(facts, title=""))]),
        f"<details><summary>All settings</summary>{table(_settings(results['config']))}</details>",
        "<h2>How to read this</h2>",
        items(READING, "reading"),
    ]
    return document(f"Run: {title}", body)


def run_title(results: Mapping[str, Any]) -> str:
    """What a run is called: its agent, its data and its seed."""
    return f"{results['config']['agent']['name']} on {results['dataset']['name']}, seed {results['seed']}"


def run_grids(folder: Path, results: Mapping[str, Any]) -> tuple[Grid, Grid, Grid]:
    """Tables of a single run: its rankings, what was changed against the defaults, and what it took.

    Args:
        folder: The run's.
        results: Content of its results.json.
    """
    return _rankings(results), _changes(results["config"]), _facts(folder, results)


def _section(title: str, parts: list[str]) -> list[str]:
    return [f"<h2>{escaped(title)}</h2>", *parts] if any(parts) else []


def _rankings(results: Mapping[str, Any]) -> Grid:
    metrics = results["metrics"]
    stated = [
        name
        for name in MEASURES
        if any(f"{way}/{name}" in metrics[row] for way in DIRECTIONS for row in RANKINGS if row in metrics)
    ]
    rows = [
        [words, DIRECTIONS[way], *(_percent(metrics[row], f"{way}/{name}") for name in stated)]
        for way in DIRECTIONS
        for row, words in RANKINGS.items()
        if row in metrics
    ]
    tested = f"Retrieval on {results['dataset']['test']:,} test shapes, per cent"
    return Grid(tested, ["ranking", "direction", *(MEASURES[name] for name in stated)], rows, "", _WORDS)


def _curves(folder: Path) -> list[str]:
    plots = run_curves(folder / JOURNAL)
    return (
        [f'<div class="plots">{"".join(f"<figure>{plot}</figure>" for plot in plots)}</div>'] if plots else []
    )


def _clouds(folder: Path) -> list[str]:
    path = folder / CLOUDS
    if not path.is_file():
        return []
    try:
        shapes = read_json(path)
        views = "".join(_view(number, shape) for number, shape in enumerate(shapes))
    except (UserError, LookupError, TypeError, ValueError, AttributeError):
        return [f'<p class="warning">{CLOUDS} is damaged, so its shapes are not shown.</p>']
    plain = json.dumps(shapes).replace("<", "\\u003c")
    cloud = (resources.files("align3d.reviewing") / "page" / "cloud.js").read_text().replace("export ", "")
    colors = Path(__file__).with_name("attention_colors.js").read_text().replace("export ", "")
    own = Path(__file__).with_name("point_viewer.js").read_text()
    return [
        f'<div class="clouds">{views}</div>',
        f'<script type="application/json" id="clouds">{plain}</script>',
        f"<script>(() => {{\n{cloud}\n{colors}\n{own}}})();</script>",
    ]


def _view(number: int, shape: Mapping[str, Any]) -> str:
    def button(place: int, text: str) -> str:
        return f'<button type="button" data-word="{place}" aria-pressed="false">{text}</button>'

    words = [
        button(place, f"{escaped(word['word'])} <small>{100 * float(word['weight']):.0f}\u202f%</small>")
        for place, word in enumerate(shape["words"])
    ]
    return (
        f'<figure data-shape="{number}"><canvas tabindex="0" role="img" aria-label="Points of the shape: '
        f'{escaped(shape["caption"])}"></canvas><figcaption>“{escaped(shape["caption"])}”</figcaption>'
        f'<div class="words">{"".join(words)}{button(-1, "own colors")}'
        '<button type="button" data-turn aria-pressed="true">turning</button></div></figure>'
    )


def _search(folder: Path) -> list[str]:
    path = folder / SEARCH
    if not path.is_file() or path.stat().st_size > _MOST_BYTES:
        return []
    picture = base64.b64encode(path.read_bytes()).decode()
    return [
        '<figure class="paper"><img alt="Tree of a search: actions with their visits and returns, the chosen '
        f'line on top" src="data:image/png;base64,{picture}"></figure>'
    ]


def _changes(config: Mapping[str, Any]) -> Grid:
    usual = _resolved(dict(flatten(defaults_of(config))), dict(flatten(config)))
    rows = [
        [name, shown(value), shown(usual.get(name)) if name in usual else "no such setting"]
        for name, value in flatten(config)
        if name not in ("resume", "accept_changes") and not _same(value, usual.get(name))
    ]
    title = "Changed against the defaults"
    return Grid(title, ["setting", "value", "default"], rows or [["nothing", "", ""]], "", _WORDS)


def _resolved(usual: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Defaults, those that are another setting's value being the run's value of that one."""
    found = {}
    for name, value in usual.items():
        other = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
        found[name] = own.get(other[1], value) if other else value
    return found


def _facts(folder: Path, results: Mapping[str, Any]) -> Grid:
    agent, memory, dataset = results["agent"], results.get("memory"), results["dataset"]
    seconds = results.get("timing", {})
    rows = [
        ["folder", folder.name],
        ["shapes", ", ".join(f"{name} {dataset[name]:,}" for name in ("train", "reward", "test"))],
        [
            "steps",
            f"{results.get('steps', 0):,} ({results.get('reused_steps', 0):,} of a warm-up from the cache)",
        ],
        [
            "agent",
            f"{agent['name']}, budget {agent.get('budget')}, {agent.get('evaluations', 0):,.0f} evaluations",
        ],
        ["memory", f"{memory['pairs']:,} pairs ({memory['source']})" if memory else "no such setting"],
        [
            "time",
            ", ".join(f"{name.removesuffix('_seconds')} {duration(own)}" for name, own in seconds.items()),
        ],
        ["machine", ", ".join(str(value) for value in results.get("machine", {}).values())],
        ["versions", ", ".join(f"{name} {own}" for name, own in results.get("versions", {}).items())],
    ]
    return Grid("The run", ["what", "value"], [row for row in rows if row[1]], "", _WORDS)


def _settings(config: Mapping[str, Any]) -> Grid:
    rows = [[name, shown(value)] for name, value in flatten(config)]
    return Grid("Settings", ["setting", "value"], rows, "", _WORDS)


def _same(value: Any, usual: Any) -> bool:
    if isinstance(value, int | float) and isinstance(usual, int | float):
        return float(value) == float(usual)
    return shown(value) == shown(usual)


def _percent(metrics: Mapping[str, float], name: str) -> str:
    return f"{100 * metrics[name]:.1f}" if name in metrics else NOTHING

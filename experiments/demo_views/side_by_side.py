"""Runs side by side: what each ended with, the settings that differ, and their curves in common plots."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from align3d.errors import UserError
from experiments.console.tables import DIRECTIONS, MEASURES
from experiments.reporting.arms import AGENT, differing
from experiments.reporting.formatting import NOTHING, RANKINGS, duration, shown
from experiments.reporting.load_runs import Run, read_run
from experiments.reporting.overlaid_curves import overlaid_curves
from experiments.reporting.verdict import verdict
from experiments.run_folder.names import JOURNAL, RESULTS

MOST = 8
"""Runs that are shown side by side."""
MOST_NEIGHBORS = 100
MOST_DRAWN = 32
"""Comparisons whose plots are kept."""
_STYLE = re.compile(r"<style.*?</style>", re.DOTALL)


def neighbors(run: Path) -> list[Path]:
    """Finished runs that stand beside a run's folder, itself first; links are not followed."""
    run = run.resolve()
    beside = sorted(path for path in run.parent.iterdir() if path.is_dir() and not path.is_symlink())
    return [run, *(path for path in beside if path != run and (path / RESULTS).is_file())][:MOST_NEIGHBORS]


class RunsView:
    """Runs that may be compared on the page: no others can be asked for.

    Args:
        folders: Of finished runs.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = list(dict.fromkeys(folder.resolve() for folder in folders))
        self._drawing = Lock()  # matplotlib's style is the process's
        self._drawn: dict[tuple[tuple[Path, int], ...], list[str]] = {}

    def listing(self) -> list[dict[str, Any]]:
        """The runs, as plain values; those that cannot be read say why."""
        found: list[dict[str, Any]] = []
        for number, folder in enumerate(self.folders):
            run = read_run(folder)
            entry: dict[str, Any] = {"number": number, "name": self._name(folder)}
            found.append(entry | ({"title": _title(run)} if isinstance(run, Run) else {"reason": run.reason}))
        return found

    def compared(self, numbers: Sequence[int]) -> dict[str, Any]:
        """Some runs side by side, as plain values and SVG elements.

        Args:
            numbers: Places in the listing.

        Raises:
            UserError: Too many or too few, one that there is not, or one that cannot be read.
        """
        numbers = list(dict.fromkeys(numbers))
        if not 1 <= len(numbers) <= MOST:
            raise UserError(f"{len(numbers)} runs: choose 1 to {MOST}")
        runs: list[Run] = []
        for number in numbers:
            if not 0 <= number < len(self.folders):
                raise UserError(f"run {number}: expected 0 to {len(self.folders) - 1}")
            found = read_run(self.folders[number])
            if not isinstance(found, Run):
                raise UserError(f"{self._name(self.folders[number])}: {found.reason}")
            runs.append(found)
        names = [self._name(run.folder) for run in runs]
        plots = self._plots(runs, names)
        return {
            "runs": [
                {"number": number, "name": name, "title": _title(run), "verdict": verdict(run.results)}
                for number, name, run in zip(numbers, names, runs, strict=True)
            ],
            "notes": [*_warnings(runs), *(note for run in runs for note in run.notes)],
            "plots": plots,
            "results": _results(runs),
            "facts": _facts(runs),
            "settings": [[name, *(_value(run, name) for run in runs)] for name in _differing(runs)],
        }

    def _plots(self, runs: Sequence[Run], names: Sequence[str]) -> list[str]:
        """Plots of runs, drawn once for the journals as they are."""
        key = tuple((run.folder, (run.folder / JOURNAL).stat().st_mtime_ns) for run in runs if _journal(run))
        with self._drawing:
            if key not in self._drawn:
                self._drawn[key] = [_without_styles(plot) for plot in overlaid_curves(runs, names)]
                if len(self._drawn) > MOST_DRAWN:
                    self._drawn.pop(next(iter(self._drawn)))
            return self._drawn[key]

    def _name(self, folder: Path) -> str:
        """A folder by its name, with its parent's where that is not enough."""
        same = [other for other in self.folders if other.name == folder.name]
        return folder.name if len(same) == 1 else f"{folder.parent.name}/{folder.name}"


def _without_styles(plot: str) -> str:
    """An SVG element whose styles a page's script has to set, as its policy lets no markup do so."""
    return _STYLE.sub("", plot).replace(' style="', ' data-style="')


def _journal(run: Run) -> bool:
    return (run.folder / JOURNAL).is_file()


def _title(run: Run) -> str:
    return f"{run.settings.get(AGENT)} on {run.results['dataset']['name']}, seed {run.seed}"


def _warnings(runs: Sequence[Run]) -> list[str]:
    tested = {
        (
            run.results["dataset"].get("hash"),
            run.results["dataset"].get("test"),
            _value(run, "eval.candidates"),
        )
        for run in runs
    }
    if len(tested) == 1:
        return []
    return ["These runs were tested on different shapes or candidates: their results cannot be compared."]


def _results(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Rows of the retrieval table that any of the runs has; the best figure of each is marked."""
    rows = []
    for direction, words in DIRECTIONS.items():
        for row, ranking in RANKINGS.items():
            for name, measure in MEASURES.items():
                own = [run.results["metrics"].get(row, {}).get(f"{direction}/{name}") for run in runs]
                if not any(value is not None for value in own):
                    continue
                known = [value for value in own if value is not None]
                best = max(known) if len(known) > 1 and min(known) < max(known) else None
                rows.append(
                    {
                        "ranking": ranking,
                        "direction": words,
                        "measure": measure,
                        "values": [NOTHING if value is None else f"{100 * value:.1f}" for value in own],
                        "best": [
                            place for place, value in enumerate(own) if value == best and best is not None
                        ],
                    }
                )
    return rows


def _facts(runs: Sequence[Run]) -> list[list[str]]:
    """What runs took, a row for each figure that any of them states."""

    def of(run: Run) -> dict[str, str]:
        agent, dataset = run.results["agent"], run.results["dataset"]
        seconds = run.results.get("timing", {})
        found = {
            "train / reward / test shapes": " / ".join(
                f"{dataset.get(name, 0):,}" for name in ("train", "reward", "test")
            ),
            "steps": f"{run.results.get('steps', 0):,}",
            "known pairs": f"{run.results['memory']['pairs']:,}" if run.results.get("memory") else "",
            "agent's budget": str(agent.get("budget", "")),
            "agent's evaluations": f"{agent['evaluations']:,.0f}" if agent.get("evaluations") else "",
            "time": duration(sum(seconds.values())) if seconds else "",
        }
        return {name: value for name, value in found.items() if value}

    facts = [of(run) for run in runs]
    names = dict.fromkeys(name for own in facts for name in own)
    return [[name, *(own.get(name, NOTHING) for own in facts)] for name in names]


def _differing(runs: Sequence[Run]) -> list[str]:
    """Names of the settings that differ, the seed among them."""
    seeds = ["seed"] if len({run.seed for run in runs}) > 1 else []
    return [*seeds, *differing(runs)] if len(runs) > 1 else []


def _value(run: Run, name: str) -> str:
    return shown(run.settings[name]) if name in run.settings else NOTHING

"""Arms of an ablation: runs sorted into comparisons and arms by the settings in which they differ.

Runs can be compared if they were tested on the same shapes with the same candidates. Within such a
comparison, runs whose settings are equal but for the seed are repetitions of one arm.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from align3d.console.typed_settings import in_hydras_grammar
from experiments.reporting.load_runs import Run

AGENT = "agent.name"
#: Settings in which repetitions of one arm may differ: they are no part of what is compared.
FREE = frozenset(
    {
        "seed",
        "agent.seed",
        "resume",
        "loggers",
        "accept_changes",
        "device",
        "cache",
        "threads",
        "imports",
        "data.workers",
        "eval.batch_size",
    }
    | {"train.checkpoint_every", "train.checkpoint_minutes", "train.images_every"}
)
#: Largest number of arms that a note names one by one.
MOST_NAMED = 3
#: Values of reference arms, by the setting that differs.
REFERENCES: dict[str, tuple[Any, ...]] = {
    AGENT: ("none", "fixed", "random_search"),
    "agent.budget": (0,),
    "dap.mode": ("off",),
}


@dataclass(frozen=True)
class Arm:
    """Repetitions of one configuration.

    Attributes:
        name: Settings in which it differs from other arms, such as ``mcts`` or ``reward.alpha=0.5``.
        values: The same by setting.
        runs: One run per seed, in the order of the seeds.
    """

    name: str
    values: Mapping[str, Any]
    runs: list[Run]

    @property
    def seeds(self) -> list[int]:
        """Return the seeds of the runs."""
        return [run.seed for run in self.runs]


@dataclass(frozen=True)
class Comparison:
    """Arms that were tested alike.

    Attributes:
        dataset: Name of the dataset.
        hash: Hash of its content.
        shapes: Number of test shapes.
        candidates: Number of candidates that were re-ranked.
        keys: Settings in which the arms differ.
        arms: Arms in the order in which they were found.
        notes: Sentences that a reader should know before comparing.
    """

    dataset: str
    hash: str
    shapes: int
    candidates: int
    keys: list[str]
    arms: list[Arm]
    notes: list[str]

    @property
    def title(self) -> str:
        """Return a title in words."""
        return f"{self.dataset}, {self.shapes} test shapes, {self.candidates} candidates"

    def references(self, arm: Arm) -> list[Arm]:
        """List the arms to compare with: those equal but for the agent or the like, or the only ones."""
        found = []
        for key, values in REFERENCES.items():
            for value in values:
                if key not in self.keys or arm.values[key] == value:
                    continue
                wanted = {**arm.values, key: value}
                same = [other for other in self.arms if other.values == wanted]
                alone = [other for other in self.arms if other.values[key] == value]
                found += same or (alone if len(alone) == 1 else [])
        return found


def compare(runs: Sequence[Run]) -> list[Comparison]:
    """Sort runs into comparisons, in the order in which they were found."""
    groups: dict[tuple[Any, ...], list[Run]] = {}
    for run in runs:
        dataset = run.results["dataset"]
        key = (
            dataset["name"],
            str(dataset.get("hash")),
            int(dataset.get("test", 0)),
            int(run.settings.get("eval.candidates", 0)),
        )
        groups.setdefault(key, []).append(run)
    found = []
    for (name, digest, shapes, candidates), group in groups.items():
        keys, arms, notes = _arms(group)
        found.append(Comparison(name, digest, shapes, candidates, keys, arms, notes))
    return found


def differing(runs: Sequence[Run]) -> list[str]:
    """List the settings in which runs differ, without those that come with the agent's name."""
    names = dict.fromkeys(name for run in runs for name in run.settings if name not in FREE)
    found = [name for name in names if len({_value(run, name) for run in runs}) > 1]
    if AGENT not in found:
        return found
    kept = []
    for name in found:
        values: dict[str, set[str]] = {}
        for run in runs:
            values.setdefault(_value(run, AGENT), set()).add(_value(run, name))
        own = name.startswith("agent.") and all(len(several) == 1 for several in values.values())
        if name == AGENT or not own:
            kept.append(name)
    return sorted(kept, key=lambda name: name != AGENT)


def _arms(runs: Sequence[Run]) -> tuple[list[str], list[Arm], list[str]]:
    keys = differing(runs)
    arms: dict[str, Arm] = {}
    notes = []
    for run in runs:
        values = {key: run.settings.get(key) for key in keys}
        arm = arms.setdefault(json.dumps(values, default=str), Arm(arm_name(values, run), values, []))
        if run.seed in arm.seeds:
            notes.append(f"{arm.name} has seed {run.seed} twice: {run.folder} is left out")
            continue
        arm.runs.append(run)
    for arm in arms.values():
        arm.runs.sort(key=lambda run: run.seed)
    ordered = list(arms.values())
    return keys, ordered, notes + _notes(ordered)


def arm_name(values: Mapping[str, Any], run: Run) -> str:
    """Name an arm by what sets it apart: ``mcts, reward.alpha=0.5``; by the agent if nothing does."""
    if not values:
        return str(run.settings.get(AGENT, run.folder.name))
    return ", ".join(
        str(value) if key == AGENT else f"{key}={_shown(value)}" for key, value in values.items()
    )


def _notes(arms: Sequence[Arm]) -> list[str]:
    notes = []
    alone = [arm.name for arm in arms if len(arm.runs) < 2]
    if alone:
        has = "has" if len(alone) == 1 else "have"
        notes.append(f"{_named(alone)} {has} one seed: no interval can be given")
    by_seeds: dict[tuple[int, ...], list[str]] = {}
    for arm in arms:
        by_seeds.setdefault(tuple(arm.seeds), []).append(arm.name)
    if len(by_seeds) > 1:
        listed = "; ".join(
            f"{_named(names)}: {', '.join(map(str, seeds))}" for seeds, names in by_seeds.items()
        )
        notes.append(f"the arms have different seeds ({listed}): paired differences use those in common")
    runs = [run for arm in arms for run in arm.runs]
    notes += [note for run in runs for note in run.notes]
    for name, versions in _versions(runs).items():
        if len(versions) > 1:
            notes.append(f"runs were made with {name} {' and '.join(sorted(versions))}")
    budgets = {run.settings.get("agent.budget") for run in runs if run.settings.get(AGENT) != "none"}
    if len(budgets) > 1:
        in_order = sorted(budgets, key=lambda budget: (budget is not None, budget))
        notes.append(f"the budgets differ: {', '.join(map(str, in_order))} per episode")
    return notes


def _named(names: Sequence[str]) -> str:
    """List the arms of a note: by name if they are few."""
    return ", ".join(names) if len(names) <= MOST_NAMED else f"{len(names)} arms"


def _versions(runs: Sequence[Run]) -> dict[str, set[str]]:
    versions: dict[str, set[str]] = {}
    for run in runs:
        for name, version in run.results.get("versions", {}).items():
            versions.setdefault(name, set()).add(str(version))
    return versions


def _value(run: Run, name: str) -> str:
    return json.dumps(run.settings.get(name), default=str, sort_keys=True)


def _shown(value: Any) -> str:
    return "+".join(map(str, value)) if isinstance(value, list) else in_hydras_grammar(value)

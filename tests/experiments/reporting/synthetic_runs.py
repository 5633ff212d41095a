"""Run folders as the real command leaves them, with figures that a test chooses."""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hydra
from omegaconf import OmegaConf

from durable.checksums import write_json
from experiments.run_folder import names
from experiments.run_folder.metrics_log import MetricsLogger
from experiments.settings.command import CONF
from experiments.settings.reading import from_plain
from experiments.settings.schema import register_sizes
from experiments.training import results


@functools.cache
def _defaults(agent: str) -> dict[str, Any]:
    register_sizes()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        plain = OmegaConf.to_container(hydra.compose("config", overrides=[f"agent={agent}"]), resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def write_run(
    folder: Path,
    *,
    agent: str = "mcts",
    seed: int = 0,
    reranked: float = 0.5,
    final: float = 0.5,
    settings: Mapping[str, Any] | None = None,
    dataset: str = "procedural",
    hash: str = "abc",
    returns: list[tuple[int, float]] | None = None,
    acts: bool = True,
    validation: Mapping[str, float] | None = None,
    earned: Mapping[str, float] | None = None,
    grounding: Mapping[str, Any] | None = None,
    seconds: Mapping[str, float] | None = None,
    finished: bool = True,
) -> Path:
    """Write one run.

    Args:
        folder: Folder of the run.
        agent: Name of the agent.
        seed: Seed of the run.
        reranked: Recall@1 without calibration; from shape to text it is 0.1 more.
        final: Recall@1 with calibration.
        settings: Other settings that are not the defaults, by dotted name.
        dataset: Name of the dataset.
        hash: Hash of the dataset.
        returns: Curve of the agent: evaluations so far, and the return without labels.
        acts: Whether the agent may act in the test.
        validation: Values of its best validation, such as ``return`` and ``acted``.
        earned: What its calibration of the test queries earned.
        grounding: Content of results.json under ``grounding``.
        seconds: Seconds by phase.
        finished: Whether there are results.
    """
    plain = copy.deepcopy(_defaults(agent))
    for name, value in {"seed": seed, "data.name": dataset, **(settings or {})}.items():
        *sections, last = name.split(".")
        section = plain
        for part in sections:
            section = section[part]
        section[last] = value
    if "seed" in plain["agent"]:
        plain["agent"]["seed"] = seed
    results.open_folder(folder, from_plain(plain))
    journal = MetricsLogger(folder)
    journal.write(0, "train", {"loss/total": 2.0})
    for step, (evaluations, value) in enumerate(returns or [], start=1):
        values = {"agent/evaluations": evaluations, "reward/return": value + 0.1, "validation/return": value}
        journal.write(step, "agent", values | {"validation/recall@1_gain": value / 10})
    journal.close()
    if not finished:
        return folder

    def figures(value: float) -> dict[str, float]:
        return {"text_to_shape/recall@1": value, "shape_to_text/recall@1": value + 0.1}

    spent = returns[-1][0] if returns else 0
    whole = {
        "schema": names.SCHEMA,
        "config": plain,
        "seed": seed,
        "versions": results.versions(),
        "machine": {"cores": 2, "system": "test", "device": "cpu"},
        "dataset": {"name": dataset, "hash": hash, "train": 100, "reward": 20, "test": 40},
        "metrics": {
            "baseline": figures(0.3),
            "reranked": figures(reranked),
            "final": figures(final),
            "ceiling": figures(0.8),
        },
        "agent": {
            "name": agent,
            "budget": plain["agent"]["budget"],
            "episodes": spent // 10,
            "evaluations": spent,
            "return_mean": 0.2 if spent else None,
            "acts": acts,
            **({} if validation is None else {"validation": dict(validation)}),
            **({} if earned is None else {"test": dict(earned)}),
        },
        "steps": 1,
        "timing": {
            f"{phase}_seconds": value for phase, value in (seconds or {"train": 10.0, "agent": 2.0}).items()
        },
        **({} if grounding is None else {"grounding": grounding}),
    }
    write_json(folder / names.RESULTS, whole)
    return folder

"""The run folder: config.yaml when it is opened, results.json when it is done."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from align3d.console.terminal import say
from align3d.console.typed_settings import setting
from align3d.errors import UserError
from durable.checksums import check_files, set_aside, write_json
from durable.errors import DamagedFileError
from experiments.console.writable import writable_folder
from experiments.evaluation.fixed_strengths import as_json
from experiments.evaluation.retrieval_quality import Metrics
from experiments.run_folder import checkpoint
from experiments.run_folder.config_file import write_config
from experiments.run_folder.names import (
    BASELINE,
    CHECKPOINTS,
    CONFIG,
    FINAL,
    FIXED,
    JOURNAL,
    MEMORY,
    RERANKED,
    RESULTS,
    SCHEMA,
    is_begun,
)
from experiments.run_folder.own_runs import note_own, own_run
from experiments.run_folder.readers import read_results, read_yaml
from experiments.run_folder.run_lock import LOCK
from experiments.run_folder.versions import versions
from experiments.settings.changes import RUN_DIR, differences, refuse
from experiments.settings.schema import RunConfig
from experiments.training.session import Session

if TYPE_CHECKING:
    from experiments.evaluation.held_out import HeldOut

ROWS = {
    BASELINE: "exact KNN on global embeddings",
    MEMORY: "exact KNN + memory",
    RERANKED: "HAF re-ranking",
    FIXED: "HAF + memory, fixed",
    FINAL: "HAF + agent",
}


def open_folder(folder: Path, config: RunConfig) -> None:
    """Makes sure that the folder is this run's: a new one, or the one that is resumed.

    A folder that holds nothing but the settings of a run that never began is new.

    Raises:
        UserError: A run is there and was not asked to be resumed, or its settings were others.
    """
    run_dir = setting(RUN_DIR, folder)
    writable_folder(run_dir, folder)
    path = folder / CONFIG
    if path.exists() and is_begun(folder):
        if not config.resume:
            raise UserError(
                f"{run_dir}: a run is there already; add resume=true to go on with it, or name another folder"
            )
        refuse(differences(read_yaml(path), config.plain), folder)
        if checkpoint.latest(folder / CHECKPOINTS) is None:
            print(f"{folder}: no checkpoint there, so the run begins anew", file=sys.stderr, flush=True)
        return
    if config.resume and any(found.name not in (CONFIG, LOCK) for found in folder.iterdir()):
        raise UserError(f"{run_dir}: no {CONFIG} there, so no run to resume; leave out resume=true")
    own = not config.resume or own_run(folder) is not None
    write_config(folder, config.plain)
    if own:
        source, colon, _ = config.data.name.partition(":")
        note_own(folder, [*config.imports, *([source] if colon else [])], config.train.text_encoder)


def finished(folder: Path) -> dict[str, Any] | None:
    """The results of a run that is done; None where there are none yet, or they are to be made anew.

    Those that are damaged are set aside, with a line on stderr: the last checkpoint has all that they are
    made of. A journal that is not as the run has left it is reported.

    Raises:
        UserError: They are of another schema, or cannot be read.
    """
    path = folder / RESULTS
    if not path.exists():
        return None
    try:
        found = read_results(folder)
    except DamagedFileError:
        set_aside(path, "it was cut or changed")
        return None
    try:
        check_files(folder, {JOURNAL: found["journal"]} if found.get("journal") else {})
    except DamagedFileError as error:
        say(
            f"{error}; the results are whole, but curves of the run may have gaps or other values", error=True
        )
    return found


def write_results(session: Session, held_out: HeldOut, grounding: Mapping[str, Metrics]) -> dict[str, Any]:
    """Writes results.json with a checksum, whole or not at all.

    Args:
        session: The run.
        held_out: What was measured on the test split.
        grounding: Of attention.

    Raises:
        NoSpaceError: The disk does not take it.
    """
    config, corpus, policy = session.config, session.corpus, session.policy
    results = {
        "schema": SCHEMA,
        "config": config.plain,
        "seed": config.seed,
        "versions": versions(),
        "processes": session.trained_by,
        "machine": {"cores": os.cpu_count(), "system": platform.platform(), "device": str(session.device)},
        "dataset": {
            "name": corpus.dataset.name,
            "hash": corpus.dataset.hash,
            **{name: len(indices) for name, indices in corpus.splits.items()},
        },
        "metrics": held_out.metrics,
        **({"metrics_by_shift": held_out.by_shift} if len(held_out.by_shift) > 1 else {}),
        "grounding": grounding,
        "agent": {
            "name": config.agent.name,
            "budget": config.agent.budget,
            "episodes": policy.episodes,
            "evaluations": sum(one.evaluations for one in (policy, *policy.copies)),
            "return_mean": policy.returns / policy.episodes if policy.episodes else None,
            "acts": policy.acts,
            "validation": policy.validation,
            "test": {name: float(gain.mean()) for name, gain in held_out.gains.items()},
            "test_return_error": standard_error(held_out.gains["return"]),
        },
        "memory": _memory(session, held_out),
        "steps": session.step,
        "reused_steps": session.reused_steps,
        "journal": session.journal.noted(),
        "timing": {f"{phase}_seconds": round(seconds, 3) for phase, seconds in session.seconds.items()},
    }
    write_json(session.folder / RESULTS, results, default=str)
    return results


def _memory(session: Session, held_out: HeldOut) -> dict[str, Any] | None:
    """The bank of known pairs, and the strengths that are the same for all queries."""
    if session.bank is None or held_out.strengths is None:
        return None
    memory = session.bank.memory
    return {
        "source": session.config.memory,
        "hash": None if session.memory_data is None else session.memory_data.dataset.hash,
        "pairs": len(memory),
        "bytes": memory.resident_bytes,
        "fixed": as_json(held_out.strengths),
    }


def standard_error(values: Tensor) -> float:
    """Standard error of the mean of ``[Q]`` values; 0 for a single one."""
    return float(values.double().std(correction=0)) / len(values) ** 0.5


def flat(metrics: dict[str, Metrics]) -> dict[str, float]:
    """Metrics by TensorBoard's names: ``retrieval/final/text_to_shape/recall@1``."""
    return {
        f"retrieval/{row}/{name}": value for row, values in metrics.items() for name, value in values.items()
    }

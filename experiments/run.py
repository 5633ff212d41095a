"""Training, calibration and evaluation: ``python -m experiments.run agent=mcts``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig

from align3d.console.terminal import say, say_error
from align3d.console.typed_settings import setting
from align3d.errors import UserError
from durable.whole_files import write_text
from experiments.console import process, tables
from experiments.evaluation import grounding
from experiments.evaluation.attention_clouds import SHAPES, attention_clouds
from experiments.evaluation.gallery import Gallery
from experiments.evaluation.held_out import measure_held_out
from experiments.evaluation.pair_scores import Calibrations
from experiments.processes.launch import launched
from experiments.processes.process_group import Processes
from experiments.reporting.run_page import page_of
from experiments.run_folder.names import CLOUDS, KNOWN_PAIRS, PAGE
from experiments.run_folder.run_lock import held_folder
from experiments.settings import command
from experiments.settings.changes import RUN_DIR
from experiments.settings.schema import RunConfig
from experiments.training import results
from experiments.training.agent_training import train_agent
from experiments.training.loop import show_attention, train
from experiments.training.opening import begin, follow, open_session
from experiments.training.session import Session


def run(config: RunConfig) -> None:
    """One run, from data to the closing table, alone in its folder; the leader's part of it.

    Raises:
        UserError: A setting cannot be met, the folder is another run's or in use, or the disk is full.
    """
    folder = Path(HydraConfig.get().runtime.output_dir)
    with held_folder(setting(RUN_DIR, folder), folder):
        work(config, folder)


def work(config: RunConfig, folder: Path) -> None:
    """A run in a folder that no other run works in."""
    results.open_folder(folder, config)
    outcome = results.finished(folder)
    processes = Processes(launched())
    begin(processes, config.plain, folder, done=outcome is not None)
    if outcome is None:
        session = open_session(config, folder, processes)
        with session.journal:
            outcome = finish(session)
    title = f"{outcome['dataset']['name']}: {outcome['dataset']['test']} {config.eval.split} shapes"
    if shifts := outcome.get("metrics_by_shift"):
        title += f", mean over {', '.join(shifts)}"
    metrics = outcome["metrics"]
    rows = {words: metrics[name] for name, words in results.ROWS.items() if name in metrics}
    tables.show(tables.retrieval_table(rows, title))
    margin = outcome["config"]["dap"]["margin"]
    for line in (
        tables.memory_line(outcome.get("memory")),
        tables.agent_line(outcome["agent"], margin),
    ):
        if line:
            say(line)
    say(f"run folder: {folder}")


def finish(session: Session) -> dict[str, Any]:
    """Trains and tests what of a run is left to do; the content of results.json."""
    config, folder, corpus = session.config, session.folder, session.corpus
    train(session)
    train_agent(session)
    if session.bank is not None:
        session.bank.memory.save(folder / KNOWN_PAIRS)
    with session.timed("evaluate"):
        held_out = measure_held_out(
            session.model, corpus, config, session.policy, session.bank, session.device
        )
        found = measure_grounding(session, held_out.gallery, held_out.made)
        show_attention(session, folder / "attention.png")
        seen = corpus.splits["test"][:SHAPES]
        clouds = attention_clouds(session.model, corpus, seen, session.device)
        write_text(folder / CLOUDS, json.dumps(clouds) + "\n")
    gains = {f"test/{name}": float(values.mean()) for name, values in held_out.gains.items()}
    session.journal.write(
        session.step, "evaluate", results.flat(held_out.metrics) | grounding.flat(found) | gains
    )
    session.journal.flush()
    outcome = results.write_results(session, held_out, found)
    write_text(folder / PAGE, page_of(folder))
    session.journal.results(outcome)
    session.journal.close()
    return outcome


def measure_grounding(session: Session, gallery: Gallery, made: Calibrations) -> dict[str, dict[str, float]]:
    """Grounding on the test split, before and after calibration; empty where it is turned off."""
    config = session.config
    if not config.eval.grounding:
        return {}
    return grounding.grounding(
        session.model,
        session.corpus,
        session.corpus.splits["test"],
        gallery,
        made,
        shapes=config.eval.grounding,
        seed=config.seed,
        batch_size=config.eval.batch_size,
    )


def main() -> None:
    """The command, which ``torchrun`` starts as several processes: one leads, the others train with it."""
    process.keep_memory()
    try:
        launch = launched()
    except UserError as error:
        say_error(error)
        sys.exit(command.USAGE_EXIT)
    if launch.rank == 0:
        command.main(run)
    elif command.is_run(sys.argv[1:]):
        sys.exit(follow(launch))


if __name__ == "__main__":
    main()

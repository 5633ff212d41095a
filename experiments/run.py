"""Training, calibration and evaluation: ``python -m experiments.run agent=mcts``."""

from __future__ import annotations

import time
from pathlib import Path

from hydra.core.hydra_config import HydraConfig

from experiments.console import process, tables
from experiments.data.corpus import load_corpus
from experiments.data.memory_data import load_memory_data
from experiments.evaluation import grounding
from experiments.evaluation.calibrate_gallery import calibrate
from experiments.evaluation.directions import directions_of
from experiments.evaluation.gallery import Gallery, encode_split
from experiments.evaluation.pair_scores import Calibrations
from experiments.evaluation.retrieval_quality import evaluate
from experiments.evaluation.strengths import Choice, choose
from experiments.run_folder.names import KNOWN_PAIRS
from experiments.settings import command
from experiments.settings.schema import RunConfig
from experiments.training import results
from experiments.training.agent_training import train_agent
from experiments.training.loop import show_attention, train
from experiments.training.session import Session


def run(config: RunConfig) -> None:
    """One run, from data to the closing table."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    device = process.pick_device(config.device)
    process.use_threads(config.threads)
    process.seed_everything(config.seed)
    results.open_folder(folder, config)
    outcome = results.finished(folder)
    if outcome is None:
        start = time.monotonic()
        corpus = load_corpus(config, device)
        memory_data = load_memory_data(config, corpus, device)
        seconds = time.monotonic() - start
        process.seed_everything(config.seed)  # whether the data was built or found must not matter
        session = Session(config, folder, corpus, device, memory_data)
        session.spent("data", seconds)
        train(session)
        train_agent(session)
        if session.bank is not None:
            session.bank.memory.save(folder / KNOWN_PAIRS)
        with session.timed("evaluate"):
            strengths = fixed_strengths(session)
            gallery = encode_split(session.model, corpus, corpus.splits["test"], device, session.bank)
            made = calibrate(session.model, gallery, config.eval, session.policy)
            asked = directions_of(session.model, gallery, config.eval, made)
            metrics = evaluate(asked, strengths, calibrated=True)
            found = measure_grounding(session, gallery, made)
            show_attention(session, folder / "attention.png")
        gains = {name: float(values.mean()) for name, values in made.gains.items()}
        curves = {f"test/{name}": value for name, value in gains.items()}
        session.journal.write(
            session.step, "evaluate", results.flat(metrics) | grounding.flat(found) | curves
        )
        session.journal.close()
        error = results.standard_error(made.gains["return"])
        outcome = results.write_results(session, metrics, found, gains, error, strengths)
    title = f"{outcome['dataset']['name']}: {outcome['dataset']['test']} test shapes"
    rows = {
        title: outcome["metrics"][name] for name, title in results.ROWS.items() if name in outcome["metrics"]
    }
    tables.show(tables.retrieval_table(rows, title))
    if line := tables.agent_line(outcome["agent"], outcome["config"]["dap"]["margin"]):
        print(line)
    print(f"run folder: {folder}")


def fixed_strengths(session: Session) -> Choice | None:
    """Strengths of the memory that are alike for all queries, chosen on the reward split."""
    if session.bank is None:
        return None
    config, model = session.config, session.model
    rows = session.corpus.splits["reward"]
    gallery = encode_split(model, session.corpus, rows, session.device, session.bank)
    return choose(directions_of(model, gallery, config.eval), config.dap.margin)


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
    """The command."""
    process.keep_memory()
    command.main(run)


if __name__ == "__main__":
    main()

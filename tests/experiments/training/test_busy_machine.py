"""Equal numbers with two threads beside busy processes: training, resuming, agents and evaluation."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from experiments.console.process import seed_everything, use_threads
from experiments.data.corpus import Corpus, load_corpus
from experiments.evaluation.held_out import measure_held_out
from experiments.settings.command import check
from experiments.settings.schema import register_sizes
from experiments.training.agent_training import train_agent
from experiments.training.loop import advance, train
from experiments.training.session import Session

register_sizes()
CPU = torch.device("cpu")
# One group as large as the batch: every shape is gathered by texts of both threads.
SETTINGS = [
    *("model=tiny", "threads=2", "data.size=56", "data.points=256", "data.test=4", "data.reward=4"),
    *("train.batch_size=48", "train.group=48", "train.epochs=3", "train.hard_epochs=1"),
    *("train.images_every=0", "train.reuse=false", "eval.candidates=4"),
]
TRAINED = ["agent=none", "dap.mode=off"]
PLAYED = [
    *("agent.budget=8", "env.horizon=3", "dap.mode=both", "dap.period=2", "dap.warmup=0.5"),
    *("dap.queries=16", "dap.candidates=4", "dap.agent_steps=256", "dap.validations=1", "dap.score_weight=1"),
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    (config,) = check([*SETTINGS, *TRAINED, f"cache={tmp_path_factory.mktemp('cache')}"])
    return load_corpus(config, CPU)


@pytest.fixture(scope="module", autouse=True)
def busy(corpus: Corpus) -> Iterator[None]:
    """Two processes that take what they can get of the cores, and two threads for this one."""
    before = torch.get_num_threads()
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    use_threads(2)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        for other in others:
            other.kill()
            other.wait()


def session_of(folder: Path, corpus: Corpus, *more: str, seed: int = 0) -> Session:
    (config,) = check([*SETTINGS, *more])
    folder.mkdir(exist_ok=True)
    seed_everything(seed)
    return Session(config, folder, corpus, CPU)


def numbers(session: Session) -> dict[str, str]:
    """Digest of every weight, and of every line of the metrics but for the time."""
    session.journal.flush()
    lines = [json.loads(line) for line in (session.folder / "metrics.jsonl").read_text().splitlines()]
    kept = [{name: value for name, value in line.items() if name != "time"} for line in lines]
    weights = {name: digest(weight) for name, weight in session.model.state_dict().items()}
    agent = {name: digest(tensor) for name, tensor in session.policy.agent.export_state().items()}
    return {**weights, **agent, "metrics": json.dumps(kept)}


def digest(tensor: torch.Tensor) -> str:
    return hashlib.sha256(tensor.detach().cpu().contiguous().numpy().tobytes()).hexdigest()


def test_training_ends_with_equal_bits(corpus: Corpus, tmp_path: Path) -> None:
    found = []
    for repetition in range(4):
        session = session_of(tmp_path / str(repetition), corpus, *TRAINED)
        train(session)
        found.append(numbers(session))
    assert found[0]["metrics"].count("loss/total") == 4
    assert found[1:] == [found[0]] * 3


def test_resuming_ends_with_the_bits_of_a_whole_run(corpus: Corpus, tmp_path: Path) -> None:
    whole = session_of(tmp_path / "whole", corpus, *TRAINED)
    train(whole)
    first = session_of(tmp_path / "cut", corpus, *TRAINED)
    advance(first, 2)
    first.save()
    first.journal.close()
    second = session_of(tmp_path / "cut", corpus, *TRAINED, seed=1)  # the checkpoint's generators count
    assert second.step == 2
    train(second)
    assert numbers(second) == numbers(whole)


@pytest.mark.parametrize("agent", ["mcts", "ppo", "ppo_torchrl"])
def test_agents_and_evaluation_end_with_equal_bits(agent: str, corpus: Corpus, tmp_path: Path) -> None:
    found = []
    for repetition in range(2):
        session = session_of(tmp_path / str(repetition), corpus, *PLAYED, f"agent={agent}")
        train(session)
        train_agent(session)
        held_out = measure_held_out(session.model, corpus, session.config, session.policy, session.bank, CPU)
        gains = {name: values.tolist() for name, values in held_out.gains.items()}
        found.append((numbers(session), held_out.metrics, gains))
    assert '"phase": "agent"' in found[0][0]["metrics"]
    assert found[1] == found[0]

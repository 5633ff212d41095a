"""The warm-up that runs share: found where it is equal, and then as good as trained again."""

import errno
import fcntl
import json
import random
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import hydra
import pytest
import torch

from align3d.errors import UserError
from experiments.settings.command import CONF
from experiments.settings.reading import from_hydra
from experiments.settings.schema import register_sizes
from experiments.training.warmup import WarmupCache, first_calibrated, key
from tests.durable.test_checksums import flipped

WARM = 8  # 60 % of 4 passes of 3 steps
ROOT = Path(__file__).parents[3]
SETTINGS = shlex.split("""
    model=tiny device=cpu threads=1 data.size=96 data.points=256 data.test=24 data.reward=16
    agent.budget=8 env.horizon=3 eval.candidates=8 train.batch_size=16 train.group=8 train.epochs=3
    train.hard_epochs=1 train.images_every=0 dap.mode=distill dap.period=3 dap.warmup=0.6 dap.queries=4
    dap.score_weight=1 dap.candidates=4 dap.agent_steps=100 dap.validations=2
""")


def run(folder: Path, cache: Path, *more: str) -> dict[str, object]:
    command = [
        sys.executable,
        "-m",
        "experiments.run",
        *SETTINGS,
        f"cache={cache}",
        f"hydra.run.dir={folder}",
    ]
    done = subprocess.run([*command, *more], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "results.json").read_text())


def lines_of(folder: Path) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "time"} for line in lines]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "first"
    assert run(folder, cache, "agent=mcts")["reused_steps"] == 0
    return folder


def test_a_run_from_the_cache_ends_as_the_one_that_filled_it(
    first: Path, cache: Path, tmp_path: Path
) -> None:
    results = run(tmp_path / "again", cache, "agent=mcts")
    assert results["reused_steps"] == WARM
    assert lines_of(tmp_path / "again") == lines_of(first)
    assert results["metrics"] == json.loads((first / "results.json").read_text())["metrics"]


def test_another_agent_begins_from_the_same_warm_up(first: Path, cache: Path, tmp_path: Path) -> None:
    results = run(tmp_path / "random", cache, "agent=random")
    assert results["reused_steps"] == WARM
    assert lines_of(tmp_path / "random")[:WARM] == lines_of(first)[:WARM]


@pytest.mark.parametrize(
    ("override", "same"),
    [
        ("agent=random", True),
        ("dap.mode=off", True),
        ("dap.score_weight=1", True),
        ("train.hubness=0.5", False),
        ("reward.alpha=1", True),
        ("train.checkpoint_every=7", True),
        ("env.shift=[grey]", True),
        ("train.corrupt=0.5", False),
        ("train.ema=0.9", False),
        ("model.patch_dropout=0.1", False),
        ("seed=1", False),
        ("train.learning_rate=5e-4", False),
        ("train.hard_epochs=2", False),
        ("model=tiny", False),
        ("dap.warmup=0.5", False),
    ],
)
def test_the_key_is_of_what_determines_the_warm_up(override: str, same: bool) -> None:
    assert (key_with() == key_with(override)) is same


def test_the_key_follows_how_the_data_were_read() -> None:
    assert key_with() != key_with(built_from="the same files in another unit")


def key_with(*overrides: str, built_from: str = "files") -> str:
    dataset = SimpleNamespace(hash="of the data", manifest=SimpleNamespace(key=built_from))
    corpus = SimpleNamespace(dataset=dataset, splits={"train": torch.arange(56)})
    register_sizes()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        config = from_hydra(hydra.compose("config", overrides=[*overrides]))
    return key(config, corpus, first_calibrated(config, 100), 100)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", ["state.json", "tensors.safetensors"])
def test_a_flipped_warm_up_is_set_aside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, seed: int
) -> None:
    kept, cpu = WarmupCache(SimpleNamespace(cache=tmp_path)), torch.device("cpu")
    place = tmp_path / "warmups" / "key"
    state = {"model": {"weight": torch.arange(300.0)}, "lines": ['{"step": 0}'] * 9}
    for _ in range(20):
        assert kept.load(place, cpu) is None
        kept.save(place, 9, state)
        (path,) = place.glob(f"step-*/{name}")
        flipped(path, random.Random(seed).randrange(8 * path.stat().st_size))
        found = kept.load(place, cpu)
        told = capsys.readouterr().err
        if found is not None:  # of a blank in JSON
            assert torch.equal(found["model"]["weight"], state["model"]["weight"])
            assert found["lines"] == state["lines"]
            break
        assert told.count("\n") == 1
        assert str(path.parent) in told
        assert "kept as key.damaged, made anew" in told
        seed += 1


def test_a_cache_without_room_for_a_warm_up_is_told_of(tmp_path: Path) -> None:
    script = """
import resource, sys, torch
from pathlib import Path
from experiments.training.warmup import WarmupCache
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
WarmupCache.save(Path(sys.argv[1]) / "key", 9, {"model": torch.zeros(10_000)})
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0
    assert done.stderr.startswith(f"the warm-up is not kept for other runs: {tmp_path}")
    assert not list((tmp_path / "key").iterdir())


def test_a_cache_on_a_file_system_without_locks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    kept = WarmupCache(SimpleNamespace(cache=tmp_path))
    with pytest.raises(UserError, match=r"key\.lock: .*knows no locks.*cache="), kept.held("key"):
        pass


def test_folds_teach_the_agent_from_the_train_split(first: Path, cache: Path, tmp_path: Path) -> None:
    results = run(tmp_path / "folds", cache, "agent=mcts", "dap.folds=2")
    assert results["reused_steps"] == WARM
    kept = len(list((cache / "warmups").glob("*/step-*")))
    again = run(tmp_path / "again", cache, "agent=mcts", "dap.folds=2")
    assert len(list((cache / "warmups").glob("*/step-*"))) == kept  # the folds' models were found
    assert again["metrics"] == results["metrics"]
    training = [line for line in lines_of(tmp_path / "folds") if line["phase"] == "train"]
    assert training == [line for line in lines_of(first) if line["phase"] == "train"]  # folds move nothing
    validation = results["agent"]["validation"]
    names = {"return", "return_error", "recall@1", "recall@1_gain", "acted", "evaluations"}
    assert validation.keys() == names

"""What a person types to go on with a run, and what is refused."""

import shlex
from pathlib import Path

import pytest
import yaml
from hydra.core.global_hydra import GlobalHydra

from experiments.settings.command import main
from experiments.settings.overrides import check
from experiments.settings.schema import RunConfig, register_sizes
from experiments.training.results import open_folder

register_sizes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run that was cut off."""
    folder = tmp_path / "mine"
    (config,) = check(["agent=random", "reward.alpha=0.3", "train.text_encoder=minilm", f"cache={tmp_path}"])
    open_folder(folder, config)
    (folder / "metrics.jsonl").touch()
    return folder


def typed(monkeypatch: pytest.MonkeyPatch, words: str) -> list[RunConfig]:
    """Settings of the runs that a command line makes."""
    found: list[RunConfig] = []
    GlobalHydra.instance().clear()
    monkeypatch.setattr("sys.argv", ["run", *shlex.split(words)])
    main(found.append)
    return found


def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str) -> str:
    with pytest.raises(SystemExit) as caught:
        typed(monkeypatch, words)
    assert caught.value.code == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    return told


@pytest.mark.parametrize("also", ["", "agent=random reward.alpha=0.3 threads=null env.steps={}"])
def test_the_folder_alone_says_what_to_go_on_with(
    folder: Path, monkeypatch: pytest.MonkeyPatch, also: str
) -> None:
    (config,) = typed(monkeypatch, f"resume=true hydra.run.dir={folder} {also}")
    assert (config.agent.name, config.env.reward.alpha, config.resume) == ("random", 0.3, True)


def test_what_may_change_is_changed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = f"resume=true hydra.run.dir={folder} device=cpu train.checkpoint_minutes=1"
    (config,) = typed(monkeypatch, words)
    assert (config.device, config.train.checkpoint_minutes, config.env.reward.alpha) == ("cpu", 1.0, 0.3)


def test_what_may_not_change_is_named_at_once_as_it_can_be_typed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = "agent=none threads=2 train.epochs=3 env.families=[level,stop]"
    told = refused(monkeypatch, capsys, f"resume=true hydra.run.dir={folder} {changed}")
    assert "(typed: agent=none threads=2 train.epochs=3 'env.families=[level,stop]')" in told
    kept = told.partition("its settings, ")[2].partition(" (typed")[0]
    (config,) = typed(monkeypatch, f"resume=true hydra.run.dir={folder} {kept}")
    assert config.env.reward.alpha == 0.3


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("resume=true", "which run? name its folder: hydra.run.dir=FOLDER"),
        ("resume=true hydra.run.dir={root}/mien", "/mien: no run there to resume; did you mean {root}/mine?"),
        ("resume=true hydra.run.dir={root}", "no run there to resume"),
        ("resume=true hydra.run.dir={root}/mine reward.alhpa=1", "did you mean reward.alpha?"),
        ("resume=true hydra.run.dir={root}/mine device=abacus", "device=abacus: no such device"),
        ("resume=true hydra.run.dir={root}/mine train.reuse=5", "train.reuse=5: expected a valid boolean"),
        ("-m resume=true agent=none,random", "which sweep? name its folder: hydra.sweep.dir=FOLDER"),
        ("-m resume=true agent=none hydra.sweep.dir={root}/mien", "no sweep there to resume; did you mean"),
        ("--agent ppo", "--agent ppo: settings have no dashes; write agent=ppo"),
        ("--agent=ppo train.epochs=1", "--agent=ppo: settings have no dashes; write agent=ppo"),
        ("train.epochs=1 --weight-decay 0.1", "write train.weight_decay=0.1"),
        ("--mutlirun agent=ppo", "no such flag; did you mean --multirun?"),
    ],
)
def test_slips_are_refused_before_anything_is_made(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str, told: str
) -> None:
    before = sorted(folder.parent.rglob("*"))
    assert told.format(root=folder.parent) in refused(monkeypatch, capsys, words.format(root=folder.parent))
    assert sorted(folder.parent.rglob("*")) == before


def test_a_run_of_another_version_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / "config.yaml"
    settings = yaml.safe_load(path.read_text())
    settings["agent"] |= {"name": "mcts", "considered": 16}
    del settings["train"]["reuse"]
    path.write_text(yaml.safe_dump(settings))
    told = refused(monkeypatch, capsys, f"resume=true hydra.run.dir={folder}")
    assert "was begun by another version" in told
    assert "train lacks reuse; agent has considered and lacks " in told


def test_a_run_that_is_older_than_a_free_setting_goes_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "config.yaml"
    settings = yaml.safe_load(path.read_text())
    del settings["accept_changes"]
    path.write_text(yaml.safe_dump(settings))
    (config,) = typed(monkeypatch, f"resume=true hydra.run.dir={folder}")
    assert not config.accept_changes
    (config,) = typed(monkeypatch, f"resume=true hydra.run.dir={folder} accept_changes=true")
    assert config.accept_changes

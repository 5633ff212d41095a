"""The sweeps that have a name."""

from pathlib import Path

import pytest
import yaml

from agents import AGENTS
from align3d.errors import UserError
from experiments.settings.command import CONF, check
from experiments.settings.schema import register_sizes

register_sizes()
RECIPES = sorted(path.stem for path in (CONF / "ablation").glob("*.yaml"))


def agents_there() -> str:
    """Of the agents that the recipe names, those that are installed."""
    params = yaml.safe_load((CONF / "ablation" / "agents.yaml").read_text())["hydra"]["sweeper"]["params"]
    return ",".join(name for name in params["agent"].split(",") if name in AGENTS)


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_is_a_sweep_of_valid_settings(recipe: str) -> None:
    only = [f"agent={agents_there()}"] if recipe == "agents" else []
    check([f"+ablation={recipe}", *only, "seed=0"])
    text = (CONF / "ablation" / f"{recipe}.yaml").read_text()
    assert text.splitlines()[1].startswith("# ")  # what it answers


def test_a_recipe_sweeps_over_seeds_unless_told_otherwise() -> None:
    assert swept("+ablation=rewards") == ({0, 0.5, 1}, {0, 1, 2, 3, 4})
    assert swept("+ablation=rewards", "seed=7") == ({0, 0.5, 1}, {7})
    assert swept("+ablation=rewards", "reward.alpha=0.1,0.2", "seed=0") == ({0.1, 0.2}, {0})
    assert len(check(["+ablation=rewards", "hydra.mode=RUN"])) == 1


def swept(*overrides: str) -> tuple[set[float], set[int]]:
    jobs = check([*overrides], multirun=True)
    return {job.env.reward.alpha for job in jobs}, {job.seed for job in jobs}


def test_hydras_own_launcher_can_be_chosen() -> None:
    check(["agent=none,random", "hydra/launcher=basic"], multirun=True)
    check(["agent=none,random", "hydra.launcher.jobs=2"], multirun=True)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["+ablation=agnts"], "did you mean agents?"),
        (["ablation=agents"], "a recipe is added: +ablation=agents"),
        (["+ablation=rewards,modes"], "expected one recipe"),
        (["+ablation=rewards", "reward.alpha=2"], "reward.alpha"),
        (["+ablation=rewards", "seed=0,x"], "seed=x"),
    ],
)
def test_faults_are_found_before_anything_runs(overrides: list[str], words: str) -> None:
    with pytest.raises(UserError) as caught:
        check(overrides, multirun=True)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_faults_of_a_recipe_are_found_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in CONF.rglob("*.yaml"):
        copy = tmp_path / path.relative_to(CONF)
        copy.parent.mkdir(exist_ok=True)
        copy.write_text(path.read_text().replace("reward.alpha: 1,", "reward.alhpa: 1,"))
    monkeypatch.setattr("experiments.settings.overrides.CONF", tmp_path)
    with pytest.raises(UserError, match=r"did you mean reward\.alpha"):
        check(["+ablation=rewards"])

import inspect

import pytest
from omegaconf import OmegaConf

from agents import AGENTS
from align3d import SOURCES, DataError
from align3d.errors import UserError
from experiments.settings import command
from experiments.settings.reading import from_plain, renamed
from experiments.settings.schema import register_sizes

register_sizes()


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["agnet=mcts"], "agnet=mcts: no such setting; did you mean agent=mcts?"),
        (["agent=mtcs"], "agent=mtcs: no such agent; did you mean mcts?"),
        (
            ["agent=foo"],
            "known: a2c, custom, dqn, fixed, greedy, mcts, none, ppo, ppo_torchrl, random",
        ),
        (["model=smal"], "did you mean small?"),
        (["reward.alpha=2"], "reward.alpha=2.0: must lie in [0, 1]"),
        (["reward.alhpa=0.3"], "did you mean reward.alpha=0.3?"),
        (["alpha=0.3"], "did you mean reward.alpha=0.3?"),
        (["train.epochs=abc"], "train.epochs=abc: expected a valid integer"),
        (["train.epochs=-1"], "train.epochs=-1: expected greater than or equal to 0"),
        (["train.batch_size=30"], "expected a multiple of train.group=16"),
        (["data=folder"], "data.root has no value"),
        (["data.test=10.5"], "a whole number of shapes, or a share below 1"),
        (["+data.twns=0.1"], "did you mean twins?"),
        (["dap.mode=of"], "dap.mode=of: expected 'off'"),
        (["model.width=30"], "expected a multiple of model.heads=4"),
        (["agent.budget=-1"], "agent.budget=-1: expected greater than or equal to 0"),
        (["agent.max_children=wide"], "agent.max_children=wide: expected a valid integer"),
        (["agent=random", "agent.max_children=3"], "agent.max_children=3: no such setting"),
        (["env.families=[levl]"], "did you mean level?"),
        (["+env.steps.level=far"], "env.steps.level=far: expected a valid number"),
        (["agent=mcts,random"], "add -m"),
        (["resume"], "expected resume=VALUE"),
        (["imports=[no_such_module]"], "no_such_module"),
        (["imports=[../x]"], "imports=[../x]: expected names of modules"),
        (["imports=['']"], "imports=[]: expected names of modules"),
        (["imports=x"], "imports=x: expected a valid list"),
        (["seed=1.5"], "seed=1.5: expected a valid integer"),
        (["seed=99999999999999"], "seed=99999999999999: expected less than 4294967296"),
        (["data.seed=99999999999999"], "data.seed=99999999999999: expected less than 4294967296"),
        (["env.families=[]"], "env.families=[]: there is nothing to act on"),
        (["env.families=[stop]"], "env.families=['stop']: there is nothing to act on"),
        (["env.families=[token,token]"], "token is named twice"),
        (["+env.steps.level=3"], "env.steps.level=3.0: must be positive and at most the limit, 2.0"),
        (["env=null"], "env=null: expected the settings of env"),
        (["model.width=0"], "model.width=0: expected at least 1"),
        (["model.dropout=1"], "model.dropout=1.0: expected a share from 0 to below 1"),
        (["agent=dqn", "agent.batch_size=0"], "agent.batch_size=0: must be 1 or more"),
        (["agent=random_search", "agent.candidates=1"], "agent.candidates=1: must be 2 or more"),
        (["seed=true"], "seed=true: expected a number"),
        (["threads=99999"], "threads=99999: expected less than or equal to 1024"),
        (["agent.exploration=nan"], "agent.exploration=nan: expected a number"),
        (["agent=ppo", "agent.learning_rate=nan"], "agent.learning_rate=nan: expected a number"),
        (["agent.seed=-1"], "agent.seed=-1: expected greater than or equal to 0"),
        (["data=folder", "data.root=~/parts"], """quotes keep such a value whole: 'data.root="~/parts"' """),
        (["cache=5"], "cache=5: expected a path"),
        (["dap.mode=true"], "dap.mode=true: expected 'off'"),
        (["env.families=level"], "env.families=level: expected a list: env.families=[level]"),
        (["env.shift=[clean,jiter]"], "env.shift.1=jiter: expected one of clean, grey"),
        (["eval.shift=[jiter]"], "did you mean jitter?"),
        (["train.shift=[jitter:5]"], "train.shift.0=jitter:5: expected a level from 0 to 4, as in jitter:4"),
        (["env.shift=[grey:1]"], "env.shift.0=grey:1: expected grey, which has no levels"),
        (["env.shift=[jitter,jitter:2]"], "expected different shifts, but jitter:2 is named twice"),
        (["env.shift=[]"], "env.shift=[]: expected at least one shift; [clean] leaves shapes as they are"),
        (["train.shift=grey"], "train.shift=grey: expected a list: [grey]"),
        (["train.shift=[grey]"], "no shape is shown under it with train.corrupt=0; give a share"),
        (["train.corrupt=1.5"], "train.corrupt=1.5: expected less than or equal to 1"),
        (["train.ema=1"], "train.ema=1: expected less than 1"),
        (["train.turn=half"], "train.turn=half: expected 'none', 'quarter' or 'any'"),
        (["train.captions=0"], "train.captions=0: expected greater than or equal to 1"),
        (["model.patch_dropout=1"], "model.patch_dropout=1.0: expected a share from 0 to below 1"),
        (["eval.split=reward"], "eval.split=reward: agent=mcts learns on that split"),
        (["env.steps=5"], "env.steps=5: expected sizes by family: +env.steps.level=0.3"),
        (["~train.epochs"], "train.epochs has no value; give one: train.epochs=VALUE"),
        (["agent=[mcts,ppo]"], "agent=[mcts,ppo]: expected one; several are -m agent=mcts,ppo"),
        (["agent.name=ppo"], "agent.name=ppo: choose it with agent=ppo"),
        (["data=kicad", "data.name=folder"], "data.name=folder: choose it with data=folder"),
        (["+data.captioner.stepz=[template]"], "captioner.stepz: no such setting; did you mean steps?"),
        (["+data.captioner={steps:[views],url:http://a/v1}"], "captioner.model is missing"),
        (["model.name=tiny"], "model.name=tiny: choose it with model=tiny"),
    ],
)
def test_a_wrong_override_is_named_with_what_to_do(overrides: list[str], words: str) -> None:
    with pytest.raises(UserError) as caught:
        command.check(overrides)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", ["procedural", "kicad"])
@pytest.mark.parametrize("agent", ["mcts", "random", "greedy", "none"])
@pytest.mark.parametrize("model", ["tiny", "small", "base"])
def test_every_combination_of_options_loads(data: str, agent: str, model: str) -> None:
    command.check([f"data={data}", f"agent={agent}", f"model={model}"])


@pytest.mark.parametrize(
    "overrides",
    [
        ["dap.mode=off"],
        ["+data.captioner={steps:[source,views],url:http://a/v1,model:m,views:4}"],
        ["+data.captioner.steps=[source,template]", '+data.captioner.template="{category}"'],
        ["data=folder", "data.root=somewhere"],
        ["data=kicad", "data.families=[Package_SO]"],
        ["hydra.run.dir=elsewhere"],
        ["+env.steps.level=0.3"],
        ["agent.max_children=null"],
        ["env.limit=0.5"],
        ["env.shift=[clean,jitter:4]", "eval.shift=[add_local]", "train.shift=[]"],
        ["train.corrupt=0.3"],
        ["eval.split=reward", "agent=none"],
        ["seed=4294967295"],
        ["agent=ppo", "agent.name=ppo"],
        ["data=folder", "data.root=somewhere", "data.unit_m=0.001", "data.up=y", "data.size=5"],
    ],
)
def test_right_overrides_pass(overrides: list[str]) -> None:
    command.check(overrides)


def test_a_word_that_is_not_near_any_option_suggests_none() -> None:
    with pytest.raises(UserError) as caught:
        command.check(["agent=nope"])
    assert str(caught.value).startswith("agent=nope: no such agent (known: ")


def test_a_fault_of_all_sections_is_told_of_where_it_was_typed() -> None:
    with pytest.raises(UserError, match=r"^seed=-1: expected greater than or equal to 0$"):
        command.check(["seed=-1"])


def test_every_job_of_a_sweep_is_checked_before_the_first_runs() -> None:
    command.check(["agent=mcts,random", "seed=0,1"], multirun=True)
    with pytest.raises(UserError, match="agent=foo"):
        command.check(["agent=mcts,foo"], multirun=True)
    with pytest.raises(UserError, match=r"reward.alpha=2"):
        command.check(["reward.alpha=0.5,2"], multirun=True)


@pytest.mark.parametrize("name", ["os:getcwd", "os:PathLike", "math:pi", "':'", "os:"])
def test_what_is_no_source_is_named_with_what_one_is(name: str) -> None:
    with pytest.raises(
        DataError, match=r"data=.*expected (a class with name, fingerprint|package.module:Class)"
    ):
        command.check(["data=custom", f"data.name={name}"])


def test_a_setting_that_some_arms_lack_is_named_with_the_arms() -> None:
    with pytest.raises(UserError, match=r"agent.policy=uct: not every agent of agent=mcts,ppo has this"):
        command.check(["agent=mcts,ppo", "agent.policy=uct"], multirun=True)
    with pytest.raises(UserError, match=r"agent.guide=true,false: no such setting"):
        command.check(["+ablation=guides", "agent=ppo"], multirun=True)
    command.check(["agent=mcts,ppo", "agent.budget=8,16"], multirun=True)


@pytest.mark.parametrize("name", ["procedural", "kicad", "folder"])
def test_the_yaml_of_a_source_lists_its_settings(name: str) -> None:
    listed = OmegaConf.to_container(OmegaConf.load(command.CONF / "data" / f"{name}.yaml"), resolve=False)
    assert isinstance(listed, dict)
    shared = {"name", "points", "seed", "test", "reward", "workers"}
    assert set(listed.get("data", listed)) | shared == {*SOURCES[name].__init__.__annotations__, *shared} - {
        "return"
    }


@pytest.mark.parametrize(
    "overrides",
    [
        ["imports=[examples.spheres_source]", "data=custom", "data.name=spheres", "data.size=30"],
        ["imports=[examples.first_legal_agent]", "agent=custom", "agent.name=first_legal", "+agent.moves=2"],
        ["imports=[examples.contrast_family]", "env.families=[contrast,token,stop]"],
        [
            "imports=[examples.faded_shift]",
            "env.shift=[clean,faded:4]",
            "train.shift=[faded]",
            "train.corrupt=1",
        ],
        ["imports=[examples.margin_reward]", "reward.weights={margin:0.1}"],
        ["imports=[examples.margin_reward]", "+reward.weights.margin=0.1"],
    ],
)
def test_examples_of_own_parts_are_found(overrides: list[str]) -> None:
    command.check(overrides)


@pytest.mark.parametrize("name", sorted(set(AGENTS) - {"first_legal"}))
def test_the_yaml_of_an_agent_lists_its_settings_with_their_defaults(name: str) -> None:
    own = {key: p.default for key, p in inspect.signature(AGENTS[name]).parameters.items()}
    listed = OmegaConf.to_container(OmegaConf.load(command.CONF / "agent" / f"{name}.yaml"), resolve=False)
    assert isinstance(listed, dict)
    assert {**listed, "seed": 0} == {"name": name, "seed": 0, **own}


@pytest.mark.parametrize(("shifts", "corrupt"), [(["grey"], 0.5), ([], 0.0)])
def test_a_run_from_before_the_share_was_renamed_can_be_read(shifts: list[str], corrupt: float) -> None:
    (config,) = command.check([])
    train = {name: value for name, value in config.plain["train"].items() if name != "corrupt"}
    older = {**config.plain, "train": {**train, "shift": shifts, "shift_share": 0.5}}
    found = from_plain(renamed(older)).train
    assert (found.corrupt, list(found.shift)) == (corrupt, shifts)
    assert renamed(config.plain) == config.plain

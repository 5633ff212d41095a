import pytest
import torch
from tensordict.nn import ProbabilisticTensorDictModule, TensorDictModule, TensorDictSequential
from torchrl.envs import ActionMask, TransformedEnv, step_mdp
from torchrl.envs.utils import check_env_specs
from torchrl.modules import MaskedCategorical

from envs.adapters.torchrl import CalibrationTorchRLEnv
from tests.envs.adapters.adapter_players import queues


def test_clean_under_the_checker():
    env = CalibrationTorchRLEnv(3)
    check_env_specs(env, seed=0, break_when_any_done="both")
    check_env_specs(TransformedEnv(env, ActionMask()), seed=0)


def test_random_actions_respect_the_mask():
    env = TransformedEnv(CalibrationTorchRLEnv(4, *queues(1, length=60)), ActionMask())
    taken = env.rollout(12, break_when_any_done=False)
    assert bool(taken["action_mask"].gather(-1, taken["action"].unsqueeze(-1)).all())
    assert bool(taken["next", "info", "legal"].all())
    assert bool(taken["next", "done"].any())


def test_a_masked_policy_acts():
    env = CalibrationTorchRLEnv(4, *queues(1, length=60))
    network = torch.nn.Linear(env.core.observation_size, env.core.actions)
    policy = TensorDictSequential(
        TensorDictModule(network, in_keys=["observation"], out_keys=["logits"]),
        ProbabilisticTensorDictModule(
            in_keys={"logits": "logits", "mask": "action_mask"},
            out_keys=["action"],
            distribution_class=MaskedCategorical,
            default_interaction_type="random",
        ),
    )
    taken = env.rollout(8, policy, break_when_any_done=False)
    assert bool(taken["next", "info", "legal"].all())
    weighted = [taken["next", "info", f"reward/weighted/{name}"] for name in ("internal", "external", "kl")]
    torch.testing.assert_close(sum(weighted), taken["next", "reward"])


def test_rows_are_reset_by_themselves():
    env = CalibrationTorchRLEnv(3, *queues(1))
    first = env.reset()
    first["action"] = torch.tensor([0, 1, 1])  # the first one stops
    step, following = env.step_and_maybe_reset(first)
    assert step["next", "terminated"].flatten().tolist() == [True, False, False]
    assert not bool(step["next", "truncated"].any())
    assert not bool(following["done"].any())
    assert env.rows.now.state.step.tolist() == [0, 1, 1]
    torch.testing.assert_close(following["observation"][1:], step["next", "observation"][1:])
    assert not torch.equal(following["observation"][0], step["next", "observation"][0])
    for _ in range(3):
        following["action"] = torch.ones(3, dtype=torch.int64)
        following = step_mdp(env.step(following))
    assert following["truncated"].flatten().tolist() == [False, True, True]
    assert not bool(following["terminated"].any())


def test_some_rows_step_alone():
    env = CalibrationTorchRLEnv(2, *queues(1))
    first = env.reset()
    before = first["observation"].clone()
    first.update({"action": torch.tensor([1, 1]), "_step": torch.tensor([True, False])})
    after = env.step(first)["next"]
    assert env.rows.now.state.step.tolist() == [1, 0]
    torch.testing.assert_close(after["observation"][1], before[1])
    assert float(after["reward"][1]) == 0


def test_seeds_decide():
    env, other = (
        CalibrationTorchRLEnv(2),
        CalibrationTorchRLEnv(2, generator=torch.Generator().manual_seed(3)),
    )
    env.set_seed(3)
    first = env.reset()["observation"]
    assert torch.equal(first, other.reset()["observation"])
    assert not torch.equal(first, env.reset()["observation"])
    state = torch.get_rng_state()
    env.reset()
    assert torch.equal(state, torch.get_rng_state())


def test_wrong_use_is_named():
    with pytest.raises(ValueError, match="0 rows"):
        CalibrationTorchRLEnv(0)
    env = CalibrationTorchRLEnv(2)
    with pytest.raises(ValueError, match="action 99 in row 1"):
        env.step(env.reset().set("action", torch.tensor([0, 99])))

"""The environment's benchmark: what a step needs at least, and rows for every case and face."""

import torch

from envs import FAMILIES, DemoSource, EnvConfig, demo_core
from experiments.benchmarks import BENCHMARKS
from experiments.benchmarks.env import LOOP, backends, env
from experiments.benchmarks.env_floor import work


def test_work_is_counted_from_shapes():
    core = demo_core(EnvConfig(families=tuple(FAMILIES)))
    haf = core.haf
    episode = DemoSource(core, candidates=4, numbers=0.0).sample(1, torch.Generator().manual_seed(0))
    tokens = int(episode.attention.mask.sum())
    width, pair = haf.query.in_features, haf.verdict.in_features

    def flops(name):
        return work(core, episode, torch.tensor([[core.action_names.index(name)]]))[0]

    pooling = 2 * 4 * tokens
    judge = 4 * tokens * (2 * width * 2 * pair + 4 * pair)
    assert flops("boost token group 1") == pooling
    assert flops("raise level 1") == flops("raise head 1 of level 2") == pooling + judge
    gather = 4 * tokens * 2 * width * haf.level_sizes[0]
    assert flops("sharpen level 1") == pooling + judge + gather
    mine = int(episode.group[0, 1].sum())
    nodes = haf.level_sizes[0] + haf.level_sizes[1]
    one = mine * (2 * width * 2 * pair + 4 * pair + 2 * width * nodes)
    assert flops("enhance token group 2 on region 1") == pooling + one


def test_every_case_and_face_is_measured(monkeypatch):
    monkeypatch.setattr("experiments.benchmarks.env.LOOP_BATCH", 2)
    threads = torch.get_num_threads()
    rows = list(env(batch=(1, 2), candidates=3, tokens=6, size="tiny", moves=2, seconds=0.0))
    torch.set_num_threads(threads)
    cases = [row.case for row in rows]
    for family in (*FAMILIES, "mix"):
        assert f"core, {family}, batch 2, 1 thread" in cases
    for face in ("gymnasium vector", "stable-baselines3", "torchrl"):
        assert f"{face}, batch 1, 1 thread" in cases
        assert f"{face}, batch 2, 1 thread" in cases
    assert "gymnasium, batch 1, 1 thread" in cases
    assert sum(row.peer_name == LOOP for row in rows) == 4
    assert all(row.ours > 0 for row in rows)
    assert BENCHMARKS["env"] is env


def test_both_backends_are_measured_on_every_case():
    threads = torch.get_num_threads()
    rows = list(backends(batch=(2,), candidates=3, tokens=6, size="tiny", moves=2, seconds=0.0))
    torch.set_num_threads(threads)
    assert [row.case for row in rows] == [f"{kind}, batch 2" for kind in (*FAMILIES, "mix")]
    assert all(row.ours > 0 and row.peer > 0 and row.peer_name == "torch" for row in rows)

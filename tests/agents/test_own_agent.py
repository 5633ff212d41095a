"""Worked example of an agent of one's own."""

import runpy

import torch

from agents import AGENTS
from envs import DemoSource, EnvConfig, demo_core


def test_the_example_moves(monkeypatch):
    core = demo_core(EnvConfig(horizon=4))
    episode = DemoSource(core).sample(6, torch.Generator().manual_seed(0))
    monkeypatch.setitem(AGENTS, "first_legal", None)  # and forget it afterwards
    agent = runpy.run_path("examples/first_legal_agent.py")["FirstLegalAgent"](budget=8, moves=2)
    result = agent.plan(core, episode, torch.Generator())
    assert result.words(core) == [core.action_names[1:2] * 2] * 6
    assert result.evaluations.tolist() == [2] * 6

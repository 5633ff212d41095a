"""Ensemble of networks, which start at nothing and disagree where nothing was seen."""

from __future__ import annotations

import torch

from agents.mcts.ensemble import Ensemble
from agents.seeding import global_seed


def test_members_are_networks_of_their_own() -> None:
    with global_seed(0):
        ensemble = Ensemble(3, 4, 2, 8)
    inputs = torch.randn(5, 4)
    assert torch.equal(ensemble(inputs), torch.zeros(3, 5, 2))
    torch.nn.init.ones_(ensemble.weights[-1])
    predicted = ensemble(inputs)
    for member in range(3):
        hidden = inputs
        for layer in range(3):
            hidden = hidden @ ensemble.weights[layer][member] + ensemble.biases[layer][member]
            if layer < 2:
                hidden = torch.nn.functional.gelu(hidden)
        torch.testing.assert_close(predicted[member], hidden)
    assert not torch.allclose(predicted[0], predicted[1])


def test_members_disagree_where_nothing_was_seen() -> None:
    with global_seed(0):
        ensemble = Ensemble(8, 1, 1, 32)
        seen = torch.rand(64, 1)
        target = torch.sin(3 * seen)
        weights = torch.poisson(torch.ones(8, 64, 1))
    optimizer = torch.optim.Adam(ensemble.parameters(), lr=1e-2)
    for _ in range(300):
        loss = ((ensemble(seen) - target).square() * weights).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        near, far = ensemble(seen), ensemble(torch.full((1, 1), 4.0))
    assert float((near.mean(0) - target).abs().mean()) < 0.05
    assert float(far.std(0).mean()) > 5 * float(near.std(0).mean())

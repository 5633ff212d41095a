"""The same play gives the same numbers bit for bit, wherever its arrays happen to lie in memory."""

import torch

from envs import DemoSource, EnvConfig, demo_core


def test_a_play_is_repeated_bit_for_bit():
    core = demo_core(EnvConfig(horizon=4))
    episode = DemoSource(core).sample(6, torch.Generator().manual_seed(0))
    draws, kept, first = torch.Generator().manual_seed(1), [], None
    for _ in range(200):
        size = int(torch.randint(1, 5000, (), generator=draws))
        kept = [*kept[-50:], torch.empty(size)]  # what comes after lies elsewhere
        moves, numbers, state = torch.Generator().manual_seed(2), [], core.initial(episode)
        for _ in range(3):
            mask = core.mask(episode, state)
            action = torch.where(mask, torch.rand(mask.shape, generator=moves), -1.0).argmax(-1)
            following = core.transition(episode, state, action)
            numbers += [core.reward(episode, state, action, following)[0], following.kl]
            numbers.append(core.observation(episode, following))
            state = following
        first = first or numbers
        assert all(torch.equal(one, other) for one, other in zip(first, numbers, strict=True))

"""Steps of the environment a second, beside what the machine's arithmetic and memory would allow at most."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from envs import (
    FAMILIES,
    STOP,
    AttentionCalibrationEnv,
    AttentionCalibrationVectorEnv,
    CalibrationCore,
    DemoSource,
    EnvConfig,
    EnvState,
    Episode,
    Source,
    demo_core,
)
from envs.adapters.sb3 import CalibrationVecEnv
from envs.adapters.torchrl import CalibrationTorchRLEnv
from envs.attention.dimensions import Backend
from envs.functional import DEFAULT_FAMILIES
from experiments.benchmarks.base import Row, benchmark, interleaved, median
from experiments.benchmarks.env_floor import Machine, work
from experiments.console import process

MIX = "mix"
LOOP = "a loop over single environments"
MATRIX_FLOOR, COPY_FLOOR = "floor: matrix products", "floor: memory"
LOOP_BATCH = 64


@benchmark("env")
def env(
    batch: tuple[int, ...] = (1, 64, 512),
    threads: int = 1,
    candidates: int = 32,
    tokens: int = 24,
    size: Literal["tiny", "small", "base"] = "small",
    moves: int = 5,
    backend: Backend = "auto",
    seconds: float = 1.5,
    seed: int = 0,
) -> Iterator[Row]:
    """Steps/s of the environment's core and faces, beside the floor and a loop over single environments.

    A step is what an agent waits for: transition, reward, observation and mask of one row. Episodes are drawn
    before; their texts have 3 to ``tokens`` tokens, 15 % of them numbers, about as captions have. Cases
    are named by the family that all rows act with, at first; ``mix`` plays ``moves`` legal actions at random
    out of the families that are the default. The default takes 4 GB.
    """
    process.use_threads(threads)
    config = EnvConfig(families=(*FAMILIES, STOP), horizon=moves + 1, backend=backend)
    core = demo_core(config, seed, size)
    source = DemoSource(core, candidates, tokens, gallery=4 * candidates, numbers=0.15)
    machine = Machine.measure(core.haf, candidates * (tokens + 3) // 2)
    yield Row("env", "matrix products", "GFLOP/s", machine.flops / 1e9)
    yield Row("env", "copies", "GB/s", machine.bandwidth / 1e9)
    for count in batch:
        plays = _plays(core, source, count, moves, seed)
        setting = f"batch {count}, {threads} thread{'s' * (threads > 1)}"
        functions: dict[str, Callable[[], object]] = {
            f"core, {kind}": play.run for kind, play in plays.items()
        }
        functions |= _faces(core, plays[MIX])
        if count == LOOP_BATCH:
            functions[LOOP] = _loop(core, plays[MIX])
        times = {name: median(found) for name, found in interleaved(functions, seconds=seconds).items()}
        for kind, play in plays.items():
            flops, moved = work(core, play.episode, play.actions)
            floors = {MATRIX_FLOOR: flops / machine.flops, COPY_FLOOR: moved / machine.bandwidth}
            steps = count * play.actions.shape[0]
            ours = steps / times[f"core, {kind}"]
            for name, floor in floors.items():
                yield Row("env", f"core, {kind}, {setting}", "steps/s", ours, steps / floor, name)
        steps = count * moves
        for name in functions:
            if name == LOOP or (name.startswith("core") and (name != f"core, {MIX}" or LOOP not in times)):
                continue
            peer = steps / times[LOOP] if LOOP in times else None
            yield Row(
                "env", f"{name}, {setting}", "steps/s", steps / times[name], peer, LOOP * (LOOP in times)
            )


@benchmark("backends")
def backends(
    batch: tuple[int, ...] = (1, 64, 512),
    threads: int = 1,
    candidates: int = 32,
    tokens: int = 24,
    size: Literal["tiny", "small", "base"] = "small",
    moves: int = 5,
    seconds: float = 1.5,
    seed: int = 0,
) -> Iterator[Row]:
    """Steps/s with compiled kernels, beside the same steps with PyTorch; cases as in ``env``."""
    process.use_threads(threads)
    compiled = demo_core(
        EnvConfig(families=(*FAMILIES, STOP), horizon=moves + 1, backend="numba"), seed, size
    )
    plain = CalibrationCore(compiled.haf, compiled.config, backend="torch")
    source = DemoSource(compiled, candidates, tokens, gallery=4 * candidates, numbers=0.15)
    for count in batch:
        for kind, play in _plays(compiled, source, count, moves, seed).items():
            functions = {"numba": play.run, "torch": replace(play, core=plain).run}
            times = {name: median(found) for name, found in interleaved(functions, seconds=seconds).items()}
            steps = count * play.actions.shape[0]
            yield Row(
                "backends",
                f"{kind}, batch {count}",
                "steps/s",
                steps / times["numba"],
                steps / times["torch"],
                "torch",
            )


@dataclass
class _Play:
    """Episodes, their first state, and the actions to take, i64 `[moves, B]`."""

    core: CalibrationCore
    episode: Episode
    first: EnvState
    actions: Tensor

    def run(self) -> None:
        """Takes them."""
        core, episode, state = self.core, self.episode, self.first
        for action in self.actions:
            following = core.transition(episode, state, action)
            core.reward(episode, state, action, following)
            core.observation(episode, following)
            core.mask(episode, following)
            state = following


def _plays(core: CalibrationCore, source: Source, count: int, moves: int, seed: int) -> dict[str, _Play]:
    """Plays by case."""
    generator = torch.Generator().manual_seed(seed)
    episode = source.sample(count, generator)
    first = core.initial(episode)
    plays = {}
    for family in FAMILIES:
        actions = _random(core.mask(episode, first) & core.catalogue.members(family), generator)
        plays[family] = _Play(core, episode, first, actions.unsqueeze(0))
    default = torch.stack([core.catalogue.members(name) for name in DEFAULT_FAMILIES if name != STOP]).any(0)
    state, taken = first, []
    for _ in range(moves):
        taken.append(_random(core.mask(episode, state) & default, generator))
        state = core.transition(episode, state, taken[-1])
    plays[MIX] = _Play(core, episode, first, torch.stack(taken))
    return plays


def _random(mask: Tensor, generator: torch.Generator) -> Tensor:
    """One action per row that the mask `[B, A]` allows."""
    return torch.where(mask, torch.rand(mask.shape, generator=generator), -1.0).argmax(-1)


class _Given:
    """A source that has its episodes already."""

    def __init__(self, episode: Episode) -> None:
        self.episode = episode

    def sample(self, count: int, generator: torch.Generator) -> Episode:
        return self.episode if count == len(self.episode) else self.episode[:count]


def _faces(core: CalibrationCore, play: _Play) -> dict[str, Callable[[], object]]:
    """Every face, playing the same; nothing is drawn: they go back to the start instead."""
    count, source = play.actions.shape[1], _Given(play.episode)
    actions = play.actions.numpy()
    faces: dict[str, Callable[[], object]] = {}
    if count == 1:
        single = AttentionCalibrationEnv(core, source)
        faces["gymnasium"] = _back_and_forth(single, _of_one(single), actions)
    vector = AttentionCalibrationVectorEnv(count, core, source)
    faces["gymnasium vector"] = _back_and_forth(vector, vector.step, actions)
    sb3 = CalibrationVecEnv(count, core, source)
    faces["stable-baselines3"] = _back_and_forth(sb3, sb3.step, actions)
    torchrl = CalibrationTorchRLEnv(count, core, source)
    first = torchrl.reset()
    start = torchrl.rows.snapshot()

    def run() -> None:
        torchrl.rows.restore(start)
        for action in play.actions:
            torchrl.step(first.set("action", action))

    faces["torchrl"] = run
    return faces


def _loop(core: CalibrationCore, play: _Play) -> Callable[[], None]:
    """One environment after the other."""
    loops = []
    for row in range(play.actions.shape[1]):
        single = AttentionCalibrationEnv(core, _Given(play.episode[row : row + 1]))
        actions = play.actions[:, row : row + 1].numpy()
        loops.append(_back_and_forth(single, _of_one(single), actions))

    def run() -> None:
        for loop in loops:
            loop()

    return run


def _of_one(single: AttentionCalibrationEnv) -> Callable[[np.ndarray], object]:
    """A step of a single environment that takes its action as an array of one."""
    return lambda action: single.step(action[0])


def _back_and_forth(
    face: AttentionCalibrationEnv | AttentionCalibrationVectorEnv | CalibrationVecEnv,
    step: Callable[[np.ndarray], object],
    actions: np.ndarray,
) -> Callable[[], None]:
    """Takes the actions, from the same start each time."""
    face.reset()
    start = face.get_state()

    def run() -> None:
        face.set_state(start)
        for action in actions:
            step(action)

    return run

"""The dynamic attention policy: the agent calibrates attention in training, and learns to at query time.

After Section "Dynamic Attention Policy" of 3DAlign-DAER (arXiv 2511.13211). In training the agent plans on
the current batch, whose labels are known (`DapController.on_batch`); it then learns from episodes of the
reward split (`DapController.on_split`), beside copies of it that validate what it does.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from agents import Agent, PlanResult, make_agent
from align3d.errors import settings_of
from envs import CalibrationCore, Episode, HardNegativeEpisodes, MixedEpisodes, mine_hard_negatives
from experiments.console.process import generator
from experiments.data.bank import Bank
from experiments.data.corpus import Corpus
from experiments.data.encoding import embed_shapes, embed_texts, frozen
from experiments.data.shifted_corpus import shifted_corpus
from experiments.run_folder.checkpoint import random_state, restore_random_state
from experiments.settings.schema import RunConfig
from models import AlignmentModel, Calibration, LibraryEvidence

if TYPE_CHECKING:
    from experiments.dap.batch_library import BatchLibrary
    from experiments.data.batches import Batch


@dataclass
class CalibratedRows:
    """Result of the agent's calibration of some rows of a batch.

    Attributes:
        rows: ``[Q]`` rows of the batch.
        candidates: ``[Q, C]`` candidates, places in the batch.
        positives: ``[Q, C]`` bool.
        paired: ``[Q]`` the candidate, of C, whose associations were calibrated.
        calibration: Batch ``[Q]``.
        library: What known pairs say of them; None without a memory.
        values: Rewards and search statistics, by TensorBoard's names.
    """

    rows: Tensor
    candidates: Tensor
    positives: Tensor
    paired: Tensor
    calibration: Calibration
    library: LibraryEvidence | None
    values: dict[str, float]


class DapController:
    """An agent, the decision process it acts on, and its own random numbers.

    Attributes:
        agent: What calibrates.
        core: The process, on the model's HAF.
        episodes: How many it has learned from.
        evaluations: How many transitions of the environment that took.
        learnt_evaluations: Of these, those after HAF's training.
        returns: Sum of the episodes' returns.
        acts: Whether it may calibrate without labels.
        best: Its state and values at its best validation.
        copies: Others like it, see `with_copies`.
    """

    def __init__(self, model: AlignmentModel, config: RunConfig, name: str = "agent") -> None:
        self.model, self.config, self.name = model, config, name
        with settings_of("env"):
            self.core = CalibrationCore(model.haf, config.env)
        with settings_of("agent"):
            self.agent: Agent = make_agent(
                config.agent.name, budget=config.agent.budget, **config.agent.settings
            )
        self.generator = generator(config.seed, name)
        self.episodes, self.evaluations, self.returns = 0, 0, 0.0
        self.learnt_evaluations = 0
        self.acts = True
        self.best: dict[str, Any] | None = None
        self.copies: list[DapController] = []

    def with_copies(self, count: int) -> list[DapController]:
        """``count`` copies of the agent as it is at the first call, with random numbers of their own.

        They learn from parts of what this one learns from, and are validated on the rest. Making them draws
        none of the process's random numbers.
        """
        if not self.copies:
            before = random_state()
            for number in range(count):
                one = DapController(self.model, self.config, f"{self.name}, copy {number}")
                one.agent.import_state(deepcopy(self.agent.export_state()))
                self.copies.append(one)
            restore_random_state(before)
        return self.copies

    def core_of(self, model: AlignmentModel) -> CalibrationCore:
        """The same decision process on another model."""
        return CalibrationCore(model.haf, self.config.env)

    @property
    def rests(self) -> bool:
        """Whether it leaves every query as it is: an agent that is not trusted, or none at all."""
        return not self.acts or self.config.agent.name == "none"

    def calibrate(self, core: CalibrationCore, episode: Episode, draws: torch.Generator) -> PlanResult:
        """Calibrates without labels, if the agent is trusted to."""
        agent = self.agent if self.acts else make_agent("none")
        return agent.calibrate(core, episode, draws)

    def keep_if_best(self, values: Mapping[str, float], earned: Tensor) -> None:
        """Remembers the agent as it is now, unless it earned less in validation than at its best.

        The best of several validations is often the luckiest. An agent has learned more than it had before,
        so the latest one counts whose mean return is within one standard error of the highest, over the
        differences of the same queries (as the rule of one standard error; Breiman et al., 1984).

        Args:
            values: Of the validation.
            earned: Return of each query, ``[Q]``.
        """
        highest = earned if self.best is None else self.best["highest"]
        behind = highest - earned
        if float(behind.mean()) > float(behind.std(correction=0)) / len(behind) ** 0.5:
            return
        self.best = {
            "values": dict(values),
            "evaluations": self.learnt_evaluations,
            "agent": self.agent.export_state(),
            "highest": earned if float(behind.mean()) < 0 else highest,
        }

    def go_back_to_best(self) -> None:
        """Puts the agent back to what was remembered; it rests if even that did not surely gain.

        The best of several validations is above zero by chance alone: ``dap.margin`` standard errors count.
        """
        if self.best is not None:
            self.agent.import_state(self.best["agent"])
            values = self.best["values"]
            least = self.config.dap.margin * values["validation/return_error"]
            self.acts = values["validation/return"] > least

    @property
    def validation(self) -> dict[str, float] | None:
        """The values of the best validation, by their names without ``validation/``."""
        if self.best is None:
            return None
        values = {name.removeprefix("validation/"): value for name, value in self.best["values"].items()}
        return {**values, "evaluations": self.best["evaluations"]}

    def on_batch(self, batch: Batch, library: BatchLibrary | None = None) -> CalibratedRows:
        """Plans on some rows of a batch, and learns from it.

        Args:
            batch: Of a training step.
            library: What known pairs say of it; None without a memory.
        """
        settings = self.config.dap
        size = len(batch.indices)
        device = batch.positives.device
        rows = torch.randperm(size, generator=self.generator)[: settings.queries].to(device)
        with frozen(self.model):
            text = self.model.encode_text(batch.text).select(rows)
            shapes = self.model.encode_shapes(batch.shapes)
            similarity = text.embedding @ shapes.embedding.T
            if library is not None:  # evidence can be compared within a half alone
                similarity = similarity.masked_fill(~library.same[rows], -torch.inf)
            candidates = mine_hard_negatives(
                similarity, batch.positives[rows], min(settings.candidates, size)
            )
            evidence = None
            if library is not None:
                evidence = library.evidence(rows, candidates, self.model.logit_scale)
            attention = self.model.attend(text, shapes, candidates, library=evidence)
            positives = batch.positives[rows].gather(1, candidates)
            episode = self.core.episode(attention, positives)
        result = self.agent.learn(self.core, episode, self.generator)
        return CalibratedRows(
            rows=rows,
            candidates=candidates,
            positives=positives,
            paired=original_place(episode),
            calibration=result.calibration,
            library=evidence,
            values=self._count(result),
        )

    def _count(self, result: PlanResult) -> dict[str, float]:
        self.episodes += len(result.return_)
        self.evaluations += int(result.evaluations.sum())
        self.returns += float(result.return_.sum())
        values = {name: float(part.mean()) for name, part in result.parts.items()}
        values["reward/return"] = float(result.return_.mean())
        return values | {_in_group(name): value for name, value in result.statistics.items()}

    def on_split(self, episodes: MixedEpisodes, count: int) -> dict[str, float]:
        """Plays ``count`` episodes of a split, and learns from them."""
        episode = episodes.sample(count, self.generator)
        result = self.agent.learn(episodes.core, episode, self.generator)
        self.learnt_evaluations += int(result.evaluations.sum())
        return {**self._count(result), "agent/evaluations": self.learnt_evaluations}

    def state(self) -> dict[str, object]:
        """For a checkpoint."""
        return {
            "generator": self.generator.get_state(),
            "episodes": self.episodes,
            "evaluations": self.evaluations,
            "returns": self.returns,
            "learnt_evaluations": self.learnt_evaluations,
            "acts": self.acts,
            "best": self.best,
            "agent": self.agent.export_state(),
            "copies": [one.state() for one in self.copies],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        self.generator.set_state(state["generator"])
        self.episodes, self.evaluations = state["episodes"], state["evaluations"]
        self.returns, self.learnt_evaluations = state["returns"], state["learnt_evaluations"]
        self.acts, self.best = state["acts"], state["best"]
        self.agent.import_state(state["agent"])
        copies = state.get("copies", [])  # which runs before cross-validation had none of
        for one, saved in zip(self.with_copies(len(copies)), copies, strict=True):
            one.restore(saved)


def split_episodes(
    core: CalibrationCore,
    model: AlignmentModel,
    corpus: Corpus,
    indices: Tensor,
    config: RunConfig,
    device: torch.device,
    bank: Bank | None = None,
) -> list[HardNegativeEpisodes]:
    """Episodes of a split under a frozen model: all its captions, beside their nearest shapes of the split.

    They are as at query time: where the right shape is not among the nearest, nothing can be earned. An agent
    that learned to find it there, at the end of the list, would do so in vain.

    Args:
        core: The decision process.
        model: Frozen from now on.
        corpus: The data.
        indices: The split's shapes.
        config: The run's settings: ``eval.candidates`` are in an episode.
        device: Where the model is.
        bank: Known pairs, none of them of the split.

    Returns:
        One source of episodes for each of the shifts in ``env.shift``: the same captions in the same order,
        beside shapes that are shifted so.
    """
    texts = corpus.unique_texts(indices)
    text = embed_texts(model, corpus, texts, device)
    positives = corpus.positives(texts, indices).to(device)
    sources = []
    for shift in config.env.shift:
        shapes = embed_shapes(model, shifted_corpus(corpus, indices, shift, config), indices, device)
        sources.append(
            HardNegativeEpisodes(
                core,
                model,
                text,
                shapes,
                positives,
                config.eval.candidates,
                keep_true=False,
                library=None if bank is None else bank.library(model, shapes),
            )
        )
    return sources


def original_place(episode: Episode) -> Tensor:
    """Place of the paired candidate before the episode put its candidates in order: ``[B]``."""
    return episode.candidates.gather(1, episode.attention.paired.unsqueeze(1)).squeeze(1)


def _in_group(name: str) -> str:
    return name if "/" in name else f"search/{name}"

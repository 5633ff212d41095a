"""The agent's own training, after HAF's: on queries that HAF was not trained on.

It learns with labels, and is validated without them, as it will be used, by cross-validation: copies of it
learn from parts of the queries, and each is tried on those that it did not learn from. What is kept is the
agent's state where they did best, or nothing where they never surely gained anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from agents.mcts.agent import MctsAgent
from agents.search.views.plot import draw_search
from align3d.console.progress import Tracker
from envs import HardNegativeEpisodes, MixedEpisodes, external_potential
from experiments.console.process import generator
from experiments.dap.controller import DapController, split_episodes
from experiments.run_folder.names import SEARCH
from experiments.training.crossfit import fold_models
from experiments.training.session import Session

_SHOWN = 16
_TRIES = 4  # simulations an action, in the picture of a search


def train_agent(session: Session) -> None:
    """Trains the agent until it has spent its evaluations, and goes back to its best."""
    policy = session.policy
    if session.config.agent.name == "none":
        return
    if policy.learnt_evaluations < session.config.dap.agent_steps:
        _learn(session)
    if session.config.dap.keep == "best":
        policy.go_back_to_best()
    session.save()


def _learn(session: Session) -> None:
    dap, policy = session.config.dap, session.policy
    learning, folds = sources(session)
    with (
        Tracker(
            "training the agent", dap.agent_steps, "evaluations", done=policy.learnt_evaluations
        ) as tracker,
        session.stepping("agent"),
    ):
        while policy.learnt_evaluations < dap.agent_steps:
            before = policy.learnt_evaluations
            values = policy.on_split(_pick(learning, policy.generator), dap.queries)
            for fold in folds:
                if fold.learning is not None:
                    fold.policy.on_split(fold.learning, dap.queries)
            if _due(session, before):
                found, earned = validate(folds, session.config.eval.batch_size)
                policy.keep_if_best(found, earned)
                values |= found
            session.write("agent", values)
            spent = policy.learnt_evaluations - before
            if spent == 0:
                break  # an agent that never acts would never be done
            tracker.advance(spent, note=f"return {values['reward/return']:.3f}")
        show_search(session, folds[0].validation[0])


@dataclass(frozen=True)
class Fold:
    """Queries to validate on, and who has not learned from them.

    Attributes:
        policy: The agent, or a copy of it.
        learning: What the copy learns from; None for the agent itself, which learns elsewhere.
        validation: Episodes of the same queries, one source for each shift, which count equally.
    """

    policy: DapController
    learning: MixedEpisodes | None
    validation: Sequence[HardNegativeEpisodes]


def sources(session: Session) -> tuple[list[MixedEpisodes], list[Fold]]:
    """What the agent learns from, and the folds that it is validated by.

    It learns from the reward split; for each fold of its queries a copy learns from the others. With
    cross-fitting the agent learns from the train split, by one mixture for each fold of that, and is itself
    validated on the reward split. In a mixture, and for validation, there is one source for each shift in
    ``env.shift``, with the same queries.
    """
    policy, config, corpus, device = session.policy, session.config, session.corpus, session.device
    reward = split_episodes(
        policy.core, session.model, corpus, corpus.splits["reward"], config, device, session.bank
    )
    if config.dap.folds:
        learning = []
        for model, shapes in fold_models(session):
            bank = session.known_pairs(model, shapes)
            core = policy.core_of(model)
            learning.append(MixedEpisodes(split_episodes(core, model, corpus, shapes, config, device, bank)))
        return learning, [Fold(policy, None, reward)]
    order = torch.randperm(len(reward[0]), generator=generator(0, "validation"))
    parts = order.tensor_split(min(config.dap.validation_folds, len(order)))
    folds = []
    for number, (one, held_out) in enumerate(zip(policy.with_copies(len(parts)), parts, strict=True)):
        others = torch.cat([part for i, part in enumerate(parts) if i != number])
        mixture = MixedEpisodes([shifted.only(others) for shifted in reward])
        folds.append(Fold(one, mixture, [shifted.only(held_out) for shifted in reward]))
    return [MixedEpisodes(reward)], folds


def validate(folds: Sequence[Fold], batch_size: int) -> tuple[dict[str, float], Tensor]:
    """Gain of the agent without labels, over all queries of the folds.

    Args:
        folds: Each with queries of its own.
        batch_size: Queries at a time.

    Returns:
        Means over the queries, by TensorBoard's names, and the return of each query, ``[Q]``.
    """
    returns, before, after, acted = [], [], [], []
    for fold in folds:
        draws = generator(fold.policy.config.seed, "validation")
        by_shift = []
        for episodes in fold.validation:
            own = []
            for rows in torch.arange(len(episodes)).split(batch_size):
                episode = episodes.take(rows.to(episodes.candidates.device))
                result = fold.policy.calibrate(episodes.core, episode, draws)
                changes = (result.actions >= 0) & (result.actions != _stop(fold.policy))
                own.append(result.return_)
                before.append(external_potential(episode.initial.score, episode.positives) == 1)
                after.append(external_potential(result.state.evaluation.score, episode.positives) == 1)
                acted.append(changes.any(1))
            by_shift.append(torch.cat(own))
        returns.append(torch.stack(by_shift).mean(0))  # shifts of a query are no new queries
    earned = torch.cat(returns)
    right = _mean(after)
    values = {
        "validation/return": float(earned.mean()),
        "validation/return_error": float(earned.std(correction=0)) / len(earned) ** 0.5,
        "validation/recall@1": right,
        "validation/recall@1_gain": right - _mean(before),
        "validation/acted": _mean(acted),
    }
    return values, earned


def show_search(session: Session, episodes: HardNegativeEpisodes) -> None:
    """Draws a search, if the agent searches: of the first queries, the one in which it found most.

    It is searched once more, long enough to see where the search goes once every action has been tried.
    """
    agent, core = session.policy.agent, episodes.core
    if not isinstance(agent, MctsAgent):
        return
    rows, draws = torch.arange(min(_SHOWN, len(episodes))), generator(session.config.seed, "picture")
    episode = episodes.take(rows.to(episodes.candidates.device))
    most = agent.tree(core, episode, draws).high.argmax()
    tree = agent.tree(core, episode[most.unsqueeze(0)], draws, _TRIES * core.actions)
    picture = draw_search(
        tree, names=core.action_names, path=session.folder / SEARCH, criterion=agent.final_move
    )
    session.journal.image(session.step, "search", picture)


def _due(session: Session, before: int) -> bool:
    """Whether a validation has come due since the agent had spent ``before`` evaluations."""
    dap, now = session.config.dap, session.policy.learnt_evaluations
    every = dap.agent_steps / dap.validations
    return now // every > before // every or now >= dap.agent_steps


def _pick(learning: list[MixedEpisodes], draws: torch.Generator) -> MixedEpisodes:
    """One of the sources, by their numbers of queries."""
    sizes = torch.tensor([float(len(episodes)) for episodes in learning])
    return learning[int(torch.multinomial(sizes, 1, generator=draws))]


def _stop(policy: DapController) -> int:
    return -1 if policy.core.stop is None else policy.core.stop


def _mean(parts: list[Tensor]) -> float:
    return float(torch.cat(parts).float().mean())

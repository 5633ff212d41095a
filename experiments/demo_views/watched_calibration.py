"""Calibration of one query by an agent that can be watched: its candidates, its search, its decision."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from agents import Agent, make_agent
from agents.mcts.agent import MctsAgent
from align3d.captions import normalize_caption
from align3d.errors import UserError
from envs import Episode
from experiments.console.process import generator
from experiments.demo_views.action_words import action_words
from experiments.demo_views.search_record import SearchRecord
from experiments.demo_views.watched_core import WatchedCore
from experiments.shape_search.query_calibration import env_config

if TYPE_CHECKING:
    from experiments.shape_search.searcher import Considered, Searcher

MOST_BUDGET = 512
LONGEST = 500
"""Characters of a query."""
RUN, FIXED = "run", "fixed"
"""What calibrates without labels: the run's agent, and the strengths that are the same for all queries."""
PLANNERS = {
    "mcts": "tree search (MCTS)",
    "greedy": "greedy: one step ahead",
    "random_search": "random search: best of many tries",
    "random": "random actions",
}
"""Agents that need no training, and what they are called."""


@dataclass(frozen=True)
class Choice:
    """Somebody who calibrates.

    Attributes:
        name: `RUN`, `FIXED`, or one of `PLANNERS`.
        words: For people.
        needs_label: Whether it plans by the reward, which only a known answer gives.
    """

    name: str
    words: str
    needs_label: bool


@dataclass(frozen=True)
class Wish:
    """What a visitor wants to watch.

    Attributes:
        query: The words.
        agent: Name of a `Choice`.
        budget: Evaluations of the environment, at most.
        label: Row of the shape that is meant; None where it is not known, so that there is no reward.
        seed: Of all draws.

    Raises:
        UserError: A value is out of range.
    """

    query: str
    agent: str
    budget: int = 64
    label: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.query, str) or not self.query.strip():
            raise UserError("type some words to calibrate for")
        if len(self.query) > LONGEST:
            raise UserError(f"the query has {len(self.query):,} characters: at most {LONGEST} are read")
        for name, value, most in (("budget", self.budget, MOST_BUDGET), ("seed", self.seed, 2**31)):
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
                raise UserError(f"{name}={value}: expected a whole number from 0 to {most:,}")
        if self.label is not None and (isinstance(self.label, bool) or not isinstance(self.label, int)):
            raise UserError(f"label={self.label}: expected the number of a shape")


def choices(searcher: Searcher) -> list[Choice]:
    """Who can calibrate on a run, the run's own agent first."""
    found = []
    if searcher.agent is not None:
        found.append(Choice(RUN, f"the run's agent ({searcher.agent.name}), as it answers queries", False))
    if searcher.fixed is not None and any(searcher.fixed):
        found.append(Choice(FIXED, "the same calibration for all queries", False))
    return found + [Choice(name, words, name != "random") for name, words in PLANNERS.items()]


class WatchedCalibration:
    """A query's calibration, from its candidates to what the agent decides.

    Args:
        searcher: Of the run.
        wish: What is to be watched.

    Attributes:
        record: What has happened.
        cancelled: Set to break the search off.

    Raises:
        UserError: There is no such agent or shape, the agent needs a label, or the query has no word.
    """

    def __init__(self, searcher: Searcher, wish: Wish) -> None:
        self.searcher, self.wish = searcher, wish
        known = {choice.name: choice for choice in choices(searcher)}
        if wish.agent not in known:
            raise UserError(f"agent={wish.agent}: expected one of {', '.join(known)}")
        if known[wish.agent].needs_label and wish.label is None:
            raise UserError(
                f"{known[wish.agent].words} plans by the reward: say which shape is meant, or choose an "
                "agent that acts without labels"
            )
        if wish.label is not None and not 0 <= wish.label < len(searcher):
            raise UserError(f"label={wish.label}: expected 0 to {len(searcher) - 1:,}, a row of the library")
        self.cancelled = Event()
        self.considered = searcher.consider(wish.query, [] if wish.label is None else [wish.label])
        self.positives = self._positives(self.considered)
        self.core = WatchedCore(
            searcher.model.haf, env_config(searcher.library.header), self._heard, self.cancelled
        )
        self.record = SearchRecord(list(self.core.reward_weights.values()))
        self.episode: Episode = self.core.episode(self.considered.attention, self.positives.unsqueeze(0))
        self.record.begin(self.core.initial(self.episode))
        self.notes = self._notes()

    def run(self) -> None:
        """Has the agent calibrate.

        Raises:
            CancelledError: It was broken off.
        """
        draws = generator(self.wish.seed, "demo")
        if self.wish.agent == FIXED:
            self._set_fixed()
            return
        agent = self._agent()
        without_labels = self.wish.agent == RUN or self.wish.label is None
        play = agent.calibrate if without_labels else agent.plan
        result = play(self.core, self.episode, draws)
        self.record.finish([action for action in result.actions[0].tolist() if action >= 0])

    def release(self) -> None:
        """Forgets all but the record: the attention and the states of a search take many megabytes."""
        self.record.release()
        for part in ("considered", "episode", "positives"):
            self.__dict__.pop(part, None)

    def start(self) -> dict[str, Any]:
        """What is known before the search, as plain values."""
        header, order = self.searcher.library.header, self.episode.candidates[0]
        rows = self.considered.rows[order].tolist()
        return {
            "query": self.wish.query,
            "agent": self.wish.agent,
            "budget": self.wish.budget,
            "words": list(self.considered.words),
            "groups": self._groups(),
            "actions": action_words(self.core.catalogue, self._groups()),
            "terms": [{"name": name, "weight": own} for name, own in self.core.reward_weights.items()],
            "horizon": self.core.horizon,
            "labeled": self.wish.label is not None,
            "positives": self.episode.positives[0].nonzero()[:, 0].tolist(),
            "candidates": [
                {
                    "row": row,
                    "id": header.ids[row],
                    "caption": header.captions[row][0],
                    "category": header.categories[row],
                }
                for row in rows
            ],
            "notes": self.notes,
        }

    def _heard(self, *transition: Any) -> None:
        self.record.heard(*transition)
        time.sleep(0)  # others are served meanwhile

    def _agent(self) -> Agent:
        learned, name = self.searcher.agent, self.wish.agent
        if name == RUN:
            assert learned is not None
            return learned
        if isinstance(learned, MctsAgent) and name == "mcts":
            agent = copy.deepcopy(learned)  # what it has learned guides the search
            agent.budget = self.wish.budget
        elif name == "mcts":
            agent = MctsAgent(self.wish.budget, guide=False, seed=self.wish.seed)
        else:
            return make_agent(name, budget=self.wish.budget)
        agent.watcher = self.record.follow
        return agent

    def _set_fixed(self) -> None:
        assert self.searcher.fixed is not None
        recall, hubness = self.searcher.fixed
        calibration = self.core.initial(self.episode).calibration.clone()
        calibration.memory += recall
        calibration.hubness += hubness
        self.record.set_as_a_whole(self.core.state_under(self.episode, calibration))
        self.record.finish([-1])

    def _positives(self, considered: Considered) -> Tensor:
        """Right ones, bool ``[C]``: the shape that is meant, and others if the query is their caption."""
        label = self.wish.label
        rows = considered.rows.tolist()
        if label is None:
            return torch.zeros(len(rows), dtype=torch.bool)
        captions = self.searcher.library.header.captions
        asked = normalize_caption(self.wish.query)
        own = {normalize_caption(caption) for caption in captions[label]}
        alike = {asked} & own
        return torch.tensor(
            [row == label or bool(alike & {normalize_caption(one) for one in captions[row]}) for row in rows]
        )

    def _groups(self) -> list[str]:
        """The words of each token group."""
        words, member = self.considered.words, self.episode.group[0]
        return [
            " ".join(word for word, own in zip(words, row, strict=False) if own > 0)
            for row in member.tolist()
        ]

    def _notes(self) -> list[str]:
        notes = []
        if self.considered.added:
            notes.append(
                f"The shape that is meant is not among the {len(self.considered.rows)} candidates that the "
                "index finds, so it stands in for the last of them: no calibration could have found it."
            )
        if self.wish.label is None:
            notes.append("No shape is named as the one that is meant, so there is no reward to show.")
        if self.wish.agent == RUN:
            notes.append("The run's agent sees no labels; its budget is that of its training.")
        if self.wish.agent == FIXED and self.searcher.fixed is not None:
            recall, hubness = self.searcher.fixed
            notes.append(f"The same for all queries: recall {recall:g}, hubness {hubness:g}.")
        if self.wish.agent == "mcts" and isinstance(self.searcher.agent, MctsAgent):
            notes.append("What the run's agent has learned guides this search.")
        return notes

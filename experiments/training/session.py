"""A run in progress: what is trained, what is written, where it stands; all that a checkpoint holds."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from align3d.console import interrupts
from align3d.console.terminal import say
from align3d.console.typed_settings import setting
from align3d.errors import UserError
from experiments.dap.batch_library import TrainMemory
from experiments.dap.controller import DapController
from experiments.data.bank import Bank, remember
from experiments.data.batches import Batches, fit
from experiments.data.corpus import Corpus
from experiments.data.memory_data import count_pairs, without_answers
from experiments.data.shifted_corpus import shifted_corpus
from experiments.loggers.followers import followers
from experiments.processes.process_group import Processes
from experiments.run_folder import checkpoint
from experiments.run_folder.metrics_log import MetricsLogger
from experiments.run_folder.names import CHECKPOINTS
from experiments.settings.changes import RUN_DIR, check_config
from experiments.settings.schema import MEMORIES, RunConfig
from experiments.training.loss import AlignmentLoss
from experiments.training.optimizer_state import check_optimizer_state
from experiments.training.origins import check_origins, origins
from experiments.training.shared_state import check_weights, moved, next_state
from experiments.training.weight_average import WeightAverage
from models import AlignmentModel

_INTERRUPTED, _LATE = "interrupted", "late"
"""Names by which processes say that an interrupt has come, and that a checkpoint is due."""


class Session:
    """Model, optimizer, policy and journal of a run, restored from the last checkpoint if there is one.

    Of several processes the leader alone reads and writes the folder, and has the journal.

    Args:
        config: The settings.
        folder: The run's folder.
        corpus: The data.
        device: Where to train.
        memory_data: Pairs of the dataset that ``memory`` names, if it names one.
        processes: Processes that train the run; this one alone by default.

    Attributes:
        step: Counts up over all phases; the step that comes next.
        known: The train split's pairs as they were when they were last embedded in training; None before.
        trained_by: Number of processes that have trained the last step.
        reused_steps: Of the warm-up that were not trained here but found in the cache.
        seconds: Spent by each phase (data, train, agent, evaluate), over all the processes that worked on the
            run; with the seconds that a reused warm-up took when it was trained.
    """

    def __init__(
        self,
        config: RunConfig,
        folder: Path,
        corpus: Corpus,
        device: torch.device,
        memory_data: Corpus | None = None,
        processes: Processes | None = None,
    ) -> None:
        if (config.memory in MEMORIES) != (memory_data is None):
            raise ValueError(f"memory={config.memory}: expected its dataset as memory_data, and no other")
        self.processes = Processes() if processes is None else processes
        rank, count = self.processes.rank, self.processes.count
        config = dataclasses.replace(config, train=fit(config.train, len(corpus.splits["train"]), count))
        self.config, self.folder, self.corpus, self.device = config, folder, corpus, device
        self.memory_data = memory_data
        self.model = AlignmentModel(config.model, corpus.text.tokens.shape[-1]).to(device)
        self.average = WeightAverage(self.model, config.train.ema)
        self.policy = DapController(self.model, config)
        every = torch.arange(len(corpus.dataset))
        shifted = [shifted_corpus(corpus, every, shift, config) for shift in config.train.shifts]
        self.batches = Batches(corpus, config.train, config.seed, device, shifted, rank, count)
        self.step, self.trained_by = 0, count
        self.known: TrainMemory | None = None
        self.reused_steps = 0
        self.seconds: dict[str, float] = {}
        self.fabric = self.processes.fabric(device)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=config.train.learning_rate, weight_decay=config.train.weight_decay
        )
        objective = AlignmentLoss(self.model, config, self.processes.gather if count > 1 else None)
        self.objective, self.optimizer = self.fabric.setup(objective, self.optimizer)
        self._others: list[dict[str, Any]] = []  # states of the other processes' generators
        if rank:  # the weights are those of all; what is drawn from here on is this process's own
            checkpoint.restore_random_state(next_state(config.seed, rank, 0))
        noted = self._restore()
        if self.processes.leads:
            self.journal = MetricsLogger(
                folder, noted, self.step, followers(folder, config.loggers, config.plain)
            )
        self._saved_at = time.monotonic()

    @cached_property
    def bank(self) -> Bank | None:
        """Known pairs under the model as it is at the first call; None with ``memory=off``."""
        return self.known_pairs(self.model)

    def known_pairs(self, model: AlignmentModel, asked: Tensor | None = None) -> Bank | None:
        """The bank of pairs that ``memory`` names, those of the reward and the test split never among them.

        Args:
            model: Embeds them.
            asked: ``[M]`` further shapes of the data that are asked for, and whose pairs are left out.

        Raises:
            UserError: No pair is left.
        """
        splits, source = self.corpus.splits, self.config.memory
        if source == "off":
            return None
        held_out = torch.cat([splits["reward"], splits["test"], *([] if asked is None else [asked])])
        if self.memory_data is None:
            train = splits["train"]
            return remember(model, self.corpus, train[~torch.isin(train, held_out)], self.device)
        known, every = without_answers(self.memory_data, self.corpus, held_out), count_pairs(self.memory_data)
        if left_out := every - count_pairs(known):
            say(
                f"memory={source}: {left_out} of {every} pairs left out, as their shape or caption is among "
                "those that are asked for",
                error=True,
            )
        if left_out == every:
            raise UserError(f"memory={source}: no pair is left; name a dataset of other shapes")
        return remember(model, known, known.splits["memory"], self.device)

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.folder / CHECKPOINTS

    def write(self, phase: str, values: Mapping[str, float]) -> dict[str, float]:
        """Writes the values of the step that was just done, counts it, and saves if it is time to.

        Args:
            phase: ``train``, ``agent`` or ``evaluate``.
            values: By name; of several processes their means are written.

        Returns:
            What was written.

        Raises:
            KeyboardInterrupt: An interrupt has come during the step; the checkpoint is written.
        """
        settings = self.config.train
        late = self.processes.leads and time.monotonic() - self._saved_at > 60 * settings.checkpoint_minutes
        agreed = self.processes.mean({**values, _INTERRUPTED: float(self._interrupted()), _LATE: float(late)})
        interrupted, late = agreed.pop(_INTERRUPTED) > 0, agreed.pop(_LATE) > 0
        if self.processes.leads:
            self.journal.write(self.step, phase, agreed)
        self.step += 1
        self._end_if(interrupted)
        if late or (settings.checkpoint_every and self.step % settings.checkpoint_every == 0):
            self.save()
        return agreed

    def save(self) -> None:
        """Writes a checkpoint.

        Raises:
            UserError: The weights are no longer the same in all processes.
        """
        self.note_others()
        if self.processes.leads:
            self.journal.flush()
            checkpoint.save(self.checkpoints, self.step, self._state())
        self._saved_at = time.monotonic()

    def note_others(self) -> None:
        """Takes down what a checkpoint has of the other processes, as all of them come here.

        Raises:
            UserError: The weights are no longer the same in all processes.
        """
        if self.processes.together:
            check_weights(self.processes, self.model, self.step)
            self._others = self.processes.everyone(checkpoint.random_state())[1:]

    @contextmanager
    def stepping(self, phase: str) -> Iterator[None]:
        """Counts the seconds of a phase whose every step ends with `write`; an interrupt waits until then."""
        with interrupts.noted(tell=self.processes.leads) as self._interrupted, self.timed(phase):
            yield
            agreed = self.processes.mean({_INTERRUPTED: float(self._interrupted())})
            self._end_if(agreed[_INTERRUPTED] > 0)

    _interrupted: Callable[[], bool] = staticmethod(lambda: False)

    def _end_if(self, interrupted: bool) -> None:
        if interrupted:
            self.save()
            raise KeyboardInterrupt

    def spent(self, phase: str, seconds: float) -> None:
        """Counts seconds of a phase that was timed elsewhere."""
        self.seconds[phase] = self.seconds.get(phase, 0.0) + seconds

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Counts the seconds of a phase."""
        start, before = time.monotonic(), self.seconds.get(phase, 0.0)
        self._phase = (phase, start, before)
        try:
            yield
        finally:
            self.seconds[phase] = before + time.monotonic() - start
            self._phase = None

    _phase: tuple[str, float, float] | None = None

    def warm_state(self) -> dict[str, Any]:
        """State that a run with the same warm-up needs to go on from here."""
        return {**self._training_state(), "lines": self.journal.lines()}

    def adopt(self, state: dict[str, Any]) -> None:
        """Goes on from what `warm_state` returned, as if this run had been there itself."""
        before, data = self.step, self.seconds.get("data", 0.0)
        self._restore_training(state)
        self.seconds["data"] = data  # which every run opens itself
        if self.processes.leads:
            self.journal.replay([line for line in state["lines"] if json.loads(line)["step"] >= before])
        self.reused_steps = self.step - before

    def shared(self, state: dict[str, Any] | None) -> dict[str, Any] | None:
        """What the leader has read from a file, on the device of each process."""
        if not self.processes.together:
            return state
        return moved(self.processes.share(moved(state, torch.device("cpu"))), self.device)

    def _training_state(self) -> dict[str, Any]:
        if self._phase is not None:
            phase, start, before = self._phase
            self.seconds[phase] = before + time.monotonic() - start
        return {
            **self.average.state(),
            "optimizer": self.optimizer.state_dict(),
            "neighbours": self.batches.neighbors,
            "random": checkpoint.random_state(),
            **({"others": self._others} if self._others else {}),
            "seconds": dict(self.seconds),
        }

    def _restore_training(self, state: dict[str, Any]) -> None:
        self.step, self.seconds = state["step"], state["seconds"]
        self.average.restore(state, serves=self.step >= self.batches.total)
        check_optimizer_state(state["optimizer"], self.optimizer)
        self.optimizer.load_state_dict(state["optimizer"])
        self.batches.neighbors = None if state["neighbours"] is None else state["neighbours"].cpu()
        states, rank = [state["random"], *state.get("others", [])], self.processes.rank
        own = states[rank] if rank < len(states) else next_state(self.config.seed, rank, self.step)
        checkpoint.restore_random_state(own)
        if self.step >= self.batches.total:
            self.trained_by = len(states)
        self._others = states[1:] if len(states) == self.trained_by else []

    def _state(self) -> dict[str, Any]:
        return {
            **self._training_state(),
            "config": self.config.plain,
            "text_width": self.corpus.text.tokens.shape[-1],
            "up_axis": self.corpus.dataset.up_axis,
            "policy": self.policy.state(),
            "origins": origins(self.config, self.corpus, self.memory_data),
            "known": None if self.known is None else self.known.state(),
            "journal": self.journal.noted(),
            "reused_steps": self.reused_steps,
        }

    def _restore(self) -> dict[str, Any] | None:
        """Takes over the last checkpoint; what it has noted of the journal, None without a checkpoint.

        Raises:
            UserError: No checkpoint is whole, the settings are not those that the last one was written with,
                or the data, the memory or the text encoder are no longer those that the run was begun with,
                and ``accept_changes`` is not set.
        """
        state = self.shared(self._checked_checkpoint() if self.processes.leads else None)
        if state is None:
            return None
        other_data = state["other_data"]
        try:
            self._restore_training(state)
            self.policy.restore(state["policy"])
            if other_data:  # what is known of single shapes
                self.batches.neighbors = None
            elif state["known"] is not None:
                self.known = TrainMemory.restored(state["known"], self.corpus, self.batches.train)
            self.reused_steps = state["reused_steps"]
            journal = state["journal"]
        except UserError:
            raise
        except (RuntimeError, LookupError, TypeError, ValueError, AttributeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"{self.checkpoints}: the newest is not of this run ({reason})") from error
        return journal if isinstance(journal, dict) else {"bytes": journal}

    def _checked_checkpoint(self) -> dict[str, Any] | None:
        """The last checkpoint, with ``other_data``: whether its data were others; None without one."""
        state = checkpoint.load_latest(self.checkpoints, self.device)
        if state is None:
            return None
        check_config(self.folder, state["config"], self.config.plain, "the checkpoint")
        now, there = origins(self.config, self.corpus, self.memory_data), state.get("origins")
        other_data = there is not None and check_origins(there, now, self.config, self.folder)
        before, count = 1 + len(state.get("others", [])), self.processes.count
        if before != count and state["step"] < self.batches.total:
            say(
                f"{setting(RUN_DIR, self.folder)}: trained by {before} processes up to step {state['step']}, "
                f"and by {count} from there on: it goes on, but not to the same numbers",
                error=True,
            )
        return {**state, "other_data": other_data}

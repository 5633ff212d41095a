"""Batches of shapes and captions, a function of the seed and the step alone.

Hence a resumed run goes on where it was. First come passes of random batches, then passes in which some
groups of a batch are look-alikes: a seed and the shapes whose captions the model takes for its own. In all of
them a share of the shapes may be shown under a shift (``train.shift``), each epoch other ones.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from align3d.console.terminal import say
from experiments.console.process import generator
from experiments.data.corpus import Corpus
from experiments.data.part_mentions import NamedParts, PartLabels
from experiments.settings.schema import TrainConfig
from models import ShapeBatch, TextFeatures


@dataclass
class Batch:
    """``B`` pairs of a shape and one of its captions, in groups of ``G`` that stand one after the other.

    Attributes:
        indices: ``[B]`` shapes of the corpus.
        texts: ``[B]`` captions of the corpus.
        shapes: Batch ``[B]``.
        text: ``[B, T, ...]``.
        positives: ``[B, B]`` bool, texts × shapes.
        candidates: ``[B, G]`` int64: the members of each row's own group.
        parts: What the captions name of their shapes; None where attention is not taught by it.
    """

    indices: Tensor
    texts: Tensor
    shapes: ShapeBatch
    text: TextFeatures
    positives: Tensor
    candidates: Tensor
    parts: NamedParts | None = None


class Batches:
    """The batches of a training run.

    Args:
        corpus: The data.
        config: Epochs and sizes.
        seed: Of the order and the choice of captions.
        device: Where batches are put.
        shifted: The data once more for each shift in ``config.shift``, with every shape shifted.

    Attributes:
        neighbors: ``[n, G - 1]`` the look-alikes of each training shape by its place in the split; None
            before they were mined. Part of a checkpoint: they are of the weights at an epoch's start.
    """

    def __init__(
        self,
        corpus: Corpus,
        config: TrainConfig,
        seed: int,
        device: torch.device,
        shifted: Sequence[Corpus] = (),
    ) -> None:
        self.corpus, self.config, self.seed, self.device = corpus, config, seed, device
        self.train = corpus.splits["train"]
        self.per_epoch = len(self.train) // config.batch_size
        self.random_steps = config.epochs * self.per_epoch
        self.total = self.random_steps + config.hard_epochs * self.per_epoch
        self.hard_groups = round(config.hard_share * (config.batch_size // config.group))
        self.neighbors: Tensor | None = None
        self._versions = (corpus, *shifted)
        self._labels = [PartLabels(each, self.train) for each in self._versions if config.grounding]

    def mines_at(self, step: int) -> bool:
        """Whether look-alikes are due to be mined before this step."""
        due = self.neighbors is None or step % self.per_epoch == 0
        return self.hard_groups > 0 and step >= self.random_steps and due

    def learning_rate(self, step: int) -> float:
        """Rises over the first steps, then a cosine to zero."""
        config = self.config
        rising = max(1, round(config.warmup * self.total))
        if step < rising:
            return config.learning_rate * (step + 1) / rising
        done = (step - rising) / max(self.total - rising, 1)
        return config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))

    def at(self, step: int) -> Batch:
        """The batch of a step."""
        epoch, place = divmod(step, self.per_epoch)
        order = torch.randperm(len(self.train), generator=generator(self.seed, "order", epoch))
        members = order[place * self.config.batch_size :][: self.config.batch_size]
        if step >= self.random_steps and self.hard_groups:
            assert self.neighbors is not None, "look-alikes are mined at the start of each epoch"
            seeds = members[: self.hard_groups]
            look_alikes = torch.cat([seeds.unsqueeze(1), self.neighbors[seeds]], dim=1).flatten()
            members = torch.cat([look_alikes, members[len(look_alikes) :]])
        return self._batch(self.train[members], epoch)

    def _batch(self, indices: Tensor, epoch: int) -> Batch:
        corpus, group = self.corpus, self.config.group
        own = corpus.texts_of[indices]  # [B, K]
        draws = torch.rand(len(corpus.dataset), generator=generator(self.seed, "caption", epoch))[indices]
        chosen = (draws * (own >= 0).sum(1)).long()
        texts = own.gather(1, chosen.unsqueeze(1)).squeeze(1)
        rows = torch.arange(len(indices))
        candidates = (rows // group * group).unsqueeze(1) + torch.arange(group)
        version = self._version(indices, epoch)
        return Batch(
            indices=indices,
            texts=texts,
            shapes=self._shapes(indices, version).to(self.device),
            text=corpus.text.select(texts).to(self.device),
            positives=corpus.positives(texts, indices).to(self.device),
            candidates=candidates.to(self.device),
            parts=self._parts(indices, texts, version) if self._labels else None,
        )

    def _version(self, indices: Tensor, epoch: int) -> Tensor:
        """Version of the shapes ``[B]`` shown in an epoch: number of the shift from 1, 0 for none."""
        shifts, share = len(self._versions) - 1, self.config.shift_share
        if not shifts or not share:
            return torch.zeros_like(indices)
        draws = torch.rand(len(self.corpus.dataset), generator=generator(self.seed, "shift", epoch))[indices]
        number = 1 + (draws / share * shifts).long().clamp_max(shifts - 1)
        return torch.where(draws < share, number, 0)

    def _shapes(self, indices: Tensor, version: Tensor) -> ShapeBatch:
        shapes = self.corpus.shapes[indices]
        for number in version[version > 0].unique().tolist():
            rows = (version == number).nonzero().squeeze(1)
            shapes[rows] = self._versions[number].shapes[indices[rows]]
        return shapes

    def _parts(self, indices: Tensor, texts: Tensor, version: Tensor) -> NamedParts:
        """Named parts, each on the points of its shape as it is shown."""
        parts = []
        for number in version.unique().tolist():
            rows = (version == number).nonzero().squeeze(1)
            found = self._labels[number].of(indices[rows], texts[rows], self.device)
            parts.append(dataclasses.replace(found, rows=rows.to(self.device)[found.rows]))
        columns = ([getattr(part, field.name) for part in parts] for field in dataclasses.fields(NamedParts))
        return NamedParts(*map(torch.cat, columns))


def fit(config: TrainConfig, shapes: int) -> TrainConfig:
    """The same settings with batches, and if need be groups, no larger than the train split of ``shapes``."""
    if config.batch_size <= shapes:
        return config
    group = min(config.group, shapes)
    size = shapes // group * group
    smaller = f"train.batch_size={size}" + (f" train.group={group}" if group < config.group else "")
    say(
        f"train.batch_size={config.batch_size} train.group={config.group}: more than the {shapes} shapes to "
        f"train on; going on with {smaller}",
        error=True,
    )
    return dataclasses.replace(config, batch_size=size, group=group)


def look_alikes(similarity: Tensor, positives: Tensor, count: int) -> Tensor:
    """The shapes that are mistaken most for each shape.

    Args:
        similarity: ``[n, n]`` of captions × shapes.
        positives: ``[n, n]`` bool; right answers are no look-alikes.
        count: How many of each.

    Returns:
        ``[n, count]``, nearest first, by both directions' similarity.
    """
    both = similarity + similarity.T
    both = both.masked_fill(positives | positives.T, -torch.inf)
    return both.topk(count, dim=1).indices

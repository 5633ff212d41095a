"""Batches of shapes and captions, a function of the seed and the step alone.

Of several processes each is dealt as many of a batch's groups, in their order.

Hence a resumed run goes on where it was. First come passes of random batches, then passes in which some
groups of a batch are look-alikes: a seed and the shapes whose captions the model takes for its own. In all of
them a share of the shapes may be shown corrupted (``train.corrupt``), each epoch other ones, and all of them
may be augmented, in each step anew.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from align3d.console.terminal import say
from align3d.errors import UserError
from experiments.console.process import generator
from experiments.data.augmentation import Augmentation
from experiments.data.corpus import Corpus
from experiments.data.part_mentions import NamedParts, PartLabels
from experiments.settings.schema import TrainConfig
from models import ShapeBatch, TextFeatures


@dataclass
class Captions:
    """One caption of each shape of a batch.

    Attributes:
        text: ``[B, T, ...]``.
        positives: ``[B, B]`` bool, texts × shapes.
        ignored: As of a `Batch`.
    """

    text: TextFeatures
    positives: Tensor
    ignored: Tensor | None = None


@dataclass
class WholeBatch:
    """All ``W`` shapes of a batch, of which a `Batch` is the share of one process, and ``k`` captions each.

    Attributes:
        positives: ``[k * W, W]`` bool, texts × shapes; the first captions of all, then the second ones.
        ignored: ``[k * W, W]`` bool likewise, as of a `Batch`.
        named: Number of the places where a caption names a part of its shape.
    """

    positives: Tensor
    ignored: Tensor | None
    named: int


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
        ignored: ``[B, B]`` bool, texts × shapes of equal content that have other captions; None for none.
        parts: What the captions name of their shapes; None where attention is not taught by it.
        more: The same shapes with another of their captions each, for each further caption of a shape.
        whole: All of the batch, where these pairs are one process's share of it; None where they are all.
    """

    indices: Tensor
    texts: Tensor
    shapes: ShapeBatch
    text: TextFeatures
    positives: Tensor
    candidates: Tensor
    ignored: Tensor | None = None
    parts: NamedParts | None = None
    more: tuple[Captions, ...] = ()
    whole: WholeBatch | None = None


class Batches:
    """The batches of a training run.

    Args:
        corpus: The data.
        config: Epochs and sizes.
        seed: Of the order and the choice of captions.
        device: Where batches are put.
        shifted: The data once more for each shift in ``config.shifts``, with every shape shifted.
        rank: Which of the processes this is.
        processes: Number of processes that share a batch, each with as many groups.

    Attributes:
        neighbors: ``[n, count]`` the look-alikes of each training shape by its place in the split; None
            before they were mined. Part of a checkpoint: they are of the weights as they were then.
        count: Look-alikes of a shape that are mined.
        content: ``[N]`` int64, equal for shapes of equal content; None where that does not matter.
    """

    def __init__(
        self,
        corpus: Corpus,
        config: TrainConfig,
        seed: int,
        device: torch.device,
        shifted: Sequence[Corpus] = (),
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        self.corpus, self.config, self.seed, self.device = corpus, config, seed, device
        self.rank, self.processes = rank, processes
        if processes > 1 and config.batch_size % (config.group * processes):
            raise ValueError(
                f"batch_size={config.batch_size}: expected whole groups of {processes} processes"
            )
        self.train = corpus.splits["train"]
        self.per_epoch = len(self.train) // config.batch_size
        self.random_steps = config.epochs * self.per_epoch
        self.total = self.random_steps + config.hard_epochs * self.per_epoch
        self.hard_groups = round(config.hard_share * (config.batch_size // config.group))
        self.seeds = self.hard_groups if config.hard_scope == "group" else min(1, self.hard_groups)
        self.count = (self.hard_groups * config.group // self.seeds if self.seeds else config.group) - 1
        self.content = equal_content(corpus) if config.mask_equal else None
        self._augmentation = Augmentation(config, corpus.dataset.up_axis)
        self.neighbors: Tensor | None = None
        self._versions = (corpus, *shifted)
        self._labels = [PartLabels(each, self.train) for each in self._versions if config.grounding]

    def mines_at(self, step: int) -> bool:
        """Whether look-alikes are due to be mined before this step."""
        every = self.config.mine_every or self.per_epoch
        due = self.neighbors is None or (step - self.random_steps) % every == 0
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
        """This process's share of the batch of a step."""
        size = self.config.batch_size // self.processes
        return self._batch(self._members(step), step, slice(self.rank * size, (self.rank + 1) * size))

    def whole(self, step: int) -> Batch:
        """All of the batch of a step."""
        return self._batch(self._members(step), step, slice(None))

    def _members(self, step: int) -> Tensor:
        """The shapes of a step's batch, ``[W]``."""
        epoch, place = divmod(step, self.per_epoch)
        order = torch.randperm(len(self.train), generator=generator(self.seed, "order", epoch))
        members = order[place * self.config.batch_size :][: self.config.batch_size]
        if step >= self.random_steps and self.hard_groups:
            assert self.neighbors is not None, "look-alikes are mined at the start of each epoch"
            seeds = members[: self.seeds]
            look_alikes = torch.cat([seeds.unsqueeze(1), self.neighbors[seeds]], dim=1).flatten()
            members = torch.cat([look_alikes, members[len(look_alikes) :]])
        return self.train[members]

    def _batch(self, members: Tensor, step: int, own: slice) -> Batch:
        """The share ``own`` of a batch of the shapes ``[W]``."""
        group, epoch = self.config.group, step // self.per_epoch
        every = self._texts(members, epoch)
        indices, (first, *others) = members[own], [texts[own] for texts in every]
        captions = self._captions(first, indices)
        rows = torch.arange(len(indices))
        candidates = (rows // group * group).unsqueeze(1) + torch.arange(group)
        version = self._version(indices, epoch)
        return Batch(
            indices=indices,
            texts=first,
            shapes=self._shapes(indices, version, step).to(self.device),
            text=captions.text,
            positives=captions.positives,
            candidates=candidates.to(self.device),
            ignored=captions.ignored,
            parts=self._parts(indices, first, version) if self._labels else None,
            more=tuple(self._captions(texts, indices) for texts in others),
            whole=None if len(indices) == len(members) else self._whole(members, every, epoch),
        )

    def _whole(self, members: Tensor, captions: list[Tensor], epoch: int) -> WholeBatch:
        """A batch of the shapes ``[W]`` with captions of each."""
        pairs = [self._pairs(texts, members) for texts in captions]
        ignored = [out for _, out in pairs if out is not None]
        version, named = self._version(members, epoch), 0
        for number, labels in enumerate(self._labels):
            rows = version == number
            named += labels.count(members[rows], captions[0][rows])
        positives = torch.cat([right for right, _ in pairs])
        return WholeBatch(positives, torch.cat(ignored) if ignored else None, named)

    def _texts(self, indices: Tensor, epoch: int) -> list[Tensor]:
        """Captions of the shapes ``[B]``: one of each, then for each further one the next of its captions."""
        own = self.corpus.texts_of[indices]  # [B, K]
        every = len(self.corpus.dataset)
        draws = torch.rand(every, generator=generator(self.seed, "caption", epoch))[indices]
        count = (own >= 0).sum(1)
        chosen = (draws * count).long()
        turns = range(self.config.captions)
        return [own.gather(1, ((chosen + turn) % count).unsqueeze(1)).squeeze(1) for turn in turns]

    def _captions(self, texts: Tensor, indices: Tensor) -> Captions:
        """The texts ``[B]`` as captions of the shapes ``[B]``, one of each."""
        return Captions(self.corpus.text.select(texts).to(self.device), *self._pairs(texts, indices))

    def _pairs(self, texts: Tensor, indices: Tensor) -> tuple[Tensor, Tensor | None]:
        """Pairs ``[B, B]`` of texts and shapes that are right, and those that do not count."""
        positives, ignored = self.corpus.positives(texts, indices), None
        if self.content is not None:
            of_shapes = self.content[indices]
            ignored = ((of_shapes.unsqueeze(1) == of_shapes) & ~positives).to(self.device)
        return positives.to(self.device), ignored

    def _version(self, indices: Tensor, epoch: int) -> Tensor:
        """Version of the shapes ``[B]`` shown in an epoch: number of the shift from 1, 0 for none."""
        shifts, share = len(self._versions) - 1, self.config.corrupt
        if not shifts or not share:
            return torch.zeros_like(indices)
        draws = torch.rand(len(self.corpus.dataset), generator=generator(self.seed, "shift", epoch))[indices]
        number = 1 + (draws / share * shifts).long().clamp_max(shifts - 1)
        return torch.where(draws < share, number, 0)

    def _shapes(self, indices: Tensor, version: Tensor, step: int) -> ShapeBatch:
        shapes = self.corpus.shapes[indices]
        for number in version[version > 0].unique().tolist():
            rows = (version == number).nonzero().squeeze(1)
            shapes[rows] = self._versions[number].shapes[indices[rows]]
        if not self._augmentation.active:
            return shapes
        own = (self.rank,) if self.processes > 1 else ()
        draws = generator(self.seed, "augmentation", step, *own)
        for number in version.unique().tolist():
            rows = (version == number).nonzero().squeeze(1)
            dataset = self._versions[number].dataset
            shapes[rows] = self._augmentation(shapes[rows], dataset, indices[rows], draws)
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


def fit(config: TrainConfig, shapes: int, processes: int = 1) -> TrainConfig:
    """The same settings with batches, and if need be groups, no larger than the train split of ``shapes``.

    Args:
        config: Settings of training.
        shapes: Size of the train split.
        processes: Number of processes that share a batch.

    Raises:
        UserError: There are not two shapes for each process.
    """
    if config.batch_size <= shapes:
        return config
    group = min(config.group, shapes // processes)
    if group < 2:
        raise UserError(f"{shapes} shapes to train on are too few for {processes} processes; start fewer")
    size = shapes // (group * processes) * group * processes
    smaller = f"train.batch_size={size}" + (f" train.group={group}" if group < config.group else "")
    say(
        f"train.batch_size={config.batch_size} train.group={config.group}: more than the {shapes} shapes to "
        f"train on; going on with {smaller}",
        error=True,
    )
    return dataclasses.replace(config, batch_size=size, group=group)


def equal_content(corpus: Corpus) -> Tensor:
    """Numbers of the shapes' contents ``[N]``: equal where two shapes are the same item under two names."""
    numbers: dict[str, int] = {}
    every = (numbers.setdefault(content, len(numbers)) for content in corpus.dataset.content_hashes)
    return torch.tensor(list(every))


def look_alikes(similarity: Tensor, positives: Tensor, count: int) -> Tensor:
    """The shapes that are mistaken most for each shape.

    Args:
        similarity: ``[n, n]`` of captions × shapes, or of either with its like.
        positives: ``[n, n]`` bool; right answers are no look-alikes.
        count: How many of each.

    Returns:
        ``[n, count]``, nearest first, by both directions' similarity.
    """
    both = similarity + similarity.T
    both = both.masked_fill(positives | positives.T, -torch.inf)
    return both.topk(count, dim=1).indices

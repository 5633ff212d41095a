"""Shapes that a run is evaluated on: its own test split, or those of another source that it has not seen."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from align3d.console.progress import Tracker
from align3d.console.terminal import say
from align3d.errors import DataError, UserError
from align3d.pipeline import default_cache, load_or_build
from align3d.shifts import ShiftedDataset, parse_shift
from experiments.dap.controller import DapController
from experiments.data.bank import Bank, remember
from experiments.data.corpus import Corpus, encoded_corpus
from experiments.data.encoding import CHUNK, embed_features, embed_shapes, frozen
from experiments.data.memory_data import load_memory_data, without_answers
from experiments.evaluate_run.evaluate_options import Asked
from experiments.evaluation.gallery import Gallery, encode_split
from experiments.index_evaluation.load_run import Trained
from experiments.run_folder.finished_run import last_state
from experiments.run_folder.names import CONFIG
from experiments.run_folder.readers import read_yaml
from experiments.settings.schema import AgentConfig
from experiments.tasks.prompts import TEMPLATES, PromptSet, class_embeddings, read_templates, same_class
from models import TextEncoder, prepare_shapes

NAMED = 3
"""Shapes that a message names."""


@dataclass(frozen=True)
class Classes:
    """Labeled shapes. ``L`` of the ``M`` that are evaluated, ``C`` classes.

    Attributes:
        rows: ``[L]`` places among the shapes that are evaluated.
        labels: ``[L]`` from 0.
        names: C, as first written.
    """

    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    names: list[str]


@dataclass
class Evaluated:
    """A run's model, and ``M`` shapes that it has not learned from.

    Attributes:
        trained: The run.
        asked: Settings of the command.
        corpus: The data.
        indices: ``[M]`` shapes of the data.
        variant: What they are, in words.
        left_out: Ids of shapes of the other source that the run has learned from.
        device: Where the model is.
    """

    trained: Trained
    asked: Asked
    corpus: Corpus
    indices: Tensor
    variant: str
    left_out: list[str]
    device: torch.device

    @cached_property
    def gallery(self) -> Gallery:
        """The shapes and their captions, encoded, without a memory."""
        return encode_split(self.trained.model, self.corpus, self.indices, self.device)

    @cached_property
    def vectors(self) -> NDArray[np.float32]:
        """Embeddings ``[M, E]`` of the shapes."""
        return self.gallery.shapes.embedding.float().cpu().numpy()

    @cached_property
    def classes(self) -> Classes:
        """The categories of the shapes; those without one are left out."""
        categories = [self.corpus.dataset.categories[index] for index in self.indices.tolist()]
        names: dict[str, str] = {}
        for category in categories:
            if category.strip():
                names.setdefault(same_class(category), category)
        places = {key: place for place, key in enumerate(sorted(names))}
        rows = [row for row, category in enumerate(categories) if category.strip()]
        labels = [places[same_class(categories[row])] for row in rows]
        return Classes(np.array(rows, np.int64), np.array(labels, np.int64), [names[key] for key in places])

    @cached_property
    def prompts(self) -> PromptSet:
        """Prompts of the classes."""
        return read_templates(self.asked.prompts or TEMPLATES, verbatim=self.asked.verbatim)

    @cached_property
    def class_vectors(self) -> NDArray[np.float64]:
        """Embeddings ``[C, E]`` of the classes by their prompts."""
        words, owners = self.prompts.prompts(self.classes.names)
        with Tracker("encoding prompts", len(words), "prompts") as tracker:
            features = encoder_of(self.trained, self.device).encode(words, advance=tracker.advance)
        vectors = embed_features(self.trained.model, features, self.device).embedding
        return class_embeddings(vectors.float().cpu().numpy(), owners, len(self.classes.names))

    def shifted_vectors(self, shift: str) -> NDArray[np.float32]:
        """Embeddings ``[M, E]`` of the shapes under a shift, piece by piece and without a trace on disk."""
        config, model = self.trained.config, self.trained.model
        seen = ShiftedDataset(self.corpus.dataset, parse_shift(shift), config.data.seed, self.indices.numpy())
        parts = []
        with frozen(model):
            for piece in self.indices.split(CHUNK):
                rows = piece.numpy()
                points, colors, size_m = (
                    torch.from_numpy(column(rows)) for column in (seen.points, seen.colors, seen.size_m)
                )
                shapes = prepare_shapes(points, colors, size_m, config.model)
                parts.append(model.encode_shapes(shapes.to(self.device)).embedding.float().cpu())
        return torch.cat(parts).numpy()

    @cached_property
    def strangers(self) -> NDArray[np.float32]:
        """Embeddings ``[D, E]`` of shapes of the run's data that answer none of the captions.

        They are in an order that is drawn by the seed.
        """
        own = self.trained.corpus
        others = torch.arange(len(own.dataset))
        if self.corpus is own:
            others = others[~torch.isin(others, self.indices)]
        alone = dataclasses.replace(own, splits={"memory": others})
        known = without_answers(alone, self.corpus, self.indices)
        whole = (known.texts_of >= 0).sum(1) == (own.texts_of >= 0).sum(1)
        others = others[whole[others]]
        order = np.random.default_rng(self.asked.seed).permutation(len(others))
        with Tracker("encoding distractors", len(others), "shapes") as tracker:
            found = embed_shapes(self.trained.model, own, others[order], self.device, tracker.advance)
        return found.embedding.float().cpu().numpy()

    def saved_agent(self) -> DapController | None:
        """The run's agent as it was saved; None where it rests or the run has none.

        Raises:
            UserError: It is of another version, or needs modules that are not imported.
        """
        plain: dict[str, Any] = dict(read_yaml(self.trained.folder / CONFIG)["agent"])
        name, budget = str(plain.pop("name")), plain.pop("budget", AgentConfig.budget)
        config = dataclasses.replace(self.trained.config, agent=AgentConfig(name, plain, budget))
        try:
            policy = DapController(self.trained.model, config)
            policy.restore(last_state(self.trained.folder, self.device)["policy"])
        except (ValueError, TypeError, KeyError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:160]
            raise UserError(
                f"agent=saved: {name} cannot be restored ({reason}); name its module with imports=, or give "
                "agent=none"
            ) from error
        return None if policy.rests else policy

    def bank(self) -> Bank | None:
        """The run's known pairs without those that give away an answer; None without any."""
        config, own = self.trained.config, self.trained.corpus
        if config.memory == "off":
            return None
        source = load_memory_data(config, own, self.device)
        if source is None and self.corpus is own:
            return remember(self.trained.model, own, own.splits["train"], self.device)
        if source is None:
            source = _only(own, own.splits["train"])
        held_out = self.indices
        if self.corpus is own:  # as in the run
            held_out = torch.cat([own.splits["reward"], own.splits["test"]])
        known = without_answers(source, self.corpus, held_out)
        if not len(known.splits["memory"]):
            say("no known pair is left for the agent: all give away answers", error=True)
            return None
        return remember(self.trained.model, known, known.splits["memory"], self.device)


def evaluated_shapes(trained: Trained, asked: Asked, device: torch.device) -> Evaluated:
    """Opens what a run is evaluated on.

    Args:
        trained: The run.
        asked: Settings of the command.
        device: Where the model is.

    Raises:
        UserError: There is no such source, it does not fit the model, or the run has learned from all of it.
    """
    if asked.data is None:
        corpus = trained.corpus
        variant = f"test split of {corpus.dataset.name}"
        return Evaluated(trained, asked, corpus, corpus.splits["test"], variant, [], device)
    corpus = _other_corpus(trained, asked, device)
    own, label = trained.corpus, f"data={asked.data}"
    learned = torch.cat([own.splits["train"], own.splits["reward"]]).tolist()
    hashes = {own.dataset.content_hashes[index] for index in learned}
    seen = np.array([content in hashes for content in corpus.dataset.content_hashes])
    left_out = [corpus.dataset.ids[index] for index in np.flatnonzero(seen)]
    if left_out:
        more = ", …" if len(left_out) > NAMED else ""
        say(
            f"{label}: {len(left_out)} of {len(seen)} shapes left out, as the run has learned from them "
            f"({', '.join(left_out[:NAMED])}{more}; all in evaluation.json)",
            error=True,
        )
    indices = torch.from_numpy(np.flatnonzero(~seen))
    if len(indices) < 2:
        raise UserError(
            f"{label}: {len(indices)} shapes that the run has not learned from, at least 2 needed; leave out "
            "data= to measure its test split"
        )
    variant = f"all shapes of {corpus.dataset.name}" + (" that are new to the run" if left_out else "")
    return Evaluated(trained, asked, corpus, indices, variant, left_out, device)


def encoder_of(trained: Trained, device: torch.device) -> TextEncoder:
    """The run's text encoder."""
    train = trained.config.train
    return TextEncoder(
        train.text_encoder, cache=_cache(trained) / "text", device=device, max_tokens=train.max_tokens
    )


def _only(corpus: Corpus, indices: Tensor) -> Corpus:
    """The corpus with captions of the shapes at ``indices`` ``[M]`` alone."""
    texts_of = torch.full_like(corpus.texts_of, -1)
    texts_of[indices] = corpus.texts_of[indices]
    return dataclasses.replace(corpus, texts_of=texts_of)


def _other_corpus(trained: Trained, asked: Asked, device: torch.device) -> Corpus:
    config, own, label = trained.config, trained.corpus.dataset, f"data={asked.data}"
    try:
        dataset = load_or_build(
            str(asked.data),
            cache=_cache(trained),
            points=own.num_points,
            **{"seed": config.data.seed, "workers": config.data.workers} | asked.other,
        )
    except DataError as error:
        told = str(error)
        raise UserError(told if told.startswith(label) else f"{label}: {told}") from error
    if dataset.up_axis != own.up_axis:
        raise UserError(
            f"{label}: {dataset.up_axis} points up there, {own.up_axis} in the run's data={own.name}; "
            "evaluate it on shapes that are turned"
        )
    every = {"test": torch.arange(len(dataset))}
    encoder = encoder_of(trained, device)
    return encoded_corpus(dataset, every, encoder, config.model, _cache(trained), "encoding captions")


def _cache(trained: Trained) -> Path:
    return (trained.config.cache or default_cache()).expanduser()

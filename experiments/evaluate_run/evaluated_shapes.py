"""Shapes that a run is evaluated on: its own test split, or those of another source that it has not seen."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from align3d.captions import normalize_caption
from align3d.console.progress import Tracker
from align3d.console.terminal import say
from align3d.dataset import ShapeDataset
from align3d.errors import UserError
from align3d.pipeline import default_cache
from align3d.shifts import ShiftedDataset, parse_shift
from experiments.dap.controller import DapController
from experiments.data.bank import Bank, remember
from experiments.data.corpus import Corpus, encoded_corpus
from experiments.data.encoding import CHUNK, embed_features, embed_shapes, frozen
from experiments.data.memory_data import load_memory_data, without_answers
from experiments.evaluate_run.evaluate_options import Asked
from experiments.evaluate_run.source_dataset import named_dataset
from experiments.evaluate_run.subject import Captions, Known, Prompted, Subject, Vectors
from experiments.evaluation.calibrate_gallery import calibrate
from experiments.evaluation.gallery import Gallery, encode_split
from experiments.evaluation.pair_scores import Calibrations
from experiments.index_evaluation.generated_vectors import generated_vectors, joined
from experiments.run_folder.finished_run import last_state
from experiments.run_folder.names import CONFIG
from experiments.run_folder.readers import read_yaml
from experiments.settings.schema import AgentConfig
from experiments.tasks.prompts import TEMPLATES, class_embeddings, read_templates, unit
from models import TextEmbedding, TextEncoder, TextFeatures, prepare_shapes
from models.quantities import prefers_decimal_comma

if TYPE_CHECKING:
    from experiments.index_evaluation.load_run import Trained

NAMED = 3
"""Shapes that a message names."""


@dataclass
class Evaluated(Subject):
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
    def categories(self) -> list[str]:
        """Label of each shape; blank without one."""
        return [self.corpus.dataset.categories[index] for index in self.indices.tolist()]

    @cached_property
    def captions(self) -> Captions:
        """All captions of the shapes."""
        gallery = self.gallery
        return Captions(
            gallery.text.embedding.float().cpu().numpy(),
            gallery.positives.cpu().numpy(),
            gallery.first.cpu().numpy(),
        )

    @property
    def score_count(self) -> int:
        """Captions by shapes."""
        return len(self.corpus.unique_texts(self.indices)) * len(self.indices)

    @cached_property
    def prompted(self) -> Prompted:
        """The classes by the templates."""
        prompts = read_templates(self.asked.prompts or TEMPLATES, verbatim=self.asked.verbatim)
        names = self.classes.names
        words, owners = prompts.prompts(names)
        vectors = self.embedded(words, "encoding prompts").embedding.float().cpu().numpy()
        first = np.searchsorted(owners, np.arange(len(names)))
        facts = {
            "name": prompts.name,
            "hash": prompts.hash,
            "templates": len(prompts.templates),
            "single": prompts.templates[0],
            "verbatim": prompts.verbatim,
        }
        return Prompted(class_embeddings(vectors, owners, len(names)), unit(vectors[first]), facts)

    def embedded(self, texts: list[str], title: str) -> TextEmbedding:
        """Texts as the run's model embeds them, read as the captions are."""
        return embed_features(self.trained.model, self.features(texts, title), self.device)

    def features(self, texts: list[str], title: str) -> TextFeatures:
        """Features of texts by the run's frozen encoder, under a progress bar."""
        encoder = encoder_of(self.trained, self.device)
        encoder.decimal_comma = prefers_decimal_comma(self.corpus.captions)
        with Tracker(title, len(texts), "texts") as tracker:
            return encoder.encode(texts, advance=tracker.advance)

    @cached_property
    def acting(self) -> tuple[Gallery, Calibrations, DapController] | None:
        """The gallery beside the known pairs, what the saved agent makes of it, and the agent.

        None where it is left out, rests or is not there, which is said.
        """
        if self.asked.agent == "none":
            return None
        policy = self.saved_agent()
        if policy is None:
            say("the run has no agent that acts, so HAF is left as it is", error=True)
            return None
        gallery = (
            self.gallery if self.bank is None else self.gallery.remembering(self.trained.model, self.bank)
        )
        return gallery, calibrate(self.trained.model, gallery, self.trained.config.eval, policy), policy

    @cached_property
    def known(self) -> Known | None:
        """The bank at the strengths that the run has chosen for exact search on its reward split."""
        chosen = (self.trained.results.get("memory") or {}).get("fixed", {}).get("search")
        if self.bank is None or chosen is None:
            return None
        strengths = {name: (own["recall"], own["hubness"]) for name, own in chosen.items()}
        source = f"{len(self.bank.memory):,} pairs, strengths of the run's reward split"
        return Known(self.bank.memory, strengths, source)

    def shifted_vectors(self, shift: str) -> NDArray[np.float32]:
        """Embeddings ``[M, E]`` of the shapes under a shift, without a trace on disk."""
        seed = self.trained.config.data.seed
        seen = ShiftedDataset(self.corpus.dataset, parse_shift(shift), seed, self.indices.numpy())
        return self._clouds(seen, self.indices)

    def facts(self) -> dict[str, Any]:
        """What the numbers are of."""
        config, dataset = self.trained.config, self.corpus.dataset
        return {
            "data": {
                "name": dataset.name,
                "hash": dataset.hash,
                "variant": self.variant,
                "shapes": len(self.indices),
                "captions": len(self.corpus.unique_texts(self.indices)),
                "categories": len(self.classes.names),
                "left_out": self.left_out,
                "up_axis": dataset.up_axis,
                "points": config.model.points,
                "normalization": "centered at the mean, the farthest point at 1",
                "missing_color": "0.4 gray",
            },
            "text_encoder": config.train.text_encoder,
        }

    def published_set(self, settings: Mapping[str, Any]) -> tuple[ShapeDataset, NDArray[np.float32]]:
        """Another set of the benchmark, by its own settings: its shapes, and their embeddings ``[n, E]``."""
        dataset = _other_dataset(self.trained, self.asked, settings)
        return dataset, self._clouds(dataset, torch.arange(len(dataset)))

    def _clouds(self, seen: ShapeDataset | ShiftedDataset, indices: Tensor) -> NDArray[np.float32]:
        config, model, parts = self.trained.config.model, self.trained.model, []
        with frozen(model):
            for piece in indices.split(CHUNK):
                rows = piece.numpy()
                points, colors, size_m = (
                    torch.from_numpy(column(rows)) for column in (seen.points, seen.colors, seen.size_m)
                )
                shapes = prepare_shapes(points, colors, size_m, config)
                parts.append(model.encode_shapes(shapes.to(self.device)).embedding.float().cpu())
        return torch.cat(parts).numpy()

    @cached_property
    def strangers(self) -> Vectors:
        """Other shapes of the run's data in an order that is drawn by the seed, then made ones where asked.

        Raises:
            UserError: Made shapes have another axis up than the run's.
        """
        own = self._other_shapes()
        wanted = max(self.asked.sizes or (0,)) - len(self.indices) - len(own)
        if wanted <= 0 or not self.asked.generate:
            return own
        hashes, texts = self.corpus.dataset.content_hashes, self.corpus.unique_texts(self.indices).tolist()
        made = generated_vectors(
            self.trained,
            wanted,
            {normalize_caption(self.corpus.captions[text]) for text in texts},
            {hashes[index] for index in self.indices.tolist()},
            self.device,
        )
        return joined(own, made)

    def _other_shapes(self) -> NDArray[np.float32]:
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

    @cached_property
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
    dataset = _other_dataset(trained, asked, asked.sets[0])
    every = {"test": torch.arange(len(dataset))}
    encoder, cache = encoder_of(trained, device), _cache(trained)
    return encoded_corpus(dataset, every, encoder, trained.config.model, cache, "encoding captions")


def _other_dataset(trained: Trained, asked: Asked, further: Mapping[str, Any]) -> ShapeDataset:
    """The shapes of the other source, by the settings of the command line and further ones."""
    config, own, label = trained.config, trained.corpus.dataset, f"data={asked.data}"
    dataset = named_dataset(asked, config.data, _cache(trained), own.num_points, further)
    if dataset.up_axis != own.up_axis:
        raise UserError(
            f"{label}: {dataset.up_axis} points up there, {own.up_axis} in the run's data={own.name}; "
            "evaluate it on shapes that are turned"
        )
    return dataset


def _cache(trained: Trained) -> Path:
    return (trained.config.cache or default_cache()).expanduser()

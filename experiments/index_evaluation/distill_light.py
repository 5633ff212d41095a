"""Training of the light re-ranker to rank as HAF does, on the split that the run was trained on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from align3d.console.progress import Tracker
from durable.checksums import find_named, write_named
from experiments.console.process import generator
from experiments.index_evaluation.load_run import Trained, shapes_of, texts_of
from models import AlignmentModel, PointHierarchy, TextEmbedding
from models.rerank.cached_haf import compact_shapes, compact_texts, fine_scores
from models.rerank.late_interaction import LightHead

LIGHT, SUFFIX = "light", ".safetensors"
SHAPES = 5_000
TEXTS = 1_500
CANDIDATES = 24
STEPS = 300
BATCH = 24
LEARNING_RATE = 4e-3
LABELS = 0.5
"""Weight of the labels beside HAF's own order."""
LEVEL = 0.3
"""Weight of HAF's scores as they are: one text's order among shapes leaves a constant of each text free, and
a shape chooses among texts."""


@dataclass
class Lessons:
    """Captions with their nearest shapes, and what HAF makes of them.

    Attributes:
        text: Batch ``[B]``.
        candidates: ``[B, C]`` among the shapes, a right one always included.
        right: ``[B, C]`` bool.
        coarse: ``[B, C]`` logits of the global embeddings.
        fine: ``[B, C]`` HAF's scores.
    """

    text: TextEmbedding
    candidates: Tensor
    right: Tensor
    coarse: Tensor
    fine: Tensor


def light_head(trained: Trained, folder: Path, device: torch.device, seed: int = 0) -> LightHead:
    """The light re-ranker of a run, from a file if it was trained for that run before.

    Args:
        trained: The run.
        folder: Where it is kept, in a file with its checksum in its name.
        device: Where it is trained.
        seed: Of the captions it learns from, the weights and the batches.
    """
    torch.manual_seed(seed)
    head = LightHead(trained.config.model.width, trained.model.points.level_sizes).to(device)
    settings = (SHAPES, TEXTS, CANDIDATES, STEPS, BATCH, LEARNING_RATE, LABELS, LEVEL, seed)
    key = json.dumps(
        [trained.results["dataset"]["hash"], trained.results["steps"], fingerprint(trained.model), settings]
    )
    path = find_named(folder, LIGHT, SUFFIX)
    if path is not None and key_of(path) == key:
        head.load_state_dict(load_file(path, device=str(device)))
        return head.requires_grad_(False)
    indices = trained.corpus.splits["train"]
    if len(indices) > SHAPES:  # enough look-alikes; a large library need not be encoded for this
        drawn = torch.randperm(len(indices), generator=generator(seed, "light", "shapes"))[:SHAPES]
        indices = indices[drawn.sort().values]
    shapes = shapes_of(trained, indices, device)
    lessons = lessons_of(trained, indices, shapes, device, seed)
    fit(head, lessons, shapes, seed)
    write_named(folder, LIGHT, SUFFIX, partial(save_file, head.state_dict(), metadata={"key": key}))
    return head.requires_grad_(False)


def lessons_of(
    trained: Trained, indices: Tensor, shapes: PointHierarchy, device: torch.device, seed: int
) -> Lessons:
    """Draws captions of the shapes at ``indices`` and lets HAF score their nearest shapes."""
    corpus, model = trained.corpus, trained.model
    texts = corpus.unique_texts(indices)
    drawn = torch.randperm(len(texts), generator=generator(seed, "light"))[:TEXTS]
    texts = texts[drawn.sort().values]
    text = texts_of(trained, texts, device)
    similarity = text.embedding @ shapes.embedding.T
    candidates = similarity.topk(min(CANDIDATES, len(indices)), 1).indices
    positives = corpus.positives(texts, indices).to(device)
    none = ~positives.gather(1, candidates).any(1)
    candidates[none, -1] = positives[none].int().argmax(1)
    return Lessons(
        text=text,
        candidates=candidates,
        right=positives.gather(1, candidates),
        coarse=model.logit_scale * similarity.gather(1, candidates),
        fine=haf_scores(model, text, shapes, candidates),
    )


def haf_scores(model: AlignmentModel, text: TextEmbedding, shapes: PointHierarchy, rows: Tensor) -> Tensor:
    """HAF's scores ``[B, C]`` of texts against rows ``[B, C]`` of the shapes, under a progress bar."""
    kept, asked = compact_shapes(model.haf, shapes), compact_texts(model.haf, text)
    found = rows.new_zeros(rows.shape, dtype=torch.float32)
    with Tracker("HAF teaches", len(rows), "captions") as tracker:
        for queries in asked.lengths.argsort().split(4):
            found[queries] = fine_scores(model.haf, asked, kept, queries, rows[queries])
            tracker.advance(len(queries))
    return found


def fit(head: LightHead, lessons: Lessons, shapes: PointHierarchy, seed: int, steps: int = STEPS) -> float:
    """Trains the light re-ranker; the loss of the last tenth of the steps.

    The loss is the cross-entropy of HAF's distribution over the candidates and the light one's, both with
    the logits of the global embeddings, and that of the labels under the light scores alone, so that they
    have to earn every pair by themselves. The distance from HAF's own scores keeps texts comparable.
    """
    optimizer = torch.optim.AdamW(head.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    draws = generator(seed, "light", "batches")
    labels = lessons.right.float() / lessons.right.sum(1, keepdim=True)
    last: list[float] = []
    with Tracker("training the light re-ranker", steps) as tracker:
        for step in range(steps):
            rows = torch.randint(len(labels), (min(BATCH, len(labels)),), generator=draws).to(labels.device)
            length = int(lessons.text.mask[rows].sum(1).max())
            text = lessons.text.select(rows)
            text = TextEmbedding(
                text.tokens[:, :length], text.mask[:, :length], text.quantities[:, :length], text.embedding
            )
            scores = head.scores(text, shapes, lessons.candidates[rows])
            goal = (lessons.fine[rows] + lessons.coarse[rows]).softmax(-1)
            loss = -(goal * (scores + lessons.coarse[rows]).log_softmax(-1)).sum(-1).mean()
            loss = loss - LABELS * (labels[rows] * scores.log_softmax(-1)).sum(-1).mean()
            loss = loss + LEVEL * torch.nn.functional.smooth_l1_loss(scores, lessons.fine[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            if step >= steps - max(1, steps // 10):
                last.append(float(loss.detach()))
            tracker.advance(note=f"loss {float(loss.detach()):.3f}")
    return sum(last) / len(last)


def fingerprint(model: AlignmentModel) -> list[float]:
    """Changes with the model's weights."""
    return [float(parameter.double().sum()) for parameter in model.parameters()][:8]


def key_of(path: Path) -> str | None:
    """Key of what the head in a file was trained for; None if it has none."""
    with safe_open(path, framework="pt") as file:
        return (file.metadata() or {}).get("key")

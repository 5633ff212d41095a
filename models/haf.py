"""Hierarchical Attention Fusion: words attend to the patches, regions and the whole of a shape.

After Section "Hierarchical Attention Fusion" of 3DAlign-DAER (arXiv 2511.13211): ``A`` is tokens x points
and ``Z = A V``. Here every level of the point hierarchy has its own attention, gates weigh the levels token
by token, and each token is scored against what it is aligned with, see `models.token_score`. Above the whole
stands the library, known pairs that a calibration may weigh in (`models.library`). What is costly and depends
on one side alone is computed once per text or shape. The work is split where a calibration acts:

* `attend` computes the logits, once per (text, shape) pair;
* `fuse` turns logits into scores, and can be repeated under another `Calibration` without new products of
  queries and keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import torch
from tensordict import TensorClass
from torch import Tensor, nn

from models.calibration import Calibration
from models.config import ModelConfig
from models.layers import gather_rows, perceptron
from models.memory import LibraryEvidence, no_library
from models.points import AXIS_NODES, PointHierarchy
from models.quantity_evidence import quantity_evidence
from models.token_score import TokenScorer, evidence_along

HIDDEN = -1e4
"""Logit of a node that no token attends to; a finite one, as temperatures are multiplied with it."""
CANDIDATE_FIELDS = (
    "logits",
    "node_values",
    "evidence",
    "global_score",
    "recall",
    "hubness",
    "centers",
    "region",
)
"""Fields of `AttentionState` that have an axis of candidates, ``[B, C, ...]``."""


class AttentionState(TensorClass):
    """Quantities that stay fixed while the attention of ``B`` texts over ``C`` candidates each is calibrated.

    Batch size ``[B]``.

    Attributes:
        logits: ``[B, C, H, T, N]`` scaled query-key products, the levels one after the other along ``N``.
        node_values: ``[B, C, H, N, D/H]``.
        tokens: ``[B, T, D]`` text tokens.
        gate_logits: ``[B, T, L]``.
        token_logits: ``[B, T]``, minus infinity at padding.
        mask: ``[B, T]`` bool, true at real tokens.
        evidence: ``[B, C, T, 3, EVIDENCE]`` what measures say of numbers, see `models.quantity_evidence`.
        global_score: ``[B, C]`` logit of the global embeddings.
        centers: ``[B, C, N, 3]`` where the nodes are, in the unit sphere.
        region: ``[B, C, N]`` int64; ``R`` = no region.
        paired: ``[B]`` int64: the candidate that an association calibrates.
        recall: ``[B, C]`` logits of the library's recall, see `models.memory.LibraryEvidence`; 0 without a
            memory, and so are these:
        hubness: ``[B, C]`` logits.
        context: ``[B, len(CONTEXT)]``.
    """

    logits: Tensor
    node_values: Tensor
    tokens: Tensor
    gate_logits: Tensor
    token_logits: Tensor
    mask: Tensor
    evidence: Tensor
    global_score: Tensor
    centers: Tensor
    region: Tensor
    paired: Tensor
    recall: Tensor
    hubness: Tensor
    context: Tensor


@dataclass
class AttentionOutput:
    """The attention of ``B`` texts over ``C`` candidates, fused.

    Attributes:
        score: ``[B, C]`` logits: the fine-grained score plus that of the global embeddings, and under a
            calibration what the library says.
        attention: ``[B, C, H, T, N]``, each level of ``N`` sums to one.
        gates: ``[B, T, L]``, sum to one over levels.
        token_weights: ``[B, T]``, sum to one, zero at padding.
        token_scores: ``[B, C, T]`` each token's own score.
    """

    score: Tensor
    attention: Tensor
    gates: Tensor
    token_weights: Tensor
    token_scores: Tensor


class HierarchicalAttentionFusion(TokenScorer):
    """Fine-grained scores of (text, shape) pairs from attention over a point hierarchy.

    Args:
        config: Sizes.
        level_sizes: Nodes at each level, fine to coarse; they sum to ``N``.
    """

    def __init__(self, config: ModelConfig, level_sizes: tuple[int, ...]) -> None:
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.regions = config.regions
        self.level_sizes = level_sizes
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = perceptron(width, 2 * width, width)
        self.gate = nn.Linear(width, len(level_sizes))
        self.head = nn.Parameter(torch.zeros(len(level_sizes), config.heads))
        self.token_weight = nn.Linear(width, 1)
        self.make_score_layers(config)

    def attend(
        self,
        tokens: Tensor,
        mask: Tensor,
        quantities: Tensor,
        shapes: PointHierarchy,
        candidates: Tensor,
        global_score: Tensor,
        paired: Tensor | None = None,
        keys_values: tuple[Tensor, Tensor] | None = None,
        library: LibraryEvidence | None = None,
    ) -> AttentionState:
        """Products of queries and keys, and all else that calibration leaves alone.

        Args:
            tokens: ``[B, T, D]`` text tokens.
            mask: ``[B, T]`` bool.
            quantities: ``[B, T, 2]`` values and lengths in millimeters, NaN where a token is not a number.
            shapes: A gallery of shapes, nodes ``[M, N, D]``.
            candidates: ``[B, C]`` int64 indices into the gallery.
            global_score: ``[B, C]`` logits of the global embeddings.
            paired: ``[B]`` candidate whose association may be calibrated; by default the one with the best
                global score.
            keys_values: Of the gallery, from `project`; None makes them anew.
            library: What a memory says of the pairs; None is nothing.

        Returns:
            The state, batch ``[B]``.
        """
        batch, length, width = tokens.shape
        per_head = width // self.heads
        query = self.query(tokens).view(batch, 1, length, self.heads, per_head).transpose(2, 3)
        # keys and values are made once per shape and gathered per pair, not the other way round
        key, value = self.project(shapes) if keys_values is None else keys_values
        if library is None:
            library = no_library(global_score)
        logits = (query * per_head**-0.5) @ gather_rows(key, candidates)
        if shapes.hidden is not None:
            logits = logits.masked_fill(shapes.hidden[candidates][:, :, None, None], HIDDEN)
        return AttentionState(
            logits=logits,
            node_values=gather_rows(value, candidates),
            tokens=tokens,
            gate_logits=self.gate(tokens),
            token_logits=self.token_weight(tokens).squeeze(-1).masked_fill(~mask, -torch.inf),
            mask=mask,
            evidence=quantity_evidence(quantities, shapes.extent[candidates], shapes.spectrum[candidates]),
            global_score=global_score,
            centers=shapes.centers[candidates],
            region=shapes.region[candidates],
            paired=global_score.argmax(-1) if paired is None else paired,
            recall=library.recall,
            hubness=library.hubness,
            context=library.context,
            batch_size=[batch],
        )

    def project(self, shapes: PointHierarchy) -> tuple[Tensor, Tensor]:
        """Keys ``[M, H, d, N]`` and values ``[M, H, N, d]`` of a gallery, for many calls of `attend`.

        They are contiguous: a row that is gathered is a copy of one piece of memory.
        """
        split = (self.heads, shapes.nodes.shape[-1] // self.heads)
        key = self.key(shapes.nodes).unflatten(-1, split).permute(0, 2, 3, 1).contiguous()
        return key, self.value(shapes.nodes).unflatten(-1, split).transpose(1, 2).contiguous()

    def fuse(self, state: AttentionState, calibration: Calibration | None = None) -> AttentionOutput:
        """Scores under a calibration.

        Args:
            state: What `attend` returned, or rows of it.
            calibration: Batch ``[B]``; None leaves the attention as it is.

        Returns:
            Scores and maps.
        """
        logits = state.logits
        gate_logits, token_logits, head_logits = state.gate_logits, state.token_logits, self.head.unsqueeze(0)
        if calibration is not None:
            logits = self._calibrate(state, calibration)
            gate_logits = gate_logits + calibration.level.unsqueeze(1)
            token_logits = token_logits + calibration.token
            head_logits = head_logits + calibration.head
        maps = [x.softmax(-1) for x in logits.split(self.level_sizes, dim=-1)]
        gates, weight = self.level_head_weights(gate_logits, head_logits)  # [B, T, L], [B, H, T, L]
        values = state.node_values.split(self.level_sizes, dim=-2)
        # weighing what was gathered costs less than weighing the maps it was gathered by
        levels = [
            m @ v * w.unsqueeze(-1).unsqueeze(1)
            for m, v, w in zip(maps, values, weight.unbind(-1), strict=True)
        ]
        aligned = reduce(torch.add, levels).transpose(2, 3)  # [B, C, T, H, d]
        aligned = aligned.flatten(3)  # [B, C, T, D]
        axes = maps[-1][..., AXIS_NODES] * weight[..., -1].unsqueeze(-1).unsqueeze(1)  # [B, C, H, T, 3]
        evidence = evidence_along(axes.transpose(2, 3), state.evidence)  # [B, C, T, H * EVIDENCE]
        token_scores = self.score_tokens(self.token_queries(state.tokens), aligned, evidence)
        token_weights = token_logits.softmax(-1)
        fine = torch.einsum("bt,bct->bc", token_weights, token_scores)
        attention = torch.cat(maps, dim=-1)
        score = fine + state.global_score
        if calibration is not None:
            score = score + library_score(state, calibration)
        return AttentionOutput(score, attention, gates, token_weights, token_scores)

    def level_head_weights(self, gate_logits: Tensor, head_logits: Tensor) -> tuple[Tensor, Tensor]:
        """Weights of what each level and head has gathered.

        Args:
            gate_logits: ``[B, T, L]``.
            head_logits: ``[B or 1, L, H]``.

        Returns:
            The gates over levels ``[B, T, L]``, and the weights ``[B, H, T, L]``: of a level's, the mean over
            heads is its gate.
        """
        gates = gate_logits.softmax(-1)
        heads = head_logits.softmax(-1) * self.heads
        return gates, torch.einsum("btl,blh->bhtl", gates, heads.expand(len(gates), -1, -1))

    def _calibrate(self, state: AttentionState, calibration: Calibration) -> Tensor:
        """Logits under temperatures and associations, ``[B, C, H, T, N]``."""
        sharpness = self._per_node(calibration.temperature.exp())  # [B, N]
        logits = state.logits * sharpness[:, None, None, None, :]
        rows = torch.arange(len(logits), device=logits.device)
        region = state.region[rows, state.paired]  # [B, N]
        bias = nn.functional.pad(calibration.association, (0, 1))  # [B, T, R + 1]
        bias = bias.gather(2, region.unsqueeze(1).expand(-1, bias.shape[1], -1))  # [B, T, N]
        is_paired = nn.functional.one_hot(state.paired, logits.shape[1]).to(bias)  # [B, C]
        return logits + is_paired[:, :, None, None, None] * bias[:, None, None]

    def _per_node(self, per_level: Tensor) -> Tensor:
        """Repeats ``[..., L]`` to ``[..., N]``."""
        repeats = torch.tensor(self.level_sizes, device=per_level.device)
        return per_level.repeat_interleave(repeats, dim=-1, output_size=sum(self.level_sizes))


def library_score(state: AttentionState, calibration: Calibration) -> Tensor:
    """Score term of the library, ``[B, C]`` logits: recall for a candidate, hubness against it."""
    recall, hubness = calibration.memory.unsqueeze(1), calibration.hubness.unsqueeze(1)
    return recall * state.recall - hubness * state.hubness


def overrides(haf: HierarchicalAttentionFusion, *methods: str) -> list[str]:
    """Those of the methods that are not HAF's own, because a subclass or somebody else has replaced them."""
    own = HierarchicalAttentionFusion
    return [m for m in methods if getattr(getattr(haf, m), "__func__", None) is not getattr(own, m)]


def refuse_overrides(haf: HierarchicalAttentionFusion, who: str, *methods: str) -> None:
    """Refuse a HAF with methods replaced that somebody works out in a way of their own.

    Args:
        haf: The model.
        who: Works them out.
        methods: What is worked out.

    Raises:
        ValueError: One of them is not HAF's own.
    """
    for name in overrides(haf, *methods):
        raise ValueError(
            f"{type(haf).__name__} overrides {name}, of which {who} would know nothing; put the change into "
            "score_tokens, token_queries or level_head_weights, which are followed everywhere"
        )

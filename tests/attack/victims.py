"""Table of what is attacked: each kind of file, who reads it, and what it holds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

Holds = Literal["numbers", "record", "nothing"]


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        name: Of the kind, for figures.
        glob: Its files in a world.
        readers: Functions of `tests.attack.world_readers` that read such a file; none where no program does.
        holds: What is lost with it: ``numbers`` that show in what the readers return, a ``record`` for
            people, whose loss is to be told of even where no number changes, or ``nothing`` that is missed.
        missing: Words of a refusal that may stand for its name where it is not there at all.
    """

    name: str
    glob: str
    readers: tuple[str, ...] = ()
    holds: Holds = "numbers"
    missing: tuple[str, ...] = ()

    def matches(self, path: Path) -> bool:
        """Whether a file, relative to the world, is of this kind."""
        return fnmatchcase(path.as_posix(), self.glob)


NEWEST = "checkpoints/step-00000012"
NO_RUN = ("no run there to resume", "give the folder of a run")
UNFINISHED = ("the run is not finished", "none of 1 runs is finished")
NO_INDEX = ("no index in",)
NO_DATASET = ("no dataset", "not a dataset")

KINDS = (
    Kind("run: settings", "run/config.yaml", ("finished", "searched", "tree"), missing=NO_RUN),
    Kind("run: results", "run/results.json", ("finished", "searched", "reported"), missing=UNFINISHED),
    Kind("run: clouds of its page", "run/attention.json", ("reported",)),
    Kind("run: metrics", "run/metrics.jsonl", ("finished",), "record"),
    Kind("run: metrics", "begun/metrics.jsonl", ("resumed",), "record"),
    Kind("run: settings", "begun/config.yaml", ("resumed",), missing=NO_RUN),
    Kind("checkpoint: state", f"run/{NEWEST}/state.json", ("searched",)),
    Kind("checkpoint: tensors", f"run/{NEWEST}/tensors.safetensors", ("searched", "tree")),
    Kind("checkpoint: state", f"begun/{NEWEST}/state.json", ("resumed",)),
    Kind("checkpoint: tensors", f"begun/{NEWEST}/tensors.safetensors", ("resumed",)),
    Kind("older checkpoint", "run/checkpoints/*", ("searched",), "nothing"),
    Kind("older checkpoint", "begun/checkpoints/*", (), "nothing"),
    Kind("run: memory", "run/memory.safetensors", ("known_pairs",)),
    Kind("run: memory", "begun/memory.safetensors", ("resumed",), "nothing"),
    Kind("run: index", "run/index/manifest.json", ("tree",)),
    Kind("run: index", "run/index/data-*/*", ("tree",)),
    Kind("run: index", "run/index.json", ("tree",)),
    Kind("library: header", "run/search/*/library.json", ("searched", "searched_dataset")),
    Kind("library: tensors", "run/search/*/*.safetensors", ("searched", "searched_dataset")),
    Kind("library: index", "run/search/*/index/manifest.json", ("searched", "searched_dataset")),
    Kind("library: index", "run/search/*/index/data-*/*", ("searched", "searched_dataset")),
    Kind("retrieval: light re-ranker", "run/retrieval/light*.safetensors", ("retrieval",)),
    Kind("retrieval: new shapes", "run/retrieval/new-*/*.safetensors", ("retrieval_new",)),
    Kind(
        "dataset: manifest",
        "dataset/manifest.json",
        ("dataset_trusted", "rebuilt", "searched_dataset"),
        missing=NO_DATASET,
    ),
    Kind("dataset: shards", "dataset/data-*.arrow", ("dataset_verified", "rebuilt", "dataset_trusted")),
    Kind("dataset: shards", "dataset/data-*.arrow", ("searched_dataset",)),
    Kind("dataset: rejections", "dataset/*rejections.jsonl", ("dataset_verified", "rebuilt")),
    Kind("dataset: lost colors", "dataset/*lost_colors.jsonl", ("dataset_verified", "rebuilt")),
    Kind("dataset: notes", "dataset/*notes.jsonl", ("dataset_verified", "rebuilt")),
    Kind("dataset: Hugging Face", "dataset/state.json", ("hugging_face",)),
    Kind("dataset: Hugging Face", "dataset/dataset_info.json", ("hugging_face",)),
    Kind("unfinished build", "unfinished.partial/*", ("built",)),
    Kind(
        "index: manifest",
        "index/manifest.json",
        ("index_loaded", "index_trusted", "index_tree"),
        missing=NO_INDEX,
    ),
    Kind("index: files", "index/data-*/*", ("index_loaded", "index_trusted", "index_tree")),
    Kind("cache: dataset", "cache/procedural-*/*", ("corpus",)),
    Kind("cache: texts", "cache/text/*.safetensors", ("corpus",)),
    Kind("cache: shapes", "cache/shapes/*.safetensors", ("corpus",)),
    Kind("cache: warm-ups", "cache/warmups/*/step-*/*", ("trained",)),
    Kind("other cache", "other_cache/*", (), "nothing"),
    Kind("kernels", "kernels/kept/*.kernel", ("compiled",)),
    Kind("locks", "*.lock", (), "nothing"),
    Kind("pictures and curves", "*.png", (), "nothing"),
    Kind("pictures and curves", "*/tensorboard/events.*", ("resumed",), "nothing"),
    Kind("reports", "report/*", (), "nothing"),
    Kind("reports", "begun/attention.json", (), "nothing"),
    Kind("reports", "*/results.html", (), "nothing"),
    Kind("reports", "dataset/README.md", (), "nothing"),
    Kind("reports", "run/retrieval/retrieval.json", (), "nothing"),
    Kind("what the user wrote", "meshes/*", (), "nothing"),
    Kind("what the user wrote", "kernels/*.py", (), "nothing"),
)

TRUSTING = ("index_trusted", "dataset_trusted")
"""Readers that are asked not to look at every byte: they may return other numbers, and nothing worse."""


COSTLY = ("resumed", "trained", "retrieval", "retrieval_new", "reported", "searched_dataset")
"""Readers that take half a second or more; the ordinary tests make fewer attacks on what they read."""


def kinds_of(path: Path) -> list[Kind]:
    """The kinds that a file, relative to the world, is of."""
    return [kind for kind in KINDS if kind.matches(path)]


def victims(kind: Kind, files: Iterable[Path]) -> list[Path]:
    """The files of a kind, those that a more special one above it in the table has left aside."""
    return [path for path in files if kinds_of(path)[:1] and kinds_of(path)[0].glob == kind.glob]

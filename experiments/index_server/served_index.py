"""What is served: a saved index of any kind, or the shapes of a run, behind one face."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from align3d.errors import UserError, settings_of
from experiments.index_server.protocol import Floats, Ints, ServedIndex
from experiments.index_server.serve_options import ServeOptions
from retrieval import ErsIndex, MemoryIndex, ShardedIndex
from retrieval.engines import engine_class
from retrieval.storage import MANIFEST, read_folder


class ServedVectors:
    """A saved index; ids and vectors, nothing of the model."""

    takes_words = False

    def __init__(self, index: Any, width: int, *, takes_changes: bool) -> None:
        self._index, self.width, self.takes_changes = index, width, takes_changes

    def __len__(self) -> int:
        return len(self._index)

    def search(self, queries: Floats, k: int, where: Any) -> tuple[Ints, Floats]:
        """See `ServedIndex`."""
        found: tuple[Ints, Floats] = self._index.search(queries, k, **({"where": where} if where else {}))
        return found

    def search_words(self, words: str, k: int, where: str | None) -> dict[str, Any]:
        """See `ServedIndex`; UserError, for vectors know no words."""
        raise UserError("words need run=FOLDER: an index knows vectors alone; send vectors")

    def change(self, what: str, *arguments: Any) -> None:
        """See `ServedIndex`."""
        getattr(self._index, what)(*arguments)

    def live(self) -> list[int]:
        """See `ServedIndex`."""
        return self._index.live if isinstance(self._index, ShardedIndex) else [1]

    def facts(self) -> dict[str, float]:
        """See `ServedIndex`."""
        if not isinstance(self._index, ShardedIndex):
            return {}
        return {"shards_asked": self._index.shards_asked, "replicas_revived": self._index.revived}

    def close(self) -> None:
        """See `ServedIndex`."""
        if isinstance(self._index, ShardedIndex):
            self._index.close()


class ServedRun:
    """The shapes of a run: by vectors its index, by words its model too."""

    takes_words, takes_changes = True, False

    def __init__(self, searcher: Any) -> None:
        self._searcher = searcher
        self.width = int(searcher.index.hierarchy.width)

    def __len__(self) -> int:
        return len(self._searcher)

    def search(self, queries: Floats, k: int, where: Any) -> tuple[Ints, Floats]:
        """See `ServedIndex`; ids are rows of the run's library."""
        found: tuple[Ints, Floats] = self._searcher.index.search(queries, k, where=where or None)
        return found

    def search_words(self, words: str, k: int, where: str | None) -> dict[str, Any]:
        """See `ServedIndex`."""
        found: dict[str, Any] = self._searcher.search(words, k, where).as_json()
        return found

    def change(self, what: str, *arguments: Any) -> None:
        """See `ServedIndex`; UserError."""
        raise UserError("a run's shapes are those of its data: they take no changes")

    def live(self) -> list[int]:
        """See `ServedIndex`."""
        return [1]

    def facts(self) -> dict[str, float]:
        """See `ServedIndex`."""
        return {}

    def close(self) -> None:
        """See `ServedIndex`."""


def open_served(options: ServeOptions) -> ServedIndex:
    """What the settings name.

    Raises:
        UserError: There is no such index or run, or it is damaged, or another process has it open.
    """
    if options.run is not None:
        from experiments.settings.reading import import_modules  # slow to load
        from experiments.shape_search.searcher import Searcher

        import_modules(options.imports)
        return ServedRun(Searcher(options.run, verify=options.verify, named=options.named))
    folder = options.index
    assert folder is not None
    with settings_of(f"index={folder}"):
        if not (folder / MANIFEST).is_file():
            raise ValueError(f"no index in {folder}: it has no {MANIFEST}")
        header = read_folder(folder, lambda header, _: header, verify=False)
        name = header.get("engine")
        if name == ShardedIndex.name:
            read: Callable[..., ShardedIndex] = ShardedIndex.open if options.changes else ShardedIndex.load
            index = read(folder, verify=options.verify, replicas=options.replicas, place=options.place)
            return ServedVectors(index, int(header["width"]), takes_changes=options.changes)
        if name == "memory":
            memory = MemoryIndex.load(folder, verify=options.verify)
            return ServedVectors(memory, memory.memory.width, takes_changes=False)
        kind = engine_class(str(name))
        if not hasattr(kind, "load"):
            raise ValueError(f"an index of engine {json.dumps(name)}, which cannot be opened")
        one: ErsIndex = kind.load(folder, verify=options.verify)
        return ServedVectors(one, one.hierarchy.width, takes_changes=False)

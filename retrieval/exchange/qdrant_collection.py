"""Content of an index as a collection of Qdrant, in a folder or on a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from durable.errors import DamagedFileError, UserError
from retrieval.engines.base import library
from retrieval.exchange.arrow_files import FIX
from retrieval.exchange.index_content import ID, VECTOR, Exported, IndexContent, batches_of
from retrieval.validation import check_content

COLLECTION = "index"
_TOGETHER = 256


def write_qdrant(index: Exported, place: str, collection: str = COLLECTION) -> int:
    """Writes a collection; metadata become the payload of its points.

    Args:
        index: Whose content is written. One that ranks by the cosine makes a collection that does.
        place: A new folder (Qdrant's local mode), or the address of a server, ``http://…``.
        collection: Its name; there is none of it yet.

    Returns:
        How many vectors.

    Raises:
        ValueError: As `batches_of`, or the folder or the collection is there.
        MissingEngineError: The client is not installed.
    """
    models: Any = library("qdrant", "qdrant_client.models", FIX)
    if not _is_address(place) and Path(place).exists():
        raise ValueError(f"{place} is there; name a new folder")
    cosine = getattr(index, "metric", "ip") == "cosine"
    distance = models.Distance.COSINE if cosine else models.Distance.DOT
    batches = batches_of(index)
    first = next(batches)
    client, count = _client(place), 0
    try:
        if client.collection_exists(collection):
            raise ValueError(f"{place} has a collection {collection!r}; name another")
        width = first.schema.field(VECTOR).type.list_size
        client.create_collection(
            collection, vectors_config=models.VectorParams(size=width, distance=distance)
        )
        for batch in (first, *batches):
            for at in range(0, len(batch), _TOGETHER):
                some = batch.slice(at, _TOGETHER)
                payloads = some.drop_columns([ID, VECTOR]).to_pylist()
                points = models.Batch(
                    ids=some[ID].to_pylist(), vectors=some[VECTOR].to_pylist(), payloads=payloads
                )
                client.upsert(collection, points)
            count += len(batch)
    finally:
        client.close()
    return count


def read_qdrant(place: str, collection: str = COLLECTION) -> IndexContent:
    """The content of a collection of one vector a point, whose ids are whole numbers.

    Raises:
        DamagedFileError: There is none, or its points are no index's.
        MissingEngineError: The client is not installed.
    """
    if not _is_address(place) and not Path(place).is_dir():
        raise DamagedFileError(f"{place}: cannot be read (no such folder)")
    client = _client(place)
    points: list[Any] = []
    try:
        if not client.collection_exists(collection):
            raise DamagedFileError(f"{place} has no collection {collection!r}")
        offset: Any = None
        while True:
            some, offset = client.scroll(
                collection, limit=_TOGETHER, offset=offset, with_vectors=True, with_payload=True
            )
            points += some
            if offset is None:
                break
    finally:
        client.close()
    try:
        vectors = np.array([point.vector for point in points], np.float32)
        vectors, ids = check_content(vectors, np.array([point.id for point in points]))
        payloads = [point.payload or {} for point in points]
        names = list(payloads[0])
        if any(set(own) != set(names) for own in payloads):
            raise ValueError("points with different payloads")
        metadata = {name: _values(name, [own[name] for own in payloads]) for name in names}
    except (TypeError, ValueError) as error:
        raise DamagedFileError(f"{place}, collection {collection!r}: {error}") from error
    return IndexContent(vectors, ids, metadata)


def _values(name: str, values: list[Any]) -> Any:
    if all(isinstance(value, str) for value in values):
        texts = np.empty(len(values), object)
        texts[:] = values
        return texts
    if not all(isinstance(value, int | float) for value in values):
        raise ValueError(f"payload {name!r}: expected texts or numbers")
    return np.array(values)


def _is_address(place: str) -> bool:
    return place.startswith(("http://", "https://"))


def _client(place: str) -> Any:
    client: Any = library("qdrant", "qdrant_client", FIX)
    try:
        return client.QdrantClient(url=place) if _is_address(place) else client.QdrantClient(path=place)
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"{place}: cannot be opened ({(str(error).splitlines() or ['?'])[0]})") from error

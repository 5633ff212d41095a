"""An index in the formats of others and back: the same vectors, ids, metadata and answers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from durable.errors import DamagedFileError
from experiments import export as command
from retrieval import ErsIndex, KnownPairs, MemoryIndex, ShardedIndex
from retrieval.ers.lengths import Metric
from retrieval.exchange import index_content
from retrieval.exchange.arrow_files import read_lance, read_parquet, write_lance, write_parquet
from retrieval.exchange.index_content import IndexContent
from retrieval.exchange.qdrant_collection import read_qdrant, write_qdrant

ROWS, WIDTH = 90, 8
PACKAGES = {"parquet": "pyarrow", "lance": "lance", "qdrant": "qdrant_client"}
WRITE: dict[str, Callable[[Any, Path], int]] = {
    "parquet": write_parquet,
    "lance": write_lance,
    "qdrant": lambda index, path: write_qdrant(index, str(path)),
}
READ: dict[str, Callable[[Path], IndexContent]] = {
    "parquet": read_parquet,
    "lance": read_lance,
    "qdrant": lambda path: read_qdrant(str(path)),
}


@pytest.fixture(autouse=True)
def _several_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_content, "CHUNK", 40)


@pytest.fixture(params=PACKAGES)
def form(request: pytest.FixtureRequest) -> str:
    pytest.importorskip(PACKAGES[request.param])
    return str(request.param)


def vectors_of(seed: int, rows: int = ROWS) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(rows, WIDTH))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def metadata(rows: int = ROWS) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    return {
        "name": [["a chair", "Tisch", "椅子", ""][n] for n in rng.integers(0, 4, rows)],
        "height": rng.normal(size=rows),
        "number": rng.integers(-(2**62), 2**62, rows),
    }


def built(kind: Any = ErsIndex, *, metric: Metric = "ip", columns: bool = True) -> Any:
    index = kind(metric=metric)
    ids = np.random.default_rng(2).permutation(10**6)[:ROWS]
    index.build(vectors_of(0), ids, metadata() if columns else None)
    index.remove(ids[:5])
    return index


def assert_same(content: IndexContent, index: Any) -> None:
    """Content in any order, and the answers of an index that is built of it."""
    order = np.argsort(content.ids)
    np.testing.assert_array_equal(content.ids[order], index.ids)
    vectors, columns = index.get(index.ids)
    np.testing.assert_allclose(content.vectors[order], vectors, rtol=0, atol=1e-6)
    assert set(content.metadata) == set(columns)
    for name, values in columns.items():
        assert content.metadata[name].dtype == values.dtype
        assert content.metadata[name][order].tolist() == values.tolist()
    again = ErsIndex(metric=getattr(index, "metric", "ip"))
    again.build(content.vectors, content.ids, content.metadata)
    where = {"name": "Tisch"} if columns else None
    found, expected = (own.search(vectors_of(3, 20), 5, refine=ROWS, where=where) for own in (again, index))
    np.testing.assert_array_equal(found[0], expected[0])


@pytest.mark.parametrize("kind", [ErsIndex, ShardedIndex])
@pytest.mark.parametrize("metric", ["ip", "cosine"])
def test_an_index_comes_back(form: str, kind: Any, metric: Metric, tmp_path: Path) -> None:
    index = built(kind, metric=metric)
    path = tmp_path / "folder" / "exported"
    assert WRITE[form](index, path) == ROWS - 5
    assert_same(READ[form](path), index)
    if form == "parquet":  # is replaced
        index.remove(index.ids[:3])
        assert WRITE[form](index, path) == ROWS - 8
        assert_same(READ[form](path), index)
    else:
        with pytest.raises(ValueError, match="is there; name a new folder"):
            WRITE[form](index, path)
    assert [entry.name for entry in path.parent.iterdir()] == ["exported"]


def test_vectors_without_metadata_and_around_a_memory_come_back(form: str, tmp_path: Path) -> None:
    index = built(columns=False)
    WRITE[form](index, tmp_path / "plain")
    assert_same(READ[form](tmp_path / "plain"), index)
    memory = MemoryIndex(ErsIndex(), KnownPairs(vectors_of(5, 50), vectors_of(6, 50)))
    memory.build(vectors_of(0), np.arange(ROWS))
    WRITE[form](memory, tmp_path / "memory")
    content = READ[form](tmp_path / "memory")
    np.testing.assert_allclose(content.vectors[np.argsort(content.ids)], vectors_of(0), atol=1e-6)


def test_others_read_what_was_written(tmp_path: Path) -> None:
    """By their own means: columns by name in Parquet, the nearest neighbors of Lance and of Qdrant."""
    index = built()
    query = vectors_of(4, 1)
    expected = index.search(query, 3, refine=ROWS)[0][0].tolist()
    write_parquet(index, tmp_path / "file.parquet")
    table = pq.read_table(tmp_path / "file.parquet")
    assert table.schema.names == ["id", "vector", "name", "height", "number"]
    assert table.schema.field("vector").type == pa.list_(pa.float32(), WIDTH)
    lance = pytest.importorskip("lance")
    write_lance(index, tmp_path / "file.lance")
    nearest = {"column": "vector", "q": query[0], "k": 3, "metric": "dot"}
    assert lance.dataset(str(tmp_path / "file.lance")).to_table(nearest=nearest)["id"].to_pylist() == expected
    qdrant = pytest.importorskip("qdrant_client")
    write_qdrant(index, str(tmp_path / "qdrant"))
    client = qdrant.QdrantClient(path=str(tmp_path / "qdrant"))
    found = client.query_points("index", query=query[0].tolist(), limit=3)
    assert [point.id for point in found.points] == expected
    client.close()


def test_what_is_no_index_is_refused_by_name(form: str, tmp_path: Path) -> None:
    with pytest.raises(DamagedFileError, match="nothing"):
        READ[form](tmp_path / "nothing")
    (tmp_path / "file").write_bytes(b"PAR1 and no more")
    with pytest.raises((DamagedFileError, ValueError), match="file"):
        READ[form](tmp_path / "file")
    named = ErsIndex()
    named.build(vectors_of(0), np.arange(ROWS), {"vector": np.arange(ROWS)})
    with pytest.raises(ValueError, match="metadata 'vector' has the name of a column"):
        WRITE[form](named, tmp_path / "named")
    assert not (tmp_path / "named").exists()
    named.remove(named.ids)
    with pytest.raises(ValueError, match="nothing to export"):
        WRITE[form](named, tmp_path / "named")


def test_tables_of_others_are_read_or_refused_by_column(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    sound = {"id": [3, 1], "vector": [[1.0, 2.0], [0.5, 1.0]], "name": ["a", "b"]}
    pq.write_table(pa.table(sound), path)
    content = read_parquet(path)
    assert (content.ids.tolist(), content.vectors.tolist()) == ([3, 1], sound["vector"])
    for change, message in (
        ({"id": [1.5, 2.0]}, "ids of type double: expected whole numbers"),
        ({"id": [1, 1]}, "id 1 is given 2 times"),
        ({"id": [1, None]}, "lacks values in the column 'id'"),
        ({"vector": [[1.0], [1.0, 2.0]]}, "vectors of 1 to 2 numbers: expected one length"),
        ({"vector": [[0.0, 0.0], [1.0, 2.0]]}, "row 0 is zero"),
        ({"vector": ["a", "b"]}, "vector of type string: expected lists of numbers"),
        ({"name": [True, False]}, "column 'name' of type bool"),
    ):
        pq.write_table(pa.table(sound | change), path)
        with pytest.raises(DamagedFileError, match=message):
            read_parquet(path)
    pq.write_table(pa.table({"id": [1]}), path)
    with pytest.raises(DamagedFileError, match="has no column 'vector': it has id"):
        read_parquet(path)


def test_the_command_exports_any_saved_index(form: str, tmp_path: Path, capsys: Any) -> None:
    index = built(ShardedIndex)
    index.save(tmp_path / "index")
    out = tmp_path / "out"
    words = [f"index={tmp_path / 'index'}", f"out={out}", f"format={form}"]
    assert command.main(words) == 0
    assert f"85 vectors written to {out}" in capsys.readouterr().out
    assert_same(READ[form](out), index)
    for wrong, message in (
        (words[:1], "index=FOLDER (a saved index) and out=PLACE"),
        ([f"index={tmp_path}", words[1]], "it has no manifest.json"),
        ([*words[:2], "format=csv"], "format"),
        ([words[0], f"out={tmp_path}", words[2]], f"out={tmp_path}"),
    ):
        assert command.main(wrong) == 2
        assert message in capsys.readouterr().err

"""The made-up sets: reproducible to the byte, growing without changing, as hard as they claim."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from retrieval import FlatIndex
from retrieval.benchmark.synthetic import (
    BLOCK,
    MIXTURES,
    Mixture,
    queries_of,
    vectors_of,
    write,
    write_vectors,
)

SMALL = Mixture(width=32, coarse=5, fine=4, rank=8)


def everything(recipe: Mixture, count: int, seed: int = 0) -> np.ndarray:
    return np.concatenate(list(vectors_of(recipe, count, seed)))


@pytest.mark.parametrize(("name", "least", "most"), [("easier", 0.5, 0.9), ("harder", 0.5, 0.95)])
def test_exact_search_answers_some_queries_but_not_all(name, least, most):
    recipe = MIXTURES[name]
    vectors, queries = everything(recipe, 20_000), queries_of(recipe, 20_000, 300)
    exact = FlatIndex()
    exact.build(vectors, np.arange(len(vectors)))
    found, _ = exact.search(queries.vectors, 10)
    right = found == queries.targets[:, None]
    assert least < right[:, 0].mean() < most
    assert right.any(1).mean() > right[:, 0].mean()


def test_equal_seeds_give_equal_bytes(tmp_path):
    for folder, seed in (("a", 3), ("b", 3), ("c", 4)):
        write(tmp_path / folder, SMALL, 1_000, 50, seed)
    for file in ("vectors.npy", "queries.npy", "targets.npy"):
        a, b, c = ((tmp_path / folder / file).read_bytes() for folder in "abc")
        assert a == b != c


def test_the_file_holds_what_the_blocks_hold(tmp_path: Path):
    count = BLOCK + 7
    write(tmp_path, SMALL, count, 10)
    stored = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    assert stored.shape == (count, 32)
    assert stored.dtype == np.float32
    np.testing.assert_array_equal(stored, everything(SMALL, count))


def test_a_larger_set_begins_with_the_smaller_one():
    np.testing.assert_array_equal(everything(SMALL, 500), everything(SMALL, BLOCK + 1)[:500])


def test_vectors_are_of_unit_length_and_queries_at_the_cosine_asked_for():
    recipe = replace(SMALL, cosine=(0.6, 0.8))
    vectors, queries = everything(recipe, BLOCK + 500), queries_of(recipe, BLOCK + 500, 400)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(queries.vectors, axis=1), 1, atol=1e-5)
    cosine = (vectors[queries.targets] * queries.vectors).sum(1)
    assert cosine.min() >= 0.6 - 1e-4
    assert cosine.max() <= 0.8 + 1e-4
    assert len(np.unique(queries.targets)) == 400


def test_tiny_sets_have_queries():
    assert np.isfinite(queries_of(SMALL, 2, 2).vectors).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"rank": 64}, "rank=64"), ({"cosine": (0.9, 0.1)}, "least, largest"), ({"gap": 2.0}, "gap=2.0")],
)
def test_mistakes_in_a_recipe_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **settings)


def test_more_queries_than_vectors_are_refused():
    with pytest.raises(ValueError, match="queries=3 of 2"):
        queries_of(SMALL, 2, 3)
    with pytest.raises(ValueError, match="count=0"):
        next(vectors_of(SMALL, 0))


def test_a_file_that_was_cut_off_goes_on(tmp_path: Path):
    count, path = BLOCK + 700, tmp_path / "v.npy"
    whole = np.array(write_vectors(tmp_path / "whole.npy", SMALL, count))
    np.testing.assert_array_equal(whole, everything(SMALL, count))
    content = (tmp_path / "whole.npy").read_bytes()
    for kept in (0, 100, len(content) // 2, len(content) - 5000, len(content) - 5):
        path.with_name("v.npy.part").write_bytes(content[:kept])
        told: list[int] = []
        write_vectors(path, SMALL, count, advance=told.append)
        assert path.read_bytes() == content
        assert sum(told) == count
        path.unlink()
    assert write_vectors(tmp_path / "whole.npy", SMALL, count).shape == (count, 32)


@pytest.mark.parametrize("name", ["v.npy", "v.npy.part"])
def test_a_file_of_other_vectors_is_refused(tmp_path: Path, name: str):
    write_vectors(tmp_path / "v.npy", SMALL, BLOCK + 1, 1)
    (tmp_path / "v.npy").rename(tmp_path / name)
    with pytest.raises(ValueError, match=f"{name} is of other vectors"):
        write_vectors(tmp_path / "v.npy", SMALL, BLOCK + 1, 2)

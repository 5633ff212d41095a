"""Hierarchical mixtures of unit vectors, with queries that are noisy views of their targets.

Shaped like embeddings of shapes and captions: a few coarse kinds, each with finer kinds of Zipf-like sizes;
within a kind vectors differ in a subspace that the coarse kind shares, whose spectrum decays. A query stands
at a given cosine from its target. It leaves it partly along differences within the target's own kind, which
makes neighbors confusable, partly along one direction that all queries share (the gap between two
modalities' embeddings: Liang et al., "Mind the gap", NeurIPS 2022), partly at random.

Every block of `BLOCK` vectors has a random generator of its own, derived from the seed and its number: memory
does not grow with the set, equal recipes and seeds give equal bytes, and a larger set of the same recipe
begins with the smaller one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from durable.whole_files import sync

BLOCK = 20_000
MEMBERS = 4
"""Vectors of the target's kind whose differences lead a query away from it."""
REWORDING = 0.3
"""Typical length of the difference between two queries of a stream for the same vector."""


@dataclass(frozen=True)
class Mixture:
    """A recipe. The lengths are those of the parts of a vector before it is normalized.

    Attributes:
        width: Dimensions.
        coarse: Coarse kinds.
        fine: Finer kinds in each.
        rank: Dimensions of the subspace in which a coarse kind's members differ.
        coarse_length: Of a coarse kind's centroid.
        fine_length: Of a finer kind's.
        within_length: Typical, of what a member differs by within its subspace.
        noise_length: Typical, of what it differs by in all directions.
        cosine: Least and largest cosine of a query with its target.
        confusion: Share of a query's squared displacement along differences within its target's kind.
        gap: Share of the rest along the direction that all queries share.
        decay: Dimension at which the centroids' spectrum has fallen to half its variance.
    """

    width: int = 256
    coarse: int = 60
    fine: int = 40
    rank: int = 30
    coarse_length: float = 0.6
    fine_length: float = 0.5
    within_length: float = 0.55
    noise_length: float = 0.12
    cosine: tuple[float, float] = (0.6, 0.8)
    confusion: float = 0.6
    gap: float = 0.35
    decay: float = 32.0

    def __post_init__(self) -> None:
        for name in ("width", "coarse", "fine", "rank"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: expected at least 1")
        if self.rank > self.width:
            raise ValueError(f"rank={self.rank}: expected at most width={self.width}")
        if not -1 <= self.cosine[0] <= self.cosine[1] <= 1:
            raise ValueError(f"cosine={self.cosine}: expected (least, largest) within [-1, 1]")
        for name in ("confusion", "gap"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)}: expected a share in [0, 1]")


#: Many tight kinds, in which a tree finds its way; and few wide ones, whose members fill their space.
MIXTURES = {"easier": Mixture(), "harder": replace(Mixture(), coarse=12, fine_length=0.25)}


@dataclass(frozen=True)
class Queries:
    """Queries of a mixture.

    Attributes:
        vectors: ``[Q, D]`` unit float32.
        targets: ``[Q]`` row of the vector that each is a view of.
    """

    vectors: NDArray[np.float32]
    targets: NDArray[np.int64]


def vectors_of(recipe: Mixture, count: int, seed: int = 0, first: int = 0) -> Iterator[NDArray[np.float32]]:
    """The vectors of a mixture in blocks of at most `BLOCK` rows: ``[n, D]`` unit float32.

    Args:
        recipe: The mixture.
        count: Vectors that there are.
        seed: Of everything.
        first: Number of the first block that is wanted.

    Raises:
        ValueError: Count is below 1.
    """
    _at_least_one("count", count)
    world = _World(recipe, seed)
    for block in range(first, -(-count // BLOCK)):
        yield world.block(block)[0][: count - block * BLOCK]


def queries_of(recipe: Mixture, count: int, queries: int, seed: int = 0) -> Queries:
    """Queries of the first ``count`` vectors of a mixture.

    Args:
        recipe: The mixture.
        count: Vectors that there are.
        queries: How many; targets are distinct.
        seed: The same as that of the vectors.

    Raises:
        ValueError: More queries than vectors, or fewer than one of either.
    """
    _at_least_one("count", count)
    _at_least_one("queries", queries)
    if queries > count:
        raise ValueError(f"queries={queries} of {count} vectors: expected at most as many, targets differ")
    world = _World(recipe, seed)
    draw = world.generator(2, count)
    targets = np.sort(draw.choice(count, queries, replace=False)).astype(np.int64)
    found = np.empty((queries, recipe.width), np.float32)
    gap = _unit(world.generator(3).standard_normal(recipe.width, dtype=np.float32))
    for block in np.unique(targets // BLOCK):
        here = np.flatnonzero(targets // BLOCK == block)
        vectors, kinds = world.block(int(block))
        vectors, kinds = vectors[: count - block * BLOCK], kinds[: count - block * BLOCK]
        rows = targets[here] - block * BLOCK
        alike = np.stack([_within_kind(world, vectors, kinds, row, draw) for row in rows])
        found[here] = _views(recipe, vectors[rows], alike, gap, draw)
    order = draw.permutation(queries)  # neighbors in time must not be neighbors in space
    return Queries(found[order], targets[order])


def stream_of(
    recipe: Mixture, count: int, *, targets: int, length: int, part: int = 0, seed: int = 0
) -> Queries:
    """A stream of queries in which few vectors are asked for, and some of them often.

    The popularity of the targets falls as 1 / rank (Zipf). Whoever asks for a target says it in nearly the
    same way: each query is that of `queries_of` and a random vector of length `REWORDING`.

    Args:
        recipe: The mixture.
        count: Vectors that there are.
        targets: How many of them are asked for.
        length: Queries in all.
        part: Parts differ in who asks when, not in what is asked for how often.
        seed: The same as that of the vectors.

    Raises:
        ValueError: See `queries_of`; or a length below 1.
    """
    _at_least_one("length", length)
    known = queries_of(recipe, count, targets, seed)
    draw = _World(recipe, seed).generator(4, part)
    chosen = draw.choice(targets, length, p=_zipf(targets, 1.0))
    other_words = draw.standard_normal((length, recipe.width), dtype=np.float32)
    queries = known.vectors[chosen] + REWORDING / np.sqrt(np.float32(recipe.width)) * other_words
    return Queries(_unit(queries), known.targets[chosen])


def write(folder: Path, recipe: Mixture, count: int, queries: int, seed: int = 0) -> None:
    """Writes ``vectors.npy`` (block by block), ``queries.npy`` and ``targets.npy`` into a folder.

    Args:
        folder: Is made if it is not there; the files in it are replaced.
        recipe: The mixture.
        count: Vectors.
        queries: Queries.
        seed: Of everything.

    Raises:
        ValueError: More queries than vectors, or fewer than one of either.
    """
    asked = queries_of(recipe, count, queries, seed)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vectors.npy").unlink(missing_ok=True)
    write_vectors(folder / "vectors.npy", recipe, count, seed)
    np.save(folder / "queries.npy", asked.vectors)
    np.save(folder / "targets.npy", asked.targets)


def write_vectors(
    path: Path, recipe: Mixture, count: int, seed: int = 0, advance: Callable[[int], None] | None = None
) -> NDArray[np.float32]:
    """Writes the vectors of a mixture into a file, block by block; one that was cut off goes on.

    Args:
        path: In NumPy's format. A file that is there, whole, is taken as it is; until it is whole it has the
            suffix ``.part``.
        recipe: The mixture.
        count: Vectors.
        seed: Of everything.
        advance: Called with the vectors that have been written since, those of before it among them.

    Returns:
        ``[count, D]`` float32 under a memory map.

    Raises:
        ValueError: Fewer than one vector, or the file is of others.
    """
    begin = next(vectors_of(recipe, count, seed))
    part, shape = path.with_name(path.name + ".part"), (count, recipe.width)
    if not path.exists():
        with part.open("r+b" if part.exists() else "w+b") as file:
            header = {"descr": "<f4", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            start, block_bytes = file.tell(), 4 * BLOCK * recipe.width
            done = max(0, file.seek(0, os.SEEK_END) - start) // block_bytes
            file.seek(start)
            if done and file.read(begin.nbytes) != begin.tobytes():
                raise ValueError(f"{part} is of other vectors: remove it, or choose another folder")
            file.truncate(start + done * block_bytes)
            file.seek(0, os.SEEK_END)
            if advance is not None:
                advance(min(done * BLOCK, count))
            for block in vectors_of(recipe, count, seed, done):
                file.write(block.tobytes())
                if advance is not None:
                    advance(len(block))
        sync(part)
        part.replace(path)
    elif advance is not None:
        advance(count)
    vectors: NDArray[np.float32] = np.load(path, mmap_mode="r")
    if vectors.shape != shape or (vectors[: len(begin)] != begin).any():
        raise ValueError(f"{path} is of other vectors: remove it, or choose another folder")
    return vectors


class _World:
    """Parameters that all vectors of a mixture share: centroids, subspaces, sizes of kinds."""

    def __init__(self, recipe: Mixture, seed: int) -> None:
        if seed < 0:
            raise ValueError(f"seed={seed}: expected 0 or more")
        self.recipe, self.seed = recipe, seed
        draw = self.generator(0)
        width, rank = recipe.width, recipe.rank
        spectrum = (1 + np.arange(width) / recipe.decay) ** -0.5
        turn = np.linalg.qr(draw.standard_normal((width, width)))[0]

        def directions(*shape: int) -> NDArray[np.float64]:
            return (draw.standard_normal((*shape, width)) * spectrum) @ turn

        self.coarse = _unit(directions(recipe.coarse)).astype(np.float32)
        self.fine = _unit(directions(recipe.coarse, recipe.fine)).astype(np.float32)
        spread = 1 / np.sqrt(1 + np.arange(rank) / 6.0)  # standard deviations within a kind, largest first
        spread /= np.linalg.norm(spread)
        bases = np.stack([np.linalg.qr(directions(rank).T)[0].T for _ in range(recipe.coarse)])
        self.bases = (bases * spread[:, None]).astype(np.float32)  # [C, r, D]
        self.coarse_share, self.fine_share = _zipf(recipe.coarse, 0.6), _zipf(recipe.fine, 0.5)

    def generator(self, *path: int) -> np.random.Generator:
        """The random numbers of one purpose: independent of all others."""
        return np.random.default_rng([self.seed, *path])

    def block(self, number: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Vectors ``[BLOCK, D]`` and their kinds ``[BLOCK, 2]``, coarse and fine."""
        draw = self.generator(1, number)
        kinds = np.stack(
            [
                draw.choice(self.recipe.coarse, BLOCK, p=self.coarse_share),
                draw.choice(self.recipe.fine, BLOCK, p=self.fine_share),
            ],
            axis=1,
        )
        return self.members(kinds, draw), kinds

    def members(self, kinds: NDArray[np.int64], draw: np.random.Generator) -> NDArray[np.float32]:
        """New members ``[n, D]`` of the kinds ``[n, 2]``."""
        recipe, count = self.recipe, len(kinds)
        inner = draw.standard_normal((count, recipe.rank), dtype=np.float32)
        result = draw.standard_normal((count, recipe.width), dtype=np.float32)
        result *= recipe.noise_length / np.sqrt(recipe.width)
        for kind in np.unique(kinds[:, 0]):
            rows = np.flatnonzero(kinds[:, 0] == kind)
            result[rows] += recipe.within_length * (inner[rows] @ self.bases[kind])
            result[rows] += recipe.coarse_length * self.coarse[kind]
        result += recipe.fine_length * self.fine[kinds[:, 0], kinds[:, 1]]
        return _unit(result)


def _within_kind(
    world: _World,
    vectors: NDArray[np.float32],
    kinds: NDArray[np.int64],
    row: int,
    draw: np.random.Generator,
) -> NDArray[np.float32]:
    """A unit direction ``[D]`` towards two others of a row's kind and away from two more.

    These are vectors of the set, so that the query comes nearer to some that are wrong. Where the row's finer
    kind has too few in its block the coarse kind's are taken, and where that has too few, new ones.
    """
    same = kinds[:, 0] == kinds[row, 0]
    same[row] = False
    closest = np.flatnonzero(same & (kinds[:, 1] == kinds[row, 1]))
    pool = closest if len(closest) >= MEMBERS else np.flatnonzero(same)
    if len(pool) >= MEMBERS:
        others = vectors[draw.choice(pool, MEMBERS, replace=False)]
    else:
        others = world.members(np.tile(kinds[row], (MEMBERS, 1)), draw)
    return _unit(others[0] + others[1] - others[2] - others[3])


def _views(
    recipe: Mixture,
    targets: NDArray[np.float32],
    alike: NDArray[np.float32],
    gap: NDArray[np.float32],
    draw: np.random.Generator,
) -> NDArray[np.float32]:
    """A query of each target ``[n, D]``: at a random cosine, in a random direction away from it."""
    noise = _unit(draw.standard_normal(targets.shape, dtype=np.float32))
    rest = 1 - recipe.confusion
    away = np.sqrt(recipe.confusion) * alike
    away += np.sqrt(recipe.gap * rest) * gap + np.sqrt((1 - recipe.gap) * rest) * noise
    away -= (away * targets).sum(1, keepdims=True) * targets
    cosine = draw.uniform(*recipe.cosine, (len(targets), 1)).astype(np.float32)
    return _unit(cosine * targets + np.sqrt(1 - cosine**2) * _unit(away)).astype(np.float32)


def _zipf(count: int, exponent: float) -> NDArray[np.float64]:
    share = 1 / np.arange(1, count + 1) ** exponent
    return share / share.sum()


def _unit(vectors: NDArray) -> NDArray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _at_least_one(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"{name}={value}: expected at least 1")

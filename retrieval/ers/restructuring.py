"""Splitting, merging and centering of leaves: a new tree in which most leaves are the old ones.

A leaf is cut by spherical k-means of its own vectors, merged by giving them to the leaves that are nearest,
centered by taking their mean. Vectors of leaves near by move if a new centroid is nearer than their own
(Xu et al., "SPFresh: incremental in-place update for billion-scale vector search", SOSP 2023), and are all
that is coded anew. The levels above are clustered anew out of the leaves' centroids, which are few.

Nothing of the old content is changed, so that searches may go on in it meanwhile.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from retrieval.ers.beam_search import nearest_leaves
from retrieval.ers.feedback import EdgeStatistics
from retrieval.ers.hierarchy import Floats, Ints, SemanticHierarchy, cluster, distinct
from retrieval.ers.inverted_lists import TRAINING_ROWS, Codec, Leaves
from retrieval.ers.lengths import longest
from retrieval.ers.relisting import relist
from retrieval.ers.state import IndexState, Routing
from retrieval.ers.vectors import VectorStore

NEIGHBORS = 96
"""Leaves around a new one whose vectors may move there."""
RIVALS = 64
"""New leaves that the vectors of an old one are compared with."""
SAMPLE = 2048
"""Vectors on which the codes' error is measured."""
_CHUNK = 16_384


def restructure(content: IndexState, parts: Ints, seed: int) -> Routing:
    """A routing in which some leaves are others.

    Args:
        content: What there is.
        parts: ``[M]`` what becomes of each leaf: -1 leaves it as it is, 0 gives its vectors to others, 1
            centers it, more cut it into so many; at least one must not be 0.
        seed: Of k-means.
    """
    living = content.ids.living_rows()
    leaf = content.leaf_of_row[living]
    touched = living[parts[leaf] >= 0]
    vectors = content.vectors.read(touched)
    fresh, source = _fresh_centroids(content, parts, touched, vectors, seed)
    kept = np.flatnonzero(parts < 0)
    centroids = np.concatenate([content.tree.centroids[-1][kept], fresh])
    tree, order = SemanticHierarchy.over(centroids, content.tree.depth, seed=seed)
    place = np.empty(len(order), np.int64)  # the number of each centroid as a leaf of the new tree
    place[order] = np.arange(len(order))
    origin = np.concatenate([kept, np.full(len(fresh), -1)])[order]
    leaves = nearest_leaves(tree, vectors, content.backend)
    drift = np.zeros(len(parts), np.int64)
    if len(fresh) and len(kept):
        moved = _drawn(content, living, leaf, kept, fresh)
        drift = np.bincount(content.leaf_of_row[moved[0]], minlength=len(parts))
        touched = np.concatenate([touched, moved[0]])
        vectors = np.concatenate([vectors, moved[1]])
        leaves = np.concatenate([leaves, place[len(kept) + moved[2]]])
        by_id = np.argsort(content.ids.of_row[touched])
        touched, vectors, leaves = touched[by_id], vectors[by_id], leaves[by_id]
    before = content.leaf_of_row[touched]
    codes = relist(content.leaves, tree.centroids[-1], origin, before, vectors, touched, leaves)
    number = np.zeros(len(parts), np.int64)
    number[kept] = place[: len(kept)]
    leaf_of_row = number[content.leaf_of_row]
    leaf_of_row[touched] = leaves
    sizes = codes.sizes()
    wear = dataclasses.replace(content.wear, made=sizes.copy(), turnover=np.zeros(len(order), np.int64))
    old = origin >= 0
    wear.made[old] = content.wear.made[origin[old]]
    centered = np.flatnonzero(parts[source] == 1)  # they have not been cut since they were made
    which = place[len(kept) + centered]
    wear.made[which] = np.minimum(wear.made[which], content.wear.made[source[centered]])
    wear.turnover[old] = (content.wear.turnover + drift)[origin[old]]
    wear.turnover[old] += np.bincount(leaves, minlength=tree.leaf_count)[old]
    wear.restructured += 1
    statistics = carried(content, tree, leaf_of_row)
    reach = longest(vectors, leaves, tree.leaf_count)
    reach[old] = np.maximum(reach[old], content.reach[origin[old]])
    return Routing(tree, statistics, codes, leaf_of_row, wear, reach)


def retrain(content: IndexState, seed: int) -> Routing:
    """The same tree with codes that are trained on what it holds."""
    living = content.ids.living_rows()
    codes = freshly_coded(
        content.tree, content.vectors, living, content.leaf_of_row, content.leaves.codec, seed
    )
    wear = dataclasses.replace(content.wear, untrained=0, code_error=np.nan)
    wear.retrained += 1
    return Routing(content.tree, content.statistics, codes, content.leaf_of_row, wear, content.reach)


def freshly_coded(
    tree: SemanticHierarchy, vectors: VectorStore, living: Ints, leaf_of_row: Ints, codec: Codec, seed: int
) -> Leaves:
    """Leaves whose codes are trained on what they hold.

    Args:
        tree: Of the leaves.
        vectors: Of all rows.
        living: ``[N]`` the rows that are coded.
        leaf_of_row: ``[n]`` the leaf of each row.
        codec: Of the codes.
        seed: Of the sample.
    """
    rng = np.random.default_rng([seed, len(living)])
    rows = living
    if len(living) > TRAINING_ROWS:
        rows = living[np.sort(rng.choice(len(living), TRAINING_ROWS, replace=False))]
    sample = rng.permutation(distinct(vectors.read(rows)))
    codes = Leaves.train(tree.centroids[-1], sample, codec)
    for at in range(0, len(living), _CHUNK):
        some = living[at : at + _CHUNK]
        codes.fill(vectors.read(some), some, leaf_of_row[some])
    codes.seal()
    return codes


def code_error(content: IndexState, seed: int) -> float:
    """The codes' relative squared error on a sample of the vectors, see `Leaves.error`; NaN without any."""
    count = len(content.ids)
    if not count:
        return np.nan
    if count <= SAMPLE:
        places = np.arange(count)
    else:
        places = np.sort(np.random.default_rng([seed, count]).choice(count, SAMPLE, replace=False))
    rows = content.ids.rows_at(places)
    return content.leaves.error(content.vectors.read(rows), content.leaf_of_row[rows])


def carried(content: IndexState, tree: SemanticHierarchy, leaf_of_row: Ints) -> EdgeStatistics:
    """Statistics of feedback carried over to the edges of another tree.

    A new leaf has the mean visits of the old leaves that its vectors come from, and of their successes the
    share of vectors that came; a node above has its children's successes and the most visits of a child,
    or its successes if these are more.

    Args:
        content: The old tree and its statistics.
        tree: The new one.
        leaf_of_row: ``[n]`` the new leaf of each row.
    """
    old = content.statistics
    new = EdgeStatistics(tree, old.half_life)
    new.total, new.weight = old.total, old.weight
    if not old.total:
        return new
    living = content.ids.living_rows()
    flow = content.leaf_of_row[living] * tree.leaf_count + leaf_of_row[living]
    flows, counts = np.unique(flow, return_counts=True)
    source, target = np.divmod(flows, tree.leaf_count)
    left = np.bincount(source, counts, minlength=content.tree.leaf_count)
    came = np.bincount(target, counts, minlength=tree.leaf_count)
    visits = np.zeros(tree.leaf_count)
    np.add.at(visits, target, old.visits[-1][source] * counts)
    new.visits[-1] = visits / np.maximum(came, 1)
    np.add.at(new.successes[-1], target, old.successes[-1][source] * counts / left[source])
    for level in range(tree.depth - 1, 0, -1):
        starts = tree.first_child[level][:-1]
        new.successes[level - 1] = np.add.reduceat(new.successes[level], starts)
        most = np.maximum.reduceat(new.visits[level], starts)
        new.visits[level - 1] = np.maximum(most, new.successes[level - 1])
    return new


def _fresh_centroids(
    content: IndexState, parts: Ints, rows: Ints, vectors: Floats, seed: int
) -> tuple[Floats, Ints]:
    """Centroids ``[F, D]`` that the leaves with ``parts`` above 0 become, and the leaf of each.

    Copies in a leaf count once, so that there may be fewer parts than asked for.
    """
    leaf = content.leaf_of_row[rows]
    order = np.argsort(leaf, kind="stable")
    centroids, source = [np.empty((0, content.tree.width), np.float32)], [np.empty(0, np.int64)]
    for number in np.flatnonzero(parts > 0).tolist():
        low, high = np.searchsorted(leaf[order], [number, number + 1])
        if low == high:
            continue
        members = vectors[order[low:high]]
        units = members / np.linalg.norm(members, axis=1, keepdims=True)
        if parts[number] == 1:
            mean = units.mean(axis=0, keepdims=True)
            means = mean / max(float(np.linalg.norm(mean)), 1e-12)
        else:
            units = distinct(units)
            means, assigned = cluster(units, min(int(parts[number]), len(units)), seed=seed)
            means = means[np.unique(assigned)]
        centroids.append(means.astype(np.float32))
        source.append(np.full(len(means), number))
    return np.concatenate(centroids), np.concatenate(source)


def _drawn(
    content: IndexState, living: Ints, leaf: Ints, kept: Ints, fresh: Floats
) -> tuple[Ints, Floats, Ints]:
    """Rows ``[n]`` of old leaves that are nearer to a fresh centroid, their vectors, and which one that is.

    Args:
        content: What there is.
        living: ``[N]`` the living rows.
        leaf: ``[N]`` their leaves.
        kept: ``[K]`` the leaves that stay.
        fresh: ``[F, D]`` the new centroids.
    """
    centroids = content.tree.centroids[-1]
    near, rivals = min(NEIGHBORS, len(kept)), min(RIVALS, len(fresh))
    similarities = centroids @ fresh.T
    around = np.zeros(len(centroids), bool)
    around[kept[np.argpartition(-similarities[kept], near - 1, axis=0)[:near]]] = True
    closest = np.argpartition(-similarities, rivals - 1, axis=1)[:, :rivals]
    candidates = np.flatnonzero(around[leaf])
    candidates = candidates[np.argsort(leaf[candidates], kind="stable")]
    rows: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    vectors: list[Floats] = [np.empty((0, centroids.shape[1]), np.float32)]
    nearest: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    for some in np.split(candidates, np.flatnonzero(np.diff(leaf[candidates])) + 1):  # leaf by leaf
        if len(some):
            here, own = content.vectors.read(living[some]), int(leaf[some[0]])
            products = here @ np.concatenate([centroids[own : own + 1], fresh[closest[own]]]).T
            best = products[:, 1:].argmax(axis=1)
            better = products[np.arange(len(some)), 1 + best] > products[:, 0] + 1e-6 * np.abs(products[:, 0])
            rows.append(living[some[better]])
            vectors.append(here[better])
            nearest.append(closest[own][best[better]])
    return np.concatenate(rows), np.concatenate(vectors), np.concatenate(nearest)

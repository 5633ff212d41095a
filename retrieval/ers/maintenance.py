"""Maintenance of an index that changes: what is owed after changes, and the way it is done.

An index that was built on other content than it holds finds less: leaves that grew hide their vectors behind
one centroid, leaves that lost theirs spend the beam, codes that were trained on other residuals say little.
Whenever a share `EVERY` of the vectors has changed, `MOST_PENDING` at most, it is looked at, and sooner where
`URGENT` of the vectors are more than leaves can take, as vectors of a new kind soon are:

- leaves that doubled are cut, those that lost three quarters are merged, those of whose vectors `EXCHANGED`
  came or went are centered; the largest are cut and the smallest merged until there are as many leaves as a
  fresh index of the size would have, to `TOLERANCE` (`retrieval.ers.restructuring`);
- codes whose relative error has grown by `WORSE` are trained anew, and all vectors coded;
- where `REBUILD_SHARE` of the vectors would have to move, the whole is built anew instead, for it costs no
  more.

A change pays for leaves of `MOVES` vectors, and what these draw from others; what is owed beyond that waits,
the worst leaves first. Training the codes, which moves all, waits until `RETRAIN_SHARE` of the vectors have
changed. Everything is prepared beside the index while searches go on in it, and then exchanged. What is done
depends on the content and its history alone, not on time or threads.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from retrieval.ers.construction import Recipe, rebuild
from retrieval.ers.hierarchy import Ints
from retrieval.ers.restructuring import carried, code_error, restructure, retrain
from retrieval.ers.state import IndexState, Routing

EVERY = 0.04
FEWEST, MOST_PENDING = 32, 8192
"""Changed vectors after which an index is looked at, however small or large it is."""
URGENT = 0.01
"""Share of the vectors, those counted that make a leaf more than twice as large as it was made for."""
MOVES = 10
EXCHANGED = 0.3
TOLERANCE = 0.05
WORSE = 1.15
RETRAIN_SHARE = 0.1
REBUILD_SHARE = 0.4
ROUNDS = 2
"""Times that leaves are looked at again after some were cut."""
MANY_PARTS = 64
"""Parts that a leaf is cut into at most at a time."""

Exchange = Callable[[Routing], None]


@dataclass(frozen=True)
class Health:
    """Maintenance that an index owes to its changes, and the cost of what was done.

    Attributes:
        live: Vectors.
        leaves: Leaves of the tree.
        wanted_leaves: Leaves that a fresh index of the same size would have.
        mean_leaf: Mean number of vectors in a leaf.
        largest_leaf: Vectors in the largest leaf.
        empty_leaves: Leaves without vectors.
        changed: Vectors put or removed since the tree was built.
        changed_share: ``changed`` by ``live``.
        pending: Vectors put or removed since the leaves were last looked at.
        owed_leaves: Leaves that are to be split, merged or centered.
        owed_share: Share of the vectors that lie in those.
        code_error: Squared error of the codes by that of none at all, on a sample; NaN without vectors.
        trained_code_error: The same when the codes were trained.
        restructured: How often leaves were split, merged or centered.
        retrained: How often the codes were trained anew.
        rebuilt: How often the whole was built anew.
        seconds: Time that these took.
        longest: Of this, the most that one change has waited for.
        worn: Whether the codes are to be trained anew, once `RETRAIN_SHARE` of the vectors have changed: this
            moves all of them in one call.
    """

    live: int
    leaves: int
    wanted_leaves: int
    mean_leaf: float
    largest_leaf: int
    empty_leaves: int
    changed: int
    changed_share: float
    pending: int
    owed_leaves: int
    owed_share: float
    code_error: float
    trained_code_error: float
    restructured: int
    retrained: int
    rebuilt: int
    seconds: float
    longest: float
    worn: bool

    @property
    def owes(self) -> bool:
        """Whether maintenance would do anything."""
        return self.owed_leaves > 0 or self.worn


def health(content: IndexState, recipe: Recipe) -> Health:
    """See `Health`."""
    wear, sizes, live = content.wear, content.leaves.sizes(), len(content.ids)
    owed, error = owed_parts(content, recipe) >= 0, code_error(content, recipe.seed)
    return Health(
        live=live,
        leaves=len(sizes),
        wanted_leaves=recipe.leaf_count(live),
        mean_leaf=live / len(sizes),
        largest_leaf=int(sizes.max()),
        empty_leaves=int((sizes == 0).sum()),
        changed=wear.changed,
        changed_share=wear.changed / max(live, 1),
        pending=wear.pending,
        owed_leaves=int(owed.sum()),
        owed_share=float(sizes[owed].sum() / max(live, 1)),
        code_error=error,
        trained_code_error=wear.code_error,
        restructured=wear.restructured,
        retrained=wear.retrained,
        rebuilt=wear.rebuilt,
        seconds=wear.seconds,
        longest=wear.longest,
        worn=are_worn(error, wear.code_error),
    )


def are_worn(error: float, trained: float) -> bool:
    """Whether codes have become worse than they were when they were trained, and by enough to be noticed."""
    return error > WORSE * trained + 0.005


def is_due(content: IndexState) -> bool:
    """Whether enough has changed to look at the leaves, or what came has come to few of them."""
    wear, live = content.wear, len(content.ids)
    if wear.pending >= max(FEWEST, min(EVERY * live, MOST_PENDING)):
        return True
    if wear.pending < FEWEST:
        return False
    sizes = content.leaves.sizes()
    beyond = sizes - 2 * np.maximum(wear.made, live / len(sizes))
    return bool(beyond[(beyond > 0) & (sizes <= MOVES * wear.pending)].sum() >= URGENT * live)


def maintain(content: IndexState, recipe: Recipe, exchange: Exchange) -> None:
    """Does what is owed, as far as the changes since the last time pay for it.

    Args:
        content: What there is; it is changed by ``exchange`` alone.
        recipe: By which a fresh index would be built.
        exchange: Puts a routing in the place of the content's.
    """
    live = len(content.ids)
    if not live:
        return
    start = time.perf_counter()
    budget = MOVES * content.wear.pending
    content.wear.pending = 0
    for _ in range(ROUNDS):
        parts, sizes = owed_parts(content, recipe), content.leaves.sizes()
        moves = int(sizes[parts >= 0].sum())
        if (moves > REBUILD_SHARE * live or not parts.any()) and budget >= live:
            exchange(rebuilt(content, recipe))
            break
        parts = _affordable(content, parts, budget)
        if (parts < 0).all():
            break
        budget -= int(sizes[parts >= 0].sum())
        exchange(restructure(content, parts, recipe.seed))
    _watch_codes(content, recipe, exchange)
    content.wear.took(time.perf_counter() - start)


def rebuilt(content: IndexState, recipe: Recipe) -> Routing:
    """A fresh tree and codes for all vectors; what feedback has taught is carried over."""
    fresh = rebuild(content, recipe)
    before = content.wear
    fresh.wear.restructured, fresh.wear.retrained = before.restructured, before.retrained
    fresh.wear.rebuilt = before.rebuilt + 1
    fresh.wear.seconds, fresh.wear.longest = before.seconds, before.longest
    return fresh._replace(statistics=carried(content, fresh.tree, fresh.leaf_of_row))


def owed_parts(content: IndexState, recipe: Recipe) -> Ints:
    """``[M]`` what each leaf should become, see `retrieval.ers.restructuring.restructure`."""
    wear, sizes, live = content.wear, content.leaves.sizes(), len(content.ids)
    parts = np.full(len(sizes), -1)
    if not live:
        return parts
    wanted = recipe.leaf_count(live)
    mean = live / wanted
    grown = sizes >= 2 * np.maximum(wear.made, mean)
    parts[wear.turnover >= np.maximum(1, EXCHANGED * np.maximum(sizes, wear.made))] = 1
    parts[grown] = np.clip(np.rint(sizes[grown] / mean), 2, MANY_PARTS)
    parts[(sizes == 0) | ((sizes < mean / 4) & (sizes <= wear.made / 4))] = 0
    lacking = wanted - int(np.where(parts < 0, 1, parts).sum())
    room = max(1, math.floor(TOLERANCE * wanted))
    if lacking > room:
        able = np.flatnonzero((np.abs(parts) == 1) & (sizes >= 1.25 * wear.made) & (sizes > mean))
        parts[able[np.argsort(-sizes[able], kind="stable")][:lacking]] = 2
    elif -lacking > room:
        able = np.flatnonzero((np.abs(parts) == 1) & (sizes <= 0.8 * wear.made) & (sizes < mean))
        parts[able[np.argsort(sizes[able], kind="stable")][:-lacking]] = 0
    return parts


def _affordable(content: IndexState, parts: Ints, budget: int) -> Ints:
    """Owed parts ``[M]``, the worst leaves first, as far as ``budget`` moved vectors go; one leaf stays."""
    wear, sizes = content.wear, content.leaves.sizes()
    worst = np.maximum(sizes / np.maximum(wear.made, 1), wear.turnover / np.maximum(sizes, 1))
    order = np.flatnonzero(parts >= 0)
    order = order[np.argsort(-worst[order], kind="stable")]
    chosen = np.full(len(parts), -1)
    paid = order[np.cumsum(sizes[order]) <= budget]
    chosen[paid] = parts[paid]
    if not chosen.any():
        chosen[sizes.argmax()] = 1
    return chosen


def _watch_codes(content: IndexState, recipe: Recipe, exchange: Exchange) -> None:
    """Trains the codes anew where they have become worse; notes how good they are after training."""
    wear = content.wear
    error = code_error(content, recipe.seed)
    if are_worn(error, wear.code_error) and wear.untrained >= RETRAIN_SHARE * len(content.ids):
        exchange(retrain(content, recipe.seed))
        wear, error = content.wear, code_error(content, recipe.seed)
    if math.isnan(wear.code_error):
        wear.code_error = error

import numpy as np
import pytest

from retrieval.ers.beam_search import FEW_QUERIES, descend, level_widths, nearest_leaves
from retrieval.ers.feedback import EdgeStatistics
from retrieval.ers.hierarchy import SemanticHierarchy, leaves_for


def clusters(rng: np.random.Generator, rows: int, width: int = 16, kinds: int = 20) -> np.ndarray:
    """Unit vectors around centers, the first kinds far more frequent than the last."""
    shares = 1 / np.arange(1, kinds + 1)
    centers = rng.normal(size=(kinds, width))
    x = centers[rng.choice(kinds, rows, p=shares / shares.sum())] + 0.4 * rng.normal(size=(rows, width))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return clusters(np.random.default_rng(0), 4000)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_every_leaf_hangs_under_one_branch(vectors: np.ndarray, depth: int) -> None:
    tree = SemanticHierarchy.train(vectors, 60, depth=depth)
    assert (tree.depth, tree.leaf_count, tree.width) == (depth, 60, 16)
    for level in range(depth):
        nodes = len(tree.centroids[level])
        assert tree.first_child[level][0] == 0
        assert tree.first_child[level][-1] == nodes
        assert (np.diff(tree.first_child[level]) >= 1).all()
        np.testing.assert_allclose(np.linalg.norm(tree.centroids[level], axis=1), 1, atol=1e-5)
    for leaf in range(60):
        node = leaf
        for level in range(depth - 1, -1, -1):
            assert tree.path(leaf)[level] == node
            node = tree.parents(level)[node]


def test_skewed_data_fill_leaves_evenly(vectors: np.ndarray) -> None:
    """The largest of 20 clusters is 20 times the smallest; no leaf is more than 4 times the mean."""
    sizes = np.bincount(nearest_leaves(SemanticHierarchy.train(vectors, 60), vectors), minlength=60)
    assert sizes.max() < 4 * sizes.mean()
    assert (sizes > 0).all()


def test_a_sample_smaller_than_the_tree_is_refused(vectors: np.ndarray) -> None:
    with pytest.raises(ValueError, match="3 vectors for 4 leaves"):
        SemanticHierarchy.train(vectors[:3], 4)
    with pytest.raises(ValueError, match="depth=0"):
        SemanticHierarchy.train(vectors, 4, depth=0)


def test_number_of_leaves_follows_the_square_root() -> None:
    assert leaves_for(1_000_000) == 4000
    assert leaves_for(1) == 1
    assert leaves_for(80) == 10


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("rows", [FEW_QUERIES, 100])
def test_a_beam_of_everything_ranks_all_leaves(vectors: np.ndarray, depth: int, rows: int) -> None:
    tree = SemanticHierarchy.train(vectors, 40, depth=depth)
    rng = np.random.default_rng(1)
    priors = [rng.normal(size=len(c)).astype(np.float32) / 10 for c in tree.centroids]
    queries = np.ascontiguousarray(vectors[:rows])
    kept, similarities = descend(tree, priors, queries, 40)
    exact = queries @ tree.centroids[-1].T
    np.testing.assert_array_equal(kept[-1], np.argsort(-(exact + priors[-1]), axis=1))
    np.testing.assert_allclose(similarities, np.take_along_axis(exact, kept[-1], 1), atol=1e-5)


def test_few_and_many_queries_go_down_alike(vectors: np.ndarray) -> None:
    tree = SemanticHierarchy.train(vectors, 200)
    blank = [np.zeros(len(c), np.float32) for c in tree.centroids]
    assert level_widths(tree, 2)[0] < len(tree.centroids[0])  # the beam really leaves branches out
    together, _ = descend(tree, blank, np.ascontiguousarray(vectors[:50]), 2)
    for row in range(50):
        alone, _ = descend(tree, blank, np.ascontiguousarray(vectors[row : row + 1]), 2)
        np.testing.assert_array_equal(alone[-1][0], together[-1][row])


def test_prior_is_the_formula_of_the_paper(vectors: np.ndarray) -> None:
    tree = SemanticHierarchy.train(vectors, 12)
    statistics = EdgeStatistics(tree, half_life=1e12)
    assert all((prior == 0).all() for prior in statistics.prior(1.0, 1.0))
    for leaf in (0, 0, 5):
        path = tree.path(leaf)
        statistics.record([np.array([node]) for node in path], path)
    top, leaf = tree.path(0)[0], 0
    at_root, at_leaves = statistics.prior(0.5, 0.25)
    below_top = 2 + (tree.path(5)[0] == top)
    # One visit is added to each count: 3 feedbacks are 4 visits of the root.
    assert at_root[top] == pytest.approx(0.5 * below_top / 4 + 0.25 * np.sqrt(np.log(4) / (below_top + 1)))
    visits = below_top + 1
    assert at_leaves[leaf] == pytest.approx(0.5 * 2 / visits + 0.25 * np.sqrt(np.log(visits) / 3))


def test_old_feedback_fades(vectors: np.ndarray) -> None:
    statistics = EdgeStatistics(SemanticHierarchy.train(vectors, 4, depth=1), half_life=10)
    for leaf, times in ((0, 50), (1, 10)):
        for _ in range(times):
            statistics.record([np.array([leaf])], [leaf])
    prior = statistics.prior(1.0, 0.0)[0]
    # Leaf 0 had 5 times the successes, the last of them 10 feedbacks ago, when each counted half.
    assert prior[0] == pytest.approx(prior[1], rel=0.05)

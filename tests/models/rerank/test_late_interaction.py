"""The compact forms of HAF and the light re-ranker against the plain ones."""

from __future__ import annotations

import numba
import numpy as np
import pytest
import torch

import compiling.instructions
from models import SIZES, AlignmentModel, PointHierarchy, TextEmbedding
from models.points import AXIS_NODES
from models.rerank.cached_haf import compact_shapes, compact_texts, fine_scores, quantise
from models.rerank.int8_products import BLOCK, ByteVectors, in_blocks, multiply
from models.rerank.late_interaction import LightHead
from models.rerank.late_interaction_kernel import scores_of_shapes, scores_of_texts

SHAPES, TEXTS, LENGTH, CANDIDATES = 9, 6, 7, 5
SIZE = SIZES["tiny"]


@pytest.fixture(scope="module")
def world() -> tuple[AlignmentModel, PointHierarchy, TextEmbedding]:
    """A model with random weights, random shapes, and texts of random lengths with numbers in them."""
    torch.manual_seed(0)
    model = AlignmentModel(SIZE, 8).eval().requires_grad_(False)
    nodes = sum(model.points.level_sizes)
    shapes = PointHierarchy(
        nodes=torch.randn(SHAPES, nodes, SIZE.width),
        centers=torch.randn(SHAPES, nodes, 3),
        region=torch.zeros(SHAPES, nodes, dtype=torch.int64),
        extent=3 * torch.rand(SHAPES, 3),
        spectrum=torch.rand(SHAPES, 3, 2, 64) ** 4,
        embedding=torch.nn.functional.normalize(torch.randn(SHAPES, SIZE.embedding), dim=-1),
    )
    lengths = torch.tensor([7, 3, 1, 5, 4, 6])
    mask = torch.arange(LENGTH) < lengths[:, None]
    quantities = torch.full((TEXTS, LENGTH, 2), torch.nan)
    quantities[0, 2] = torch.tensor([4.0, 4.0])
    quantities[0, 5] = torch.tensor([2.54, 2.54])
    quantities[3, 0] = torch.tensor([70.0, 1778.0])
    quantities[5, 1] = torch.tensor([0.5, 0.5])
    quantities[5, 3] = torch.tensor([12.0, torch.nan])  # volts
    quantities[4, 2] = torch.tensor([-1e12, 1e12])
    text = TextEmbedding(
        tokens=torch.randn(TEXTS, LENGTH, SIZE.width),
        mask=mask,
        quantities=quantities,
        embedding=torch.nn.functional.normalize(torch.randn(TEXTS, SIZE.embedding), dim=-1),
    )
    return model, shapes, text


@pytest.fixture(scope="module")
def head(world) -> LightHead:
    torch.manual_seed(1)
    return LightHead(SIZE.width, world[0].points.level_sizes, nodes=16, width=8).requires_grad_(False)


@pytest.mark.parametrize(("precision", "tolerance"), [("float16", 0.01), ("int8", 0.05)])
def test_compact_haf_scores_as_haf(world, precision, tolerance):
    model, shapes, text = world
    queries = torch.tensor([3, 0, 2])
    rows = torch.randint(SHAPES, (3, CANDIDATES), generator=torch.Generator().manual_seed(0))
    state = model.attend(text.select(queries), shapes, rows)
    expected = model.haf.fuse(state).score - state.global_score
    kept = compact_shapes(model.haf, shapes, precision)
    found = fine_scores(model.haf, compact_texts(model.haf, text), kept, queries, rows)
    assert torch.allclose(found, expected, atol=tolerance)


def test_8_bits_take_half_of_16(world):
    model, shapes, _ = world
    half, byte = (compact_shapes(model.haf, shapes, p) for p in ("float16", "int8"))
    nodes, width = shapes.nodes.shape[1:]
    assert half.bytes_per_shape - byte.bytes_per_shape == 2 * nodes * width - 2 * 2 * nodes
    with pytest.raises(ValueError, match="float16, int8"):
        compact_shapes(model.haf, shapes, "int4")


def test_codes_are_within_half_a_step():
    vectors = torch.randn(5, 16, generator=torch.Generator().manual_seed(0))
    codes, scale = quantise(vectors)
    error = (codes * scale.float()[:, None] - vectors).abs().amax(-1)
    assert (error <= 0.56 * scale.float()).all()  # the scale itself is rounded


def test_the_kernel_scores_as_the_formula(world, head):
    _, shapes, text = world
    draw = np.random.default_rng(0)
    queries, rows = np.arange(TEXTS), draw.integers(0, SHAPES, (TEXTS, CANDIDATES))
    expected = head.scores(text, shapes, torch.from_numpy(rows))
    found = scores_of_shapes(head.compress_texts(text), head.compress_shapes(shapes), queries, rows)
    assert found == pytest.approx(expected.numpy(), abs=0.03)
    assert np.std(found) > 0.1


def products(asked, blocks, starts, out) -> None:  # type: ignore[no-untyped-def]
    for token in range(len(asked)):
        for block in range(len(blocks)):
            multiply(
                asked[token].ctypes.data,
                blocks[block].ctypes.data,
                asked.shape[1],
                starts[token],
                out[token, block].ctypes.data,
            )


@pytest.mark.parametrize("with_instruction", [True, False])
def test_products_of_bytes_are_exact(monkeypatch, with_instruction):
    if not with_instruction:
        monkeypatch.setattr(compiling.instructions, "_HAS_DOT_BYTES", False)
    draw = np.random.default_rng(0)
    nodes = draw.integers(-127, 128, (1, 19, 48)).astype(np.int8)
    blocks = in_blocks(nodes)
    vectors = ByteVectors.of(torch.from_numpy(draw.normal(size=(5, 40)).astype(np.float32)))
    out = np.empty((5, 2, BLOCK), np.int32)
    numba.njit(products)(vectors.codes, blocks[0], vectors.starts, out)
    expected = vectors.codes.astype(np.int64) @ nodes[0].T.astype(np.int64)
    np.testing.assert_array_equal(out.reshape(5, -1)[:, -19:], expected)
    assert (out.reshape(5, -1)[:, :-19] == expected[:, :1]).all()  # the first node, repeated in front


def test_texts_and_shapes_of_different_heads_are_refused(world, head):
    _, shapes, text = world
    other = LightHead(SIZE.width, world[0].points.level_sizes, nodes=16, width=24)
    with pytest.raises(ValueError, match="tokens of length 32, nodes of 16"):
        scores_of_shapes(
            other.compress_texts(text), head.compress_shapes(shapes), np.array([0]), np.array([[0]])
        )


def test_both_directions_agree(world, head):
    _, shapes, text = world
    texts, kept = head.compress_texts(text), head.compress_shapes(shapes)
    every = scores_of_shapes(texts, kept, np.arange(TEXTS), np.tile(np.arange(SHAPES), (TEXTS, 1)))
    back = scores_of_texts(texts, kept, np.arange(SHAPES), np.tile(np.arange(TEXTS), (SHAPES, 1)))
    assert np.allclose(back.T, every, atol=1e-5)


def test_what_is_no_candidate_scores_nothing(world, head):
    _, shapes, text = world
    texts, kept = head.compress_texts(text), head.compress_shapes(shapes)
    found = scores_of_shapes(texts, kept, np.array([0]), np.array([[-1, 3]]))
    assert np.isneginf(found[0, 0])
    assert np.isfinite(found[0, 1])
    with pytest.raises(ValueError, match=f"candidate {SHAPES}"):
        scores_of_shapes(texts, kept, np.array([0]), np.array([[SHAPES]]))
    with pytest.raises(ValueError, match=f"query {SHAPES}"):
        scores_of_texts(texts, kept, np.array([SHAPES]), np.array([[0]]))


def test_the_axes_nodes_are_kept_last(world, head):
    sizes = world[0].points.level_sizes
    axes = list(range(sum(sizes[:-1]), sum(sizes)))[AXIS_NODES]
    assert head.kept[-3:].tolist() == axes
    assert len(head.kept) == 16
    with pytest.raises(ValueError, match="expected at least 8"):
        LightHead(SIZE.width, sizes, nodes=7)


def test_bytes_of_a_shape_of_the_small_model():
    small = SIZES["small"]
    head = LightHead(small.width, (small.patches, small.regions, 4))
    shapes = PointHierarchy(
        nodes=torch.randn(1, 76, small.width),
        centers=torch.zeros(1, 76, 3),
        region=torch.zeros(1, 76, dtype=torch.int64),
        extent=torch.zeros(1, 3),
        spectrum=torch.rand(1, 3, 2, 64),
        embedding=torch.zeros(1, small.embedding),
    )
    # 32 x 64 codes and their scales, the extents, 3 x 2 x 64 strengths and their scales
    assert head.compress_shapes(shapes).bytes_per_shape == 32 * 64 + 32 * 4 + 12 + 384 + 24

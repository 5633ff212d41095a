"""Gathered rows: equal to indexing, with gradients that are summed in one order."""

from collections.abc import Iterator

import pytest
import torch

from models.layers import gather_rows


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("shape", [(7, 3), (7, 2, 3), (7, 2, 3, 4)])
@pytest.mark.parametrize("index", [torch.tensor([[6, 0, 6], [2, 2, 2]]), torch.tensor(3), torch.tensor([])])
def test_rows_and_gradients_are_those_of_indexing(shape: tuple[int, ...], index: torch.Tensor) -> None:
    index = index.long()
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    own, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    found, expected = gather_rows(own[..., ::2], index), other[..., ::2][index]
    assert torch.equal(found, expected)
    assert found.is_contiguous()
    weight = torch.rand(expected.shape)
    (found * weight).sum().backward()
    (expected * weight).sum().backward()
    assert own.grad is not None
    assert other.grad is not None
    torch.testing.assert_close(own.grad, other.grad)


def test_gradients_are_equal_in_every_bit_when_threads_take_the_same_rows(two_threads: None) -> None:
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(32, 4, 512, generator=draws)
    index = torch.randint(32, (64, 16), generator=draws)
    above = torch.randn(64, 16, 4, 512, generator=draws)
    gradients = []
    for _ in range(12):
        leaf = x.clone().requires_grad_()
        gradients.append(torch.autograd.grad(gather_rows(leaf, index), leaf, above)[0])
    assert all(torch.equal(gradient, gradients[0]) for gradient in gradients)
    in_order = torch.zeros_like(x)
    for place, row in enumerate(index.flatten().tolist()):
        in_order[row] += above.flatten(0, 1)[place]
    assert torch.equal(gradients[0], in_order)

"""Numbers are looked up in what was measured on a shape."""

import math

import pytest
import torch

from models.quantity_evidence import (
    CHANNELS,
    COUNT_OFFSETS,
    EVIDENCE,
    SPECTRUM_GAIN,
    WIDTHS,
    quantity_evidence,
)

PERIOD = len(COUNT_OFFSETS) * CHANNELS
EQUAL = PERIOD + CHANNELS


def evidence(number: float, length: float, peak: int) -> torch.Tensor:
    """Evidence of a number along an axis of a length in millimeters with repetitions: ``[EVIDENCE]``."""
    spectrum = torch.zeros(1, 1, 3, CHANNELS, 64)
    spectrum[0, 0, 1, 0, peak - 1] = 0.1
    extent = torch.full((1, 1, 3), math.log2(length))
    found = quantity_evidence(torch.full((1, 1, 2), number), extent, spectrum)
    assert found.shape == (1, 1, 1, 3, EVIDENCE)
    return found[0, 0, 0, 1]


@pytest.mark.parametrize("count", [1, 2, 13, 40, 63])
def test_a_count_finds_its_repetitions(count: int) -> None:
    found = evidence(count, length=100.0, peak=count)
    assert found[:PERIOD].view(-1, CHANNELS)[:, 0].tolist() == pytest.approx(
        [0, 0.1 * SPECTRUM_GAIN, 0], abs=1e-4
    )
    assert evidence(count + 1, length=100.0, peak=count)[0] == pytest.approx(0.1 * SPECTRUM_GAIN, abs=1e-4)
    assert found[1:PERIOD:CHANNELS].abs().sum() == 0  # the other channel


def test_a_pitch_finds_its_repetitions() -> None:
    assert evidence(2.54, length=13 * 2.54, peak=13)[PERIOD] == pytest.approx(0.1 * SPECTRUM_GAIN, abs=1e-3)
    assert evidence(2.0, length=13 * 2.54, peak=13)[PERIOD] == 0


def test_a_length_is_compared_with_the_extent() -> None:
    same, near, far = (evidence(v, length=4.0, peak=1)[EQUAL:] for v in (4.0, 4.5, 16.0))
    assert same.tolist() == pytest.approx([1.0] * len(WIDTHS) + [0.0], abs=1e-6)
    assert near[0] < 1e-3 < near[-2] < 1
    assert far[:-1].max() < 1e-3
    assert far[-1] == pytest.approx(math.tanh(2.0))


def test_words_have_no_evidence_and_huge_numbers_do_no_harm() -> None:
    generator = torch.Generator().manual_seed(0)
    numbers = torch.tensor([[torch.nan, 9775056360, 0.0, 2.0]]).unsqueeze(-1).expand(-1, -1, 2)
    spectrum = torch.rand(1, 2, 3, CHANNELS, 64, generator=generator)
    found = quantity_evidence(numbers, torch.randn(1, 2, 3, generator=generator), spectrum)
    assert found[:, :, 0].abs().sum() == 0
    assert found.isfinite().all()
    assert found[:, :, 3].abs().sum() > 0


def test_fractions_are_interpolated() -> None:
    spectrum = torch.arange(1.0, 65.0).expand(1, 1, 3, CHANNELS, 64) / 64
    found = quantity_evidence(torch.full((1, 1, 2), 6.25), torch.zeros(1, 1, 3), spectrum)
    assert found[0, 0, 0, 0, CHANNELS] == pytest.approx(6.25 / 64 * SPECTRUM_GAIN, rel=1e-5)


def test_what_is_no_length_asks_only_how_often() -> None:
    spectrum = torch.rand(1, 1, 3, CHANNELS, 64)
    extent = torch.full((1, 1, 3), math.log2(12.0))
    length, volts = torch.tensor([[[12.0, 12.0]], [[12.0, math.nan]]]).unsqueeze(1).unbind(0)
    found = [quantity_evidence(q.view(1, 1, 2), extent, spectrum)[0, 0, 0] for q in (length, volts)]
    assert torch.equal(found[0][:, :PERIOD], found[1][:, :PERIOD])
    assert found[0][:, EQUAL:].abs().sum() > 0
    assert found[1][:, PERIOD:].abs().max() < 1e-12


@pytest.mark.parametrize("number", [0.0, -40.0, 1e-40, 1e38, math.inf])
def test_evidence_is_finite_and_so_is_its_gradient(number: float) -> None:
    extent = torch.full((1, 1, 3), 7.0, requires_grad=True)
    found = quantity_evidence(torch.full((1, 1, 2), number), extent, torch.rand(1, 1, 3, CHANNELS, 64))
    assert found.isfinite().all()
    found.sum().backward()
    assert extent.grad is not None
    assert extent.grad.isfinite().all()

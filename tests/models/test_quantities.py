"""Values and lengths are read off words, numbers and units."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from durable.plain_text import plain_text
from models.fourier import LARGEST
from models.quantities import prefers_decimal_comma, read_quantities
from models.words import tokenize

NO = math.nan
LENGTHS = [
    ("a 1x13 header, 2.54mm pitch", [(1, 1), (13, 13), (2.54, 2.54)]),
    ("a table 45 cm tall with three legs", [(45, 450), (3, 3)]),
    ("a box of 40 x 30 x 2.5 cm", [(40, 400), (30, 300), (2.5, 25)]),
    ("40×30×2.5 cm", [(40, 400), (30, 300), (2.5, 25)]),
    ("4*3 cm", [(4, 40), (3, 30)]),
    ("4.0x3mm and 2 by 4 m", [(4, 4), (3, 3), (2, 2000), (4, 4000)]),
    ("300 mils wide, 2 inches, Twelve teeth", [(300, 7.62), (2, 50.8), (12, 12)]),
    ("no number at all", []),
    # units in all spellings
    ("45 CM tall", [(45, 450)]),
    ("45cm", [(45, 450)]),
    ("45-cm", [(45, 450)]),
    ("45\u00a0cm", [(45, 450)]),
    ("45 centimeters tall", [(45, 450)]),
    ("45 Centimetres tall", [(45, 450)]),
    ("one centimetre", [(1, 10)]),
    ("0.45 m", [(0.45, 450)]),
    ("0.45 meters tall", [(0.45, 450)]),
    ("0.45 metre", [(0.45, 450)]),
    ("450 millimeters", [(450, 450)]),
    ("450 MM", [(450, 450)]),
    ("450000 µm", [(450000, 450)]),
    ("450000 μm", [(450000, 450)]),
    ("450000 um", [(450000, 450)]),
    ("35 microns", [(35, 0.035)]),
    ("2 dm", [(2, 200)]),
    ("18 inch", [(18, 457.2)]),
    ("18 Inches tall", [(18, 457.2)]),
    ("ten inches", [(10, 254)]),
    ("18 in tall", [(18, 457.2)]),
    ("18 in", [(18, 457.2)]),
    ("18 in. wide", [(18, 457.2)]),
    ("18in monitor", [(18, 457.2)]),
    ("1.5 x 2.5 in", [(1.5, 38.1), (2.5, 63.5)]),
    ('18" tall', [(18, 457.2)]),
    ("18″", [(18, 457.2)]),
    ("18'' tall", [(18, 457.2)]),
    ("18” tall", [(18, 457.2)]),
    ("1.5 ft tall", [(1.5, 457.2)]),
    ("1.5 feet", [(1.5, 457.2)]),
    ("a 3-foot pole", [(3, 914.4)]),
    ("1.5' tall", [(1.5, 457.2)]),
    ("4' x 6'", [(4, 1219.2), (6, 1828.8)]),
    ("5′ 10″", [(5, 1778), (10, 1778)]),
    ("5'10\"", [(5, 1778), (10, 1778)]),
    ("5 ft 10 in", [(5, 1778), (10, 1778)]),
    ("36W x 24D x 30H in", [(36, 914.4), (24, 609.6), (30, 762)]),
    ("500 mil", [(500, 12.7)]),
    ("20 thou", [(20, 0.508)]),
    ("2 yards", [(2, 1828.8)]),
    ("１２ｍｍ", [(12, 12)]),
    # how numbers are written
    ("2,54 mm", [(2.54, 2.54)]),
    ("0,125 mm", [(0.125, 0.125)]),
    ("1,000 mm long", [(1000, 1000)]),
    ("12,345,678 mm", [(12_345_678, 12_345_678)]),
    ("1,234.5 mm", [(1234.5, 1234.5)]),
    ("1.234,56 mm", [(1234.56, 1234.56)]),
    ("1.234.567 mm", [(1_234_567, 1_234_567)]),
    ("1.000 mm", [(1, 1)]),
    ("1,000 mm or 2,5 mm", [(1, 1), (2.5, 2.5)]),
    ("1,000 mm or 1,234.5 mm", [(1000, 1000), (1234.5, 1234.5)]),
    ("1 000 mm", [(1000, 1000)]),
    ("1\u202f000\u00a0000 mm", [(1_000_000, 1_000_000)]),
    ("1\u2009000 mm", [(1000, 1000)]),
    ("1'000 mm", [(1000, 1000)]),
    ("pins 1,2,3", [(1, 1), (2, 2), (3, 3)]),
    ("3/4 inch pipe", [(0.75, 19.05)]),
    ("½ inch", [(0.5, 12.7)]),
    ("1 ½ inch", [(1.5, 38.1)]),
    ('1½"', [(1.5, 38.1)]),
    ('1 1/2"', [(1.5, 38.1)]),
    ("1-1/2 inch", [(1.5, 38.1)]),
    ("2-3/4 inches", [(2.75, 69.85)]),
    ("half an inch", [(0.5, 12.7)]),
    ("threaded over one half", [(1, 1)]),
    (".5 mm", [(0.5, 0.5)]),
    ("5. legs", [(5, 5)]),
    ("1e-3 m", [(1e-3, 1)]),
    ("1.5E+3 mm", [(1500, 1500)]),
    ("2×10⁻³ m", [(2e-3, 2)]),
    ("2 x 10^3 mm", [(2000, 2000)]),
    ("an offset of -0.5 mm", [(-0.5, 0.5)]),
    ("±0.1 mm", [(0.1, 0.1)]),
    ("10 ±0.1 cm", [(10, 100), (0.1, 1)]),
    ("٣ mm", [(3, 3)]),
    # ranges
    ("10-20 mm", [(10, 10), (20, 20)]),
    ("10-20 cm", [(10, 100), (20, 200)]),
    ("10–20 cm", [(10, 100), (20, 200)]),
    ("10…20 cm", [(10, 100), (20, 200)]),
    ("10..20 cm", [(10, 100), (20, 200)]),
    ("10…20", [(10, 10), (20, 20)]),
    ("10 - 20 inches", [(10, 254), (20, 508)]),
    ("10 to 20 cm", [(10, 100), (20, 200)]),
    ("between 10 and 20 cm", [(10, 100), (20, 200)]),
    # words
    ("twenty-one pins", [(21, 21)]),
    ("sixty four pins", [(64, 64)]),
    ("thirty legs", [(30, 30)]),
    ("a dozen legs", [(12, 12)]),
    ("two dozen", [(24, 24)]),
    ("half a dozen", [(6, 6)]),
    ("a hundred and five holes", [(105, 105)]),
    ("two thousand three hundred mm", [(2300, 2300)]),
    ("one and a half meters", [(1.5, 1500)]),
    # no lengths
    ("-40 °C", [(-40, NO)]),
    ("-40…85 °C", [(-40, NO), (85, NO)]),
    ("12V/2A", [(12, NO), (2, NO)]),
    ("10-20 V", [(10, NO), (20, NO)]),
    ("10 kΩ ±1%", [(10, NO), (1, NO)]),
    ("5 kg", [(5, NO)]),
    ("3 Kilograms", [(3, NO)]),
    ("1/4W", [(0.25, NO)]),
    ("100 nF", [(100, NO)]),
    ("500 mm² of foil", [(500, NO)]),
    ("3 m/s", [(3, NO)]),
    ("10 square meters", [(10, NO)]),
    ("45°", [(45, NO)]),
    ("5 ft-lb", [(5, NO)]),
    # by rule
    ("8 in a row", [(8, 8)]),
    ("2 in 1", [(2, 2), (1, 1)]),
    ("four in line", [(4, 4)]),
    ("0.45M tall", [(0.45, 450)]),
    ("3 M tape", [(3, NO)]),
    ("4x M3", [(4, 4), (3, 3)]),
    ("M3x0.5", [(3, 3), (0.5, 0.5)]),
    ("on four feet", [(4, 4)]),
    ("four feet tall", [(4, 1219.2)]),
    ('a "18" on it', [(18, 18)]),
    ("the 1970s", [(1970, NO)]),
]
KICAD = [
    ("PinHeader 2x05 P2.54mm Vertical", [(2, 2), (5, 5), (2.54, 2.54)]),
    ("1x04", [(1, 1), (4, 4)]),
    ("SO-8", [(8, 8)]),
    ("SOT-23-5", [(23, 23), (5, 5)]),
    ("R_0603 L10.0mm", [(603, 603), (10, 10)]),
    ("M3", [(3, 3)]),
    ("4.9x4.9mm² body", [(4.9, 4.9), (4.9, 4.9)]),
    ("HC-51/6mm", [(51, 51), (6, 6)]),
    ("SMD 6x-dip-switch, row spacing 8.9 mm (350 mils)", [(6, 6), (8.9, 8.9), (350, 8.89)]),
    ("MSTBVA_2,5/11-G-5,08; 11 pins", [(2.5, 2.5), (11, 11), (5.08, 5.08), (11, 11)]),
    ("R-78E-0.5, IEC 60603-13", [(78, 78), (0.5, 0.5), (60603, 60603), (13, 13)]),
    ('(QR)-.150" Body', [(0.15, 3.81)]),
    ("ISO 7049-ST 2.2x6.5 C", [(7049, 7049), (2.2, 2.2), (6.5, 6.5)]),
]


def numbers(text: str, decimal_comma: bool = False) -> list[tuple[float, float]]:
    found = read_quantities([word for word, _, _ in tokenize(plain_text(text))], decimal_comma)
    return [tuple(row) for row in found[~found[:, 0].isnan()].tolist()]  # type: ignore[misc]


@pytest.mark.parametrize(("text", "expected"), LENGTHS + KICAD)
def test_quantities(text: str, expected: list[tuple[float, float]]) -> None:
    assert numbers(text) == [pytest.approx(pair, rel=1e-6, nan_ok=True) for pair in expected]


def test_a_comma_before_three_digits_is_settled_by_the_corpus() -> None:
    assert prefers_decimal_comma(["2,54 mm", "1,000 mm"])
    assert not prefers_decimal_comma(["1,234.5 mm", "1,000 mm", "12,345,678"])
    assert not prefers_decimal_comma(["1,000 mm", "a chair, red"])
    assert numbers("1,000 mm", decimal_comma=True) == [(1, 1)]
    assert numbers("1,000 or 1,234.5 mm", decimal_comma=True) == [(1000, 1000), (1234.5, 1234.5)]


@pytest.mark.parametrize(
    "text", ["serial " + "7" * 40, "9" * 400 + " km", "1e99 m", "-" + "9" * 50, "2×10^99 km"]
)
def test_no_number_is_too_large(text: str) -> None:
    ((value, length),) = numbers(text)
    assert abs(value) == pytest.approx(LARGEST)
    assert length == pytest.approx(LARGEST)


PIECES = st.sampled_from(
    [*"0123456789", *"0123456789", *" .,-/'\"x×½°²e±…in", "mm", "cm", " m", "V", "dozen ", "half "]
)


@settings(deadline=None, max_examples=500)
@given(st.lists(PIECES, max_size=14).map("".join) | st.text(max_size=20))
def test_any_text_can_be_read(text: str) -> None:
    words = tokenize(plain_text(text.encode("utf-8", "ignore").decode()))
    assert all(start < end for _, start, end in words)
    assert all(one[2] <= other[1] for one, other in itertools.pairwise(words))
    found = read_quantities([word for word, _, _ in words])
    assert not found.isinf().any()
    assert not (found[:, 0].isnan() & ~found[:, 1].isnan()).any()
    assert not (found[:, 1] < 0).any()


def test_no_tokens() -> None:
    assert read_quantities([]).shape == (0, 2)
    assert read_quantities([]).dtype == torch.float32

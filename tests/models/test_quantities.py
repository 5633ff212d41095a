"""Values and lengths are read off words, numbers and units."""

import pytest

from models.quantities import read_quantities
from models.text import tokenize


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a 1x13 header, 2.54mm pitch", [(1, 1), (13, 13), (2.54, 2.54)]),
        ("a table 45 cm tall with three legs", [(45, 450), (3, 3)]),
        ("a box of 40 x 30 x 2.5 cm", [(40, 400), (30, 300), (2.5, 25)]),
        ("4.0x3mm and 2 by 4 m", [(4, 4), (3, 3), (2, 2000), (4, 4000)]),
        ("300 mils wide, 2 inches, Twelve teeth", [(300, 7.62), (2, 50.8), (12, 12)]),
        ("8 in a row", [(8, 8)]),
        ("no number at all", []),
    ],
)
def test_quantities(text: str, expected: list[tuple[float, float]]) -> None:
    found = read_quantities([word for word, _, _ in tokenize(text)])
    rows = found[~found[:, 0].isnan()]
    assert [tuple(row) for row in rows.tolist()] == [pytest.approx(pair) for pair in expected]


def test_no_tokens() -> None:
    assert read_quantities([]).shape == (0, 2)

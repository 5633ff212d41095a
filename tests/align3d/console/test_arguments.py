"""Arguments of commands: lists, lists that may be nothing, and nothing."""

from __future__ import annotations

import pytest

from align3d.console.arguments import values_by
from align3d.errors import UserError

HINTS = {"sizes": tuple[int, ...] | None, "names": tuple[str, ...], "count": int | None}


def test_a_list_that_may_be_nothing_is_a_list() -> None:
    found = values_by(HINTS, ["sizes=[10,100]", "names=a,b", "count=null"], "count=3")
    assert found == {"sizes": (10, 100), "names": ("a", "b"), "count": None}
    assert values_by(HINTS, ["sizes=null"], "count=3") == {"sizes": None}
    assert values_by(HINTS, ["sizes=7"], "count=3") == {"sizes": (7,)}


@pytest.mark.parametrize("argument", ["sizes=", "sizes=[]", "sizes=a", "names="])
def test_what_is_no_list_is_one_line(argument: str) -> None:
    with pytest.raises(UserError, match=f"^{argument.partition('=')[0]}="):
        values_by(HINTS, [argument], "count=3")

"""Record of a dataset: where its captions come from."""

from __future__ import annotations

from dataclasses import replace

import pytest

from align3d.errors import RejectedItem
from align3d.record import check_record, in_plain_text, recaptioned
from tests.align3d.toy_source import Boxes

BOXES = Boxes()
RECORD = BOXES.read(BOXES.items()[0], 16, 0)


def test_captions_of_a_source_that_says_nothing_go_by_its_name() -> None:
    assert in_plain_text(RECORD).caption_origins == ("boxes", "boxes")


def test_captions_that_stay_keep_their_origin() -> None:
    record = replace(RECORD, captions=("one", "two"), caption_origins=("footprint", "views:m"))
    changed = recaptioned(record, ["two", "new", "one"])
    assert changed.captions == ("two", "new", "one")
    assert changed.caption_origins == ("views:m", "edited", "footprint")


def test_origins_that_are_not_parallel_to_captions_are_refused() -> None:
    with pytest.raises(RejectedItem, match="1 origins of 2 captions"):
        check_record(replace(RECORD, caption_origins=("footprint",)), 16)

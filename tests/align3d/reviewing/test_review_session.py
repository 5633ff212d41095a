"""Sessions: the same sample for all, what is decided, what is refused, undo, and resuming."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from align3d import ShapeDataset
from align3d.decisions import Decision, settle
from align3d.reviewing.review_log import review_decisions, reviews_folder
from align3d.reviewing.review_sample import review_sample
from align3d.reviewing.review_session import REASONS, RefusedRequest, ReviewSession
from tests.align3d.reviewing.reviewed_set import boxes, session_of


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> ShapeDataset:
    return boxes(tmp_path_factory.mktemp("built"))


@pytest.fixture
def dataset(built: ShapeDataset, tmp_path: Path) -> ShapeDataset:
    """The dataset in a folder of its own, so that each test has its own reviews beside it."""
    (tmp_path / "boxes").mkdir()
    for path in built.path.iterdir():
        (tmp_path / "boxes" / path.name).symlink_to(path)
    return ShapeDataset.load(tmp_path / "boxes")


def decide(session: ReviewSession, place: int, action: str, **more: Any) -> dict[str, Any]:
    item = session.shape(place)["item"]
    return session.decide(place, item, action, len(session.log.decisions), **more)


def test_the_sample_is_the_same_for_all_and_grows_from_its_beginning(dataset: ShapeDataset) -> None:
    rows = review_sample(dataset, 0.5)
    assert rows == review_sample(ShapeDataset.load(dataset.path), 0.5)
    assert rows == review_sample(dataset, 1.0)[:6]
    assert len(rows) == 6
    assert rows != review_sample(dataset, 0.5, seed=1)
    assert len(review_sample(dataset, 1e-9)) == 1
    assert sorted(review_sample(dataset, 1.0)) == list(range(len(dataset)))
    assert session_of(dataset, "ada").rows == session_of(dataset, "bob").rows


def test_what_is_decided_is_on_the_disk_and_comes_to_the_build(dataset: ShapeDataset) -> None:
    session = session_of(dataset)
    first, second = session.shape(0), session.shape(1)
    texts = [one["caption"] for one in first["captions"]]
    decide(session, 0, "drop_caption", caption=texts[0])
    answer = decide(session, 0, "edit_caption", caption=texts[1], text="  a \n crate ")
    assert answer["shape"]["captions"][1] == {"caption": texts[1], "state": "edit", "text": "a crate"}
    assert decide(session, 0, "accept")["next"] == 1
    answer = decide(session, 1, "reject", reason=f"{REASONS[0]}:  it is a  bottle")
    assert (answer["decided"], answer["shape"]["reason"]) == (2, f"{REASONS[0]}: it is a bottle")
    decisions = review_decisions(dataset.path)
    row = session.rows[0]
    outcome = settle(
        dataset.content_hashes[row], dataset.captions[row], [d for d in decisions if d.item == first["item"]]
    )
    assert (outcome.rejected, outcome.captions) == (None, ("a crate",))
    content_hash = dataset.content_hashes[session.rows[1]]
    assert decisions[-1] == Decision(
        second["item"], "reject", f"{REASONS[0]}: it is a bottle", "reviewer:ada", item_hash=content_hash
    )


def test_two_reviewers_do_not_see_or_overwrite_each_other(dataset: ShapeDataset) -> None:
    ada, bob = session_of(dataset, "ada"), session_of(dataset, "bob")
    decide(ada, 0, "reject", reason=REASONS[2])
    assert bob.shape(0)["verdict"] == ""
    assert bob.overview()["decided"] == 0
    decide(bob, 0, "accept")
    assert session_of(dataset, "ada").shape(0)["verdict"] == "reject"
    assert sorted(path.name for path in reviews_folder(dataset.path).iterdir()) == ["ada.jsonl", "bob.jsonl"]


def test_a_session_goes_on_where_the_last_one_ended_unless_again(dataset: ShapeDataset) -> None:
    for place in (0, 1, 3):
        decide(session_of(dataset), place, "accept")
    assert session_of(dataset).overview()["next"] == 2
    again = session_of(dataset, again=True)
    assert (again.overview()["next"], again.overview()["decided"]) == (0, 0)
    assert again.shape(0)["verdict"] == "accept"
    assert decide(again, 0, "accept")["next"] == 1


def test_the_last_shape_is_followed_by_the_undecided_ones_before_it(dataset: ShapeDataset) -> None:
    session = session_of(dataset)
    last = len(session.rows) - 1
    assert decide(session, last, "accept")["next"] == 0
    for place in range(last):
        answer = decide(session, place, "accept")
    assert answer["next"] is None
    assert answer["decided"] == answer["total"] == len(dataset)


def test_undo_takes_back_whatever_was_last(dataset: ShapeDataset) -> None:
    session = session_of(dataset)
    caption = session.shape(3)["captions"][0]["caption"]
    decide(session, 2, "accept")
    decide(session, 3, "drop_caption", caption=caption)
    answer = session.undo(2)
    assert (answer["shape"]["place"], answer["undone"], answer["seen"]) == (3, "drop_caption", 1)
    assert answer["shape"]["captions"][0]["state"] == "keep"
    assert session.undo(1)["decided"] == 0
    with pytest.raises(RefusedRequest, match="nothing to undo"):
        session.undo(0)
    assert review_decisions(dataset.path) == []


REFUSED: list[tuple[dict[str, Any], int, str]] = [
    ({"place": 99}, 404, "no such shape"),
    ({"place": -1}, 404, "no such shape"),
    ({"item": "box-9999"}, 404, "no shape of this id"),
    ({"action": "delete"}, 400, "no such action"),
    ({"seen": 5}, 409, "another window"),
    ({"action": "drop_caption", "caption": "no such"}, 404, "no such caption"),
    ({"action": "edit_caption", "text": " .,! "}, 400, "a letter or a digit"),
    ({"action": "edit_caption", "text": "x" * 2001}, 400, "at most 2,000"),
    ({"action": "edit_caption", "text": "\ud800"}, 400, "surrogate"),
    ({"action": "reject", "reason": "because"}, 400, "needs a reason"),
    ({"action": "reject", "reason": "other: " + "x" * 500}, 400, "at most 500"),
]


@pytest.mark.parametrize(("change", "status", "message"), REFUSED)
def test_what_does_not_fit_is_refused_and_leaves_nothing(
    dataset: ShapeDataset, change: dict[str, Any], status: int, message: str
) -> None:
    session = session_of(dataset)
    shape = session.shape(0)
    request = {"place": 0, "item": shape["item"], "action": "accept", "seen": 0}
    if change.get("action", "").endswith("_caption"):
        request["caption"] = shape["captions"][0]["caption"]
    with pytest.raises(RefusedRequest, match=message) as refused:
        session.decide(**{**request, **change})
    assert refused.value.status == status
    assert not session.log.path.exists()


def test_an_edit_that_repeats_another_caption_is_refused(dataset: ShapeDataset) -> None:
    session = session_of(dataset)
    one, other = (each["caption"] for each in session.shape(0)["captions"])
    with pytest.raises(RefusedRequest, match="another caption"):
        decide(session, 0, "edit_caption", caption=one, text=other.upper())
    decide(session, 0, "edit_caption", caption=other, text="a crate")
    with pytest.raises(RefusedRequest, match="another caption"):
        decide(session, 0, "edit_caption", caption=one, text="A crate.")
    decide(session, 0, "edit_caption", caption=one, text=f"{one}!")  # its own form is no other's


def test_points_stand_upright_without_a_mirror_image(dataset: ShapeDataset) -> None:
    session, count = session_of(dataset), dataset.num_points
    row = session.rows[0]
    buffer = session.points(0)
    assert len(buffer) == count * (12 + 2 + 3)
    points = np.frombuffer(buffer, "<f4", 3 * count).reshape(-1, 3)
    np.testing.assert_array_equal(points, dataset.points([row])[0].astype(np.float32))
    part = np.frombuffer(buffer, "<i2", count, 12 * count)
    np.testing.assert_array_equal(part, dataset.part([row])[0])
    colors = np.frombuffer(buffer, np.uint8, 3 * count, 14 * count).reshape(-1, 3)
    np.testing.assert_array_equal(colors, dataset.colors([row])[0])


@pytest.mark.parametrize("up", ["x", "y", "z"])
def test_every_up_axis_becomes_z_by_a_turn(
    built: ShapeDataset, up: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ShapeDataset, "up_axis", up)
    session = session_of(built)
    sent = np.frombuffer(session.points(0), "<f4", 3 * built.num_points).reshape(-1, 3)
    stored = built.points([session.rows[0]])[0].astype(np.float32)
    turn = np.linalg.lstsq(stored, sent, rcond=None)[0]
    assert np.linalg.det(turn) == pytest.approx(1, abs=1e-3)
    np.testing.assert_array_equal(sent[:, 2], stored[:, "xyz".index(up)])

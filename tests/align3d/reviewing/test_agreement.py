"""Agreement: kappa as scikit-learn has it, an interval that covers, and what reviewers differ about."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

import align3d.review
from align3d.reviewing.agreement import agreements, cohen_kappa, kappa_of
from align3d.reviewing.review_log import reviewers
from align3d.reviewing.review_session import REASONS, ReviewSession
from tests.align3d.reviewing.reviewed_set import boxes, session_of


@pytest.mark.filterwarnings("ignore:.*only one label in common")
@pytest.mark.parametrize("count", [1, 2, 7, 40, 500])
@pytest.mark.parametrize("seed", range(4))
def test_kappa_is_scikit_learns(count: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    one = random.random(count) < 0.7
    other = np.where(random.random(count) < 0.3, random.random(count) < 0.5, one)
    kappa = kappa_of(list(zip(one.tolist(), other.tolist(), strict=True)))
    expected = cohen_kappa_score(one, other, labels=[False, True])
    np.testing.assert_allclose(kappa.value, expected, equal_nan=True)
    assert kappa.agreed == int((one == other).sum())
    assert np.isnan(kappa.value) or kappa.low <= kappa.value <= kappa.high


def test_kappa_of_tables_with_more_kinds() -> None:
    random = np.random.default_rng(0)
    one, other = random.integers(0, 4, (2, 300))
    table = np.zeros((4, 4))
    np.add.at(table, (one, other), 1)
    assert float(cohen_kappa(table)) == pytest.approx(cohen_kappa_score(one, other))


def test_the_interval_covers_and_leaves_doubt_where_few_agree_without_exception() -> None:
    shares = np.array([0.5, 0.1, 0.1, 0.3])
    true = float(cohen_kappa(shares.reshape(2, 2)))
    random, covered = np.random.default_rng(0), 0
    kinds = [(False, False), (False, True), (True, False), (True, True)]
    for _ in range(200):
        drawn = [kinds[kind] for kind in random.choice(4, size=60, p=shares)]
        kappa = kappa_of(drawn)
        covered += kappa.low <= true <= kappa.high
    assert 0.92 <= covered / 200 <= 0.98
    perfect = kappa_of([(True, True)] * 5 + [(False, False)] * 5)
    assert perfect.value == 1
    assert 0.2 < perfect.low < 0.8


def test_nothing_and_one_verdict_have_no_kappa() -> None:
    for pairs in ([], [(True, True)] * 9):
        kappa = kappa_of(pairs)
        assert np.isnan([kappa.value, kappa.low, kappa.high]).all()
        assert kappa.count == kappa.agreed == len(pairs)


def judge(session: ReviewSession, place: int, action: str, caption: str = "", text: str = "") -> None:
    shape = session.shape(place)
    reason = f"{REASONS[1]}: a hole" if action == "reject" else ""
    session.decide(place, shape["item"], action, len(session.log.decisions), caption, text, reason)


def test_two_reviewers_and_what_they_differ_about(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = boxes(tmp_path)
    assert align3d.review.main([f"dataset={dataset.path}", "agreement=true"]) == 2
    assert "decisions of 0 reviewers, expected two or more" in capsys.readouterr().err
    ada, bob = session_of(dataset, "ada"), session_of(dataset, "bob")
    verdicts = {"ada": "aaaaaarrrr", "bob": "aaaaarrrra"}
    for session in (ada, bob):
        name = session.log.author.partition(":")[2]
        for place, verdict in enumerate(verdicts[name]):
            judge(session, place, "accept" if verdict == "a" else "reject")
    captions = [one["caption"] for one in ada.shape(0)["captions"]]
    judge(ada, 0, "drop_caption", captions[0])
    judge(bob, 0, "edit_caption", captions[0], "a crate")
    judge(bob, 1, "drop_caption", ada.shape(1)["captions"][1]["caption"])
    judge(bob, 11, "accept")  # ada has not judged it
    (pair,) = agreements(reviewers(dataset.path), dataset)
    assert (pair.shapes.count, pair.shapes.agreed) == (10, 8)
    expected = cohen_kappa_score(list(verdicts["ada"]), list(verdicts["bob"]))
    assert pair.shapes.value == pytest.approx(expected)
    assert (pair.captions.count, pair.captions.agreed) == (10, 9)  # of five shapes that both accepted
    items = [ada.shape(place)["item"] for place in range(12)]
    told = {(one.item, one.caption): (one.first, one.second) for one in pair.differences}
    assert told == {
        (items[5], ""): ("accept", "reject: broken geometry: a hole"),
        (items[9], ""): ("reject: broken geometry: a hole", "accept"),
        (items[0], captions[0]): ("drop", "edit: a crate"),
        (items[1], ada.shape(1)["captions"][1]["caption"]): ("keep", "drop"),
    }
    assert align3d.review.main([f"dataset={dataset.path}", "agreement=true"]) == 0
    printed = capsys.readouterr().out
    assert f"{expected:.2f}" in printed
    assert f"{items[0]}: {captions[0]!r}\n  ada: drop\n  bob: edit: a crate" in printed

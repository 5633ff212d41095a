"""Files of decisions: durable, one for each reviewer, and settled for the build."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from align3d.decisions import Decision, read_decisions, settle
from align3d.errors import DataError
from align3d.reviewing.review_log import (
    ReviewLog,
    checked_reviewer,
    open_log,
    review_decisions,
    reviewers,
    reviews_folder,
)
from durable.errors import LockError

ROOT = Path(__file__).parents[3]
WRITER = """
import sys
from pathlib import Path
from align3d.decisions import Decision
from align3d.reviewing.review_log import open_log
with open_log(Path(sys.argv[1]), "ada") as log:
    for number in range(10_000):
        log.append(Decision(f"shape-{number}", "accept", "accepted: in review", log.author))
        print(number, flush=True)
"""


def decision(action: str, by: str, caption: str = "", text: str = "", reason: str = "x: y") -> Decision:
    return Decision("chair", action, reason, f"reviewer:{by}", caption, text, "hash")  # type: ignore[arg-type]


def written(out: Path, by: str, *decisions: Decision) -> None:
    log = ReviewLog(reviews_folder(out), by)
    for one in decisions:
        log.append(one)


def test_a_kill_loses_nothing_that_was_reported_and_half_a_line_is_mended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "set.reviews"
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    reported = [process.stdout.readline() for _ in range(20)]
    os.kill(process.pid, signal.SIGKILL)
    count = len([*reported, *process.stdout.read().splitlines()])
    process.wait()
    path = folder / "ada.jsonl"
    whole = path.read_bytes()[: path.read_bytes().rindex(b"\n") + 1]
    path.write_bytes(whole + b'{"item": "shape-x", "acti')
    assert len(review_decisions(tmp_path / "set")) == len(whole.splitlines())  # for a build
    with open_log(folder, "ada") as log:  # and the lock of the killed process is free
        assert [one.item for one in log.decisions][:count] == [f"shape-{number}" for number in range(count)]
        log.append(decision("reject", "ada"))
    assert path.read_bytes().startswith(whole)
    assert read_decisions(path)[-1] == decision("reject", "ada")
    assert "half a line at its end is cut off (25 bytes)" in capsys.readouterr().err


def test_a_last_line_without_an_end_is_whole(tmp_path: Path) -> None:
    out = tmp_path / "set"
    written(out, "ada", decision("reject", "ada"))
    path = reviews_folder(out) / "ada.jsonl"
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    assert review_decisions(out) == [decision("reject", "ada")]
    written(out, "ada", decision("accept", "ada"))
    assert review_decisions(out) == [decision("accept", "ada")]


def test_undo_takes_lines_back_one_by_one(tmp_path: Path) -> None:
    written(tmp_path / "set", "ada", decision("reject", "ada"), decision("accept", "ada"))
    log = ReviewLog(tmp_path / "set.reviews", "ada")
    assert [log.undo(), log.undo(), log.undo()] == [
        decision("accept", "ada"),
        decision("reject", "ada"),
        None,
    ]
    assert log.path.read_bytes() == b""


def test_a_file_that_holds_something_else_is_named_and_left_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "set.reviews"
    folder.mkdir()
    (folder / "ada.jsonl").write_text('{"item": "a"}\n')
    for read in (lambda: ReviewLog(folder, "ada"), lambda: review_decisions(tmp_path / "set")):
        with pytest.raises(DataError, match=r"ada\.jsonl, line 1: no decision"):
            read()
    assert (folder / "ada.jsonl").read_text() == '{"item": "a"}\n'


def test_one_process_at_a_time_writes_a_reviewers_file(tmp_path: Path) -> None:
    with open_log(tmp_path / "a", "ada"):
        with (
            pytest.raises(LockError, match=r"ada\.jsonl is open in another review"),
            open_log(tmp_path / "a", "ada"),
        ):
            pass
        with open_log(tmp_path / "a", "bob") as bob:
            assert bob.decisions == []
    with open_log(tmp_path / "a", "ada") as ada:
        assert ada.decisions == []


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a b", "x" * 65, "a\0", "-a", "a\n"])
def test_names_that_are_no_file_are_refused(name: str) -> None:
    with pytest.raises(DataError, match="reviewer="):
        checked_reviewer(name)


def test_names_of_people_are_not() -> None:
    assert checked_reviewer("Zoe\u0308_2") == "Zoë_2"
    assert checked_reviewer("李雷") == "李雷"


def test_nobody_has_reviewed(tmp_path: Path) -> None:
    assert review_decisions(tmp_path / "none") == []
    assert reviewers(tmp_path / "none") == {}


def test_the_folder_lies_beside_the_dataset_that_a_link_leads_to(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert reviews_folder(tmp_path / "link") == (tmp_path / "real.reviews").resolve()


@pytest.mark.parametrize("names", [("ada", "bob"), ("bob", "ada")])
@pytest.mark.parametrize(
    ("first", "second", "rejected", "captions"),
    [
        (("reject",), ("accept",), True, ("one", "two")),
        (("accept",), ("accept",), False, ("one", "two")),
        (("drop_caption", "one"), ("edit_caption", "one", "three"), False, ("two",)),
        (("edit_caption", "one", "three"), ("keep_caption", "one"), False, ("three", "two")),
    ],
)
def test_where_reviewers_differ_the_stricter_word_counts(
    tmp_path: Path,
    names: tuple[str, str],
    first: tuple[str, ...],
    second: tuple[str, ...],
    rejected: bool,
    captions: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "set"
    for name, (action, *more) in zip(names, (first, second), strict=True):
        written(out, name, decision(action, name, *more))
    outcome = settle("hash", ("one", "two"), review_decisions(out))
    assert (outcome.rejected is not None, outcome.captions) == (rejected, captions)
    assert ("reviewers differ about 1" in capsys.readouterr().err) == (first[0] != second[0])


def test_of_one_reviewers_words_the_last_counts(tmp_path: Path) -> None:
    out = tmp_path / "set"
    written(
        out,
        "ada",
        decision("reject", "ada"),
        decision("edit_caption", "ada", "One!", "three"),
        decision("accept", "ada"),
        decision("keep_caption", "ada", "one"),
    )
    outcome = settle("hash", ("one", "two"), review_decisions(out))
    assert (outcome.rejected, outcome.captions) == (None, ("one", "two"))
    lines = (reviews_folder(out) / "ada.jsonl").read_text().splitlines()
    assert [json.loads(line)["action"] for line in lines] == [
        "reject",
        "edit_caption",
        "accept",
        "keep_caption",
    ]

"""The Python in the documentation runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def snippets(page: str) -> list[tuple[str, str]]:
    """The title of each section with Python in it, and the Python."""
    sections = re.split(r"^## ", (DOCS / page).read_text(), flags=re.MULTILINE)[1:]
    titled = [
        (section.partition("\n")[0], re.search(r"```python\n(.*?)```", section, re.DOTALL))
        for section in sections
    ]
    return [(title, code.group(1)) for title, code in titled if code]


SNIPPETS, OF_RETRIEVAL = snippets("parts.md"), snippets("retrieval.md")


@pytest.mark.parametrize(("title", "code"), SNIPPETS, ids=[title for title, _ in SNIPPETS])
def test_a_part_by_itself(
    title: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(code, title, "exec"), names)
    said = capsys.readouterr().out
    assert said
    if title == "The environment":
        assert names["picture"].ndim == 3  # type: ignore[attr-defined]
    if title == "The memory":
        assert said == "without 0.25 with 0.97\n1100 pairs, 158400 bytes\n"
    if title == "The search":
        assert names["found"].action.tolist() == [1, 1]  # type: ignore[attr-defined]
        assert (tmp_path / "search.png").stat().st_size > 1000


def test_a_task_is_a_function_of_arrays(capsys: pytest.CaptureFixture[str]) -> None:
    (_, (title, code)) = snippets("evaluation.md")
    exec(compile(code, title, "exec"), {})
    assert capsys.readouterr().out.startswith("Measured(name='top-1', value=0.75, low=")


def test_embeddings_of_another_model_are_evaluated(capsys: pytest.CaptureFixture[str]) -> None:
    ((title, code), _) = snippets("evaluation.md")
    exec(compile(code, title, "exec"), {})
    said = capsys.readouterr().out
    assert "KNN, text → shape" in said
    assert said.endswith("True\n")


def test_an_index_in_shards_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    ((title, code),) = snippets("sharding.md")
    exec(compile(code, title, "exec"), {})
    assert capsys.readouterr().out == "2001 [2, 2, 2, 2]\nTrue\n"


def test_each_part_has_its_snippet() -> None:
    assert [title for title, _ in SNIPPETS] == [
        "The environment",
        "The agents",
        "The search",
        "HAF on your own tensors",
        "The memory",
    ]


@pytest.mark.parametrize(("title", "code"), OF_RETRIEVAL, ids=[title for title, _ in OF_RETRIEVAL])
def test_an_index_does_what_its_page_says(
    title: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(code, title, "exec"), {})
    said = re.findall(r"print\(.*\)  # (.*)", code)
    assert said
    assert capsys.readouterr().out.splitlines() == said


def test_the_page_of_retrieval_has_its_snippets() -> None:
    assert [title for title, _ in OF_RETRIEVAL] == [
        "To index and to search",
        "To change, filter, save and teach an index",
        "To change an index for long",
        "More vectors than memory",
        "To search with a memory of known pairs",
    ]

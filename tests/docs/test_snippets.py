"""The Python in the documentation runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
SNIPPETS = re.findall(
    r"^## (.*?)$.*?```python\n(.*?)```", (DOCS / "parts.md").read_text(), re.MULTILINE | re.DOTALL
)


@pytest.mark.parametrize(("title", "code"), SNIPPETS, ids=[title for title, _ in SNIPPETS])
def test_a_part_by_itself(
    title: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(code, title, "exec"), names)
    assert capsys.readouterr().out
    if title == "The environment":
        assert names["picture"].ndim == 3  # type: ignore[attr-defined]
    if title == "The search":
        assert names["found"].action.tolist() == [1, 1]  # type: ignore[attr-defined]
        assert (tmp_path / "search.png").stat().st_size > 1000


def test_each_part_has_its_snippet() -> None:
    assert [title for title, _ in SNIPPETS] == [
        "The environment",
        "The agents",
        "The search",
        "HAF on your own tensors",
    ]

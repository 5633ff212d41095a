"""Command ``align3d.build``: its table, its help, and one line for each mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from align3d.build import main
from align3d.dataset import ShapeDataset
from align3d.sources import SOURCES

HERE = Path(__file__).parents[1]
ROOT = HERE.parents[1]


def test_command_prints_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(
        [
            "source=tests.align3d.toy_source:Boxes",
            f"out={tmp_path / 'a'}",
            "size=20",
            "points=16",
            "workers=1",
        ]
    )
    printed = capsys.readouterr().out
    assert code == 0
    for words in ("18 of 16 points", "36", "2 a box of no size", str(tmp_path / "a")[:20]):
        assert words in printed
    manifest = json.loads((tmp_path / "a/manifest.json").read_text())
    assert (manifest["rows"], manifest["points"], manifest["seed"]) == (18, 16, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "source=NAME is missing"),
        (["source=kicad"], "out=DIR is missing"),
        (["source=kicd", "out=x"], "no such source; did you mean kicad?"),
        (
            ["source=kicad", "out=x", "familes=LED"],
            "familes: no such setting; did you mean families? (settings: ",
        ),
        (["source=kicad", "out=x", "size"], "'size': expected key=value, as in"),
        (["source=kicad", "out=x", "out=y"], "out is given twice"),
        (["source=kicad", "out=x", "size=many"], "size=many: expected a valid integer"),
        (["source=kicad", "out=x", "root=/nowhere"], "data=kicad: no library at /nowhere/3dmodels"),
        (["source=kicad", "out=x", "root=/nowhere", "points=2k"], "points=2k: expected a valid integer"),
        (["source=kicad", "out=x", "--size", "5"], "--size: settings have no dashes; write size=5"),
        (["source=nowhere:Shapes", "out=x"], "expected package.module:Class"),
        (["source=procedural", "size=2", f"out={__file__}/x"], "/x.lock: no lock can be made there (File"),
        (["source=procedural", "size=2", f"out={__file__}/x/y"], "/y.lock: no lock can be made there (Not"),
        (["source=procedural", "size=2", "out=/proc/x"], "/proc/x.lock: no lock can be made there (No such"),
        (["source=procedural", "size=2", "out=."], "out=.: expected the name of a folder"),
        (["source=tests.align3d.toy_source:Boxes", "size=0", "out=x"], "nothing to read"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ")
    assert message in printed.err
    assert len(printed.err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_help_lists_the_sources(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert "source=kicad: Models of a KiCad library" in printed
    assert "  twins=0.5" in printed
    assert max(map(len, printed.splitlines())) <= 120


def test_the_source_in_the_documentation_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docs/datasets.md").read_text(encoding="utf-8")
    code = next(block for block in text.split("```python\n") if block.startswith("# my_spheres.py"))
    (tmp_path / "my_spheres.py").write_text(code.partition("```")[0], encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    out = tmp_path / "spheres"
    assert main(["source=my_spheres:Spheres", f"out={out}", "size=5", "points=64", "workers=1"]) == 0
    monkeypatch.delitem(SOURCES, "spheres")
    dataset = ShapeDataset.load(out)
    assert dataset.captions[4] == ["a sphere 10 cm wide"]
    assert not dataset.rejections

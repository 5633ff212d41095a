"""Names and captions of others on the terminal: nothing in them acts, and nothing of it ends a command."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from align3d.build import main
from align3d.console.command_frame import run_command
from align3d.console.progress import Tracker
from align3d.console.rich_terminal import Terminal
from align3d.console.terminal import on_one_line, say, visible
from align3d.errors import UserError

ROOT = Path(__file__).parents[3]
HOSTILE = "a\x1b]0;title\x07\x1b[2J\x9b31m\u202eb\u2066c\r[/b]x [red]y :smile: \U000e0041\x7f\ufeff"
HARMLESS = r"a\x1b]0;title\x07\x1b[2J\x9b31m\u202eb\u2066c\r[/b]x [red]y :smile: \U000e0041\x7f\ufeff"


class TerminalText(io.StringIO):
    """A file that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def acting(text: str) -> list[str]:
    """Characters that do something to a terminal, other than line feeds."""
    return [one for one in text if not one.isprintable() and one != "\n"]


def test_what_acts_or_is_not_seen_is_written_out() -> None:
    assert visible(HOSTILE) == HARMLESS
    assert visible("two\nlines\tgrün → 椅子 👩\u200d🔧") == "two\nlines\tgrün → 椅子 👩\u200d🔧"
    assert on_one_line("two\nlines\x1b") == r"two lines\x1b"


def test_lines_and_errors_are_visible(capsys: pytest.CaptureFixture[str]) -> None:
    say(HOSTILE)
    say(HOSTILE, error=True)

    def fail(words: object) -> None:
        raise UserError(f"file {HOSTILE}:\n of two lines")

    assert run_command(["x"], lambda: "", fail) == 2
    printed = capsys.readouterr()
    assert printed.out == f"{HARMLESS}\n"
    assert printed.err.startswith(f"{HARMLESS}\nerror: file a")
    assert printed.err.count("\n") == 2
    assert not acting(printed.out + printed.err)


def test_tables_take_texts_as_they_are() -> None:
    table = Table(title=HOSTILE)
    table.add_column(HOSTILE)
    table.add_row(HOSTILE)
    table.add_row(Text(HOSTILE))
    file = io.StringIO()
    terminal = Terminal(file=file, width=200)
    terminal.print(table)
    assert file.getvalue().count(HARMLESS) == 3  # rich itself drops some controls of a Text
    assert file.getvalue().count(r"\x1b[2J\x9b31m\u202eb") == 4
    assert file.getvalue().count("[/b]x [red]y :smile:") == 4
    assert not acting(file.getvalue())
    assert Measurement.get(terminal, terminal.options, table).maximum >= len(HARMLESS)


def test_a_progress_bar_takes_its_name_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    file = TerminalText()
    monkeypatch.setattr(sys, "stderr", file)
    monkeypatch.setenv("COLUMNS", "300")
    with Tracker(HOSTILE, 3, clock=lambda: 0.0) as bar:
        bar.advance(note=HOSTILE)
    assert "[/b]x [red]y" in file.getvalue()
    for escape in ("\x1b]0;", "\x07", "\x1b[2J", "\x9b", "\u202e"):
        assert escape not in file.getvalue()


def test_an_exception_that_nobody_expected_is_visible(tmp_path: Path) -> None:
    (tmp_path / "bad_command.py").write_text(
        "import sys\nsys.argv[:1] = ['-m']\nimport align3d.console.interrupts\n"
        f"raise ValueError({HOSTILE!r})\n"
    )
    done = subprocess.run(
        [sys.executable, str(tmp_path / "bad_command.py")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 1
    assert HARMLESS in done.stderr
    assert not acting(done.stderr)


@pytest.mark.parametrize(
    "forced",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
        {"PYTHONIOENCODING": "cp1252:strict"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
)
def test_what_an_encoding_lacks_is_replaced(forced: dict[str, str]) -> None:
    text = "text → shape, −0.5 ± 0.1 ≥ 3 µm, grün, 椅子 \udce9 ▀"
    code = (
        "from align3d.console.terminal import replace_what_is_lacking, say\n"
        "from experiments.console.tables import retrieval_table, show\n"
        "replace_what_is_lacking()\n"
        f"say({text!a})\nsay({text!a}, error=True)\n"
        f"show(retrieval_table({{{'exakt → 椅'!a}: {{'text_to_shape/recall@1': 0.5}}}}, title='a'))\n"
    )
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONUTF8"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, env={**environment, **forced}, cwd=ROOT, timeout=60
    )
    assert (done.returncode, done.stderr.count(b"\n")) == (0, 1), done.stderr
    printed = done.stdout.decode("latin-1")
    assert "text -> shape, " in printed
    assert "-0.5" in printed
    assert "?? \\udce9" in printed
    assert "| exakt -> ? | text -> shape" in printed.replace("  ", " ").replace("  ", " ")
    assert "50.0" in printed
    assert len({len(line) for line in printed.splitlines() if line.startswith(("|", "+"))}) == 1


def test_a_build_of_hostile_names_ends_on_a_plain_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    meshes = tmp_path / "meshes"
    meshes.mkdir()
    good = "v 0 0 0\nv 1 0 0\nv 0 1 0\no [/b]x\x1b[2J\nf 1 2 3\nusemtl \x1b]0;lost\x07\nf 1 3 2\n"
    names = ["[/b]x.obj", "a\x1b[31m.obj", "b\u202ejbo.exe.obj"]
    for name in names:
        (meshes / name).parent.mkdir(exist_ok=True)
        (meshes / name).write_text("mtllib \x1b[5mgone.mtl\n" + good)
    (meshes / "c\x1b[2J.off").write_text("nothing")
    rows = [f'"{name}","a chair\x1b[2J [/b] no {k}"' for k, name in enumerate(names)]
    (meshes / "captions.csv").write_text("\n".join(["path,caption", *rows, "c\x1b[2J.off,a ruin"]))
    assert main(["source=folder", f"root={meshes}", f"out={tmp_path / 'out'}", "workers=1", "points=16"]) == 0
    printed = capsys.readouterr()
    assert "[/b]x.obj" in printed.out
    assert "colors lost" in printed.out
    assert not acting(printed.out + printed.err)
    assert main(["source=folder", f"root={meshes}\x1b[2J", f"out={tmp_path / 'out'}"]) == 2
    assert not acting(capsys.readouterr().err)

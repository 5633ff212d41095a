"""Commands that messages suggest: each can be typed as it stands."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from align3d import build, datasheet, export, filter, merge, review
from align3d.console.arguments import values_of
from align3d.console.typed_settings import in_hydras_grammar, setting
from align3d.errors import UserError
from align3d.filters.filter_settings import filters_of
from align3d.store import Manifest
from experiments import benchmark, report, tree
from experiments import export as export_index
from experiments.demo_page import demo_options
from experiments.evaluate_run import evaluate_options
from experiments.index_evaluation import options
from experiments.index_evaluation.load_run import check_run
from experiments.index_server import serve_options
from experiments.memory_controls import control_options
from experiments.reporting.load_runs import find_runs
from experiments.run_folder.readers import read_results
from experiments.settings.command import _going_on, split_flags
from experiments.settings.overrides import check, parse
from experiments.settings.reading import from_plain
from experiments.settings.schema import RunConfig, register_sizes
from experiments.shape_search import search_options
from experiments.sweeps.arm_engines import LocalProcesses
from experiments.sweeps.sweep_loop import run_arms
from experiments.training.results import open_folder

ROOT = Path(__file__).parents[3]
PACKAGES = ("align3d", "experiments", "models", "retrieval", "agents", "envs", "compiling", "durable")
NASTY = "my runs, a=1 (ü)"
"""A name that both the shell and Hydra would take apart."""
PARSERS = {
    "align3d.build": build.parse,
    "align3d.datasheet": lambda words: values_of(datasheet.DatasheetOptions, words, ""),
    "align3d.export": lambda words: values_of(export.ExportSettings, words, ""),
    "align3d.filter": lambda words: values_of(filter.Asked, filters_of(words)[1], ""),
    "align3d.merge": merge.parse,
    "align3d.review": lambda words: values_of(review.ReviewOptions, words, ""),
    "experiments.export": lambda words: values_of(export_index.Settings, words, ""),
    "experiments.serve": serve_options.parse,
    "experiments.evaluate": evaluate_options.parse,
    "experiments.report": report.parse,
    "experiments.tree": tree.parse,
    "experiments.retrieval": options.parse,
    "experiments.memory": control_options.parse,
    "experiments.search": search_options.parse,
    "experiments.benchmark": benchmark.parse,
    "experiments.demo": demo_options.parse,
    "experiments.run": lambda words: parse(split_flags(words).overrides),
}
_COMMAND = re.compile(r"python -m ((?:experiments|align3d)\.\w+)([^\n`;]*)")
_SETTING = re.compile(r"(?:resume|accept_changes|hydra\.(?:run|sweep)\.dir)=\S+")
register_sizes()


def filled_in(expression: ast.expr, constants: dict[str, str]) -> str:
    """What an expression in an f-string may give: a nasty name, unless it is quoted for the shell."""
    if isinstance(expression, ast.Call):
        name = ast.unparse(expression.func)
        return "hydra.run.dir=x" if name in {"setting", "shlex.quote", "in_hydras_grammar"} else NASTY
    if isinstance(expression, ast.Name):
        return "hydra.run.dir=x" if expression.id == "run_dir" else constants.get(expression.id, NASTY)
    return NASTY


def strings() -> Iterator[tuple[str, str]]:
    """Every string of the code with its place, docstrings aside."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
            constants = {
                ast.unparse(node.targets[0]): node.value.value
                for node in nodes
                if isinstance(node, ast.Assign)
                and isinstance(node.value, ast.Constant)
                and isinstance(node.value.value, str)
            }
            skipped = {id(node.value) for node in nodes if isinstance(node, ast.Expr)} | {
                id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values
            }
            for node in nodes:
                place = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
                    yield place, node.value
                elif isinstance(node, ast.JoinedStr):
                    parts = [
                        filled_in(part.value, constants)
                        if isinstance(part, ast.FormattedValue)
                        else str(ast.literal_eval(part))
                        for part in node.values
                    ]
                    yield place, "".join(parts)


def test_commands_in_the_code_can_be_parsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)  # some make the folder that they are to write to
    assert benchmark.main(["--help"]) == 0  # which imports them all
    assert "env" in capsys.readouterr().out
    found = []
    for place, text in strings():
        for module, rest in _COMMAND.findall(text):
            if "..." in rest or "=FOLDER" in rest or rest.strip() in ("", "DIR"):
                continue  # a line of usage
            found.append(module)
            words = [word.replace("source=NAME", "source=procedural") for word in shlex.split(rest)]
            words = [word for word in words if word != "hydra.run.dir=x" or module == "experiments.run"]
            if module == "align3d.build" and "out=" not in rest:
                words.append("out=DIR")
            if module == "experiments.report" and not words:
                words = ["DIR"]
            try:
                PARSERS[module](words)
            except UserError as error:
                pytest.fail(f"{place}: {text!r}: {error}")
    assert len(found) > 8, found
    assert set(found) > {"experiments.run", "experiments.report", "align3d.build"}


def test_folders_of_runs_are_quoted_wherever_they_are_suggested() -> None:
    for place, text in strings():
        for typed in _SETTING.findall(text):
            assert NASTY.split()[0] not in typed, f"{place}: {text!r}: fill in setting(...)"


def test_packages_that_are_suggested_have_names() -> None:
    found = []
    for place, text in strings():
        for name in re.findall(r"pip (?:un)?install (?:--?[\w-]+ )*([^\s(;]+)", text):
            requirement = Requirement(name.strip(",'\"`():"))
            assert requirement.name not in NASTY, f"{place}: {text!r}"
            found.append(requirement.name)
    assert {"hnswlib", "scann"} <= set(found)


@pytest.fixture
def nasty(tmp_path: Path) -> Path:
    folder = tmp_path / NASTY
    folder.mkdir()
    return folder


def settings(*more: str) -> RunConfig:
    (config,) = check(["agent=none", *more])
    return config


def typed_in(message: str) -> dict[str, object]:
    """Settings of the command line with which a message ends."""
    words = shlex.split(message)
    start = next(place for place, word in enumerate(words) if word.startswith("resume="))
    found = parse([word for word in words[start : start + 2]])
    return {override.key_or_group: override.value() for override in found}


def test_a_run_in_a_folder_of_any_name_is_resumed_as_told(nasty: Path) -> None:
    assert typed_in(f"resume=true {setting('hydra.run.dir', nasty)}") == {
        "resume": True,
        "hydra.run.dir": str(nasty),
    }
    expected = {"resume": True, "hydra.run.dir": str(nasty)}
    open_folder(nasty, settings())
    (nasty / "metrics.jsonl").touch()
    with pytest.raises(UserError) as told:
        open_folder(nasty, settings())
    assert str(told.value).startswith(setting("hydra.run.dir", nasty) + ": a run is there already")
    (nasty / "checkpoints").mkdir()
    with pytest.raises(UserError) as told:
        check_run(nasty)
    assert typed_in(str(told.value)) == expected
    (nasty / "results.json").write_text('{"schema": 1, "dataset": {"name": "a"}}')
    with pytest.raises(UserError) as told:
        read_results(nasty)
    assert typed_in(str(told.value)) == expected
    with pytest.raises(UserError) as told:
        find_runs(nasty)
    assert typed_in(str(told.value)) == expected


def test_an_interrupted_run_says_what_to_type(nasty: Path) -> None:
    assert parse(shlex.split(_going_on(nasty))[-3:-2])[0].value() == str(nasty)
    (nasty / "checkpoints/step-3").mkdir(parents=True)
    assert typed_in(_going_on(nasty)) == {"resume": True, "hydra.run.dir": str(nasty)}


def test_a_sweep_says_how_it_is_reported(nasty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_arms([], LocalProcesses(1), 0.0, nasty)
    words = shlex.split(capsys.readouterr().err)
    root, _, _ = report.parse(words[words.index("experiments.report") + 1 :])
    assert root == nasty


def test_a_missing_dataset_says_how_it_is_built(nasty: Path) -> None:
    with pytest.raises(UserError) as told:
        Manifest.read(nasty / "data")
    words = shlex.split(str(told.value).partition("python -m align3d.build ")[2])
    assert build.parse(["source=procedural", *words[1:]])["out"] == str(nasty / "data")


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        0.5,
        "a b",
        "a,b",
        "a=b",
        "(x)",
        "it's",
        "[a]",
        "ü/ß",
        "",
        "null",
        "true",
        "1",
        [1, None],
        {"a": 1},
    ],
)
def test_a_setting_is_read_back_as_it_was(value: object) -> None:
    (override,) = parse(shlex.split(setting("threads", value)))
    assert override.value() == value
    assert type(override.value()) is type(value)


def test_values_in_messages_are_spelled_as_hydra_has_them() -> None:
    plain = settings().plain
    for section, name, value, spelled in (
        ("train", "epochs", None, "train.epochs=null"),
        ("train", "reuse", None, "train.reuse=null"),
        ("env", "horizon", [1, 2], "env.horizon=[1,2]"),
        (None, "seed", None, "seed=null"),
    ):
        own = {name: value} if section is None else {section: {**plain[section], name: value}}
        with pytest.raises(UserError) as told:
            from_plain({**plain, **own})
        assert str(told.value).startswith(f"{spelled}: expected")
        assert in_hydras_grammar(value) == spelled.partition("=")[2]

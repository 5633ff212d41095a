"""Attacks by a run folder that somebody sent: a payload in it writes a file, which has to stay unwritten."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hydra.core.global_hydra import GlobalHydra

from align3d.errors import UserError
from durable.checksums import write_json
from experiments import memory, report, retrieval, search, tree
from experiments.index_evaluation.load_run import read_config
from experiments.run_folder import checkpoint
from experiments.run_folder.own_runs import own_run
from experiments.run_folder.readers import read_json, read_yaml
from experiments.settings import command
from experiments.settings.overrides import check
from experiments.settings.schema import register_sizes
from experiments.shape_search.query_calibration import calibration_of
from experiments.shape_search.searcher import Searcher
from experiments.training.results import open_folder
from tests.experiments.reporting.synthetic_runs import write_run

PAYLOAD = """
import pathlib
pathlib.Path({proof!r}).touch()

from align3d.errors import DataError

class Source:
    name = "payload"
    def __init__(self, place: str = ""): ...
    def fingerprint(self): raise DataError("the payload was asked")
    items = read = fingerprint
"""
MODULES = ("payload", "payloads.inner", "yaml2")
COMMANDS: dict[str, tuple[Callable[[list[str]], int], list[str]]] = {
    "tree": (tree.main, ["run={run}"]),
    "retrieval": (retrieval.main, ["run={run}", "engines=flat"]),
    "new": (retrieval.main, ["run={run}", "engines=flat", "gallery=new", "size=100", "queries=10"]),
    "memory": (memory.main, ["run={run}"]),
    "other": (memory.main, ["run={own}", "other={run}/", "controls=source"]),
    "search": (search.main, ["a chair", "run={run}"]),
}


class Sent:
    """A folder that was sent, in which one stands.

    Attributes:
        run: The folder of a finished run.
        proof: What the payload writes.
        own: Another run, begun on this machine.
    """

    def __init__(self, folder: Path) -> None:
        self.run, self.proof, self.own = folder / "sent", folder / "proof", folder / "own"
        for run in (self.run, self.own):
            write_run(run, settings={"data.size": 60})
            checkpoint.save(run / "checkpoints", 1, {"model": {"weight": torch.zeros(1)}})
        text = PAYLOAD.format(proof=str(self.proof))
        (self.run / "payloads").mkdir()
        for path in ("payload.py", "payloads/inner.py", "yaml2.py", "tomllib2.py"):
            (self.run / path).write_text(text)
        self.plain = read_yaml(self.run / "config.yaml")

    def names(self, **settings: Any) -> None:
        """Writes the settings as whoever sent the folder wants them."""
        for name, value in settings.items():
            *sections, last = name.split("__")
            place = self.plain
            for section in sections:
                place = place[section]
            place[last] = value
        (self.run / "config.yaml").write_text(yaml.safe_dump(self.plain))
        results = read_json(self.run / "results.json")
        write_json(self.run / "results.json", {**results, "config": self.plain})

    def typed(self, name: str, *more: str) -> int:
        """Exit code of a command."""
        main, words = COMMANDS[name]
        return main([*(word.format(run=self.run, own=self.own) for word in words), *more])


@pytest.fixture
def sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sent]:
    monkeypatch.setenv("ALIGN3D_CACHE", str(tmp_path / "cache"))
    found = Sent(tmp_path)
    monkeypatch.chdir(found.run)
    monkeypatch.syspath_prepend(str(found.run))  # as ``python -m`` would have it
    yield found
    for module in (*MODULES, "payloads"):
        sys.modules.pop(module, None)


def resume(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    GlobalHydra.instance().clear()
    monkeypatch.setattr("sys.argv", ["run", "resume=true", *words])
    with pytest.raises(SystemExit) as caught:
        command.main(lambda config: None)
    return int(str(caught.value.code))


ANY_DATA = {"points": 2048, "seed": 0, "test": 0.2, "reward": 0.1, "workers": None}
NAMED: list[tuple[dict[str, Any], str]] = [
    ({"imports": ["payload"]}, "imports=[payload]"),
    ({"imports": ["examples.spheres_source", "payloads.inner"]}, "imports=[payloads.inner]"),
    ({"data": {"name": "payload:Source"}}, "imports=[payload]"),
    ({"data": {"name": "payloads.inner:Source"}, "imports": ["yaml2"]}, "imports=[yaml2,payloads.inner]"),
    (
        {"data": {"name": "folder", "root": "/etc", "captions": "/etc/passwd"}},
        "data.captions=/etc/passwd data.root=/etc",
    ),
    ({"data": {"name": "kicad", "root": "meshes"}}, "data.root=meshes"),
    (
        {
            "data": {
                "name": "kicad",
                "captioner": {"steps": ["views"], "url": "http://a/v1", "key_env": "KEY"},
            }
        },
        "data.captioner={key_env:KEY,steps:[views],url:http://a/v1}",
    ),
    ({"train__text_encoder": "./encoder"}, "train.text_encoder=./encoder"),
]


@pytest.mark.parametrize("name", [*COMMANDS, "resume"])
@pytest.mark.parametrize(("settings", "asked"), NAMED, ids=[asked for _, asked in NAMED])
def test_nothing_that_a_sent_folder_names_is_imported_or_opened(
    sent: Sent,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    settings: dict[str, Any],
    asked: str,
    name: str,
) -> None:
    sent.names(**settings)
    capsys.readouterr()
    code = resume(monkeypatch, f"hydra.run.dir={sent.run}") if name == "resume" else sent.typed(name)
    told = capsys.readouterr().err
    assert code == 2
    assert not sent.proof.exists()
    words = told.splitlines()[-1].partition(" what of it you trust, or your own: ")[2]
    assert shlex.split(words) == asked.split()
    assert len([line for line in told.splitlines() if line.startswith("error: ")]) == 1


@pytest.mark.parametrize("name", ["search", "resume"])
def test_a_memory_that_a_sent_folder_names_is_not_opened(
    sent: Sent, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    sent.names(memory="/somewhere")
    code = resume(monkeypatch, f"hydra.run.dir={sent.run}") if name == "resume" else sent.typed(name)
    assert code == 2
    assert capsys.readouterr().err.rstrip().endswith("or your own: memory=/somewhere")


def test_what_is_named_again_is_followed(sent: Sent, capsys: pytest.CaptureFixture[str]) -> None:
    sent.names(data={**ANY_DATA, "name": "payload:Source", "place": "/there"})
    assert sent.typed("tree", "imports=payload") == 2
    assert "data.place=/there" in capsys.readouterr().err
    assert sent.typed("tree", "imports=payload", "data.place=/here") == 2
    assert "the payload was asked" in capsys.readouterr().err
    assert sent.proof.exists()


def test_other_paths_take_the_place_of_those_of_a_sent_folder(sent: Sent) -> None:
    sent.names(data={**ANY_DATA, "name": "folder", "root": "/theirs"}, memory="/theirs")
    named = {"data.root": "/mine", "cache": "/cache"}
    config = read_config(sent.run / "config.yaml", named)
    assert config.data.settings["root"] == "/mine"
    assert str(config.cache) == "/cache"
    assert config.memory == "train"  # nobody asks for it
    with pytest.raises(UserError, match=r"data\.rot=/mine: the run names nothing by it; did you mean root"):
        read_config(sent.run / "config.yaml", {**named, "data.rot": "/mine"})
    with pytest.raises(UserError, match=r"data\.points=9: the run names nothing by it"):
        read_config(sent.run / "config.yaml", {**named, "data.points": "9"})


def test_the_cache_of_a_sent_folder_is_left_alone(sent: Sent, capsys: pytest.CaptureFixture[str]) -> None:
    theirs = sent.run.parent / "theirs"
    sent.names(cache=str(theirs))
    assert read_config(sent.run / "config.yaml").cache is None
    assert f"its cache={theirs} is not used" in capsys.readouterr().err
    assert not theirs.exists()


def test_settings_of_hydra_are_refused(
    sent: Sent, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sent.names(hydra={"run": {"dir": "/tmp"}, "callbacks": {"evil": {"_target_": "payload.Source"}}})
    assert sent.typed("tree") == 2
    assert f"{sent.run / 'config.yaml'}: settings.hydra: no such setting" in capsys.readouterr().err
    assert resume(monkeypatch, f"hydra.run.dir={sent.run}") == 2
    assert "it has hydra" in capsys.readouterr().err
    assert not sent.proof.exists()


def test_nothing_is_looked_up_in_the_environment(
    sent: Sent, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sent.names(data__name="${oc.env:HOME}")
    for again in (lambda: sent.typed("tree"), lambda: resume(monkeypatch, f"hydra.run.dir={sent.run}")):
        assert again() == 2
        told = capsys.readouterr().err
        assert "config.yaml: data.name holds ${...}" in told
        assert os.environ["HOME"] not in told.replace(str(sent.run), "")


def test_modules_of_a_library_are_not_imported(sent: Sent) -> None:
    header: Any = type("Header", (), {"imports": ["payload"], "env": {}, "reward": {}, "seed": 0})
    results = {"agent": {"name": "payload", "acts": True}, "config": {"agent": {"name": "payload"}}}
    model: Any = None
    with pytest.raises(UserError, match=r"calibration=agent: .* 'imports=\[payload\]'"):
        calibration_of("agent", "text_to_shape", model, header, results, {}, remembers=False)
    assert not sent.proof.exists()


def test_a_sent_folder_is_data_from_python_too(sent: Sent) -> None:
    sent.names(imports=["payload"])
    with pytest.raises(UserError, match=r"imports=\[payload\]"):
        Searcher(sent.run)
    assert not sent.proof.exists()


def begun(folder: Path, *overrides: str) -> None:
    register_sizes()
    GlobalHydra.instance().clear()
    (config,) = check(list(overrides))
    open_folder(folder, config)
    (folder / "metrics.jsonl").touch()


def test_a_run_of_ones_own_needs_nothing_to_be_named(
    sent: Sent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, cache = tmp_path / "mine", tmp_path / "kept"
    names = ["data=folder", "data.root=/there", "imports=[payload]", f"cache={cache}", f"memory={tmp_path}"]
    begun(mine, *names)
    sent.proof.unlink()
    sys.modules.pop("payload")
    for folder in (mine, shutil.copytree(mine, tmp_path / "copied")):
        config = read_config(folder / "config.yaml", reads_memory=True)
        assert (config.cache, config.data.settings["root"]) == (cache, "/there")
        assert config.memory == str(tmp_path)
    assert sent.proof.exists()
    sent.proof.unlink()
    sys.modules.pop("payload")
    assert resume(monkeypatch, f"hydra.run.dir={mine}") == 2
    assert "root /there does not exist" in capsys.readouterr().err
    assert sent.proof.exists()  # it was imported, and the source asked


def test_a_module_of_that_name_in_another_place_is_another_one(
    sent: Sent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(tmp_path / "mine", "imports=[payload]")
    sent.proof.unlink()
    sys.modules.pop("payload")
    (tmp_path / "elsewhere").mkdir()
    shutil.move(sent.run / "payload.py", tmp_path / "elsewhere" / "payload.py")
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.syspath_prepend(str(tmp_path / "elsewhere"))
    with pytest.raises(UserError, match=r"imports=\[payload\]"):
        read_config(tmp_path / "mine" / "config.yaml")
    assert not sent.proof.exists()


def test_to_resume_a_sent_folder_does_not_make_it_ones_own(
    sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent.names(imports=["payload"])
    for path in ("metrics.jsonl", "results.json"):
        (sent.run / path).unlink()
    shutil.rmtree(sent.run / "checkpoints")
    GlobalHydra.instance().clear()
    monkeypatch.setattr("sys.argv", ["run", "resume=true", "imports=[payload]", f"hydra.run.dir={sent.run}"])
    for path in [path for path in sent.run.iterdir() if path.suffix == ".py" or path.is_dir()]:
        monkeypatch.syspath_prepend(
            str(shutil.copytree(sent.run, sent.run.parent / "modules", dirs_exist_ok=True))
        )
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    command.main(lambda config: open_folder(sent.run, config))
    assert sent.proof.exists()
    assert own_run(sent.run) is None


LINKS = ("index", "search", ".index.lock", "checkpoints/state", "tensorboard/x", "search/history")


@pytest.mark.parametrize(
    ("name", "link"),
    [*(("tree", link) for link in LINKS), *((name, "metrics.jsonl") for name in (*COMMANDS, "resume"))],
)
def test_links_out_of_a_folder_are_not_written_through(
    sent: Sent,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    link: str,
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    path = sent.run / link
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(victim)
    code = resume(monkeypatch, f"hydra.run.dir={sent.run}") if name == "resume" else sent.typed(name)
    assert code == 2
    assert f"{path}: a link that leads out of the folder" in capsys.readouterr().err
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("link", ["report", "report/report.md"])
def test_a_report_is_not_written_through_links(
    sent: Sent, tmp_path: Path, capsys: pytest.CaptureFixture[str], link: str
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    path = sent.run / link
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(victim)
    assert report.main([str(sent.run)]) == 2
    assert f"{path}: a link that leads out of the folder" in capsys.readouterr().err
    assert victim.read_text() == "precious"


def test_a_report_says_what_it_cannot_read(sent: Sent, capsys: pytest.CaptureFixture[str]) -> None:
    (sent.run / "results.json").write_text("[" * 200_000)
    (sent.own / "metrics.jsonl").write_text("[" * 200_000 + "\n")
    assert report.main([str(sent.run.parent)]) == 0
    told = capsys.readouterr().out
    assert f"{sent.run}: results.json cannot be read (nested more than 64 deep)" in told
    assert "1 line of metrics.jsonl cannot be read" in told


def test_pipes_are_not_waited_for(sent: Sent, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(sent.run / "memory.safetensors")
    assert sent.typed("tree") == 2
    assert "memory.safetensors: neither a file nor a folder" in capsys.readouterr().err


@pytest.mark.parametrize("words", ["tree run=.", "report .", "run resume=true hydra.run.dir=."])
def test_commands_take_no_module_from_the_working_folder(sent: Sent, words: str) -> None:
    """What this project imports; what Python imports before it is its own matter."""
    root = Path(__file__).parents[3]
    text = (sent.run / "payload.py").read_text()
    for path in (
        "yaml.py",
        "numpy.py",
        "hydra.py",
        "models.py",
        "align3d.py",
        "durable.py",
        "torch.py",
        "svs.py",
    ):
        (sent.run / path).write_text(text)
    (sent.run / "hydra_plugins").mkdir()
    (sent.run / "hydra_plugins" / "plugin.py").write_text(text)
    sent.names(imports=["payload"])
    done = subprocess.run(
        [sys.executable, "-m", *shlex.split(f"experiments.{words}")],
        cwd=sent.run,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert not sent.proof.exists(), done.stderr
    assert done.returncode in (0, 2), done.stderr
    assert "Traceback" not in done.stderr

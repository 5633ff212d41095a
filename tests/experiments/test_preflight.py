"""What a run needs of the machine, and is told of before it begins."""

from pathlib import Path

import pytest
import torch

from align3d.errors import DataError
from experiments.cli import check, main
from experiments.config import register_sizes
from experiments.data import load_corpus
from experiments.errors import UserError
from experiments.preflight import check_machine

register_sizes()
WRONG_PLACE = r"cache=.*file.*: (a file is there|cannot be written to \(Not a directory\))"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_text("not a folder")
    return path


@pytest.mark.parametrize("under", ["", "deeper"])
def test_a_cache_that_is_no_folder_is_named(file: Path, under: str) -> None:
    (config,) = check([f"cache={file / under}"])
    with pytest.raises(UserError, match=WRONG_PLACE):
        check_machine(config)
    with pytest.raises(UserError, match=WRONG_PLACE):
        load_corpus(config, torch.device("cpu"))


@pytest.mark.parametrize("data", ["kicad", "folder"])
def test_a_source_with_nothing_to_read_is_named(tmp_path: Path, data: str) -> None:
    (config,) = check([f"data={data}", "data.root=/nope", f"cache={tmp_path / 'cache'}"])
    with pytest.raises(DataError, match="/nope"):
        check_machine(config)
    assert not list(tmp_path.iterdir())


def test_a_device_that_is_not_there_is_named() -> None:
    with pytest.raises(UserError, match="device=abacus"):
        check_machine(check(["device=abacus"])[0])


def test_a_text_encoder_is_looked_for_before_the_data_are_built(tmp_path: Path) -> None:
    (tmp_path / "encoder").mkdir()
    (config,) = check([f"train.text_encoder={tmp_path / 'encoder'}", f"cache={tmp_path / 'cache'}"])
    with pytest.raises(UserError, match=r"train.text_encoder=.*encoder: no text encoder can be loaded"):
        load_corpus(config, torch.device("cpu"))
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["hydra.run.dir={file}"], "hydra.run.dir={file}: a file is there"),
        (["hydra.run.dir={file}/${{now:%Y}}"], "hydra.run.dir={file}: a file is there"),
        (["hydra.run.dir=/proc/nowhere"], "hydra.run.dir=/proc/nowhere: cannot be written to"),
        (["-m", "seed=0,1", "hydra.sweep.dir={file}/x"], "hydra.sweep.dir={file}/x: cannot be written to"),
        (["cache={file}", "hydra.run.dir={folder}"], "cache={file}: a file is there"),
        (["env.families=[]", "hydra.run.dir={folder}"], "env.families=[]"),
    ],
)
def test_the_command_ends_in_one_line_and_leaves_nothing(
    tmp_path: Path,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    names = {"file": file, "folder": tmp_path / "run"}
    typed = [*(argument.format(**names) for argument in arguments), "agent=none"]
    monkeypatch.setattr("sys.argv", ["run", *typed])
    with pytest.raises(SystemExit) as caught:
        main(lambda config: None)
    assert caught.value.code == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert words.format(**names) in told
    assert list(tmp_path.iterdir()) == [file]

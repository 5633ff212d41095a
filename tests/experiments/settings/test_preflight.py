"""What a run needs of the machine, and is told of before it begins."""

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
import trimesh

from align3d.errors import DataError, UserError
from experiments.console import process
from experiments.data.corpus import load_corpus
from experiments.settings.command import check, main
from experiments.settings.preflight import check_machine
from experiments.settings.schema import register_sizes
from experiments.training.loop import train
from experiments.training.session import Session
from models.hub import local_only
from tests.align3d.sources.meshes.glb_writer import Glb

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


@pytest.mark.parametrize("device", ["abacus", "meta", "cpu:1", "cuda:99"])
def test_a_device_that_is_not_there_is_named(device: str) -> None:
    with pytest.raises(UserError, match=f"device={device}: "):
        check_machine(check([f"device={device}"])[0])


@pytest.mark.parametrize(("told", "threads"), [("3", 3), ("3,2", 3), ("many", None), ("0", None), ("", None)])
def test_threads_are_those_of_the_environment_if_it_names_a_number(
    monkeypatch: pytest.MonkeyPatch, told: str, threads: int | None
) -> None:
    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    try:
        assert process.use_threads(None) == (threads or process.available_cores())
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("name", ["no-one/no-such-encoder", "no-such-encoder", "", "no/such/folder"])
def test_a_text_encoder_that_is_nowhere_is_named_at_once_without_a_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    with socket.socket() as unheard:  # bound, but not listening: whoever calls is refused
        unheard.bind(("127.0.0.1", 0))
        port = unheard.getsockname()[1]
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{port}")
        waits: list[float] = []
        monkeypatch.setattr("time.sleep", waits.append)
        (config,) = check([f"train.text_encoder={name}", f"cache={tmp_path / 'cache'}"])
        with pytest.raises(UserError, match=f"train.text_encoder={name}: no text encoder .*no such folder"):
            check_machine(config)
    assert not waits  # the client pauses between the times that it tries


def test_a_hub_that_answers_is_asked_for_the_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Nothing(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        do_GET = do_HEAD

        def log_message(self, format: str, *values: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Nothing) as hub:
        threading.Thread(target=hub.serve_forever, daemon=True).start()
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{hub.server_port}")
        assert not local_only("no-one/no-such-encoder")
        hub.shutdown()
    assert asked == ["/"]


def test_what_cannot_be_used_of_a_source_is_told_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(12):
        trimesh.creation.box([1, 1, 1 + number]).export(tmp_path / f"{number}.stl")
    (tmp_path / "11.stl").write_bytes(b"")
    plate = Glb()
    plate.texture(b"no image")
    plate.plate({"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}})
    plate.save(tmp_path / "plate.glb")
    rows = [*(f"{number}.stl,box {number}" for number in range(12)), "plate.glb,a plate"]
    (tmp_path / "captions.csv").write_text("\n".join(["path,caption", *rows, "none.stl,nothing"]))
    settings = [
        f"data.root={tmp_path}",
        "train.batch_size=4",
        "train.group=2",
        f"cache={tmp_path / '.cache'}",
    ]
    (config,) = check(["data=folder", "model=tiny", "data.reward=2", "data.test=2", *settings])
    load_corpus(config, torch.device("cpu"))
    told = capsys.readouterr().err
    assert "data=folder: 2 of 14 items cannot be used (1 no geometry in the file; 1 caption without" in told
    assert str(tmp_path / ".cache") in told
    assert "rejections.jsonl" in told
    assert "1 of 12 shapes lack colors of their files (plate.glb: texture of material 0: not an image" in told
    assert "lost_colors.jsonl" in told


def test_a_text_encoder_is_looked_for_before_the_data_are_built(tmp_path: Path) -> None:
    (tmp_path / "encoder").mkdir()
    (config,) = check([f"train.text_encoder={tmp_path / 'encoder'}", f"cache={tmp_path / 'cache'}"])
    with pytest.raises(UserError, match=r"train.text_encoder=.*encoder: no text encoder can be loaded"):
        load_corpus(config, torch.device("cpu"))
    assert not list((tmp_path / "cache").iterdir())


TINY = ["model=tiny", "data.size=24", "data.test=4", "data.reward=4", "train.batch_size=4", "train.group=2"]


def test_more_folds_than_pairs_of_shapes_are_refused_before_anything_is_trained(tmp_path: Path) -> None:
    (config,) = check([*TINY, "dap.folds=9", f"cache={tmp_path}"])
    with pytest.raises(UserError, match=r"dap.folds=9: .* 16 shapes to train on, so expected at most 8"):
        load_corpus(config, torch.device("cpu"))


def test_a_training_that_diverges_ends_where_it_does(tmp_path: Path) -> None:
    (config,) = check([*TINY, "train.learning_rate=1e6", "train.reuse=false", f"cache={tmp_path / 'cache'}"])
    corpus = load_corpus(config, torch.device("cpu"))
    session = Session(config, tmp_path, corpus, torch.device("cpu"))
    with pytest.raises(UserError, match=r"train.learning_rate=1000000.0: training has diverged: in step \d+"):
        train(session)
    assert all(parameter.isfinite().all() for parameter in session.model.parameters())


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

"""Loggers beside TensorBoard, each for real and offline: one line per step, over resumptions and replays."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from align3d.errors import UserError
from experiments.loggers import installed
from experiments.loggers.followers import LOGGERS, Follower, facts_of
from experiments.loggers.installed import NEEDED, check_loggers
from experiments.run_folder.metrics_log import MetricsLogger
from experiments.settings.sent_settings import permitted
from tests.experiments.run_folder.test_run_files import settings

CONFIG = {"agent": {"name": "mcts"}, "data": {"name": "procedural"}, "seed": 3, "loggers": []}
RESULTS = {
    "steps": 5,
    "metrics": {"final": {"text_to_shape/recall@1": 0.5}},
    "agent": {"acts": True, "test": {"return": 0.25}},
    "dataset": {"name": "procedural"},
    "versions": {"align3d": "0.1"},
}
SHOULD_STAND = [(step, 5.0 - step) for step in range(5)]
WORK = """
import json, os, signal, sys
from pathlib import Path
import numpy as np
from experiments.loggers.followers import followers
from experiments.run_folder.metrics_log import MetricsLogger

folder, name, part = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
config, results = json.loads(sys.argv[4]), json.loads(sys.argv[5])

def line(step):
    return json.dumps({"step": step, "phase": "train", "time": 0.1, "loss/total": 5.0 - step})

if part != "second":
    with MetricsLogger(folder, followers=followers(folder, [name], config)) as log:
        log.replay([line(0), line(1)])  # of a warm-up that is shared
        log.write(2, "train", {"loss/total": 3.0})
        (folder / "noted.json").write_text(json.dumps(log.noted()))
        log.image(3, "attention", np.zeros((4, 6, 3), np.uint8))
        log.write(3, "train", {"loss/total": 2.0})  # behind the checkpoint
        if part == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
else:
    noted = json.loads((folder / "noted.json").read_text())
    with MetricsLogger(folder, noted, 3, followers(folder, [name], config)) as log:
        log.write(3, "train", {"loss/total": 2.0, "loss/none": float("nan")})
        log.image(4, "search", np.zeros((4, 6, 3), np.uint8))
        log.write(4, "train", {"loss/total": 1.0})
        log.results(results)
        log.close()
"""


@pytest.fixture
def listener() -> Iterator[tuple[str, list[bytes]]]:
    """A proxy that takes no request; its address and what it was asked."""
    asked: list[bytes] = []
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                asked.append(connection.recv(200))

    threading.Thread(target=serve, daemon=True).start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}", asked
    server.close()


def worked(folder: Path, name: str, part: str, proxy: str) -> subprocess.CompletedProcess[str]:
    """A part of a run in a process of its own, which has no home and would send everything to a proxy."""
    private = {"HOME", "NETRC", "XDG_CONFIG_HOME", "TRACKIO_DIR"}
    mine = {
        key: value
        for key, value in os.environ.items()
        if key not in private and not key.startswith(("WANDB_", "MLFLOW_", "TRACKIO_"))
    }
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), proxy)
    root = str(Path(__file__).parents[3])
    done = subprocess.run(
        [sys.executable, "-c", WORK, str(folder), name, part, json.dumps(CONFIG), json.dumps(RESULTS)],
        cwd=folder,
        env={**mine, **proxies, "HOME": str(folder / "home"), "PYTHONPATH": root, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == (-signal.SIGKILL if part == "killed" else 0), done.stderr
    return done


def in_wandb(folder: Path) -> tuple[list[tuple[int, float]], set[str], int]:
    """What the files of an offline run of Weights & Biases hold."""
    from wandb.proto import wandb_internal_pb2

    found: list[tuple[int, float]] = []
    summary: set[str] = set()
    for path in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        for content in wandb_records(path.read_bytes()):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(content)
            items = {"/".join(i.nested_key) or i.key: i.value_json for i in record.history.item}
            if "train/loss/total" in items:
                found.append((record.history.step.num, float(items["train/loss/total"])))
            summary |= {i.key or ".".join(i.nested_key) for i in record.summary.update}
    return found, summary, len([*folder.glob("wandb/offline-run-*/files/media/images/*.png")])


def wandb_records(content: bytes) -> Iterator[bytes]:
    """Records of a file in LevelDB's format of logs, behind Weights & Biases' header of 7 bytes."""
    place, parts = 7, b""
    while place + 7 <= len(content):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
            continue
        size, kind = int.from_bytes(content[place + 4 : place + 6], "little"), content[place + 6]
        parts += content[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):
            yield parts
            parts = b""


def in_mlflow(folder: Path) -> tuple[list[tuple[int, float]], set[str], int]:
    with sqlite3.connect(folder / "mlflow.db") as base:
        lines = base.execute("select step, value from metrics where key = 'train/loss/total' order by step")
        found = [(int(step), float(value)) for step, value in lines]
        names = {row[0] for row in base.execute("select key from metrics")}
        assert base.execute("select count(*), min(status) from runs").fetchone() == (1, "FINISHED")
        tags = dict(base.execute("select key, value from tags"))
        assert (tags["agent"], tags["data"], tags["seed"]) == ("mcts", "procedural", "3")
        assert ("agent.name", "mcts") in base.execute("select key, value from params").fetchall()
    assert len([*folder.rglob("artifacts/results.json")]) == 1
    return found, {name.replace("_at_", "@") for name in names}, len([*folder.rglob("images/*.png")])


def in_trackio(folder: Path) -> tuple[list[tuple[int, float]], set[str], int]:
    (path,) = folder.rglob("align3d.db")
    with sqlite3.connect(path) as base:
        rows = [
            (int(s), json.loads(m)) for s, m in base.execute("select step, metrics from metrics order by id")
        ]
    found = [(step, float(line["train/loss/total"])) for step, line in rows if "train/loss/total" in line]
    return found, {name for _, line in rows for name in line}, len([*folder.rglob("media/**/*.png")])


READERS = {"wandb": in_wandb, "mlflow": in_mlflow, "trackio": in_trackio}


@pytest.mark.parametrize("first", ["first", "killed"])
@pytest.mark.parametrize("name", LOGGERS)
def test_a_resumed_run_stands_once_in_each_tool_and_goes_nowhere(
    name: str, first: str, tmp_path: Path, listener: tuple[str, list[bytes]]
) -> None:
    for package in NEEDED[name]:
        pytest.importorskip(package, reason=f"{name} needs {package}: the extra loggers")
    proxy, asked = listener
    (tmp_path / "home").mkdir()
    for part in (first, "second"):
        done = worked(tmp_path, name, part, proxy)
        assert "loggers:" not in done.stderr
        assert done.stdout == ""
    lines, summary, pictures = READERS[name](tmp_path)
    assert lines == SHOULD_STAND
    assert {"final/final/text_to_shape/recall@1", "final/agent/return", "final/agent/acts"} <= summary
    lost = (name, first) == ("wandb", "killed")  # the one before the kill is in the folder that was put aside
    assert pictures == (1 if lost else 2)
    assert asked == []


class Failing:
    """A tool that fails with a step."""

    next_step = 0
    at = 1

    def __init__(self, facts: object) -> None:
        self.written: list[int] = []

    def write(self, step: int, values: object, pictures: object) -> None:
        if step == self.at:
            raise ConnectionError("no\nroute")
        self.written.append(step)

    def results(self, results: object, numbers: object) -> None:
        raise AssertionError("not to be called any more")

    def close(self, *, finished: bool) -> None:
        raise AssertionError("not to be called any more")


def test_a_tool_that_fails_costs_one_line_and_not_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LOGGERS, "wandb", Failing)
    follower = Follower("wandb", facts_of(tmp_path, CONFIG))
    tool: Any = follower._tool
    with MetricsLogger(tmp_path, followers=[follower]) as log:
        for step in range(4):
            log.image(step, "attention", np.zeros((2, 2, 3), np.uint8))
            log.write(step, "train", {"loss/total": 1.0})
        log.results(RESULTS)
        log.close()
    assert tool.written == [0]
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "loggers: wandb has failed (ConnectionError: no route); the run goes on without it"
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 4


def test_a_server_that_is_not_there_costs_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow", reason="the extra loggers")
    for name, value in {"TRACKING_URI": "http://127.0.0.1:9", "HTTP_REQUEST_MAX_RETRIES": "0"}.items():
        monkeypatch.setenv(f"MLFLOW_{name}", value)
    Follower("mlflow", facts_of(tmp_path, CONFIG)).lines(['{"step": 0, "phase": "train", "loss/total": 1.0}'])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("loggers: mlflow cannot begin (")


def test_a_package_that_is_missing_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        installed.importlib.util, "find_spec", lambda name: None if name == "wandb" else find(name)
    )
    with pytest.raises(
        UserError, match=r"^loggers=\[wandb\]: wandb is not installed; pip install 'align3d\[loggers\]'"
    ):
        check_loggers(["wandb"])


def test_loggers_are_a_list_of_names() -> None:
    assert settings(loggers="[mlflow,wandb]").loggers == ["mlflow", "wandb"]
    for wrong in ("wandb", "[tensorboard]", "[wandb,wandb]"):
        with pytest.raises(UserError, match="loggers"):
            settings(loggers=wrong)
    assert set(LOGGERS) == set(NEEDED) == set(READERS)


def test_the_run_of_a_stranger_opens_no_logger(tmp_path: Path) -> None:
    plain = {**CONFIG, "loggers": ["wandb"], "train": {}}
    assert permitted(plain, tmp_path, "run=X")["loggers"] == []

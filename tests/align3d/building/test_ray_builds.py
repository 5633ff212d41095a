"""Builds by Ray: the same bytes as on this machine, whatever dies on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from align3d.dataset import ShapeDataset
from align3d.errors import DataError
from align3d.pipeline import build
from tests.align3d.building.built_boxes import contents
from tests.align3d.building.marking_stage import Marking
from tests.align3d.toy_source import Boxes

ray = pytest.importorskip("ray", reason="ray is not installed: pip install 'align3d[cluster]'")
HERE = Path(__file__).parents[1]
ROOT = HERE.parents[1]


@pytest.fixture
def machines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A cluster on this machine: a head of two cores, and a machine that captions and has no cores."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{HERE}")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    cluster.add_node(num_cpus=0, resources={"captions": 1})
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def test_a_killed_worker_costs_nothing_and_captions_have_machines_of_their_own(
    machines: Any, tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS")
        stages = [Marking(str(tmp_path / "here.log"))]
        build(Boxes(300), tmp_path / "local", points=32, workers=1, stages=stages)

    log = tmp_path / "captions.log"
    killed = []

    def kill() -> None:
        while not killed:
            time.sleep(0.05)
            if log.exists() and len(lines := log.read_text().splitlines()) > 20:
                killed.append(int(lines[-1].split()[2]))
                os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    stages = [Marking(str(log), seconds=0.01)]
    build(Boxes(300), tmp_path / "ray", points=32, engine="ray", stages=stages)
    killer.join()
    assert contents(tmp_path / "ray") == contents(tmp_path / "local")
    places = {line.split()[1] for line in log.read_text().splitlines()}
    captioning = {one["NodeID"] for one in ray.nodes() if one["Resources"].get("captions")}
    assert places == captioning


def test_an_item_that_kills_its_worker_is_rejected_by_name(tmp_path: Path) -> None:
    build(Boxes(300, die_at=140), tmp_path / "local", points=32, workers=1)
    command = [sys.executable, "-m", "align3d.build", "source=toy_source:Boxes", "size=300", "die_at=140"]
    words = [f"out={tmp_path / 'ray'}", "engine=ray", "points=32", "workers=2", "progress=false"]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{HERE}"}
    subprocess.run([*command, *words], env=environment, check=True, capture_output=True)
    assert contents(tmp_path / "ray", but="README.md") == contents(tmp_path / "local", but="README.md")
    dataset = ShapeDataset.load(tmp_path / "ray")
    assert [one.item for one in dataset.rejections if "ends the process" in one.reason] == ["box-0140"]


def test_the_head_is_restarted_and_the_same_command_goes_on(machines: Any, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "align3d.build", "source=toy_source:Boxes", "size=3000", "points=256"]
    command += [f"out={tmp_path / 'boxes'}", "engine=ray", "workers=1", "progress=false"]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{HERE}"}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not (tmp_path / "boxes.partial/data-00000.json").exists():
            time.sleep(0.001)
        machines.shutdown()
        _, told = process.communicate(timeout=120)
    assert process.returncode != 0
    assert (tmp_path / "boxes.partial/data-00000.json").exists(), told
    kept = (tmp_path / "boxes.partial/data-00000.arrow").stat()

    environment.pop("RAY_ADDRESS")  # a head of its own
    subprocess.run(command, env=environment, check=True, capture_output=True)
    build(Boxes(3000), tmp_path / "local", points=256, workers=1)
    assert contents(tmp_path / "boxes", but="README.md") == contents(tmp_path / "local", but="README.md")
    dataset = ShapeDataset.load(tmp_path / "boxes")
    first = (dataset.path / dataset.manifest.shards[0].file).stat()
    assert (first.st_mtime_ns, first.st_ino) == (kept.st_mtime_ns, kept.st_ino)  # not read again


def test_an_engine_that_there_is_not(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="engine=rya: expected one of local, ray"):
        build(Boxes(10), tmp_path / "boxes", points=32, engine="rya")

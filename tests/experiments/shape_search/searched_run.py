"""A folder of 60 meshes in five formats, and the finished run that was trained on it by the real commands."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import trimesh

ROOT = Path(__file__).parents[3]
FORMATS = ("glb", "obj", "ply", "stl", "off")
COLORED = {"glb": ("red", (220, 30, 30)), "ply": ("blue", (30, 60, 220))}
SETTINGS = """data=folder data.points=512 data.test=6 data.reward=6 model=tiny device=cpu threads=1
    agent=mcts dap.agent_steps=300 dap.validations=2 dap.mode=off eval.candidates=16
    train.epochs=90 train.hard_epochs=0 train.batch_size=16 train.group=8
    train.images_every=0 train.reuse=false"""


@dataclass(frozen=True)
class Searched:
    """What the tests search.

    Attributes:
        meshes: Folder of the meshes.
        dataset: Folder of the dataset that was built from them.
        run: Folder of the run.
    """

    meshes: Path
    dataset: Path
    run: Path


def shapes() -> dict[str, trimesh.Trimesh]:
    """Twelve kinds of things, some 40 mm large, z up."""
    box, cylinder = trimesh.creation.box, trimesh.creation.cylinder
    beside = trimesh.transformations.translation_matrix
    return {
        "cube": box((30, 30, 30)),
        "ball": trimesh.creation.icosphere(subdivisions=2, radius=20),
        "pillar": cylinder(6, 60),
        "disc": cylinder(25, 4),
        "cone": trimesh.creation.cone(18, 40),
        "ring": trimesh.creation.torus(20, 4),
        "pipe": trimesh.creation.annulus(12, 16, 40),
        "board": box((60, 40, 3)),
        "capsule": trimesh.creation.capsule(40, 10),
        "corner bracket": trimesh.util.concatenate([box((40, 20, 4)), box((4, 20, 40), beside([18, 0, 20]))]),
        "cross": trimesh.util.concatenate([box((50, 8, 8)), box((8, 50, 8))]),
        "dumbbell": trimesh.util.concatenate(
            [
                cylinder(4, 50),
                trimesh.creation.icosphere(radius=11).apply_translation([0, 0, 25]),
                trimesh.creation.icosphere(radius=11).apply_translation([0, 0, -25]),
            ]
        ),
    }


def write_meshes(folder: Path) -> None:
    """Each kind in each format, and a file of captions."""
    folder.mkdir(parents=True)
    rows = []
    for kind, mesh in shapes().items():
        for suffix in FORMATS:
            word, color = COLORED.get(suffix, ("gray", (102, 102, 102)))
            painted = mesh.copy()
            if suffix in COLORED:
                painted.visual.vertex_colors = np.tile([*color, 255], (len(mesh.vertices), 1)).astype(
                    np.uint8
                )
            painted.apply_scale(1e-3 * (1 + 0.1 * FORMATS.index(suffix)))  # in meters
            if suffix == "glb":  # y is up there
                painted.apply_transform(trimesh.transformations.rotation_matrix(-np.pi / 2, [1, 0, 0]))
            name = f"{kind.replace(' ', '_')}_{word}.{suffix}"
            painted.export(folder / name)
            rows.append({"path": name, "caption": f"a {word} {kind}", "category": kind})
    with (folder / "captions.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["path", "caption", "category"])
        writer.writeheader()
        writer.writerows(rows)


def command(*words: str, cache: Path) -> subprocess.CompletedProcess[str]:
    """Runs one of the project's commands, which has to succeed."""
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=400,
        env={**os.environ, "ALIGN3D_CACHE": str(cache)},
    )
    assert done.returncode == 0, done.stderr
    return done


def trained(base: Path) -> Searched:
    """Writes the folder, builds its dataset and trains on it."""
    found = Searched(base / "meshes", base / "dataset", base / "run")
    write_meshes(found.meshes)
    cache, root = base / "cache", str(found.meshes)
    command(
        "align3d.build", "source=folder", f"root={root}", f"out={found.dataset}", "points=512", cache=cache
    )
    words = [*SETTINGS.split(), f"data.root={root}", f"cache={cache}", f"hydra.run.dir={found.run}"]
    command("experiments.run", *words, cache=cache)
    return found


@pytest.fixture(scope="session")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Searched:
    """The folder, the dataset and the run, made once for all tests."""
    return trained(tmp_path_factory.mktemp("searched"))

"""The making of an attacked world, by the real commands, in the processes of a fork server."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from tests.attack.forks import ForkServer
from tests.attack.world import World
from tests.attack.world_readers import BUILT, SETTINGS, command, reader, run_command

KERNEL = '''
from compiling import cached_njit


@cached_njit()
def total(count):
    """Sum of the squares below a number."""
    found = 0
    for number in range(count):
        found += number * number
    return found
'''
OBJ = """mtllib missing.mtl
usemtl lost
v 0 0 0
v {0} 0 0
v 0 {1} 0
v 0 0 {2}
f 1 3 2
f 1 2 4
f 2 3 4
f 3 1 4
"""
STEPS = ("make_run", "make_dataset", "make_unfinished", "make_index", "make_kernels")
"""Readers that make a world, in this order."""
FOLLOWING = ("searched", "searched_dataset", "tree", "retrieval_new", "retrieval", "compiled")
"""Readers that leave files behind at their first call, which they read at the next."""


def make_world(server: ForkServer, folder: Path) -> World:
    """Makes everything that is attacked.

    Raises:
        RuntimeError: A command fails; with what it said.
    """
    folder.mkdir(parents=True)
    world = World(folder)
    for step in (*STEPS, *FOLLOWING):
        if (
            step == "searched_dataset"
        ):  # it has caches of its own, so that each file of a cache has one reader
            shutil.copytree(world.cache, world.other_cache)
        reading = server.read(step, world)
        if reading.code != (-signal.SIGKILL if step == "make_unfinished" else 0):
            raise RuntimeError(f"{step}: exit code {reading.code}\n{reading.err}")
    return world


@reader
def make_run(world: World) -> Any:
    """A finished run, and the same before its evaluation."""
    run_command(*SETTINGS, f"hydra.run.dir={world.run}")
    shutil.copytree(world.run, world.begun)
    (world.begun / "results.json").unlink()


@reader
def make_dataset(world: World) -> Any:
    """A dataset of meshes, one of which is rejected, and one of which has lost its colors."""
    from align3d.build import main

    world.meshes.mkdir()
    rows = ["path,caption,category"]
    for number in range(12):
        text = OBJ.format(1 + number / 7, 1 + number / 5, 2)
        if number:
            text = "\n".join(text.splitlines()[2:])
        (world.meshes / f"wedge_{number}.obj").write_text(text + "\n")
        rows.append(f"wedge_{number}.obj,a wedge {number} mm long,wedge")
    (world.meshes / "broken.obj").write_text("v 1 2\nf 9 9 9\n")
    rows.append("broken.obj,a broken one,wedge")
    (world.meshes / "captions.csv").write_text("\n".join(rows) + "\n")
    command(main, "source=folder", f"root={world.meshes}", "points=64", "workers=1", f"out={world.dataset}")


@reader
def make_unfinished(world: World) -> Any:
    """A build of two shards that is killed when it begins with the second."""
    from align3d.build import main

    def kill(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and str(arguments[1])[:1] == "w" and "-00001." in Path(str(arguments[0])).name:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(kill)
    command(main, *BUILT, f"out={world.unfinished}")


@reader
def make_index(world: World) -> Any:
    """A small index with metadata, some of which was changed."""
    import numpy as np

    from retrieval import ErsIndex

    vectors = np.random.default_rng(0).standard_normal((600, 16)).astype(np.float32)
    index = ErsIndex(leaves=12, beam=4, refine=20)
    index.build(vectors, np.arange(600), {"kind": ["even", "odd"] * 300})
    index.save(world.index)


@reader
def make_kernels(world: World) -> Any:
    """A module with a compiled function."""
    world.kernels.mkdir()
    (world.kernels / "attacked_kernels.py").write_text(KERNEL)

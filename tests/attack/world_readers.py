"""Readers of what is attacked: each runs a real command or class in a world and returns its numbers.

They run in processes of their own, see `tests.attack.fork_server`; a command that refuses ends them with its
exit code.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import json
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.attack.world import World

QUERY = "a small red chair with four legs"
SETTINGS = shlex.split("""
    agent=random agent.budget=4 env.horizon=2 env.backend=torch model=tiny device=cpu threads=1
    model.width=16 model.embedding=32 model.pair_width=16 model.points=64 model.patches=8 model.patch_points=8
    data.size=40 data.points=64 data.test=10 data.reward=10 data.workers=1 eval.candidates=6 eval.grounding=0
    train.batch_size=8 train.group=4 train.epochs=3 train.hard_epochs=1 train.images_every=0 dap.mode=both
    dap.period=3 dap.warmup=0.5 dap.queries=4 dap.candidates=4 dap.agent_steps=24 dap.validations=1
""")
"""Of a run that takes a few seconds."""
BUILT = shlex.split("source=procedural size=130 points=64 workers=1")
"""Of a build of two shards."""
EVALUATED = shlex.split("""
    engines=flat k=3 candidates=5 keep=3 rounds=1 singles=2 resamples=50 recall=0.5 device=cpu
""")
"""Of a retrieval evaluation that takes a few seconds."""
TIMED = ("checksum", "second", "rate", "versions", "settings", "queries_per", "ms")
TIMES = ("seconds", "sheet", "timing")

READERS: dict[str, Callable[[World], Any]] = {}


def reader(function: Callable[[World], Any]) -> Callable[[World], Any]:
    """Makes a function known by its name."""
    READERS[function.__name__] = function
    return function


def prepare() -> None:
    """Loads what the readers need, before processes are forked."""
    import numba
    import numpy as np
    import torch

    from retrieval import ErsIndex

    torch.set_num_threads(1)
    for name in ("run", "search", "tree", "retrieval", "report"):
        importlib.import_module(f"experiments.{name}")
    for name in (
        "align3d.build",
        "experiments.shape_search.make_library",
        "sentence_transformers",
        "datasets",
    ):
        importlib.import_module(name)
    numba.njit(lambda number: number + 1)(1)  # the compiler takes a second to begin
    vectors = np.random.default_rng(0).standard_normal((300, 16)).astype(np.float32)
    index = ErsIndex(leaves=4)
    index.build(vectors, np.arange(300))
    index.search(vectors, 5)  # loads its machine code


def command(main: Callable[[list[str]], int], *words: object) -> str:
    """Runs a command; what it prints.

    Raises:
        SystemExit: With its exit code, if that is not 0.
    """
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = main([str(word) for word in words])
    if code:
        sys.exit(code)
    return out.getvalue()


def run_command(*words: str) -> str:
    """Runs ``experiments.run``; what it prints."""
    from experiments import run

    sys.argv = ["experiments.run", *words]
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        run.main()
    return out.getvalue()


def in_command(read: Callable[[], Any]) -> Any:
    """Calls a function as a command does: what it refuses is a line on stderr and exit code 2."""
    from align3d.console.command_frame import run_command as framed

    found: list[Any] = []
    code = framed(["read"], str, lambda _: found.append(read()))
    if code:
        sys.exit(code)
    return found[0]


def digest(*arrays: Any) -> str:
    """Hash of arrays or tensors, or of what can be written as JSON."""
    import numpy as np

    hashed = hashlib.sha256()
    for array in arrays:
        plain = array.numpy() if hasattr(array, "numpy") else array
        hashed.update(plain.tobytes() if isinstance(plain, np.ndarray) else json.dumps(plain).encode())
    return hashed.hexdigest()


def run_numbers(folder: Path) -> dict[str, Any]:
    """Numbers of a finished run: its results and the lines of its metrics, but for times."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {
        "results": results_numbers(folder),
        "metrics": [{name: value for name, value in line.items() if name != "time"} for line in lines],
    }


def results_numbers(folder: Path) -> dict[str, Any]:
    """Numbers in the results of a finished run."""
    results = json.loads((folder / "results.json").read_text())
    return {name: results[name] for name in ("dataset", "metrics", "agent", "memory", "steps")}


def dataset_numbers(dataset: Any) -> dict[str, str]:
    """All that a dataset holds."""
    every = range(len(dataset))
    return {
        "arrays": digest(*(getattr(dataset, name)(every) for name in ("points", "colors", "part", "size_m"))),
        "captions": digest(dataset.ids, dataset.categories, dataset.captions, dataset.part_names),
        "rejections": digest([str(rejection) for rejection in dataset.rejections]),
        "lost_colors": digest([str(loss) for loss in dataset.lost_colors]),
        "notes": digest([str(note) for note in dataset.notes]),
        "hash": dataset.hash,
    }


@reader
def finished(world: World) -> Any:
    """A finished run that is resumed shows its table again."""
    table = run_command("resume=true", f"hydra.run.dir={world.run}")
    return [table.rpartition("run folder")[0], results_numbers(world.run)]


@reader
def resumed(world: World) -> Any:
    """A run that was cut off before its evaluation goes on."""
    run_command("resume=true", f"hydra.run.dir={world.begun}")
    return run_numbers(world.begun)


@reader
def trained(world: World) -> Any:
    """A new run with the same settings begins with the warm-up in the cache."""
    run_command(*SETTINGS, f"hydra.run.dir={world.anew}")
    return run_numbers(world.anew)


@reader
def trained_on(world: World) -> Any:
    """A run that was killed goes on, or begins anew where it had not begun."""
    from experiments.run_folder.names import is_begun

    if not is_begun(world.anew):
        return trained(world)
    run_command("resume=true", f"hydra.run.dir={world.anew}")
    return run_numbers(world.anew)


@reader
def searched(world: World) -> Any:
    """A search in a run's own shapes."""
    return _search(world, f"run={world.run}")


@reader
def searched_dataset(world: World) -> Any:
    """A search in the shapes of a dataset by a run's model."""
    os.environ["ALIGN3D_CACHE"] = str(world.other_cache)
    return _search(world, f"run={world.run}", f"dataset={world.dataset}")


def _search(world: World, *words: str) -> Any:
    from experiments import search

    more = ("json=true", "pictures=off", f"sheet={world.folder / 'answers.png'}")
    found = json.loads(command(search.main, QUERY, *words, *more))
    for answer in found["answers"]:
        answer.pop("file", None)
    return {name: value for name, value in found.items() if name not in TIMES}


@reader
def tree(world: World) -> Any:
    """The tree of a run's index."""
    from experiments import tree

    return command(tree.main, f"run={world.run}")


@reader
def index_tree(world: World) -> Any:
    """The tree of a saved index."""
    from experiments import tree

    return command(tree.main, f"index={world.index}")


@reader
def index_loaded(world: World) -> Any:
    """A saved index that is loaded and searched."""
    return in_command(lambda: _index_numbers(world, verify=True))


@reader
def index_trusted(world: World) -> Any:
    """The same, its bytes not looked at."""
    return in_command(lambda: _index_numbers(world, verify=False))


def _index_numbers(world: World, *, verify: bool) -> Any:
    import numpy as np

    from align3d.errors import UserError
    from retrieval import ErsIndex

    queries = np.random.default_rng(1).standard_normal((32, 16)).astype(np.float32)
    try:
        index = ErsIndex.load(world.index, verify=verify)
    except ValueError as error:
        raise UserError(str(error)) from error
    ids, scores = index.search(queries, 5)
    some, _ = index.search(queries, 5, where={"kind": ["even"]})
    more = index.ids
    index.remove(more[:3])
    index.add(queries[:3], np.arange(10_000, 10_003), {"kind": ["even"] * 3})
    return digest(ids, scores, some, more, *index.search(queries, 5))


@reader
def index_kept(world: World) -> Any:
    """Everything that a saved index holds."""
    from retrieval import ErsIndex

    index = ErsIndex.load(world.index)
    vectors, metadata = index.get(index.ids)
    return digest(index.ids, vectors, *(list(metadata[name]) for name in sorted(metadata)))


@reader
def index_saved(world: World) -> Any:
    """An index that is changed and saved."""
    import numpy as np

    from retrieval import ErsIndex

    index = ErsIndex.load(world.index)
    vectors = np.random.default_rng(2).standard_normal((40, 16)).astype(np.float32)
    index.add(vectors, np.arange(20_000, 20_040), {"kind": ["even"] * 40})
    index.save(world.index)
    return index_kept(world)


@reader
def retrieval(world: World) -> Any:
    """A retrieval evaluation, with the light re-ranker that is kept beside the run."""
    from experiments import retrieval

    command(retrieval.main, f"run={world.run}", *EVALUATED)
    return _quality(json.loads((world.run / "retrieval" / "retrieval.json").read_text()))


@reader
def retrieval_new(world: World) -> Any:
    """A retrieval evaluation in new shapes, which are kept beside the run."""
    from experiments import retrieval

    command(retrieval.main, f"run={world.run}", "gallery=new", "size=40", "queries=10", *EVALUATED)
    return _quality(json.loads((world.run / "retrieval" / "retrieval.json").read_text()))


def _quality(content: dict[str, Any]) -> Any:
    """Results of an evaluation but for what was timed."""
    if isinstance(content, dict):
        return {
            name: _quality(value)
            for name, value in content.items()
            if not any(
                word in name for word in ("second", "rate", "versions", "settings", "queries_per", "ms")
            )
        }
    return [_quality(value) for value in content] if isinstance(content, list) else content


@reader
def reported(world: World) -> Any:
    """A report on a run."""
    from experiments import report

    out = world.folder / "report"
    command(report.main, world.run, f"out={out}")
    return (out / "report.md").read_text()


@reader
def known_pairs(world: World) -> Any:
    """The memory of a run, by its class."""
    from align3d.errors import UserError
    from models import AlignmentMemory

    def read() -> str:
        try:
            memory = AlignmentMemory.load(world.run / "memory.safetensors")
        except ValueError as error:
            raise UserError(str(error)) from error
        return digest(memory.text, memory.shape, memory.pairs)

    return in_command(read)


@reader
def corpus(world: World) -> Any:
    """The data of a run, from the caches, as every command reads it."""
    import torch

    from experiments.data.corpus import load_corpus
    from experiments.index_evaluation.load_run import read_config

    def read() -> Any:
        found = load_corpus(read_config(world.run / "config.yaml"), torch.device("cpu"))
        shapes = [found.shapes.get(name) for name in sorted(found.shapes.keys())]
        text = [found.text.tokens, found.text.mask, found.text.strings]
        splits = [found.splits[name] for name in sorted(found.splits)]
        return [dataset_numbers(found.dataset), digest(*shapes), digest(*text), digest(*splits)]

    return in_command(read)


@reader
def dataset_verified(world: World) -> Any:
    """A dataset whose every byte is checked."""
    return in_command(lambda: _dataset(world, verify=True))


@reader
def dataset_trusted(world: World) -> Any:
    """A dataset that is opened as ever."""
    return in_command(lambda: _dataset(world, verify=False))


def _dataset(world: World, *, verify: bool) -> Any:
    from align3d.dataset import ShapeDataset

    return dataset_numbers(ShapeDataset.load(world.dataset, verify=verify))


@reader
def hugging_face(world: World) -> Any:
    """A dataset as Hugging Face's library sees it."""
    from align3d.dataset import ShapeDataset

    return in_command(
        lambda: digest(ShapeDataset.load(world.dataset, verify=True).hugging_face()["captions"][:])
    )


@reader
def rebuilt(world: World) -> Any:
    """The same build once more: it finds the dataset done."""
    from align3d.build import main
    from align3d.dataset import ShapeDataset

    command(main, "source=folder", f"root={world.meshes}", "points=64", "workers=1", f"out={world.dataset}")
    return in_command(lambda: dataset_numbers(ShapeDataset.load(world.dataset, verify=True)))


@reader
def replaced(world: World) -> Any:
    """Another build into the same folder."""
    from align3d.build import main

    command(main, "source=folder", f"root={world.meshes}", "points=32", "workers=1", f"out={world.dataset}")
    return in_command(lambda: _dataset(world, verify=True))


@reader
def built(world: World) -> Any:
    """A build that was cut off goes on."""
    from align3d.build import main
    from align3d.dataset import ShapeDataset

    command(main, *BUILT, f"out={world.unfinished}")
    return in_command(lambda: dataset_numbers(ShapeDataset.load(world.unfinished, verify=True)))


@reader
def compiled(world: World) -> Any:
    """A compiled function that finds its machine code on disk."""
    import numba

    kept = str(world.kernels / "kept")
    os.environ["NUMBA_CACHE_DIR"] = numba.config.CACHE_DIR = kept
    sys.path.insert(0, str(world.kernels))
    sys.dont_write_bytecode = True
    return int(importlib.import_module("attacked_kernels").total(10))

"""Fuzzer of saved indexes: changed files with right checksums, each opened and used in a process of its own.

A checksum keeps out what a disk does, not what a person does: whoever changes a number writes the sum anew.
The only allowed outcomes are that the folder is refused in a `ValueError`, and that it answers. A process
that dies or hangs, and any other error, is a fault.

By hand: ``python -m tests.attack.index_fuzzer FOLDER CASES SEED [SECONDS]``.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from safetensors.numpy import load_file, save_file

from durable.checksums import file_facts, file_sha256, json_bytes
from retrieval import ErsIndex, KnownPairs, MemoryIndex, describe, name_nodes
from retrieval.ers.inspect import read_outline

ROOT = Path(__file__).parents[2]
SECONDS = 60.0
"""After which a case is taken for one that hangs."""
MOST_MEMORY = 4 << 30
"""Bytes of address space that a case may take beyond what is loaded."""
MANIFEST = "manifest.json"
WIDTH = 16
_EDGES = (
    0,
    1,
    -1,
    2,
    31,
    255,
    2**15,
    2**31 - 1,
    2**31,
    -(2**31),
    2**40,
    2**53 + 1,
    2**62,
    2**63 - 1,
    -(2**63),
)
_REALS = (0.0, -1.0, 1e-300, 1e30, 3e38, 1e308, float("inf"), float("-inf"), float("nan"))
_ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1,
    2**31,
    2**63,
    2**80,
    0.5,
    1e308,
    "",
    "x",
    "../..",
    [],
    [[]],
    {},
    {"a": 1},
)


@dataclass
class Tally:
    """What became of the cases.

    Attributes:
        outcomes: Number of cases by outcome: ``refused``, ``answered``, ``died``, ``hung`` or ``raised``.
        faults: A line for each case of the last three: seed, what was changed, what came of it.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def fuzz(folder: Path, cases: int, seed: int, seconds: float = math.inf) -> Tally:
    """Opens changed indexes.

    Args:
        folder: To work in, empty or new.
        cases: How many, at most.
        seed: Of the changes; case ``i`` depends on ``seed`` and ``i`` alone.
        seconds: After which no more are begun.
    """
    tally = Tally()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kinds = make_indexes(folder / "whole")
    with subprocess.Popen(
        [sys.executable, "-m", "tests.attack.index_fuzzer", "serve"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    ) as server:  # fmt: skip
        assert server.stdin is not None
        assert server.stdout is not None
        end = time.monotonic() + seconds
        for case in range(cases):
            if time.monotonic() > end:
                break
            rng = np.random.default_rng([seed, case])
            name = list(kinds)[int(rng.integers(len(kinds)))]
            bad = folder / "bad"
            shutil.rmtree(bad, ignore_errors=True)
            shutil.copytree(kinds[name], bad)
            changed = change(bad, rng)
            server.stdin.write(f"{bad}\t{case}\n")
            server.stdin.flush()
            answer = json.loads(server.stdout.readline())
            tally.outcomes[answer["outcome"]] += 1
            if answer["outcome"] not in ("refused", "answered"):
                tally.faults.append(
                    f"[{seed}, {case}] {name}: {changed}: {answer['outcome']} {answer['why']}"
                )
        server.stdin.close()
    return tally


def make_indexes(folder: Path) -> dict[str, Path]:
    """Saves an index of each kind; their folders by name."""

    def vectors(seed: int, rows: int) -> np.ndarray:
        x = np.random.default_rng(seed).normal(size=(rows, WIDTH))
        return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)

    x = vectors(0, 260)
    metadata = {"caption": [f"a part {n % 7}" for n in range(260)], "size": np.arange(260), "mass": x[:, 0]}
    kinds: dict[str, dict[str, Any]] = {
        "pq": {"leaves": 12},
        "sq8": {"leaves": 9, "codec": "sq8", "depth": 3},
        "half": {"precision": "float16", "depth": 1, "leaves": 5, "exploration": 0.1},
        "lengths": {"leaves": 7},
    }
    folders = {}
    for name, settings in kinds.items():
        index = ErsIndex(beam=3, refine=20, success_weight=0.5, **settings)
        scale = np.linspace(0.2, 4, 260, dtype=np.float32)[:, None] if name == "lengths" else np.float32(1)
        index.build(x * scale, np.arange(260) * 3, metadata)
        index.learn()
        for query in vectors(2, 10):
            index.feedback(query, 30)
        index.remove(np.arange(20) * 3)
        folders[name] = folder / name
        index.save(folders[name])
    folders["first"] = folder / "first"
    shutil.copytree(folders["pq"], folders["first"])
    to_first_schema(folders["first"])
    keys = vectors(3, 40)
    around = MemoryIndex(ErsIndex(beam=3, refine=20, leaves=6), KnownPairs(keys, x[:40]))
    around.build(x, np.arange(260), leave_out=np.where(np.arange(260) < 40, np.arange(260), -1)[:, None])
    folders["memory"] = folder / "memory"
    around.save(folders["memory"])
    folders["pairs"] = folder / "pairs"
    KnownPairs(keys, x[:40]).save(folders["pairs"])
    return folders


def to_first_schema(folder: Path) -> None:
    """Makes of a saved index what an older release wrote, but for faiss's file, which nobody reads."""
    header = json.loads((folder / MANIFEST).read_text())
    data = folder / header["data"]
    arrays, rows = load_file(data / "tree.safetensors"), load_file(data / "rows.safetensors")
    del arrays["book"], arrays["parts"]
    rows["home"], rows["rows"] = rows.pop("leaf"), rows.pop("listed")
    save_file(arrays, data / "tree.safetensors")
    save_file(rows, data / "rows.safetensors")
    (data / "codes.npy").rename(data / "leaves.faiss")
    names = ["leaves.faiss", "rows.safetensors", "tree.safetensors", "vectors.npy"]
    old = {"data": data.name, "files": file_facts(data, names), "header": header["header"], "schema": 1}
    (folder / MANIFEST).write_text(json.dumps(old))
    _seal(folder, {})


def change(folder: Path, rng: np.random.Generator) -> str:
    """Changes something in an index folder, and writes all checksums anew; returns what it was."""
    inner = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    if rng.random() < 0.1:
        manifest = _pick(rng, sorted(folder.rglob(MANIFEST)))
        content = json.loads(manifest.read_text())
        what = _change_json(content, rng)
        _seal(folder, {manifest: content})
        return f"{manifest.relative_to(folder)}: {what}"
    path = _pick(rng, inner)
    ways: list[Callable[[Path, np.random.Generator], str]] = [_flip, _overwrite, _resize]
    if path.suffix == ".safetensors":
        ways += [_change_array, _change_array, _change_array, _change_array, _change_header, _change_header]
    else:
        ways += [_change_npy_header]
    what = [_pick(rng, ways)(path, rng)]
    if rng.random() < 0.2:
        what.append(_pick(rng, ways)(path, rng))
    _seal(folder, {})
    return f"{path.name}: {'; '.join(what)}"


def _seal(folder: Path, changed: dict[Path, Any]) -> None:
    """Writes the manifests anew, the inner ones first, so that every checksum is right."""
    for manifest in sorted(folder.rglob(MANIFEST), key=lambda path: -len(path.parts)):
        content = changed.get(manifest, json.loads(manifest.read_text()))
        data, files = manifest.parent / str(content.get("data")), content.get("files")
        for name, facts in (files if isinstance(files, dict) else {}).items():
            if isinstance(facts, dict) and (data / name).is_file():
                facts.update(bytes=(data / name).stat().st_size, sha256=file_sha256(data / name))
        if content.get("schema") == 1:
            plain = {name: value for name, value in content.items() if name != "sha256"}
            digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
            manifest.write_bytes(json.dumps(plain | {"sha256": digest}, sort_keys=True, indent=1).encode())
        else:
            manifest.write_bytes(json_bytes(content))


def _change_json(content: Any, rng: np.random.Generator) -> str:
    """Changes, adds or removes a value somewhere in a JSON object."""
    places = []

    def walk(part: Any, path: str) -> None:
        for key in part if isinstance(part, dict) else range(len(part)):
            places.append((part, key, f"{path}.{key}"))
            if isinstance(part[key], dict | list) and part[key]:
                walk(part[key], f"{path}.{key}")

    walk(content, "")
    part, key, name = _pick(rng, places)
    way = rng.random()
    if way < 0.15:
        del part[key]
        return f"{name} removed"
    if way < 0.3 and isinstance(part, dict):
        part["extra"] = _pick(rng, _ODD)
        return f"{name} has a neighbor {part['extra']!r}"
    part[key] = _pick(rng, _ODD)
    return f"{name} is {part[key]!r}"


def _flip(path: Path, rng: np.random.Generator) -> str:
    content = bytearray(path.read_bytes())
    places = rng.integers(0, len(content), int(rng.integers(1, 9)))
    for place in places.tolist():
        content[place] ^= 1 << int(rng.integers(8))
    path.write_bytes(content)
    return f"bits flipped in bytes {sorted(places.tolist())}"


def _overwrite(path: Path, rng: np.random.Generator) -> str:
    content = bytearray(path.read_bytes())
    if len(content) < 16:
        return _flip(path, rng)
    at = 8 * int(rng.integers(0, len(content) // 8))
    value = (
        struct.pack("<q", _pick(rng, _EDGES)) if rng.random() < 0.6 else struct.pack("<d", _pick(rng, _REALS))
    )
    content[at : at + 8] = value
    path.write_bytes(content)
    return f"byte {at} on is {value!r}"


def _resize(path: Path, rng: np.random.Generator) -> str:
    content = path.read_bytes()
    size = int(rng.integers(0, len(content) + 64))
    path.write_bytes(content[:size] + bytes(max(0, size - len(content))))
    return f"{size} of {len(content)} bytes"


def _change_array(path: Path, rng: np.random.Generator) -> str:
    try:
        arrays = dict(load_file(path))
    except Exception:  # it was changed before
        return _flip(path, rng)
    name = _pick(rng, sorted(arrays))
    array = arrays[name].copy()
    way, what = int(rng.integers(8)), "is missing"
    flat = array.reshape(-1)
    if way == 0:
        del arrays[name]
    elif way == 1 and flat.size > 1:
        arrays[name], what = array[: int(rng.integers(len(array)))], "is cut"
    elif way == 2:
        arrays[name], what = np.concatenate([array, array]) if array.ndim else array, "is doubled"
    elif way == 3:
        kind = _pick(rng, (np.int8, np.int32, np.int64, np.float32, np.float64, np.uint64, np.float16))
        with np.errstate(all="ignore"):
            arrays[name], what = array.astype(kind), f"is {np.dtype(kind)}"
    elif way == 4 and array.ndim == 2:
        arrays[name], what = np.ascontiguousarray(array.T), "is transposed"
    elif way == 5 and flat.size > 1:
        flat[:] = rng.permutation(flat)
        arrays[name], what = array, "is shuffled"
    elif flat.size:
        where = rng.integers(0, flat.size, int(rng.integers(1, 4)))
        value: Any = _pick(rng, _REALS if array.dtype.kind == "f" else _EDGES)
        if array.dtype.kind != "f":
            info = np.iinfo(array.dtype)
            near = int(flat[where[0]]) + int(rng.integers(-2, 3)) if rng.random() < 0.5 else value
            value = min(max(near, info.min), info.max)
        with np.errstate(all="ignore"):
            flat[where] = value
        arrays[name], what = array, f"{where.tolist()} is {value!r}"
    save_file({key: np.ascontiguousarray(some) for key, some in arrays.items()}, path)
    return f"{name} {what}"


def _change_header(path: Path, rng: np.random.Generator) -> str:
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    try:
        header = json.loads(content[8 : 8 + length])
    except ValueError:
        return _flip(path, rng)
    if not isinstance(header, dict) or not header:
        return _flip(path, rng)
    name = _pick(rng, sorted(header))
    facts, what = header[name], ""
    way = int(rng.integers(4))
    if way == 0 or not isinstance(facts, dict):
        what = _change_json(header, rng)
    elif way == 1:
        facts["dtype"] = what = _pick(
            rng, ("F16", "BF16", "F32", "F64", "I8", "U8", "I32", "I64", "U64", "BOOL", "Q")
        )
    elif way == 2 and isinstance(facts.get("shape"), list):
        facts["shape"] = [
            _pick(rng, (0, 1, 2, 16, 2**31, 2**62, *facts["shape"])) for _ in range(int(rng.integers(4)))
        ]
        what = str(facts["shape"])
    else:
        other = header[_pick(rng, sorted(header))]
        if isinstance(other, dict):
            header[name] = dict(other)
        what = "stands for another"
    encoded = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + content[8 + length :])
    return f"header of {name}: {what}"


def _change_npy_header(path: Path, rng: np.random.Generator) -> str:
    content = path.read_bytes()
    end = content.find(b"\n") + 1
    header = content[:end].decode("latin-1")
    shape = tuple(
        _pick(rng, (-1, 0, 1, 2, 16, 240, 2**31, 2**62, 2**63)) for _ in range(int(rng.integers(4)))
    )
    kind = _pick(rng, ("<f4", "<f2", "<f8", "|O", "|u1", "<i8", "|V16", "<U4", ">f4"))
    order = _pick(rng, (True, False))
    text = f"{{'descr': '{kind}', 'fortran_order': {order}, 'shape': {shape!r}, }}"
    if rng.random() < 0.1:
        text = "(" * 9000 + text
    if rng.random() < 0.1:
        text = text.replace(", }", ", 'more': 1}")
    body = text.encode() + b" " * (-(len(text) + 11) % 64) + b"\n"
    path.write_bytes(header[:8].encode("latin-1") + struct.pack("<H", len(body)) + body + content[end:])
    return f"header {text[-90:]}"


def _pick(rng: np.random.Generator, items: Any) -> Any:
    return items[int(rng.integers(len(items)))]


def use(folder: Path, case: int) -> None:
    """Opens an index folder and does with it what can be done; ValueError where it is refused."""
    header: Any = {}
    with contextlib.suppress(ValueError, KeyError):
        header = json.loads((folder / MANIFEST).read_text())["header"]
    verify = case % 2 == 0
    kind = header.get("engine") if isinstance(header, dict) else None
    if isinstance(header, dict) and "known_pairs" in header and kind != "memory":
        pairs = KnownPairs.load(folder, verify=verify)
        pairs.recall(pairs.keys[:5])
        pairs.hubness(pairs.values[:5])
        return
    rng = np.random.default_rng(case)
    if kind == "memory":
        around = MemoryIndex.load(folder, verify=verify)
        queries = rng.normal(size=(40, around.memory.width)).astype(np.float32)
        queries /= np.linalg.norm(queries, axis=1, keepdims=True)
        around.search(queries, 5)
        around.feedback(queries[0], int(around.ids[0]))
        around.refresh()
        around.save(folder.with_name("again"))
        return
    outline = read_outline(folder)
    captions = outline.texts("caption") or []
    leaves = outline.leaves if captions else outline.leaves[:0]
    names = name_nodes(outline.tree, leaves, captions)
    describe(outline.tree, names, 3, visits=outline.visits, successes=outline.successes)
    index = ErsIndex.load(folder, verify=verify, backend="faiss" if case % 8 == 1 else "auto")
    width = index.hierarchy.width
    queries = rng.normal(size=(40, width)).astype(np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    for some, k, beam in ((queries[:1], 1, None), (queries, 10, 4), (queries[:3], 40, 1000), (queries, 5, 1)):
        index.search(some, k, beam=beam)
        index.search(some, k, beam=beam, refine=1)
    if captions:
        index.search(queries, 5, where={"caption": "a part 3"})
        index.search(queries[:2], 5, where={"size": [3, 4, 5, 100, 200]})
    index.get(index.ids[:5])
    index.health()
    index.learn()
    index.feedback(queries[0], int(index.ids[0]))
    known, metadata = index.get(index.ids[-30:])
    ids = 10**6 + np.arange(len(known))
    index.add(known + np.float32(0.01), ids, metadata or None)
    index.search(queries, 5)
    for at in range(0, len(ids), 10):
        index.remove(ids[at : at + 10])
    index.remove(index.ids[:120])
    index.rebuild()
    index.search(queries, 5)
    index.save(folder.with_name("again"))


def serve() -> None:
    """Answers requests (folder and case, a line each) by what became of a child that used the folder."""
    warnings.simplefilter("ignore")
    for name, folder in make_indexes(Path(sys.argv[2]) if len(sys.argv) > 2 else _scratch()).items():
        use(folder, len(name))  # the children find everything compiled
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    for line in sys.stdin:
        folder, case = line.rstrip("\n").split("\t")
        print(json.dumps(_forked(Path(folder), int(case))), file=answers)


def _scratch() -> Path:
    import tempfile

    return Path(tempfile.mkdtemp(prefix="index-fuzzer-"))


def _forked(folder: Path, case: int) -> dict[str, str]:
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        with os.fdopen(write, "w") as told:
            _tell(folder, case, told)
        os._exit(0)
    os.close(write)
    end, status = time.monotonic() + SECONDS, None
    while status is None and time.monotonic() < end:
        done, found = os.waitpid(child, os.WNOHANG)
        if done:
            status = os.waitstatus_to_exitcode(found)
        else:
            time.sleep(0.002)
    if status is None:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    with os.fdopen(read) as told:
        text = told.read()
    if status is None:
        return {"outcome": "hung", "why": ""}
    if status or not text:
        return {"outcome": "died", "why": str(status)}
    found_out: dict[str, str] = json.loads(text)
    return found_out


def _tell(folder: Path, case: int, told: IO[str]) -> None:
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MOST_MEMORY,) * 2)
    outcome, why = "answered", ""
    try:
        use(folder, case)
    except ValueError as error:
        outcome, why = "refused", str(error)
        if "\n" in why:
            outcome = "raised"
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)[-3:]
        places = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(where))
        outcome, why = "raised", f"{type(error).__name__}: {str(error)[:200]} ({places})"
    json.dump({"outcome": outcome, "why": why}, told)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    else:
        done = fuzz(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), *map(float, sys.argv[4:]))
        print("\n".join(done.faults))
        print(dict(done.outcomes))

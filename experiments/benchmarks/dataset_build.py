"""Benchmark of a dataset's build: shapes per second along the way, time and memory of all its processes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from align3d.building.plan import shard_size
from align3d.errors import UserError
from experiments.benchmarks.base import Row, benchmark

_LOOK_SECONDS = 0.25


@benchmark("build")
def dataset_build(
    size: int = 4_000,
    points: int = 2_048,
    workers: int = 2,
    engine: str = "local",
    parts: int = 10,
    folder: Path | None = None,
) -> Iterator[Row]:
    """Build of so many procedural shapes: its speed in each part of it, and its memory (Linux alone).

    Args:
        size: Number of shapes.
        points: Points of a shape.
        workers: Processes that read.
        engine: What they belong to, as in align3d.build.
        parts: Stretches of the build whose speed is told.
        folder: Where the dataset is built, in a folder that is removed afterwards; None: that of the system.
    """
    if not Path("/proc/self/smaps_rollup").exists():
        raise UserError("build: the memory of processes is read from /proc, which only Linux has")
    case = f"{size:,} shapes, {points:,} points, {workers} processes, {engine}"
    with tempfile.TemporaryDirectory(dir=folder) as place:
        out = Path(place) / "built"
        words = ["source=procedural", f"{size=}", f"{points=}", f"{workers=}", f"{engine=!s}", f"out={out}"]
        words += ["progress=false"]
        process = subprocess.Popen(
            [sys.executable, "-m", "align3d.build", *words], stdout=subprocess.DEVNULL, text=True
        )
        seen: list[tuple[float, int]] = []
        peaks = {"Pss": 0, "Pss_Anon": 0}
        seconds: dict[int, float] = {}
        try:
            while process.poll() is None:
                count = done(out.with_name("built.partial"), size, points)
                count = max(count, seen[-1][1] if seen else 0)  # shards leave their folder in the end
                seen.append((time.perf_counter(), count))
                used = memory(process.pid)
                peaks = {name: max(peak, used[name]) for name, peak in peaks.items()}
                seconds |= cpu_seconds(process.pid)
                time.sleep(_LOOK_SECONDS)
        finally:
            process.kill()
            process.wait()
        ended = time.perf_counter()
        if process.returncode:
            raise UserError(f"build: it ended with exit code {process.returncode}")
        stored = sum(path.stat().st_size for path in out.rglob("*"))
    yield from _speeds(case, seen, size, parts)
    last = max(moment for moment, count in seen if count < size)
    yield Row("build", case, "s to the last shape", last - seen[0][0], higher_is_better=False)
    yield Row("build", case, "s to put it together", ended - last, higher_is_better=False)
    yield Row("build", case, "CPU ms per shape", 1e3 * sum(seconds.values()) / size, higher_is_better=False)
    yield Row("build", case, "peak MiB of all processes", peaks["Pss"] / 1024, higher_is_better=False)
    yield Row("build", case, "of it MiB that no file backs", peaks["Pss_Anon"] / 1024, higher_is_better=False)
    yield Row("build", case, "MB on disk", stored / 1e6, higher_is_better=False)


def _speeds(case: str, seen: list[tuple[float, int]], size: int, parts: int) -> Iterator[Row]:
    """Speed between the moments at which each part of the shapes had been read."""
    bounds = [size * part // parts for part in range(parts + 1)]
    moments = [
        next((moment for moment, count in seen if count > bound), seen[-1][0]) for bound in bounds[:-1]
    ]
    moments.append(next((moment for moment, count in seen if count >= size), seen[-1][0]))
    for part, (first, last) in enumerate(pairwise(moments)):
        count = bounds[part + 1] - bounds[part]
        yield Row("build", f"{case}, part {part + 1}/{parts}", "shapes/s", count / max(last - first, 1e-9))


def done(partial: Path, size: int, points: int) -> int:
    """Shapes that a build has read so far, by what lies in its folder of shards."""
    width, count = shard_size(size, points), 0
    for index in range(-(-size // width)):
        if (partial / f"data-{index:05d}.json").exists():
            count += min(width, size - index * width)
        else:
            with suppress(OSError, ValueError):
                count += int((partial / f"data-{index:05d}.reading").read_bytes())
    return count


def memory(process: int) -> dict[str, int]:
    """KiB of a process and all that it started: what is shared is counted once (proportional set size)."""
    used = {"Pss": 0, "Pss_Anon": 0}
    for number in _family(process):
        with suppress(OSError, ValueError):
            for line in Path(f"/proc/{number}/smaps_rollup").read_text().splitlines():
                name, _, value = line.partition(":")
                if name in used:
                    used[name] += int(value.split()[0])
    return used


def cpu_seconds(process: int) -> dict[int, float]:
    """Seconds that a process, and each that it started and that still runs, has computed so far."""
    found = {}
    for number in _family(process):
        with suppress(OSError, IndexError, ValueError):
            fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
            found[number] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return found


def _family(process: int) -> Iterator[int]:
    """A process, those that it started, and theirs."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, IndexError, ValueError):
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    waiting = [process]
    while waiting:
        number = waiting.pop()
        waiting += children.get(number, [])
        yield number

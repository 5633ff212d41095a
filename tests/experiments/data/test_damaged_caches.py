"""Caches of captions and prepared shapes: damaged, they are made anew; without room or locks, one line."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import Tensor

from align3d.dataset import ShapeDataset
from align3d.pipeline import build
from durable.errors import LockError, NoSpaceError
from experiments.data.corpus import prepared_shapes
from models import ModelConfig, TextEncoder
from tests.align3d.toy_source import Boxes

Make = Callable[[Path], list[Tensor]]
CONFIG = ModelConfig(points=64, patches=8, patch_points=4, regions=2)
TEXTS = ["a blue chair", "a lamp 30 cm high", *(f"box number {number}" for number in range(20))]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> ShapeDataset:
    return build(Boxes(10), tmp_path_factory.mktemp("data") / "boxes", points=64, workers=1)


@pytest.fixture(scope="module")
def makers(dataset: ShapeDataset) -> dict[str, Make]:
    """Takers of numbers from a cache, by the cache's name."""
    encoder = TextEncoder()

    def text(cache: Path) -> list[Tensor]:
        encoder.cache = cache
        found = encoder.encode(TEXTS)
        return [found.tokens, found.mask, found.quantities]

    def shapes(cache: Path) -> list[Tensor]:
        found = prepared_shapes(dataset, CONFIG, cache)
        return [found.patches, found.centers, found.region, found.spectrum, found.size_m]

    return {"text": text, "shapes": shapes}


def same(some: list[Tensor], others: list[Tensor]) -> bool:
    return all(torch.equal(a.nan_to_num(-1), b.nan_to_num(-1)) for a, b in zip(some, others, strict=True))


@pytest.mark.parametrize("how", ["flip", "cut", "empty", "delete"])
@pytest.mark.parametrize("kind", ["text", "shapes"])
def test_what_is_damaged_is_made_anew_with_the_same_bytes(
    makers: dict[str, Make], tmp_path: Path, kind: str, how: str, capfd: pytest.CaptureFixture[str]
) -> None:
    numbers = makers[kind](tmp_path)
    (path,) = tmp_path.glob("*.safetensors")
    whole = path.read_bytes()
    for seed in range(8 if how in ("flip", "cut") else 1):
        content, draw = bytearray(whole), random.Random(seed)
        if how == "flip":
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        path.unlink()  # the numbers of before are mapped from it
        path.write_bytes({"cut": content[: draw.randrange(len(content))], "empty": b""}.get(how, content))
        if how == "delete":
            path.unlink()
        capfd.readouterr()
        assert same(makers[kind](tmp_path), numbers)
        told = [line for line in capfd.readouterr().err.splitlines() if not line.startswith("preparing")]
        assert len(told) == (how != "delete"), told
        assert all(str(path) in line and line.endswith("made anew") for line in told)
        assert path.read_bytes() == whole
    assert {entry.name for entry in tmp_path.iterdir()} <= {path.name, f"{path.name}.damaged"}


@contextmanager
def file_limit(size: int) -> Iterator[None]:
    """No file of this process may become larger, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("kind", ["text", "shapes"])
def test_a_full_disk_is_one_line_and_leaves_nothing(
    makers: dict[str, Make], tmp_path: Path, kind: str
) -> None:
    with (
        file_limit(10_000),
        pytest.raises(NoSpaceError, match=rf"^{tmp_path}/.*are needed.*are free\); make room[^\n]*$"),
    ):
        makers[kind](tmp_path)
    assert not list(tmp_path.iterdir())
    makers[kind](tmp_path)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK])
@pytest.mark.parametrize("kind", ["text", "shapes"])
def test_a_file_system_without_locks_is_one_line(
    makers: dict[str, Make], tmp_path: Path, kind: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(fcntl, "flock", flock)
        with pytest.raises(LockError, match=rf"^{tmp_path}/.*knows no locks .*choose another cache=$"):
            makers[kind](tmp_path)
    numbers = makers[kind](tmp_path)
    monkeypatch.setattr(fcntl, "flock", flock)
    assert same(makers[kind](tmp_path), numbers)  # to read takes no lock

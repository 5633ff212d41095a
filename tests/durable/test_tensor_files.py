"""Tensors with their checksum in the same file."""

import random
from pathlib import Path

import pytest
import torch

from durable.errors import DamagedFileError
from durable.tensor_files import check_tensors, read_tensors, write_tensors
from tests.durable.test_checksums import flipped

TENSORS = {"weights": torch.arange(60.0).view(3, 20), "rows": torch.tensor([1, -2]), "none": torch.empty(0)}


def test_tensors_and_words_come_back(tmp_path: Path) -> None:
    path = tmp_path / "a" / "kept.safetensors"
    write_tensors(path, {"old": torch.zeros(2)})
    write_tensors(path, TENSORS | {"turned": TENSORS["weights"].T}, {"key": 'of "checksum":"0" and größe'})
    found, words = read_tensors(path)
    assert words == {"key": 'of "checksum":"0" and größe'}
    assert torch.equal(found.pop("turned"), TENSORS["weights"].T)
    assert found.keys() == TENSORS.keys()
    assert all(torch.equal(found[name], TENSORS[name]) for name in TENSORS)
    assert [entry.name for entry in path.parent.iterdir()] == ["kept.safetensors"]


def test_equal_content_is_equal_bytes(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.safetensors" for number in range(8)]
    words = {"key": 'a "b"\n\x01\x7f\\ é', "b": "", "sharpness": "40.0", "a": "größe"}
    for number, path in enumerate(paths):
        names = sorted(words, key=lambda name: hash((name, number)))
        write_tensors(path, TENSORS, {name: words[name] for name in names})
        assert read_tensors(path)[1] == words
    assert len({path.read_bytes() for path in paths}) == 1


def test_any_flipped_bit_is_named(tmp_path: Path) -> None:
    path = tmp_path / "kept.safetensors"
    write_tensors(path, TENSORS, {"key": "words"})
    whole = path.read_bytes()
    for bit in random.Random(0).sample(range(8 * len(whole)), 500):
        path.write_bytes(whole)
        flipped(path, bit)
        with pytest.raises(DamagedFileError, match=r"kept\.safetensors is damaged"):
            check_tensors(path)


def test_every_cut_is_named(tmp_path: Path) -> None:
    path = tmp_path / "kept.safetensors"
    write_tensors(path, TENSORS)
    whole = path.read_bytes()
    for length in (0, 7, 8, 9, *random.Random(0).sample(range(len(whole)), 40)):
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedFileError, match=r"kept\.safetensors is damaged"):
            read_tensors(path)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        read_tensors(path)

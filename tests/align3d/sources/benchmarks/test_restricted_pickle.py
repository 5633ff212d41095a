"""Pickles of others are read without executing anything: arrays, numbers, texts and containers alone."""

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from align3d.errors import DataError
from align3d.sources.benchmarks.restricted_pickle import load_tensor, load_untrusted

DATA: dict[str, Any] = {
    "xyz": np.arange(24, dtype=np.float32).reshape(2, 4, 3),
    "columns first": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big-endian": np.arange(3, dtype=">i2"),
    "names": np.array(["night_stand", "tv_stand"]),
    "bytes": np.array([b"ab", b"c"]),
    "empty": np.zeros((0, 3), np.float16),
    "flags": np.array([True, False]),
    "objects": np.array([{"xyz": np.ones(3)}, None], dtype=object),
    "number": np.float32(1.5),
    "text": np.str_("chair"),
    "containers": [(1, 2.5, "a"), {"b": b"\xff"}, {1, 2}, frozenset({3}), OrderedDict(c=4), None, True],
}


def assert_same(found: Any, expected: Any) -> None:
    assert isinstance(found, type(expected)) or isinstance(expected, np.generic)
    if isinstance(expected, np.ndarray) and expected.dtype != object:
        assert found.dtype.newbyteorder("=") == expected.dtype.newbyteorder("=")
        assert np.array_equal(found, expected)
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            assert_same(found[key], expected[key])
    elif isinstance(expected, list | tuple | np.ndarray):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    else:
        assert found == expected


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_data_of_every_protocol_come_back(tmp_path: Path, protocol: int) -> None:
    (tmp_path / "a.dat").write_bytes(pickle.dumps(DATA, protocol))
    assert_same(load_untrusted(tmp_path / "a.dat"), DATA)


def test_a_pickle_of_python_2_and_an_older_numpy(tmp_path: Path) -> None:
    text = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I2\ntcnumpy\ndtype\n"
        b"(S'i4'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\nS'\\x01\\x00\\x00\\x00\\xff\\xff\\xff\\xff'\ntb."
    )
    (tmp_path / "a.p").write_bytes(text)
    assert load_untrusted(tmp_path / "a.p").tolist() == [1, -1]


def test_npy_files_with_objects_and_without(tmp_path: Path) -> None:
    clouds = np.array([{"xyz": np.ones((2, 3)), "rgb": np.zeros((2, 3))}] * 2, dtype=object)
    np.save(tmp_path / "clouds.npy", clouds)
    np.save(tmp_path / "one.npy", {"label": np.arange(3)})  # type: ignore[arg-type]
    np.save(tmp_path / "plain.npy", np.arange(6).reshape(2, 3))
    assert_same(load_untrusted(tmp_path / "clouds.npy"), clouds)
    assert load_untrusted(tmp_path / "one.npy")["label"].tolist() == [0, 1, 2]
    assert load_untrusted(tmp_path / "plain.npy").tolist() == [[0, 1, 2], [3, 4, 5]]


class Calls:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.reduced = (function, arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.reduced


@pytest.mark.parametrize("how", ["pickle", "array of objects", "torch"])
def test_a_malicious_file_executes_nothing(tmp_path: Path, how: str) -> None:
    mark, file = tmp_path / "executed", tmp_path / "evil.npy"
    if how == "torch":
        torch.save({"a": Calls(exec, f"open({str(mark)!r}, 'w')")}, file)
        load: Any = load_tensor
    else:
        evil = Calls(exec, f"open({str(mark)!r}, 'w')")
        if how == "pickle":
            file.write_bytes(pickle.dumps([1, evil]))
        else:
            np.save(file, np.array([evil, {"xyz": 1}], dtype=object))
        load = load_untrusted
    with pytest.raises(DataError, match=r"evil\.npy: refused"):
        load(file)
    assert not mark.exists()
    with file.open("rb") as opened:  # the file does what it is for where it is let
        if how == "torch":
            torch.load(opened, weights_only=False)
        else:
            np.load(opened, allow_pickle=True)
    assert mark.exists()


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (Calls(eval, "1"), "builtins.eval"),
        (Calls(getattr, [], "append"), "builtins.getattr"),
        (Calls(np.load, "a.npy"), "load"),
        (Calls(bytearray, 10**13), "builtins.bytearray"),
        (Calls(np.ndarray, (10**12,)), "not callable"),
        (Calls(np.dtype, [("a", "O"), ("b", "i8")]), "dtype"),
        (np.dtype([("a", "O")]), "dtype"),
    ],
)
def test_a_call_is_refused_by_its_name(tmp_path: Path, call: Any, named: str) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(call))
    with pytest.raises(DataError, match=named):
        load_untrusted(tmp_path / "a.pkl")


def test_states_that_numpy_would_believe_are_refused(tmp_path: Path) -> None:
    """Fields that lie beyond an element, objects out of bytes, and fewer data than the shape says."""
    array = np.zeros(4, np.int64)
    rebuild = array.__reduce__()
    for state in (
        (1, (4,), np.dtype("V8"), False, b"\0" * 32),
        (1, (4,), np.dtype("O"), False, b"A" * 32),
        (1, (4,), np.dtype("O"), False, [1]),
        (1, (4,), np.dtype("i8"), False, b"\0" * 31),
        (1, (-1,), np.dtype("i8"), False, b""),
        (1, (2**62, 4), np.dtype("i8"), False, b""),
    ):
        evil = type("Evil", (), {"__reduce__": lambda self, state=state: (*rebuild[:2], state)})()
        (tmp_path / "a.pkl").write_bytes(pickle.dumps(evil))
        with pytest.raises(DataError, match=r"a\.pkl: refused"):
            load_untrusted(tmp_path / "a.pkl")


@pytest.mark.parametrize("kept", [0, 1, 20, 100])
def test_a_cut_file_is_named(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "cut.npy"
    np.save(path, np.array([{"xyz": np.ones(9)}], dtype=object))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"cut\.npy: "):
        load_untrusted(path)
    with pytest.raises(DataError, match=r"gone\.npy: cannot be read"):
        load_untrusted(tmp_path / "gone.npy")


def test_one_tensor(tmp_path: Path) -> None:
    torch.save(torch.arange(12.0).reshape(6, 2), tmp_path / "a.pt")
    assert load_tensor(tmp_path / "a.pt").tolist() == np.arange(12.0).reshape(6, 2).tolist()
    torch.save([1], tmp_path / "b.pt")
    with pytest.raises(DataError, match=r"b\.pt: holds a list"):
        load_tensor(tmp_path / "b.pt")
    (tmp_path / "c.pt").write_bytes((tmp_path / "a.pt").read_bytes()[:100])
    with pytest.raises(DataError, match=r"c\.pt: refused or damaged"):
        load_tensor(tmp_path / "c.pt")


@pytest.mark.parametrize("named", [b"c_codecs\nencode\n", b"cnumpy\ndtype\n", b"ccollections\nOrderedDict\n"])
def test_what_a_pickle_may_call_it_may_not_change(tmp_path: Path, named: bytes) -> None:
    (tmp_path / "a.pkl").write_bytes(named + b"(N(dS'__defaults__'\n(S'x'\ntstb.")
    with pytest.raises(DataError, match=r"a\.pkl: refused, its pickle holds a change of a constructor"):
        load_untrusted(tmp_path / "a.pkl")

"""Restricted unpickler for files of others: numpy arrays, numbers, texts and plain containers, nothing else.

A pickle is a program that may call whatever it names. Here it can name a dozen constructors, and those of
numpy are stand-ins that check what they are given: a dtype's and an array's state as a pickle gives it is
believed by numpy, down to the addresses of objects.
"""

from __future__ import annotations

import math
import os
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from align3d.errors import DataError

_MAGIC = b"\x93NUMPY"
_DTYPE = re.compile(r"[?]|[biufcO]\d{1,2}|[SU]\d{1,6}")
"""Plain kinds of numbers, texts of a fixed length and objects; no records, whose fields may lie anywhere."""


class _Refused(ValueError):
    """Something in a pickle that data has no need of."""


class _Dtype:
    """Stand-in for ``numpy.dtype``: of a pickled state it takes the byte order alone."""

    def __init__(self, name: Any, align: Any = False, copy: Any = False) -> None:
        text = name.decode("ascii", "replace") if isinstance(name, bytes) else name
        if not isinstance(text, str) or not _DTYPE.fullmatch(text):
            raise _Refused(f"the dtype {text!r}")
        try:
            self.dtype = np.dtype("O" if text.startswith("O") else text)
        except TypeError as error:
            raise _Refused(f"the dtype {text!r}") from error

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) < 5 or any(part is not None for part in state[2:5]):
            raise _Refused("a dtype with fields")
        order = state[1].decode("latin1") if isinstance(state[1], bytes) else state[1]
        if order not in ("<", ">", "=", "|"):
            raise _Refused(f"the byte order {order!r}")
        self.dtype = self.dtype.newbyteorder(order)  # type: ignore[arg-type]


class _Array(np.ndarray[Any, Any]):
    """Array whose pickled state is compared with its shape before it is taken."""

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) not in (4, 5):
            raise _Refused("an array without shape, dtype and data")
        shape, kind, by_columns, data = state[-4:]
        dtype, shape = _plain_dtype(kind), _plain_shape(shape)
        if dtype.hasobject:
            if not isinstance(data, list) or len(data) != math.prod(shape):
                raise _Refused(f"an array of objects {list(shape)} with other data")
        else:
            data = _as_bytes(data)
            if len(data) != math.prod(shape) * dtype.itemsize:
                raise _Refused(f"an array {dtype}{list(shape)} with {len(data)} bytes")
        super().__setstate__((1, shape, dtype, bool(by_columns), data))  # type: ignore[arg-type]


def _plain_dtype(kind: Any) -> np.dtype[Any]:
    if not isinstance(kind, _Dtype):
        raise _Refused(f"{type(kind).__name__} where a dtype stands")
    return kind.dtype


def _plain_shape(shape: Any) -> tuple[int, ...]:
    sizes = shape if isinstance(shape, tuple) else (shape,)
    if len(sizes) > 16 or not all(type(size) is int and 0 <= size < 2**40 for size in sizes):
        raise _Refused(f"the shape {shape!r}")
    return sizes


def _as_bytes(data: Any) -> bytes:
    if isinstance(data, str):  # of Python 2, read as Latin-1
        return data.encode("latin1")
    if not isinstance(data, bytes | bytearray):
        raise _Refused(f"{type(data).__name__} where bytes stand")
    return bytes(data)


def _empty_array(*_: Any) -> _Array:
    """What ``numpy._reconstruct`` gives: an array that gets its shape with its state."""
    return _Array((0,), dtype=np.uint8)


def _from_buffer(data: Any, kind: Any, shape: Any, order: Any) -> NDArray[Any]:
    dtype, sizes, raw = _plain_dtype(kind), _plain_shape(shape), _as_bytes(data)
    if dtype.hasobject or len(raw) != math.prod(sizes) * dtype.itemsize:
        raise _Refused(f"an array {dtype}{list(sizes)} with {len(raw)} bytes")
    array = np.frombuffer(raw, dtype) if raw else np.zeros(0, dtype)
    return array.view(_Array).reshape(sizes, order="F" if order == "F" else "C")


def _scalar(kind: Any, data: Any = b"") -> Any:
    dtype, raw = _plain_dtype(kind), _as_bytes(data)
    if dtype.hasobject or len(raw) != dtype.itemsize:
        raise _Refused(f"a number {dtype} with {len(raw)} bytes")
    return np.frombuffer(raw, dtype)[0] if raw else dtype.type()


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """What ``_codecs.encode`` does for the bytes of a pickle in protocol 2."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise _Refused(f"the encoding {encoding!r}")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """What ``bytes()`` stands for in a pickle of protocol 2: none; with an argument it is refused."""
    return b""


class _Constructor:
    """What a pickle may call, and may not change: a pickle can set attributes of all that it can name."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., Any]) -> None:
        self._make = make

    def __call__(self, *arguments: Any) -> Any:
        return self._make(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise _Refused("a change of a constructor")


_NDARRAY = "numpy.ndarray"
"""What stands for the type: it can be named, and cannot be called."""
_BUILTINS: dict[str, Callable[..., Any]] = {
    "set": set,
    "frozenset": frozenset,
    "complex": complex,
    "bytes": _no_bytes,
}
_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy", "dtype"): _Constructor(_Dtype),
    ("numpy", "ndarray"): _NDARRAY,
    ("_codecs", "encode"): _Constructor(_encode),
    ("collections", "OrderedDict"): _Constructor(OrderedDict),
    **{
        (module, name): _Constructor(kind)
        for module in ("builtins", "__builtin__")
        for name, kind in _BUILTINS.items()
    },
    **{
        (f"numpy.{core}.{module}", name): _Constructor(stand_in)
        for core in ("core", "_core")
        for module, name, stand_in in (
            ("multiarray", "_reconstruct", _empty_array),
            ("multiarray", "scalar", _scalar),
            ("numeric", "_frombuffer", _from_buffer),
        )
    },
}


class RestrictedUnpickler(pickle.Unpickler):
    """Unpickler that calls nothing but constructors of arrays, numbers and containers.

    Texts and arrays of Python 2 are read as Latin-1.

    Args:
        file: The opened file.
    """

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file, encoding="latin1")

    def find_class(self, module: str, name: str) -> Any:
        """The admitted constructor of that name.

        Raises:
            UnpicklingError: Anything else, before it is even imported.
        """
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no data needs")
        return _ADMITTED[module, name]

    def persistent_load(self, pid: Any) -> Any:
        """Refuse what lies outside of the file."""
        raise pickle.UnpicklingError(f"it names {str(pid)[:80]!r} outside of itself")


def load_untrusted(path: str | os.PathLike[str]) -> Any:
    """Content of a pickle or an ``.npy`` file of somebody else; nothing in it is executed.

    Args:
        path: A pickle of any protocol (``.dat``, ``.pkl``, ``.p``), or an ``.npy`` file, with objects or
            without; which of them is seen from its bytes.

    Returns:
        The value; of an ``.npy`` file the array, or the object where it holds a single one (``np.save`` of a
        dict).

    Raises:
        DataError: The file cannot be read, is cut or damaged, or holds anything but arrays, numbers, texts
            and plain containers. The message begins with the path.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            is_array = file.read(len(_MAGIC)) == _MAGIC
            file.seek(0)
            return _read_npy(file) if is_array else RestrictedUnpickler(file).load()
    except _Refused as error:
        raise DataError(f"{path}: refused, its pickle holds {error}") from error
    except pickle.UnpicklingError as error:
        raise DataError(f"{path}: refused or damaged: {error}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    except Exception as error:  # bytes that are no pickle raise nearly anything
        why = str(error).splitlines()[0] if str(error) else "no reason given"
        raise DataError(f"{path}: cut or damaged: {type(error).__name__}: {why}") from error


def _read_npy(file: IO[bytes]) -> Any:
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0
    if version != (1, 0):
        read_header = np.lib.format.read_array_header_2_0
    shape, _, dtype = read_header(file)
    if not dtype.hasobject:
        file.seek(0)
        return np.load(file, allow_pickle=False)
    if dtype != np.dtype(object):
        raise _Refused(f"the dtype {dtype}")
    array = RestrictedUnpickler(file).load()
    if not isinstance(array, np.ndarray) or array.shape != shape:
        raise _Refused(f"no array {list(shape)} of objects")
    return array.item() if shape == () else array


def load_tensor(path: str | os.PathLike[str]) -> NDArray[Any]:
    """The one tensor of a file that ``torch.save`` wrote, read without executing anything.

    Torch's own restricted unpickler (``weights_only``) reads it: numbers, containers and storages.

    Raises:
        DataError: The file cannot be read, is cut or damaged, or does not hold a tensor. The message begins
            with the path.
    """
    import torch  # here: it takes a second, and one format needs it

    try:
        value = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    except Exception as error:
        why = str(error).splitlines()[0] if str(error) else "no reason given"
        raise DataError(f"{path}: refused or damaged: {why[:200]}") from error
    if not isinstance(value, torch.Tensor) or value.layout != torch.strided or value.is_quantized:
        raise DataError(f"{path}: holds a {type(value).__name__}, expected a dense tensor")
    if value.dtype == torch.bfloat16:
        value = value.float()
    return value.detach().numpy()

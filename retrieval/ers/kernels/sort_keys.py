"""Sort keys for compiled code: whole numbers that order by a score, then by a number; every order is total.

A key holds a score in its upper half and what breaks ties in its lower half, so that comparing, selecting and
sorting need no second array and give the same answer in whatever order things were met.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiling import cached_njit
from retrieval.ers.kernels.simd import bits_of, float_of

LOW = 0xFFFFFFFF
WHOLE = 44  # bits of a number beside a whole score
WHOLE_LOW = (1 << WHOLE) - 1


@cached_njit(inline="always")
def whole_key(score: int, number: int) -> int:
    """Orders by a whole score below 2^19, then the smaller number first. The number is below 2^44."""
    return (score << WHOLE) | (WHOLE_LOW - number)


@cached_njit(inline="always")
def float_key(score: np.float32, number: int) -> int:
    """Orders by a score, then the smaller number first. The number is below 2^32."""
    bits: Any = np.int64(bits_of(np.float32(score)))
    if bits < 0:
        bits ^= np.int64(0x7FFFFFFF)
    return (bits << 32) | (LOW - number)


@cached_njit(inline="always")
def number_of(key: int) -> int:
    """The number in a key."""
    return LOW - (key & LOW)


@cached_njit(inline="always")
def number_of_whole(key: int) -> int:
    """The number in a key that `whole_key` made."""
    return WHOLE_LOW - (key & WHOLE_LOW)


@cached_njit(inline="always")
def float_of_key(key: int) -> Any:
    """The score in a key that `float_key` made."""
    bits: Any = key >> 32
    if bits < 0:
        bits ^= np.int64(0x7FFFFFFF)
    return float_of(np.int32(bits))


@cached_njit()
def keep_largest(keys: NDArray[np.int64], count: int, wanted: int) -> None:
    """Moves the ``wanted`` largest of ``keys[:count]`` to the front (quickselect); keys are distinct."""
    low, high = 0, count - 1
    while low < high:
        middle = (low + high) >> 1
        a, b, c = keys[low], keys[middle], keys[high]
        pivot = max(min(a, b), min(max(a, b), c))
        left, right = low, high
        while left <= right:
            while keys[left] > pivot:
                left += 1
            while keys[right] < pivot:
                right -= 1
            if left <= right:
                keys[left], keys[right] = keys[right], keys[left]
                left += 1
                right -= 1
        if wanted - 1 <= right:
            high = right
        elif wanted - 1 >= left:
            low = left
        else:
            return


@cached_njit()
def drop_below(keys: NDArray[np.int64], count: int, score: int) -> int:
    """Moves the keys (`whole_key`) of at least this score to the front and returns how many."""
    kept = 0
    for at in range(count):
        key = keys[at]
        keys[kept] = key
        kept += (key >> WHOLE) >= score
    return kept


@cached_njit()
def sort_down(keys: NDArray[np.int64], count: int) -> None:
    """Largest first; few keys (insertion)."""
    for at in range(1, count):
        key, place = keys[at], at
        while place > 0 and keys[place - 1] < key:
            keys[place] = keys[place - 1]
            place -= 1
        keys[place] = key

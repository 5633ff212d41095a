"""Inner functions have no machine code of their own, and do what they do in the functions that call them."""

import numba
import numpy as np
import pytest

from compiling import cached_njit, device_njit, inlined


@device_njit()
def scaled(values, by):
    out = np.empty_like(values)
    for i in range(len(values)):
        out[i] = by * values[i]
    return out


@device_njit()
def checked(number):
    if number < 0:
        raise ValueError("negative")
    return number


@inlined(fastmath=True)
def total(values, by):
    found = 0.0
    for value in scaled(values, checked(by)):
        found += value
    return found


@cached_njit()
def twice(values, by):
    return total(values, by) + total(values, by)


@numba.njit
def once(values, by):
    return total(values, by)


def test_layers_of_them_are_taken_in_by_several_callers():
    values = np.arange(5.0)
    assert twice(values, 3) == 60
    assert once(values, 3) == 30
    assert twice(values.astype(np.float32), 2) == 40


def test_their_faults_reach_python():
    with pytest.raises(ValueError, match="negative"):
        twice(np.ones(2), -1)
    with pytest.raises(ValueError, match="negative"):
        once(np.ones(2), -1)


def test_they_have_no_machine_code_of_their_own():
    """Or they would be compiled twice; and Numba's internals, on which that leans, are as they were."""
    once(np.ones(2), 1)
    engine = next(iter(once.overloads.values())).library._codegen._engine
    for function in (scaled, checked, total):
        for result in function.overloads.values():
            assert result.library.get_pointer_to_function(result.fndesc.llvm_func_name) == 0
    assert engine.is_symbol_defined(next(iter(once.overloads.values())).fndesc.llvm_func_name)

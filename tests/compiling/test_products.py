"""Products in compiled functions, and compiling without interruption."""

import gc

import numba
import numpy as np
import pytest

from compiling import product, uninterrupted


@numba.njit
def multiplied(left, numbers, start, out):
    product(left, numbers, start, out)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_matrix_in_a_line_of_numbers_is_multiplied_with(dtype):
    random = np.random.default_rng(0)
    left, numbers = random.normal(size=(5, 3)).astype(dtype), random.normal(size=40).astype(dtype)
    out = np.empty((5, 7), dtype)
    multiplied(left, numbers, 4, out)
    np.testing.assert_allclose(out, left @ numbers[4:25].reshape(3, 7), rtol=1e-5)


def test_other_layouts_are_refused():
    left, numbers, out = np.zeros((2, 3)), np.zeros(6), np.zeros((2, 2))
    with pytest.raises(Exception, match="expected contiguous arrays of one dtype"):
        multiplied(np.asfortranarray(left), numbers, 0, out)
    with pytest.raises(Exception, match="expected contiguous arrays of one dtype"):
        multiplied(left.astype(np.float32), numbers, 0, out)


@pytest.mark.parametrize("before", [True, False])
def test_collection_goes_on_as_before(before):
    def fail():
        assert not gc.isenabled()
        raise KeyError("compile")

    was = gc.isenabled()
    (gc.enable if before else gc.disable)()
    try:
        assert uninterrupted(gc.isenabled)() is False
        assert gc.isenabled() is before
        with pytest.raises(KeyError):
            uninterrupted(fail)()
        assert gc.isenabled() is before
    finally:
        (gc.enable if was else gc.disable)()

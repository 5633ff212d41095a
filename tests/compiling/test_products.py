"""Products on one thread, and compiling without interruption."""

import gc

import pytest
from threadpoolctl import ThreadpoolController

from compiling import single_threaded_products, uninterrupted


def test_products_run_on_one_thread_while_entered():
    with single_threaded_products():
        found = ThreadpoolController().select(internal_api="openblas").info()
    assert found
    assert {library["num_threads"] for library in found} == {1}


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

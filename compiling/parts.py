"""Compiler of inner functions: as parts of what calls them, and not once more by themselves.

Numba makes machine code of every function. Of an inner one nobody runs it: what calls it takes in its
intermediate code, and optimizes that together with its own. To leave the rest out saves a sixth of the time
that all compiling takes, and the callers' machine code is as fast.

What such a function raises must be made of constants: anything else is looked up where its own machine code
would say.
"""

from __future__ import annotations

from typing import Any

from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler


class Part(JITCodeLibrary):
    """The intermediate code of an inner function."""

    @property
    def codegen(self) -> Part:
        """The part itself, which Numba tells where the Python objects of a function are."""
        return self

    def set_env(self, name: str, objects: Any) -> None:
        """There is no machine code that would look for them."""

    def get_pointer_to_function(self, name: str) -> int:
        """No address: the intermediate code is finished, and that is all."""
        self._ensure_finalized()
        return 0

    def _optimize_final_module(self) -> None:
        """Left to what calls it."""

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._verify_declare_only_symbols()
        self._finalized = True


class PartCompiler(Compiler):
    """Numba's compiler, which ends with a ``Part``."""

    def __init__(self, typing: Any, target: Any, library: Any, *others: Any) -> None:
        super().__init__(typing, target, library or Part(target.codegen(), "part"), *others)

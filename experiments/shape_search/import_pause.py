"""Pause of the garbage collector while a command imports what it needs.

The many objects of PyTorch's modules are looked through again and again meanwhile, and none is garbage: that
takes a fifth of the time. This module is imported first, and `resume` called behind the last import.
"""

from __future__ import annotations

import gc

_WAS_ON = gc.isenabled()
gc.disable()


def resume() -> None:
    """Puts the collector back to what it was."""
    if _WAS_ON:
        gc.enable()

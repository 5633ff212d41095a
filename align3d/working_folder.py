"""Removal of the working folder from the places of modules, for ``python -m align3d.build``.

It is done as this module is imported, when nothing has been imported but what Python itself has loaded. See
``experiments/__init__.py``, which does the same for its commands.
"""

import os
import sys

_HERE = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
_OURS = sys.argv[:1] == ["-m"] and "experiments" not in sys.modules
if _OURS and not sys.flags.safe_path and os.path.realpath(sys.path[0]) != _HERE:
    del sys.path[0]

"""Process that reads one uploaded file, so that one which brings it down or takes too long harms nothing.

``python -m experiments.demo_page.decode_upload FILE POINTS UNIT_M UP OUT``; UNIT_M and UP may be ``-``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from align3d.errors import UserError
from experiments.shape_search.shape_file import read_shape

MOST_MEMORY, MOST_SECONDS, LARGEST_FILE = 6 * 2**30, 60, 256 * 2**20
"""Bytes of memory, seconds of a core, and bytes of a file that it writes, at most."""
REFUSED = 2
"""Exit code of a file that cannot be read; why stands on stdout."""


def main(arguments: Sequence[str]) -> int:
    """Reads a file and writes its cloud; the exit code."""
    file, points, unit_m, up, out = arguments
    _limit()
    try:
        record = read_shape(
            Path(file),
            int(points),
            unit_m=None if unit_m == "-" else float(unit_m),
            up=None if up == "-" else up,
        )
    except UserError as error:
        print(str(error).removeprefix(f"shape={file}: ").replace(file, "the file"))
        return REFUSED
    except MemoryError:
        print("needs more memory than an upload may take")
        return REFUSED
    np.savez(
        out,
        points=record.points,
        colors=record.colors,
        size_m=record.size_m,
        notes=np.array([*record.lost_colors, *record.notes], dtype=str),
    )
    return 0


def _limit() -> None:
    """Bounds what the process may take, where the system can."""
    try:
        import resource
    except ImportError:  # no system of that kind
        return
    for kind, most in (
        (resource.RLIMIT_AS, MOST_MEMORY),
        (resource.RLIMIT_CPU, MOST_SECONDS),
        (resource.RLIMIT_FSIZE, LARGEST_FILE),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

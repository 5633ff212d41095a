"""Lock that lets one build of a dataset run at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from align3d.errors import DataError


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Holds the lock ``OUT.lock``, which is gone again afterwards, and makes the folders above.

    Raises:
        DataError: Nothing can be made there.
    """
    path = out.with_name(out.name + ".lock")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        path.touch()  # FileLock would try for ever where no file can be made
    except OSError as error:
        raise DataError(f"out={out}: cannot be made ({error.strerror}); choose another folder") from error
    with FileLock(path):
        try:
            yield
        finally:
            path.unlink(missing_ok=True)  # still held: who has opened it meanwhile sees that, and asks anew

"""Cache of models' answers on disk, one file each, named by the hash of what determines the answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from align3d.captioning.chat import Answer
from durable.checksums import checked_json, set_aside, write_json
from durable.errors import DamagedFileError
from durable.file_lock import locked
from durable.plain_data import typed


class AnswerCache:
    """Answers by key. Of several threads and processes that want the same one, one asks.

    Args:
        folder: Where they are kept; it is made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, key: str, ask: Callable[[], Answer]) -> tuple[Answer, bool]:
        """The answer of a key, and whether it was known.

        Args:
            key: 64 hex digits.
            ask: Asks for it where it is not known; what that raises is raised, and nothing is kept.

        Raises:
            NoSpaceError: The disk does not take it.
        """
        path = self._folder / key[:2] / f"{key}.json"
        if (known := self._read(path)) is not None:
            return known, True
        with locked(
            path.with_suffix(".lock"), advice="choose a folder on another file system (captioner.answers=)"
        ):
            if (known := self._read(path)) is not None:  # another one has asked meanwhile
                return known, True
            answer = ask()
            write_json(path, asdict(answer), indent=None)
        return answer, False

    @staticmethod
    def _read(path: Path) -> Answer | None:
        try:
            return typed(Answer, checked_json(path, json.loads(path.read_text(encoding="utf-8"))))
        except FileNotFoundError:
            return None
        except (DamagedFileError, ValueError, AttributeError, TypeError):
            with suppress(FileNotFoundError):  # another process has done so
                set_aside(path, "it is no answer as it was written")
            return None

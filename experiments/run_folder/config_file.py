"""Settings of a run in its folder, config.yaml, with their checksum in its last line."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from durable.errors import DamagedFileError
from durable.whole_files import write_text
from experiments.run_folder.names import CONFIG

_MARK = "# sha256 of all above: "
_LAST = re.compile(_MARK.encode() + rb"([0-9a-f]{64})\s*\Z")


def write_config(folder: Path, plain: Mapping[str, Any]) -> None:
    """Write the settings, whole or not at all.

    Raises:
        NoSpaceError: The disk does not take them.
    """
    text = OmegaConf.to_yaml(OmegaConf.create(dict(plain)))
    write_text(folder / CONFIG, f"{text}{_MARK}{hashlib.sha256(text.encode()).hexdigest()}\n")


def check_text(path: Path) -> None:
    """Compare a file of settings with the checksum in its last line, if it has one.

    Raises:
        DamagedFileError: They differ.
        OSError: It cannot be read.
    """
    content = path.read_bytes()
    match = _LAST.search(content)
    if match is not None and hashlib.sha256(content[: match.start()]).hexdigest() != match[1].decode():
        raise DamagedFileError(
            f"{path} is damaged: not the settings that were written; put it back from a copy, or remove its "
            "last line if you have changed it yourself"
        )

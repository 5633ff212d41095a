"""Data, text encoder and code that a run began with, and what of them has changed when it is resumed."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from align3d.console.terminal import say
from align3d.console.typed_settings import setting
from align3d.errors import UserError
from experiments.data.corpus import Corpus
from experiments.run_folder.text_reading import NOTE, text_code
from experiments.run_folder.versions import versions
from experiments.settings.changes import RUN_DIR
from experiments.settings.schema import RunConfig

ACCEPT = "accept_changes"
PACKAGES = ("align3d", "models", "envs", "agents", "experiments")
"""Packages whose code decides a run's numbers."""
SAME_DIRECTION = 0.999
"""Least cosine of a caption's features before and after: devices differ by far less, encoders by far more."""


def origins(config: RunConfig, corpus: Corpus, memory_data: Corpus | None) -> dict[str, Any]:
    """Origins of a run's numbers besides its settings, as a checkpoint keeps them."""
    mask = corpus.text.mask[0]
    return {
        "data": corpus.dataset.hash,
        "shapes": len(corpus.dataset),
        "memory": None if memory_data is None else memory_data.dataset.hash,
        "caption": corpus.captions[0],
        "features": corpus.text.tokens[0][mask].float().mean(0).tolist(),
        "code": code_hashes(config.imports),
        NOTE: text_code(),
        "versions": versions(),
    }


def check_origins(there: Mapping[str, Any], now: Mapping[str, Any], config: RunConfig, folder: Path) -> bool:
    """Compare what a run began with and what it is resumed with; a change of the code alone is only reported.

    Args:
        there: What `origins` returned when the checkpoint was written.
        now: What it returns today.
        config: Settings of the run.
        folder: Folder of the run.

    Returns:
        Whether the data are other ones, so that what is known of single shapes has to be forgotten.

    Raises:
        UserError: The data, the memory or the text encoder have changed, unless ``accept_changes`` is set.
    """
    changed = []
    if there["data"] != now["data"]:
        changed.append(
            f"data={config.data.name}: from hash {there['data'][:12]} ({there['shapes']} shapes) to "
            f"{now['data'][:12]} ({now['shapes']} shapes)"
        )
    if there["memory"] != now["memory"]:
        hashes = " to ".join(
            "none" if found["memory"] is None else found["memory"][:12] for found in (there, now)
        )
        changed.append(f"memory={config.memory}: from hash {hashes}")
    if there["caption"] == now["caption"] and not _alike(there["features"], now["features"]):
        changed.append(f"train.text_encoder={config.train.text_encoder}: other features of the same caption")
    run_dir = setting(RUN_DIR, folder)
    if changed and not config.accept_changes:
        raise UserError(
            f"{run_dir}: what the run was begun with has changed, {'; '.join(changed)}; put it back, start "
            f"anew in another folder, or go on regardless: resume=true {run_dir} {ACCEPT}=true"
        )
    code = [name for name, found in now["code"].items() if there["code"].get(name) != found]
    changed += [f"code of {', '.join(code)}"] if code else []
    changed += [
        f"{name} {there['versions'].get(name, 'none')} to {now['versions'].get(name, 'none')}"
        for name in dict.fromkeys([*there["versions"], *now["versions"]])
        if there["versions"].get(name) != now["versions"].get(name)
    ]
    if changed:
        say(
            f"{run_dir}: changed since the run was begun: {'; '.join(changed)}; it goes on, but not to the "
            "same numbers",
            error=True,
        )
    return bool(there["data"] != now["data"])


def code_hashes(imports: Iterable[str]) -> dict[str, str]:
    """Hashes of the code that decides a run's numbers, by package; those of imported modules too."""
    return {name: _code(name) for name in (*PACKAGES, *imports)}


def _code(name: str) -> str:
    """Hash of the source of a package or module, empty where it has none."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        return ""
    path = Path(spec.origin)
    digest = hashlib.sha256()
    for file in sorted(path.parent.rglob("*.py")) if path.name == "__init__.py" else [path]:
        digest.update(file.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()[:24]


def _alike(one: list[float], other: list[float]) -> bool:
    """Whether two vectors have the same width and almost the same direction."""
    if len(one) != len(other):
        return False
    dot, norms = (sum(a * b for a, b in zip(*pair, strict=True)) for pair in ((one, other), (one, one)))
    norms = (norms * sum(b * b for b in other)) ** 0.5
    return dot >= SAME_DIRECTION * norms

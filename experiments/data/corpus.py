"""Corpus of a run: a dataset as tensors, with unique captions, prepared shapes and splits, all cached."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import models.fourier
import models.geometry
import models.shapes
from align3d.captions import normalize_caption
from align3d.console.progress import Tracker
from align3d.console.terminal import say
from align3d.dataset import ShapeDataset
from align3d.errors import UserError, settings_of
from align3d.pipeline import default_cache, load_or_build
from durable.checksums import find_named, write_named
from durable.file_lock import locked
from experiments.console.writable import writable_folder
from experiments.data.encoding import tell_unread
from experiments.settings.schema import DataConfig, RunConfig
from models import ModelConfig, ShapeBatch, TextEncoder, TextFeatures, prepare_shapes
from models.quantities import prefers_decimal_comma

#: The settings of the model that a prepared shape depends on.
SHAPE_SETTINGS = ("points", "patches", "patch_points", "regions")
PREPARE_CHUNK = 256
#: Shares of the test and the reward split where the numbers asked for leave nothing to train on.
SHARES = (0.2, 0.1)
SUFFIX = ".safetensors"
SHAPE_FIELDS = tuple(field.name for field in dataclasses.fields(ShapeBatch))


@dataclass
class Corpus:
    """A dataset as the model eats it. ``n`` shapes, ``m`` unique captions.

    Captions with the same normal form are one text: all shapes that have it are right answers for it.

    Attributes:
        dataset: The records.
        shapes: Prepared, batch ``[n]``.
        captions: ``m`` strings.
        text: Their features, ``[m, T, ...]``.
        texts_of: ``[n, K]`` int64: the captions of each shape, the first one first, -1 behind the last.
        splits: Indices of shapes by the name of the split: train, reward, test.
    """

    dataset: ShapeDataset
    shapes: ShapeBatch
    captions: list[str]
    text: TextFeatures
    texts_of: Tensor
    splits: dict[str, Tensor]

    def positives(self, texts: Tensor, shapes: Tensor) -> Tensor:
        """Which of the shapes ``[C]`` each of the texts ``[Q]`` is a caption of: bool ``[Q, C]``.

        With shapes ``[Q, C]`` every text has its own candidates.
        """
        of_shapes = self.texts_of[shapes]  # [C, K] or [Q, C, K]
        return (of_shapes == texts.view(-1, 1, 1)).any(-1)

    def first_texts(self, shapes: Tensor) -> Tensor:
        """The first caption of each of the shapes ``[C]``: ``[C]``."""
        return self.texts_of[shapes, 0]

    def unique_texts(self, shapes: Tensor) -> Tensor:
        """All captions of the shapes, each once, ascending: ``[M]``."""
        texts = self.texts_of[shapes].flatten()
        return texts[texts >= 0].unique()


def load_corpus(config: RunConfig, device: torch.device) -> Corpus:
    """Builds or finds the dataset, encodes its captions and prepares its shapes.

    Raises:
        UserError: The cache cannot be written to, there is no such text encoder, or a split has too few
            shapes for the settings, or for so many folds.
        DataError: The source has nothing to read.
    """
    cache = (config.cache or default_cache()).expanduser()
    writable_folder(f"cache={cache}", cache)
    data = config.data
    encoder = TextEncoder(
        config.train.text_encoder, cache=cache / "text", device=device, max_tokens=config.train.max_tokens
    )
    with settings_of(f"train.text_encoder={encoder.name}"):
        encoder.check()  # before the dataset is built, which may take minutes
    dataset = load_or_build(
        data.name, cache=cache, points=data.points, seed=data.seed, workers=data.workers, **data.settings
    )
    _tell_left_out(dataset)
    splits = _splits(dataset, data)
    splits["test"] = splits[config.eval.split]
    if config.dap.folds > (most := len(splits["train"]) // 2):
        raise UserError(
            f"dap.folds={config.dap.folds}: a fold has at least 2 of the {len(splits['train'])} shapes to "
            f"train on, so expected at most {most}"
        )
    return encoded_corpus(dataset, splits, encoder, config.model, cache, "encoding captions")


def encoded_corpus(
    dataset: ShapeDataset,
    splits: dict[str, Tensor],
    encoder: TextEncoder,
    config: ModelConfig,
    cache: Path,
    title: str,
) -> Corpus:
    """Encodes the captions of a dataset and prepares its shapes, or takes both from the cache.

    Args:
        dataset: The records.
        splits: Indices of shapes by the name of the split.
        encoder: Of the captions; these say whether it reads 1,234 as 1.234.
        config: What the shapes are prepared for.
        cache: Folder of all caches.
        title: Stands before the progress.
    """
    captions, texts_of = unify(dataset.captions)
    encoder.decimal_comma = prefers_decimal_comma(captions)
    with Tracker(title, len(captions), "captions") as tracker:
        text = encoder.encode(captions, advance=tracker.advance)
    tell_unread(text, encoder)
    return Corpus(
        dataset=dataset,
        shapes=prepared_shapes(dataset, config, cache / "shapes"),
        captions=captions,
        text=text,
        texts_of=texts_of,
        splits=splits,
    )


def _tell_left_out(dataset: ShapeDataset) -> None:
    """A line on the items and one on the colors that could not be used, and where the reasons are."""
    left_out = dataset.rejections
    if left_out:
        kinds = Counter(rejection.reason.partition(":")[0] for rejection in left_out).most_common(3)
        named = "; ".join(f"{count} {kind}" for kind, count in kinds)
        say(
            f"data={dataset.name}: {len(left_out)} of {len(dataset) + len(left_out)} items cannot be used "
            f"({named}; all in {dataset.rejections_file})",
            error=True,
        )
    if lost := dataset.lost_colors:
        say(
            f"data={dataset.name}: {dataset.manifest.lost_colors} of {len(dataset)} shapes lack colors of "
            f"their files ({lost[0].item}: {lost[0].reason}; all in {dataset.lost_colors_file})",
            error=True,
        )


def unify(captions: Sequence[Sequence[str]]) -> tuple[list[str], Tensor]:
    """Gives captions with the same normal form one number.

    Args:
        captions: Of each of ``n`` shapes, at least one.

    Returns:
        The ``m`` unique captions, as first written; ``[n, K]`` their numbers by shape, -1 behind the last.
    """
    numbers: dict[str, int] = {}
    unique: list[str] = []
    rows = []
    for own in captions:
        row: dict[int, None] = {}
        for caption in own:
            form = normalize_caption(caption)
            if form not in numbers:
                numbers[form] = len(unique)
                unique.append(caption)
            row[numbers[form]] = None
        rows.append(list(row))
    longest = max(len(row) for row in rows)
    return unique, torch.tensor([row + [-1] * (longest - len(row)) for row in rows])


def _splits(dataset: ShapeDataset, data: DataConfig) -> dict[str, Tensor]:
    def amount(value: float) -> int | float:
        return int(value) if value >= 1 else value

    test, reward = amount(data.test), amount(data.reward)
    counted = sum(size for size in (test, reward) if isinstance(size, int))
    if counted >= len(dataset):
        say(
            f"data.test={test} data.reward={reward}: as many as the {len(dataset)} shapes or more; going on "
            f"with data.test={SHARES[0]} data.reward={SHARES[1]}",
            error=True,
        )
        test, reward = SHARES
    with settings_of("data"):
        parts = dataset.splits(test, reward)
    splits = {name: torch.from_numpy(parts[name]) for name in ("train", "reward", "test")}
    more = "raise data.size or " if data.settings.get("size") else ""
    for name, least in (("train", 2), ("reward", 2), ("test", 2)):
        if len(splits[name]) < least:
            raise UserError(
                f"data={data.name}: {len(splits[name])} of {len(dataset)} shapes in split {name}, at least "
                f"{least} needed; {more}change data.test or data.reward"
            )
    return splits


def prepared_shapes(
    dataset: ShapeDataset, config: ModelConfig, cache: Path, indices: Tensor | None = None
) -> ShapeBatch:
    """Prepared shapes, from the cache if these shapes were prepared by the same code before.

    Args:
        dataset: The records.
        config: Sizes of the model that reads them.
        cache: Folder of prepared shapes.
        indices: ``[M]`` shapes; None for all.

    Returns:
        Batch ``[M]``.

    Raises:
        UserError: The clouds have too few points for the model, or the cache knows no locks or is full.
    """
    key = _preparation_key(dataset, config, indices)
    rows = range(len(dataset)) if indices is None else indices.tolist()
    if (path := find_named(cache, key, SUFFIX)) is None:
        with locked(cache / f"{key}.lock", advice="choose another cache="):
            path = find_named(cache, key, SUFFIX)  # another run may have prepared them meanwhile
            if path is None:
                tensors = _prepared(dataset, config, rows)
                size = sum(tensor.nbytes for tensor in tensors.values())
                path = write_named(cache, key, SUFFIX, partial(save_file, tensors), size)
    return ShapeBatch(**load_file(path), batch_size=[len(rows)])


def _prepared(dataset: ShapeDataset, config: ModelConfig, every: Sequence[int]) -> dict[str, Tensor]:
    parts = []
    with Tracker("preparing shapes", len(every), "shapes") as tracker, settings_of("model"):
        for start in range(0, len(every), PREPARE_CHUNK):
            rows = every[start : start + PREPARE_CHUNK]
            points = torch.from_numpy(dataset.points(rows))
            colors = torch.from_numpy(dataset.colors(rows))
            size_m = torch.from_numpy(dataset.size_m(rows))
            parts.append(prepare_shapes(points, colors, size_m, config, advance=tracker.advance))
    return {name: torch.cat([part.get(name) for part in parts]) for name in SHAPE_FIELDS}


def _preparation_key(dataset: ShapeDataset, config: ModelConfig, indices: Tensor | None) -> str:
    """Changes with the shapes, the settings that matter and the code that prepares."""
    settings = {name: dataclasses.asdict(config)[name] for name in SHAPE_SETTINGS}
    built_from = dataset.manifest.key  # other units, or other readers, of the same files
    digest = hashlib.sha256(f"{dataset.hash} {built_from} {sorted(settings.items())}".encode())
    for module in (models.shapes, models.geometry, models.fourier):
        digest.update(Path(str(module.__file__)).read_bytes())
    if indices is not None:
        digest.update(indices.numpy().tobytes())
    return digest.hexdigest()[:24]

"""Making of a library that can be searched: a run's own shapes, or those of a built dataset.

All shapes are encoded by the run's model, and what its known pairs say of each is worked out once. A known
pair says nothing of its own shape: it is left out there, by the content of the shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from align3d.captions import normalize_caption
from align3d.console.progress import Tracker
from align3d.console.terminal import say
from align3d.dataset import ShapeDataset
from align3d.errors import DataError, UserError
from align3d.pipeline import default_cache
from experiments.data.bank import Bank, remember
from experiments.data.corpus import Corpus, encoded_corpus
from experiments.data.encoding import CHUNK, embed_shapes, embed_texts
from experiments.data.memory_data import load_memory_data, without_answers
from experiments.index_evaluation.load_run import Trained, open_run
from experiments.settings.named_again import NOTHING, Named
from experiments.shape_search.file_origins import files_of
from experiments.shape_search.library_files import CLOUD_POINTS, LibraryHeader, half, write_library
from experiments.shape_search.where_filters import CAPTION, CATEGORY, ID
from models import PointHierarchy, TextEmbedding, TextEncoder, fine_hubness
from models.geometry import nearest
from models.quantities import prefers_decimal_comma
from retrieval import ErsIndex

TUNED = 0.99
"""Share of the exact ten nearest shapes that ERS is to find for captions."""
_PIECE = 4 * CHUNK
_SMALL = 255


@dataclass(frozen=True)
class Known:
    """Known pairs of a run, and by what their shapes and captions are known again.

    Attributes:
        bank: The pairs.
        shapes: Row of each shape in the bank, by its content hash.
        texts: Row of each caption in the bank, by its normal form.
        captions: The captions as they are written, by their rows.
        ids: Ids of the shapes, by their rows.
    """

    bank: Bank
    shapes: dict[str, int]
    texts: dict[str, int]
    captions: list[str]
    ids: list[str]

    def shape_rows(self, data: ShapeDataset) -> Tensor:
        """Row of each shape of a dataset in the bank, ``[M]``, -1 for none."""
        return torch.tensor([self.shapes.get(content, -1) for content in data.content_hashes])

    def text_rows(self, captions: Sequence[str]) -> Tensor:
        """Row of each caption in the bank, ``[Q]``, -1 for none."""
        return torch.tensor([self.texts.get(normalize_caption(caption), -1) for caption in captions])


def make_library(
    run: Path, dataset: Path | None, folder: Path, key: str, device: torch.device, named: Named = NOTHING
) -> None:
    """Encodes the shapes and captions and writes the library.

    Args:
        run: Folder of a finished run.
        dataset: Folder of a dataset whose shapes are searched; None for the run's own.
        folder: The library's.
        key: See `LibraryHeader`.
        device: Where the model encodes.
        named: What the command line names again of what the run names.

    Raises:
        UserError: There is no such run or dataset, the data differ from the run's, or the shapes do not fit
            its model.
    """
    trained = open_run(run, device, named, reads_memory=True)
    corpus = trained.corpus if dataset is None else _other_corpus(trained, dataset, device)
    known = _known(trained, device)
    shapes = _shapes(trained, corpus, known, device)
    texts = _texts(trained, corpus, known, device)
    data, config = corpus.dataset, trained.config
    index = ErsIndex(seed=config.seed)
    metadata = {CAPTION: [own[0] for own in data.captions], CATEGORY: data.categories, ID: data.ids}
    index.build(shapes["embedding"].numpy(), np.arange(len(data)), metadata)
    index.tune(TUNED, texts["embedding"].numpy())  # texts ask, which lie elsewhere than shapes
    header = LibraryHeader(
        key=key,
        name=data.name,
        dataset=str(data.path),
        up_axis=data.up_axis,
        ids=data.ids,
        files=files_of(data.ids, config.data.settings.get("root") if dataset is None else None, data.name),
        categories=data.categories,
        captions=data.captions,
        texts=corpus.captions,
        env=_env(trained),
        reward=asdict(config.env.reward),
        model=asdict(config.model),
        encoder=config.train.text_encoder,
        max_tokens=config.train.max_tokens,
        decimal_comma=prefers_decimal_comma(corpus.captions),
        candidates=config.eval.candidates,
        imports=list(config.imports),
        seed=config.seed,
        points=data.num_points,
        part_names=[list(own) for own in data.part_names],
        known_texts=[] if known is None else known.captions,
        known_ids=[] if known is None else known.ids,
        known_rows=[] if known is None else _places(known, data),
    )
    write_library(folder, header, shapes, texts, None if known is None else known.bank.memory, index)


def _places(known: Known, data: ShapeDataset) -> list[int]:
    """Row of each known shape in a dataset, -1 for none."""
    places = [-1] * len(known.ids)
    for place, row in enumerate(known.shape_rows(data).tolist()):
        if row >= 0:
            places[row] = place
    return places


def _env(trained: Trained) -> dict[str, object]:
    """Settings of the decision process, but for those of its reward and of what agents learn on."""
    env = asdict(trained.config.env)
    return {name: value for name, value in env.items() if name not in ("reward", "shift")}


def _other_corpus(trained: Trained, folder: Path, device: torch.device) -> Corpus:
    """The shapes and captions of a dataset, prepared for the run's model.

    Raises:
        UserError: There is no dataset, its shapes stand otherwise than the run's, or have too few points.
    """
    config, own = trained.config, trained.corpus.dataset
    try:
        dataset = ShapeDataset.load(folder, verify=True)
    except DataError as error:
        raise UserError(f"dataset={folder}: {error}") from error
    if dataset.up_axis != own.up_axis:
        raise UserError(
            f"dataset={folder}: {dataset.up_axis} points up there, {own.up_axis} in the run's "
            f"data={own.name}; build it with shapes that are turned"
        )
    if dataset.num_points < config.model.points:
        raise UserError(
            f"dataset={folder}: its shapes have {dataset.num_points} points, the run's model reads "
            f"{config.model.points}; build it with points={config.model.points} or more"
        )
    cache = (config.cache or default_cache()).expanduser()
    encoder = TextEncoder(
        config.train.text_encoder, cache=cache / "text", device=device, max_tokens=config.train.max_tokens
    )
    every = {"all": torch.arange(len(dataset))}
    return encoded_corpus(dataset, every, encoder, config.model, cache, "encoding captions")


def _known(trained: Trained, device: torch.device) -> Known | None:
    """The run's known pairs, none of them held out; None with ``memory=off``."""
    config, corpus = trained.config, trained.corpus
    if config.memory == "off":
        return None
    other = load_memory_data(config, corpus, device)
    if other is None:
        rows, source = corpus.splits["train"], corpus
    else:
        held_out = torch.cat([corpus.splits["reward"], corpus.splits["test"]])
        source = without_answers(other, corpus, held_out)
        rows = source.splits["memory"]
    say(f"embedding the known pairs of {len(rows):,} shapes", error=True)
    hashes = source.dataset.content_hashes
    captions = [source.captions[text] for text in source.unique_texts(rows).tolist()]
    return Known(
        remember(trained.model, source, rows, device),
        {hashes[row]: place for place, row in enumerate(rows.tolist())},
        {normalize_caption(caption): place for place, caption in enumerate(captions)},
        captions,
        [source.dataset.ids[row] for row in rows.tolist()],
    )


def _shapes(trained: Trained, corpus: Corpus, known: Known | None, device: torch.device) -> dict[str, Tensor]:
    """Tensors of all shapes, see `LibraryFiles`."""
    data = corpus.dataset
    own = None if known is None else known.shape_rows(data)
    parts: dict[str, list[Tensor]] = {}
    with Tracker("encoding shapes", len(data), "shapes") as tracker:
        for rows in torch.arange(len(data)).split(_PIECE):
            encoded = embed_shapes(trained.model, corpus, rows, device)
            found = _encoded(encoded) | _cloud(corpus, rows)
            if known is not None and own is not None:
                found |= _evidence(trained, known.bank, encoded, own[rows].to(device))
            for name, part in found.items():
                parts.setdefault(name, []).append(part.cpu())
            tracker.advance(len(rows))
    return {name: torch.cat(pieces) for name, pieces in parts.items()}


def _encoded(shapes: PointHierarchy) -> dict[str, Tensor]:
    region = shapes.region
    return {
        "nodes": half(shapes.nodes),
        "centers": half(shapes.centers),
        "region": region.to(torch.uint8 if int(region.max()) <= _SMALL else torch.int64),
        "spectrum": half(shapes.spectrum),
        "extent": shapes.extent.float(),
        "embedding": shapes.embedding.float(),
    }


def _cloud(corpus: Corpus, rows: Tensor) -> dict[str, Tensor]:
    """The first points of each shape, z up, to draw it by, with the patch and the part of each."""
    data = corpus.dataset
    up = "xyz".index(data.up_axis)
    points = torch.from_numpy(data.points(rows.tolist())[:, :CLOUD_POINTS])
    colors = torch.from_numpy(data.colors(rows.tolist())[:, :CLOUD_POINTS])
    patch = nearest(points.float(), corpus.shapes.centers[rows].float(), 1).squeeze(-1)
    found = {
        "cloud": points[..., [(up + 1) % 3, (up + 2) % 3, up]],
        "colors": colors,
        "patch": patch.to(torch.uint8),
    }
    if any(data.part_names):
        found["part"] = torch.from_numpy(data.part(rows.tolist())[:, :CLOUD_POINTS].astype(np.int16))
    return found


def _evidence(trained: Trained, bank: Bank, shapes: PointHierarchy, own: Tensor) -> dict[str, Tensor]:
    """Evidence of known pairs on shapes, those of a shape itself left out.

    Args:
        trained: The run.
        bank: Its known pairs.
        shapes: Batch ``[M]``.
        own: ``[M]`` the row of each among the known shapes, -1 for none.
    """
    memory = bank.memory
    others = memory.others(own, "shape")
    strangers = memory.strangers(own, "shape")
    return {
        "recalled": memory.recall(shapes.embedding, "shape", others),
        "likeness": memory.likeness(shapes.embedding, "shape", 1, others).squeeze(1),
        "hubness": fine_hubness(trained.model, bank.text, shapes, "shape", keep=strangers),
    }


def _texts(trained: Trained, corpus: Corpus, known: Known | None, device: torch.device) -> dict[str, Tensor]:
    """Tensors of all captions, see `LibraryFiles`; they are asked for by shapes."""
    text = embed_texts(trained.model, corpus, torch.arange(len(corpus.captions)), device)
    found = {
        "tokens": half(text.tokens),
        "mask": text.mask.cpu(),
        "quantities": text.quantities.cpu(),
        "embedding": text.embedding.float().cpu(),
    }
    if known is None:
        return found
    own, memory = known.text_rows(corpus.captions).to(device), known.bank.memory
    parts = [
        memory.recall(text.embedding[rows], "text", memory.others(own[rows], "text"))
        for rows in torch.arange(len(own)).split(_PIECE)
    ]
    found["recalled"] = torch.cat(parts).cpu()
    if _corrects_captions(trained):
        found["hubness"] = _caption_hubness(trained, known.bank, text, own)
    return found


def _corrects_captions(trained: Trained) -> bool:
    """Whether the run subtracts the hubness of captions that shapes ask for."""
    fixed = (trained.results.get("memory") or {}).get("fixed") or {}
    return bool(((fixed.get("rerank") or {}).get("shape_to_text") or {}).get("hubness"))


def _caption_hubness(trained: Trained, bank: Bank, text: TextEmbedding, own: Tensor) -> Tensor:
    """Hubness ``[Q]`` of captions for known shapes, those of a caption itself (rows ``[Q]``) left out."""
    parts, model = [], trained.model
    keys_values = model.haf.project(bank.shapes)
    with Tracker("hubness of captions", len(own), "captions") as tracker:
        for rows in torch.arange(len(own)).split(_PIECE):
            keep = bank.memory.strangers(own[rows], "text")
            found = fine_hubness(model, text.select(rows), bank.shapes, "text", keys_values, keep)
            parts.append(found.cpu())
            tracker.advance(len(rows))
    return torch.cat(parts)

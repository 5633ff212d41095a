"""Controls of the bank: its size, captions that it holds, wrong pairs, and pairs of another source."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from align3d.console.progress import Tracker
from align3d.console.terminal import say
from align3d.errors import UserError
from align3d.sources import source_class
from experiments.console.process import generator
from experiments.data.bank import Bank
from experiments.data.corpus import load_corpus
from experiments.evaluation.gallery import Gallery
from experiments.index_evaluation.load_run import check_run, read_config
from experiments.memory_controls.altered_banks import drawn_pairs, with_wrong_pairs
from experiments.memory_controls.control_options import Settings
from experiments.memory_controls.examined_run import Case, Examined, examine, forced
from experiments.run_folder.names import CONFIG
from experiments.settings.named_again import IMPORTS
from experiments.settings.schema import DataConfig, RunConfig

OTHER = "procedural"
OTHER_SPLIT = 0.25
"""Shares of the test and of the reward split of the other source."""


def by_size(examined: Examined, settings: Settings) -> list[Case]:
    """Random subsets of the bank's pairs, each a part of the next, with strengths chosen and forced."""
    pairs, strengths = len(examined.bank.memory), forced(settings.forced)
    sizes = [size for size in sorted(settings.sizes) if size < pairs]
    chosen, acting = [], []
    with Tracker("banks of several sizes", len(sizes) + 1, "banks") as tracker:
        for size in [*sizes, pairs]:
            name, galleries = f"all {pairs:,} pairs", examined.galleries if size == pairs else None
            if galleries is None:
                draws = generator(settings.seed + examined.config.seed, "memory", "size")
                name = f"{size:,} pairs"
                galleries = examined.remembering(drawn_pairs(examined.bank, size, draws))
            chosen.append(examined.measured(name, galleries))
            acting.append(examined.measured(f"{name}, strengths {settings.forced:g}", galleries, strengths))
            tracker.advance()
    return chosen + acting


def by_caption(examined: Examined, settings: Settings) -> list[Case]:
    """Queries with a caption that the bank holds, apart from those without.

    A text asks with its caption; a shape, whose captions are the right answers, counts among the first if the
    bank holds one of them.
    """
    whole, corpus = examined.whole, examined.corpus
    known = corpus.unique_texts(corpus.splits["train"])
    own = torch.isin(corpus.texts_of[examined.test.indices], known)  # -1, no caption, is never in
    held = {"text_to_shape": own[:, 0].numpy(), "shape_to_text": own.any(1).numpy()}
    cases = []
    for name, wanted in (("caption in the bank", True), ("caption not in the bank", False)):
        values = {
            key: {row: found[held[key] == wanted] for row, found in rows.items()}
            for key, rows in whole.values.items()
        }
        cases.append(dataclasses.replace(whole, name=name, values=values))
    return cases


def by_wrong_pairs(examined: Examined, settings: Settings) -> list[Case]:
    """A share of the bank's pairs made wrong, with strengths chosen for these and for right pairs."""
    shares = sorted({*settings.wrong} - {0.0})
    cases = [dataclasses.replace(examined.whole, name="no pair wrong")]
    with Tracker("wrong pairs", len(shares), "banks") as tracker:
        for share in shares:
            draws = generator(settings.seed + examined.config.seed, "memory", "wrong")
            bank = with_wrong_pairs(examined.bank, share, draws)
            reward, test = (_paired_anew(gallery, bank) for gallery in examined.galleries)
            name = f"{share:.0%} wrong"
            cases += [
                examined.measured(name, (reward, test)),
                examined.measured(
                    f"{name}, strengths for right pairs", (reward, test), examined.whole.strengths
                ),
            ]
            tracker.advance()
    return cases


def _paired_anew(gallery: Gallery, bank: Bank) -> Gallery:
    """A gallery with a bank of the same texts and shapes in other pairs: hubness, which needs none, stays."""
    known = gallery.memory
    assert known is not None
    library = dataclasses.replace(
        known.library, memory=bank.memory, recalled=bank.memory.recall(gallery.shapes.embedding, "shape")
    )
    recalled = bank.memory.recall(gallery.text.embedding, "text")
    return dataclasses.replace(gallery, memory=dataclasses.replace(known, library=library, recalled=recalled))


def by_source(examined: Examined, settings: Settings) -> list[Case]:
    """Bank and gallery from the run's source and from another one, in all four ways, under the run's model.

    Strengths are chosen on the reward split of the gallery's source, and for comparison carried over from the
    run's own.

    Raises:
        UserError: As `other_data`, or another axis points up there.
    """
    config, own = examined.config, examined.config.data.name
    data = other_data(settings, config)
    if data is None:
        say(f"data={own}: controls=source needs other=…, another source", error=True)
        return []
    corpus, name = load_corpus(dataclasses.replace(config, data=data), examined.device), data.name
    if corpus.dataset.up_axis != (up := examined.corpus.dataset.up_axis):
        raise UserError(f"other={name}: {corpus.dataset.up_axis} points up there, {up} in data={own}")
    foreign = examine(examined.model, config, corpus, examined.device)
    strengths = examined.whole.strengths
    with Tracker("banks of two sources", 2, "banks") as tracker:
        in_own = examined.remembering(foreign.bank)
        tracker.advance()
        in_other = foreign.remembering(examined.bank)
        tracker.advance()
    return [
        dataclasses.replace(examined.whole, name=f"bank {own}, gallery {own}"),
        examined.measured(f"bank {name}, gallery {own}", in_own),
        examined.measured(f"bank {name}, gallery {own}, strengths of bank {own}", in_own, strengths),
        dataclasses.replace(foreign.whole, name=f"bank {name}, gallery {name}"),
        foreign.measured(f"bank {own}, gallery {name}", in_other),
        foreign.measured(f"bank {own}, gallery {name}, strengths of gallery {own}", in_other, strengths),
    ]


def other_data(settings: Settings, config: RunConfig) -> DataConfig | None:
    """The data of another source; None where none is named and the run is on the default one.

    Raises:
        UserError: There is no such source or run, or it is of the run's own source.
    """
    name, own = settings.other or OTHER, config.data
    if settings.other is None and own.name == OTHER:
        return None
    if "/" in name:
        check_run(Path(name))
        data = read_config(Path(name) / CONFIG, {IMPORTS: settings.imports}).data
    else:
        source_class(name)
        data = DataConfig(name, {}, own.points, test=OTHER_SPLIT, reward=OTHER_SPLIT, workers=own.workers)
    if data.name == own.name:
        raise UserError(f"other={name}: the run is on data={own.name} as well; name another source")
    return data

"""A memory from a dataset of its own: what is left out of it, and what it must be."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from align3d import Item, Record
from align3d.errors import UserError
from align3d.pipeline import build
from experiments.data.corpus import Corpus
from experiments.data.memory_data import count_pairs, load_memory_data, without_answers
from experiments.settings.command import check
from experiments.settings.preflight import check_machine, open_memory
from experiments.settings.schema import RunConfig, register_sizes
from experiments.training.session import Session
from tests.experiments.evaluation.masts import Masts

register_sizes()
CPU = torch.device("cpu")


class OthersMasts(Masts):
    """The masts once more, from elsewhere: the same captions in other letters, or the y axis up."""

    def __init__(self, up_axis: str = "z") -> None:
        self.up_axis = up_axis

    def read(self, item: Item, points: int, seed: int) -> Record:
        record = super().read(item, points, seed)
        captions = tuple(caption.upper() + "!" for caption in record.captions)
        return dataclasses.replace(record, captions=captions, up_axis=self.up_axis)


def config(folder: Path, **more: object) -> RunConfig:
    settings = {
        "memory": folder,
        "agent": "none",
        "model": "tiny",
        "data.points": 512,
        "cache": folder.parent / "cache",
        **more,
    }
    return check([f"{name}={value}" for name, value in settings.items()])[0]


@pytest.fixture(scope="module")
def masts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("memory") / "masts"
    build(OthersMasts(), folder, points=512, workers=1)
    return folder


@pytest.fixture(scope="module")
def known(masts: Path, corpus: Corpus) -> Corpus:
    found = load_memory_data(config(masts), corpus, CPU)
    assert found is not None
    # as wide as the features of the other masts, which no text encoder has made
    return dataclasses.replace(
        found, text=dataclasses.replace(found.text, tokens=found.text.tokens[..., :12])
    )


def captions_of(corpus: Corpus) -> list[set[str]]:
    return [{corpus.captions[text] for text in row.tolist() if text >= 0} for row in corpus.texts_of]


def test_pairs_with_an_answer_are_left_out(known: Corpus, corpus: Corpus) -> None:
    """Mast 2 is "a thing" alone; mast 4 has this name, one that all share, and one of its own."""
    assert [len(names) for names in captions_of(known)] == [1 if n % 4 == 2 else 3 for n in range(16)]
    left = without_answers(known, corpus, torch.tensor([2]))
    for number, names in enumerate(captions_of(left)):
        own = f"A THING OF {number} CM WITH A BOLT AND ITS POLE!"
        assert names == (set() if number % 4 == 2 else {"A MAST WITH A RED FLAG!", own})
    assert left.splits["memory"].tolist() == [n for n in range(16) if n % 4 != 2]
    left = without_answers(known, corpus, torch.tensor([4]))
    for number, names in enumerate(captions_of(left)):
        own = f"A THING OF {number} CM WITH A BOLT AND ITS POLE!"
        assert names == (set() if number % 4 == 2 or number == 4 else {own}), (
            "shapes of equal content go whole"
        )
    assert count_pairs(left) == len(left.splits["memory"]) == 11


def test_nothing_asked_leaves_nothing_out(known: Corpus, corpus: Corpus) -> None:
    left = without_answers(known, corpus, torch.zeros(0, dtype=torch.int64))
    assert torch.equal(left.texts_of, known.texts_of)
    assert len(left.splits["memory"]) == 16


def test_a_bank_of_its_own_never_holds_what_is_asked_for(
    masts: Path, known: Corpus, corpus: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    splits = {"train": torch.arange(6), "reward": torch.tensor([6, 7]), "test": torch.tensor([8, 9])}
    corpus = dataclasses.replace(corpus, splits=splits)
    session = Session(config(masts), tmp_path, corpus, CPU, known)
    assert session.bank is not None
    assert len(session.bank.memory) == 9  # names of their own, of masts that are not asked for
    assert f"memory={masts}: 31 of 40 pairs left out, as their shape or" in capsys.readouterr().err
    fold = session.known_pairs(session.model, torch.tensor([0, 1]))
    assert fold is not None
    assert len(fold.memory) == len(session.bank.memory) - 2
    asked = torch.arange(16)
    with pytest.raises(UserError, match=f"memory={masts}: no pair is left; name a dataset of other shapes"):
        session.known_pairs(session.model, asked)
    session.journal.close()


def test_the_train_split_is_a_bank_without_what_is_asked_for(corpus: Corpus, tmp_path: Path) -> None:
    splits = {"train": torch.arange(8), "reward": torch.tensor([8, 9]), "test": torch.arange(10, 16)}
    corpus = dataclasses.replace(corpus, splits=splits)
    settings = config(tmp_path / "none", memory="train")
    session = Session(settings, tmp_path, corpus, CPU)
    held_out = torch.cat([splits["reward"], splits["test"], torch.tensor([1, 3])])
    for asked in (None, torch.tensor([1, 3])):
        bank = session.known_pairs(session.model, asked)
        assert bank is not None
        shapes = torch.arange(8) if asked is None else torch.tensor([0, 2, 4, 5, 6, 7])
        assert len(bank.memory.shape) == len(shapes)
        assert len(bank.memory) == int((corpus.texts_of[shapes] >= 0).sum())
        with torch.no_grad():
            others = session.model.eval().encode_shapes(corpus.shapes[held_out]).embedding
        nearest = torch.cdist(bank.memory.shape, others[: -2 if asked is None else None]).amin()
        assert nearest > 1e-4, "no shape that is asked for is known"
    session.journal.close()
    session = Session(config(tmp_path / "none", memory="off"), tmp_path, corpus, CPU)
    assert session.bank is None
    session.journal.close()


def test_a_memory_is_what_it_was_when_the_run_began(
    masts: Path, known: Corpus, corpus: Corpus, tmp_path: Path
) -> None:
    splits = {"train": torch.arange(6), "reward": torch.tensor([6, 7]), "test": torch.tensor([8, 9])}
    corpus = dataclasses.replace(corpus, splits=splits)
    session = Session(config(masts), tmp_path, corpus, CPU, known)
    session.save()
    session.journal.close()
    Session(config(masts), tmp_path, corpus, CPU, known).journal.close()
    build(OthersMasts(), tmp_path / "others", points=600, workers=1)
    changed = load_memory_data(config(tmp_path / "others"), corpus, CPU)
    with pytest.raises(UserError, match=f"has changed, memory={masts}: from hash "):
        Session(config(masts), tmp_path, corpus, CPU, changed)


@pytest.mark.parametrize("memory", ["train", "off"])
def test_a_run_without_a_dataset_of_its_own_needs_none(memory: str, corpus: Corpus, tmp_path: Path) -> None:
    settings = config(tmp_path / "none", memory=memory)
    assert open_memory(settings) is None
    assert load_memory_data(settings, corpus, CPU) is None


def test_no_dataset_is_named_before_anything_else_is_done(tmp_path: Path) -> None:
    for name, words in (
        (tmp_path / "nowhere", f"no dataset at {tmp_path / 'nowhere'}"),
        ("trian", "did you mean train?"),
    ):
        with pytest.raises(UserError, match=f"memory={name}: no dataset at") as caught:
            check_machine(config(tmp_path / "none", memory=name))
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)
    assert not [path for path in tmp_path.iterdir() if path.name != "cache"]


def test_a_damaged_dataset_is_named(tmp_path: Path) -> None:
    build(OthersMasts(), tmp_path / "masts", points=512, workers=1)
    shard = next((tmp_path / "masts").rglob("data-*.arrow"))
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(UserError, match=f"memory={tmp_path / 'masts'}: damaged dataset: .*build it again"):
        open_memory(config(tmp_path / "masts"))
    (tmp_path / "masts" / "manifest.json").write_text("{")
    with pytest.raises(
        UserError, match=f"memory={tmp_path / 'masts'}: damaged dataset: .*manifest.json is not JSON"
    ):
        open_memory(config(tmp_path / "masts"))


def test_too_few_points_are_named(tmp_path: Path) -> None:
    build(OthersMasts(), tmp_path / "masts", points=128, workers=1)
    with pytest.raises(
        UserError, match=r"its shapes have 128 points, the model reads 256; build it with points=256"
    ):
        open_memory(config(tmp_path / "masts"))


def test_another_axis_that_points_up_is_named(tmp_path: Path, corpus: Corpus) -> None:
    build(OthersMasts("y"), tmp_path / "masts", points=512, workers=1)
    with pytest.raises(UserError, match=f"memory={tmp_path / 'masts'}: y points up there, z in data=masts"):
        load_memory_data(config(tmp_path / "masts"), corpus, CPU)


@pytest.mark.parametrize("value", ["", "3", "true", "null"])
def test_what_names_no_memory_is_refused(value: str) -> None:
    with pytest.raises(UserError, match="expected train, off, or the folder of a dataset"):
        check([f"memory={value}"])

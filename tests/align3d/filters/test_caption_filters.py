"""Filters of captions: generic ones, those of other languages, and those that say nothing of the shape."""

from pathlib import Path

import pytest

from align3d.errors import DataError
from align3d.filters import decisions_of, make_filter
from align3d.filters.caption_language import Language
from align3d.filters.caption_quality import Quality
from align3d.filters.text_quality import Classifier, fault, precision_and_recall, read_labels, train
from align3d.pipeline import build
from tests.align3d.filters.described_shapes import Described

LABELS = Path(__file__).with_name("labeled_captions.csv")


def test_captions_of_many_different_shapes_go(tmp_path: Path) -> None:
    captions = [("A chair.", "red one"), ("a chair",), ("a  CHAIR", "blue one"), ("a table",), ("a table",)]
    source = Described(captions, content=[0, 1, 2, 3, 3])
    dataset = build(source, tmp_path / "set", points=64, workers=1, progress=False)
    made = decisions_of(dataset, [make_filter("duplicate_captions", shapes=2)], progress=False)
    reason = "duplicate caption: of 3 different shapes"
    assert [(one.item, one.caption, one.reason) for one in made] == [
        ("shape 0", "A chair.", reason),
        ("shape 1", "a chair", reason),
        ("shape 2", "a  CHAIR", reason),
    ]
    # Two shapes of equal content are no different shapes.
    assert not decisions_of(dataset, [make_filter("duplicate_captions", shapes=3)], progress=False)
    kept = decisions_of(
        dataset, [make_filter("duplicate_captions", shapes=2, keep_last=True)], progress=False
    )
    assert [one.item for one in kept] == ["shape 0", "shape 2"]


FOREIGN = [
    ("de", "ein roter Stuhl mit vier Beinen"),
    ("fr", "une petite maison avec un jardin"),
    ("es", "una silla roja con cuatro patas"),
    ("ru", "деревянный стол с четырьмя ножками"),
    ("zh", "红色的椅子"),
    ("ja", "赤い椅子"),
]
ENGLISH = [
    "SOT-23, 3 Pin, 0.95mm pitch",
    "Through hole straight pin header, 1x04, 2.54mm pitch, single row",
    "SSOP14: plastic shrink small outline package; 14 leads; body width 5.3 mm",
    "0603",
    "a chair",
    "BGA-1023",
]


def test_other_languages_go_and_technical_captions_stay(tmp_path: Path) -> None:
    texts = [text for _, text in FOREIGN] + ENGLISH
    dataset = build(Described([(one,) for one in texts]), tmp_path / "set", points=64, workers=1)
    made = decisions_of(dataset, [make_filter("language")], progress=False)
    assert [(one.reason, one.caption) for one in made] == [
        (f"language: {code}", text) for code, text in FOREIGN
    ]
    german = decisions_of(dataset, [make_filter("language", keep=["en", "de"])], progress=False)
    assert [one.caption for one in german] == [text for _, text in FOREIGN[1:]]


def test_an_unknown_language_is_told() -> None:
    with pytest.raises(DataError, match="keep=xx: no such language"):
        Language(keep=["xx"]).fingerprint()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Download for free, link in the bio", "about the file or its maker"),
        ("An image with a white background", "about the picture"),
        ("a chair with a", "cut off"),
        ("a 3D model of an object", "about the picture"),
        ("HDMI Molex Type A", ""),
        ("a relay for CT05-XXXX boards", ""),
        ("a picture frame with a white mat", ""),
        ("scale model of a ship", ""),
    ],
)
def test_rules_of_quality(text: str, reason: str) -> None:
    assert fault(text) == reason


def test_rules_of_quality_are_right_where_they_speak() -> None:
    texts, good = read_labels(LABELS, "test")
    precision, recall = precision_and_recall([bool(fault(text)) for text in texts], good)
    assert len(texts) == 111
    assert precision == 1
    assert recall == pytest.approx(0.70, abs=0.03)


def test_the_classifier_learns_from_one_half_and_is_right_on_the_other(tmp_path: Path) -> None:
    made = train(*read_labels(LABELS, "train"))
    texts, good = read_labels(LABELS, "test")
    precision, recall = precision_and_recall((made.good(texts) < 0.5).tolist(), good)
    assert precision >= 0.98
    assert recall >= 0.93
    made.write(tmp_path / "quality.json")
    again = Classifier.read(tmp_path / "quality.json")
    assert again.good(texts[:5]) == pytest.approx(made.good(texts[:5]), abs=1e-6)
    quality = Quality(model=tmp_path / "quality.json")
    reasons = quality.reasons(["a red chair with four legs", "please like my other models"])
    assert reasons["a red chair with four legs"] == ""
    assert reasons["please like my other models"].startswith("quality: 0.")
    assert quality.fingerprint() != Quality().fingerprint()


def test_precision_and_recall() -> None:
    assert precision_and_recall([True, True, False, False], [False, True, False, True]) == (0.5, 0.5)
    assert precision_and_recall([False], [True]) == (1, 1)


def test_what_cannot_be_learned_from_is_told(tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text("caption,label\na chair,good\na table,maybe\n")
    with pytest.raises(DataError, match="label 'maybe', expected good or bad"):
        read_labels(file)
    with pytest.raises(DataError, match="0 bad captions"):
        train(["a chair"] * 6, [True] * 6)
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(DataError, match="no classifier of captions"):
        Quality(model=tmp_path / "model.json").fingerprint()

"""Classification tasks against scikit-learn: zero-shot, open-set, few-shot, and robustness by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    balanced_accuracy_score,
    recall_score,
    roc_auc_score,
    roc_curve,
    top_k_accuracy_score,
)
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid

from align3d.errors import UserError
from experiments.tasks.few_shot import Fold, classify, few_shot, few_shot_folds
from experiments.tasks.measured import Bootstrap
from experiments.tasks.open_set import open_set, unknown_classes
from experiments.tasks.prompts import TEMPLATES, class_embeddings, read_templates, same_class, unit
from experiments.tasks.robustness import DGCNN, robustness
from experiments.tasks.zero_shot import class_scores, zero_shot

FEW = Bootstrap(200)


def value(found, name: str) -> float:
    (own,) = (one for one in found if one.name == name)
    assert own.low is None or own.low <= own.value <= own.high
    return own.value


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


def test_top_k_and_class_mean_are_scikit_learns(rng: np.random.Generator) -> None:
    scores, labels = rng.normal(size=(120, 9)), rng.choice(9, 120, p=np.arange(1, 10) / 45)
    labels[:9] = np.arange(9)
    scores[np.arange(120), labels] += 1.0
    found = zero_shot(scores, labels, [f"c{i}" for i in range(9)], FEW)
    for k in (1, 3, 5):
        assert value(found.overall, f"top-{k}") == pytest.approx(top_k_accuracy_score(labels, scores, k=k))
    answers = scores.argmax(axis=1)
    assert value(found.overall, "class mean") == pytest.approx(balanced_accuracy_score(labels, answers))
    assert [own.value for own in found.by_class] == pytest.approx(recall_score(labels, answers, average=None))
    assert [own.count for own in found.by_class] == np.bincount(labels).tolist()


def test_the_interval_of_the_class_mean_is_that_of_a_loop(rng: np.random.Generator) -> None:
    scores, labels = rng.normal(size=(40, 3)), np.arange(40) % 3
    scores[np.arange(40), labels] += 1.0
    found = zero_shot(scores, labels, ["a", "b", "c"], FEW)
    answers, drawn = scores.argmax(axis=1), []
    for row in np.concatenate(list(FEW.weights(40))).astype(int):
        rows = np.repeat(np.arange(40), row)
        drawn.append(balanced_accuracy_score(labels[rows], answers[rows]))
    mean = found.overall[-1]
    assert [mean.low, mean.high] == pytest.approx(np.quantile(drawn, [0.025, 0.975]).tolist())


def test_a_class_that_a_shape_ties_with_counts_as_before_its_own() -> None:
    found = zero_shot(np.zeros((4, 7)), np.arange(4), list("abcdefg"), FEW)
    assert [own.value for own in found.overall] == [0.0] * 4


def test_the_mean_of_prompts_is_a_direction() -> None:
    prompts = np.array([[2.0, 0.0], [0.0, 0.5], [-3.0, 0.0]])
    classes = class_embeddings(prompts, np.array([0, 0, 1]), 2)
    np.testing.assert_allclose(classes, [[0.5**0.5, 0.5**0.5], [-1, 0]])
    np.testing.assert_allclose(class_scores(np.array([[5.0, 5.0]]), classes), [[1, -(0.5**0.5)]])
    with pytest.raises(ValueError, match="class 2 has no prompt"):
        class_embeddings(prompts, np.array([0, 0, 1]), 3)
    with pytest.raises(ValueError, match="vector 0 is zero"):
        class_embeddings(np.array([[1.0, 0], [-1, 0]]), np.array([0, 0]), 1)


def test_a_class_is_asked_for_in_64_ways_by_each_of_its_names() -> None:
    prompts = read_templates()
    assert len(set(prompts.templates)) == 64
    assert prompts.names_of("night_stand") == prompts.names_of("Night stand")
    assert "night stand" in prompts.names_of("night_stand")
    assert same_class("night_stand") == same_class("Night stand") == same_class("night-stand")
    asked, owners = prompts.prompts(["airplane", "sofa"])
    assert np.bincount(owners).tolist() == [64, 128]
    assert "a 3D model of a couch." in asked
    lvis = read_templates(verbatim=True)
    assert lvis.names_of("arctic_(type_of_shoe)") == ("arctic_(type_of_shoe)",)
    assert "the arctic_(type_of_shoe)" in lvis.prompts_of("arctic_(type_of_shoe)")
    assert lvis.hash != prompts.hash


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a thing", "expected one {}"),
        ("a {name}", "expected one {}"),
        ("{} and {}", "expected one {}"),
        ("# {}", "no template"),
    ],
)
def test_a_file_of_no_templates_is_refused(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / "mine.txt"
    path.write_text(text)
    with pytest.raises(UserError, match=fault):
        read_templates(path)
    with pytest.raises(UserError, match="cannot be read"):
        read_templates(tmp_path / "nothing.txt")
    assert TEMPLATES.is_file()


@pytest.mark.parametrize("digits", [1, 12])
def test_open_set_measures_are_scikit_learns(rng: np.random.Generator, digits: int) -> None:
    known = rng.random(300) < 0.6
    scores = np.round(rng.normal(size=300) + known, digits)  # with one digit many are equal
    found = open_set(scores, known, FEW)
    assert value(found, "AUROC") == pytest.approx(roc_auc_score(known, scores))
    false, true, _ = roc_curve(known, scores, drop_intermediate=False)
    assert value(found, "FPR95") == pytest.approx(false[true >= 0.95 - 1e-9][0])
    drawn = []
    for row in np.concatenate(list(FEW.weights(300))).astype(int):
        rows = np.repeat(np.arange(300), row)
        drawn.append(roc_auc_score(known[rows], scores[rows]))
    assert [found[0].low, found[0].high] == pytest.approx(np.quantile(drawn, [0.025, 0.975]).tolist())


def test_open_set_needs_both_kinds() -> None:
    with pytest.raises(ValueError, match="3 of 3 shapes are known"):
        open_set(np.zeros(3), np.ones(3, bool))
    for classes in (2, 3, 10):
        assert 0 < unknown_classes(classes, 0.5, 0).sum() < classes
    assert unknown_classes(10, 0.5, 0).sum() == 5
    with pytest.raises(ValueError, match="at least two"):
        unknown_classes(1, 0.5, 0)


def test_methods_of_few_shots_are_scikit_learns(rng: np.random.Generator) -> None:
    vectors, labels = rng.normal(size=(60, 6)), np.arange(60) % 4 + 3
    vectors += 2 * np.eye(6)[labels - 3]
    support, queries = slice(0, 20), slice(20, 60)
    probe = LogisticRegression(max_iter=1_000).fit(unit(vectors[support]), labels[support])
    ours = classify("linear probe", vectors[support], labels[support], vectors[queries])
    assert (ours == probe.predict(unit(vectors[queries]))).all()
    centers = NearestCentroid().fit(unit(vectors[support]), labels[support]).centroids_
    nearest = KNeighborsClassifier(1).fit(unit(centers), [3, 4, 5, 6]).predict(unit(vectors[queries]))
    ours = classify("nearest prototype", vectors[support], labels[support], vectors[queries])
    assert (ours == nearest).all()


@pytest.mark.filterwarnings("error")
def test_few_shots_of_classes_apart_are_right_and_of_noise_are_chance(rng: np.random.Generator) -> None:
    labels = np.repeat(np.arange(5), 30)
    apart = few_shot(np.eye(5)[labels] + 0.01 * rng.normal(size=(150, 5)), labels, 1, draws=3, bootstrap=FEW)
    assert [own.accuracy.value for own in apart] == [1.0, 1.0]
    noise = few_shot(rng.normal(size=(150, 5)), labels, 4, draws=5, bootstrap=FEW)
    for own in noise:
        assert own.accuracy.low < 0.2 < own.accuracy.high
        assert own.spread is not None
        assert own.spread > 0
        assert (own.accuracy.name, own.accuracy.count, own.classes) == ("5-way 4-shot", 150, 5)


def test_small_classes_are_left_out_and_no_classes_refused() -> None:
    labels = np.array([0] * 5 + [1] * 5 + [2] * 2)
    vectors = np.eye(3)[labels]
    assert few_shot(vectors, labels, 2, draws=2, bootstrap=FEW)[0].classes == 2
    with pytest.raises(ValueError, match="shots=5: 0 classes have more shapes"):
        few_shot(vectors, labels, 5)


def test_given_folds_have_the_mean_and_the_spread_of_their_accuracies(rng: np.random.Generator) -> None:
    support_labels, query_labels = np.repeat(np.arange(5), 2), np.repeat(np.arange(5), 4)
    folds = [
        Fold(rng.normal(size=(10, 8)), support_labels, rng.normal(size=(20, 8)), query_labels)
        for _ in range(10)
    ]
    probe, prototype = few_shot_folds(folds, FEW)
    for found in (probe, prototype):
        by_fold = [
            (classify(found.method, f.support, f.support_labels, f.queries) == f.query_labels).mean()
            for f in folds
        ]
        assert found.accuracy.value == pytest.approx(np.mean(by_fold))
        assert found.spread == pytest.approx(np.std(by_fold, ddof=1))
        assert found.accuracy.low < found.accuracy.value < found.accuracy.high
        assert found.accuracy.name == "5-way 2-shot"
    odd = Fold(folds[0].support[1:], support_labels[1:], folds[0].queries, query_labels)
    with pytest.raises(ValueError, match="expected one kind of fold"):
        few_shot_folds([*folds, odd])


def levels(kind: str, *rights: np.ndarray) -> dict[str, np.ndarray]:
    return {f"{kind}:{level}": right for level, right in enumerate(rights)}


def test_dgcnn_itself_has_an_mce_of_one() -> None:
    clean = np.arange(1_000) < 926
    as_dgcnn = {
        kind: levels(kind, *[np.arange(1_000) < round(1_000 * own)] * 5) for kind, own in DGCNN.items()
    }
    found = robustness(clean, as_dgcnn, FEW)
    assert value(found.overall, "mCE") == pytest.approx(1.0)
    assert value(found.overall, "RmCE") == pytest.approx(1.0)
    assert value(found.overall, "drop") == pytest.approx(0.926 - np.mean(list(DGCNN.values())))
    assert [own.value for own in found.errors] == pytest.approx([1.0] * 7)
    assert value(found.by_kind["jitter"], "top-1") == pytest.approx(0.684)
    assert value(found.by_kind["jitter"], "drop") == pytest.approx(0.926 - 0.684)
    halves = as_dgcnn | {"scale": levels("scale", np.ones(1_000, bool), np.zeros(1_000, bool))}
    found = robustness(clean, halves, FEW)
    assert value(found.errors, "CE scale") == pytest.approx(0.5 / (1 - 0.906))
    assert value(found.by_level, "scale:1") == 0.0
    assert value(found.overall, "mCE") == pytest.approx((6 + 0.5 / (1 - 0.906)) / 7)
    found = robustness(clean, as_dgcnn | {"unit": {"unit": ~clean}}, FEW)  # is none of ModelNet-C's
    assert value(found.overall, "drop") == pytest.approx(0.926 - np.mean(list(DGCNN.values())))
    assert value(found.by_kind["unit"], "drop") == pytest.approx(0.926 - 0.074)


def test_without_all_corruptions_there_is_no_mce() -> None:
    right = np.arange(10) < 7
    found = robustness(right, {"jitter": levels("jitter", right, ~right), "unit": {"unit": right}}, FEW)
    assert [own.name for own in found.overall] == ["clean", "corrupted", "drop"]
    assert value(found.overall, "corrupted") == pytest.approx((0.5 + 0.7) / 2)
    assert list(found.by_kind) == ["jitter", "unit"]
    assert value(found.by_kind["unit"], "drop") == 0.0
    assert [own.name for own in found.errors] == ["CE jitter"]
    with pytest.raises(ValueError, match="jitter:1 of 9 shapes"):
        robustness(right, {"jitter": levels("jitter", right, right[1:])})
    with pytest.raises(ValueError, match="no corrupted shapes"):
        robustness(right, {})

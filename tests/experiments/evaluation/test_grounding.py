"""Grounding: attention whose answer is known, and what is left out of the measurement."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from experiments.data.attention_maps import lift, points_of_patches, token_maps
from experiments.data.corpus import Corpus
from experiments.data.encoding import frozen
from experiments.data.part_mentions import find_pairs
from experiments.evaluation import attention_plots
from experiments.evaluation import grounding as grounding_module
from experiments.evaluation.attention_plots import Row
from experiments.evaluation.gallery import Gallery, encode_split
from experiments.evaluation.grounding import WITH_INTERVAL, figures, flat, grounding, summary
from experiments.evaluation.pair_scores import Calibrations
from models import AlignmentModel, Calibration
from tests.experiments.evaluation.masts import CONFIG, LEVEL_SIZES, PATCHES, REGIONS


def seed(number: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def random_maps(batch: int, tokens: int) -> tuple[Tensor, Tensor, Tensor]:
    """Maps ``[B, T, N]``, regions ``[B, N_0]`` and the patch of each of 200 points; patch 3 has none."""
    maps = torch.rand(batch, tokens, sum(LEVEL_SIZES), generator=seed(1))
    region = torch.randint(REGIONS, (batch, PATCHES), generator=seed(2))
    patch = torch.randint(PATCHES, (batch, 200), generator=seed(3))
    return maps / maps.sum(-1, keepdim=True), region, torch.where(patch == 3, 4, patch)


def test_even_attention_is_even_over_the_points() -> None:
    _, region, patch = random_maps(2, 3)
    level = torch.tensor([0.5, 0.2, 0.3])  # shares of the levels
    even = torch.cat(
        [torch.full((2, 3, n), float(s) / n) for s, n in zip(level, LEVEL_SIZES, strict=True)], -1
    )
    bright = lift(even, region, points_of_patches(patch, PATCHES), LEVEL_SIZES)
    torch.testing.assert_close(bright, torch.full_like(bright, 0.7 / 200))  # 0.3 is on the object's nodes


def test_lifting_point_by_point() -> None:
    maps, region, patch = random_maps(2, 3)
    bright = lift(maps, region, points_of_patches(patch, PATCHES), LEVEL_SIZES)
    for b in range(2):
        for t in range(3):
            fine, coarse, _ = (level.tolist() for level in maps[b, t].split(LEVEL_SIZES))
            own = [fine[p] for p in patch[b].tolist()]
            inherited = [coarse[int(region[b, p])] for p in patch[b].tolist()]
            for place, p in enumerate(patch[b].tolist()):
                expected = own[place] / sum(own) * sum(fine) + inherited[place] / sum(inherited) * sum(coarse)
                assert float(bright[b, t, p]) == pytest.approx(expected, rel=1e-5)


@torch.no_grad()
def test_maps_of_tokens_weigh_levels_and_heads(model: AlignmentModel, gallery: Gallery) -> None:
    rows = torch.tensor([0, 1])
    state = model.attend(gallery.text.select(rows), gallery.shapes, torch.tensor([[2], [0]]))
    calibration = Calibration.identity(
        2, tokens=state.tokens.shape[1], levels=3, heads=CONFIG.heads, regions=REGIONS
    )
    output = model.haf.fuse(state, calibration)
    maps = token_maps(model.haf, output, calibration)
    torch.testing.assert_close(maps, token_maps(model.haf, output))
    torch.testing.assert_close(maps.sum(-1), torch.ones(maps.shape[:2]))
    torch.testing.assert_close(maps[..., :PATCHES].sum(-1), output.gates[..., 0])
    calibration.head[:, :, 1:] = -50.0  # only the first head is left
    output = model.haf.fuse(state, calibration)
    first = output.attention[:, 0, 0, :, :PATCHES] * output.gates[..., :1]
    torch.testing.assert_close(token_maps(model.haf, output, calibration)[..., :PATCHES], first)


@torch.no_grad()
def test_attention_that_is_all_on_the_part(model: AlignmentModel, corpus: Corpus, gallery: Gallery) -> None:
    """A state of HAF whose words look at the patches that lie wholly on the part, or evenly, or elsewhere."""
    pairs = find_pairs(corpus, corpus.splits["test"], 99, seed())
    nearest = corpus.shapes.patch_of_point[corpus.splits["test"][pairs.shape]].long()
    points = points_of_patches(nearest, PATCHES)
    share = pairs.on_part.sum(-1) / points.sum(-1)
    inside = (pairs.on_part == points) & (points > 0)  # patches all of whose points are on the part
    assert bool(inside.any(-1).all())
    shapes = gallery.shapes.select(pairs.shape)
    places = torch.searchsorted(corpus.unique_texts(corpus.splits["test"]), pairs.text)
    text = gallery.text.select(places)
    state = model.attend(text, shapes, torch.arange(len(pairs)).unsqueeze(1))
    state.gate_logits[:] = torch.tensor([99.0, -99.0, -99.0])  # patches alone

    def measured(logits: Tensor) -> dict[str, Tensor]:
        """Under logits ``[K, T, N_0]`` on the patches."""
        state.logits[:, 0, :, :, :PATCHES] = logits.unsqueeze(1)
        maps = token_maps(model.haf, model.haf.fuse(state))
        lifted = lift(maps, shapes.region[:, :PATCHES], points, model.haf.level_sizes)
        return figures(lifted, text.mask, pairs.words[:, : text.mask.shape[1]], points, pairs.on_part)

    words = pairs.words[:, : text.mask.shape[1], None]
    there = measured(torch.where(inside.unsqueeze(1) & words, 99.0, 0.0))
    torch.testing.assert_close(there["mass_ratio"], 1 / share)
    torch.testing.assert_close(there["log_mass_ratio"], -share.log())
    torch.testing.assert_close(there["pointing_accuracy"], torch.ones(len(pairs)))
    torch.testing.assert_close(there["other_words_ratio"], torch.ones(len(pairs)))
    torch.testing.assert_close(there["spatial_share"], torch.ones(len(pairs)))
    even = measured(torch.zeros(1))
    torch.testing.assert_close(even["mass_ratio"], torch.ones(len(pairs)))
    torch.testing.assert_close(even["pointing_accuracy"], even["chance_pointing"])
    apart = measured(torch.eye(PATCHES)[7].expand(len(pairs), words.shape[1], -1))  # one patch alone is best
    at_seven = (pairs.on_part / points.clamp_min(1))[:, 7]
    torch.testing.assert_close(apart["pointing_accuracy"], at_seven)
    torch.testing.assert_close(
        even["random_patch_pointing"].mean(), (pairs.on_part / points.clamp_min(1)).mean()
    )
    elsewhere = measured(
        torch.where((pairs.on_part == 0).unsqueeze(1), 99.0, 0.0).expand(-1, words.shape[1], -1)
    )
    assert float(elsewhere["mass_ratio"].max()) < 1e-6
    assert bool(elsewhere["log_mass_ratio"].isfinite().all())
    assert float(elsewhere["pointing_accuracy"].max()) == 0.0
    state.gate_logits[:] = torch.tensor([0.0, -99.0, math.log(3)])
    half = measured(torch.where(inside.unsqueeze(1) & words, 99.0, 0.0))
    torch.testing.assert_close(half["mass_ratio"], 1 / share)  # what is on no place is left out
    torch.testing.assert_close(half["spatial_share"], torch.full((len(pairs),), 0.25))


def test_padding_does_not_count() -> None:
    maps, region, patch = random_maps(2, 5)
    points = points_of_patches(patch, PATCHES)
    on_part = points_of_patches(patch, PATCHES, torch.arange(200).expand(2, -1) < 60)
    words = torch.tensor([[False, True, True, False, False], [True, False, False, False, False]])
    mask = torch.tensor([[True, True, True, True, False], [True, True, True, False, False]])
    lifted = lift(maps, region, points, LEVEL_SIZES)
    expected = figures(lifted, mask, words, points, on_part)
    shorter = figures(lifted[:, :4], mask[:, :4], words[:, :4], points, on_part)
    disturbed = torch.where(mask.unsqueeze(-1), lifted, 7.0)
    for name, value in figures(disturbed, mask, words, points, on_part).items():
        torch.testing.assert_close(value, expected[name])
        torch.testing.assert_close(shorter[name], expected[name])


def test_a_caption_of_one_word_has_no_other_words() -> None:
    maps, region, patch = random_maps(1, 1)
    points = points_of_patches(patch, PATCHES)
    one = torch.ones(1, 1, dtype=torch.bool)
    found = figures(lift(maps, region, points, LEVEL_SIZES), one, one, points, points / 2)
    assert float(found["mass_ratio"]) == pytest.approx(1)
    assert all(bool(found[name].isnan()) for name in found if name.find("other_words") >= 0)
    assert "other_words_ratio" not in summary(found, torch.zeros(1, dtype=torch.int64), 0)


def test_what_is_looked_through_is_counted(corpus: Corpus) -> None:
    indices = corpus.splits["test"]
    pairs = find_pairs(corpus, indices, 99, seed())
    assert pairs.coverage == {
        "shapes": 15,
        "unlabelled": 4,
        "unnamed": 4,
        "captions": 7 * 3 + 4,
        "captions_naming": 7 * 2,
    }
    for shape, text, words, on_part in zip(
        pairs.shape.tolist(), pairs.text.tolist(), pairs.words, pairs.on_part, strict=True
    ):
        said = [w for w, named in zip(corpus.text.strings[text], words.tolist(), strict=False) if named]
        assert said in (["flag"], ["pole"]), "the bolt is too small to be measured"
        index = int(indices[shape])
        labels = corpus.dataset.part([index])[0, : CONFIG.points]
        label = corpus.dataset.part_names[index].index(said[0])
        assert int(on_part.sum()) == int((labels == label).sum())
    assert len(pairs) == 7 * 2


def test_the_draw_is_the_generators_alone(corpus: Corpus) -> None:
    indices = corpus.splits["test"]
    some = [find_pairs(corpus, indices, 3, seed(number)).shape for number in (5, 5, 6)]
    assert len(some[0].unique()) == 3
    assert torch.equal(some[0], some[1])
    assert not torch.equal(some[0], some[2])


def test_before_after_and_change(
    model: AlignmentModel, corpus: Corpus, gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    indices = corpus.splits["test"]
    queries = len(gallery.text.tokens)
    calibration = Calibration.identity(
        queries, tokens=gallery.text.tokens.shape[1], levels=3, heads=CONFIG.heads, regions=REGIONS
    )
    made = Calibrations(calibration, torch.zeros(queries, dtype=torch.int64), torch.zeros(queries))
    monkeypatch.setattr(grounding_module, "RESAMPLES", 200)
    same = grounding(model, corpus, indices, gallery, made, shapes=99, batch_size=4)
    assert same["before"] == same["after"]
    assert same["change"]["mass_ratio"] == 0
    assert same == grounding(model, corpus, indices, gallery, made, shapes=99, batch_size=4)
    assert (same["before"]["pairs"], same["before"]["shapes"]) == (14, 7)
    for name in WITH_INTERVAL:
        assert same["before"][f"{name}_low"] <= same["before"][name] <= same["before"][f"{name}_high"]
    json.dumps(same, allow_nan=False)

    calibration.association[:] = torch.tensor([9.0] + [0.0] * (REGIONS - 1))  # all words look at region 0
    after = grounding(model, corpus, indices, gallery, made, shapes=99)
    assert after["before"]["pairs"] == same["before"]["pairs"]
    difference = after["after"]["mass_ratio"] - after["before"]["mass_ratio"]
    assert after["change"]["mass_ratio"] == pytest.approx(difference, abs=1e-5)
    pairs = find_pairs(corpus, indices, 99, seed())
    before = grounding_module.measure(model, corpus, indices, gallery, pairs)
    moved = grounding_module.measure(model, corpus, indices, gallery, pairs, made)
    changed = before["mass_ratio"] != moved["mass_ratio"]
    assert torch.equal(changed, pairs.shape == 0), "associations are those of the shape they were made for"
    assert set(flat(after)) >= {"grounding/before/mass_ratio", "grounding/change/pointing_accuracy_low"}
    assert set(grounding(model, corpus, indices, gallery, shapes=2)) == {"coverage", "before"}


def test_no_pair_is_no_error(model: AlignmentModel, corpus: Corpus) -> None:
    unlabeled = torch.tensor([3, 7])
    with frozen(model):
        gallery = encode_split(model, corpus, unlabeled, torch.device("cpu"))
    found = grounding(model, corpus, unlabeled, gallery)
    assert found["before"] == {"pairs": 0, "shapes": 0}
    assert found["coverage"]["unlabelled"] == 2


def test_shapes_are_the_unit_of_the_intervals() -> None:
    """Ten pairs of one shape that agree are no more certain than one of them."""
    value = torch.randn(30, generator=seed(4))
    once = summary({"mass_ratio": value}, torch.arange(30), 0)
    often = summary({"mass_ratio": value.repeat_interleave(10)}, torch.arange(30).repeat_interleave(10), 0)
    for name in ("mass_ratio", "mass_ratio_low", "mass_ratio_high"):
        assert once[name] == pytest.approx(often[name], abs=1e-6)
    normal = 1.96 * float(value.std(correction=0)) / math.sqrt(30)
    assert once["mass_ratio_high"] - once["mass_ratio_low"] == pytest.approx(2 * normal, rel=0.1)


def test_a_picture_of_the_parts_says_what_is_measured(
    model: AlignmentModel, corpus: Corpus, gallery: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[list[Row]] = []
    draw = attention_plots._draw
    monkeypatch.setattr(
        attention_plots, "_draw", lambda cloud, rows, *rest: (drawn.append(rows), draw(cloud, rows, *rest))[1]
    )
    index, device = corpus.splits["test"][:1], torch.device("cpu")
    picture = attention_plots.parts_picture(model, corpus, index, device, path=tmp_path / "parts.png")
    assert picture.dtype == np.uint8
    assert picture.std() > 10, "not blank"
    assert (tmp_path / "parts.png").stat().st_size > 1000
    ((above, below),) = ([row.panels for row in rows] for rows in drawn)
    pairs = find_pairs(corpus, corpus.splits["test"], 99, seed())
    row = int(((pairs.shape == 0) & (pairs.text == corpus.first_texts(index))).nonzero())
    figure = grounding_module.measure(model, corpus, corpus.splits["test"], gallery, pairs)
    assert above[1][0] == f"flag: {float(figure['chance_pointing'][row]):.0%}"
    assert below[1][0] == f"× {float(figure['mass_ratio'][row]):.2f}"
    calibration = Calibration.identity(
        1,
        tokens=len(corpus.text.strings[int(corpus.first_texts(index))]),
        levels=3,
        heads=CONFIG.heads,
        regions=REGIONS,
    )
    assert len(attention_plots.parts_picture(model, corpus, index, device, calibration)) > len(picture), (
        "a row more"
    )
    unlabeled = torch.tensor([3])
    assert attention_plots.parts_picture(model, corpus, unlabeled, device).ndim == 3


def test_a_figure_has_an_interval_in_the_run_folder(tmp_path: Path) -> None:
    from experiments.run_folder.metrics_log import MetricsLogger

    journal = MetricsLogger(tmp_path)
    journal.write(0, "evaluate", flat({"before": {"mass_ratio": 1.5, "mass_ratio_low": 1.25}}))
    journal.close()
    line = json.loads((tmp_path / "metrics.jsonl").read_text())
    assert (line["grounding/before/mass_ratio"], line["grounding/before/mass_ratio_low"]) == (1.5, 1.25)

"""Shapes that are as claimed: counts, colors, sizes and places of parts, measured on the points."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from align3d.sources.procedural import FAMILIES, Cloud, Count, Family, Parameters
from align3d.sources.procedural.attributes import PALETTE, count_word, draw_values, is_valid, plural
from align3d.sources.procedural.caption_grammar import captions

NAMES = sorted(FAMILIES)
# Which way each family's measures go in the bounding box, or the part that they are about.
ALONG = {"tall": 2, "long": 0, "wide": 0}
EXCEPTIONS: dict[tuple[str, str], tuple[int, str]] = {
    ("bolt", "long"): (2, ""),
    ("airplane", "long"): (1, ""),
    ("pot", "in diameter"): (1, "body"),
    ("gear", "in diameter"): (0, "tooth"),
    ("pipe fitting", "wide"): (0, ""),
}
# What captions call a part, where that is not its name.
CALLED = {
    "truck": {"box body": "load", "tank": "load", "open bed": "load", "flat bed": "load"},
    "road sign": {"bar": "symbol", "dot": "symbol", "cross": "symbol"},
}
# The part that an adjective of the whole is about.
MAIN = {
    "mug": "body", "bottle": "body", "vase": "body", "teapot": "body", "pot": "body", "rocket": "body",
    "dresser": "body", "candlestick": "stem", "wrench": "bar", "gear": "rim", "pipe fitting": "pipe",
    "airplane": "fuselage", "terminal block": "body",
}  # fmt: skip


def parameters(family: Family, seed: int) -> Parameters:
    return Parameters(family.name, draw_values(family.attributes, np.random.default_rng(seed)))


def sample(family: Family, p: Parameters, count: int = 2048) -> Cloud:
    return family.shape(p).sample(count, np.random.default_rng(1))


def clusters(points: np.ndarray, reach: float) -> int:
    """Number of groups of points that are connected by steps of at most `reach`, without stray points."""
    tree = cKDTree(points)
    _, group = connected_components(tree.sparse_distance_matrix(tree, reach, output_type="coo_matrix"))
    return int((np.bincount(group) > 0.01 * len(points)).sum())


@pytest.mark.parametrize("name", NAMES)
def test_as_many_pieces_of_a_part_as_its_count_says(name):
    family = FAMILIES[name]
    counts = {key: a for key, a in family.attributes.items() if isinstance(a, Count) and a.part}
    for seed in range(2):
        p = parameters(family, seed)
        shape = family.shape(p)
        cloud = shape.sample(80_000, np.random.default_rng(seed))
        reach = np.sqrt(12 * shape.area / (np.pi * 80_000))  # a circle of it is empty with odds of e^-12
        for key, attribute in counts.items():
            if key in p:
                assert p.count(key) == 0 or attribute.part in cloud.part_names
                label = cloud.part_names.index(attribute.part) if p.count(key) else -1
                points = cloud.points[cloud.part == label]
                found = clusters(points, reach) if len(points) else 0
                assert found == p.count(key), f"{p}: {found} pieces of {attribute.part}"


def claims(text: str) -> list[tuple[float, str]]:
    """Lengths that a caption claims, in meters, with their adjectives."""
    unit = {"mm": 0.001, "cm": 0.01, "m": 1.0}
    found = re.findall(r"(\d[\d.]*) (mm|cm|m) (tall|wide|long|in diameter)", text)
    return [(float(value) * unit[name], adjective) for value, name, adjective in found]


def all_captions(family: Family, p: Parameters, seed: int) -> tuple[str, ...]:
    rngs = np.random.default_rng(seed), np.random.default_rng(seed + 1)
    return captions(family.description(p), *rngs, focus=None)


@pytest.mark.parametrize("name", NAMES)
def test_lengths_in_captions_are_those_of_the_shape(name):
    family = FAMILIES[name]
    for seed in range(12):
        p = parameters(family, seed)
        cloud = sample(family, p, 20_000)
        for length, adjective in {claim for text in all_captions(family, p, seed) for claim in claims(text)}:
            axis, part = EXCEPTIONS.get((name, adjective), (ALONG.get(adjective, 0), ""))
            extent = cloud.size[axis]
            if part:
                extent = np.ptp(cloud.points[cloud.part == cloud.part_names.index(part), axis])
            assert extent == pytest.approx(length, rel=0.04), f"{length} m {adjective}: {p}"


def nouns_of(family: Family, part_names: tuple[str, ...]) -> dict[str, str]:
    """Every noun of captions whose color can be checked -> the part that has it."""
    called = {part: part for part in part_names} | CALLED.get(family.name, {})
    found = {form: part for noun, part in called.items() for form in (noun, plural(noun))}
    if family.name in MAIN:
        for noun in (family.name, family.noun, *family.synonyms):
            found.setdefault(noun, MAIN[family.name])
    return {noun: part for noun, part in found.items() if noun}


def colored_nouns(text: str, nouns: dict[str, str]) -> list[tuple[str, str]]:
    """(color, part) for every color word of a text and the noun it stands before."""
    found = []
    pattern = r"\b(" + "|".join(sorted(map(re.escape, nouns), key=len, reverse=True)) + r")\b"
    for match in re.finditer(r"\b(" + "|".join(PALETTE) + r")\b", text):
        noun = re.search(pattern, re.split(r"[,.;:]| and | with ", text[match.end() :])[0])
        assert noun is not None, f"nothing that is {match[0]} in {text!r}"
        found.append((match[0], nouns[noun[0]]))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_colors_in_captions_are_those_of_the_points(name):
    family = FAMILIES[name]
    for seed in range(20):
        p = parameters(family, seed)
        cloud = sample(family, p)
        means = {
            part: cloud.colors[cloud.part == label].mean(0)
            for label, part in enumerate(cloud.part_names)
            if (cloud.part == label).any()
        }
        nouns = nouns_of(family, cloud.part_names)
        for text in all_captions(family, p, seed):
            for color, part in colored_nouns(text, nouns):
                nearest = min(PALETTE, key=lambda c: float(np.abs(means[part] - PALETTE[c].rgb).sum()))
                assert nearest == color, f"{part} is {nearest}: {text!r}"


@pytest.mark.parametrize("name", NAMES)
def test_counts_in_captions_are_those_of_the_parameters(name):
    family = FAMILIES[name]
    counts = {key: a for key, a in family.attributes.items() if isinstance(a, Count) and a.part}
    words = {count_word(number): number for number in range(1, 40)}
    said = 0
    for seed in range(20):
        p = parameters(family, seed)
        adjectives = "|".join(str(value) for value in p.values.values() if isinstance(value, str))
        for key, attribute in counts.items():
            noun = attribute.part
            pattern = rf"\b({'|'.join(words)})((?: (?:{adjectives}))*) (?:{noun}|{plural(noun)})\b"
            for text in all_captions(family, p, seed):
                for match in re.finditer(pattern, text):
                    assert words[match[1]] == p.count(key), text
                    said += 1
    assert said or not counts


def center(cloud: Cloud, part: str) -> np.ndarray:
    return cloud.points[cloud.part == cloud.part_names.index(part)].mean(0)


@pytest.mark.parametrize(
    ("name", "key", "part"), [("mug", "side", "handle"), ("teapot", "spout_side", "spout")]
)
def test_left_is_the_left_of_someone_who_looks_at_the_front(name, key, part):
    family = FAMILIES[name]
    seen = set()
    for seed in range(30):
        p = parameters(family, seed)
        if key in p:
            sideways = center(sample(family, p), part)[0]
            assert (sideways < 0) == (p.text(key) == "left")
            seen.add(p.text(key))
    assert seen == {"left", "right"}


def test_relations_in_space_hold():
    above = {
        "table": ("top", "leg"),
        "stool": ("seat", "leg"),
        "teapot": ("knob", "lid"),
        "candlestick": ("candle", "base"),
        "rocket": ("nose", "fin"),
        "terminal block": ("screw", "wire clamp"),
        "truck": ("roof light", "cab"),
    }
    for name, (upper, lower) in above.items():
        for seed in range(5):
            cloud = sample(FAMILIES[name], parameters(FAMILIES[name], seed))
            assert center(cloud, upper)[2] > center(cloud, lower)[2], name


@pytest.mark.parametrize("legs", [3, 4, 5, 6])
@pytest.mark.parametrize("style", ["straight", "splayed", "tapered", "square"])
def test_legs_of_a_table_stay_below_its_top_and_apart(legs, style):
    family = FAMILIES["table"]
    p = parameters(family, 3).replaced("legs", legs).replaced("leg_style", style)
    cloud = sample(family, p, 20_000)
    points = cloud.points[cloud.part == cloud.part_names.index("leg")]
    top = cloud.points[cloud.part == cloud.part_names.index("top")]
    assert points[:, 2].max() < top[:, 2].max()
    assert np.abs(points[:, :2]).max() <= p.meters("width") / 2 + 1e-6
    assert clusters(points, 0.02) == legs


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(NAMES), st.integers(0, 2**63), st.integers(1, 700))
def test_any_parameters_make_a_sound_shape(name, seed, count):
    family = FAMILIES[name]
    p = parameters(family, seed)
    assert is_valid(family.attributes, p.values)
    shape = family.shape(p)
    cloud = shape.sample(count, np.random.default_rng(seed))
    low, high = shape.bounds()
    assert cloud.points.shape == (count, 3)
    assert (cloud.points >= low - 2e-3 * cloud.size.max()).all()
    assert (cloud.points <= high + 2e-3 * cloud.size.max()).all()
    assert set(np.unique(cloud.part)) <= set(range(len(cloud.part_names)))
    assert (cloud.size > 0).all()
    assert abs(low[2]) < 0.3 * cloud.size[2] or name in (
        "hammer",
        "screwdriver",
        "wrench",
        "rake",
        "pipe fitting",
    )


@pytest.mark.parametrize("name", NAMES)
def test_every_attribute_can_be_named_and_refers_to_earlier_ones(name):
    family = FAMILIES[name]
    known: set[str] = set()
    for key, attribute in family.attributes.items():
        before = {*getattr(attribute, "unlike", ()), *([attribute.when[0]] if attribute.when else [])}
        assert before <= known, f"{name}.{key} refers to an attribute that is drawn later or never"
        known.add(key)
    for seed in range(10):
        p = parameters(family, seed)
        assert set(family.description(p).sayable) == set(p.values)


@pytest.mark.parametrize("name", NAMES)
def test_colors_of_an_attribute_are_well_apart(name):
    for attribute in FAMILIES[name].attributes.values():
        colors = [np.array(PALETTE[c].rgb) for c in getattr(attribute, "values", ()) if c in PALETTE]
        for at, color in enumerate(colors):
            for other in colors[at + 1 :]:
                assert np.linalg.norm(color - other) > 35

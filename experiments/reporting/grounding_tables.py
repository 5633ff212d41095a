"""Tables of grounding: how much attention falls on the parts that words name, before and after the agent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from experiments.reporting.arm_summary import AFTER, BEFORE, COUNTS, GAIN, ArmSummary, Summary
from experiments.reporting.formatting import NOTHING, Grid, difference, points, with_interval
from experiments.reporting.statistics import Estimate


@dataclass(frozen=True)
class Measure:
    """A measure of `experiments.evaluation.grounding` and its table.

    Attributes:
        name: Its name in results.json.
        others: Name of the same measure for the words that do not name the part; empty if there is none.
        title: Title of its table.
        form: Format of a figure; a change has one digit more, for it is small.
        share: Whether it is a share, shown in per cent, and its change in points.
        chance: What it would be by chance, as a sentence.
    """

    name: str
    others: str
    title: str
    form: str = "{:.3f}"
    share: bool = False
    chance: str = ""


#: The measures that answer the question: they are shown on the terminal too.
MAIN = (
    Measure(
        "mass_ratio",
        "other_words_ratio",
        "Grounding: attention on the part that words name, over its share of the surface",
        chance="By chance it would be 1.",
    ),
    Measure(
        "pointing_accuracy",
        "other_words_pointing",
        "Grounding: the point with most attention is on the part, per cent",
        "{:.1f}",
        share=True,
    ),
)
OTHER = (
    Measure(
        "log_mass_ratio",
        "log_other_words_ratio",
        "Grounding: mean logarithm of attention over share, which small parts do not carry away",
        "{:+.3f}",
        chance="By chance it would be 0.",
    ),
    Measure(
        "spatial_share",
        "",
        "Grounding: attention that is on patches and regions, per cent",
        "{:.1f}",
        share=True,
        chance="The rest is on the object as a whole, and the other figures leave it out.",
    ),
)
#: What pointing is compared with, which no agent can change.
POINTING = {"chance_pointing": "a random point", "random_patch_pointing": "a random patch"}


def grounding(summary: Summary, measures: Sequence[Measure]) -> list[Grid]:
    """Build a table for each measure that some run has, before and after the agent calibrated."""
    grids = []
    for measure in measures:
        found = [arm for arm in summary.arms if measure.name in arm.grounding]
        if not found:
            continue
        others = ["other words, after"] if any(measure.others in arm.grounding for arm in found) else []
        rows = [[arm.arm.name, *_cells(measure, arm)][: 4 + len(others)] for arm in found]
        chance = _pointing(found[0]) if measure.name == MAIN[1].name else measure.chance
        note = " ".join(text for text in (_measured(found), chance) if text)
        grids.append(Grid(measure.title, ["arm", "before", "after", "change", *others], rows, note))
    return grids


def _cells(measure: Measure, arm: ArmSummary) -> list[str]:
    def shown(figures: dict[str, Estimate] | None, part: str) -> str:
        figure = None if figures is None else figures[part]
        return with_interval(figure, measure.form, 100.0 if measure.share else 1.0)

    own = arm.grounding[measure.name]
    change = points(own[GAIN]) if measure.share else difference(own[GAIN])
    others = arm.grounding.get(measure.others)
    return [shown(own, BEFORE), shown(own, AFTER), change, shown(others, AFTER)]


def _measured(arms: Sequence[ArmSummary]) -> str:
    """State on how much it was measured."""
    pairs, shapes = (_range([arm.counts[name] for arm in arms if name in arm.counts]) for name in COUNTS)
    if NOTHING in (pairs, shapes):
        return ""
    return f"{pairs} names of parts in the captions of {shapes} shapes, in each run."


def _pointing(arm: ArmSummary) -> str:
    """State what chance gives, which depends on how large the parts are."""
    found = [
        f"{words} {100 * arm.grounding[name][BEFORE].value:.1f}"
        for name, words in POINTING.items()
        if name in arm.grounding
    ]
    return f"On the part by chance, per cent: {', '.join(found)}." if found else ""


def _range(counts: Sequence[tuple[int, int]]) -> str:
    """Format ``584``, or ``584 to 673`` if runs differ."""
    if not counts:
        return NOTHING
    low, high = min(low for low, _ in counts), max(high for _, high in counts)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"

"""Page of an evaluation: what was measured of what, in tables and plots, in one HTML file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from experiments.evaluate_run.evaluation_plots import plots_of
from experiments.evaluate_run.evaluation_tables import TITLES, from_json, grids_of
from experiments.reporting import html_page
from experiments.reporting.formatting import Grid

READING = (
    "Shares are in percent. Intervals are 95 % percentile intervals of a bootstrap over shapes, in which all "
    "captions of a shape are drawn together; shares of exactly 0 or 1 have that of Clopper and Pearson.",
    "mCE and CE: errors by those of DGCNN on ModelNet40, which is at 1; RmCE: likewise of the falls from "
    "clean. On other data they are a scale, not a contest.",
    "R@k and MRR: of each shape's first caption. RR@k and NDCG@5: of all captions. Ties count against "
    "the model.",
    "recall@10 of ERS: how many of the first ten that exact search finds are among its own first ten.",
    "Ratios of grounding: attention on the part by the part's share of the surface; 1 is no better than "
    "chance.",
)
_SKIPPED = ("measured", "details", "spread", "shifts")
"""What the tables have already."""
_SETTINGS = ("setting", "value")
_LONGEST = 160


def evaluation_page(content: Mapping[str, Any]) -> str:
    """The page of an evaluation.json, also of one whose tasks are not all done.

    Args:
        content: What the file holds.
    """
    variant = str(content["data"]["variant"])
    body = [
        f"<h1>Evaluation</h1><p>{html_page.escaped(_subject(content))}</p>",
        html_page.table(_facts(content)),
    ]
    for task, found in content["tasks"].items():
        body += [f"<h2>{html_page.escaped(TITLES[task])}</h2>", *_task(task, found, variant)]
    body += ["<h2>How to read this</h2>", html_page.items(READING, "reading")]
    return html_page.document(f"Evaluation: {variant}", body)


def _subject(content: Mapping[str, Any]) -> str:
    of = content["run"]
    if "embeddings" in content:
        of = content["embeddings"]["files"]["embeddings"]
    return f"{of}, measured on {content['data']['variant']}."


def _task(task: str, found: Mapping[str, Any], variant: str) -> Iterator[str]:
    shown, details = from_json(found["measured"]), from_json(found["details"])
    yield from (f"<figure>{plot}</figure>" for plot in plots_of(task, shown, details))
    yield from map(html_page.table, grids_of(f"{TITLES[task]}, {variant} (%)", shown))
    for title, measured in details.items():
        grid = "".join(map(html_page.table, grids_of(f"{TITLES[task]}, {title} (%)", {title: measured})))
        yield f"<details><summary>{html_page.escaped(title)}</summary>{grid}</details>"
    facts = {name.replace("_", " "): _value(own) for name, own in found.items() if name not in _SKIPPED}
    yield html_page.items([f"{name}: {words}" for name, words in facts.items() if words], "notes")


def _facts(content: Mapping[str, Any]) -> Grid:
    """What the numbers are of."""
    rows = [["run", _value(content["run"])], ["checkpoint, SHA-256", _value(content["checkpoint"])]]
    for section in ("embeddings", "data"):
        for name, own in content.get(section, {}).items():
            value = f"{len(own):,}" if name == "left_out" else _value(own)
            rows.append([f"{section}: {name.replace('_', ' ')}", value])
    rows += [["text encoder", _value(content["text_encoder"])]] if "text_encoder" in content else []
    return Grid("What was measured", list(_SETTINGS), [row for row in rows if row[1]], "", _SETTINGS)


def _value(own: Any) -> str:
    """A plain value in words, cut where it is long."""
    if own is None:
        return ""
    if isinstance(own, Mapping):
        text = ", ".join(f"{name} {_value(part)}" for name, part in own.items())
    elif isinstance(own, list):
        text = ", ".join(map(_value, own))
    elif isinstance(own, bool):
        text = "yes" if own else "no"
    else:
        text = f"{own:.4g}" if isinstance(own, float) else f"{own:,}" if isinstance(own, int) else str(own)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"

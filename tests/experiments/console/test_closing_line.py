"""The lines below the closing table, on whether the agent acts and where the memory rests."""

from typing import Any

import pytest

from experiments.console.tables import agent_line, memory_line

RESTS = {"name": "mcts", "acts": False, "validation": {"return": 0.0001, "return_error": 0.00012}, "test": {}}
ACTS = {
    "name": "mcts",
    "acts": True,
    "validation": None,
    "test": {"acted": 0.272, "return": -0.0004, "external": 0.0},
    "test_return_error": 0.0002,
}


@pytest.mark.parametrize(
    ("agent", "margin", "line"),
    [
        (RESTS, 2.0, "the agent rests: +0.0001 ± 0.0001 in validation, two standard errors needed"),
        (RESTS, 1.5, "the agent rests: +0.0001 ± 0.0001 in validation, 1.5 standard errors needed"),
        (ACTS, 2.0, "the agent acts on 27% of the queries: −0.0004 ± 0.0002 (mean return of a test query)"),
        (
            {name: value for name, value in ACTS.items() if name != "test_return_error"},  # an older run
            2.0,
            "the agent acts on 27% of the queries: −0.0004 (mean return of a test query)",
        ),
        ({"name": "none", "acts": True, "test": {}}, 2.0, None),
    ],
)
def test_one_line_says_whether_the_agent_acts(agent: dict[str, Any], margin: float, line: str | None) -> None:
    assert agent_line(agent, margin) == line


def fixed(**recall: float) -> dict[str, dict[str, dict[str, float]]]:
    """Strengths by stage and direction, from those of recall by their initials; hubness is left at 0."""
    stages, directions = ("search", "rerank"), ("text_to_shape", "shape_to_text")
    return {
        stage: {name: {"recall": recall.get(stage[0] + name[0], 0.0), "hubness": 0.0} for name in directions}
        for stage in stages
    }


@pytest.mark.parametrize(
    ("memory", "line"),
    [
        (None, None),
        ({"pairs": 300, "fixed": fixed(st=1.0, ss=0.5, rt=0.25, rs=2.0)}, None),
        (
            {"pairs": 300, "fixed": fixed(st=1.0, rs=0.5)},
            "the memory of 300 pairs rests in exact KNN shape → text, HAF text → shape: no strengths surely "
            "gain on the reward split",
        ),
    ],
)
def test_one_line_says_where_the_memory_rests(memory: dict[str, Any] | None, line: str | None) -> None:
    assert memory_line(memory) == line


def test_hubness_alone_is_no_rest() -> None:
    strengths = fixed(st=1.0, ss=0.5, rs=2.0)
    strengths["rerank"]["text_to_shape"]["hubness"] = 0.5
    assert memory_line({"pairs": 300, "fixed": strengths}) is None

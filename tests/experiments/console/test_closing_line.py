"""The line below the closing table, on whether the agent acts."""

from typing import Any

import pytest

from experiments.console.tables import agent_line

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

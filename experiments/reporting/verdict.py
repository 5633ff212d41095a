"""The sentence on top of a run's page: whether the agent helped, and by how much."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.run_folder.names import FINAL, RERANKED

QUANTILE = 1.96  # of the normal distribution: means over a test split's queries
RECALL = {"text_to_shape/recall@1": "text → shape", "shape_to_text/recall@1": "shape → text"}


def verdict(results: Mapping[str, Any]) -> str:
    """Say whether the agent helped on the test split, with the 95 % interval of its mean return there.

    Args:
        results: Content of results.json.
    """
    agent = results["agent"]
    if agent["name"] == "none":
        return f"No agent took part: {_recalls(results['metrics'], FINAL)}."
    after = _recalls(results["metrics"], FINAL)
    validation = agent.get("validation")
    if not agent["acts"]:
        if not validation:
            return f"The agent rested and changed nothing: {after} without it."
        gained = _interval(validation["return"], validation.get("return_error"))
        margin = results["config"].get("dap", {}).get("margin", 2.0)
        return (
            f"The agent rested and changed nothing: its return in validation, {gained}, is not the "
            f"{margin:g} standard errors above 0 that it needs. Without it, {after}."
        )
    test = agent.get("test") or {}
    if "return" not in test:
        return f"The agent acted, and this run does not say what that earned: {after}."
    error = agent.get("test_return_error")
    mean, reach = test["return"], QUANTILE * (error or 0.0)
    if error is None:
        helped = "The agent acted"
    elif mean - reach > 0:
        helped = "The agent helped"
    elif mean + reach < 0:
        helped = "The agent did harm"
    else:
        helped = "Whether the agent helped is not sure"
    moved = _moved(results["metrics"])
    return (
        f"{helped}: calibrating {test.get('acted', 0.0):.0%} of the test queries earned "
        f"{_interval(mean, error)} of return per query{moved}."
    )


def _moved(metrics: Mapping[str, Mapping[str, float]]) -> str:
    parts = [
        f"R@1 {words} from {100 * metrics[RERANKED][name]:.1f} to {100 * metrics[FINAL][name]:.1f} %"
        for name, words in RECALL.items()
        if name in metrics.get(RERANKED, {}) and name in metrics.get(FINAL, {})
    ]
    return f", {' and '.join(parts)}" if parts else ""


def _recalls(metrics: Mapping[str, Mapping[str, float]], row: str) -> str:
    found = metrics.get(row, {})
    parts = [f"{words} {100 * found[name]:.1f} %" for name, words in RECALL.items() if name in found]
    return f"R@1 {' and '.join(parts)}" if parts else "no R@1 is stated"


def _interval(mean: float, error: float | None) -> str:
    text = f"{mean:+.4f}"
    if error is not None:
        text += f" [{mean - QUANTILE * error:+.4f}, {mean + QUANTILE * error:+.4f}]"
    return text.replace("-", "−")

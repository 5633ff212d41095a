"""Calibration of HAF at query time, as the run's evaluation applies it: the agent's, one for all, or none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from align3d.console.terminal import say
from align3d.console.typed_settings import setting
from align3d.errors import UserError
from align3d.own_modules import import_own
from experiments.console.process import generator
from models import AlignmentModel, AttentionState, Calibration

if TYPE_CHECKING:
    from agents import Agent
    from envs import EnvConfig, EnvState, Episode
    from experiments.shape_search.library_files import LibraryHeader

Choice = Literal["auto", "agent", "fixed", "none"]
_STRENGTHS = ("recall", "hubness")
Scores = Callable[[AttentionState], Tensor]
Calibrate = Callable[[AttentionState], Calibration | None]


@dataclass(frozen=True)
class QueryCalibration:
    """Calibration of one direction.

    Attributes:
        kind: ``agent``, ``fixed`` or ``none``.
        words: What it is, for people.
        scores: Scores ``[B, C]`` of candidates under it.
        agent: The run's agent, where the calibration is that one's.
        calibrate: The calibration itself, batch ``[B]``, of which the association acts on the candidate that
            ranks first under HAF alone; None where HAF is left as it is.
    """

    kind: Literal["agent", "fixed", "none"]
    words: str
    scores: Scores
    agent: Agent | None = None
    calibrate: Calibrate = lambda attention: None


def calibration_of(
    choice: Choice,
    direction: str,
    model: AlignmentModel,
    header: LibraryHeader,
    results: Mapping[str, Any],
    state: Mapping[str, Any],
    *,
    remembers: bool,
    imported: Sequence[str] = (),
) -> QueryCalibration:
    """The calibration that is asked for, or with ``auto`` the one that the run ends with.

    An agent calibrates captions that ask; a shape that asks is answered with the strengths that are the same
    for all.

    Args:
        choice: Which.
        direction: ``text_to_shape`` or ``shape_to_text``.
        model: The run's.
        header: Of the library.
        results: The run's results.json.
        state: The run's last checkpoint.
        remembers: Whether the library has known pairs.
        imported: Modules of the run that may be imported.

    Raises:
        UserError: The run has no such calibration.
    """
    if direction == "text_to_shape" and choice in ("auto", "agent"):
        try:
            return _agents(model, header, results, state, imported)
        except UserError as error:
            if choice == "agent":
                raise
            if _acts(results):
                say(f"the run's agent cannot act here ({error})", error=True)
    if choice != "none":
        strengths = fixed_strengths(results, direction)
        if strengths is not None and remembers and any(strengths):
            return _fixed(model, *strengths)
        if choice == "fixed" and direction == "text_to_shape":
            raise UserError(
                "calibration=fixed: known pairs have no strengths in this run; expected auto or none"
            )
    return QueryCalibration("none", "HAF as it is", lambda attention: model.haf.fuse(attention).score)


def fixed_strengths(results: Mapping[str, Any], direction: str) -> tuple[float, float] | None:
    """Strengths of recall and hubness that are the same for all queries; None where none were chosen."""
    memory = results.get("memory") or {}
    found = ((memory.get("fixed") or {}).get("rerank") or {}).get(direction)
    return None if found is None else (float(found["recall"]), float(found["hubness"]))


def _fixed(model: AlignmentModel, recall: float, hubness: float) -> QueryCalibration:
    def scores(attention: AttentionState) -> Tensor:
        return model.haf.fuse(attention).score + recall * attention.recall - hubness * attention.hubness

    def calibrate(attention: AttentionState) -> Calibration:
        batch, _, heads, tokens, _ = attention.logits.shape
        levels, regions = attention.gate_logits.shape[-1], model.haf.regions
        same = Calibration.identity(batch, tokens=tokens, levels=levels, heads=heads, regions=regions)
        same.memory += recall
        same.hubness += hubness
        return same

    words = f"the same for all queries: recall {recall:g}, hubness {hubness:g}"
    return QueryCalibration("fixed", words, scores, calibrate=calibrate)


def _acts(results: Mapping[str, Any]) -> bool:
    agent = results.get("agent") or {}
    return bool(agent.get("acts")) and agent.get("name") != "none"


def _agents(
    model: AlignmentModel,
    header: LibraryHeader,
    results: Mapping[str, Any],
    state: Mapping[str, Any],
    imported: Sequence[str],
) -> QueryCalibration:
    """The calibration of the run's agent.

    Raises:
        UserError: It rests, is of another version, or needs modules that may not be imported.
    """
    from agents import make_agent  # a search without an agent needs neither
    from envs import CalibrationCore

    if not _acts(results):
        raise UserError("calibration=agent: the run's agent rests; expected auto, fixed or none")
    settings = {**results["config"]["agent"]}
    name = settings.pop("name")
    if refused := [module for module in header.imports if module not in imported]:
        raise UserError(
            "calibration=agent: the run's settings were not typed on this machine, so what they name is not "
            f"imported; add to the command if you trust it: {setting('imports', refused)}"
        )
    try:
        for module in imported:
            import_own(module)
        core = CalibrationCore(model.haf, env_config(header))
        agent = make_agent(name, **settings)
        agent.import_state(state["policy"]["agent"])
    except (ImportError, ValueError, TypeError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"calibration=agent: {name} is of another version: {reason[:160]}") from error

    acting = Lock()  # an agent keeps what it is at in itself

    def acted(attention: AttentionState) -> tuple[Episode, EnvState]:
        episode, draws = core.episode(attention), generator(header.seed, "search")
        with acting:
            return episode, agent.calibrate(core, episode, draws).state

    def scores(attention: AttentionState) -> Tensor:
        episode, state = acted(attention)
        ordered = state.evaluation.score
        return torch.empty_like(ordered).scatter_(1, episode.candidates, ordered)

    def calibrate(attention: AttentionState) -> Calibration:
        return acted(attention)[1].calibration

    return QueryCalibration("agent", f"by the run's agent ({name})", scores, agent, calibrate)


def env_config(header: LibraryHeader) -> EnvConfig:
    """Settings of the decision process that a run's agent has learned in."""
    from envs import EnvConfig, RewardConfig

    env = {**header.env, "families": tuple(header.env["families"])}
    return EnvConfig(**env, reward=RewardConfig(**header.reward))

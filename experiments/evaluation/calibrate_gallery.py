"""The agent's calibrations of a gallery's captions, without labels."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from agents import PlanResult
from align3d.console.progress import Tracker
from envs import Episode
from experiments.console.process import generator
from experiments.dap.controller import DapController
from experiments.data.encoding import frozen
from experiments.evaluation.gallery import Gallery
from experiments.evaluation.pair_scores import Calibrations, PairScores, keys_of
from experiments.settings.schema import EvalConfig
from models import AlignmentModel, Calibration
from models.haf import library_score


def calibrate(
    model: AlignmentModel, gallery: Gallery, config: EvalConfig, policy: DapController
) -> Calibrations:
    """Lets the agent calibrate every caption on its nearest shapes, without labels."""
    candidates = gallery.nearest_shapes(config.candidates)  # [Q, C]
    if policy.rests:
        return _resting(policy, gallery, candidates)
    draws = generator(policy.config.seed, "evaluate")
    parts, paired, shifts, gains = [], [], [], []
    plain, attended = (torch.empty(candidates.shape, device=candidates.device) for _ in range(2))
    queries = torch.arange(len(candidates), device=candidates.device)
    with frozen(model), Tracker("calibrating", len(queries), "queries") as tracker:
        for rows in queries.split(config.batch_size):
            episode = policy.core.episode(gallery.attend(model, rows, candidates[rows]))
            result = policy.calibrate(policy.core, episode, draws)
            order, before = episode.candidates, episode.initial.score
            after = result.state.evaluation.score - library_score(episode.attention, result.calibration)
            shift = (before - after).mean(1)
            plain[rows] = before.new_empty(before.shape).scatter_(1, order, before)
            attended[rows] = after.new_empty(after.shape).scatter_(1, order, after + shift.unsqueeze(1))
            own = candidates[rows].gather(1, order)  # in the order of the episode
            right = gallery.positives[rows.cpu()].gather(1, own.cpu())
            paired.append(own.gather(1, episode.attention.paired.unsqueeze(1)).squeeze(1))
            shifts.append(shift)
            gains.append(_gains(policy, episode, result, right))
            parts.append(result.calibration)
            tracker.advance(len(rows))
    keys, order = keys_of(gallery, queries.unsqueeze(1), candidates).flatten().sort()
    return Calibrations(
        calibration=cast(Calibration, torch.cat(cast(list[Tensor], parts))),
        paired=torch.cat(paired),
        shift=torch.cat(shifts),
        gains={name: torch.cat([part[name] for part in gains]) for name in gains[0]},
        scores=PairScores(keys, plain.flatten()[order], attended.flatten()[order]),
    )


def _resting(policy: DapController, gallery: Gallery, candidates: Tensor) -> Calibrations:
    """The calibrations of an agent that changes nothing."""
    dims, tokens = policy.core.catalogue.dims, gallery.text.tokens
    count, device = len(tokens), tokens.device
    names = ("return", *policy.core.reward_weights, "acted")
    return Calibrations(
        calibration=Calibration.identity(
            count,
            tokens=tokens.shape[1],
            levels=dims.levels,
            heads=dims.heads,
            regions=dims.regions,
            device=device,
        ),
        paired=candidates[:, 0],
        shift=torch.zeros(count, device=device),
        gains={name: torch.zeros(count) for name in names},
    )


def _gains(policy: DapController, episode: Episode, result: PlanResult, right: Tensor) -> dict[str, Tensor]:
    """Earnings of the calibrations of ``B`` rows, ``right`` ``[B, C]`` bool in the order of the episode."""
    gains = policy.core.gains(episode, result.state, right)
    changes = (result.actions >= 0) & (result.actions != policy.core.stop)
    return {name: gain.cpu() for name, gain in gains.items()} | {"acted": changes.any(1).float().cpu()}

"""Evaluates candidates under a calibration, and again only what an action has touched.

An action on token weights changes no verdict on a token; one on an association those of one candidate; one on
gates mixes anew what the levels gathered; one on a temperature makes one level gather anew. What each row
needs is looked up, and rows of equal need go together.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from tensordict import TensorClass
from torch import Tensor

from envs.groundwork import CHUNK_PAIRS, Groundwork, chunks, lay, measures, mix, repeated, top_logits
from envs.layout import Layout, Reach
from models import AttentionState, Calibration, HierarchicalAttentionFusion
from models.points import AXIS_NODES
from models.statistics import has_agreement, map_statistics, region_overlap, spread


class Evaluation(TensorClass):
    """What HAF makes of `B` rows under a calibration, as far as reward and observation need it.

    Attributes:
        score: Logits of the candidates, `[B, C]`.
        token_scores: Each token's own verdict, `[B, C, T]`; padding's weighs nothing and means nothing.
        divergence: KL(calibrated ‖ initial) of the maps, in nats, mean over heads and tokens, `[B, C, L]`.
        statistics: Statistics of the leading candidates' maps, `[B, leading, L, H, F]`.
    """

    score: Tensor
    token_scores: Tensor
    divergence: Tensor
    statistics: Tensor


@dataclass
class _Update:
    """What an evaluation is made from, and the tensors of the one being made.

    Attributes:
        weight: Of levels and heads, `[B, H, T, L]`.
        share: Of each real token among them, `[B, T]`: what KL is averaged by.
    """

    attention: AttentionState
    work: Groundwork
    calibration: Calibration
    weight: Tensor
    share: Tensor
    token_scores: Tensor
    divergence: Tensor
    statistics: Tensor


class Evaluator:
    """Asks a frozen HAF.

    Args:
        haf: The model; its parameters are left alone, and it is asked without dropout.
        layout: What there is to act on.
        leading: How many candidates, in the order of the episode, have statistics.
    """

    def __init__(self, haf: HierarchicalAttentionFusion, layout: Layout, leading: int = 4) -> None:
        self.haf = haf
        self.layout = layout
        self.leading = leading

    @torch.no_grad()
    def prepare(self, attention: AttentionState) -> tuple[Groundwork, Tensor, Tensor]:
        """What is fixed, the scores `[B, C]` and the tokens' verdicts `[B, C, T]` before any change.

        Args:
            attention: Candidates in any order; its logits are shifted in place, which changes no map.
        """
        with without_dropout(self.haf):
            work, token_scores = lay(self.haf, self.layout, attention)
        return work, self._score(attention, attention.token_logits, token_scores), token_scores

    @torch.no_grad()
    def first(
        self, attention: AttentionState, work: Groundwork, score: Tensor, token_scores: Tensor
    ) -> Evaluation:
        """The evaluation before any change, from what `prepare` gave, candidates in the episode's order.

        As it is known now who leads, `work.top` is filled in.
        """
        parts, top = [], []
        pairs = self.leading * attention.mask.shape[1]
        for rows in chunks(len(score), pairs, score.device):
            seen = attention.logits[rows, : self.leading]
            maps = [seen[..., nodes].softmax(-1) for nodes in self.layout.slices]
            top.append(top_logits(self.layout, seen))
            places, regions = attention.centers[rows, : self.leading], attention.region[rows, : self.leading]
            parts.append(self._statistics(maps, places, regions, attention.token_logits[rows].softmax(-1)))
        work.top = torch.cat(top)
        return Evaluation(
            score=score,
            token_scores=token_scores,
            divergence=score.new_zeros(*score.shape, self.layout.levels),
            statistics=torch.cat(parts),
            batch_size=attention.batch_size,
        )

    @torch.no_grad()
    def update(
        self,
        attention: AttentionState,
        work: Groundwork,
        evaluation: Evaluation,
        before: Calibration,
        after: Calibration,
        reach: Tensor,
    ) -> Evaluation:
        """The evaluation after an action, given that of the state before.

        Args:
            attention: Of the episode, batch `[B]`.
            work: Of the episode.
            evaluation: Before the action; stays as it is.
            before: Calibration before the action.
            after: Calibration after the action.
            reach: What the action touched, a `Reach` i64 `[B]`.
        """
        every = reach == Reach.ALL
        paired = (reach == Reach.PAIRED) | (every & (after.association != 0).flatten(1).any(-1))
        token_scores, divergence, statistics = (
            evaluation.token_scores,
            evaluation.divergence,
            evaluation.statistics,
        )
        if bool((every | paired).any()):
            new = _Update(
                attention=attention,
                work=work,
                calibration=after,
                weight=self.haf.weigh(
                    attention.gate_logits + after.level.unsqueeze(1), self.haf.head + after.head
                )[1],
                share=attention.mask / attention.mask.sum(-1, keepdim=True).clamp_min(1),
                token_scores=token_scores.clone(),
                divergence=divergence.clone(),
                statistics=statistics.clone(),
            )
            with without_dropout(self.haf):
                self._update_all(new, before, every)
                self._update_paired(new, before, every, paired.nonzero().squeeze(-1))
            token_scores, divergence, statistics = new.token_scores, new.divergence, new.statistics
        return Evaluation(
            score=self._score(attention, attention.token_logits + after.token, token_scores),
            token_scores=token_scores,
            divergence=divergence,
            statistics=statistics,
            batch_size=evaluation.batch_size,
        )

    def _score(self, attention: AttentionState, token_logits: Tensor, token_scores: Tensor) -> Tensor:
        weights = token_logits.softmax(-1)  # [B, T]
        return torch.einsum("bt,bct->bc", weights, token_scores) + attention.global_score

    def _update_all(self, new: _Update, before: Calibration, every: Tensor) -> None:
        """Every candidate of some rows, as if there were no association."""
        temperature = new.calibration.temperature
        touched = temperature != before.temperature  # [B, L]: these levels' maps are new
        needed = touched | (temperature != 0)  # these are not those of the groundwork
        levels = torch.arange(self.layout.levels, device=every.device)
        need = (needed << levels).sum(-1) + (touched << (levels + self.layout.levels)).sum(-1)
        candidates = new.token_scores.shape[1]
        for rows, pattern, length in _alike(every, need, new.work.length, candidates):
            gather = [bool(pattern >> level & 1) for level in range(self.layout.levels)]
            renew = [bool(pattern >> self.layout.levels + level & 1) for level in range(self.layout.levels)]
            self._update_rows(new, rows, length, gather, renew)

    def _update_rows(
        self, new: _Update, rows: Tensor | slice, length: int, gather: list[bool], renew: list[bool]
    ) -> None:
        """Rows of which the same levels need to gather anew, and to have statistics and KL renewed."""
        work, attention = new.work, new.attention
        weight = new.weight[rows, :, :length]
        axes = work.axes[rows, :, :, :length]
        shares = repeated(weight, work.gathered.shape[-1])
        aligned: Tensor | None = None
        for level, nodes in enumerate(self.layout.slices):
            if gather[level]:
                logits = attention.logits[rows, :, :, :length, nodes]  # [b, C, H, T, N_l]
                sharpness = new.calibration.temperature[rows, level].exp()
                maps = torch.mul(logits, sharpness[:, None, None, None, None]).exp_()  # the largest is 1
                total = maps.sum(-1, keepdim=True)
                maps /= total
                gathered = (maps @ attention.node_values[rows, ..., nodes, :]).transpose(2, 3).flatten(3)
                if level == self.layout.levels - 1:
                    axes = maps[..., AXIS_NODES]
                if renew[level]:
                    self._renew(new, rows, length, level, maps, logits, total, sharpness)
            else:
                gathered = work.gathered[rows, level, :, :length]
            if aligned is None:
                aligned = gathered * shares[:, level]
            else:
                aligned.addcmul_(gathered, shares[:, level])
        assert aligned is not None
        numbers = work.numbers[rows, :length].nonzero(as_tuple=True)
        new.token_scores[rows, :, :length] = self.haf.judge(
            work.asked[rows, :length],
            aligned,
            numbers,
            *measures(numbers, axes, weight, attention.evidence[rows, :, :length]),
        )

    def _renew(
        self,
        new: _Update,
        rows: Tensor | slice,
        length: int,
        level: int,
        maps: Tensor,
        logits: Tensor,
        total: Tensor,
        sharpness: Tensor,
    ) -> None:
        """KL and statistics of a level whose maps `[b, C, H, T, N_l]` have changed by a temperature.

        The logarithm of a map is `sharpness * logits - log(total)`, that of the initial one
        `logits - log_sums`, so that the mean of the logits under the map is all that KL takes.
        """
        mean = (maps * logits).sum(-1)  # [b, C, H, T]
        kl = (sharpness[:, None, None, None] - 1) * mean - total.squeeze(-1).log()
        kl += new.work.log_sums[rows, level, :, :, :length]
        new.divergence[rows, :, level] = (kl * new.share[rows, None, None, :length]).sum(-1).mean(-1)
        attention, seen = new.attention, slice(0, new.statistics.shape[1])
        centers, region = attention.centers[rows, seen], attention.region[rows, seen]
        weights = attention.token_logits[rows, :length].softmax(-1)  # [b, T]

        def averaged(statistic: Tensor) -> Tensor:  # [b, K, H, T] -> [b, K, H]
            return (statistic * weights[:, None, None]).sum(-1)

        nodes = self.layout.slices[level]
        peak = total[:, seen].squeeze(-1).reciprocal()  # [b, K, H, T]: the largest exponential is 1
        sharp = sharpness[:, None, None, None]
        entropy = (-peak.log() - sharp * mean[:, seen]) / math.log(max(self.layout.level_sizes[level], 2))
        top = (new.work.top[rows, :, level, :, :length] * sharp.unsqueeze(-1)).exp_().sum(-1) * peak
        statistics = (entropy, peak, top, spread(maps[:, seen], centers[:, :, nodes]))
        for number, statistic in enumerate(statistics):
            new.statistics[rows, :, level, :, number] = averaged(statistic)
        known = {level: maps[:, seen]}
        for other in (level - 1, level + 1):  # for the agreement of this level, and of the finer one
            if 0 <= other < self.layout.levels and has_agreement(min(level, other), self.layout.level_sizes):
                sharpness = new.calibration.temperature[rows, other].exp()[:, None, None, None, None]
                beside = attention.logits[rows, seen, :, :length, self.layout.slices[other]]
                known[other] = (beside * sharpness).softmax(-1)
        for fine in (level - 1, level):
            if fine >= 0 and has_agreement(fine, self.layout.level_sizes):
                near, far = self.layout.slices[fine], self.layout.slices[fine + 1]
                overlap = region_overlap(
                    known[fine], known[fine + 1], region[..., near], region[..., far], self.layout.regions
                )
                new.statistics[rows, :, fine, :, -1] = averaged(overlap)

    def _update_paired(self, new: _Update, before: Calibration, every: Tensor, rows: Tensor) -> None:
        """The paired candidate of some rows: the tokens whose associations have changed.

        Where every candidate has just been evaluated, that was done as if there were no association.
        """
        if len(rows) == 0:
            return
        afresh = every[rows]
        was = torch.where(afresh[:, None, None], 0.0, before.association[rows])  # [b, T, R]
        now = new.calibration.association[rows]
        moved = (was != now).any(-1) & new.attention.mask[rows]  # [b, T]
        count = int(moved.sum(-1).amax())
        if count == 0:
            return
        # Rows in which fewer tokens have moved are filled up with some that have not: they stay as they are.
        tokens = moved.byte().argsort(dim=-1, descending=True, stable=True)[:, :count]  # [b, G]
        renewed = new.calibration.temperature[rows] != before.temperature[rows]  # [b, L]
        renewed = renewed | ~afresh.unsqueeze(-1)
        at = torch.arange(len(rows), device=rows.device).unsqueeze(-1)
        associations = torch.stack([was[at, tokens], now[at, tokens]], dim=1)  # [b, 2, G, R]
        for piece in chunks(len(rows), count, rows.device):
            self._update_pairs(new, rows[piece], tokens[piece], associations[piece], renewed[piece])

    def _update_pairs(
        self, new: _Update, rows: Tensor, tokens: Tensor, associations: Tensor, renewed: Tensor
    ) -> None:
        """Some tokens of the paired candidate, whose statistics and KL change by what those tokens change.

        Args:
            new: What is being made.
            rows: `[b]`.
            tokens: `[b, G]`.
            associations: What they were when evaluated last, and are now, `[b, 2, G, R]`.
            renewed: Levels whose KL and statistics lack the change, bool `[b, L]`.
        """
        work, attention = new.work, new.attention
        row, column = rows.unsqueeze(-1), attention.paired[rows]
        at = row, column.unsqueeze(-1)  # [b, 1] each
        region = attention.region[rows, column]  # [b, N]
        bias = torch.nn.functional.pad(associations, (0, 1))  # [b, 2, G, R + 1]
        bias = bias.gather(3, region[:, None, None].expand(*bias.shape[:3], -1)).unsqueeze(
            3
        )  # [b, 2, G, 1, N]
        maps, gathered = [], []
        for level, nodes in enumerate(self.layout.slices):
            logits = attention.logits[*at, :, tokens, nodes].unsqueeze(1)  # [b, 1, G, H, N_l]
            sharpness = new.calibration.temperature[rows, level].exp()[:, None, None, None, None]
            changed = torch.addcmul(bias[..., nodes], logits, sharpness)  # [b, 2, G, H, N_l]
            log_sum = changed.logsumexp(-1, keepdim=True)
            found = (changed - log_sum).exp_()
            kl = (found * (changed - logits)).sum(-1) - log_sum.squeeze(-1)  # up to a constant
            more = (kl[:, 1] - kl[:, 0]).mean(-1) * new.share[row, tokens]  # [b, G]
            new.divergence[rows, column, level] += more.sum(-1) * renewed[:, level]
            values = attention.node_values[rows, column, :, nodes]  # [b, H, N_l, d]
            gathered.append((found[:, 1].transpose(1, 2) @ values).transpose(1, 2).flatten(2))
            maps.append(found.transpose(2, 3))  # [b, 2, H, G, N_l]
        weight = new.weight[row, :, tokens].transpose(1, 2)  # [b, H, G, L]
        place, token = numbers = work.numbers[row, tokens].nonzero(as_tuple=True)
        look = maps[-1][place, 1, :, token][..., AXIS_NODES] * weight[place, :, token, -1].unsqueeze(-1)
        evidence = attention.evidence[rows[place], column[place], tokens[place, token]]
        token_scores = self.haf.judge(
            work.asked[row, tokens],
            mix(torch.stack(gathered, dim=1).unsqueeze(2), weight),
            numbers,
            look.unsqueeze(1),
            evidence.unsqueeze(1),
        )
        new.token_scores[*at, tokens] = token_scores.squeeze(1)
        seen = (column < new.statistics.shape[1]).nonzero().squeeze(-1)
        if len(seen):
            part, place = rows[seen], column[seen]
            twice = (len(seen), 2)
            statistics = self._statistics(
                [found[seen] for found in maps],
                attention.centers[part, place].unsqueeze(1).expand(*twice, -1, -1),
                region[seen].unsqueeze(1).expand(*twice, -1),
                attention.token_logits[part].softmax(-1).gather(1, tokens[seen]),
            )  # [b, 2, L, H, F]
            lacks = renewed[seen, :, None, None]
            agreement = lacks | lacks.roll(-1, dims=1)  # with the next coarser level
            agreement[:, -1] = False
            lacks = torch.cat([lacks.expand(-1, -1, -1, statistics.shape[-1] - 1), agreement], dim=-1)
            new.statistics[part, place] += (statistics[:, 1] - statistics[:, 0]) * lacks

    def _statistics(self, maps: list[Tensor], centers: Tensor, region: Tensor, weights: Tensor) -> Tensor:
        """Statistics of maps `[B, K, H, T, N_l]` of each level, `[B, K, L, H, F]`; weights are `[B, T]`."""
        sizes, slices = self.layout.level_sizes, self.layout.slices
        per_level = []
        for level, nodes in enumerate(slices):
            found = maps[level]
            agreement = found.new_zeros(found.shape[:-1])
            if has_agreement(level, sizes):
                near, far = region[..., nodes], region[..., slices[level + 1]]
                agreement = region_overlap(found, maps[level + 1], near, far, self.layout.regions)
            of_maps = map_statistics(found, centers[:, :, nodes])
            per_level.append(torch.cat([of_maps, agreement.unsqueeze(-1)], dim=-1))
        return torch.einsum("bt,blkhtf->bklhf", weights, torch.stack(per_level, dim=1))


def divergence(
    attention: AttentionState, evaluation: Evaluation, calibration: Calibration, head_logits: Tensor
) -> Tensor:
    """KL(calibrated ‖ initial) of everything that a calibration changes, in nats, `[B]`.

    The maps' (mean over candidates, levels, heads, tokens), the level gates' (mean over tokens), the token
    weights' and the head weights' (mean over levels), added up, so that no family is free.

    Args:
        attention: Of the episode, batch `[B]`.
        evaluation: Under the calibration.
        calibration: Batch `[B]`.
        head_logits: HAF's own, `[L, H]`.
    """
    real = attention.mask
    gates = _kl(attention.gate_logits + calibration.level.unsqueeze(1), attention.gate_logits)  # [B, T]
    tokens = _kl(attention.token_logits + calibration.token, attention.token_logits)
    heads = _kl(head_logits + calibration.head, head_logits.expand_as(calibration.head))  # [B, L]
    gates = (gates * real).sum(-1) / real.sum(-1).clamp_min(1)
    return evaluation.divergence.mean((-1, -2)) + gates + tokens + heads.mean(-1)


def _kl(logits: Tensor, reference: Tensor) -> Tensor:
    """KL of softmax(logits) from softmax(reference) over the last axis; logits may be minus infinity."""
    p, q = logits.log_softmax(-1), reference.log_softmax(-1)
    return (p.exp() * torch.where(p > -torch.inf, p - q, 0.0)).sum(-1)


def _alike(
    every: Tensor, need: Tensor, length: Tensor, candidates: int
) -> Iterator[tuple[Tensor | slice, int, int]]:
    """Rows of equal need that go together: the rows, their need, and the tokens of the longest.

    On a CPU as many as its caches hold, texts of similar length together; else all of them. Consecutive rows
    are a slice, so that nothing has to be copied.
    """
    rows = every.nonzero().squeeze(-1)
    if len(rows) == 0:
        return
    cpu = rows.device.type == "cpu"
    needs, lengths, numbers = need[rows].tolist(), length[rows].tolist(), rows.tolist()
    for pattern in sorted(set(needs)):
        members = [i for i, other in enumerate(needs) if other == pattern]
        if cpu:
            members.sort(key=lambda i: (lengths[i], i))
        while members:
            count, longest = 0, 1
            for i in members:
                longest = max(longest, lengths[i])
                if cpu and count and (count + 1) * longest * candidates > CHUNK_PAIRS:
                    break
                count += 1
            piece, members = members[:count], members[count:]
            chosen = sorted(numbers[i] for i in piece)
            longest = max(1, *(lengths[i] for i in piece))
            if chosen[-1] - chosen[0] + 1 == len(chosen):
                yield slice(chosen[0], chosen[-1] + 1), pattern, longest
            else:
                yield torch.tensor(chosen, device=rows.device), pattern, longest


@contextmanager
def without_dropout(module: torch.nn.Module) -> Iterator[None]:
    """The module in evaluation mode, and back to what it was."""
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)

"""Incremental update of an evaluation: what an action has touched, and only that, is worked out anew.

Rows are taken in two steps. First every candidate of the rows that an action on gates, heads or temperatures
has touched, as if there were no association; rows of equal need go together. Then the tokens of the paired
candidate whose associations make a difference to that.

This is done with tensors, on any device; `envs.attention.kernels.backend` does the same on a CPU in single
precision, faster.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from envs.attention.dimensions import AttentionDims
from envs.attention.episode_cache import EpisodeCache, Evaluation
from envs.attention.precompute import chunks, last_weight, repeated
from models import AttentionState, Calibration, HierarchicalAttentionFusion
from models.attention_statistics import has_agreement, largest, map_statistics, region_overlap, spread
from models.points import AXIS_NODES
from models.token_score import NumberEvidence, evidence_along


def incremental_update(
    haf: HierarchicalAttentionFusion,
    dims: AttentionDims,
    attention: AttentionState,
    cache: EpisodeCache,
    before: Calibration,
    after: Calibration,
    evaluation: Evaluation,
    touched: Tensor,
    paired: Tensor,
    chunk_pairs: int,
) -> None:
    """Replace, in place, what actions have touched of an evaluation, its score aside.

    Args:
        haf: The model, in evaluation mode.
        dims: What there is to act on.
        attention: Of the episode, batch `[B]`.
        cache: Of the episode.
        before: Calibration that the evaluation belongs to.
        after: Calibration that it is to belong to.
        evaluation: Contiguous tensors, which are written to.
        touched: Rows of which every candidate is touched, bool `[B]`.
        paired: Rows of which the paired candidate is, by an association, and those of `touched` that have an
            association, bool `[B]`.
        chunk_pairs: Pairs of a candidate and a token that are evaluated together on a CPU.
    """
    update = _Update(haf, dims, attention, cache, before, after, evaluation, chunk_pairs)
    update.all_candidates(touched)
    update.paired_candidates(touched, paired.nonzero().squeeze(-1))


class _Update:
    """See `incremental_update`."""

    def __init__(
        self,
        haf: HierarchicalAttentionFusion,
        dims: AttentionDims,
        attention: AttentionState,
        cache: EpisodeCache,
        before: Calibration,
        after: Calibration,
        evaluation: Evaluation,
        chunk_pairs: int,
    ) -> None:
        self.haf, self.dims, self.chunk_pairs = haf, dims, chunk_pairs
        self.attention, self.cache = attention, cache
        self.before, self.after = before, after
        self.token_scores, self.divergence = evaluation.token_scores, evaluation.divergence
        self.statistics = evaluation.statistics
        gate_logits = attention.gate_logits + after.level.unsqueeze(1)
        self.weight = haf.level_head_weights(gate_logits, haf.head + after.head)[1]  # [B, H, T, L]
        self.sharpness = after.temperature.exp()  # [B, L]
        # How much each token counts in KL, and in statistics, `[B, T]`.
        self.share = attention.mask / attention.mask.sum(-1, keepdim=True).clamp_min(1)
        self.pooling = attention.token_logits.softmax(-1)

    def all_candidates(self, touched: Tensor) -> None:
        """Every candidate of the rows `touched`, bool `[B]`, as if there were no association."""
        temperature, dims = self.after.temperature, self.dims
        renewed = temperature != self.before.temperature  # [B, L]: these levels' maps are new
        gathers = renewed | (temperature != 0)  # the maps of these are not those before any change
        levels = torch.arange(dims.levels, device=touched.device)
        need = (gathers << levels).sum(-1) + (renewed << (levels + dims.levels)).sum(-1)
        candidates = self.token_scores.shape[1]
        shares = repeated(self.weight, self.cache.gathered.shape[-1])  # [B, L, 1, T, D]
        numbers = _Numbers(self, touched)
        pieces = rows_of_equal_need(touched, need, self.cache.length, candidates, self.chunk_pairs)
        for rows, pattern, length in pieces:
            gather = [bool(pattern >> level & 1) for level in range(dims.levels)]
            renew = [bool(pattern >> dims.levels + level & 1) for level in range(dims.levels)]
            self._rows(rows, length, gather, renew, shares, numbers)
        for level in range(dims.levels):
            rows = (renewed[:, level] & touched).nonzero().squeeze(-1)
            pairs = self.statistics.shape[1] * self.share.shape[1]
            for piece in chunks(len(rows), pairs, rows.device, self.chunk_pairs):
                self._renew(rows[piece], level)

    def _rows(
        self,
        rows: Tensor | slice,
        length: int,
        gather: list[bool],
        renew: list[bool],
        shares: Tensor,
        numbers: _Numbers,
    ) -> None:
        """Rows of which the same levels need to gather anew, and to have KL renewed.

        Args:
            rows: `b` of them.
            length: Tokens of the longest; the others' are padding.
            gather: Levels that gather anew.
            renew: Levels whose maps are new.
            shares: Weights of all rows' levels and heads, `[B, L, 1, T, D]`.
            numbers: All rows' tokens that are numbers.
        """
        cache, attention, heads = self.cache, self.attention, self.haf.heads
        aligned: Tensor | None = None
        for level, nodes in enumerate(self.dims.slices):
            share = shares[rows, level, :, :length]  # [b, 1, T, D]
            if gather[level]:
                logits = attention.logits[rows, :, :, :length, nodes]  # [b, C, H, T, N_l]
                sharpness = self.sharpness[rows, level, None, None, None]
                maps = torch.mul(logits, sharpness.unsqueeze(-1)).exp_()  # the largest is 1
                total = maps.sum(-1)
                values = attention.node_values[rows, ..., nodes, :]
                gathered = (maps @ values).div_(total.unsqueeze(-1)).transpose(2, 3)  # [b, C, T, H, d]
                if renew[level]:
                    # The logarithm of a map is `sharpness * logits - log(total)`, that of the initial one
                    # `logits - log_sums`: the mean of the logits under the map is all that KL takes.
                    mean = maps.mul_(logits).sum(-1).div_(total)  # [b, C, H, T]
                    kl = mean.mul_(sharpness - 1).sub_(total.log_())
                    kl += cache.log_sums[rows, level, :, :, :length]
                    kl = (kl * self.share[rows, None, None, :length]).sum(-1)
                    self.divergence[rows, :, level] = kl.mean(-1)
            else:
                gathered = cache.gathered[rows, level, :, :length].unflatten(-1, (heads, -1))
            share = share.unflatten(-1, (heads, -1))  # [b, 1, T, H, d]
            if aligned is None:
                aligned = torch.empty_like(gathered, memory_format=torch.contiguous_format)
                torch.mul(gathered, share, out=aligned)
            else:
                aligned.addcmul_(gathered, share)
        assert aligned is not None
        self.token_scores[rows, :, :length] = self.haf.score_tokens(
            cache.token_queries[rows, :length], aligned.flatten(3), numbers.of(rows)
        )

    def _renew(self, rows: Tensor, level: int) -> None:
        """Statistics of a level whose maps have changed by a temperature, of rows `[b]`."""
        attention, dims = self.attention, self.dims
        leading = self.statistics.shape[1]
        length = max(1, int(self.cache.length[rows].amax()))
        centers, region = attention.centers[rows, :leading], attention.region[rows, :leading]
        pooling = self.pooling[rows, None, None, :length]

        def averaged(statistic: Tensor) -> Tensor:  # [b, K, H, T] -> [b, K, H]
            return (statistic * pooling).sum(-1)

        def maps_of(level: int) -> tuple[Tensor, Tensor]:  # [b, K, H, T, N_l], [b, K, H, T, 1]
            logits = attention.logits[rows, :leading, :, :length, dims.slices[level]]
            maps = (logits * self.sharpness[rows, level, None, None, None, None]).exp_()
            peak = maps.sum(-1, keepdim=True).reciprocal_()  # as the largest exponential is 1
            return maps.mul_(peak), peak

        maps, peak = maps_of(level)
        nodes = dims.slices[level]
        entropy = torch.special.entr(maps).sum(-1) / math.log(max(dims.level_sizes[level], 2))
        top = self.cache.top[rows, :, level, :, :length] * self.sharpness[rows, level, None, None, None, None]
        mass = top.exp_().sum(-1, keepdim=True).mul_(peak)
        distance = spread(maps, centers[:, :, nodes])
        for number, statistic in enumerate((entropy, peak.squeeze(-1), mass.squeeze(-1), distance)):
            self.statistics[rows, :, level, :, number] = averaged(statistic)
        known = {level: maps}
        for fine in (level - 1, level):  # of this level with the next coarser one, and of the finer with this
            if fine >= 0 and has_agreement(fine, dims.level_sizes):
                for other in (fine, fine + 1):
                    if other not in known:
                        known[other] = maps_of(other)[0]
                near, far = dims.slices[fine], dims.slices[fine + 1]
                overlap = region_overlap(
                    known[fine], known[fine + 1], region[..., near], region[..., far], dims.regions
                )
                self.statistics[rows, :, fine, :, -1] = averaged(overlap)

    def paired_candidates(self, touched: Tensor, rows: Tensor) -> None:
        """The paired candidate of rows `[b]`: the tokens whose associations have changed.

        Where every candidate has just been evaluated (`touched`, bool `[B]`), there was none.
        """
        if len(rows) == 0:
            return
        afresh = touched[rows]
        was = torch.where(afresh[:, None, None], 0.0, self.before.association[rows])  # [b, T, R]
        now = self.after.association[rows]
        moved = (was != now).any(-1) & self.attention.mask[rows]  # [b, T]
        count = int(moved.sum(-1).amax())
        if count == 0:
            return
        # Rows in which fewer tokens have moved are filled up with some that have not: they stay as they are.
        tokens = moved.byte().argsort(dim=-1, descending=True, stable=True)[:, :count]  # [b, G]
        renewed = self.after.temperature[rows] != self.before.temperature[rows]  # [b, L]
        renewed = renewed | ~afresh.unsqueeze(-1)
        at = torch.arange(len(rows), device=rows.device).unsqueeze(-1)
        associations = torch.stack([was[at, tokens], now[at, tokens]], dim=1)  # [b, 2, G, R]
        for piece in chunks(len(rows), count, rows.device, self.chunk_pairs):
            self._pairs(rows[piece], tokens[piece], associations[piece], renewed[piece])

    def _pairs(self, rows: Tensor, tokens: Tensor, associations: Tensor, renewed: Tensor) -> None:
        """Some tokens of the paired candidate, whose statistics and KL change by what those tokens change.

        Args:
            rows: `[b]`.
            tokens: `[b, G]`.
            associations: What they were when evaluated last, and are now, `[b, 2, G, R]`.
            renewed: Levels whose KL and statistics lack the change, bool `[b, L]`.
        """
        cache, attention, dims = self.cache, self.attention, self.dims
        row, column = rows.unsqueeze(-1), attention.paired[rows]
        region = attention.region[rows, column]  # [b, N]
        bias = torch.nn.functional.pad(associations, (0, 1))  # [b, 2, G, R + 1]
        bias = bias.gather(3, region[:, None, None].expand(*bias.shape[:3], -1))  # [b, 2, G, N]
        logits = attention.logits[row, column.unsqueeze(-1), :, tokens]  # [b, G, H, N], at most 0
        level_of = dims.level_of(logits)  # [N, L]
        sharpness = self.sharpness[rows] @ level_of.T  # [b, N]
        changed = torch.addcmul(bias.unsqueeze(3), logits.unsqueeze(1), sharpness[:, None, None, None])
        mass = changed.exp()  # [b, 2, G, H, N], as yet not divided by its sum
        sums = (mass.flatten(1, 3) @ cache.columns[rows]).view(*mass.shape[:-1], -1, dims.levels)
        total = sums[..., 0, :]  # [b, 2, G, H, L]
        own = (mass * changed) @ level_of / total  # the mean logit under the map
        log_total = total.log()
        kl = own - (mass * logits.unsqueeze(1)) @ level_of / total - log_total  # up to a constant
        more = (kl[:, 1] - kl[:, 0]).mean(2) * self.share[row, tokens].unsqueeze(-1)  # [b, G, L]
        self.divergence[rows, column] += more.sum(1) * renewed

        weight = self.weight[row, :, tokens] / total[:, 1]  # [b, G, H, L]
        maps = mass[:, 1] * (weight @ level_of.T)  # [b, G, H, N], weighed by level and head
        aligned = (maps.transpose(1, 2) @ attention.node_values[rows, column]).transpose(1, 2).flatten(2)
        place, token = cache.numbers[row, tokens].nonzero(as_tuple=True)
        axes = maps[place, token][..., dims.slices[-1]][..., AXIS_NODES]  # [Q, H, 3]
        evidence = attention.evidence[rows[place], column[place], tokens[place, token]]
        along = evidence_along(axes.unsqueeze(1), evidence.unsqueeze(1))  # [Q, 1, H * EVIDENCE]
        queries = cache.token_queries[row, tokens]  # [b, G, 3 P]
        scores = self.haf.score_tokens(queries, aligned.unsqueeze(1), NumberEvidence(place, token, along))
        self.token_scores[row, column.unsqueeze(-1), tokens] = scores.squeeze(1)  # [b, G]

        leads = (column < self.statistics.shape[1]).nonzero().squeeze(-1)
        if len(leads):
            pooling = self.pooling[row, tokens]
            statistics = _paired_statistics(dims, mass, sums, log_total - own, pooling)  # [b, 2, L, H, F]
            lacks = renewed[:, :, None, None]
            agreement = lacks | lacks.roll(-1, dims=1)  # with the next coarser level
            lacks = torch.cat([lacks.expand(-1, -1, -1, statistics.shape[-1] - 1), agreement], dim=-1)
            more = (statistics[:, 1] - statistics[:, 0]) * lacks
            self.statistics[rows[leads], column[leads]] += more[leads]


def _paired_statistics(
    dims: AttentionDims, mass: Tensor, sums: Tensor, entropy: Tensor, pooling: Tensor
) -> Tensor:
    """The paired candidate's statistics as far as some tokens make them, `[b, 2, L, H, F]`.

    Args:
        dims: What there is to act on.
        mass: Maps times their sums, `[b, 2, G, H, N]`.
        sums: What `EpisodeCache.columns` make of it, `[b, 2, G, H, 5 + R, L]`.
        entropy: In nats, `[b, 2, G, H, L]`.
        pooling: Weights of the tokens, `[b, G]`.
    """
    total = sums[..., 0, :]  # [b, 2, G, H, L]
    x, y, z, square, *regions = (sums[..., 1:, :] / total.unsqueeze(-2)).unbind(-2)
    distance = (square - x * x - y * y - z * z).clamp_min(0).sqrt()
    found = [largest(mass[..., nodes]) for nodes in dims.slices]
    peak = torch.stack([top.amax(-1) for top in found], dim=-1) / total
    most = torch.stack([top.sum(-1) for top in found], dim=-1) / total
    share = torch.stack(regions, dim=-1)  # [b, 2, G, H, L, R]
    overlap = 1 - 0.5 * (share - share.roll(-1, dims=-2)).abs().sum(-1)
    agrees = [has_agreement(level, dims.level_sizes) for level in range(dims.levels)]
    overlap = overlap * torch.tensor(agrees, device=mass.device)
    uniform = [math.log(max(size, 2)) for size in dims.level_sizes]
    entropy = entropy / torch.tensor(uniform, device=mass.device)
    statistics = torch.stack([entropy, peak, most, distance, overlap], dim=-1)  # [b, 2, G, H, L, F]
    return torch.einsum("bg,bsghlf->bslhf", pooling, statistics)


class _Numbers:
    """The tokens of some rows that are numbers, and the evidence on them, row by row.

    Args:
        update: What they are for.
        touched: The rows, bool `[B]`.
    """

    def __init__(self, update: _Update, touched: Tensor) -> None:
        found = update.cache.numbers & touched.unsqueeze(-1)  # [B, T]
        self.row, self.token = row, token = found.nonzero(as_tuple=True)
        logits = update.attention.logits[row, :, :, token, update.dims.slices[-1]]  # [Q, C, H, N_l]
        maps = (logits * update.sharpness[row, -1, None, None, None]).softmax(-1)
        axes = maps[..., AXIS_NODES] * last_weight(update.weight, row, token)
        self.along = evidence_along(axes, update.attention.evidence[row, :, token])  # [Q, C, H * EVIDENCE]
        self.ends = [0, *found.sum(-1).cumsum(0).tolist()]

    def of(self, rows: Tensor | slice) -> NumberEvidence:
        """The numbers in `rows`, which ascend; the row of each is its place among these."""
        if isinstance(rows, slice):
            mine = slice(self.ends[rows.start], self.ends[rows.stop])
            return NumberEvidence(self.row[mine] - rows.start, self.token[mine], self.along[mine])
        place = torch.searchsorted(rows, self.row).clamp(max=len(rows) - 1)
        chosen = rows[place] == self.row
        return NumberEvidence(place[chosen], self.token[chosen], self.along[chosen])


def level_statistics(
    dims: AttentionDims, maps: list[Tensor], centers: Tensor, region: Tensor, pooling: Tensor
) -> Tensor:
    """Statistics of all levels' maps, `[B, K, L, H, F]`.

    Args:
        dims: What there is to act on.
        maps: Of each level, `[B, K, H, T, N_l]`.
        centers: `[B, K, N, 3]`.
        region: `[B, K, N]`.
        pooling: Weights of the tokens, `[B, T]`.
    """
    per_level = []
    for level, nodes in enumerate(dims.slices):
        found = maps[level]
        agreement = found.new_zeros(found.shape[:-1])
        if has_agreement(level, dims.level_sizes):
            near, far = region[..., nodes], region[..., dims.slices[level + 1]]
            agreement = region_overlap(found, maps[level + 1], near, far, dims.regions)
        of_maps = map_statistics(found, centers[:, :, nodes])
        per_level.append(torch.cat([of_maps, agreement.unsqueeze(-1)], dim=-1))
    return torch.einsum("bt,blkhtf->bklhf", pooling, torch.stack(per_level, dim=1))


def rows_of_equal_need(
    touched: Tensor, need: Tensor, length: Tensor, candidates: int, chunk_pairs: int
) -> Iterator[tuple[Tensor | slice, int, int]]:
    """Rows of equal need that go together: the rows, their need, and the tokens of the longest.

    On a CPU as many as its caches hold, texts of similar length together; else all of them. Consecutive rows
    are a slice, so that nothing has to be copied.
    """
    rows = touched.nonzero().squeeze(-1)
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
                if cpu and count and (count + 1) * longest * candidates > chunk_pairs:
                    break
                count += 1
            piece, members = members[:count], members[count:]
            chosen = sorted(numbers[i] for i in piece)
            longest = max(1, *(lengths[i] for i in piece))
            if chosen[-1] - chosen[0] + 1 == len(chosen):
                yield slice(chosen[0], chosen[-1] + 1), pattern, longest
            else:
                yield torch.tensor(chosen, device=rows.device), pattern, longest

"""Precomputation of what no calibration changes, once per episode instead of once per step.

Of the maps before any change: their logits, what each level has gathered by them, and the sums that make
logarithms of probabilities out of logits. A change of gates only mixes anew what was gathered; a temperature
makes one level gather anew. Nothing here is an approximation.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from envs.attention.dimensions import AttentionDims
from envs.attention.episode_cache import EpisodeCache
from models import AttentionState, HierarchicalAttentionFusion
from models.attention_statistics import TOP, largest
from models.points import AXIS_NODES
from models.token_score import NumberEvidence, evidence_along

CHUNK_PAIRS = 512
"""Pairs of a candidate and a token that are evaluated together on a CPU: about what its caches hold."""


@torch.no_grad()
def precompute(
    haf: HierarchicalAttentionFusion, dims: AttentionDims, attention: AttentionState, chunk_pairs: int
) -> tuple[EpisodeCache, Tensor]:
    """Work out what is fixed in an episode.

    Args:
        haf: The model, in evaluation mode.
        dims: What there is to act on.
        attention: Batch `[B]`. Its logits are shifted, in place, so that the largest of each map is 0: that
            changes no map.
        chunk_pairs: Pairs of a candidate and a token that are evaluated together on a CPU.

    Returns:
        The cache, `top` and `columns` left empty, and the scores of tokens before any change, `[B, C, T]`.
    """
    batch, candidates, heads, tokens, _ = attention.logits.shape
    width = attention.tokens.shape[-1]
    new = attention.logits.new_empty
    cache = EpisodeCache(
        gathered=new(batch, dims.levels, candidates, tokens, width),
        log_sums=new(batch, dims.levels, candidates, heads, tokens),
        token_queries=haf.token_queries(attention.tokens),
        top=new(batch, 0),  # who leads, and who is paired, is not known yet
        columns=new(batch, 0),
        numbers=(attention.evidence != 0).flatten(3).any(-1).any(1) & attention.mask,
        length=(attention.mask * torch.arange(1, tokens + 1, device=attention.mask.device)).amax(-1),
        batch_size=[batch],
    )
    token_scores = new(batch, candidates, tokens)
    _, weight = haf.level_head_weights(attention.gate_logits, haf.head.unsqueeze(0))  # [B, H, T, L]
    for rows in chunks(batch, candidates * tokens, attention.logits.device, chunk_pairs):
        for level, nodes in enumerate(dims.slices):
            logits = attention.logits[rows, ..., nodes]
            logits -= logits.amax(-1, keepdim=True)
            maps = logits.exp()  # [b, C, H, T, N_l]
            total = maps.sum(-1, keepdim=True)
            maps /= total
            cache.log_sums[rows, level] = total.squeeze(-1).log()
            gathered = maps @ attention.node_values[rows, ..., nodes, :]  # [b, C, H, T, d]
            cache.gathered[rows, level] = gathered.transpose(2, 3).flatten(3)
        row, token = cache.numbers[rows].nonzero(as_tuple=True)
        axes = maps[row, :, :, token][..., AXIS_NODES] * last_weight(weight[rows], row, token)
        along = evidence_along(axes, attention.evidence[rows][row, :, token])
        token_scores[rows] = haf.score_tokens(
            cache.token_queries[rows],
            mix(cache.gathered[rows], weight[rows]),
            NumberEvidence(row, token, along),
        )
    return cache, token_scores


def top_logits(dims: AttentionDims, logits: Tensor) -> Tensor:
    """The largest of logits `[B, K, H, T, N]` at each level, `[B, K, L, H, T, TOP]`."""
    found = [largest(logits[..., nodes]) for nodes in dims.slices]
    padded = [torch.nn.functional.pad(top, (0, TOP - top.shape[-1]), value=-torch.inf) for top in found]
    return torch.stack(padded, dim=2)


def paired_columns(dims: AttentionDims, attention: AttentionState) -> Tensor:
    """See `EpisodeCache.columns`."""
    rows = torch.arange(len(attention.paired), device=attention.paired.device)
    place = attention.centers[rows, attention.paired]  # [B, N, 3]
    region = attention.region[rows, attention.paired].unsqueeze(-1)
    member = region == torch.arange(dims.regions, device=rows.device)
    one, square = torch.ones_like(place[..., :1]), place.square().sum(-1, keepdim=True)
    features = torch.cat([one, place, square, member.to(place)], dim=-1)  # [B, N, 5 + R]
    return (features.unsqueeze(-1) * dims.level_of(place).unsqueeze(1)).flatten(2)


def last_weight(weight: Tensor, row: Tensor, token: Tensor) -> Tensor:
    """Of the coarsest level for tokens, `[Q, 1, H, 1]`, out of weights `[B, H, T, L]`; it holds the axes."""
    return weight[row, :, token, -1][:, None, :, None]


def mix(gathered: Tensor, weight: Tensor) -> Tensor:
    """The sum over levels and heads of what they gathered, `[B, C, T, D]`.

    Args:
        gathered: `[B, L, C, T, D]`, heads side by side along `D`.
        weight: `[B, H, T, L]`.
    """
    shares = repeated(weight, gathered.shape[-1])  # [B, L, 1, T, D]
    result = gathered[:, 0] * shares[:, 0]
    for level in range(1, gathered.shape[1]):
        result.addcmul_(gathered[:, level], shares[:, level])
    return result


def repeated(weight: Tensor, width: int) -> Tensor:
    """Weights `[B, H, T, L]` of the heads, repeated for each of their features: `[B, L, 1, T, D]`."""
    heads = weight.shape[1]
    return weight.permute(0, 3, 2, 1).repeat_interleave(width // heads, -1, output_size=width).unsqueeze(2)


def chunks(rows: int, pairs: int, device: torch.device, chunk_pairs: int) -> Iterator[slice]:
    """Slices of at most `chunk_pairs` pairs, given those of a row, on a CPU; else all rows at once."""
    step = max(1, chunk_pairs // max(pairs, 1)) if device.type == "cpu" else max(rows, 1)
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))

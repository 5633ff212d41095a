"""What is worked out once an episode, so that a step need not: no calibration changes it.

Of the maps before any change: their logits, what each level has gathered by them, and the sums that make
logarithms of probabilities out of logits. A change of gates only mixes anew what was gathered; a temperature
makes one level gather anew. Nothing here is an approximation.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from tensordict import TensorClass
from torch import Tensor

from envs.attention.dimensions import AttentionDims
from models import AttentionState, HierarchicalAttentionFusion
from models.attention_statistics import TOP, largest
from models.points import AXIS_NODES

CHUNK_PAIRS = 512
"""Pairs of a candidate and a token that are evaluated together on a CPU: about what its caches hold."""


class EpisodeCache(TensorClass):
    """Fixed for an episode, batch size `[B]`.

    Attributes:
        gathered: What each level has gathered under no change, heads side by side, `[B, L, C, T, D]`.
        log_sums: Logarithms of the sums of the exponentials of the logits, `[B, L, C, H, T]`.
        asked: What each token asks of a candidate, see `HierarchicalAttentionFusion.ask`, `[B, T, 3 D_pair]`.
        top: The largest logits of the leading candidates' maps, `[B, K, L, H, T, TOP]`, minus infinity where
            a level has fewer nodes.
        columns: What statistics of the paired candidate's maps sum up, level by level,
            `[B, N, (5 + R) L]`: one, where each node is, the square of that, and its membership in regions.
        numbers: Real tokens that are numbers, so that there is evidence, bool `[B, T]`.
        length: Tokens up to the last real one, i64 `[B]`: the rest is padding.
    """

    gathered: Tensor
    log_sums: Tensor
    asked: Tensor
    top: Tensor
    columns: Tensor
    numbers: Tensor
    length: Tensor


CANDIDATE_AXES = {"gathered": 2, "log_sums": 2}
"""The axis of candidates of the fields that have one."""


@torch.no_grad()
def precompute(
    haf: HierarchicalAttentionFusion, layout: AttentionDims, attention: AttentionState
) -> tuple[EpisodeCache, Tensor]:
    """Work out what is fixed.

    Args:
        haf: The model, in evaluation mode.
        layout: What there is to act on.
        attention: Batch `[B]`. Its logits are shifted, in place, so that the largest of each map is 0: that
            changes no map.

    Returns:
        The groundwork, `top` and `columns` left empty, and the tokens' verdicts before any change,
        `[B, C, T]`.
    """
    batch, candidates, heads, tokens, _ = attention.logits.shape
    width = attention.tokens.shape[-1]
    new = attention.logits.new_empty
    work = EpisodeCache(
        gathered=new(batch, layout.levels, candidates, tokens, width),
        log_sums=new(batch, layout.levels, candidates, heads, tokens),
        asked=haf.token_queries(attention.tokens),
        top=new(batch, 0),  # who leads, and who is paired, is not known yet
        columns=new(batch, 0),
        numbers=(attention.evidence != 0).flatten(3).any(-1).any(1) & attention.mask,
        length=(attention.mask * torch.arange(1, tokens + 1, device=attention.mask.device)).amax(-1),
        batch_size=[batch],
    )
    token_scores = new(batch, candidates, tokens)
    _, weight = haf.level_head_weights(attention.gate_logits, haf.head.unsqueeze(0))  # [B, H, T, L]
    for rows in chunks(batch, candidates * tokens, attention.logits.device):
        for level, nodes in enumerate(layout.slices):
            logits = attention.logits[rows, ..., nodes]
            logits -= logits.amax(-1, keepdim=True)
            maps = logits.exp()  # [b, C, H, T, N_l]
            total = maps.sum(-1, keepdim=True)
            maps /= total
            work.log_sums[rows, level] = total.squeeze(-1).log()
            gathered = maps @ attention.node_values[rows, ..., nodes, :]  # [b, C, H, T, d]
            work.gathered[rows, level] = gathered.transpose(2, 3).flatten(3)
        row, token = work.numbers[rows].nonzero(as_tuple=True)
        token_scores[rows] = haf.score_tokens(
            work.asked[rows],
            mix(work.gathered[rows], weight[rows]),
            (row, token),
            haf.quantity_scores(
                work.asked[rows][row, token],
                maps[row, :, :, token][..., AXIS_NODES] * last_weight(weight[rows], row, token),
                attention.evidence[rows][row, :, token],
            ),
        )
    return work, token_scores


def top_logits(layout: AttentionDims, logits: Tensor) -> Tensor:
    """The largest of logits `[B, K, H, T, N]` at each level, `[B, K, L, H, T, TOP]`."""
    found = [largest(logits[..., nodes]) for nodes in layout.slices]
    padded = [torch.nn.functional.pad(top, (0, TOP - top.shape[-1]), value=-torch.inf) for top in found]
    return torch.stack(padded, dim=2)


def paired_columns(layout: AttentionDims, attention: AttentionState) -> Tensor:
    """See `EpisodeCache.columns`."""
    rows = torch.arange(len(attention.paired), device=attention.paired.device)
    place = attention.centers[rows, attention.paired]  # [B, N, 3]
    region = attention.region[rows, attention.paired].unsqueeze(-1)
    member = region == torch.arange(layout.regions, device=rows.device)
    one, square = torch.ones_like(place[..., :1]), place.square().sum(-1, keepdim=True)
    features = torch.cat([one, place, square, member.to(place)], dim=-1)  # [B, N, 5 + R]
    return (features.unsqueeze(-1) * layout.level_of(place).unsqueeze(1)).flatten(2)


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


def chunks(rows: int, pairs: int, device: torch.device) -> Iterator[slice]:
    """Slices of at most `CHUNK_PAIRS` pairs, given those of a row, on a CPU; else all rows at once."""
    step = max(1, CHUNK_PAIRS // max(pairs, 1)) if device.type == "cpu" else max(rows, 1)
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))

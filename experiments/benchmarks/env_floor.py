"""Floor of a step of the environment: its least work, counted from shapes, and what the machine can do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from envs import CalibrationCore, Episode
from experiments.benchmarks.base import interleaved
from models import HierarchicalAttentionFusion

COPIED = 16_000_000
FLOAT = 4


@dataclass(frozen=True)
class Machine:
    """Measured rates of the machine.

    Attributes:
        flops: Floating-point operations of a matrix product a second.
        bandwidth: Bytes read or written by a copy a second.
    """

    flops: float
    bandwidth: float

    @classmethod
    def measure(cls, haf: HierarchicalAttentionFusion, pairs: int) -> Machine:
        """Times HAF's largest product, for so many pairs of a candidate and a token, and a large copy.

        PyTorch and NumPy bring a matrix library each; the faster one counts.
        """
        outputs, inputs = haf.score_weights.shape_weight.shape
        left, right = torch.randn(pairs, inputs), torch.randn(inputs, outputs)
        product = torch.empty(pairs, outputs)
        source, target = torch.randn(COPIED), torch.empty(COPIED)
        functions = {
            "product": lambda: torch.mm(left, right, out=product),
            "other product": lambda: np.dot(left.numpy(), right.numpy(), out=product.numpy()),
            "copy": lambda: target.copy_(source),
        }
        with threadpool_limits(torch.get_num_threads()):
            times = interleaved(functions, seconds=0.5)
        # the best round: a floor is what the machine can do, not what it does while others use it
        return cls(
            flops=2 * pairs * right.numel() / min(times["product"] + times["other product"]),
            bandwidth=2 * COPIED * FLOAT / min(times["copy"]),
        )


def work(core: CalibrationCore, episode: Episode, actions: Tensor) -> tuple[float, float]:
    """Work of the actions, each from the initial state: floating-point operations, bytes.

    Only products count, of real tokens, and only those that an update cannot do without given what is
    fixed in an episode: the maps before any change and what they gathered, level by level. Queries and keys
    and the queries of the score are fixed.

    * A token weight: pooling.
    * A gate or a head's weight: the levels are mixed anew; each token is scored against the mix, by the
      products of `models.token_score`. The kernels do with half of these where a token has many candidates
      (`envs.attention.kernels.token_scores.fold_token_into_weights`), so that this part of the floor can be
      undercut.
    * A temperature: that level's maps gather anew; tokens are scored. Evidence on numbers changes only with
      the coarsest level.
    * An association: the same for two levels, one candidate and the tokens of one group.

    Bytes are those of what must be read, once, and of the next state.

    Args:
        core: The decision process.
        episode: Batch `[B]`.
        actions: i64 `[moves, B]`.
    """
    haf, attention = core.haf, episode.attention
    width, heads, levels = haf.query.in_features, haf.heads, len(haf.level_sizes)
    candidates = attention.global_score.shape[1]
    real = attention.mask.sum(-1)  # [B]
    numbers = episode.cache.numbers.sum(-1)  # [B]
    group = episode.group.sum(-1)  # [B, K]
    score, evidence = haf.score_weights.pair_flops, haf.score_weights.number_flops
    state = sum(t.numel() for t in core.initial(episode[:1]).values(True, True) if t.is_floating_point())
    flops, floats = 0.0, 0.0
    for row, action in enumerate(actions.T.tolist()):
        for number in action:
            family, entry = core.catalogue.entry(number)
            pairs = candidates * int(real[row])
            pooled = 2 * pairs
            flops += pooled
            floats += 2 * state
            if family in ("level", "head"):
                flops += pairs * score + candidates * int(numbers[row]) * evidence
                floats += pairs * levels * width
            elif family == "temperature":
                nodes = haf.level_sizes[entry]
                flops += pairs * (score + 2 * width * nodes)
                if entry == levels - 1:
                    flops += candidates * int(numbers[row]) * evidence
                floats += pairs * ((levels - 1) * width + heads * nodes) + candidates * nodes * width
            elif family == "association":
                nodes = sum(haf.level_sizes[:-1])
                tokens = int(group[row, entry // haf.regions])
                flops += tokens * (score + 2 * width * nodes)
                floats += tokens * (width + heads * nodes) + nodes * width
    return flops, FLOAT * floats

"""Noise at the root, as pure functions of uniform numbers, which the caller draws and may keep.

A row's noise is made of that row's numbers alone, one per action, so it does not depend on its batch.
"""

from __future__ import annotations

import torch
from torch import Tensor


def gumbel_noise(uniforms: Tensor) -> Tensor:
    """Make standard Gumbel noise of uniform numbers in [0, 1)."""
    return -torch.log(-torch.log(uniforms.clamp(1e-7, 1 - 1e-7)))


def dirichlet_noise(uniforms: Tensor, mask: Tensor, alpha: float) -> Tensor:
    """Draw a point of the symmetric Dirichlet distribution over the legal actions, 0 elsewhere, `[B, A]`.

    By inversion, where sampling by rejection would use a number of draws that depends on the draws.

    Args:
        uniforms: Uniform numbers in [0, 1), `[B, A]`.
        mask: Legal actions, bool `[B, A]`.
        alpha: Concentration; the smaller, the fewer actions the noise favors.

    Raises:
        ValueError: The concentration is not positive.
    """
    from scipy.special import gammaincinv  # takes as long to import as the rest of the search

    if not alpha > 0:
        raise ValueError(f"alpha={alpha}: must be more than 0")
    inside = uniforms.double().clamp(1e-7, 1 - 1e-7).cpu()
    gamma = torch.as_tensor(gammaincinv(alpha, inside.numpy())).to(uniforms.device)
    gamma = gamma.clamp(min=1e-300) * mask  # small concentrations underflow
    share = gamma / gamma.sum(-1, keepdim=True).clamp(min=1e-300)
    return share.to(uniforms.dtype)


def mix(prior: Tensor, noise: Tensor, fraction: float) -> Tensor:
    """Mix noise into a prior: logits of its softmax with a fraction replaced by ``noise``, `[B, A]` all.

    Illegal actions (``-inf``) stay so, and rows without a legal action stay as they are.

    Raises:
        ValueError: The fraction is outside [0, 1].
    """
    if not 0.0 <= fraction <= 1.0:
        raise ValueError(f"fraction={fraction}: must lie in [0, 1]")
    legal = prior > -torch.inf
    share = (1 - fraction) * prior.softmax(-1) + fraction * noise
    logits = share.clamp(min=torch.finfo(prior.dtype).tiny).log()
    return torch.where(legal, logits, prior)

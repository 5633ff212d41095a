"""Catalogue of actions: the entries of the chosen families, each up and down, and ``stop``."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from envs.actions.families import FAMILIES, STOP, Family
from envs.attention.dimensions import AttentionDims, Invalidation

if TYPE_CHECKING:
    from envs.episode import Episode
    from models import Calibration

TOLERANCE = 1e-4
"""Slack at the limit, so that steps that reach it exactly in decimal do so in binary."""


@dataclass(frozen=True)
class _Block:
    """The actions of one family: ``first + 2 * entry`` steps the entry up, the next one steps it down."""

    family: Family
    first: int
    entries: int
    step: float


class ActionCatalogue:
    """All actions of the environment, ``A`` of them. ``stop``, where there is one, is action 0.

    Args:
        families: Names of families, any subset of ``FAMILIES`` and ``"stop"``.
        dims: Numbers of levels, heads, regions and token groups to act on.
        limit: Largest change of an entry, a logarithm or a strength.
        steps: Sizes of steps by family, where they differ from the family's own, which are at most the limit.

    Attributes:
        names: The actions in words, such as ``sharpen level 2``.
        stop: Index of ``stop``, None without it.

    Raises:
        ValueError: No family, an unknown one, one named twice, a step that is not positive or beyond the
            limit, or a step of an unknown family.
    """

    def __init__(
        self,
        families: Sequence[str],
        dims: AttentionDims,
        limit: float = 2.0,
        steps: Mapping[str, float] | None = None,
    ) -> None:
        _check_families(families)
        _check_known("steps", list(steps or {}), list(FAMILIES))
        self.families = (*(name for name in families if name != STOP), *([STOP] if STOP in families else []))
        self.dims = dims
        self.limit = limit
        self.names: list[str] = []
        self.stop: int | None = None
        if STOP in families:
            self.stop = 0
            self.names.append(STOP)
        self._blocks: list[_Block] = []
        reach = [Invalidation.POOLING] * len(self.names)
        for name, family in FAMILIES.items():
            step = float((steps or {}).get(name, min(family.step, limit)))
            if not 0 < step <= limit:
                raise ValueError(f"steps.{name}={step}: must be positive and at most the limit, {limit}")
            if name not in families:
                continue
            words = family.names(dims)
            self._blocks.append(_Block(family, len(self.names), len(words), step))
            self.names += [word for pair in words for word in pair]
            reach += [family.reach] * (2 * len(words))
        self.reach = torch.tensor(reach)
        """Extent of what each action touches (``Invalidation``), i64 ``[A]``."""
        self._entries = sum(block.entries for block in self._blocks)
        entry = [0] * (self.stop is not None) + [e for e in range(self._entries) for _ in range(2)]
        amount = [0.0] * (self.stop is not None)
        for block in self._blocks:
            amount += [block.step, -block.step] * block.entries
        # The entry, among those of all families, that each action changes, and by how much.
        self._entry, self._amount = torch.tensor(entry), torch.tensor(amount)

    def __len__(self) -> int:
        return len(self.names)

    def members(self, family: str) -> Tensor:
        """Actions of a family, bool ``[A]``; none if it is not in the catalogue."""
        return torch.tensor([self.entry(action)[0] == family for action in range(len(self))])

    def entry(self, action: int) -> tuple[str, int]:
        """The family of an action, and which of its entries it steps; 0 for ``stop``.

        Raises:
            ValueError: An action that is not in the catalogue.
        """
        for block in self._blocks:
            if 0 <= action - block.first < 2 * block.entries:
                return block.family.name, (action - block.first) // 2
        if action == self.stop:
            return STOP, 0
        raise ValueError(f"action {action}: must lie in [0, {len(self)})")

    def apply(self, calibration: Calibration, episode: Episode, action: Tensor) -> Calibration:
        """The calibration after one action per row; the one given stays as it is.

        Args:
            calibration: Calibration before the action, batch ``[B]``.
            episode: Episodes that it belongs to, batch ``[B]``.
            action: Number of the action, i64 ``[B]``; a negative one and ``stop`` change nothing.
        """
        changed = calibration.clone()
        chosen = action.clamp_min(0)
        amount = torch.where(action < 0, 0.0, self._amount.to(action.device)[chosen])  # [B]
        change = amount.new_zeros(len(action), self._entries)
        change.scatter_(1, self._entry.to(action.device)[chosen].unsqueeze(1), amount.unsqueeze(1))
        # On a CPU it is cheaper to look which families are there than to add nothing to the others.
        taken = set(action.tolist()) if action.device.type == "cpu" else None
        start = 0
        for block in self._blocks:
            actions = range(block.first, block.first + 2 * block.entries)
            if taken is None or not taken.isdisjoint(actions):
                block.family.add(changed, episode, change[:, start : start + block.entries])
            start += block.entries
        return changed

    def mask(self, calibration: Calibration, episode: Episode) -> Tensor:
        """Legal actions, bool ``[B, A]``: those within the limit that can make a difference, and ``stop``."""
        parts = []
        if self.stop is not None:
            parts.append(torch.ones_like(episode.positives[:, :1]))
        for block in self._blocks:
            value = block.family.value(calibration, episode)  # [B, E]
            room = self.limit + TOLERANCE - block.step
            legal = torch.stack([value <= room, value >= -room], dim=-1)  # [B, E, up and down]
            parts.append((legal & block.family.useful(episode, self.dims).unsqueeze(-1)).flatten(1))
        return torch.cat(parts, dim=-1)

    def values(self, calibration: Calibration, episode: Episode) -> Tensor:
        """Change of every entry as a share of the limit, ``[B, A_entries]``."""
        parts = [block.family.value(calibration, episode) for block in self._blocks]
        return torch.cat(parts, dim=-1) / self.limit


def _check_known(setting: str, names: Sequence[str], known: list[str]) -> None:
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise ValueError(f"{setting}: unknown family {name!r}{hint} Known: {', '.join(known)}")


def _check_families(families: Sequence[str]) -> None:
    known = [*FAMILIES, STOP]
    if isinstance(families, str):
        raise ValueError(f"families={families!r}: must be a list of names out of {', '.join(known)}")
    _check_known("families", families, known)
    twice = sorted({name for name in families if list(families).count(name) > 1})
    if twice:
        raise ValueError(f"families={list(families)}: {', '.join(twice)} is named twice; name each once")
    if not set(families) - {STOP}:
        raise ValueError(
            f"families={list(families)}: there is nothing to act on; name at least one of "
            f"{', '.join(FAMILIES)}"
        )

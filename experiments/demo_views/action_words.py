"""Actions on the attention in the words of a query: ``boost "red ring"`` in place of a group's number."""

from __future__ import annotations

from collections.abc import Sequence

from envs.actions.catalogue import ActionCatalogue
from envs.actions.families import STOP
from envs.attention.dimensions import AttentionDims

LEVELS = ("patches", "regions", "whole object")
"""Names of three levels, fine to coarse."""


def action_words(catalogue: ActionCatalogue, groups: Sequence[str]) -> list[str]:
    """All actions in words, ``A`` of them.

    Args:
        catalogue: The actions.
        groups: The words of each token group of the query; empty where a group has none.
    """
    return [_words(catalogue, action, groups) for action in range(len(catalogue))]


def level_names(dims: AttentionDims) -> list[str]:
    """A name for each level of attention."""
    levels = dims.levels
    return list(LEVELS) if levels == len(LEVELS) else [f"level {place + 1}" for place in range(levels)]


def _words(catalogue: ActionCatalogue, action: int, groups: Sequence[str]) -> str:
    family, entry = catalogue.entry(action)
    if family == STOP:
        return "stop"
    up = (action - (catalogue.stop is not None)) % 2 == 0  # each entry has two actions, up and down
    dims, levels = catalogue.dims, level_names(catalogue.dims)

    def group(place: int) -> str:
        return f"“{groups[place]}”" if place < len(groups) and groups[place] else f"word group {place + 1}"

    if family == "memory":
        return f"trust known pairs {'more' if up else 'less'}"
    if family == "hubness":
        return f"discount popular shapes {'more' if up else 'less'}"
    if family == "level":
        return f"listen {'more' if up else 'less'} to the {levels[entry]}"
    if family == "temperature":
        return f"{'sharpen' if up else 'soften'} attention on the {levels[entry]}"
    if family == "head":
        return (
            f"{'raise' if up else 'lower'} head {entry % dims.heads + 1} on the {levels[entry // dims.heads]}"
        )
    if family == "token":
        return f"{'boost' if up else 'suppress'} {group(entry)}"
    if family == "association":
        word, region = group(entry // dims.regions), entry % dims.regions + 1
        return f"{'tie' if up else 'untie'} {word} {'to' if up else 'from'} region {region}"
    return catalogue.names[action]

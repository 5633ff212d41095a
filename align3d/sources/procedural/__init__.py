"""Parametric objects with captions and exact part labels: the default data, which needs only a seed."""

from align3d.sources.procedural.attributes import Choice, Color, Count, Length, Parameters
from align3d.sources.procedural.builder import Builder, Cloud
from align3d.sources.procedural.caption_grammar import Description
from align3d.sources.procedural.families import FAMILIES, Family, family
from align3d.sources.procedural.source import ProceduralSource, Specification

__all__ = [
    "FAMILIES",
    "Builder",
    "Choice",
    "Cloud",
    "Color",
    "Count",
    "Description",
    "Family",
    "Length",
    "Parameters",
    "ProceduralSource",
    "Specification",
    "family",
]

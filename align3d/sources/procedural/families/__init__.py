"""Families of parametric objects: every module in this folder registers its own."""

import importlib
import pkgutil

from align3d.sources.procedural.families.base import FAMILIES, Family, families_named, family

__all__ = ["FAMILIES", "Family", "families_named", "family"]

for _module in sorted(info.name for info in pkgutil.iter_modules(__path__)):
    importlib.import_module(f"{__name__}.{_module}")

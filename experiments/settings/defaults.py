"""Defaults of the settings of a run, for what its page says was changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from omegaconf import OmegaConf

from experiments.settings.reading import CONF
from models.config import SIZES


def defaults_of(plain: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a run would have if its command had named its agent, data and size alone.

    Args:
        plain: Settings of a run, as in its config.yaml. Of an agent or a source of one's own there are none.
    """
    found = OmegaConf.load(CONF / "config.yaml")
    for group in ("data", "agent"):
        path = CONF / group / f"{plain[group]['name']}.yaml"
        if path.parent == CONF / group and path.is_file():
            own = OmegaConf.load(path)
            everywhere = "@package _global_" in path.read_text()
            found = OmegaConf.merge(found, own if everywhere else {group: own})
    size = str(plain["model"].get("name"))
    if size in SIZES:
        found = OmegaConf.merge(found, {"model": {"name": size, **dataclasses.asdict(SIZES[size])}})
    values = OmegaConf.to_container(found, resolve=False)
    assert isinstance(values, dict)
    return {str(name): value for name, value in values.items() if name not in ("defaults", "hydra")}

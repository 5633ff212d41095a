"""Standard settings of the field's benchmarks: what is read, and the tasks that are reported on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

MODELNET_C = ("scale", "jitter", "rotate", "dropout_global", "dropout_local", "add_global", "add_local")
"""Corruptions of ModelNet-C and ScanObjNN-C, levels 0 to 4."""
MODELNET40_C = (
    *("occlusion", "lidar", "density_inc", "density", "cutout"),
    *("uniform", "gaussian", "impulse", "upsampling", "background"),
    *("rotation", "shear", "distortion", "distortion_rbf", "distortion_rbf_inv"),
)
"""Corruptions of ModelNet40-C, levels 1 to 5."""


@dataclass(frozen=True)
class StandardSettings:
    """What is read of a benchmark, and what is reported on it.

    Attributes:
        source: Name of its source.
        tasks: Tasks that the field reports on it, by their names in ``experiments.evaluate``.
        settings: Settings of the source; its root is always the user's.
        sets: Further settings of each of the sets that one result is made of: ten folds, or the corruptions
            at their levels.
        evaluation: Settings of ``experiments.evaluate`` other than its defaults.
    """

    source: str
    tasks: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    sets: tuple[Mapping[str, Any], ...] = ({},)
    evaluation: Mapping[str, Any] = field(default_factory=dict)

    def each(self) -> Iterator[dict[str, Any]]:
        """Settings of the source for each of the sets."""
        return ({**self.settings, **further} for further in self.sets)


def _corrupted(kinds: tuple[str, ...], levels: range) -> tuple[Mapping[str, Any], ...]:
    """The clean shapes, then each corruption at each level."""
    each = ({"corruption": kind, "level": level} for kind in kinds for level in levels)
    return ({"corruption": "clean"}, *each)


def _few_shot(way: int, shot: int) -> StandardSettings:
    settings = {"way": way, "shot": shot, "split": "all"}
    return StandardSettings(
        "modelnet_fewshot", ("few_shot",), settings, tuple({"fold": fold} for fold in range(10))
    )


def _scans(variant: str) -> StandardSettings:
    return StandardSettings(
        "scanobjectnn", ("zero_shot", "few_shot"), {"variant": variant, "split": "test", "layout": "h5"}
    )


def _corrupted_scans(variant: str) -> StandardSettings:
    return StandardSettings(
        "scanobjnn_c", ("robustness",), {"variant": variant}, _corrupted(MODELNET_C, range(5))
    )


BENCHMARKS: Mapping[str, StandardSettings] = {
    "modelnet40": StandardSettings("modelnet40", ("zero_shot", "few_shot"), {"split": "test"}),
    **{f"modelnet_fewshot_{way}way_{shot}shot": _few_shot(way, shot) for way in (5, 10) for shot in (10, 20)},
    "modelnet_c": StandardSettings("modelnet_c", ("robustness",), {}, _corrupted(MODELNET_C, range(5))),
    "modelnet40_c": StandardSettings(
        "modelnet40_c", ("robustness",), {}, _corrupted(MODELNET40_C, range(1, 6))
    ),
    **{f"scanobjnn_c_{variant}": _corrupted_scans(variant) for variant in ("obj_bg", "obj_only", "hardest")},
    "scanobjectnn": _scans("pb_t50_rs"),
    **{f"scanobjectnn_{variant}": _scans(variant) for variant in ("obj_bg", "obj_only", "pb_t50_rs")},
    "scanobjectnn_2890": StandardSettings("scanobjectnn_2890", ("zero_shot", "few_shot")),
    "objaverse_lvis": StandardSettings(
        "objaverse_lvis", ("zero_shot", "few_shot"), {"split": "lvis"}, evaluation={"verbatim": True}
    ),
    "shapenet55": StandardSettings("shapenet55", ("zero_shot",), {"split": "test"}),
    "cap3d": StandardSettings("cap3d", ("retrieval", "distractors")),
    "text2shape": StandardSettings("text2shape", ("retrieval",), {"split": "test"}),
    "shapenetpart": StandardSettings("shapenetpart", ("grounding",), {"split": "test"}),
    "partnete": StandardSettings("partnete", ("grounding",), {"split": "test"}),
    "compat200_fine": StandardSettings("compat200", ("grounding",), {"split": "test", "parts": "fine"}),
    "compat200_coarse": StandardSettings("compat200", ("grounding",), {"split": "test", "parts": "coarse"}),
}
"""By name; each name of a source with one standard setting is a name here as well."""

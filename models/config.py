"""Sizes of the alignment model."""

from __future__ import annotations

from dataclasses import dataclass

SIZE_SETTINGS = (
    "points",
    "patches",
    "patch_points",
    "regions",
    "width",
    "heads",
    "point_layers",
    "text_layers",
    "embedding",
    "pair_width",
)
SHARE_SETTINGS = ("dropout", "color_dropout", "token_dropout", "patch_dropout")


@dataclass(frozen=True)
class ModelConfig:
    """Everything that determines the model's shape.

    Attributes:
        points: Points of a cloud that are read, ``P``.
        patches: Patches of a shape, ``N_0``.
        patch_points: Points of a patch.
        regions: Regions of a shape, ``N_1``: pooled patches; also the ``R`` regions of an association.
        width: ``D``, width of tokens and patches.
        heads: ``H``, heads of every attention.
        point_layers: Transformer layers over the patches.
        text_layers: Transformer layers over the frozen encoder's tokens.
        embedding: Width of the global, indexable embeddings.
        pair_width: Width of the product of a token and its aligned features in HAF.
        dropout: In all transformer layers.
        color_dropout: Share of the shapes that are shown without colour in training.
        token_dropout: Share of the tokens that are hidden in training.
        patch_dropout: Share of the patches that are hidden in training, one of each region never.
    """

    points: int = 2048
    patches: int = 64
    patch_points: int = 32
    regions: int = 8
    width: int = 128
    heads: int = 4
    point_layers: int = 2
    text_layers: int = 2
    embedding: int = 256
    pair_width: int = 128
    dropout: float = 0.0
    color_dropout: float = 0.1
    token_dropout: float = 0.0
    patch_dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in SIZE_SETTINGS:
            if getattr(self, name) < 1:
                raise ValueError(f"model.{name}={getattr(self, name)}: expected at least 1")
        for name in SHARE_SETTINGS:
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"model.{name}={getattr(self, name)}: expected a share from 0 to below 1")
        if self.width % self.heads:
            raise ValueError(f"model.width={self.width}: expected a multiple of model.heads={self.heads}")
        if not self.regions <= self.patches <= self.points:
            raise ValueError(
                f"model.regions={self.regions}, model.patches={self.patches}, model.points={self.points}: "
                "expected regions <= patches <= points"
            )


SIZES: dict[str, ModelConfig] = {
    "tiny": ModelConfig(
        points=256,
        patches=16,
        patch_points=16,
        regions=4,
        width=32,
        heads=2,
        point_layers=1,
        text_layers=1,
        embedding=32,
        pair_width=32,
    ),
    "small": ModelConfig(),
    "base": ModelConfig(
        patches=128,
        width=384,
        heads=6,
        point_layers=12,
        text_layers=4,
        embedding=512,
        pair_width=256,
    ),
}

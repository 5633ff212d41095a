"""The alignment model: text and point encoders, hierarchical attention fusion. Tensors in, tensors out."""

from models.alignment import AlignmentModel, TextEmbedding
from models.calibration import Calibration
from models.config import SIZES, ModelConfig
from models.haf import AttentionOutput, AttentionState, HierarchicalAttentionFusion
from models.points import LEVELS, OBJECT_NODES, PointEncoder, PointHierarchy
from models.shapes import ShapeBatch, prepare_shapes
from models.text import TextEncoder, TextFeatures

__all__ = [
    "LEVELS",
    "OBJECT_NODES",
    "SIZES",
    "AlignmentModel",
    "AttentionOutput",
    "AttentionState",
    "Calibration",
    "HierarchicalAttentionFusion",
    "ModelConfig",
    "PointEncoder",
    "PointHierarchy",
    "ShapeBatch",
    "TextEmbedding",
    "TextEncoder",
    "TextFeatures",
    "prepare_shapes",
]

"""The alignment model: text and point encoders, hierarchical attention fusion. Tensors in, tensors out."""

from models.alignment import AlignmentModel, TextEmbedding
from models.calibration import Calibration
from models.config import SIZES, ModelConfig
from models.haf import AttentionOutput, AttentionState, HierarchicalAttentionFusion
from models.library import Library, fine_hubness
from models.memory import AlignmentMemory, LibraryEvidence
from models.points import LEVELS, OBJECT_NODES, PointEncoder, PointHierarchy
from models.shapes import ShapeBatch, prepare_shapes
from models.text import TextEncoder, TextFeatures

__all__ = [
    "LEVELS",
    "OBJECT_NODES",
    "SIZES",
    "AlignmentMemory",
    "AlignmentModel",
    "AttentionOutput",
    "AttentionState",
    "Calibration",
    "HierarchicalAttentionFusion",
    "Library",
    "LibraryEvidence",
    "ModelConfig",
    "PointEncoder",
    "PointHierarchy",
    "ShapeBatch",
    "TextEmbedding",
    "TextEncoder",
    "TextFeatures",
    "fine_hubness",
    "prepare_shapes",
]

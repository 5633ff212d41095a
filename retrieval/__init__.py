"""Finding shapes for texts: exact search, quality measures; arrays in, ids out, nothing of the model.

`ErsIndex` (``ers.py``) is the hierarchical index, `FlatIndex` its yardstick; each fulfils `Retriever`.
"""

from retrieval.ers import ErsIndex
from retrieval.ers_metadata import Between
from retrieval.flat import FlatIndex
from retrieval.hierarchy import SemanticHierarchy
from retrieval.metrics import mean_reciprocal_rank, ranks_from_ids, ranks_from_scores, recall_at_k, summarise
from retrieval.protocol import Retriever

__all__ = [
    "Between",
    "ErsIndex",
    "FlatIndex",
    "Retriever",
    "SemanticHierarchy",
    "mean_reciprocal_rank",
    "ranks_from_ids",
    "ranks_from_scores",
    "recall_at_k",
    "summarise",
]

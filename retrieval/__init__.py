"""Finding shapes for texts: exact search, quality measures; arrays in, ids out, nothing of the model.

Room is kept here for the hierarchical index (``hierarchy.py``, ``ers.py``) and its rivals: each is one file
with a class that fulfils `Retriever`.
"""

from retrieval.flat import FlatIndex
from retrieval.metrics import mean_reciprocal_rank, ranks_from_ids, ranks_from_scores, recall_at_k, summarise
from retrieval.protocol import Retriever

__all__ = [
    "FlatIndex",
    "Retriever",
    "mean_reciprocal_rank",
    "ranks_from_ids",
    "ranks_from_scores",
    "recall_at_k",
    "summarise",
]

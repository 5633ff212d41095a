"""Indexes of vectors and measures of retrieval: arrays in, ids out, nothing of the model.

`ErsIndex` is the hierarchical index, `FlatIndex` the exact reference; both fulfill `Retriever`.
"""

from retrieval.engines import ENGINES, MissingEngineError, make_index, register_engine
from retrieval.engines.exact import FlatIndex
from retrieval.ers.hierarchy import SemanticHierarchy
from retrieval.ers.index import ErsIndex
from retrieval.ers.metadata import Between
from retrieval.ers.node_labels import describe, name_nodes
from retrieval.memory.known_pairs import KnownPairs
from retrieval.memory.memory_index import MemoryIndex
from retrieval.metrics import (
    mean_reciprocal_rank,
    ndcg_at_k,
    ranks_from_ids,
    ranks_from_scores,
    recall_at_k,
    summarize,
)
from retrieval.protocol import Retriever
from retrieval.reranker import Reranker, rerank
from retrieval.sharding.replica_set import ShardDownError
from retrieval.sharding.sharded_index import ShardedIndex

__all__ = [
    "ENGINES",
    "Between",
    "ErsIndex",
    "FlatIndex",
    "KnownPairs",
    "MemoryIndex",
    "MissingEngineError",
    "Reranker",
    "Retriever",
    "SemanticHierarchy",
    "ShardDownError",
    "ShardedIndex",
    "describe",
    "make_index",
    "mean_reciprocal_rank",
    "name_nodes",
    "ndcg_at_k",
    "ranks_from_ids",
    "ranks_from_scores",
    "recall_at_k",
    "register_engine",
    "rerank",
    "summarize",
]

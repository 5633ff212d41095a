"""Metrics of a served index in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from experiments.index_server.protocol import ServedIndex
from experiments.index_server.query_batcher import QueryBatcher

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_QUERIES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class ServiceMetrics:
    """Counts of requests, and what the index says of itself when it is asked.

    Args:
        index: What is served.

    Attributes:
        requests: By route and status.
        seconds: By route.
        batches: Queries that were searched together.
        batcher: Batcher whose waiting requests are counted; set once it is there.
    """

    def __init__(self, index: ServedIndex) -> None:
        registry = CollectorRegistry()
        self.requests = Counter(
            "index_requests", "Requests answered.", ["route", "status"], registry=registry
        )
        self.seconds = Histogram(
            "index_request_seconds",
            "Seconds of a request.",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.batches = Histogram(
            "index_batch_queries", "Queries searched together.", buckets=_QUERIES, registry=registry
        )
        self.batcher: QueryBatcher | None = None
        self._index = index
        registry.register(self)
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        """The numbers of this moment; Prometheus' own protocol."""
        yield GaugeMetricFamily("index_vectors", "Vectors in the index.", value=len(self._index))
        live = GaugeMetricFamily("index_replicas_live", "Replicas that live, by shard.", labels=["shard"])
        for shard, count in enumerate(self._index.live()):
            live.add_metric([str(shard)], count)
        yield live
        waiting = 0 if self.batcher is None else self.batcher.count
        yield GaugeMetricFamily("index_requests_waiting", "Requests waiting or under way.", value=waiting)
        for name, value in self._index.facts().items():
            yield GaugeMetricFamily(f"index_{name}", name.replace("_", " ") + ".", value=value)

    def text(self) -> bytes:
        """All of them."""
        return generate_latest(self._registry)

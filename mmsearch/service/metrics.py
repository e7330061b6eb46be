"""Prometheus metrics. Each application has its own registry."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """The service's counters; `status` supplies the index sizes at every scrape."""

    def __init__(self, status: Callable[[], Mapping[str, Any]]) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "mmsearch_http_requests", "Requests answered.",
            ["method", "route", "status"], registry=self.registry,
        )  # fmt: skip
        self.seconds = Histogram(
            "mmsearch_http_request_seconds", "Time until the answer was sent.",
            ["route"], buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self.batch_size = Histogram(
            "mmsearch_query_batch_size", "Queries encoded in one call.",
            buckets=_SIZES, registry=self.registry,
        )  # fmt: skip
        self.batch_seconds = Histogram(
            "mmsearch_query_batch_seconds", "Time that one batch of queries took.",
            buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self.waiting = Gauge(
            "mmsearch_queries_waiting", "Queries that no batch has taken yet.",
            registry=self.registry,
        )  # fmt: skip
        self.registry.register(_LibraryCollector(status))

    def observe_batch(self, size: int, seconds: float) -> None:
        self.batch_size.observe(size)
        self.batch_seconds.observe(seconds)

    def observe_request(self, method: str, route: str, status: int, seconds: float) -> None:
        self.requests.labels(method, route, str(status)).inc()
        self.seconds.labels(route).observe(seconds)

    def exposition(self) -> bytes:
        """The text format; reads SQL, so it belongs in a thread."""
        return generate_latest(self.registry)


class _LibraryCollector:
    """Sizes of the library, read when they are asked for."""

    def __init__(self, status: Callable[[], Mapping[str, Any]]) -> None:
        self._status = status

    def describe(self) -> Iterable[Metric]:
        """Nothing: so that registering does not already read the library."""
        return ()

    def collect(self) -> Iterable[Metric]:
        status = self._status()
        for name, what in (("sources", "Sources"), ("segments", "Segments")):
            yield GaugeMetricFamily(
                f"mmsearch_{name}", f"{what} in the library.", value=float(status[name])
            )
        vectors = GaugeMetricFamily(
            "mmsearch_vectors", "Vectors in SQL.", labels=["space"]
        )  # fmt: skip
        for space, count in status["vectors"].items():
            vectors.add_metric([space], float(count))
        yield vectors
        size = GaugeMetricFamily(
            "mmsearch_index_size", "Vectors that the index answers from.", labels=["space", "type"]
        )
        generation = GaugeMetricFamily(
            "mmsearch_index_generation", "Published snapshots.", labels=["space"]
        )
        for space, index in status["index"].items():
            size.add_metric([space, str(index["type"])], float(index["size"]))
            generation.add_metric([space], float(index["generation"]))
        yield size
        yield generation

"""What a server tells Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

if TYPE_CHECKING:
    from collections.abc import Callable

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Counters of one server, in a registry of its own."""

    def __init__(self, sessions: Callable[[], int]) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self.answers = Counter("portbev_answers", "Answers to /predict by HTTP status", ["status"], registry=registry)
        self.seconds = Histogram(
            "portbev_answer_seconds", "From a request's first byte to its answer", buckets=_SECONDS, registry=registry
        )
        self.model_seconds = Histogram(
            "portbev_model_seconds", "Computation of a batch by the model", buckets=_SECONDS, registry=registry
        )
        self.batch = Histogram("portbev_batch_size", "Requests computed together", buckets=_SIZES, registry=registry)
        self.inside = Gauge("portbev_requests_inside", "Requests read, waiting or computed now", registry=registry)
        self.boxes = Counter("portbev_boxes", "Boxes in answers", registry=registry)
        Gauge("portbev_sessions", "Drives that are remembered", registry=registry).set_function(sessions)

    def text(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self.registry)

"""What Prometheus reads at /metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """Counters of one server, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "birefnet_requests", "Requests by answer; 499: hung up.", ["route", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "birefnet_request_seconds",
            "From a request's beginning to its answer's end.",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._stages = Histogram(
            "birefnet_stage_seconds",
            "What one picture took, by stage: read, load (of a model not yet loaded), wait (for the network), network, "
            "cut (with the two before), write.",
            ["stage"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._pictures = Counter("birefnet_pictures", "Pictures cut out.", ["model"], registry=self.registry)

    def watch(self, name: str, text: str, value: Callable[[], float]) -> None:
        """A gauge that asks for its value when it is read."""
        Gauge(name, text, registry=self.registry).set_function(value)

    def count(self, route: str, status: int, seconds: float) -> None:
        """A request was answered."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def picture(self, model: str, seconds: Mapping[str, float]) -> None:
        """A picture was cut out."""
        self._pictures.labels(model).inc()
        for stage, spent in seconds.items():
            self._stages.labels(stage).observe(spent)

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self.registry)

"""What recorders recorded, as a cumulative reader of the SDK shows it: the oracle of the genai tests."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, Metric

ACTIVE = "gen_ai.client.active_requests"
DURATION = "gen_ai.client.operation.duration"
TOKENS = "gen_ai.client.token.usage"
FIRST = "gen_ai.client.operation.time_to_first_chunk"
PER_CHUNK = "gen_ai.client.operation.time_per_output_chunk"


class Recorded:
    """A provider and what its instruments hold."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self.provider = MeterProvider([self._reader], shutdown_on_exit=False)

    def metrics(self) -> dict[str, Metric]:
        """Every metric with points, by name."""
        data = self._reader.get_metrics_data()
        return {
            metric.name: metric
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def points(self, name: str) -> list[Any]:
        """The points of a metric; none if it has not been recorded."""
        metrics = self.metrics()
        return list(metrics[name].data.data_points) if name in metrics else []

    def point(self, name: str, **attributes: object) -> Any:
        """The only point of a metric that has these attributes, underscores standing for full stops."""
        wanted = {key.replace("__", "."): value for key, value in attributes.items()}
        (point,) = (
            point for point in self.points(name) if wanted.items() <= dict(point.attributes or {}).items()
        )
        return point

    def count(self, name: str) -> int:
        """How many times a histogram was recorded."""
        return sum(point.count for point in self.points(name))

    def total(self, name: str) -> float:
        """The sum of all values of a counter."""
        return sum(point.value for point in self.points(name))

    def errors(self, name: str = DURATION) -> list[str | None]:
        """The error types of a histogram's points, sorted; None for none."""
        found = [(point.attributes.get("error.type"), point.count) for point in self.points(name)]
        return sorted((error for error, count in found for _ in range(count)), key=lambda error: error or "")

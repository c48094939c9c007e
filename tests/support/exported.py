"""An application whose reader has export views, and beside it a cumulative reader of the SDK as oracle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from metrics_messages import decode
from opentelemetry import trace
from opentelemetry.sdk.metrics import AlwaysOnExemplarFilter, MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import View
from opentelemetry.sdk.resources import Resource
from oracles import OPENMETRICS, parse

from otel_prom_bridge import Exemplars, ExportView, PrometheusMetricReader
from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.testing.probe import ALONE

PROTOBUF = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
TYPES = ("counter", "gauge", "summary", "untyped", "histogram")  # by their numbers in metrics.proto

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Application:
    """A provider with our reader and a cumulative one.

    ``sdk``: with the SDK Views of our policy. ``exemplars``: the SDK offers one for every measurement in a
    span, of which the reader holds what ``hold`` says.
    """

    def __init__(
        self,
        *views: ExportView,
        sdk: bool = False,
        beside: Sequence[View] = (),
        exemplars: bool = False,
        hold: Exemplars | bool = True,
        **options: Any,
    ) -> None:
        self.reader = PrometheusMetricReader(views=views, exemplars=hold, **{**ALONE, **options})
        # It records histograms as our reader does, if it is to be compared with what our views want.
        preferred = self.reader.policy.preferred_aggregations(Findings(most=0)) if sdk else {}
        self.reference = InMemoryMetricReader(preferred_aggregation={**preferred})
        self.provider = MeterProvider(
            [self.reader, self.reference],
            views=[*beside, *(self.reader.policy.sdk_views(beside=beside) if sdk else ())],
            resource=Resource({}),
            exemplar_filter=AlwaysOnExemplarFilter() if exemplars else None,
            shutdown_on_exit=False,
        )
        self.meter = self.provider.get_meter("test")

    def text(self, accept: str | None = None) -> str:
        return self.reader.expose(accept).body.decode()

    def samples(self, accept: str | None = OPENMETRICS) -> Series:
        """Every sample but ``_created``, as an independent parser reads it."""
        return {(s.name, frozenset(s.labels.items())): s.value for s in self.parsed(accept)}

    def labelled(self, name: str) -> list[dict[str, str]]:
        """The labels of all samples of this name."""
        return [sample.labels for sample in self.parsed(OPENMETRICS) if sample.name == name]

    def values(self, name: str, label: str | None = None) -> dict[Any, float]:
        """The values of all samples of this name by the value of a label (None: not there), added up."""
        found: dict[Any, float] = {}
        for sample in self.parsed(OPENMETRICS):
            if sample.name == name:
                key = sample.labels.get(label or "")
                found[key] = found.get(key, 0) + sample.value
        return found

    def exemplars(self, name: str) -> list[dict[str, str]]:
        """The labels of all exemplars of samples of this name, without the ids of the trace."""
        ids = {"trace_id", "span_id"}
        return [
            {key: value for key, value in sample.exemplar.labels.items() if key not in ids}
            for sample in self.parsed(OPENMETRICS)
            if sample.name == name and sample.exemplar
        ]

    def parsed(self, accept: str | None) -> list[Any]:
        exposition = self.reader.expose(accept)
        families = parse(exposition.content_type, exposition.body)
        return [sample for family in families for sample in family.samples]

    def types(self) -> dict[str, dict[str, str]]:
        """The type of each family in text, OpenMetrics and protobuf; names as protobuf has them."""
        messages = decode(self.reader.expose(PROTOBUF).body)
        types = {"protobuf": {item.name: TYPES[item.type] for item in messages}}
        for form, accept in (("text", None), ("openmetrics", OPENMETRICS)):
            lines = (line.split() for line in self.text(accept).splitlines() if line.startswith("# TYPE"))
            types[form] = {line[2]: line[3] for line in lines}
        return types

    def recorded(self, name: str) -> Iterator[tuple[dict[str, Any], Any]]:
        """What the cumulative reader has of an instrument: attributes and point."""
        self.reference.get_metrics_data()  # else the first answer may be what a flush left
        data = self.reference.get_metrics_data()
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    if metric.name == name:
                        yield from ((dict(p.attributes), p) for p in metric.data.data_points)


def in_span(trace_id: int = 1, span_id: int = 2) -> Any:
    """A context in which measurements get exemplars."""
    flags = trace.TraceFlags(trace.TraceFlags.SAMPLED)
    context = trace.SpanContext(trace_id, span_id, is_remote=False, trace_flags=flags)
    return trace.use_span(trace.NonRecordingSpan(context))


def selecting(instrument_name: str, **fields: Any) -> ExportView:
    """A view of the streams of this name."""
    return ExportView(instrument_name=instrument_name, **fields)

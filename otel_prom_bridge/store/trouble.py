"""What could not be taken in: it is said once, it costs nothing but itself, and all the rest goes on."""

from __future__ import annotations

from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.interrupts import keep
from otel_prom_bridge.points import Stream


def stream_failed(findings: Findings, key: Stream, error: BaseException) -> None:
    """All points that a batch has of this stream are lost."""
    findings.report(("stream", key.name, type(error)), "metric %r could not be taken in: %r", key.name, error)
    keep(error)


def point_failed(findings: Findings, key: Stream, error: BaseException) -> None:
    """A point of this stream is lost, or waits for the next time."""
    findings.report(
        ("point", key.name, type(error)),
        "a point of metric %r of scope %r could not be taken in: %r",
        *(key.name, key.scope.name, error),
    )
    keep(error)

"""Where a family comes from: its streams, their views, and one series step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_prom_bridge.explorer.as_json import Json, labels, text, texts
from otel_prom_bridge.families import Labels
from otel_prom_bridge.report.facts import Facts, Recorded, StreamOrigin

if TYPE_CHECKING:
    from otel_prom_bridge.pipeline.inside import Inside

_OURS = ("otel_prom_bridge_", "otel_sdk_", "otel.sdk.")


def origin_answer(name: str, inside: Inside | None, facts: Facts | None, wanted: Labels | None) -> Json:
    """Where a family comes from; with ``wanted`` its series with these labels, too."""
    streams = inside.origin(name, wanted).streams if inside is not None else ()
    instruments = {stream.instrument for stream in streams}
    conflicts = facts.conflicts if facts is not None else ()
    failures = facts.failures if facts is not None else ()
    return {
        "family": text(name),
        "from": _from(name, inside, streams),
        "streams": [_stream(stream) for stream in streams],
        "labels": None if wanted is None else labels(wanted),
        "conflicts": [
            {"family": text(item.metric), "dropped": text(item.dropped), "reason": text(item.reason)}
            for item in conflicts
            if item.metric == name
        ],
        "failures": [
            {**item._asdict(), "instrument": text(item.instrument), "error": text(item.error)}
            for item in failures
            if item.instrument in instruments
        ],
    }


def _from(name: str, inside: Inside | None, streams: tuple[StreamOrigin, ...]) -> str:
    """In one word who makes the family."""
    if inside is None:
        return "exposition"
    if streams:
        return "instrument"
    if name == "target_info":
        return "resource"
    return "bridge" if name.startswith(_OURS) else "collector"


def _stream(stream: StreamOrigin) -> Json:
    return {
        "instrument": text(stream.instrument),
        "kind": stream.kind,
        "unit": text(stream.unit),
        "description": text(stream.description),
        "scope": texts(stream.scope),
        "service": texts(stream.service),
        "tier": stream.tier,
        "view": text(stream.view),
        "take": stream.take,
        "steps": [text(step) for step in stream.steps],
        "attributes": [
            {"key": text(fate.key), "label": text(fate.label), "why": text(fate.why)}
            for fate in stream.attributes
        ],
        "series": stream.series,
        "rejected": stream.rejected,
        "folds": [
            {"label": text(label), "rule": text(rule), "points": points}
            for (label, rule), points in stream.folds.items()
        ],
        "recorded": [_recorded(item) for item in stream.recorded],
    }


def _recorded(item: Recorded) -> Json:
    return {
        "attributes": texts(item.attributes),
        "steps": [
            {
                "name": text(step.name),
                "before": None if step.before is None else text(step.before),
                "becomes": text(step.becomes),
                "after": None if step.after is None else text(step.after),
                "why": text(step.why),
            }
            for step in item.steps
        ],
    }

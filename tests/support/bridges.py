"""Bridges of `start()` that show at once what was recorded, and what a scrape of them shows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from oracles import OPENMETRICS, parse
from prometheus_client import Metric

from otel_prom_bridge import Bridge, start


@contextmanager
def running(**options: Any) -> Iterator[Bridge]:
    """A bridge on a free port that has only what a test records, without labels of the scope."""
    quiet = {"self_metrics": False, "scope_info_enabled": False, "collect_interval": 0}
    with start(port=0, addr="127.0.0.1", set_global=False, **{**quiet, **options}) as bridge:
        yield bridge


def families_of(bridge: Bridge) -> dict[str, Metric]:
    """The families of a scrape by their names; nothing may be in conflict."""
    shown = bridge.reader.expose(OPENMETRICS)
    assert bridge.reader.conflicts() == []
    return {family.name: family for family in parse(shown.content_type, shown.body)}


def labels_of(family: Metric) -> set[str]:
    """The names of all labels that its series have, without that of buckets."""
    return {label for sample in family.samples for label in sample.labels} - {"le"}

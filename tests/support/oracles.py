"""Independent judges of what the bridge writes: strict parsers."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from functools import lru_cache
from typing import Any

import prometheus_client.openmetrics.parser
import prometheus_client.parser
from openmetrics2 import parse2
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.samples import Sample

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
# Of lines and of their labels. More would be in the way of tests that collect garbage.
_REMEMBERED = 4096
_caches: list[Any] = []


def _remember_lines() -> None:
    """Let the parsers read no line twice, of which the texts that tests produce have most in common.

    They look at each character in Python, which took a third of the time of many tests. What they say of a
    line depends on nothing else, and what they say of lines together they find anew.
    """
    for module in (prometheus_client.openmetrics.parser, prometheus_client.parser):
        for name in ("parse_labels", "_parse_sample", "_parse_nh_sample", "_split_quoted"):
            if hasattr(module, name):
                setattr(module, name, _remembering(getattr(module, name)))


def _remembering(read: Callable[..., Any]) -> Callable[..., Any]:
    remembered = lru_cache(_REMEMBERED)(read)
    _caches.append(remembered)

    def again(*given: object) -> Any:
        """With labels of its own, since callers take some of them out."""
        found = remembered(*given)
        if isinstance(found, Sample):
            return found._replace(labels=copy(found.labels))
        return copy(found)

    return again


_remember_lines()


def parse(content_type: str, body: bytes) -> list[Metric]:
    """Parse an exposition with prometheus_client's parser for its format; a fault is a ValueError.

    OpenMetrics 2.0, which that does not read, is judged by the specification's grammar, and gives nothing.
    """
    families = [copy(family) for family in _families(content_type, body)]
    for family in families:
        family.samples = family.samples[:]
    return families


@lru_cache(8)  # what a test looks at was judged just before
def _families(content_type: str, body: bytes) -> list[Metric]:
    if "version=2.0.0" in content_type:
        parse2(body.decode())
        return []
    parser = parse_openmetrics if content_type.startswith("application/openmetrics") else parse_text
    families = list(parser(body.decode()))
    series: set[tuple[str, frozenset[tuple[str, str]], object]] = set()
    for family in families:
        for sample in family.samples:
            key = (
                sample.name,
                frozenset(sample.labels.items()),
                sample.timestamp and float(sample.timestamp),
            )
            if key in series:
                raise ValueError(f"duplicate series {key}")
            series.add(key)
    names = [family.name for family in families]
    if len(set(names)) != len(names):
        raise ValueError(f"a family appears twice: {names}")
    return families


_caches.append(_families)


def forget() -> None:
    """Remember nothing of what was read, for tests that count the objects that there are."""
    for cache in _caches:
        cache.cache_clear()


def samples(content_type: str, body: bytes) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample's value, by name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse(content_type, body)
        for sample in family.samples
    }

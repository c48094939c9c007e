"""Could a Prometheus scrape it? The endpoint is asked as Prometheus 2 and 3 ask."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

from otel_prom_bridge.doctor.symptoms import Symptom
from otel_prom_bridge.errors import ExpositionError
from otel_prom_bridge.families import MetricFamily
from otel_prom_bridge.snapshots.fetching import fetch
from otel_prom_bridge.snapshots.reading import ReadExposition, read

# What the two send: scrape/scrape.go and config/config.go of v2.53 and v3.5.
# https://github.com/prometheus/prometheus/blob/v3.5.0/config/config.go
SCRAPERS = {
    "Prometheus 2": "application/openmetrics-text;version=1.0.0;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
    "Prometheus 3": "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,"
    "text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
    "Prometheus 3 with native histograms": "application/vnd.google.protobuf;proto=io.prometheus.client."
    "MetricFamily;encoding=delimited;q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;"
    "q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
}
_OURS = "otel_prom_bridge_"
_CERTIFICATE = f"{_OURS}certificate_expiry_timestamp_seconds"
_SOON = 14  # days, as in the alert


def examine_scrapes(url: str, *, timeout: float, headers: Mapping[str, str]) -> Iterator[Symptom]:
    """Ask the endpoint, and judge its answers."""
    last: ReadExposition | None = None
    for scraper, accept in SCRAPERS.items():
        try:
            fetched = fetch(url, timeout=timeout, headers=headers, accept=accept)
        except ExpositionError as error:
            yield Symptom("problem", "endpoint", str(error), _remedy(str(error)))
            return
        found = read(fetched.body, fetched.content_type)
        errors = [finding for finding in found.findings if finding.severity == "error"]
        if errors:
            remedy = f"otel-prom-bridge check {url}"
            yield Symptom("problem", "endpoint", f"{scraper} could not read it: {errors[0]}", remedy)
        elif not fetched.content_type:
            yield Symptom("problem", "endpoint", f"{scraper} gets no Content-Type, so version 3 refuses it")
        else:
            kind = fetched.content_type.partition(";")[0]
            yield Symptom("ok", "endpoint", f"{scraper} gets {len(found.families):,} metrics as {kind}")
            last = found if "openmetrics" in kind else last
    if last is not None:
        yield from _contents(last.families)
        yield from _certificate(last.families)


def _certificate(families: tuple[MetricFamily, ...]) -> Iterator[Symptom]:
    for point in (point for family in families if family.name == _CERTIFICATE for point in family.points):
        days = (getattr(point, "value", 0) - time.time()) / 86400
        if days < _SOON:
            remedy = (
                "put a new one and its key in the place of the old ones; the endpoint reads them by itself"
            )
            yield Symptom("problem", "certificate", f"it ends in {days:.1f} days", remedy)
        else:
            yield Symptom("ok", "certificate", f"it ends in {days:,.0f} days")


def _contents(families: tuple[MetricFamily, ...]) -> Iterator[Symptom]:
    names = {family.name for family in families}
    own = [family for family in families if not family.name.startswith((_OURS, "otel_sdk_", "target_info"))]
    if any(name.startswith(_OURS) for name in names) and not any(family.points for family in own):
        yield Symptom(
            "problem",
            "recordings",
            "the bridge is there, and nothing was recorded yet",
            "get the meter with opentelemetry.metrics.get_meter, and record something",
        )
    histograms = [family for family in own if family.kind.value in ("histogram", "counter") and family.points]
    if histograms and not any(_has_exemplars(family) for family in histograms):
        yield Symptom(
            "note",
            "exemplars",
            "there are none: nothing was recorded within a sampled span",
            "set a TracerProvider, and start Prometheus with --enable-feature=exemplar-storage",
        )
    elif histograms:
        yield Symptom("ok", "exemplars", "there are some; Prometheus keeps them with exemplar-storage")


def _has_exemplars(family: MetricFamily) -> bool:
    return any(getattr(point, "exemplar", None) or getattr(point, "exemplars", ()) for point in family.points)


def _remedy(message: str) -> str:
    if "nothing listens" in message:
        return "is the application running? the log of otel_prom_bridge says where it listens"
    return ""

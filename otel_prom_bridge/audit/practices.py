"""What names, units, types and help texts should be like.

https://prometheus.io/docs/practices/naming/
https://prometheus.io/docs/instrumenting/writing_exporters/#naming
``promtool check metrics`` judges by the same rules; a test compares its judgement with ours.
"""

from __future__ import annotations

import re

from otel_prom_bridge.families import Kind, MetricFamily
from otel_prom_bridge.snapshots.findings import Faults

# Units, and the base units that they should be. Those that are their own base may have a prefix instead.
_BASE = ("amperes", "bytes", "celsius", "grams", "joules", "kelvin", "meters", "metres", "seconds", "volts")
_UNITS = {unit: unit for unit in _BASE}
_UNITS |= dict.fromkeys(("minutes", "hours", "days", "weeks"), "seconds")
_UNITS |= dict.fromkeys(("inches", "yards", "miles"), "meters")
_UNITS |= dict.fromkeys(("fahrenheit", "rankine"), "celsius")
_UNITS |= dict.fromkeys(("pounds", "ounces"), "grams")
_UNITS |= {"kelvins": "kelvin", "bits": "bytes", "calories": "joules"}
_PREFIXES = (
    *("pico", "nano", "micro", "milli", "centi", "deci", "deca", "hecto", "kilo", "mega", "giga", "tera"),
    *("peta", "kibi", "mebi", "gibi", "tebi", "pebi"),
)
_UNITS |= {f"{prefix}{unit}": base for prefix in _PREFIXES for unit, base in list(_UNITS.items())}
_ABBREVIATED = frozenset(["s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "tb", "pb", "m", "h", "d"])
_TYPES = frozenset({"counter", "gauge", "histogram", "summary"})
_CAMEL = re.compile(r"[a-z][A-Z]")
_HISTOGRAMS = (Kind.HISTOGRAM, Kind.GAUGE_HISTOGRAM)


def check_conventions(family: MetricFamily, faults: Faults) -> None:
    """Compare a family with what is agreed about names."""
    name = family.name
    if not family.help:
        faults.warning("help", name, "no help text")
    _check_suffixes(family, faults)
    _check_units(family, faults)
    for word in name.lower().split("_")[1:]:  # the first one is of whoever has the metric
        if word in _ABBREVIATED:
            faults.warning("unit", name, f"{word!r} is an abbreviation; say it in full, as in seconds")
        elif word == family.kind.value and word in _TYPES:
            faults.warning("naming", name, f"the name says its type, {word}")
    if _CAMEL.search(name):
        faults.warning("naming", name, "the name is written in camelCase, not in snake_case")
    if ":" in name:
        faults.warning("naming", name, "a colon is for the names of recording rules")
    _check_label_names(family, faults)


def _check_units(family: MetricFamily, faults: Faults) -> None:
    words = family.name.split("_")
    unit = next((word for word in words if word in _UNITS), "")  # one later on may be what it is about
    if unit and unit != _UNITS[unit]:
        hint = f"count in {_UNITS[unit]}; an ExportView with unit= converts"
        faults.warning("unit", family.name, f"{unit} is no base unit", hint=hint)
    elif "percent" in words:
        faults.warning("unit", family.name, "percent is no base unit", hint="a ratio goes from 0 to 1")


def _check_suffixes(family: MetricFamily, faults: Faults) -> None:
    name, kind = family.name, family.kind
    if kind is Kind.COUNTER and not name.endswith("_total"):
        faults.warning("naming", name, "a counter ends with _total")
    if kind not in (Kind.COUNTER, Kind.UNKNOWN) and name.endswith("_total"):
        faults.warning("naming", name, f"_total is for counters, and this is a {kind.value}")
    if kind is Kind.UNKNOWN:
        faults.warning("type", name, "no type; say whether it is a counter or a gauge")
        return
    if kind not in _HISTOGRAMS and name.endswith("_bucket"):
        faults.warning("naming", name, "_bucket is for histograms")
    if kind not in (*_HISTOGRAMS, Kind.SUMMARY) and name.endswith(("_count", "_sum")):
        faults.warning("naming", name, "_count and _sum are for histograms and summaries")


def _check_label_names(family: MetricFamily, faults: Faults) -> None:
    names = {name for point in family.points for name, _ in point.labels}
    for label in sorted(names):
        if _CAMEL.search(label):
            faults.warning("naming", family.name, f"the label {label} is written in camelCase")
    if family.kind is Kind.UNKNOWN:
        return
    if "le" in names and family.kind not in _HISTOGRAMS:
        faults.warning("label", family.name, "the label le is for histograms")
    if "quantile" in names and family.kind is not Kind.SUMMARY:
        faults.warning("label", family.name, "the label quantile is for summaries")

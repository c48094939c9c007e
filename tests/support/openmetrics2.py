"""The grammar of OpenMetrics 2.0, as the judge of what we write in it.

The rules are those of the specification's ABNF, as regular expressions. What the grammar takes becomes
samples, so that numbers can be compared however they are written.

https://github.com/prometheus/docs/blob/main/docs/specs/om/open_metrics_spec_2_0.md#abnf
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

REAL = r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|[0-9]*\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
NUMBER = rf"(?:{REAL}|[-+]?(?:[iI][nN][fF](?:[iI][nN][iI][tT][yY])?)|[nN][aA][nN])"
INTEGER = r"[-+]?[0-9]+"
ESCAPED = r'(?:[^\n"\\]|\\[^\n])'
METRIC_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
UTF8_NAME = rf'"{ESCAPED}+"'
LABEL = rf'(?:[a-zA-Z_][a-zA-Z0-9_]*|"{ESCAPED}+")="{ESCAPED}*"'
LABELS = rf"\{{(?:{LABEL}(?:,{LABEL})*)?\}}"

SPANS = rf"\[(?:{INTEGER}:[0-9]+(?:,[0-9]+:[0-9]+)*)?\]"
COUNTS = rf"\[(?:{NUMBER}(?:,{NUMBER})*)?\]"
NATIVE = (
    rf"schema:{INTEGER},zero_threshold:{REAL},zero_count:{NUMBER}"
    rf"(?:,negative_spans:{SPANS},negative_buckets:{COUNTS})?"
    rf"(?:,positive_spans:{SPANS},positive_buckets:{COUNTS})?"
)
CLASSIC = rf"bucket:\[(?:(?:-Inf|{REAL}):{NUMBER},(?:{REAL}:{NUMBER},)*)?\+Inf:{NUMBER}\]"
BUCKETS = rf"(?:{CLASSIC}|{NATIVE}(?:,{CLASSIC})?)"
VALUES = {
    "histogram": rf"\{{count:{NUMBER},sum:{NUMBER},{BUCKETS}\}}",
    "gaugehistogram": rf"\{{gcount:{NUMBER},gsum:{NUMBER},{BUCKETS}\}}",
    "summary": rf"\{{count:{NUMBER},sum:{NUMBER},quantile:\[(?:{REAL}:{NUMBER}(?:,{REAL}:{NUMBER})*)?\]\}}",
}
TYPES = {"counter", "gauge", "stateset", "info", "unknown", *VALUES}
EXEMPLAR = rf" # {LABELS} {NUMBER} {REAL}"
SAMPLE = re.compile(
    rf"(?:(?P<name>{METRIC_NAME})(?P<labels>{LABELS})?|\{{(?P<utf8>{UTF8_NAME})(?P<more>(?:,{LABEL})*)\}})"
    rf" (?P<value>{NUMBER}|\{{[^ ]*\}})(?: (?P<time>{REAL}))?(?: st@(?P<start>{REAL}))?"
    rf"(?P<exemplars>(?:{EXEMPLAR})*)"
)
METADATA = re.compile(rf"# (TYPE|UNIT|HELP) ({METRIC_NAME}|{UTF8_NAME}) (.*)")
ONE_LABEL = re.compile(rf'([a-zA-Z_][a-zA-Z0-9_]*|"{ESCAPED}+")="({ESCAPED}*)"')
ONE_EXEMPLAR = re.compile(rf" # ({LABELS}) ({NUMBER}) ({REAL})")
ONE_FIELD = re.compile(r"(\w+):(\[[^]]*\]|[^,\[]+)")


class Sample(NamedTuple):
    """One line: everything that it says, as numbers."""

    labels: frozenset[tuple[str, str]]
    value: Any
    time: float | None
    start: float | None
    exemplars: tuple[tuple[frozenset[tuple[str, str]], float, float], ...]


@dataclass
class Family:
    """A name with its metadata and its samples."""

    metadata: dict[str, str] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """The type; without one it is unknown."""
        return self.metadata.get("TYPE", "unknown")


def parse2(text: str) -> dict[str, Family]:
    """The families of an exposition by name; a ValueError for what the specification forbids."""
    if not text.endswith("# EOF\n"):
        raise ValueError("no # EOF at the end")
    families: dict[str, Family] = {}
    current = ""
    for line in text.split("\n")[:-2]:
        if found := METADATA.fullmatch(line):
            key, name, rest = found.groups()
            current = _entered(_plain(name), current, families)
            _add_metadata(families[current], key, rest)
        else:
            name, sample_of = _sample(line)
            current = _entered(name, current, families)
            _add_sample(families[current], sample_of(families[current].kind))
    for name, family in families.items():
        _check(name, family)
    return families


def _entered(name: str, current: str, families: dict[str, Family]) -> str:
    if name != current and name in families:
        raise ValueError(f"{name} is interleaved with {current}")
    families.setdefault(name, Family())
    return name


def _add_metadata(family: Family, key: str, text: str) -> None:
    if key in family.metadata or family.samples:
        raise ValueError(f"{key} twice, or after samples")
    if key == "TYPE" and text not in TYPES:
        raise ValueError(f"no type: {text}")
    if key == "UNIT" and not re.fullmatch(r"[a-zA-Z0-9_:]*", text):
        raise ValueError(f"no unit: {text}")
    if key == "HELP" and not re.fullmatch(rf"{ESCAPED}*", text):
        raise ValueError(f"no help text: {text}")
    family.metadata[key] = text


def _sample(line: str) -> tuple[str, Any]:
    found = SAMPLE.fullmatch(line)
    if found is None:
        raise ValueError(f"no sample: {line!r}")
    name = found["name"] or _plain(found["utf8"])
    labels = _labels(found["labels"] or found["more"] or "")
    exemplars = tuple(
        (_labels(labels), float(value), float(time))
        for labels, value, time in ONE_EXEMPLAR.findall(found["exemplars"])
    )
    time, start = (None if found[key] is None else float(found[key]) for key in ("time", "start"))
    return name, lambda kind: Sample(labels, _value(found["value"], kind), time, start, exemplars)


def _value(text: str, kind: str) -> Any:
    if kind not in VALUES:
        return float(text)
    if not re.fullmatch(VALUES[kind], text):
        raise ValueError(f"no value of a {kind}: {text}")
    return {key: _field(content) for key, content in ONE_FIELD.findall(text[1:-1])}


def _field(content: str) -> Any:
    if not content.startswith("["):
        return float(content)
    items = [item.split(":") for item in content[1:-1].split(",") if item]
    return [tuple(map(float, item)) for item in items]


def _add_sample(family: Family, sample: Sample) -> None:
    if sample.start is not None and family.kind not in ("counter", "histogram", "summary"):
        raise ValueError(f"a {family.kind} has no start")
    if any(sample.labels == other.labels and sample.time == other.time for other in family.samples):
        raise ValueError(f"the series {dict(sample.labels)} twice")
    family.samples.append(sample)


def _check(name: str, family: Family) -> None:
    unit = family.metadata.get("UNIT")
    if family.kind in ("info", "stateset") and unit:
        raise ValueError(f"{name}: a unit of a {family.kind}")
    if family.kind == "info" and not name.endswith("_info"):
        raise ValueError(f"{name}: an info that does not end with _info")
    for sample in family.samples:
        if family.kind in ("histogram", "gaugehistogram"):
            _check_histogram(name, sample)


def _check_histogram(name: str, sample: Sample) -> None:
    value = sample.value
    count = value.get("count", value.get("gcount"))
    limits = [limit for limit, _ in value.get("bucket", ())]
    if limits != sorted(set(limits)):
        raise ValueError(f"{name}: limits that do not ascend: {limits}")
    if "bucket" in value and value["bucket"][-1][1] != count:
        raise ValueError(f"{name}: {count} observations, but not in the last bucket")
    if "bucket" in value and any(key == "le" for key, _ in sample.labels):
        raise ValueError(f"{name}: a label le")
    if "schema" not in value:
        return
    total = value["zero_count"]
    for side in ("negative", "positive"):
        buckets, spans = value.get(f"{side}_buckets", []), value.get(f"{side}_spans", [])
        if sum(length for _, length in spans) != len(buckets):
            raise ValueError(f"{name}: {spans} are not {len(buckets)} buckets")
        total += sum(number for (number,) in buckets)
    if total != count:
        raise ValueError(f"{name}: {count} observations, but {total} in buckets")


def _labels(text: str) -> frozenset[tuple[str, str]]:
    pairs = [(_plain(name), _unescaped(value)) for name, value in ONE_LABEL.findall(text)]
    if len(dict(pairs)) != len(pairs):
        raise ValueError(f"a label twice in {text}")
    return frozenset(pairs)


def _plain(name: str) -> str:
    return _unescaped(name[1:-1]) if name.startswith('"') else name


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], text)

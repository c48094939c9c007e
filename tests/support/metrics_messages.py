"""Google's protobuf as the judge of our protobuf expositions: decoding them, and what scrapers check in them.

The classes are made from ``metrics.proto`` when this module is imported, so that no compiler is needed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2

_ITEM = re.compile(
    r"^(?P<block>message|enum) (?P<block_name>\w+) \{"
    r"|^  (?P<label>optional|repeated) (?P<type>[\w.]+) (?P<name>\w+) = (?P<number>\d+);"
    r"|^  (?P<constant>\w+) = (?P<value>\d+);",
    re.MULTILINE,
)
SCALARS = dict(descriptor_pb2.FieldDescriptorProto.Type.items())


def _message_classes(path: Path) -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(
        name=path.name,
        package="io.prometheus.client",
        syntax="proto2",
        dependency=["google/protobuf/timestamp.proto"],
    )
    field_proto = descriptor_pb2.FieldDescriptorProto
    block: Any = None
    for item in _ITEM.finditer(path.read_text()):
        if item["block"]:
            block = (file.message_type if item["block"] == "message" else file.enum_type).add()
            block.name = item["block_name"]
        elif item["constant"]:
            block.value.add(name=item["constant"], number=int(item["value"]))
        else:
            field = block.field.add(name=item["name"], number=int(item["number"]))
            field.label = field_proto.Label.Value(f"LABEL_{item['label'].upper()}")
            scalar = f"TYPE_{item['type'].upper()}"
            if scalar in SCALARS:
                field.type = SCALARS[scalar]
            else:  # a message or an enum: the pool finds out which
                field.type_name = item["type"]
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    messages = (pool.FindMessageTypeByName(f"{file.package}.{message.name}") for message in file.message_type)
    return {message.name: message_factory.GetMessageClass(message) for message in messages}


MESSAGES = _message_classes(Path(__file__).with_name("metrics.proto"))
MetricFamily = MESSAGES["MetricFamily"]


def decode(body: bytes) -> list[Any]:
    """The messages of a delimited exposition; raises ValueError for one that is wrong.

    Wrong is what is malformed, has a field that ``metrics.proto`` does not know, or fails a scrape.
    """
    families = list(_delimited(body))
    series: set[tuple[str, tuple[tuple[str, str], ...], int]] = set()
    for family in families:
        _check(family)
        for metric in family.metric:
            key = (family.name, labels(metric), metric.timestamp_ms)
            if key in series:
                raise ValueError(f"duplicate series {key}")
            series.add(key)
    return families


def labels(message: Any) -> tuple[tuple[str, str], ...]:
    """The labels of a Metric or an Exemplar as ours are."""
    return tuple((pair.name, pair.value) for pair in message.label)


def seconds(timestamp: Any) -> float:
    """A Timestamp as seconds since the epoch."""
    return float(timestamp.seconds + timestamp.nanos / 1e9)


def buckets(spans: Any, deltas: Any) -> dict[int, int]:
    """The counts of native buckets by index, without empty ones."""
    indexes: list[int] = []
    end = 0
    for span in spans:
        indexes += range(end + span.offset, end + span.offset + span.length)
        end += span.offset + span.length
    # "A mismatch fails the scrape": protobufparse.go
    pairs = zip(indexes, accumulate(deltas), strict=True)
    return {index: count for index, count in pairs if count}


def _delimited(body: bytes) -> Iterator[Any]:
    position = 0
    while position < len(body):
        size = shift = 0
        while True:
            byte = body[position]
            position += 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        if position + size > len(body):
            raise ValueError(f"a message of {size} bytes at {position} of {len(body)}")
        family = MetricFamily.FromString(body[position : position + size])
        known = MetricFamily.FromString(body[position : position + size])
        known.DiscardUnknownFields()
        if known.ByteSize() != family.ByteSize():
            raise ValueError(f"unknown fields in {family}")
        yield family
        position += size


def _check(family: Any) -> None:
    if not family.metric:
        raise ValueError(f"{family.name} has no metrics")
    if not family.HasField("type"):
        raise ValueError(f"{family.name} has no known type")
    base = family.name.removesuffix("_total") if family.type == 0 else family.name
    if family.unit and not base.endswith(f"_{family.unit}"):
        raise ValueError(f"unit {family.unit!r} is not the end of {family.name!r}")
    field = ("counter", "gauge", "summary", "untyped", "histogram", "histogram")[family.type]
    native = [metric for metric in family.metric if _is_native(metric.histogram)]
    if native and len(native) != len(family.metric):
        raise ValueError(f"{family.name}: classic and native histograms in one message")
    for metric in family.metric:
        names = {descriptor.name for descriptor, _ in metric.ListFields()} - {"label", "timestamp_ms"}
        if names != {field}:
            raise ValueError(f"{family.name}: {names} in a metric of type {field}")
        if len({pair.name for pair in metric.label}) != len(metric.label):
            raise ValueError(f"{family.name}: a label twice in {labels(metric)}")
        if field == "histogram":
            (_check_native if native else _check_classic)(metric.histogram)


def _is_native(histogram: Any) -> bool:
    """As protobufparse.go decides it."""
    spans = len(histogram.positive_span) + len(histogram.negative_span)
    return bool(spans or histogram.zero_threshold > 0 or histogram.zero_count)


def _check_classic(histogram: Any) -> None:
    bounds = [bucket.upper_bound for bucket in histogram.bucket]
    counts = [bucket.cumulative_count for bucket in histogram.bucket]
    if bounds != sorted(set(bounds)) or bounds[-1:] != [float("inf")]:
        raise ValueError(f"bounds are not ascending up to +Inf: {bounds}")
    if counts != sorted(counts) or counts[-1] != histogram.sample_count:
        raise ValueError(f"{counts} do not add up to {histogram.sample_count}")


def _check_native(histogram: Any) -> None:
    """What ``Histogram.Validate`` of Prometheus checks (model/histogram/histogram.go)."""
    if histogram.bucket:  # Both, which Prometheus reads as native, and as classic if it is told to.
        _check_classic(histogram)
    if not -4 <= histogram.schema <= 8:
        raise ValueError(f"no schema of native histograms: {histogram}")
    total = histogram.zero_count
    for spans, deltas in (
        (histogram.positive_span, histogram.positive_delta),
        (histogram.negative_span, histogram.negative_delta),
    ):
        if any(span.offset < 0 for span in spans[1:]):
            raise ValueError(f"an offset below zero in {spans}")
        counts = list(accumulate(deltas))
        if any(count < 0 for count in counts):
            raise ValueError(f"a count below zero in {counts}")
        total += sum(buckets(spans, deltas).values())
    if total != histogram.sample_count:
        raise ValueError(f"{histogram.sample_count} observations, but {total} in buckets")
    for exemplar in histogram.exemplars:
        if not exemplar.HasField("timestamp"):
            raise ValueError(f"an exemplar without a timestamp: {exemplar}")

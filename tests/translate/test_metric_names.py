"""OTel names and units become Prometheus names under the default strategy, UnderscoreEscapingWithSuffixes."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_prom_bridge.families import Kind
from otel_prom_bridge.points import Meaning, Stream
from otel_prom_bridge.translate import Translation
from otel_prom_bridge.translate.names import metric_name

LEGAL = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")

# prometheus/otlptranslator@51da77392288 metric_namer_test.go: name, unit, type, namespace, expected.
HEAD = [
    ("requests", "", "counter", "", "requests_total"),
    ("items", "1", "counter", "", "items_total"),
    ("response_time", "ms", "gauge", "", "response_time_milliseconds"),
    ("throughput", "By/s", "gauge", "", "throughput_bytes_per_second"),
    ("custom_metric", "custom_unit", "gauge", "", "custom_metric_custom_unit"),
    ("custom_metric", "{custom}", "gauge", "", "custom_metric"),
    ("requests_total", "", "counter", "", "requests_total"),
    ("cpu_usage_ratio", "1", "gauge", "", "cpu_usage_ratio"),
    ("response_time_seconds", "s", "gauge", "", "response_time_seconds"),
    ("requests", "1/s", "counter", "app", "app_requests_per_second_total"),
    ("123_requests", "", "counter", "app", "app_123_requests_total"),
    (
        "metric__with__multiple__underscores",
        "unit__multiple__underscores",
        "gauge",
        "",
        "metric_with_multiple_underscores_unit_multiple_underscores",
    ),
    ("request_size", "By", "exponential_histogram", "", "request_size_bytes"),
    ("response_time", "ms", "summary", "", "response_time_milliseconds"),
    ("timeout", "min", "gauge", "", "timeout_minutes"),
    ("memory", "MiBy", "gauge", "", "memory_mebibytes"),
    ("storage", "GiBy", "gauge", "", "storage_gibibytes"),
    ("voltage", "V", "gauge", "", "voltage_volts"),
    ("energy", "J", "gauge", "", "energy_joules"),
    ("power", "W", "gauge", "", "power_watts"),
    ("frequency", "Hz", "gauge", "", "frequency_hertz"),
    ("cpu_usage", "%", "gauge", "", "cpu_usage_percent"),
    ("requests", "1/m", "gauge", "", "requests_per_minute"),
    ("events", "1/h", "gauge", "", "events_per_hour"),
    ("reports", "1/w", "gauge", "", "reports_per_week"),
    ("custom", "1/custom_unit", "gauge", "", "custom_per_custom_unit"),
    ("metric", "By/", "gauge", "", "metric_bytes"),
    ("metric", " By / s ", "gauge", "", "metric_bytes_per_second"),
    ("http.request.duration", "ms", "histogram", "", "http_request_duration_milliseconds"),
    # the documentation example of metric_namer.go:157-162
    ("memory.usage", "By", "gauge", "", "memory_usage_bytes"),
]

# prometheus/otlptranslator@53ceaec28820 metric_name_builder_test.go, assertions that still hold at its HEAD.
HISTORICAL = [
    ("system.io", "By", "counter", "", "system_io_bytes_total"),
    ("\t system.filesystem.usage       ", "  By\t", "gauge", "", "system_filesystem_usage_bytes"),
    ("system.network.dropped", "{packets}", "gauge", "", "system_network_dropped"),
    ("system.network.packets", "packets", "gauge", "", "system_network_packets"),
    ("system.network.dropped", "packets", "counter", "", "system_network_dropped_packets_total"),
    ("system.network.packets", "packets", "counter", "", "system_network_packets_total"),
    ("objects", "1", "counter", "", "objects_total"),
    ("astro.light.speed_limit", "m/s", "gauge", "", "astro_light_speed_limit_meters_per_second"),
    ("broken.metric.success_percent", "%", "gauge", "", "broken_metric_success_percent"),
    (
        "active_directory.ds.replication.object.rate",
        "{objects}/s",
        "gauge",
        "",
        "active_directory_ds_replication_object_rate_per_second",
    ),
    (
        "active_directory.ds.name_cache.hit_rate",
        "%",
        "gauge",
        "",
        "active_directory_ds_name_cache_hit_rate_percent",
    ),
    ("apache.current_connections", "connections", "gauge", "", "apache_current_connections"),
    ("apache.workers", "connections", "gauge", "", "apache_workers_connections"),
    ("memcached.operation_hit_ratio", "%", "gauge", "", "memcached_operation_hit_ratio_percent"),
    (
        "mongodbatlas.process.asserts",
        "{assertions}/s",
        "gauge",
        "",
        "mongodbatlas_process_asserts_per_second",
    ),
    (
        "mongodbatlas.process.journaling.data_files",
        "MiBy",
        "gauge",
        "",
        "mongodbatlas_process_journaling_data_files_mebibytes",
    ),
    ("nginx.requests", "requests", "gauge", "", "nginx_requests"),
    ("redis.latest_fork", "us", "gauge", "", "redis_latest_fork_microseconds"),
    ("test", "", "gauge", "space", "space_test"),
    ("#test", "", "gauge", "space", "space_test"),
    ("network.io", "By", "counter", "system", "system_network_io_bytes_total"),
    ("3.14 digits", "", "gauge", "", "_3_14_digits"),
    ("envoy__rule_engine_zlib_buf_error", "", "gauge", "", "envoy_rule_engine_zlib_buf_error"),
    ("system.io", "foo/bar", "counter", "", "system_io_foo_per_bar_total"),
    ("metric_with_字符_foreign_characters", "", "counter", "", "metric_with_foreign_characters_total"),
]

# open-telemetry/opentelemetry-specification@1377f53b2bc0
# specification/metrics/sdk_exporters/prometheus.md:194-199
SPECIFICATION = [("foo.bar", "By", "counter", "", "foo_bar_bytes_total")]

# Rows of the same test files where design D3 decides otherwise; the expected values are ours.
OVERRULED = [
    # otlptranslator: cpu_usage_ratio and so on. "`1` → ratio" left the compatibility document in v1.56.0.
    ("cpu_usage", "1", "gauge", "", "cpu_usage"),
    ("hw.gpu.memory.utilization", "1", "gauge", "", "hw_gpu_memory_utilization"),
    ("system.cpu.load_average.15m", "1", "gauge", "", "system_cpu_load_average_15m"),
    # otlptranslator: error "resulted in empty name". We lose no data because of a name.
    ("@#$%", "", "gauge", "", "U___40__23__24__25_"),
]

# Where the compatibility document and otlptranslator part ways, the document is followed (D3).
DOCUMENT_OVER_TRANSLATOR = [
    # A unit is appended unless the name *ends* with it; otlptranslator: unless it is anywhere in the name.
    ("a.packets.dropped", "packets", "gauge", "", "a_packets_dropped_packets"),
    ("seconds.spent", "s", "counter", "", "seconds_spent_seconds_total"),
    ("requests_per_second", "1/s", "gauge", "", "requests_per_second"),
    # `_total` is appended unless the name ends with it and is never moved; otlptranslator moves it.
    ("requests.total.count", "", "counter", "", "requests_total_count_total"),
    ("total.requests", "", "counter", "", "total_requests_total"),
    # Only the portion in brackets is dropped; otlptranslator drops that whole side of the unit.
    ("io", "By{written}", "gauge", "", "io_bytes"),
    # Words of the document's table.
    ("disk", "TiBy", "gauge", "", "disk_tebibytes"),
    ("disk", "kBy", "gauge", "", "disk_kilobytes"),
]

# What follows from the rules without standing in a table of the references.
DERIVED = [
    # the unit is compared by whole words
    ("foo_milliseconds", "s", "gauge", "", "foo_milliseconds_seconds"),
    ("nanoseconds", "s", "gauge", "", "nanoseconds_seconds"),
    ("seconds", "s", "gauge", "", "seconds"),
    # a rate is completed, and not repeated
    ("read_bytes", "By/s", "gauge", "", "read_bytes_per_second"),
    ("read_bytes_per_second", "By/s", "gauge", "", "read_bytes_per_second"),
    # the unit comes before `_total`
    ("foo.total", "s", "counter", "", "foo_seconds_total"),
    ("foo_total", "By/s", "counter", "", "foo_bytes_per_second_total"),
    ("foo_seconds_total", "s", "counter", "", "foo_seconds_total"),
    # only counters have `_total`, and only at the end; a name that merely contains the letters has not
    ("foo.total", "s", "gauge", "", "foo_total_seconds"),
    ("total", "", "counter", "", "total_total"),
    ("subtotal", "", "counter", "", "subtotal_total"),
    ("foo.total.total", "", "counter", "", "foo_total_total"),
    # digits are prefixed, never replaced, and only at the start of the whole name
    ("1st", "", "gauge", "", "_1st"),
    ("2nd", "", "counter", "", "_2nd_total"),
    (".5", "s", "gauge", "", "_5_seconds"),
    ("1st", "", "gauge", "app", "app_1st"),
    # a digit of another script is a foreign character
    ("٣rd", "", "gauge", "", "rd"),
    # prefixes are names too
    ("requests", "", "counter", "my.app", "my_app_requests_total"),
    ("requests", "", "counter", "app_", "app_requests_total"),
    ("requests", "", "counter", "9lives", "_9lives_requests_total"),
    # a colon is legal
    ("job:requests", "", "gauge", "", "job:requests"),
    (":", "", "counter", "", ":_total"),
    # names that only an SDK view can make
    ("", "", "gauge", "", "U__"),
    ("___", "", "gauge", "", "U________"),
    ("火", "s", "counter", "", "U___706b__seconds_total"),
    ("foo\nbar", "", "gauge", "", "foo_bar"),
    ("foo\ud800", "", "gauge", "", "foo"),
]

TABLES = (HEAD, HISTORICAL, SPECIFICATION, OVERRULED, DOCUMENT_OVER_TRANSLATOR, DERIVED)


@pytest.mark.parametrize(
    ("name", "unit", "kind", "prefix", "expected"), [row for table in TABLES for row in table]
)
def test_name(name: str, unit: str, kind: str, prefix: str, expected: str) -> None:
    """A name, a unit and a kind give the name that the references, and our decisions between them, say."""
    assert metric_name(name, unit=unit, counter=kind == "counter", prefix=prefix) == expected


@given(name=st.text(), unit=st.text(), counter=st.booleans(), prefix=st.text())
@example(name="", unit="", counter=True, prefix="")
@example(name="\ud800", unit="\udfff", counter=False, prefix="")
@example(name="1", unit="1", counter=False, prefix="1")
def test_any_text_gives_a_legal_name(name: str, unit: str, counter: bool, prefix: str) -> None:
    """Whatever name, unit and prefix are, the result is a legal name, and a counter's ends in _total."""
    result = metric_name(name, unit=unit, counter=counter, prefix=prefix)
    assert LEGAL.fullmatch(result)
    assert result.endswith("_total") or not counter


@given(name=st.from_regex(r"[a-z._:0-9 ]*[a-z][a-z._:0-9 ]*", fullmatch=True), counter=st.booleans())
def test_underscores_do_not_repeat(name: str, counter: bool) -> None:
    """Runs of foreign characters and underscores become a single underscore."""
    assert "__" not in metric_name(name, unit="By/s", counter=counter, prefix="app_")


@given(
    name=st.text(st.sampled_from("ab1_.:")) | st.sampled_from(["total", "bytes", "a.bytes", "per_second"]),
    unit=st.sampled_from(["", "1", "s", "By", "By/s", "1/s", "{x}", "a b", "percent"]),
    counter=st.booleans(),
)
def test_a_translated_name_stays(name: str, unit: str, counter: bool) -> None:
    """Suffixes that a name ends with are not added again, so translating twice changes nothing."""
    once = metric_name(f"x{name}", unit=unit, counter=counter)
    assert metric_name(once, unit=unit, counter=counter) == once


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (Kind.COUNTER, "app_read_bytes_total"),
        (Kind.GAUGE, "app_read_bytes"),
        (Kind.HISTOGRAM, "app_read_bytes"),
    ],
)
def test_name_of_a_stream(kind: Kind, expected: str) -> None:
    """A stream's name takes its unit and kind into account, and the reader's prefix."""
    meaning = Meaning(kind, accumulates=True, additive=True)
    stream = Stream(InstrumentationScope("scope"), "read", "By", "", meaning)
    assert Translation(prefix="app").name(stream, counter=kind is Kind.COUNTER) == expected

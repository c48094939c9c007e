"""The page of other libraries' names: what it says is here is here."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from otel_prom_bridge.profiles import load_profile

PAGE = (Path(__file__).parents[2] / "docs" / "names.md").read_text()
# A name, and in brackets after it methods that it has.
NAMES = re.findall(r"`(otel_prom_bridge[\w.]*)(?:\(\))?`(?: \(([^)]*)\))?", PAGE)

# What the code blocks of the documents define or call: interfaces, classes, functions, methods, errors.
ASKED_FOR = """
    MetricsRegistry SubsystemRegistry Collector register unregister gather subsystem counter gauge
    histogram metrics clear CounterConfig GaugeConfig HistogramConfig MetricFamily MetricValue Metric
    Labels LabelSet Counter CounterVec Gauge GaugeVec Histogram HistogramVec inc inc_by get set dec add
    sub observe labels with_label_values remove_label_values start_timer startTimer HistogramTimer
    observe_duration LlmMetricsCollector LlmRequestParams RequestStatus record_request recordRequest
    record_streaming_chunk recordStreamingChunk record_error recordError AgentMetricsCollector
    ExecutionStatus record_execution_start recordExecutionStart record_execution_end recordExecutionEnd
    record_step recordStep record_tool_call recordToolCall set_active_agents setActiveAgents
    MetricsHandler MetricsRequest MetricsResponse handle config EndpointConfig MetricsEndpointConfig
    AuthConfig MockRegistry get_all_metrics get_metric assert_counter reset MetricsError
    RegistrationError DuplicateMetric InvalidMetricName InvalidLabelName CardinalityExceeded
    CollectionError CollectorFailed TimeoutExceeded ResourceExhausted SerializationError InvalidValue
    EncodingFailed CompressionFailed EndpointError BindFailed AuthenticationFailed RequestTimeout
    ConfigurationError InvalidAddress InvalidPath InvalidLabel CardinalityGuard MetricsConfig MockClock
    RuntimeCollector bench_counter_inc bench_counter_inc_with_labels bench_histogram_observe
    bench_histogram_observe_with_labels bench_serialize_100_metrics bench_serialize_10000_metrics
    bench_gzip_compress_1kb bench_gzip_compress_100kb METRICS Metrics encode TextEncoder
    metrics_middleware normalize_path metrics_handler metrics_routes Timer stop record_execution
    record_db_query record_cache_hit record_cache_miss update_business_metrics count_by_status Opts
    HistogramOpts init_metrics gather_metrics MetricsMiddleware MetricsInterceptor instrument_grpc!
    start_request success error LLMCallTracker IncidentTracker PlaybookTracker build_info MetricsLayer
    DurationGuard histogram! increment_counter set_gauge MetricsRecorder observe_histogram record
    BusinessMetrics experiment_created experiment_run experiment_duration experiment_completed
    model_registered dataset_uploaded evaluation_processed SystemMetrics record_start_time update_all
    DatabaseMetrics record_query record_query_error set_active_connections Installation NotInitialized
    Render
"""
INSTRUMENTS = re.findall(r"of the profile `(\w+)`: (.+) \|", PAGE)


def test_every_name_is_there() -> None:
    """Of all that the documents show in code, the left column has the name."""
    left = "\n".join(line.split(" | ")[0] for line in PAGE.splitlines() if line.startswith("| "))
    there = set(re.findall(r"\w+!?", left))
    assert set(ASKED_FOR.split()) - there == set()


@pytest.mark.parametrize(("profile", "named"), INSTRUMENTS)
def test_instruments_of_profiles_exist(profile: str, named: str) -> None:
    """What a row says of a profile's own instruments is so."""
    specs = {spec.name for spec in load_profile(profile).own_instruments}
    wanted = re.findall(r"`([\w.]+)`", named)
    assert wanted
    assert set(wanted) <= specs


@pytest.mark.parametrize(("name", "methods"), NAMES, ids=[name for name, _ in NAMES])
def test_names_exist(name: str, methods: str) -> None:
    """Each class and function of the right column exists, is public, and has the methods in brackets."""
    module, _, last = name.rpartition(".")
    assert last in importlib.import_module(module).__all__
    found = getattr(importlib.import_module(module), last)
    for method in re.findall(r"`(\w+)`", methods):
        assert callable(getattr(found, method))


def test_there_are_many() -> None:
    """The expression finds the names."""
    assert len(NAMES) > 35

"""The profile semconv: one set of families, whichever generation or vendor's spelling was recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import pytest
from bridges import families_of, labels_of, running
from exported import in_span
from genai_conventions import HISTOGRAMS, SECONDS, TOKENS, Histogram
from opentelemetry.metrics import MeterProvider
from opentelemetry.sdk.metrics.view import DropAggregation, View
from oracles import OPENMETRICS, parse
from prometheus_client import Metric

from otel_prom_bridge import ExportView, start
from otel_prom_bridge.bridge import Bridge
from otel_prom_bridge.genai import LLMRecorder
from otel_prom_bridge.genai.emission import Emit

Generation = Literal["current", "latest", "both"]
Values = dict[str, dict[tuple[str, ...], tuple[float, ...]]]

CHAT = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
}
FAILED = {**CHAT, "gen_ai.request.model": "gpt-4o-mini", "error.type": "openai.RateLimitError"}
EMBEDDINGS = {**CHAT, "gen_ai.operation.name": "embeddings", "gen_ai.request.model": "embed"}


PER_TOKEN = "gen_ai_client_operation_time_per_output_token_seconds"


def recorded_families(bridge: Bridge) -> dict[str, Metric]:
    """The families of a scrape, without those of the registry, and the one that only our recorders have."""
    return {
        name: item
        for name, item in families_of(bridge).items()
        if name.startswith(("gen_ai_", "mcp_", "llm_", "operation_")) and name != PER_TOKEN
    }


def bounds_of(family: Metric) -> list[float]:
    """The limits of its buckets, which all of its series share."""
    limits = [float(s.labels["le"]) for s in family.samples if s.name.endswith("_bucket")]
    series = {frozenset(s.labels.items()) for s in family.samples if s.name.endswith("_count")}
    assert len(limits) == len(set(limits)) * len(series)
    return sorted(set(limits))[:-1]


def totals(family: Metric) -> dict[tuple[str, ...], tuple[float, ...]]:
    """Of each series, by its label values: the value, or count and sum; not the series that are 0."""
    found: dict[tuple[str, ...], dict[str, float]] = {}
    for sample in family.samples:
        if not sample.name.endswith("_bucket"):
            key = tuple(sample.labels[name] for name in sorted(sample.labels))
            found.setdefault(key, {})[sample.name] = sample.value
    result = {}
    for key, by_name in found.items():
        values = {name.removeprefix(family.name): round(value, 9) for name, value in by_name.items()}
        if any(value for suffix, value in values.items() if suffix != "_count"):
            result[key] = tuple(values[suffix] for suffix in sorted(values))
    return result


def by_recorder(emit: Emit) -> Callable[[MeterProvider], None]:
    """Two chats, one streamed in three chunks, an embedding, and a chat that fails; by our recorder."""

    def record(provider: MeterProvider) -> None:
        recorder = LLMRecorder(provider, emit=emit, prices=None)
        chat: dict[str, Any] = {"model": "gpt-4o", "provider": "openai"}
        recorder.record_request(**chat, duration=0.5, input_tokens=100, output_tokens=20)
        recorder.record_request(**chat, duration=30, input_tokens=50, output_tokens=7)
        recorder.record_streaming_chunk(**chat, duration=0.25, first=True)
        for _ in range(2):
            recorder.record_streaming_chunk(**chat, duration=0.0625)
        recorder.record_request(
            model="embed", provider="openai", operation="embeddings", duration=0.125, input_tokens=11
        )
        recorder.record_request(
            model="gpt-4o-mini", provider="openai", duration=0.25, error_type="openai.RateLimitError"
        )

    return record


def histogram(provider: MeterProvider, name: str, unit: str, scope: str = "app") -> Callable[..., None]:
    """How to record in a histogram whose author has given no buckets."""
    return provider.get_meter(scope).create_histogram(name, unit=unit).record


def by_current_instruments(provider: MeterProvider) -> None:
    """The same with the names that producers emit today."""
    duration = histogram(provider, "gen_ai.client.operation.duration", "s")
    tokens = histogram(provider, "gen_ai.client.token.usage", "{token}")
    for seconds, attributes in ((0.5, CHAT), (30, CHAT), (0.125, EMBEDDINGS), (0.25, FAILED)):
        duration(seconds, attributes)
    for kind, counts in (("input", (100, 50)), ("output", (20, 7))):
        for count in counts:
            tokens(count, {**CHAT, "gen_ai.token.type": kind})
    tokens(11, {**EMBEDDINGS, "gen_ai.token.type": "input"})
    histogram(provider, "gen_ai.client.operation.time_to_first_chunk", "s")(0.25, CHAT)
    for _ in range(2):
        histogram(provider, "gen_ai.client.operation.time_per_output_chunk", "s")(0.0625, CHAT)


def by_latest_instruments(provider: MeterProvider) -> None:
    """The same with the newest names; they have none for embeddings."""
    duration = histogram(provider, "gen_ai.client.inference.duration", "s")
    for seconds, attributes in ((0.5, CHAT), (30, CHAT), (0.25, FAILED)):
        duration(seconds, attributes)
    meter = provider.get_meter("app")
    for kind, counts in (("input", (100, 50)), ("output", (20, 7))):
        counter = meter.create_counter(f"gen_ai.client.inference.usage.{kind}_tokens", unit="{token}")
        distribution = histogram(provider, f"gen_ai.client.inference.operation.{kind}_tokens", "{token}")
        for count in counts:
            counter.add(count, {**CHAT, "gen_ai.token.modality": "unknown"})
            distribution(count, CHAT)
        distribution(0, FAILED)
    histogram(provider, "gen_ai.client.inference.time_to_first_chunk", "s")(0.25, CHAT)
    for _ in range(2):
        histogram(provider, "gen_ai.client.inference.time_per_output_chunk", "s")(0.0625, CHAT)
    histogram(provider, "gen_ai.client.operation.duration", "s")(0.125, EMBEDDINGS)
    histogram(provider, "gen_ai.client.token.usage", "{token}")(
        11, {**EMBEDDINGS, "gen_ai.token.type": "input"}
    )


PRODUCERS: dict[str, Callable[[MeterProvider], None]] = {
    "recorder, current": by_recorder("current"),
    "recorder, latest": by_recorder("latest"),
    "instruments, current": by_current_instruments,
    "instruments, latest": by_latest_instruments,
}

# Label values in the order of the labels' names: operation, provider, model, and what else there is.
ONE, TWO, THREE = (
    ("chat", "openai", "gpt-4o"),
    ("embeddings", "openai", "embed"),
    ("chat", "openai", "gpt-4o-mini"),
)
_ERROR = ("openai.RateLimitError", *THREE)
_DURATION = {ONE: (2, 30.5), TWO: (1, 0.125), _ERROR: (1, 0.25)}
_ALWAYS: Values = {
    "gen_ai_client_inference_usage_input_tokens": {(*ONE, "unknown"): (150,), (*TWO, "unknown"): (11,)},
    "gen_ai_client_inference_usage_output_tokens": {(*ONE, "unknown"): (27,)},
}
_CURRENT: Values = {
    "gen_ai_client_operation_duration_seconds": _DURATION,
    "gen_ai_client_operation_time_to_first_chunk_seconds": {ONE: (1, 0.25)},
    "gen_ai_client_operation_time_per_output_chunk_seconds": {ONE: (2, 0.125)},
    "gen_ai_client_token_usage": {
        (*ONE, "input"): (2, 150),
        (*ONE, "output"): (2, 27),
        (*TWO, "input"): (1, 11),
    },
}
_LATEST: Values = {
    "gen_ai_client_inference_duration_seconds": {ONE: (2, 30.5), _ERROR: (1, 0.25)},
    "gen_ai_client_operation_duration_seconds": {TWO: (1, 0.125)},
    "gen_ai_client_inference_time_to_first_chunk_seconds": {ONE: (1, 0.25)},
    "gen_ai_client_inference_time_per_output_chunk_seconds": {ONE: (2, 0.125)},
    "gen_ai_client_inference_operation_input_tokens": {ONE: (2, 150), TWO: (1, 11)},
    "gen_ai_client_inference_operation_output_tokens": {ONE: (2, 27)},
}
EXPECTED: dict[Generation, Values] = {
    "current": {**_ALWAYS, **_CURRENT},
    "latest": {**_ALWAYS, **_LATEST},
    "both": {**_ALWAYS, **_LATEST, **_CURRENT},
}


@pytest.mark.parametrize("present", ["current", "latest", "both"])
@pytest.mark.parametrize("producer", PRODUCERS)
def test_one_set_of_families_whichever_generation_is_recorded(producer: str, present: Generation) -> None:
    """Old and new names become the families that are asked for, with equal labels, values and buckets."""
    with running(present=present, prices=False) as bridge:
        PRODUCERS[producer](bridge.meter_provider)
        families = recorded_families(bridge)
    assert {name: totals(family) for name, family in families.items()} == EXPECTED[present]
    for name, family in families.items():
        if family.type == "histogram":
            assert bounds_of(family) == pytest.approx(SECONDS if name.endswith("_seconds") else TOKENS)
        assert family.unit == ("seconds" if name.endswith("_seconds") else "")
    for name, family in families.items():
        more = {"gen_ai_token_modality"} if "_usage_" in name else set()
        more |= {"gen_ai_token_type"} if name.endswith("token_usage") else set()
        more |= (
            {"error_type"}
            if name.endswith("duration_seconds") and len(EXPECTED[present][name]) > 1
            else set()
        )
        optional = {"error_type"} if name.endswith("_tokens") else set()
        known = {"gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model", *more}
        assert known <= labels_of(family) <= known | optional


def test_producers_of_both_generations_are_one_family() -> None:
    """A library of each generation in one process: their calls are added up, of each by its scope."""
    with running(scope_info_enabled=True, prices=False) as bridge:
        by_current_instruments(bridge.meter_provider)
        by_recorder("latest")(bridge.meter_provider)
        families = recorded_families(bridge)
    assert families.keys() == EXPECTED["current"].keys()
    counts = {
        (sample.labels["otel_scope_name"], sample.labels["gen_ai_request_model"]): sample.value
        for sample in families["gen_ai_client_operation_duration_seconds"].samples
        if sample.name.endswith("_count")
    }
    scopes = ("app", "otel_prom_bridge.genai")
    assert counts == {
        (scope, model[2]): value[0]
        for scope in scopes
        for model, value in ((ONE, (2,)), (TWO, (1,)), (THREE, (1,)))
    }


def openllmetry(provider: MeterProvider) -> None:
    """OpenLLMetry: a unit of its own, the SDK's buckets, errors without a model, gen_ai.system before."""
    scope = "opentelemetry.instrumentation.openai.v1"
    call = {
        "gen_ai.system": "openai",
        "gen_ai.operation.name": "chat",
        "gen_ai.response.model": "gpt-4o-2024-08-06",
    }
    call["server.address"] = "https://api.openai.com/v1/"
    for stream in (False, True):
        histogram(provider, "gen_ai.client.operation.duration", "s", scope)(2, {**call, "stream": stream})
        tokens = histogram(provider, "gen_ai.client.token.usage", "token", scope)
        tokens(70, {**call, "stream": stream, "gen_ai.token.type": "input"})
        tokens(7, {**call, "stream": stream, "gen_ai.token.type": "output"})
    histogram(provider, "gen_ai.client.operation.duration", "s", scope)(1, {"error.type": "RateLimitError"})
    first = histogram(provider, "gen_ai.server.time_to_first_token", "s", scope)
    first(0.3, {**call, "stream": True})
    rest = histogram(provider, "llm.chat_completions.streaming_time_to_generate", "s", scope)
    rest(1.5, {**call, "stream": True})


def pydantic_ai(provider: MeterProvider) -> None:
    """pydantic-ai: both names of the provider, a histogram of costs without buckets, no durations."""
    call = {**CHAT, "gen_ai.system": "openai", "gen_ai.response.model": "gpt-4o"}
    tokens = histogram(provider, "gen_ai.client.token.usage", "{token}", "pydantic-ai")
    for kind, count in (("input", 70), ("output", 7)):
        tokens(count, {**call, "gen_ai.token.type": kind})
    for cost in (0.5, 0.25):
        histogram(provider, "operation.cost", "{USD}", "pydantic-ai")(cost, call)
    histogram(provider, "gen_ai.client.operation.time_to_first_chunk", "s", "pydantic-ai")(0.3, call)


def litellm(provider: MeterProvider) -> None:
    """litellm: hashes of keys and metadata as attributes, costs in a histogram, times as a server's."""
    call = {
        "gen_ai.operation.name": "chat",
        "gen_ai.system": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.framework": "litellm",
        "user_api_key_hash": "88dc28d0f030c55ed4ab77ed8faf098196cb1c05df778539800c9f1243fe6b4b",
        "user_api_key_user_id": "u-17",
        "hidden_params": "{'model_id': '…'}",
        "metadata.user_api_key_alias": "mine",
    }
    histogram(provider, "gen_ai.client.operation.duration", "s", "litellm")(2, call)
    tokens = histogram(provider, "gen_ai.client.token.usage", "{token}", "litellm")
    tokens(70, {**call, "gen_ai.token.type": "input"})
    tokens(7, {**call, "gen_ai.token.type": "output"})
    histogram(provider, "gen_ai.usage.cost", "USD", "litellm")(0.75, call)
    histogram(provider, "gen_ai.server.time_to_first_token", "s", "litellm")(0.3, call)
    histogram(provider, "gen_ai.server.time_per_output_token", "s", "litellm")(0.02, call)


def openlit(provider: MeterProvider) -> None:
    """OpenLIT: the resource again as attributes of points, an agent's duration under its own name."""
    resource = {"telemetry.sdk.name": "openlit", "service.name": "x", "deployment.environment": "prod"}
    call = {**CHAT, **resource}
    histogram(provider, "gen_ai.client.operation.duration", "s", "openlit.otel.metrics")(2, call)
    tokens = histogram(provider, "gen_ai.client.token.usage", "{token}", "openlit.otel.metrics")
    tokens(70, {**call, "gen_ai.token.type": "input"})
    tokens(7, {**call, "gen_ai.token.type": "output"})
    histogram(provider, "gen_ai.usage.cost", "USD", "openlit.otel.metrics")(0.75, call)
    agent = histogram(provider, "gen_ai.agent.operation.duration", "s", "openlit.otel.metrics")
    agent(20, {"gen_ai.agent.name": "planner", **resource})


_OPERATION = ("gen_ai_operation_name", "gen_ai_provider_name")
_REQUEST = (*_OPERATION, "gen_ai_request_model")
_RESPONSE = (*_REQUEST, "gen_ai_response_model", "server_address")  # what answered is what was asked, too
_VENDORS: dict[Callable[[MeterProvider], None], dict[str, tuple[set[str], float]]] = {
    openllmetry: {
        "operation_duration_seconds": ({*_RESPONSE, "error_type"}, 5),
        "token_usage": ({*_RESPONSE, "gen_ai_token_type"}, 154),
        "operation_time_to_first_chunk_seconds": ({*_RESPONSE}, 0.3),
    },
    pydantic_ai: {
        "token_usage": ({*_REQUEST, "gen_ai_response_model", "gen_ai_token_type"}, 77),
        "operation_time_to_first_chunk_seconds": ({*_REQUEST, "gen_ai_response_model"}, 0.3),
    },
    litellm: {
        "operation_duration_seconds": ({*_REQUEST, "gen_ai_framework"}, 2),
        "token_usage": ({*_REQUEST, "gen_ai_framework", "gen_ai_token_type"}, 77),
    },
    openlit: {
        "operation_duration_seconds": ({*_REQUEST}, 2),
        "token_usage": ({*_REQUEST, "gen_ai_token_type"}, 77),
    },
}


@pytest.mark.parametrize("profile", ["semconv", "llmdevops"])
def test_what_litellm_knows_of_users_is_shown_nowhere(profile: str) -> None:
    """Neither hashes of keys nor metadata are in labels or exemplars, of any of its metrics."""
    with running(profile=profile) as bridge, in_span(0xABC):
        litellm(bridge.meter_provider)
        body = bridge.reader.expose(OPENMETRICS).body.decode()
    assert body.count(f'trace_id="{0xABC:032x}"') >= 5
    for secret in ("88dc28d0", "u-17", "model_id", "mine", "metadata_", "hidden_params", "user_api_key"):
        assert secret not in body


@pytest.mark.parametrize("vendor", _VENDORS)
def test_a_vendors_spelling_is_shown_as_the_conventions(vendor: Callable[[MeterProvider], None]) -> None:
    """Names, units, labels and buckets are the conventions', and what is unbounded is no label."""
    with running() as bridge:
        vendor(bridge.meter_provider)
        families = recorded_families(bridge)
    for name, (labels, total) in _VENDORS[vendor].items():
        family = families[f"gen_ai_client_{name}"]
        assert labels_of(family) == labels
        sums = [sample.value for sample in family.samples if sample.name.endswith("_sum")]
        assert sum(sums) == pytest.approx(total)
        assert bounds_of(family) == pytest.approx(SECONDS if name.endswith("_seconds") else TOKENS)
        assert family.unit == ("seconds" if name.endswith("_seconds") else "")
    input_tokens = families["gen_ai_client_inference_usage_input_tokens"]
    assert sum(sample.value for sample in input_tokens.samples) == (140 if vendor is openllmetry else 70)
    if vendor is not openllmetry:
        (cost,) = (
            families["gen_ai_usage_cost_USD"].samples if "gen_ai_usage_cost_USD" in families else (None,)
        )
        assert cost is not None
        assert (cost.name, cost.value) == ("gen_ai_usage_cost_USD_total", 0.75)
    shown = {label for family in families.values() for label in labels_of(family)}
    assert not {
        label for label in shown if "user" in label or label.startswith(("telemetry", "service_", "hidden"))
    }
    assert "stream" not in shown


def test_what_only_one_vendor_has_gets_buckets_too() -> None:
    """A time of OpenLLMetry's own has buckets for calls, and its first token is a first chunk only."""
    with running() as bridge:
        openllmetry(bridge.meter_provider)
        families = recorded_families(bridge)
    assert bounds_of(families["llm_chat_completions_streaming_time_to_generate_seconds"]) == pytest.approx(
        SECONDS
    )
    assert "gen_ai_server_time_to_first_token_seconds" not in families


def test_all_vendors_beside_each_other() -> None:
    """In one process they share the families, the sum is everybody's, and nothing is in conflict."""
    with running(scope_info_enabled=True) as bridge:
        for vendor in _VENDORS:
            vendor(bridge.meter_provider)
        by_recorder("latest")(bridge.meter_provider)
        families = recorded_families(bridge)
    tokens = families["gen_ai_client_token_usage"]
    assert sum(s.value for s in tokens.samples if s.name.endswith("_sum")) == 154 + 3 * 77 + 177 + 11
    assert len({s.labels["otel_scope_name"] for s in tokens.samples}) == 5
    assert bounds_of(tokens) == list(TOKENS)
    assert totals(families["gen_ai_invoke_agent_duration_seconds"]).popitem()[1] == (1, 20)


def _prometheus_name(name: str, unit: str) -> str:
    return name.replace(".", "_") + ("_seconds" if unit == "s" else "")


@pytest.mark.parametrize("metric", HISTOGRAMS, ids=lambda metric: str(metric.name))
def test_recommended_buckets_where_the_producer_gave_none(metric: Histogram) -> None:
    """Each histogram of the conventions, recorded without buckets, is shown with those of the conventions."""
    with running(present="both") as bridge:
        histogram(bridge.meter_provider, metric.name, metric.unit)(
            metric.buckets[3], {"gen_ai.token.type": "input"}
        )
        family = recorded_families(bridge)[_prometheus_name(metric.name, metric.unit)]
    assert bounds_of(family) == pytest.approx(list(metric.buckets))
    filled = [s.labels["le"] for s in family.samples if s.name.endswith("_bucket") and s.value]
    assert float(filled[0]) == pytest.approx(metric.buckets[3])


def test_a_view_of_ones_own_takes_a_stream_over() -> None:
    """Who writes a view for a stream gets what it makes and nothing else of that stream; others stay."""
    mine = ExportView(
        instrument_name="gen_ai.client.operation.duration",
        name="calls_total",
        take="count",
        keep=["gen_ai.request.model"],
    )
    with running(views=[mine], prices=False) as bridge:
        by_current_instruments(bridge.meter_provider)
        families = recorded_families(bridge)
        calls = {
            s.name: s
            for f in parse_all(bridge)
            for s in f.samples
            if s.labels.get("gen_ai_request_model") == "gpt-4o"
        }
    assert families.keys() == EXPECTED["current"].keys() - {"gen_ai_client_operation_duration_seconds"}
    assert calls["calls_total"].value == 2


def parse_all(bridge: Bridge) -> list[Metric]:
    """All families of a scrape."""
    shown = bridge.reader.expose(OPENMETRICS)
    return parse(shown.content_type, shown.body)


def test_a_view_of_ones_own_may_have_the_name_of_a_family() -> None:
    """The family makes way for the view that has its name; it is not of two minds about its labels."""
    mine = ExportView(
        instrument_name="gen_ai.client.operation.duration",
        name="gen_ai_client_operation_duration_seconds",
        keep=[],
        buckets=[1, 60],
    )
    with running(views=[mine], prices=False) as bridge:
        by_current_instruments(bridge.meter_provider)
        family = recorded_families(bridge)["gen_ai_client_operation_duration_seconds"]
    assert (labels_of(family), bounds_of(family), totals(family)) == (set(), [1, 60], {(): (4, 30.875)})


def test_a_drop_view_of_ones_own_drops_the_stream() -> None:
    """A view without a name exports nothing of what it selects, whatever the profile would make of it."""
    with running(views=[ExportView(instrument_name="gen_ai.client.token.*", name=None)]) as bridge:
        by_current_instruments(bridge.meter_provider)
        families = recorded_families(bridge)
    assert families.keys() == {name for name in _CURRENT if "token" not in name}


def test_sdk_views_of_ones_own_come_first() -> None:
    """What the application tells the SDK to drop is dropped, and what it shows keeps its bounds."""
    dropping = View(instrument_name="gen_ai.client.token.usage", aggregation=DropAggregation())
    with running(sdk_views=[dropping]) as bridge:
        by_current_instruments(bridge.meter_provider)
        families = recorded_families(bridge)
    assert families.keys() == {name for name in _CURRENT if "token" not in name}


def test_other_metrics_are_exported_as_they_are() -> None:
    """The default profile touches nothing but generative AI."""

    def record(provider: MeterProvider) -> None:
        meter = provider.get_meter("app")
        meter.create_counter("orders", description="Orders").add(3, {"payment.method": "card"})
        meter.create_histogram("http.server.request.duration", unit="s").record(3, {"http.route": "/"})
        meter.create_up_down_counter("gen_ai.queue").add(2, {"stream": "true"})

    bodies = []
    for options in ({}, {"profile": "semconv", "present": "both"}):
        with start(
            port=0,
            addr="127.0.0.1",
            set_global=False,
            self_metrics=False,
            collect_interval=0,
            resource={"service.instance.id": "1"},
            **options,  # type: ignore[arg-type]
        ) as bridge:
            record(bridge.meter_provider)
            text = bridge.reader.expose().body.decode()
            bodies.append(
                [line for line in text.splitlines() if "process_" not in line and "python_" not in line]
            )
    assert bodies[0] == bodies[1]
    assert (
        'gen_ai_queue{otel_scope_name="app",otel_scope_schema_url="",otel_scope_version="",stream="true"} 2'
        in bodies[0]
    )


def test_prompt_and_completion_are_input_and_output() -> None:
    """Token types as they were called before count as what they are called now."""
    with running(present="latest", prices=False) as bridge:
        tokens = histogram(bridge.meter_provider, "gen_ai.client.token.usage", "{token}")
        tokens(70, {**CHAT, "gen_ai.token.type": "prompt"})
        tokens(7, {**CHAT, "gen_ai.token.type": "completion"})
        families = recorded_families(bridge)
    shown: Mapping[str, Any] = {name: totals(family) for name, family in families.items()}
    assert shown == {
        "gen_ai_client_inference_operation_input_tokens": {ONE: (1, 70)},
        "gen_ai_client_inference_operation_output_tokens": {ONE: (1, 7)},
        "gen_ai_client_inference_usage_input_tokens": {(*ONE, "unknown"): (70,)},
        "gen_ai_client_inference_usage_output_tokens": {(*ONE, "unknown"): (7,)},
    }

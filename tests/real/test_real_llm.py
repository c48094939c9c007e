"""The whole way: the real openai client, its instrumentation, this bridge, a real Prometheus.

Nothing of the way is simulated but the model at its end.
"""

from __future__ import annotations

import math
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import pytest
from fake_openai import CHAT_MODEL, EMBEDDING_MODEL, RELEASE, REPLY, fake_openai
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from oracles import OPENMETRICS, parse
from prometheus_client.samples import Sample
from servers import Prometheus, free_port, get, prometheus, running, wait_for

from otel_prom_bridge import MetricsServer, PrometheusMetricReader, start_http_server

if TYPE_CHECKING:  # three seconds, for each worker that only collects the tests
    import openai

DURATION = "gen_ai_client_operation_duration_seconds"
TOKENS = "gen_ai_client_token_usage"
FIRST_CHUNK = "gen_ai_client_operation_time_to_first_chunk_seconds"
PER_CHUNK = "gen_ai_client_operation_time_per_output_chunk_seconds"
LLM_SERVICE = Path(__file__).parents[2] / "examples" / "llm_service.py"

# The semantic conventions' buckets.
SECONDS = [0.01 * 2**step for step in range(14)]
TOKEN_COUNTS = [4.0**step for step in range(14)]


@dataclass
class Seen:
    """What the client saw: the truth that the metrics are measured against."""

    calls: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # model, operation, error type
    tokens: Counter[tuple[str, str]] = field(default_factory=Counter)  # model, input or output
    chunks: int = 0


@dataclass
class Service:
    """An instrumented client and the endpoint with its metrics."""

    client: openai.OpenAI
    provider: MeterProvider
    tracer_provider: TracerProvider
    spans: InMemorySpanExporter
    server: MetricsServer

    def span_ids(self) -> set[tuple[str, str]]:
        """The trace and span ids of all spans that were exported, as exemplars spell them."""
        contexts = [span.context for span in self.spans.get_finished_spans() if span.context is not None]
        return {(f"{context.trace_id:032x}", f"{context.span_id:016x}") for context in contexts}


@pytest.fixture
def service() -> Iterator[Service]:
    """The instrumented client, with providers of its own: nothing is global but the patched class."""
    import openai
    from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor

    spans = InMemorySpanExporter()
    tracer_provider = TracerProvider(shutdown_on_exit=False)
    tracer_provider.add_span_processor(SimpleSpanProcessor(spans))
    reader = PrometheusMetricReader(registry=None, self_metrics=False)
    resource = Resource.create({"service.name": "llm-test"})
    provider = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
    instrumentor = OpenAIInstrumentor()
    instrumentor.instrument(meter_provider=provider, tracer_provider=tracer_provider)
    try:
        with (
            fake_openai() as base_url,
            openai.OpenAI(
                base_url=base_url,
                api_key="none",
                max_retries=0,
                timeout=5,
                http_client=openai.DefaultHttpxClient(trust_env=False),
            ) as client,
            start_http_server(reader, port=0) as server,
        ):
            yield Service(client, provider, tracer_provider, spans, server)
    finally:
        instrumentor.uninstrument()
        provider.shutdown()
        tracer_provider.shutdown()


def handle_request(service: Service) -> Seen:
    """One of everything that an LLM service does, inside a span of its own."""
    import openai

    seen = Seen()
    with service.tracer_provider.get_tracer("test").start_as_current_span("handle-request"):
        for question in ("What is a histogram?", "And what would you use it for, in one sentence?"):
            _chat(service.client, question, seen)
        _streamed_chat(service.client, "Say it again, slowly.", seen)
        _embeddings(service.client, ["a text", "one more text"], seen)
        for model, error in (
            (f"{CHAT_MODEL}-429", openai.RateLimitError),
            (f"{CHAT_MODEL}-500", openai.InternalServerError),
        ):
            with pytest.raises(error):
                _chat(service.client, "Too much?", seen, model=model)
            seen.calls[model, "chat", f"openai.{error.__name__}"] += 1
    return seen


def _chat(client: openai.OpenAI, question: str, seen: Seen, *, model: str = CHAT_MODEL) -> None:
    answer = client.chat.completions.create(model=model, messages=[{"role": "user", "content": question}])
    assert answer.choices[0].message.content == " ".join(REPLY)
    assert answer.usage is not None
    seen.calls[model, "chat", ""] += 1
    seen.tokens[model, "input"] += answer.usage.prompt_tokens
    seen.tokens[model, "output"] += answer.usage.completion_tokens


def _streamed_chat(client: openai.OpenAI, question: str, seen: Seen) -> None:
    with client.chat.completions.create(
        model=CHAT_MODEL,
        messages=[{"role": "user", "content": question}],
        stream=True,
        stream_options={"include_usage": True},
    ) as stream:
        chunks = list(stream)
    usage = chunks[-1].usage
    assert usage is not None
    seen.calls[CHAT_MODEL, "chat", ""] += 1
    seen.chunks += len(chunks)
    seen.tokens[CHAT_MODEL, "input"] += usage.prompt_tokens
    seen.tokens[CHAT_MODEL, "output"] += usage.completion_tokens


def _embeddings(client: openai.OpenAI, texts: list[str], seen: Seen) -> None:
    answer = client.embeddings.create(model=EMBEDDING_MODEL, input=texts, encoding_format="float")
    assert len(answer.data) == len(texts)
    seen.calls[EMBEDDING_MODEL, "embeddings", ""] += 1
    seen.tokens[EMBEDDING_MODEL, "input"] += answer.usage.prompt_tokens


@pytest.mark.real_server
@pytest.mark.timeout(30)
def test_a_real_prometheus_gets_what_the_real_openai_client_did(
    service: Service, real_prometheus: str, tmp_path: Path
) -> None:
    """Counts, token sums and labels are exact, and every exemplar is the id of an exported span."""
    seen = handle_request(service)
    assert sum(seen.calls.values()) == 6
    with prometheus(real_prometheus, tmp_path, {"llm": f"127.0.0.1:{service.server.port}"}) as server:
        wait_for(lambda: server.query(f"{DURATION}_count"), seconds=30, what="the first scrape")
        assert server.values("up", "job") == {("llm",): 1.0}
        assert [(target["health"], target["lastError"]) for target in server.targets()] == [("up", "")]
        _check_durations(server, seen)
        _check_tokens(server, seen)
        _check_stream(server, seen)
        assert server.values("target_info", "service_name", "telemetry_sdk_language") == {
            ("llm-test", "python"): 1.0
        }
        _check_exemplars(server, service.span_ids())
        _check_second_scraper(service)


def _check_durations(server: Prometheus, seen: Seen) -> None:
    labels = ("gen_ai_request_model", "gen_ai_operation_name", "error_type")
    assert server.values(f"sum by ({', '.join(labels)}) ({DURATION}_count)", *labels) == seen.calls
    # Errors have no response model; answers say which release they come from.
    models = server.values(
        f"sum by (gen_ai_response_model, error_type) ({DURATION}_count)",
        "gen_ai_response_model",
        "error_type",
    )
    assert models == {
        (f"{CHAT_MODEL}-{RELEASE}", ""): 3,
        (f"{EMBEDDING_MODEL}-{RELEASE}", ""): 1,
        ("", "openai.RateLimitError"): 1,
        ("", "openai.InternalServerError"): 1,
    }
    _check_buckets(server, DURATION, SECONDS, labels)
    sums = server.values(f"sum by ({', '.join(labels)}) ({DURATION}_sum)", *labels)
    assert sums.keys() == seen.calls.keys()
    assert all(0 < value < 5 for value in sums.values())


def _check_tokens(server: Prometheus, seen: Seen) -> None:
    labels = ("gen_ai_request_model", "gen_ai_token_type")
    assert server.values(f"sum by ({', '.join(labels)}) ({TOKENS}_sum)", *labels) == seen.tokens
    assert server.values(f"sum by ({', '.join(labels)}) ({TOKENS}_count)", *labels) == {
        (CHAT_MODEL, "input"): 3,
        (CHAT_MODEL, "output"): 3,
        (EMBEDDING_MODEL, "input"): 1,
    }
    _check_buckets(server, TOKENS, TOKEN_COUNTS, labels)


def _check_stream(server: Prometheus, seen: Seen) -> None:
    labels = ("gen_ai_request_model", "gen_ai_operation_name")
    assert server.values(f"{FIRST_CHUNK}_count", *labels) == {(CHAT_MODEL, "chat"): 1}
    assert server.values(f"{PER_CHUNK}_count", *labels) == {(CHAT_MODEL, "chat"): seen.chunks - 1}
    _check_buckets(server, FIRST_CHUNK, SECONDS, labels)


def _check_buckets(server: Prometheus, name: str, bounds: list[float], labels: tuple[str, ...]) -> None:
    """The bounds are the conventions', counts only grow, and the last bucket holds everything."""
    counts = server.values(f"sum by ({', '.join(labels)}) ({name}_count)", *labels)
    buckets = server.values(f"sum by ({', '.join(labels)}, le) ({name}_bucket)", *labels, "le")
    assert counts
    for key, count in counts.items():
        row = sorted((float(le), value) for (*series, le), value in buckets.items() if tuple(series) == key)
        assert [le for le, _ in row] == pytest.approx([*bounds, math.inf])
        values = [value for _, value in row]
        assert values == sorted(values)
        assert values[-1] == count


def _check_exemplars(server: Prometheus, span_ids: set[tuple[str, str]]) -> None:
    for name in (DURATION, TOKENS, FIRST_CHUNK):
        found = server.query_exemplars(f"{name}_bucket")
        exemplars = [exemplar for series in found for exemplar in series["exemplars"]]
        assert exemplars, f"Prometheus stored no exemplars of {name}"
        assert {_ids(exemplar["labels"]) for exemplar in exemplars} <= span_ids
    # Each of the four kinds of call has a series of its own, and each series has exemplars.
    series = {
        (found["seriesLabels"]["gen_ai_request_model"], found["seriesLabels"].get("error_type", ""))
        for found in server.query_exemplars(f"{DURATION}_bucket")
    }
    assert series == {
        (CHAT_MODEL, ""),
        (EMBEDDING_MODEL, ""),
        (f"{CHAT_MODEL}-429", "openai.RateLimitError"),
        (f"{CHAT_MODEL}-500", "openai.InternalServerError"),
    }


def _check_second_scraper(service: Service) -> None:
    """The SDK gives an exemplar away once; who scrapes after Prometheus must see it all the same."""
    content_type, body = get(service.server.url, accept=OPENMETRICS)
    assert content_type.startswith("application/openmetrics-text")
    buckets = [
        sample
        for family in parse(content_type, body)
        for sample in family.samples
        if sample.name.endswith("_bucket") and sample.value > 0
    ]
    assert {sample.name for sample in buckets} == {
        f"{name}_bucket" for name in (DURATION, TOKENS, FIRST_CHUNK, PER_CHUNK)
    }
    with_exemplar = [sample for sample in buckets if sample.exemplar is not None]
    assert {_series(sample) for sample in with_exemplar} == {_series(sample) for sample in buckets}
    assert {_ids(sample.exemplar.labels) for sample in with_exemplar} <= service.span_ids()


def _series(sample: Sample) -> tuple[str, frozenset[tuple[str, str]]]:
    """The histogram series that a bucket belongs to."""
    return sample.name, frozenset(item for item in sample.labels.items() if item[0] != "le")


def _ids(labels: dict[str, Any]) -> tuple[str, str]:
    return labels["trace_id"], labels["span_id"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "status", "error"),
    [(CHAT_MODEL, 200, ""), (f"{CHAT_MODEL}-429", 502, "openai.RateLimitError")],
)
def test_the_example_service_does_what_its_header_says(
    tmp_path: Path, model: str, status: int, error: str
) -> None:
    """Asked once, it answers and shows one call, with the ids of a span; a call that fails shows as that."""
    metrics_port, port = free_port(), free_port()
    with fake_openai() as base_url:
        environment = {
            "ASK_MODEL": model,
            "ASK_PORT": str(port),
            "NO_PROXY": "127.0.0.1,localhost",
            "OPENAI_API_KEY": "none",
            "OPENAI_BASE_URL": base_url,
            "OTEL_EXPORTER_PROMETHEUS_PORT": str(metrics_port),
        }
        command = [sys.executable, "-W", "error", LLM_SERVICE]
        with running(command, log=tmp_path / "service.log", env=environment) as process:
            output = process.until("metrics at", 20)
            (url,) = re.findall(r"metrics at (\S+)$", output, re.MULTILINE)
            answer = _ask(f"http://localhost:{port}", "What is a histogram?")
            content_type, body = get(url, accept=OPENMETRICS)
    assert answer[0] == status
    assert error or answer[1].split() == REPLY
    families = {family.name: family for family in parse(content_type, body)}
    assert families["target"].samples[0].labels["service_name"] == "llm-service"
    # The client tries a failed call again; for its instrumentation all of that is one call.
    (count,) = (sample for sample in families[DURATION].samples if sample.name == f"{DURATION}_count")
    assert (count.value, count.labels.get("error_type", "")) == (1, error)
    assert (TOKENS in families, FIRST_CHUNK in families) == (error == "", error == "")
    assert any(sample.exemplar is not None for sample in families[DURATION].samples)


def _ask(url: str, question: str) -> tuple[int, str]:
    """Status and text of the answer."""
    opener = build_opener(ProxyHandler({}))
    try:
        with opener.open(Request(url, data=question.encode()), timeout=10) as response:
            return response.status, response.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()

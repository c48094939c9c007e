"""Tokens as costs: by the table of the reader, exactly, and never beside what producers report themselves."""

from __future__ import annotations

import datetime
import re
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from bridges import families_of, running
from exported import in_span
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.metrics import MeterProvider, NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider as SdkMeterProvider
from opentelemetry.sdk.trace import TracerProvider
from oracles import OPENMETRICS
from prometheus_client import Metric
from properties import examples

from otel_prom_bridge import ExportView, PrometheusMetricReader
from otel_prom_bridge.bridge import Bridge
from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.genai import LLMRecorder, Price, PriceTable, SpanMetrics
from otel_prom_bridge.genai.emission import Emit
from otel_prom_bridge.prices import KINDS, Shown
from otel_prom_bridge.sdk.versions import TELLS_PROVIDER

CALL = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai"}
TABLE = PriceTable(
    "test",
    {"gpt-4o": Price(2.5, 10, cached=1.25), "gpt-4o-2024-05-13": Price(5, 15), "o3": Price(2, 8, 0.5, 3, 9)},
)


def usage(provider: MeterProvider, model: str, kind: str, count: float, *, scope: str = "app") -> None:
    """Tokens as instrumentations of today record them, and as the newest conventions do."""
    meter, attributes = provider.get_meter(scope), {**CALL, "gen_ai.request.model": model}
    if kind in ("input", "output"):
        histogram = meter.create_histogram("gen_ai.client.token.usage", unit="{token}")
        histogram.record(count, {**attributes, "gen_ai.token.type": kind})
        return
    ending = {
        "cached": "cache_read.input",
        "cache_write": "cache_write.input",
        "reasoning": "reasoning.output",
    }
    meter.create_counter(f"gen_ai.client.inference.usage.{ending[kind]}_tokens").add(count, attributes)


def costs(bridge: Bridge, *labels: str, name: str = "llmdevops_llm_cost_usd") -> dict[tuple[str, ...], float]:
    """Costs by the values of these labels."""
    family = families_of(bridge).get(name)
    return _values(family, labels)


def _values(family: Metric | None, labels: tuple[str, ...]) -> dict[tuple[str, ...], float]:
    found: dict[tuple[str, ...], float] = {}
    for sample in () if family is None else family.samples:
        if sample.name.endswith("_total"):
            key = tuple(sample.labels.get(label, "") for label in labels)
            found[key] = found.get(key, 0) + sample.value
    return found


def test_by_model_provider_and_kind() -> None:
    """Cached tokens are no input, reasoning is no output, and dated models have prices of their own."""
    with running(profile="llmdevops", prices=TABLE) as bridge:
        for model in ("gpt-4o", "gpt-4o-2024-05-13"):
            usage(bridge.meter_provider, model, "input", 1000)
        for kind, count in (
            ("input", 1000),
            ("output", 500),
            ("cached", 400),
            ("cache_write", 100),
            ("reasoning", 50),
        ):
            usage(bridge.meter_provider, "o3", kind, count)
        found = costs(bridge, "model", "provider", "type")
    assert found == {
        ("gpt-4o", "openai", "input"): 0.0075,
        ("o3", "openai", "input"): 0.001,
        ("o3", "openai", "cached"): 0.0002,
        ("o3", "openai", "cache_write"): 0.0003,
        ("o3", "openai", "output"): 0.0036,
        ("o3", "openai", "reasoning"): 0.00045,
    }


def test_what_has_no_price_is_counted() -> None:
    """Tokens of unknown models are in a family of their own, in both profiles, and cost nothing."""
    with running(profile="llmdevops", prices=TABLE) as bridge:
        usage(bridge.meter_provider, "house-model", "input", 70)
        usage(bridge.meter_provider, "gpt-4o", "input", 70)
        assert set(costs(bridge, "model")) == {("gpt-4o",)}
        assert costs(bridge, "model", name="llmdevops_llm_unpriced_tokens") == {("house-model",): 70}
    with running(prices=TABLE) as bridge:
        usage(bridge.meter_provider, "house-model", "input", 70)
        assert costs(bridge, name="gen_ai_client_unpriced_tokens") == {(): 70}


@pytest.mark.parametrize("name", ["gen_ai.usage.cost", "operation.cost", "gen_ai.client.token.cost"])
@pytest.mark.parametrize("first", ["tokens", "cost"])
def test_reported_costs_are_used_instead(name: str, first: str) -> None:
    """For models of which a producer reports costs, its tokens cost nothing; those of others do."""
    with running(profile="llmdevops", prices=TABLE) as bridge:
        meter = bridge.meter_provider.get_meter("pydantic-ai")
        record = meter.create_histogram(name, unit="USD").record
        for _ in range(3):
            if first == "cost":
                record(0.5, {**CALL, "gen_ai.request.model": "gpt-4o"})
            for model in ("gpt-4o", "o3"):
                usage(bridge.meter_provider, model, "input", 1000, scope="pydantic-ai")
            if first == "tokens":
                record(0.5, {**CALL, "gen_ai.request.model": "gpt-4o"})
            found = costs(bridge, "model")
        usage(bridge.meter_provider, "gpt-4o", "input", 1000, scope="another")
        later = costs(bridge, "model")
    assert found == pytest.approx({("gpt-4o",): 1.5, ("o3",): 0.006})
    assert later == pytest.approx({("gpt-4o",): 1.5025, ("o3",): 0.006})


@pytest.mark.parametrize(
    ("cost", "tokens", "shown"),
    [
        (("gpt-4o", "gpt-4o-2024-05-13"), ("gpt-4o", ""), 0.5),
        (("", "gpt-4o"), ("gpt-4o", "gpt-4o"), 0.5),
        (("", ""), ("gpt-4o", "gpt-4o-2024-05-13"), 0.5),
        (("router", "gpt-4o"), ("router", "o3"), 0.5 + 0.002),  # of another answer no cost is reported
    ],
)
def test_costs_are_of_the_same_tokens_though_one_says_more(
    cost: tuple[str, str], tokens: tuple[str, str], shown: float
) -> None:
    """A metric may have only one of the names of a model, or none, and the other metric both."""

    def attributes(names: tuple[str, str]) -> dict[str, str]:
        both = zip(("gen_ai.request.model", "gen_ai.response.model"), names, strict=True)
        return {**CALL, **{key: name for key, name in both if name}}

    with running(profile="llmdevops", prices=TABLE) as bridge:
        meter = bridge.meter_provider.get_meter("a.producer")
        meter.create_counter("gen_ai.usage.cost", "USD").add(0.5, attributes(cost))
        histogram = meter.create_histogram("gen_ai.client.token.usage")
        histogram.record(1000, {**attributes(tokens), "gen_ai.token.type": "input"})
        assert sum(costs(bridge, "model").values()) == pytest.approx(shown)


def test_our_recorders_count_themselves() -> None:
    """What they record has its cost already, or is counted as unpriced; nothing is added to it."""
    with running(profile="llmdevops", prices=TABLE) as bridge:
        recorder = LLMRecorder(bridge.meter_provider, prices=TABLE)
        for model in ("gpt-4o", "house-model"):
            recorder.record_request(
                model=model, provider="openai", duration=1, input_tokens=1000, output_tokens=0
            )
        assert costs(bridge, "model") == {("gpt-4o",): 0.0025}
        assert "llmdevops_llm_unpriced_tokens" not in families_of(bridge)


def ask(recorder: LLMRecorder, model: str = "gpt-4o", **options: Any) -> None:
    """A request with 1,000 tokens of input, of which 400 were cached."""
    usage = {"input_tokens": 1000, "output_tokens": 0, "cached_tokens": 400}
    recorder.record_request(model=model, provider="openai", duration=1, **usage, **options)


@pytest.mark.parametrize("recording", ["sdk", "direct"])
@pytest.mark.parametrize("emit", ["current", "latest"])
def test_a_recorder_without_a_table_leaves_costs_to_the_bridge(recording: str, emit: Emit) -> None:
    """Its tokens are anybody's tokens: they have a price, or are without one, and count once."""
    with running(profile="llmdevops", prices=TABLE, recording=recording) as bridge:
        recorder = LLMRecorder(bridge.meter_provider, emit=emit, prices=None)
        ask(recorder)
        ask(recorder, "house-model")
        ask(recorder, operation="invoke_agent")  # its tokens are those of its calls
        assert costs(bridge, "model", "type") == {
            ("gpt-4o", "input"): 0.0015,
            ("gpt-4o", "cached"): 0.0005,
            ("gpt-4o", "output"): 0,
        }
        assert costs(bridge, "model", name="llmdevops_llm_unpriced_tokens") == {("house-model",): 1000}
        assert "llmdevops_llm_unpriced_requests" not in families_of(bridge)


def test_recorders_with_and_without_a_table_are_told_apart() -> None:
    """Of one model, each call costs what its recorder, its provider or the bridge says, and never two."""
    with running(profile="llmdevops", prices=TABLE) as bridge:
        own = PriceTable("own", {"gpt-4o": Price(100)})
        with_table = LLMRecorder(bridge.meter_provider, prices=own)
        without = LLMRecorder(bridge.meter_provider, prices=None)
        for times in (1, 2):
            ask(with_table)  # 0.1
            ask(without)  # 0.002
            ask(without, cost=3)
            assert sum(costs(bridge, "model").values()) == pytest.approx(times * 3.102)
        with_table.prices = None
        ask(with_table)
        assert sum(costs(bridge, "model").values()) == pytest.approx(6.206)


@pytest.mark.parametrize("made", ["before", "after"])
def test_a_recorder_has_the_table_of_its_bridge(made: str) -> None:
    """The one of `start()`, and the one that the reader has later; another provider's is another one."""
    provider: Any = None
    with running(prices=TABLE) as bridge, running() as other:
        recorder = LLMRecorder(bridge.meter_provider)
        assert recorder.prices is TABLE
        assert LLMRecorder(other.meter_provider).prices is PriceTable.default()
        ask(recorder)
        if made == "after":
            recorder = LLMRecorder(bridge.meter_provider)
        new = PriceTable("new", {"gpt-4o": Price(1)})
        bridge.reader.prices = new
        assert recorder.prices is new
        ask(recorder)
        assert costs(bridge, name="gen_ai_usage_cost_USD") == {(): pytest.approx(0.002 + 0.001)}
        bridge.reader.prices = None
        ask(recorder)
        assert costs(bridge, name="gen_ai_usage_cost_USD") == {(): pytest.approx(0.002 + 0.001)}
        recorder.prices = TABLE
        ask(recorder)
        assert costs(bridge, name="gen_ai_usage_cost_USD") == {(): pytest.approx(0.002 + 0.001 + 0.002)}
        provider = bridge.meter_provider
    assert LLMRecorder(provider).prices is None  # as long as nobody else shows it
    assert LLMRecorder(SdkMeterProvider()).prices is PriceTable.default()


class _NoHash(NoOpMeterProvider):
    __hash__ = None  # type: ignore[assignment]


class _NoReference:
    __slots__ = ()


@pytest.mark.parametrize("provider", [_NoHash(), _NoReference()], ids=["no hash", "no weak reference"])
def test_a_provider_that_cannot_be_looked_up_is_shown_by_nobody(provider: object) -> None:
    """So the table is the default one, whatever the application has as its provider."""
    assert Shown(lambda: provider).table is PriceTable.default()


@pytest.mark.skipif(not TELLS_PROVIDER, reason="this SDK does not say which provider has a reader")
def test_a_recorder_has_the_table_of_a_reader_of_ones_own() -> None:
    """Where the application makes the provider, too."""
    reader = PrometheusMetricReader(registry=None, prices=TABLE)
    provider = SdkMeterProvider(metric_readers=[reader])
    assert LLMRecorder(provider).prices is TABLE
    provider.shutdown()


@pytest.mark.parametrize("options", [{"prices": None}, {"costs": "shown"}])
def test_spans_without_a_table_leave_costs_to_the_bridge(options: dict[str, Any]) -> None:
    """As recorders do."""
    with running(profile="llmdevops", prices=TABLE) as bridge:
        tracers = TracerProvider()
        tracers.add_span_processor(SpanMetrics(bridge.meter_provider, **options))
        said = {"gen_ai.usage.input_tokens": 1000, "gen_ai.usage.output_tokens": 0}
        with tracers.get_tracer("app").start_as_current_span("chat") as span:
            span.set_attributes({**CALL, "gen_ai.request.model": "gpt-4o", **said})
        assert sum(costs(bridge, "model").values()) == 0.0025


def test_what_agents_say_is_not_paid_twice() -> None:
    """The tokens of an agent are those of its calls."""
    with running(prices=TABLE) as bridge:
        histogram = bridge.meter_provider.get_meter("app").create_histogram("gen_ai.client.token.usage")
        for operation in ("chat", "invoke_agent", "execute_tool"):
            attributes = {"gen_ai.operation.name": operation, "gen_ai.token.type": "input"}
            histogram.record(1000, {**attributes, "gen_ai.request.model": "gpt-4o"})
        assert costs(bridge, name="gen_ai_usage_cost_USD") == {(): 0.0025}


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["gpt-4o", "o3", "gpt-4o-2024-05-13", "house"]),
            st.sampled_from(KINDS),
            st.integers(0, 10**7),
            st.sampled_from([None, None, None, "scrape", "cheap", "dear"]),
        ),
        max_size=25,
    )
)
@settings(max_examples=examples(25))
def test_a_new_table_never_makes_a_counter_fall(steps: list[tuple[str, str, int, str | None]]) -> None:
    """Whatever comes in whatever order, with whichever table: no sample of costs is below the one before."""
    tables = {"cheap": PriceTable("c", {"gpt-4o": Price(0.1, 0.1)}), "dear": TABLE}
    with running(prices=TABLE) as bridge:
        last: dict[tuple[str, ...], float] = {}
        for model, kind, count, then in steps:
            usage(bridge.meter_provider, model, kind, count)
            if then in tables:
                bridge.reader.prices = tables[then]
            if then is not None:
                shown = costs(
                    bridge, "gen_ai_request_model", "gen_ai_token_type", name="gen_ai_usage_cost_USD"
                )
                assert all(shown[key] >= value for key, value in last.items())
                last = shown


def _long_calls(bridge: Bridge, who: str) -> None:
    """A call of 200,000 tokens and one of 300,000, 100,000 of these cached; 1,000 tokens out of each."""
    provider = bridge.meter_provider
    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(SpanMetrics(provider, costs="shown" if who != "spans" else "recorded"))
    scope = "opentelemetry.instrumentation.genai.x" if who == "a library with spans" else "app"
    for tokens, cached in ((200_000, 0), (300_000, 100_000)):
        if who == "a recorder":
            counts = {"input_tokens": tokens, "output_tokens": 1000, "cached_tokens": cached}
            LLMRecorder(provider).record_request(model="gemini", provider="gcp.gemini", duration=1, **counts)
            continue
        if "library" in who:
            usage(provider, "gemini", "input", tokens, scope=scope)
            usage(provider, "gemini", "output", 1000, scope=scope)
        if who != "a library":
            said = {
                **CALL,
                "gen_ai.request.model": "gemini",
                "gen_ai.usage.input_tokens": tokens,
                "gen_ai.usage.output_tokens": 1000,
                "gen_ai.usage.cache_read.input_tokens": cached,
            }
            tracers.get_tracer(scope).start_span("chat", attributes=said).end()


@pytest.mark.parametrize("profile", ["llmdevops", "semconv"])
@pytest.mark.parametrize("who", ["a recorder", "spans", "spans, shown", "a library with spans", "a library"])
def test_long_calls_have_a_price_of_their_own(
    profile: str, who: str, caplog: pytest.LogCaptureFixture
) -> None:
    """All of such a call costs more. Where only sums of tokens are known, the log says that this is lost."""
    price = Price(1, 10, cached=0.5, above=[(200_000, Price(2, 20, cached=1))])
    name = "gen_ai_usage_cost_USD" if profile == "semconv" else "llmdevops_llm_cost_usd"
    with running(profile=profile, prices=PriceTable("test", {"gemini": price})) as bridge:
        before = sum(costs(bridge, name=name).values())
        _long_calls(bridge, who)
        found = sum(costs(bridge, name=name).values()) - before
    short, long = 0.2 + 0.01, 0.4 + 0.1 + 0.02
    # A library's metrics alone say neither which tokens were cached nor how long calls were.
    assert found == pytest.approx(short + (0.3 + 0.01 if who == "a library" else long))
    said = [text for text in caplog.messages if "span_metrics=True" in text]
    assert len(said) == ("library" in who)


@pytest.mark.parametrize(("shown", "expected"), [(True, 0.6), (False, 0.0)])
def test_what_a_long_call_costs_more_is_nothing_without_the_rest(shown: bool, expected: float) -> None:
    """A library counts tokens, and spans know how long its call was; somebody has to show what these cost."""
    table = PriceTable("test", {"gpt-4o": Price(1, 1, above=[(200_000, Price(2, 2))])})
    said = {**CALL, "gen_ai.request.model": "gpt-4o"}
    with running(profile="semconv", prices=table if shown else False) as bridge:
        tracers = TracerProvider(shutdown_on_exit=False)
        metered = {"a.library": ["tokens"]}
        tracers.add_span_processor(SpanMetrics(bridge.meter_provider, prices=table, measured=metered))
        usage(bridge.meter_provider, "gpt-4o", "input", 300_000, scope="a.library")
        long = {**said, "gen_ai.usage.input_tokens": 300_000}
        tracers.get_tracer("a.library").start_span("chat", attributes=long).end()
        assert sum(costs(bridge, name="gen_ai_usage_cost_USD").values()) == pytest.approx(expected)


def test_it_is_exact() -> None:
    """A million small calls cost what their tokens cost together, to the last digit."""
    with running(prices=TABLE) as bridge:
        for _ in range(1000):
            usage(bridge.meter_provider, "gpt-4o", "output", 7)
        found = costs(bridge, name="gen_ai_usage_cost_USD")
    assert found == {(): float(Fraction(7000 * 10, 10**6))}


def test_a_new_table_counts_from_then_on() -> None:
    """What was shown stays, and the table in use is named."""
    with running(prices=TABLE, self_metrics=True) as bridge:
        usage(bridge.meter_provider, "gpt-4o", "output", 1000)
        before = costs(bridge, name="gen_ai_usage_cost_USD")
        bridge.reader.prices = PriceTable("new", {"gpt-4o": Price(1, 1)}, date="2026-11-29")
        assert costs(bridge, name="gen_ai_usage_cost_USD") == before
        usage(bridge.meter_provider, "gpt-4o", "output", 1000)
        assert costs(bridge, name="gen_ai_usage_cost_USD") == {(): 0.011}
        (info,) = families_of(bridge)["otel_prom_bridge_price_table_info"].samples
        assert (info.labels, info.value) == ({"version": "new", "date": "2026-11-29"}, 1)
        bridge.reader.prices = None
        usage(bridge.meter_provider, "gpt-4o", "output", 1000)
        assert costs(bridge, name="gen_ai_usage_cost_USD") == {(): 0.011}


def test_exemplars_are_costs_of_calls() -> None:
    """An exemplar leads to the call, and says what it cost."""
    with running(prices=TABLE) as bridge, in_span(0xABC):
        usage(bridge.meter_provider, "gpt-4o", "output", 1000)
        body = bridge.reader.expose(OPENMETRICS).body.decode()
    (line,) = (line for line in body.splitlines() if line.startswith("gen_ai_usage_cost_USD_total"))
    assert f'trace_id="{0xABC:032x}"' in line
    assert line.split("#")[1].split("}")[1].split()[0] == "0.01"


def test_past_a_limit_costs_are_costs() -> None:
    """Models past the limit of series share one, in which each token has its own price."""
    with running(profile="llmdevops", prices=TABLE, max_series_per_metric=2) as bridge:
        models = ["gpt-4o", "o3", "gpt-4o-2024-05-13"]
        for model in models:
            for kind in ("input", "output"):
                usage(bridge.meter_provider, model, kind, 1000)
        found = costs(bridge, name="llmdevops_llm_cost_usd")
    assert sum(found.values()) == pytest.approx(0.0125 + 0.01 + 0.02)


@pytest.mark.parametrize("prices", ["nonsense", 17, True, "missing.toml", {"gpt-4o": 1}])
def test_what_is_no_table_is_refused(prices: object) -> None:
    """The error names the option."""
    with pytest.raises(ConfigurationError, match="prices"), running(prices=prices):
        pass


def test_a_table_of_a_file(tmp_path: Path) -> None:
    """A path is that of a file with prices."""
    file = tmp_path / "mine.toml"
    file.write_text('date = 2026-01-31\n[models]\n"gpt-4o" = { input = 1000 }\n')
    with running(prices=str(file)) as bridge:
        usage(bridge.meter_provider, "gpt-4o", "input", 1000)
        assert costs(bridge, name="gen_ai_usage_cost_USD") == {(): 1}


def test_a_view_of_ones_own() -> None:
    """Anybody's counter of tokens can be shown as costs."""
    view = ExportView(
        instrument_name="tokens", name="spent_usd_total", price="output", keep=["gen_ai.request.model"]
    )
    with running(views=[view], prices=TABLE) as bridge:
        counter = bridge.meter_provider.get_meter("app").create_counter("tokens")
        counter.add(1000, {"gen_ai.request.model": "gpt-4o", "session.id": "1"})
        assert costs(bridge, name="spent_usd") == {(): 0.01}
    with pytest.raises(ConfigurationError, match="price"):
        ExportView(instrument_name="tokens", price="gold")
    with pytest.raises(ConfigurationError, match="price"):
        ExportView(instrument_name="tokens", name="x", take="count", price="input")


@pytest.mark.parametrize("count", [float("nan"), float("inf"), 10**300, -5])
def test_odd_numbers_of_tokens_do_no_harm(count: float) -> None:
    """What an instrument lets through is shown somehow, and the next scrape works."""
    with running(prices=TABLE) as bridge:
        usage(bridge.meter_provider, "gpt-4o", "cached", count)
        families_of(bridge)
        usage(bridge.meter_provider, "o3", "input", 1000)
        assert costs(bridge, "gen_ai_request_model", name="gen_ai_usage_cost_USD")[("o3",)] == 0.002


def test_the_models_of_the_table_cost_what_the_package_says() -> None:
    """Our table agrees with `genai-prices`, which is kept up to date; what differs is listed."""
    package = PriceTable.from_genai_prices()
    different = {
        model: (price, found)
        for model, price in PriceTable.default().models.items()
        if (found := package.price(model, _maker(model))) is not None
        and any(abs(price.of(kind) - found.of(kind)) > 1e-9 for kind in ("input", "output", "cached"))
    }
    assert different == {}
    tiers = {model: price.above for model, price in PriceTable.default().models.items() if price.above}
    assert tiers == {model: package.price(model, _maker(model)).above for model in tiers}  # type: ignore[union-attr]
    assert len(tiers) == 2
    assert sum(package.price(m, _maker(m)) is not None for m in PriceTable.default().models) > 20
    assert package.price("no-such-model") is None
    # A day of the data, and not the one on which somebody asks: old prices have to look old.
    data = Path(find_spec("genai_prices").origin).with_name("data.py").read_text()  # type: ignore[union-attr,arg-type]
    days = {datetime.date(*map(int, day)) for day in re.findall(r"date\((\d+), (\d+), (\d+)\)", data)}
    assert package.date == max(day for day in days if day <= datetime.date.today()).isoformat()


def _maker(model: str) -> str:
    return (
        "anthropic"
        if model.startswith("claude")
        else "gcp.gemini"
        if model.startswith("gemini")
        else "openai"
    )

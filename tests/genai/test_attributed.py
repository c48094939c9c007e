"""Labels for teams and tenants from the context: whoever records, through either door, and bounded."""

from __future__ import annotations

import asyncio
import logging
import threading
import uuid
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from bridges import families_of, running
from opentelemetry import baggage, trace
from opentelemetry.context import attach, detach, get_current
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider

from otel_prom_bridge import Bridge, ConfigurationError, ExportView, PrometheusMetricReader, Tenants
from otel_prom_bridge.attribution import ATTRIBUTED
from otel_prom_bridge.configuration.settings import from_flags
from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.genai import LLMRecorder, Price, PriceTable, SpanMetrics, attributed
from otel_prom_bridge.genai.attributed import _blocks
from otel_prom_bridge.hub.process import running as hub
from otel_prom_bridge.profiles import load_profile
from otel_prom_bridge.push.reader import PushReader
from otel_prom_bridge.testing import Clock
from otel_prom_bridge.views.policy import Policy

PRICES = PriceTable.parse('date = 2026-01-31\n[models]\n"gpt-4o" = { input = 2.50, output = 10.00 }')
TEAM = {"team": "app.team"}
LLMDEVOPS = load_profile("llmdevops")
DOORS = ["sdk", "direct"]
CALL = {"gen_ai.request.model": "gpt-4o", "gen_ai.operation.name": "chat"}
SECRET = "sk-proj-4f9a8b7c6d5e4f9a8b7c6d5e"


class Instrumentation:
    """One that knows nothing of teams: it records calls and their tokens."""

    def __init__(self, provider: Any) -> None:
        meter = provider.get_meter("some.instrumentation")
        self._duration = meter.create_histogram("gen_ai.client.operation.duration", unit="s")
        self._tokens = meter.create_histogram("gen_ai.client.token.usage", unit="{token}")
        self._other = meter.create_counter("orders")

    def call(self, tokens: int = 1000, **attributes: str) -> None:
        """One call of a model."""
        said = {**CALL, **{key.replace("__", "."): value for key, value in attributes.items()}}
        self._duration.record(0.5, said)
        self._tokens.record(tokens, {**said, "gen_ai.token.type": "input"})
        self._other.add(1)


@contextmanager
def bridge(**options: Any) -> Iterator[tuple[Bridge, Instrumentation]]:
    """A bridge that shows costs and teams, and an instrumentation."""
    options = {"profile": LLMDEVOPS, "context_labels": TEAM, "prices": PRICES, **options}
    with running(**options) as found:
        yield found, Instrumentation(found.meter_provider)


def by_team(found: Bridge, name: str, label: str = "team") -> dict[str, float]:
    """The sum of a family's values, or of its counts, for each team."""
    result: dict[str, float] = {}
    for sample in families_of(found)[name].samples:
        if sample.name in (f"{name}_total", f"{name}_count", name):
            team = sample.labels.get(label, "")
            result[team] = result.get(team, 0) + sample.value
    return result


@pytest.mark.parametrize("recording", DOORS)
def test_calls_tokens_and_costs_have_the_team(recording: str) -> None:
    """What an instrumentation records within a block has its label, also with nested blocks and without."""
    with bridge(recording=recording) as (found, some):
        some.call(1000)
        with attributed(team="search"):
            some.call(2000)
            with attributed(team="ads"):
                some.call(4000)
            with attributed(team=None):
                some.call(8000)
            some.call(2000)
        some.call(1000)
        expected = {"": 10000.0, "search": 4000.0, "ads": 4000.0}
        assert by_team(found, "llmdevops_llm_tokens") == expected
        assert by_team(found, "llmdevops_llm_requests") == {"": 3, "search": 2, "ads": 1}
        assert by_team(found, "llmdevops_llm_request_duration_seconds") == {"": 3, "search": 2, "ads": 1}
        costs = by_team(found, "llmdevops_llm_cost_usd")
        assert costs == {team: pytest.approx(count * 2.5e-6) for team, count in expected.items()}
        assert by_team(found, "orders") == {"": 6}


@pytest.mark.parametrize("recording", DOORS)
def test_semconv_has_the_label_and_not_the_key(recording: str) -> None:
    """The profile that keeps all attributes has one label of it."""
    with bridge(recording=recording, profile="semconv") as (found, some):
        with attributed(team="search"):
            some.call()
        some.call(app__team="ads")
        samples = families_of(found)["gen_ai_client_token_usage"].samples
        assert {sample.labels["team"] for sample in samples} == {"search", "ads"}
        assert not any("app_team" in sample.labels for sample in samples)


@pytest.mark.parametrize("recording", DOORS)
def test_baggage_counts_where_nothing_nearer_does(recording: str) -> None:
    """What a measurement says comes first, then the block, then baggage, which the block does not make."""
    with bridge(recording=recording) as (found, some):
        token = attach(baggage.set_baggage("app.team", "from-elsewhere"))
        some.call()
        with attributed(team="search"):
            assert baggage.get_all() == {"app.team": "from-elsewhere"}
            some.call()
            some.call(app__team="own")
        detach(token)
        assert by_team(found, "llmdevops_llm_requests") == {"from-elsewhere": 1, "search": 1, "own": 1}


def test_other_readers_see_nothing_of_it() -> None:
    """A reader beside ours has the attributes that the instrumentation recorded."""
    ours = PrometheusMetricReader(registry=None, context_labels=TEAM)
    other = InMemoryMetricReader()
    provider = MeterProvider([other, ours], shutdown_on_exit=False)
    with attributed(team="search"):
        Instrumentation(provider).call()
    assert b'team="search"' in ours.expose().body
    assert "search" not in other.get_metrics_data().to_json()


@pytest.mark.parametrize("recording", DOORS)
def test_without_the_option_nothing_is_different(recording: str) -> None:
    """The block says nothing, and the recording path is the one that it was."""
    with bridge(recording=recording, context_labels=None) as (found, some):
        with attributed(team="search"):
            some.call()
        assert by_team(found, "llmdevops_llm_requests") == {"": 1}
        if recording == "direct":
            assert "record" not in vars(some._duration)
        else:
            consumer: Any = found.reader._consumer  # type: ignore[union-attr]
            (storage,) = consumer._reader_storages.values()
            assert not type(storage).__name__.startswith("Completing")


@pytest.mark.parametrize("recording", DOORS)
def test_ids_secrets_and_floods_are_other(recording: str, caplog: pytest.LogCaptureFixture) -> None:
    """Fifty teams have labels; ids, keys, addresses and long texts never do, nor does a log say them."""
    hostile = [
        SECRET,
        "ada@example.com",
        str(uuid.uuid4()),
        "x" * 200,
        "msg_01HZX3K4ABCD",
        f"Bearer {SECRET}",
    ]
    tracer = TracerProvider().get_tracer("t")
    with caplog.at_level(logging.WARNING), bridge(recording=recording) as (found, some):
        for value in hostile:
            with attributed(team=value), tracer.start_as_current_span("span"):
                some.call()
        assert by_team(found, "llmdevops_llm_requests") == {"other": len(hostile)}
        for number in range(60):
            with attributed(team=f"team {number}"):
                some.call()
        teams = by_team(found, "llmdevops_llm_requests")
        assert len(teams) == 51
        assert teams["team 49"] == 1
        assert sum(teams.values()) == len(hostile) + 60
        body = found.reader.expose("application/openmetrics-text").body.decode()
    assert not any(value in text for value in hostile for text in (body, caplog.text))
    assert caplog.text.count("looks like a secret") == caplog.text.count("looks like an id") == 1


@pytest.mark.parametrize("recording", DOORS)
def test_teams_whose_series_expired_make_room(recording: str, clock: Clock) -> None:
    """Others take the places of those that are gone, and no total is lost; who records keeps a place."""
    with bridge(recording=recording, max_client_values=3, expire_after=100) as (found, some):

        def calls(*teams: str) -> dict[str, float]:
            for team in teams:
                with attributed(team=team):
                    some.call(1000)
            return by_team(found, "llmdevops_llm_tokens")

        assert set(calls("ads", "search", "maps")) == {"ads", "search", "maps"}
        assert calls("ads", "mail", "news")["other"] == 2000
        for _ in range(3):
            clock.advance(60)
            shown = calls("ads")
        assert shown == {"ads": 5000}
        assert calls("mail", "news", "ads") == {"ads": 6000, "mail": 1000, "news": 1000}
        assert calls("search")["other"] == 1000


@pytest.mark.parametrize("recording", DOORS)
def test_tenants_bound_it_where_they_are_listed(recording: str) -> None:
    """Who is listed keeps its label, also if that looks like an id, and everybody else is other."""
    acme = str(uuid.uuid4())
    tenants = Tenants("app.team", {acme: 10, "globex": 10})
    with bridge(recording=recording, tenant=tenants) as (found, some):
        for team in (acme, "globex", "stranger", "another"):
            with attributed(team=team):
                some.call()
        assert by_team(found, "llmdevops_llm_requests") == {acme: 1, "globex": 1, "other": 2}


def test_it_is_known_how_many_series_there_can_be() -> None:
    """Fifty values, other and none; or those of the tenants, whoever else, and none; or nobody knows."""
    for expected, options in (
        (52, {}),
        (4, {"tenant": Tenants("app.team", {"a": 1, "b": 1})}),
        (None, {"max_client_values": 0}),
    ):
        policy: Any = Policy(context_labels=TEAM, **options)  # type: ignore[arg-type]
        assert policy.attribute_map(ExportView(keep=[]), Findings()).max_series == expected


@pytest.mark.parametrize("recording", DOORS)
def test_tasks_and_threads_have_it_with_their_context(recording: str) -> None:
    """Tasks that run beside each other are told apart; a thread has what its context has."""
    with bridge(recording=recording) as (found, some):

        async def of(team: str) -> None:
            with attributed(team=team):
                await asyncio.sleep(0.001)
                some.call()
                await asyncio.to_thread(some.call)

        async def main() -> None:
            await asyncio.gather(*(of(f"team {number % 5}") for number in range(20)))

        asyncio.run(main())
        with attributed(team="threads"):
            within = copy_context()
            threads = [threading.Thread(target=within.copy().run, args=(some.call,)) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        expected = {f"team {number}": 8.0 for number in range(5)} | {"threads": 4.0}
        assert by_team(found, "llmdevops_llm_requests") == expected


def test_one_object_serves_many_tasks_and_threads(caplog: pytest.LogCaptureFixture) -> None:
    """It can stand for a team at the top of a module: each block ends where it began."""
    search, ads = attributed(team="search"), attributed(team="ads")

    def said() -> Any:
        return (get_current().get(ATTRIBUTED) or {}).get("team")

    async def task(number: int) -> list[Any]:
        found = []
        with search:
            await asyncio.sleep(0.001 * (number % 3))
            with ads, search:
                await asyncio.sleep(0)
            found.append(said())
            await asyncio.sleep(0.001 * ((number + 1) % 3))
        return [*found, said()]

    async def tasks() -> list[list[Any]]:
        return await asyncio.gather(*map(task, range(20)))

    with ThreadPoolExecutor(4) as pool:
        each = list(pool.map(lambda _: asyncio.run(tasks()), range(4)))
    assert all(found == ["search", None] for together in each for found in together)
    assert (said(), caplog.records) == (None, [])


@pytest.mark.parametrize("recording", DOORS)
def test_many_models_of_many_teams_have_places_where_these_are_asked_for(recording: str) -> None:
    """50 models of 20 teams: what each team pays is exact, as docs/genai.md says."""
    models = [f"model-{number}" for number in range(50)]
    prices = PriceTable("test", {model: Price(number + 0.5) for number, model in enumerate(models)})
    paid: dict[str, Decimal] = {}
    with bridge(prices=prices, recording=recording, max_series_per_metric=5000, max_series=50_000) as (
        found,
        _,
    ):
        meter = found.meter_provider.get_meter("lib")
        tokens = meter.create_counter("gen_ai.client.inference.usage.input_tokens")
        for number in range(20):
            with attributed(team=f"team-{number}"):
                for model in models:
                    tokens.add(100 + number, {"gen_ai.request.model": model})
            paid[f"team-{number}"] = (100 + number) * Decimal(1250) / 1_000_000  # 0.5 + 1.5 + … + 49.5
        shown = by_team(found, "llmdevops_llm_cost_usd")
    assert shown == {team: pytest.approx(float(usd), rel=1e-12) for team, usd in paid.items()}


@pytest.mark.parametrize("recording", DOORS)
def test_past_the_limits_each_team_still_pays_what_is_its_own(recording: str) -> None:
    """Ten models of eight teams are more than there are places for. The model is lost, and no team is."""
    models = [f"model-{number}" for number in range(10)]
    prices = PriceTable("test", {model: Price(number + 0.5) for number, model in enumerate(models)})
    limit = {"max_series_per_metric": 20, "max_lines_per_metric": 200}
    labels = {**TEAM, "feature": "app.feature"}
    with bridge(prices=prices, recording=recording, context_labels=labels, **limit) as (found, some):
        for team in range(8):
            for model in models[:: 1 + team % 2]:
                with attributed(team=f"team-{team}", feature=model):
                    some.call(100 + team, **{"gen_ai__request__model": model})
        costs = by_team(found, "llmdevops_llm_cost_usd")
        requests = by_team(found, "llmdevops_llm_request_duration_seconds")
        (most,) = [
            metric.maximum
            for metric in found.reader.cardinality()
            if metric.metric == "llmdevops_llm_cost_usd_total"
        ]
        shown = families_of(found)["llmdevops_llm_cost_usd"].samples
    # The prices of all models are 50 together, and those of every second one are 22.5.
    paid = [(100 + team) * (22.5 if team % 2 else 50) / 1e6 for team in range(8)]
    assert costs == {f"team-{team}": pytest.approx(usd) for team, usd in enumerate(paid)}
    assert requests == {f"team-{team}": 5 if team % 2 else 10 for team in range(8)}
    past = [sample.labels for sample in shown if sample.labels.get("otel_metric_overflow")]
    assert len(past) >= 6
    assert all("feature" not in labels for labels in past)
    assert most is not None
    assert len(shown) <= most


def test_without_a_limit_of_values_no_team_stays_past_the_other_limits() -> None:
    """Otherwise nothing would bound the series there."""
    with bridge(max_client_values=0, max_series_per_metric=5) as (found, some):
        for team in range(50):
            with attributed(team=f"team-{team}"):
                some.call()
        assert len(by_team(found, "llmdevops_llm_requests")) == 6


def test_a_generator_ends_within_a_later_block() -> None:
    """Its block goes, and the later one stays; after that nothing is said."""

    def answers() -> Iterator[int]:
        with attributed(team="search", feature="ask"):
            yield 1

    stream = answers()
    next(stream)
    with attributed(team="ads"):
        assert get_current().get(ATTRIBUTED) == {"team": "ads", "feature": "ask"}
        del stream
        assert get_current().get(ATTRIBUTED) == {"team": "ads"}
    assert get_current().get(ATTRIBUTED) is None


def test_a_generator_that_another_task_closes(caplog: pytest.LogCaptureFixture) -> None:
    """As loops of events do it at their end: nothing is logged, and that task goes on as it was."""

    async def answers() -> AsyncIterator[int]:
        with attributed(team="search"):
            yield 1

    async def closed_elsewhere() -> object:
        stream = answers()
        await anext(stream)

        async def close() -> object:
            with attributed(team="ads"):
                await stream.aclose()
                return get_current().get(ATTRIBUTED)

        return await asyncio.create_task(close())

    assert asyncio.run(closed_elsewhere()) == {"team": "ads"}
    assert caplog.records == []


def test_generators_that_nobody_closes_leave_no_blocks() -> None:
    """The loop closes them in tasks of its own. A task may leave any number of them, and stays as fast."""

    async def answers() -> AsyncIterator[int]:
        with attributed(team="search"):
            yield 1
            yield 2

    async def left(count: int) -> int:
        for _ in range(count):
            async for _ in answers():
                break
            await asyncio.sleep(0)
        return len(_blocks.get())

    assert asyncio.run(left(50)) <= asyncio.run(left(3)) <= 3


@pytest.mark.parametrize("recording", DOORS)
def test_recorders_and_spans_have_it(recording: str) -> None:
    """A call of a recorder has the team of its start; a span the one of its start, wherever it ends."""
    with bridge(recording=recording) as (found, _):
        llm = LLMRecorder(found.meter_provider, prices=PRICES)
        tracers = TracerProvider(shutdown_on_exit=False)
        tracers.add_span_processor(SpanMetrics(found.meter_provider, prices=PRICES))
        tracer = tracers.get_tracer("a.framework")
        with attributed(team="recorder"):
            call = llm.call(model="gpt-4o", provider="openai").start()
        call.tokens(input=100)
        call.end()
        with attributed(team="span"):
            span = tracer.start_span("chat", attributes={**CALL, "gen_ai.usage.input_tokens": 200})
        span.end()
        with attributed(team="parent"):
            context = trace.set_span_in_context(trace.INVALID_SPAN, get_current())
        tracer.start_span("chat", context, attributes={**CALL, "gen_ai.usage.input_tokens": 400}).end()
        tokens = by_team(found, "llmdevops_llm_tokens")
        assert tokens == {"recorder": 100, "span": 200, "parent": 400}
        costs = by_team(found, "llmdevops_llm_cost_usd")
        assert costs == {team: pytest.approx(count * 2.5e-6) for team, count in tokens.items()}


def test_workers_push_it_and_the_hub_shows_it(tmp_path: Path) -> None:
    """A process that pushes says the key, and the hub makes the label of it."""
    flags = {"profile": "llmdevops", "context_labels": "team=app.team", "host": "127.0.0.1", "port": "0"}
    with hub(from_flags({**flags, "otlp_socket": str(tmp_path / "hub.sock")})) as served:
        reader = PushReader(f"unix:{served.socket}", policy=Policy(context_labels=TEAM), interval=60)
        provider = MeterProvider([reader], shutdown_on_exit=False)
        with attributed(team="search"):
            Instrumentation(provider).call()
        assert provider.force_flush()
        provider.shutdown()
        lines = served.hub.expose().body.decode().splitlines()
    found = [line for line in lines if line.startswith("llmdevops_llm_requests_total{")]
    assert len(found) == 1
    assert 'team="search"' in found[0]


@pytest.mark.parametrize("said", [object(), {"a": 1}, [1, 2], b"x", float("nan"), "", "\ud800", 5, True])
def test_odd_values_never_raise(said: Any) -> None:
    """Whatever a block says, calls are counted; what is no value of an attribute says nothing."""
    for recording in DOORS:
        with bridge(recording=recording) as (found, some):
            with attributed(team=said), attributed(**{"no label": said}):
                some.call()
            assert sum(by_team(found, "llmdevops_llm_requests").values()) == 1


@pytest.mark.parametrize("said", [object(), {"a": 1}, ["a"], ("a", "b"), [], b"x"])
def test_what_is_no_text_number_or_truth_value_is_left_out(
    said: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is said by it, not what a block around it says either, and that is logged once."""
    with bridge(recording="direct") as (found, some), attributed(team="search"):
        for _ in range(2):
            with attributed(team=said):
                some.call()
        assert by_team(found, "llmdevops_llm_requests") == {"": 2}
    (record,) = caplog.records
    assert "'team'" in record.getMessage()


def test_a_context_that_is_odd_never_raises() -> None:
    """Somebody else may put anything under the key, and baggage may be anything."""
    for value in (5, "text", object()):
        token = attach(get_current().__class__({ATTRIBUTED: value}))
        for recording in DOORS:
            with bridge(recording=recording) as (found, some):
                some.call()
                some._duration.record(1, [("a", 1)])
                assert by_team(found, "llmdevops_llm_requests")[""] >= 1
        detach(token)


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ("team", "context_labels"),
        ({"te-am": "x"}, "context_labels['te-am']"),
        ({"le": "x"}, "context_labels['le']"),
        ({"team": ""}, "context_labels['team']"),
        ({"user": "enduser.id"}, "context_labels['user']"),
        ({"session": "sessionId"}, "context_labels['session']"),
    ],
)
def test_what_cannot_work_is_refused(value: Any, key: str) -> None:
    """The error names the key, the value and what is allowed; ids are refused by their keys."""
    with pytest.raises(ConfigurationError) as error:
        PrometheusMetricReader(registry=None, context_labels=value)
    assert error.value.key == key


def test_tenants_name_the_key_and_not_the_label() -> None:
    """Points have the attribute; the error says its key."""
    with pytest.raises(ConfigurationError, match=r"'app.team', of which the label 'team' is made"):
        PrometheusMetricReader(registry=None, context_labels=TEAM, tenant=Tenants("team", {"a": 1}))


def test_the_environment_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The text of a variable is read as the mapping of a file."""
    monkeypatch.setenv("OTEL_PROM_BRIDGE_CONTEXT_LABELS", "team=app.team, feature=app.feature")
    with bridge(context_labels=None) as (found, some):
        with attributed(team="search", feature="complete"):
            some.call()
        assert by_team(found, "llmdevops_llm_requests") == {"search": 1}
        assert by_team(found, "llmdevops_llm_requests", "feature") == {"complete": 1}

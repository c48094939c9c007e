"""The JSON interface: each answer is as the schema says, and its numbers are those of a scrape."""

from __future__ import annotations

import functools
import json
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from explored import Ask, ask_of, shop
from genai_points import Recorded
from jsonschema import Draft202012Validator
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from oracles import samples
from setups import Setup

from otel_prom_bridge import ExportView, Outcome, start_http_server
from otel_prom_bridge.endpoint.messages import Request
from otel_prom_bridge.endpoint.scrape import Scrape
from otel_prom_bridge.explorer.answers import Explorer
from otel_prom_bridge.explorer.page import schema
from otel_prom_bridge.explorer.target import FileTarget, RecordingTarget, UrlTarget
from otel_prom_bridge.rules import Allow, ModelName
from otel_prom_bridge.snapshots import Snapshot
from otel_prom_bridge.snapshots.recordings import Recording
from otel_prom_bridge.views.written import VIEWS

Make = Callable[..., Setup]
FAMILY = "shop_orders_total"


def schema_of(name: str) -> dict[str, Any]:
    """The schema of one answer."""
    return {**json.loads(schema()), "$ref": f"#/$defs/{name}"}


@functools.cache
def validator_of(name: str) -> Draft202012Validator:
    """What judges answers by their schema, which is one."""
    Draft202012Validator.check_schema(schema_of(name))
    return Draft202012Validator(schema_of(name))


def valid(kind: str, answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """The answer, if it is as the schema says."""
    validator_of(kind).validate(answer)
    return answer


def row(answer: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The row of a family."""
    found: Mapping[str, Any] = next(item for item in answer["families"] if item["name"] == name)
    return found


def test_the_schema_is_one() -> None:
    """The schema is a schema, and describes every answer that there is."""
    Draft202012Validator.check_schema(schema_of("overview"))
    assert set(schema_of("overview")["$defs"]) >= {
        *("overview", "family", "cardinality", "origin", "models", "health", "error"),
    }


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("overview", ""),
        ("family", f"name={FAMILY}"),
        ("family", "name=http_server_request_duration_seconds&limit=1"),
        ("family", "name=queue_size"),
        ("family", "name=otel_sdk_metric_reader_collection_duration_seconds"),
        ("cardinality", ""),
        ("cardinality", f"name={FAMILY}&without=shop_number"),
        ("origin", f"name={FAMILY}"),
        ("origin", "name=otel_prom_bridge_series"),
        ("models", ""),
        ("health", ""),
    ],
)
def test_answers_are_as_the_schema_says(ask: Ask, name: str, query: str) -> None:
    """Each answer is valid, and what is asked wrongly gets an error that is valid, too."""
    valid(name, ask(name, query))


@pytest.mark.parametrize(
    ("name", "query", "status", "words"),
    [
        ("nothing", "", 404, "overview, "),
        ("family", "name=nobody", 404, "no family 'nobody'"),
        ("family", f"name={FAMILY}&limit=-1", 400, "limit is no whole number"),
        ("family", f"name={FAMILY}&filter=[]", 400, "filter is no object"),
        ("family", f"name={FAMILY}&filter={{", 400, "filter is no object"),
        ("origin", f"name={FAMILY}&series=00", 404, "no such series"),
        ("overview", "&".join("a=1" for _ in range(200)), 400, "more than 100 fields"),
    ],
)
def test_refusals_say_what_to_do(ask: Ask, name: str, query: str, status: int, words: str) -> None:
    """What cannot be answered is answered with an error in words."""
    assert words in valid("error", ask(name, query, status))["error"]


def test_the_overview_counts_what_a_scrape_shows(bridge: Make) -> None:
    """Series, lines and bytes of all families together are those of the text."""
    setup = bridge()
    shop(setup, orders=300)
    answer = ask_of(Explorer(setup.reader))("overview")
    text = setup.reader.expose()
    lines = [line for line in text.body.decode().splitlines() if not line.startswith("#")]
    assert answer["samples"] == len(lines) == sum(item["samples"] for item in answer["families"])
    assert answer["bytes"] == pytest.approx(len(text.body), rel=0.03)
    assert row(answer, FAMILY)["series"] == 300
    assert row(answer, FAMILY)["total"] == sum(
        value for (name, _), value in samples(text.content_type, text.body).items() if name == FAMILY
    )
    assert row(answer, "http_server_request_duration_seconds")["total"] == 100


def test_problems_are_told(ask: Ask) -> None:
    """A callback that failed and a family at its limit are problems of the overview."""
    told = {(item["severity"], item["family"], item["text"]) for item in ask("overview")["problems"]}
    assert ("error", "", "a callback of pool.size failed once; the log says why") in told
    assert ("warning", FAMILY, "at its limit: 2 points are in the series otel_metric_overflow") in told


def test_pages_sorting_and_filters(bridge: Make) -> None:
    """Series come by pages, sorted by value or by a label (numbers as numbers), and filtered by labels."""
    setup = bridge()
    shop(setup, orders=12)
    ask = ask_of(Explorer(setup.reader))

    def numbers(**fields: str) -> list[str]:
        answer = ask("family", urlencode({"name": FAMILY, **fields}))
        return [item["labels"]["shop_number"] for item in answer["series"]]

    assert numbers(sort="label:shop_number", order="asc") == [str(number) for number in range(12)]
    assert numbers(sort="label:shop_number", order="desc", offset="2", limit="3") == ["9", "8", "7"]
    assert set(numbers(sort="value", limit="4")) == {"2", "5", "8", "11"}
    cash = numbers(filter=json.dumps({"payment_method": "cash"}), sort="label:shop_number", order="asc")
    assert cash == ["1", "3", "5", "7", "9", "11"]
    assert ask("family", urlencode({"name": FAMILY, "filter": '{"shop_number":""}'}))["matched"] == 0
    assert sorted(numbers(search="1")) == ["1", "10", "11"]


def test_a_histogram_has_its_distribution_and_the_doctors_remark(bridge: Make) -> None:
    """All buckets are counted, quantiles are those of PromQL, and buckets that say nothing get a remark."""
    setup = bridge()
    histogram = setup.meter.create_histogram("h", unit="ms")
    for _ in range(100):
        histogram.record(0.002)
    answer = valid("family", ask_of(Explorer(setup.reader))("family", "name=h_milliseconds"))
    assert sum(bucket[2] for bucket in answer["distribution"]["buckets"]) == 100
    assert answer["distribution"]["buckets"][0][0] == "-Inf"
    assert "nearly all of 100 observations" in answer["remark"]["text"]


def test_a_native_histogram_has_its_own_buckets(bridge: Make) -> None:
    """Of an exponential histogram the exponential buckets are shown, with zero and negative ones."""
    view = View(instrument_name="e", aggregation=ExponentialBucketHistogramAggregation())
    setup = bridge(views=(view,))
    histogram = setup.meter.create_histogram("e")
    for value in (0, 1, 2, 4, 4):
        histogram.record(value)
    found = valid("family", ask_of(Explorer(setup.reader))("family", "name=e"))["distribution"]
    assert found["native"]
    assert sum(bucket[2] for bucket in found["buckets"]) == found["count"] == 5
    assert all(low < high or low == high == 0 for low, high, _ in found["buckets"])


def test_a_native_histogram_of_anybody(tmp_path: Path) -> None:
    """Numbers that JSON lacks are texts, and the answers of a foreign exposition are valid, too."""
    path = tmp_path / "f.prom"
    path.write_text(
        '# TYPE g gauge\ng NaN\ng{k="1"} +Inf\n# TYPE s summary\ns{quantile="0.5"} NaN\ns_count 0\ns_sum 0\n'
    )
    ask = ask_of(Explorer(FileTarget(Snapshot.of(path))))
    assert {item["value"] for item in valid("family", ask("family", "name=g"))["series"]} == {"NaN", "+Inf"}
    for name in ("overview", "models", "health", "cardinality"):
        valid(name, ask(name))
    assert valid("family", ask("family", "name=s"))["series"][0]["quantiles"] == {"0.5": "NaN"}
    assert valid("origin", ask("origin", "name=g"))["from"] == "exposition"
    assert "a query can" in valid("cardinality", ask("cardinality", "name=g&without=k"))["what_if"]["problem"]


def applied(setup_of: Make, options: Mapping[str, Any]) -> Setup:
    """A shop that is shown so."""
    setup = setup_of(**options)
    shop(setup, orders=12)
    return setup


PLAIN: dict[str, Any] = {}
OWN: dict[str, Any] = {
    "export_views": [
        ExportView(
            instrument_name="shop.orders",
            name=FAMILY,
            keep=["payment.method", "shop.number"],
            rules={"payment.method": Allow(["card"])},
        )
    ]
}
FALLBACK: dict[str, Any] = {
    "fallback_views": [
        ExportView(
            instrument_name="shop.orders", name=FAMILY, rename={"shop.number": "number"}, unit="1", drop=["x"]
        ),
        ExportView(instrument_name="shop.orders", name="shop_other_total", keep=[]),
    ]
}


@pytest.mark.parametrize(
    ("options", "label"), [(PLAIN, "shop_number"), (OWN, "shop_number"), (FALLBACK, "number")]
)
def test_what_if_says_what_the_view_does(make_reader: Make, options: dict[str, Any], label: str) -> None:
    """The number of series without a label is the one that there is with the view that is to be copied."""
    before = applied(make_reader, options)
    answer = ask_of(Explorer(before.reader))("cardinality", f"name={FAMILY}&without={label}")
    what_if = valid("cardinality", answer)["what_if"]
    assert (what_if["before"], what_if["problem"]) == (12, "")
    namespace: dict[str, Any] = {}
    exec(f"from otel_prom_bridge.rules import *\n{what_if['python']}", namespace)
    from_toml = VIEWS.value("views", tomllib.loads(what_if["toml"])["views"])
    assert list(map(repr, from_toml)) == list(map(repr, namespace["views"]))
    after = applied(make_reader, {**options, "export_views": namespace["views"]})
    shown = ask_of(Explorer(after.reader))
    assert row(shown("overview"), FAMILY)["series"] == what_if["series"]
    if "fallback_views" in options:  # a view of one's own replaces all of the profile's
        assert row(shown("overview"), "shop_other_total")["series"] == 1


def test_what_no_view_can_leave_out_is_said(bridge: Make) -> None:
    """A label of the scope comes from no attribute, and a function of the application's is in no file."""
    setup = bridge(scope_info_enabled=True)
    shop(setup)
    ask = ask_of(Explorer(setup.reader))
    found = ask("cardinality", f"name={FAMILY}&without=otel_scope_name")["what_if"]
    assert found["python"] == ""
    assert "scope" in found["problem"]


def test_budgets_and_folds(ask: Ask) -> None:
    """How near each budget is, and how many points went past it."""
    answer = ask("cardinality", f"name={FAMILY}")
    (budget,) = answer["budgets"]
    assert (budget["used"], budget["limit"], budget["whose"]) == (10, 10, "its own")
    assert (answer["overflowed"], answer["overflow_series"], answer["maximum"]) == (2, 1, 11)


def test_a_rule_is_counted_where_it_folds(make_reader: Make) -> None:
    """What a rule folds is told by label and rule."""
    setup = applied(make_reader, OWN)
    (fold,) = ask_of(Explorer(setup.reader))("cardinality", f"name={FAMILY}")["folded"]
    assert (fold["label"], fold["rule"], fold["points"]) == ("payment.method", "Allow", 6)


def test_one_series_step_by_step(make_reader: Make) -> None:
    """Of each attribute: what was recorded, what it became, and who did that."""
    view = ExportView(
        instrument_name="calls",
        name="calls_total",
        keep=["a.b"],
        rename={"gen_ai.request.model": "model"},
        compute={"outcome": Outcome()},
        rules={"model": ModelName()},
    )
    setup = make_reader(export_views=[view])
    attributes = {"a.b": 1, "gen_ai.request.model": "gpt-4o-2024-08-06", "error.type": "X", "other": "o"}
    setup.provider.get_meter("m").create_counter("calls").add(1, attributes)
    ask = ask_of(Explorer(setup.reader))
    series = ask("family", "name=calls_total")["series"][0]["id"]
    answer = valid("origin", ask("origin", f"name=calls_total&series={series}"))
    (stream,) = answer["streams"]
    assert (stream["instrument"], stream["kind"], stream["tier"]) == ("calls", "counter", "own")
    (recorded,) = stream["recorded"]
    assert recorded["attributes"]["a.b"] == "1"
    steps = {item["name"]: (item["becomes"], item["after"], item["why"]) for item in recorded["steps"]}
    assert steps["a.b"] == ("a_b", "1", "")
    assert steps["gen_ai.request.model"][:2] == ("model", "gpt-4o")
    assert "renamed by the view to model; by the rule ModelName()" in steps["gen_ai.request.model"][2]
    assert steps["error.type"][:2] == ("outcome", "error")
    assert steps["other"] == ("", None, "keep of the view does not name it")


def test_families_that_no_instrument_makes(ask: Ask) -> None:
    """What the bridge says of itself comes from no instrument, and that is said."""
    assert ask("origin", "name=otel_prom_bridge_series")["from"] == "bridge"
    assert ask("origin", "name=pool_size", status=404)["error"].startswith("there is no family")


def test_failures_of_callbacks_are_told_with_their_times(ask: Ask) -> None:
    """Which callback failed, how often, and when."""
    ask("overview")
    ask("overview")
    (failure,) = ask("health")["callbacks"]
    assert (failure["instrument"], failure["times"]) == ("pool.size", 2)
    assert ask("health")["time"] - failure["time"] < 60


def test_models_and_agents(recorded: Recorded, bridge: Make) -> None:
    """Calls, errors, tokens and times by model, out of the histograms of the conventions."""
    setup = bridge()
    meter = setup.meter
    seconds = meter.create_histogram("gen_ai.client.operation.duration", unit="s")
    tokens = meter.create_histogram("gen_ai.client.token.usage", unit="{token}")
    first = meter.create_histogram("gen_ai.client.operation.time_to_first_chunk", unit="s")
    for model, duration in (("fast", 0.1), ("slow", 8.0)):
        of = {"gen_ai.request.model": model, "gen_ai.provider.name": "openai"}
        for number in range(10):
            seconds.record(duration, of if number else {**of, "error.type": "timeout"})
            first.record(duration / 2, of)
            tokens.record(100, {**of, "gen_ai.token.type": "input"})
            tokens.record(10, {**of, "gen_ai.token.type": "output"})
    tool = meter.create_histogram("gen_ai.execute_tool.duration", unit="s")
    tool.record(1, {"gen_ai.tool.name": "search"})
    ask = ask_of(Explorer(setup.reader))
    answer = valid("models", ask("models"))
    slow = next(item for item in answer["models"] if item["model"] == "slow")
    assert (slow["calls"], slow["errors"], slow["input_tokens"], slow["output_tokens"]) == (10, 1, 1000, 100)
    assert slow["duration"]["0.5"] > 5 > slow["first"]["0.5"] / 2
    assert slow["cost"] is None
    assert [(item["name"], item["calls"]) for item in answer["tools"]] == [("search", 1)]
    assert answer["errors"] == [{"type": "timeout", "calls": 2}]
    assert ask("overview")["models"]


HOSTILE = '<script>alert("1")</script>\u202e\u0000\ud800'


def test_hostile_texts_are_json(bridge: Make) -> None:
    """Markup, control characters, lone surrogates and 1 MB: the answers are JSON, valid and short."""
    setup = bridge(max_label_value_length=0, max_help_length=0)
    counter = setup.meter.create_counter("evil", description=HOSTILE * 1000)
    counter.add(1, {"k": HOSTILE, "long": "x" * 1_000_000})
    ask = ask_of(Explorer(setup.reader))
    answer = valid("family", ask("family", "name=evil_total"))
    labels = answer["series"][0]["labels"]
    assert labels["k"].startswith('<script>alert("1")</script>\u202e')
    assert len(labels["long"]) == 1000
    assert len(json.dumps(answer)) < 10_000
    found = ask("family", urlencode({"name": "evil_total", "filter": json.dumps({"long": labels["long"]})}))
    assert found["matched"] == 1
    valid("origin", ask("origin", f"name=evil_total&series={answer['series'][0]['id']}"))


def test_nothing_is_kept_while_nobody_asks(bridge: Make) -> None:
    """An explorer that nobody asks collects nothing."""
    setup = bridge()
    explorer = Explorer(setup.reader)
    asked: list[int] = []
    setup.meter.create_observable_gauge("g", [lambda options: asked.append(1) or []])  # type: ignore[func-returns-value]
    assert asked == []
    ask_of(explorer)("overview")
    assert asked == [1]


def test_after_the_shutdown(bridge: Make) -> None:
    """A reader that was shut down shows nothing, as its scrapes do."""
    setup = bridge()
    ask = ask_of(Explorer(setup.reader))
    setup.provider.shutdown()
    assert "shut down" in valid("error", ask("overview", status=503))["error"]


def test_values_that_are_no_numbers(bridge: Make) -> None:
    """A gauge that was set to True has a number all the same."""
    setup = bridge()
    setup.meter.create_gauge("yes").set(True)
    answer = valid("family", ask_of(Explorer(setup.reader))("family", "name=yes"))
    assert answer["series"][0]["value"] == 1


def test_a_url_is_asked_when_somebody_asks(bridge: Make) -> None:
    """A target is fetched for an answer, at most once a second, and its silence is said in words."""
    setup = bridge()
    shop(setup)
    with start_http_server(setup.reader, port=0) as server:
        target = UrlTarget(server.url, timeout=5, headers={})
        ask = ask_of(Explorer(target))
        assert row(valid("overview", ask("overview")), FAMILY)["series"] == 12
        first = target.snapshot()
        assert target.snapshot() is first
    gone = UrlTarget(server.url, timeout=1, headers={})
    assert "nothing listens there" in valid("error", ask_of(Explorer(gone))("overview", status=502))["error"]
    assert not gone.is_healthy
    assert Scrape(gone).respond(Request()).status == 502


def test_a_recording_goes_on(tmp_path: Path) -> None:
    """A recording shows what there was at its moment."""
    path = tmp_path / "r.jsonl"
    lines = [
        {"time": time, "content_type": "text/plain", "body": f"# TYPE c_total counter\nc_total {time}\n"}
        for time in (0, 1000)
    ]
    path.write_text("\n".join(map(json.dumps, lines)))
    assert row(ask_of(Explorer(RecordingTarget(Recording.of(path))))("overview"), "c_total")["total"] == 0

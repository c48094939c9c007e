"""Labels that are too long, too many, or chosen by clients: bounded, counted and said; sums stay exact."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from inside import store_of, streams
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from oracles import OPENMETRICS, samples
from setups import Setup, maxima

from otel_prom_bridge import ExportView, PrometheusMetricReader, Tenants
from otel_prom_bridge.rules import Allow
from otel_prom_bridge.store.expiry import Expiry
from otel_prom_bridge.views.bounds import comes_from_clients

Make = Callable[..., Setup]
DURATION = "http.server.request.duration"


def application(*views: ExportView, resource: dict[str, Any] | None = None, **options: Any) -> Setup:
    """A reader with export views and self-metrics, and its provider."""
    reader = PrometheusMetricReader(
        views=views, registry=None, scope_info_enabled=False, collect_interval=0, **options
    )
    return Setup(reader, MeterProvider([reader], resource=Resource(resource or {}), shutdown_on_exit=False))


def labelled(setup: Setup, name: str) -> dict[tuple[tuple[str, str], ...], float]:
    """The samples of this name by their labels."""
    exposition = setup.reader.expose(OPENMETRICS)
    found = samples(exposition.content_type, exposition.body)
    return {tuple(sorted(labels)): value for (known, labels), value in found.items() if known == name}


def folded(setup: Setup, rule: str) -> float:
    """The points of which this rule changed a label, as the self-metric counts them."""
    found = labelled(setup, "otel_prom_bridge_folded_points_total")
    return sum(value for labels, value in found.items() if ("rule", rule) in labels)


# --- long values -----------------------------------------------------------------------------------------


def test_a_wild_value_is_cut_and_no_measurement_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    """Fifty values of 100 kB with one beginning become one series of bounded length, with the sum of all."""
    setup = application()
    counter = setup.meter.create_counter("c")
    for number in range(50):
        counter.add(number, {"k": "x" * 100_000 + str(number), "m": "GET"})
    counter.add(7, {"k": "short", "m": "GET"})
    assert len(setup.reader.expose().body) < 20_000
    found = labelled(setup, "c_total")
    assert sorted(found.values()) == [7, sum(range(50))]
    assert {len(value) for labels in found for name, value in labels if name == "k"} == {5, 1024}
    assert any(dict(labels)["k"] == "x" * 1023 + "…" for labels in found)
    assert folded(setup, "max_label_value_length") == 50
    setup.reader.expose()
    (line,) = [record.getMessage() for record in caplog.records if "longer than" in record.getMessage()]
    assert line.startswith("metric 'c_total': a value of the label 'k' is longer than 1024 characters")
    assert "max_label_value_length" in line


def test_cut_values_are_one_series_for_every_instrument() -> None:
    """Of histograms, up-down counters and asynchronous instruments, too; again and again."""
    setup = application(max_label_value_length=10)
    up_down, histogram = setup.meter.create_up_down_counter("u"), setup.meter.create_histogram("h")
    values = [f"0123456789{number}" for number in range(3)]
    setup.meter.create_observable_counter("o", [lambda _: [Observation(2, {"k": value}) for value in values]])
    for round_ in (1, 2):
        for value in values:
            up_down.add(5, {"k": value})
            histogram.record(1.5, {"k": value})
        shown = (("k", "012345678…"),)
        assert labelled(setup, "u") == {shown: 15 * round_}
        assert labelled(setup, "h_count") == {shown: 3 * round_}
        assert labelled(setup, "h_sum") == {shown: 4.5 * round_}
        assert labelled(setup, "o_total") == {shown: 6}


@pytest.mark.parametrize(
    "value", ["x" * 2000, "ä" * 2000, "😀" * 2000, b"x" * 2000, ["x" * 2000], list(range(2000)), 10**2000]
)
def test_values_of_every_type_are_cut(value: Any) -> None:
    """Whatever its type, no value is longer than it may be."""
    setup = application()
    setup.meter.create_counter("c").add(1, {"k": value})
    (labels,) = labelled(setup, "c_total")
    assert len(dict(labels)["k"]) == 1024


@pytest.mark.parametrize("value", ["x" * 1024, "x", "", None, True, 1.5, -(10**300), 1e308])
def test_other_values_stay_as_they_are(value: Any) -> None:
    """The limit itself is no cut."""
    setup = application()
    setup.meter.create_counter("c").add(1, {"k": value})
    (labels,) = labelled(setup, "c_total")
    assert "…" not in dict(labels).get("k", "")
    assert folded(setup, "max_label_value_length") == 0


def test_a_value_that_is_long_by_what_is_joined_is_cut() -> None:
    """Two keys that become one label, and what the resource says."""
    command = "x" * 5000
    setup = application(
        resource={"process.command": command}, resource_attribute_filter=lambda key: True, max_labels=0
    )
    setup.meter.create_counter("c").add(1, {"a.b": "1" * 700, "a_b": "2" * 700})
    (labels,) = labelled(setup, "c_total")
    assert dict(labels)["a_b"] == "1" * 700 + ";" + "2" * 322 + "…"
    assert dict(labels)["process_command"] == "x" * 1023 + "…"
    (info,) = labelled(setup, "target_info")
    assert dict(info) == {"process_command": "x" * 1023 + "…"}


def test_a_key_that_is_too_long_is_cut_too(caplog: pytest.LogCaptureFixture) -> None:
    """The name of a label is text from the application like its value; the log says which of them it was."""
    setup = application()
    counter = setup.meter.create_counter("c")
    for number in range(3):
        counter.add(1, {"k" * 5000 + str(number): "v"})
    assert labelled(setup, "c_total") == {(("k" * 1024, "v"),): 3}
    logged = "metric 'c_total': the name of a label is longer than 1024 characters and is cut"
    assert caplog.text.count(logged) == 1


def test_an_option_lifts_the_length() -> None:
    """With 0 any length is shown."""
    setup = application(max_label_value_length=0, resource={"r": "y" * 5000})
    setup.meter.create_counter("c").add(1, {"k": "x" * 5000})
    assert list(labelled(setup, "c_total")) == [(("k", "x" * 5000),)]
    assert list(labelled(setup, "target_info")) == [(("r", "y" * 5000),)]


def test_a_help_text_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    """So is the description of an instrument."""
    setup = application()
    setup.meter.create_counter("c", description="d" * 5000).add(1)
    (line,) = [line for line in setup.text().splitlines() if line.startswith("# HELP c_total")]
    assert line == "# HELP c_total " + "d" * 1023 + "…"
    assert "its help text has 5000 characters" in caplog.text
    lifted = application(max_help_length=0)
    lifted.meter.create_counter("c", description="d" * 5000).add(1)
    assert "d" * 5000 in lifted.text()


def test_a_flood_of_long_values_is_not_remembered() -> None:
    """What finds a series again would otherwise be all of the memory."""
    setup = application()
    counter = setup.meter.create_counter("c")
    for number in range(20):
        counter.add(1, {"k": "x" * 100_000 + str(number)})
    setup.text()
    kept = json.dumps([list(map(str, record.by_texts)) for record in streams(store_of(setup.reader))])
    assert len(kept) < 10_000


# --- many labels -----------------------------------------------------------------------------------------


def test_a_series_has_so_many_labels(caplog: pytest.LogCaptureFixture) -> None:
    """What is more is left out, and series that differ in nothing else add up."""
    setup = application(max_labels=3)
    counter = setup.meter.create_counter("c")
    for last in "xyz":
        counter.add(2, {"a": "1", "b": "2", "c": "3", "d": last})
    assert labelled(setup, "c_total") == {(("a", "1"), ("b", "2"), ("c", "3")): 6}
    assert folded(setup, "max_labels") == 3
    assert caplog.text.count("a series has more labels than it may") == 1
    assert "max_labels allows more than 3" in caplog.text


def test_labels_that_a_view_names_go_last() -> None:
    """Who asks for a label by name gets it."""
    setup = application(ExportView(instrument_name="c", keep=["z", "*"]), max_labels=2)
    setup.meter.create_counter("c").add(1, {"a": "1", "b": "2", "z": "3"})
    assert list(labelled(setup, "c_total")) == [(("a", "1"), ("z", "3"))]


@pytest.mark.slow
def test_keys_that_hold_data_are_bounded_too() -> None:
    """A thousand labels of a series by default, and every point another set of them."""
    setup = application(scrape_timeout=60)  # which it does not need, unless the machine is busy
    counter = setup.meter.create_counter("c")
    for number in range(300):
        counter.add(1, {f"k{number}_{index}": "v" * 2000 for index in range(70)})
    found = labelled(setup, "c_total")
    assert sum(found.values()) == 300
    assert {len(labels) for labels in found} == {64}
    rules = labelled(setup, "otel_prom_bridge_folded_points_total")
    assert len(rules) < 150  # labels that are made up at run time do not make series of the self-metrics
    lifted = application(max_labels=0)
    lifted.meter.create_counter("c").add(1, {f"k{index}": "v" for index in range(70)})
    assert {len(labels) for labels in labelled(lifted, "c_total")} == {70}


# --- values that clients choose --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "metric", "expected"),
    [
        ("net.host.name", "http.server.duration", True),
        ("http.host", "http.server.active_requests", True),
        ("http.server_name", "http.server.duration", True),
        ("http.target", "http.server.duration", True),
        ("url.full", "http.client.request.duration", True),
        ("user_agent.original", "anything", True),
        ("user_agent.name", "anything", True),
        ("http.user_agent", "anything", True),
        ("server.address", DURATION, True),
        ("server.port", DURATION, True),
        ("server.address", "rpc.server.duration", True),
        ("server.address", "http.client.request.duration", False),
        ("server.address", "db.client.operation.duration", False),
        ("server.address", "gen_ai.client.operation.duration", False),
        ("server.address", "my.observer.duration", False),
        ("http.route", DURATION, False),
        ("http.response.status_code", DURATION, False),
        ("host.name", DURATION, False),
        ("url.scheme", DURATION, False),
    ],
)
def test_which_values_clients_choose(key: str, metric: str, expected: bool) -> None:
    """What a request says, but not what an application asks another server for."""
    assert comes_from_clients(key, metric) is expected


def requests(setup: Setup, count: int = 6000, metric: str = DURATION) -> Any:
    """So many requests with random Host headers, after one with the real one."""
    histogram = setup.meter.create_histogram(metric, unit="s")
    shape = {"http.route": "/items", "http.response.status_code": 200}
    histogram.record(0.5, {**shape, "server.address": "shop.example"})
    for number in range(count):
        histogram.record(0.5, {**shape, "server.address": f"{number}.attacker.example"})
    return histogram


def test_a_flood_of_host_headers_makes_no_series(caplog: pytest.LogCaptureFixture) -> None:
    """The real one keeps its series, all others are `other` in the end, and what is new finds room."""
    setup = application()
    histogram = requests(setup)
    found = labelled(setup, "http_server_request_duration_seconds_count")
    hosts = {dict(labels)["server_address"]: value for labels, value in found.items()}
    assert len(hosts) == 51
    assert hosts["shop.example"] == 1
    assert hosts["other"] == 6000 - 49
    assert sum(hosts.values()) == 6001
    assert len(setup.text().splitlines()) < 1500
    assert folded(setup, "max_client_values") == 6000 - 49
    lines = [record.getMessage() for record in caplog.records if "clients choose" in record.getMessage()]
    assert len(lines) == 1
    assert "'server.address'" in lines[0]
    assert "max_client_values" in lines[0]
    histogram.record(0.5, {"http.route": "/new", "server.address": "shop.example"})
    found = labelled(setup, "http_server_request_duration_seconds_count")
    assert sum(value for labels, value in found.items() if ("http_route", "/new") in labels) == 1


@pytest.mark.parametrize(
    ("views", "options"),
    [
        ((), {"max_client_values": 0}),
        ((), {"id_labels": True}),
        ((ExportView(instrument_name="*", keep=["server.address", "*"]),), {}),
        ((ExportView(instrument_name="*", rename={"server.address": "host"}),), {}),
    ],
)
def test_who_wants_every_value_gets_it(views: tuple[ExportView, ...], options: dict[str, Any]) -> None:
    """As with ids: an option, or a view that asks for the attribute by name."""
    setup = application(*views, **options)
    requests(setup, 100)
    assert len(labelled(setup, "http_server_request_duration_seconds_count")) == 101


def test_a_rule_of_ones_own_takes_its_place() -> None:
    """What is on the list is shown, however many came before."""
    rule = Allow(["shop.example", "99.attacker.example"])
    setup = application(ExportView(instrument_name="*", rules={"server.address": rule}), max_client_values=1)
    requests(setup, 100)
    found = labelled(setup, "http_server_request_duration_seconds_count")
    assert {dict(labels)["server_address"] for labels in found} == {*rule.values, "other"}


def test_a_client_is_not_bounded() -> None:
    """The servers that an application asks are its own choice."""
    setup = application()
    requests(setup, 100, metric="http.client.request.duration")
    assert len(labelled(setup, "http_client_request_duration_seconds_count")) == 101


# --- room ------------------------------------------------------------------------------------------------


class Now:
    """A clock that a test sets forward."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def with_clock(setup: Setup) -> Now:
    """Let the store measure by a clock of the test's how long series are silent."""
    now = Now()
    store_of(setup.reader)._leaving._silence = Expiry(900, now)
    return now


def test_a_histogram_counts_the_lines_that_it_is_written_as(caplog: pytest.LogCaptureFixture) -> None:
    """A series with 15 buckets is 18 lines: of 180 lines there are ten series, and one for the rest."""
    setup = application(max_lines_per_metric=180)
    bounds = [float(bound) for bound in range(15)]
    histogram = setup.meter.create_histogram("h", explicit_bucket_boundaries_advisory=bounds)
    counter = setup.meter.create_counter("c")
    for number in range(300):
        histogram.record(1, {"k": str(number), "m": "GET"})
        counter.add(1, {"k": str(number)})
    counts = labelled(setup, "h_count")
    assert len(counts) == 11
    assert sum(counts.values()) == 300
    lines = [line for line in setup.text().splitlines() if line.startswith("h_")]
    assert len(lines) == 180 + 18
    assert len(labelled(setup, "c_total")) == 300
    assert maxima(setup.reader)["h"] == 11
    assert (
        "metric 'h' is at a limit of its series: 180 lines of its own; the label 'k' has 10 values"
        in caplog.text
    )
    assert "max_lines_per_metric allows more" in caplog.text


@pytest.mark.slow
def test_by_default_a_flood_of_a_histogram_is_ten_thousand_lines() -> None:
    """However many attribute sets there are; a view that names a number of series decides for itself."""
    setup = application(ExportView(instrument_name="named", max_series=700))
    for name in ("h", "named"):
        histogram = setup.meter.create_histogram(name)
        for number in range(1000):
            histogram.record(1, {"k": str(number)})
    lines = setup.text().splitlines()
    assert len([line for line in lines if line.startswith("h_")]) <= 10_000 + 18
    assert sum(labelled(setup, "h_count").values()) == 1000
    assert len(labelled(setup, "named_count")) == 701
    more = application(max_series_per_metric=4000)  # who allows more series allows more lines
    histogram = more.meter.create_histogram("h")
    for number in range(1050):
        histogram.record(1, {"k": str(number)})
    assert len(labelled(more, "h_count")) == 1050
    fewer = application(max_series_per_metric=100)  # who allows fewer series has as many of a histogram
    histogram = fewer.meter.create_histogram("h")
    for number in range(300):
        histogram.record(1, {"k": str(number)})
    assert len(labelled(fewer, "h_count")) == 101
    lifted = application(max_lines_per_metric=0)
    histogram = lifted.meter.create_histogram("h")
    for number in range(1000):
        histogram.record(1, {"k": str(number)})
    assert len(labelled(lifted, "h_count")) == 1000


def test_a_full_table_lets_in_what_is_new_when_an_old_series_was_silent_for_long() -> None:
    """A flood is over after a quarter of an hour; what goes on and what has room is never touched."""
    setup = application(max_series_per_metric=10)
    now = with_clock(setup)
    counter, roomy = setup.meter.create_counter("c"), setup.meter.create_counter("roomy")
    level = setup.meter.create_up_down_counter("level")
    for number in range(30):
        counter.add(1, {"k": str(number)})
        level.add(1, {"k": str(number)})
    roomy.add(1, {"k": "old"})
    assert len(labelled(setup, "c_total")) == 11
    for _ in range(5):
        now.seconds += 300
        counter.add(1, {"k": "0"})
        setup.text()
    for name in ("new", "29", "0"):
        counter.add(1, {"k": name})
    found = {dict(labels).get("k", "overflow"): value for labels, value in labelled(setup, "c_total").items()}
    assert found == {"0": 7, "new": 1, "29": 1, "overflow": 20}
    assert len(labelled(setup, "roomy_total")) == 1
    assert sum(labelled(setup, "level").values()) == 30  # what is there is not forgotten


def test_nothing_goes_while_there_is_room() -> None:
    """Without pressure a series stays for ever, as without `expire_after`."""
    setup = application(max_series_per_metric=10)
    now = with_clock(setup)
    counter = setup.meter.create_counter("c")
    for number in range(10):
        counter.add(1, {"k": str(number)})
    for _ in range(5):
        now.seconds += 1000
        setup.text()
    assert len(labelled(setup, "c_total")) == 10


def test_values_of_clients_that_were_silent_make_room() -> None:
    """The first fifty hosts of an attacker do not keep the real ones out for ever."""
    setup = application(max_client_values=5)
    now = with_clock(setup)
    histogram = setup.meter.create_histogram(DURATION, unit="s")
    name = "http_server_request_duration_seconds_count"
    for number in range(20):
        histogram.record(1, {"server.address": f"{number}.attacker.example"})
    histogram.record(1, {"server.address": "shop.example"})
    assert {dict(labels)["server_address"] for labels in labelled(setup, name)} == {
        *(f"{number}.attacker.example" for number in range(5)),
        "other",
    }
    for _ in range(5):
        now.seconds += 300
        setup.text()
    for _ in range(2):
        histogram.record(1, {"server.address": "shop.example"})
    hosts = {dict(labels)["server_address"]: value for labels, value in labelled(setup, name).items()}
    assert hosts["shop.example"] == 2


# --- ids ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sdk", [False, True])
def test_an_id_that_is_left_out_is_said_once(caplog: pytest.LogCaptureFixture, sdk: bool) -> None:
    """With the metric and the remedy; where the SDK leaves it out, without the metric."""
    reader = PrometheusMetricReader(registry=None, collect_interval=0)
    views = reader.policy.sdk_views() if sdk else ()
    setup = Setup(reader, MeterProvider([reader], views=views, shutdown_on_exit=False))
    counters = [setup.meter.create_counter(name) for name in ("logins", "logouts")]
    for number in range(3):
        for counter in counters:
            counter.add(1, {"user.id": str(number), "k": "v"})
        setup.text()
    lines = sorted(record.getMessage() for record in caplog.records if "is an id" in record.getMessage())
    if sdk:
        (line,) = lines
        assert line.startswith("the attribute 'user.id' is an id")
    else:
        assert [line.split(":")[0] for line in lines] == ["metric 'logins'", "metric 'logouts'"]
    assert all("'keep'" in line and "id_labels=True" in line for line in lines)


def test_gauges_that_only_ids_told_apart_are_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """One value is shown for all of them; gauges that a view brings together are what it asked for."""
    setup = application(ExportView(instrument_name="wanted", drop=["k"]))
    gauges = [setup.meter.create_gauge(name) for name in ("queue", "wanted", "other")]
    for number in range(3):
        gauges[0].set(number, {"session.id": str(number)})
        gauges[1].set(number, {"k": str(number)})
        gauges[2].set(number, {"k": str(number)})
    for _ in range(2):
        setup.text()
    (line,) = [record.getMessage() for record in caplog.records if "told apart" in record.getMessage()]
    assert line.startswith("metric 'queue': gauges that only ids told apart are one series")
    assert "id_labels=True" in line


def test_a_label_that_makes_no_series_is_not_named(caplog: pytest.LogCaptureFixture) -> None:
    """Neither that of the overflow itself, nor one with a single value is why a metric is at its limit."""
    tenants = Tenants("tenant", {"a": 1, "b": 1})
    reader = PrometheusMetricReader(registry=None, tenant=tenants)
    meter = MeterProvider([reader]).get_meter("app")
    for name in ("first", "second"):
        for number in range(3):
            meter.create_counter(name).add(1, {"tenant": "a", "k": str(number)})
    reader.expose()
    said = [record.getMessage() for record in caplog.records if "at a limit" in record.getMessage()]
    assert len(said) == 2
    assert not any("the label" in line for line in said)

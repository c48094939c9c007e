"""Sources: what they say adds up, is told apart, and goes with them."""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from inside import check_places, places, remembered, waiting
from opentelemetry.sdk.metrics import Exemplar
from pushed import COUNTER, GAUGE, HISTOGRAM, LEVEL, TOTAL, WHOLE, Workers, histogram, number

from otel_prom_bridge import ExportView
from otel_prom_bridge.families import CounterPoint
from otel_prom_bridge.points import WORKER, Source
from otel_prom_bridge.rules import Forbid
from otel_prom_bridge.store.intake import SetClock
from otel_prom_bridge.testing import Clock
from otel_prom_bridge.translate import Translation, TranslationStrategy

PLAIN = Translation(scope_info_enabled=False)


def labels(*pairs: tuple[str, str]) -> frozenset[tuple[str, str]]:
    """Labels as ``Workers.shown`` has them."""
    return frozenset(pairs)


def two() -> tuple[Source, Source]:
    """Two workers."""
    return Source(worker=0), Source(worker=1)


# ---------------------------------------------------------------- what adds up, and what leaves


def test_deltas_add_up_whoever_brings_them_and_stay() -> None:
    """The sum of a counter and of a histogram is that of all sources that ever were."""
    played, (first, second) = Workers(), two()
    for source in (first, second):
        played.push(source, {COUNTER: {None: 3}})
        played.store.take(source, [(HISTOGRAM, [histogram([0.5, 20])])])
        played.store.end(source)
    assert played.shown() == {"c_total": {labels(): 6}, "h": {labels(): (2, 0, 2)}}


def test_levels_are_those_of_the_living() -> None:
    """An up-down counter is the sum of the sources that are there, and gone with the last of them."""
    played, (first, second) = Workers(), two()
    played.push(first, {LEVEL: {None: 3}})
    played.push(second, {LEVEL: {None: 4}})
    assert played.shown() == {"u": {labels(): 7}}
    played.store.end(first)
    assert played.shown() == {"u": {labels(): 4}}
    played.store.end(second)
    assert played.shown() == {}


def test_totals_of_ended_sources_stay() -> None:
    """A counter or histogram that a source says whole each time stays in the sum when that ends."""
    played, (first, second) = Workers(), two()
    for _ in range(2):  # the second time says the same once more
        for source, bounds in ((first, (1.0, 10.0)), (second, (1.0, 5.0, 10.0))):
            played.push(source, {TOTAL: {None: 5}})
            played.store.take(source, [(TOTAL, [number(5)]), (WHOLE, [histogram([0.5, 7], bounds)])])
    expected = {"t_total": {labels(): 10}, "w": {labels(): (2, 2, 0)}}
    assert played.shown() == expected
    played.store.end(first)
    assert played.shown() == expected
    played.store.end(second)
    assert played.shown() == expected
    third = Source(worker=0)
    played.store.take(third, [(TOTAL, [number(1)]), (WHOLE, [histogram([7])])])
    assert played.shown() == {"t_total": {labels(): 11}, "w": {labels(): (2, 3, 0)}}


def test_what_is_not_mentioned_is_gone_for_that_source_only() -> None:
    """A source that says a level no more takes its own part away."""
    played, (first, second) = Workers(), two()
    played.push(first, {LEVEL: {"a": 1, "b": 1}})
    played.push(second, {LEVEL: {"a": 2}})
    played.push(first, {LEVEL: {"b": 1}})
    assert played.shown() == {"u": {labels(("k", "a")): 2, labels(("k", "b")): 1}}
    played.push(second, {})
    assert played.shown() == {"u": {labels(("k", "b")): 1}}


def test_stragglers_are_those_of_one_source() -> None:
    """An old batch of one source is old beside its own ones, not beside those of others."""
    played, (first, second) = Workers(), two()
    played.push(first, {LEVEL: {None: 5}, COUNTER: {None: 1}}, number=100)
    played.push(second, {LEVEL: {None: 1}, COUNTER: {None: 1}}, number=2)
    played.push(second, {LEVEL: {None: 9}, COUNTER: {None: 1}}, number=1)
    assert played.shown() == {"u": {labels(): 6}, "c_total": {labels(): 3}}


def test_a_failing_callback_keeps_what_its_own_source_said() -> None:
    """For five minutes at most, and although other sources say everything meanwhile."""
    clock = Clock()
    played, (first, second) = Workers(clock=lambda: clock.now), two()
    played.push(first, {LEVEL: {"a": 1}})
    played.push(second, {LEVEL: {"a": 2, "b": 4}})
    for _ in range(10):
        clock.now += 25
        played.push(first, {}, failing=("u",))
        played.push(second, {LEVEL: {"a": 2}})
    assert played.shown() == {"u": {labels(("k", "a")): 3}}
    for _ in range(10):
        clock.now += 25
        played.push(first, {}, failing=("u",))
        played.push(second, {LEVEL: {"a": 2}})
    assert played.shown() == {"u": {labels(("k", "a")): 2}}


def test_a_source_that_is_silent_keeps_what_it_said() -> None:
    """Silence is no end: whoever knows that a source is no more says so."""
    clock = Clock()
    played, (first, second) = Workers(clock=lambda: clock.now), two()
    played.push(first, {LEVEL: {None: 1}, GAUGE: {None: 7}})
    for _ in range(30):
        clock.now += 60
        played.push(second, {LEVEL: {None: 2}})
    assert played.shown() == {"u": {labels(): 3}, "g": {labels(("worker", "0")): 7}}


def test_a_source_that_comes_back_is_a_new_one() -> None:
    """An end that came too early costs nothing: the next batch says all current values anew."""
    played, (first, _) = Workers(), two()
    played.push(first, {LEVEL: {None: 1}, COUNTER: {None: 1}})
    played.store.end(first)
    played.store.end(first)
    played.push(first, {LEVEL: {None: 1}, COUNTER: {None: 1}})
    assert played.shown() == {"u": {labels(): 1}, "c_total": {labels(): 2}}


def test_counters_begin_when_the_first_source_did() -> None:
    """A sum began with its first delta, and a counter that a source begins anew began then."""
    played, (first, second) = Workers(), two()
    played.store.take(first, [(COUNTER, [number(1, start=5 * 10**9)]), (TOTAL, [number(9, start=10**9)])])
    played.store.take(
        second, [(COUNTER, [number(1, start=7 * 10**9)]), (TOTAL, [number(9, start=2 * 10**9)])]
    )

    def began(name: str) -> float | None:
        (family,) = (item for item in played.store.families() if item.name == name)
        (point,) = family.points
        assert isinstance(point, CounterPoint)
        return point.created

    assert (began("c_total"), began("t_total")) == (5, 1)
    played.store.take(second, [(TOTAL, [number(2, time=60 * 10**9)])])
    assert (began("c_total"), began("t_total")) == (5, 60)


# ---------------------------------------------------------------- gauges


@pytest.mark.parametrize(
    ("workers", "expected"),
    [
        ("each", {labels(("worker", "0")): 5, labels(("worker", "1")): -2, labels(("worker", "2")): 4}),
        ("sum", {labels(): 7}),
        ("max", {labels(): 5}),
        ("min", {labels(): -2}),
        ("newest", {labels(): 4}),
    ],
)
@pytest.mark.parametrize("by", ["view", "reader"])
def test_what_is_shown_of_gauges(workers: Any, expected: Mapping[Any, float], by: str) -> None:
    """By the view or, where that does not say it, by the reader's option."""
    played = Workers(ExportView(workers=workers)) if by == "view" else Workers(gauges=workers)
    sources = [Source(worker=each) for each in range(3)]
    for source, value in zip(sources, (5, -2, 1), strict=True):
        played.push(source, {GAUGE: {None: value}})
    played.shown()
    played.push(sources[2], {GAUGE: {None: 4}})
    played.push(sources[0], {GAUGE: {None: 5}})  # which is no news
    assert played.shown() == {"g": expected}


@pytest.mark.parametrize("workers", ["max", "min"])
def test_a_value_that_is_no_number_is_neither_largest_nor_smallest(workers: Any) -> None:
    """NaN of one worker does not hide the others, whichever comes first."""
    for values in ((float("nan"), 2.0), (2.0, float("nan"))):
        played = Workers(gauges=workers)
        for source, value in zip(two(), values, strict=True):
            played.push(source, {GAUGE: {None: value}})
        assert played.shown() == {"g": {labels(): 2.0}}
    played = Workers(gauges=workers)
    played.push(two()[0], {GAUGE: {None: float("nan")}})
    assert str(played.shown()["g"][labels()]) == "nan"


def test_newest_of_ended_workers() -> None:
    """With ended="keep" the newest value stays when its worker ends, until another one has a newer value."""
    played, (first, second) = Workers(ExportView(workers="newest", ended="keep")), two()
    played.push(first, {GAUGE: {None: 1}})
    played.push(second, {GAUGE: {None: 2}})
    played.store.end(second)
    assert played.shown() == {"g": {labels(): 2}}
    played.push(first, {GAUGE: {None: 1}})
    assert played.shown() == {"g": {labels(): 2}}
    played.push(first, {GAUGE: {None: 3}})
    assert played.shown() == {"g": {labels(): 3}}
    played.store.end(first)
    assert played.shown() == {"g": {labels(): 3}}


def test_levels_that_are_kept() -> None:
    """One up here and one down there add up, and what is nothing any more is not kept."""
    played, (first, second) = Workers(ExportView(ended="keep")), two()
    played.push(first, {LEVEL: {"queued": 3, "x": 1}})
    played.store.end(first)
    played.push(second, {LEVEL: {"queued": -2, "x": -1}})
    assert played.shown() == {"u": {labels(("k", "queued")): 1, labels(("k", "x")): 0}}
    played.store.end(second)
    assert played.shown() == {"u": {labels(("k", "queued")): 1}}


def test_an_attribute_worker_of_the_application_is_not_lost() -> None:
    """It makes way for ours where a series says which worker it is of, and stays what it is elsewhere."""
    source = Source(worker=3)
    attributes = {"worker": "email", "exported_worker": "x", WORKER: "3"}
    played = Workers()
    played.store.take(source, [(GAUGE, [number(1, attributes)]), (COUNTER, [number(1, {"worker": "a"})])])
    played.store.take(Source(), [(GAUGE, [number(2, {"worker": "inside"})])])
    assert played.shown() == {
        "g": {
            labels(("worker", "3"), ("exported_worker", "x;email")): 1,
            labels(("worker", "inside")): 2,
        },
        "c_total": {labels(("worker", "a")): 1},
    }
    played = Workers(gauges="sum")
    played.store.take(source, [(GAUGE, [number(1, {"worker": "email", WORKER: "3"})])])
    assert played.shown() == {"g": {labels(("worker", "email")): 1}}


def test_a_label_worker_of_a_view_is_not_lost() -> None:
    """A view that makes such a label has it as exported_worker."""
    played = Workers(ExportView(rename={"k": "worker"}, labels={"team": "t"}))
    played.push(Source(worker=0), {GAUGE: {"a": 1}})
    assert played.shown() == {
        "g": {labels(("worker", "0"), ("exported_worker", "a"), ("team", "t")): 1},
    }


@pytest.mark.parametrize("strategy", TranslationStrategy)
def test_the_label_has_one_name_whatever_the_strategy(strategy: TranslationStrategy) -> None:
    """Nothing is escaped in it."""
    played = Workers(translation=replace(PLAIN, strategy=strategy))
    played.push(Source(worker=0), {GAUGE: {None: 1}})
    assert played.shown() == {"g": {labels(("worker", "0")): 1}}


def test_no_rule_condition_or_limit_sees_which_worker_it_is() -> None:
    """It is no attribute of the application, and it is shown whatever a view keeps."""
    seen: list[Mapping[str, object]] = []

    def compute(attributes: Mapping[str, object]) -> str:
        seen.append(dict(attributes))
        return "x"

    view = ExportView(
        keep=["k"],
        compute={"c": compute},
        where={WORKER: ""},
        rules={"otel_prom*": Forbid()},
        drop=["*.worker"],
    )
    played = Workers(view, max_labels=2)
    played.push(Source(worker=0), {GAUGE: {"a": 1}})
    assert played.shown() == {"g": {labels(("worker", "0"), ("c", "x"), ("k", "a")): 1}}
    assert seen == [{"k": "a"}]


def test_overflow_of_the_sdk_of_a_worker() -> None:
    """What the SDK of a worker folded is the overflow of all of them, of gauges the newest."""
    played = Workers()
    for source in two():
        overflow = {"otel.metric.overflow": True, WORKER: str(source.worker)}
        played.store.take(source, [(GAUGE, [number(source.worker or 7, overflow)])])
    assert played.shown() == {"g": {labels(("otel_metric_overflow", "true")): 1}}


def test_several_attribute_sets_of_one_worker_are_its_newest() -> None:
    """What a view takes away makes one value of each worker; only those add up."""
    played, (first, second) = Workers(ExportView(keep=[], workers="sum")), two()
    played.push(first, {GAUGE: {"a": 1, "b": 2}})
    played.push(second, {GAUGE: {"a": 10}})
    played.push(first, {GAUGE: {"a": 3, "b": 2}})
    assert played.shown() == {"g": {labels(): 13}}
    played.store.end(first)
    assert played.shown() == {"g": {labels(): 10}}


def test_the_maximum_is_not_known_where_workers_have_series() -> None:
    """What rules bound is bounded for each worker, so nobody knows how many series there may be."""
    played = Workers(ExportView(keep=[]))
    played.push(Source(), {GAUGE: {None: 1}})
    assert played.store.maxima() == {"g": 2}
    played.push(Source(worker=0), {GAUGE: {None: 1}})
    assert played.store.maxima() == {"g": 2001}


# ---------------------------------------------------------------- limits


def test_series_that_leave_give_room_back() -> None:
    """An ended source's series make room for those of the next one, within the same limit."""
    played = Workers(max_series_per_metric=4, max_series=4)
    for worker in range(10):
        source = Source(worker=worker)
        played.push(source, {GAUGE: {"a": 1, "b": 2, "c": 3, None: 4}})
        assert len(played.shown()["g"]) == 4
        assert max(places(played.store)) == 4
        check_places(played.store)
        played.store.end(source)
        assert not any(places(played.store))
    assert played.store.state().overflowed == {}


def test_what_several_sources_have_takes_one_place() -> None:
    """A level of 32 workers is one series, and keeps its place as long as one of them has it."""
    played = Workers(max_series_per_metric=2)
    sources = [Source(worker=each) for each in range(32)]
    for source in sources:
        played.push(source, {LEVEL: {"a": 1, "b": 1}})
    for source in sources[1:]:
        played.store.end(source)
        check_places(played.store)
    played.push(sources[0], {LEVEL: {"a": 1, "c": 1}})  # b makes room in the same collection
    assert played.shown() == {"u": {labels(("k", "a")): 1, labels(("k", "c")): 1}}
    check_places(played.store)


def test_a_source_past_the_limit_overflows_exactly() -> None:
    """Levels past a limit are in the overflow, and find room when there is some."""
    played, (first, second) = Workers(max_series_per_metric=1), two()
    played.push(first, {LEVEL: {"a": 1}})
    played.push(second, {LEVEL: {"b": 2, "c": 3}})
    overflow = labels(("otel_metric_overflow", "true"))
    assert played.shown() == {"u": {labels(("k", "a")): 1, overflow: 5}}
    played.store.end(first)
    played.push(second, {LEVEL: {"b": 2, "c": 3}})
    shown = played.shown()["u"]
    assert sum(shown.values()) == 5
    assert len(shown) == 2
    check_places(played.store)


# ---------------------------------------------------------------- services


SHOP = {"service.name": "shop", "service.namespace": "eu", "service.instance.id": "1", "process.pid": 7}
BANK = {"service.name": "bank", "thread.id": 1, "telemetry.sdk.language": "python"}


def test_two_services_are_told_apart(caplog: pytest.LogCaptureFixture) -> None:
    """As soon as there are two, all series say which one they are of, also those that were there before."""
    played, (first, second) = Workers(), two()
    played.push(first, {COUNTER: {None: 1}, GAUGE: {None: 1}}, resource=SHOP)
    assert played.shown()["c_total"] == {labels(): 1}
    shop = (("service_name", "shop"), ("service_namespace", "eu"))
    for _ in range(2):
        played.push(second, {COUNTER: {None: 1}}, resource=BANK)
    assert played.shown() == {
        "target_info": {
            labels(*shop): 1,
            labels(("service_name", "bank"), ("telemetry_sdk_language", "python")): 1,
        },
        "c_total": {labels(*shop): 1, labels(("service_name", "bank")): 2},
        "g": {labels(*shop, ("worker", "0")): 1},
    }
    played.store.renew()
    played.store.end(second)
    assert played.shown()["c_total"] == {labels(*shop): 1, labels(("service_name", "bank")): 2}
    assert len([record for record in caplog.records if "several services" in record.getMessage()]) == 1


def test_services_with_dots() -> None:
    """The labels are what the resource attributes become, and where they are labels already there is one."""
    strategy = TranslationStrategy.NO_TRANSLATION
    played, (first, second) = Workers(translation=replace(PLAIN, strategy=strategy)), two()
    played.push(first, {COUNTER: {None: 1}}, resource=SHOP)
    played.push(second, {COUNTER: {None: 1}}, resource=BANK)
    assert played.shown()["c"] == {
        labels(("service.name", "shop"), ("service.namespace", "eu")): 1,
        labels(("service.name", "bank")): 1,
    }
    promoted = replace(PLAIN, resource_attribute_filter=lambda key: key == "service.name")
    played, (first, second) = Workers(translation=promoted), two()
    played.push(first, {COUNTER: {None: 1}}, resource=SHOP)
    assert played.shown()["c_total"] == {labels(("service_name", "shop")): 1}
    played.push(second, {COUNTER: {None: 1}}, resource=BANK)
    assert played.shown()["c_total"] == {
        labels(("service_name", "shop"), ("service_namespace", "eu")): 1,
        labels(("service_name", "bank")): 1,
    }


def test_what_promoted_and_common_labels_say_is_told_apart() -> None:
    """Workers of one service with other values of such attributes have series of their own."""
    translation = replace(
        PLAIN,
        resource_attribute_filter=lambda key: key in ("zone", "process.pid"),
        common_labels={"env": ("deployment.environment.name",)},
    )
    played = Workers(translation=translation)
    for number_, (zone, env) in enumerate([("a", "x"), ("a", "x"), ("b", "x"), ("a", "y")]):
        resource = {
            "service.name": "s",
            "zone": zone,
            "deployment.environment.name": env,
            "process.pid": number_,
        }
        played.push(Source(worker=number_), {COUNTER: {None: 1}}, resource=resource)
    shown = played.shown()
    assert shown["c_total"] == {
        labels(("zone", "a"), ("env", "x")): 2,
        labels(("zone", "b"), ("env", "x")): 1,
        labels(("zone", "a"), ("env", "y")): 1,
    }
    assert len(shown["target_info"]) == 3


def test_target_info_is_what_all_agree_on() -> None:
    """What tells workers apart is left out, also what only one of them says, and the last one's stays."""
    played, (first, second) = Workers(), two()
    played.push(first, {}, resource={**SHOP, "host.name": "h", "a": 1})
    assert played.shown()["target_info"] == {
        labels(("service_name", "shop"), ("service_namespace", "eu"), ("host_name", "h"), ("a", "1")): 1
    }
    played.push(second, {}, resource={**SHOP, "host.name": "h", "a": 2, "b": 3})
    agreed = labels(("service_name", "shop"), ("service_namespace", "eu"), ("host_name", "h"))
    assert played.shown()["target_info"] == {agreed: 1}
    families = played.store.families()
    played.push(second, {}, resource={**SHOP, "host.name": "h", "a": 2, "b": 3})
    assert played.store.families()[0] is families[0]
    played.push(first, {COUNTER: {None: 1}})
    played.store.end(second)
    played.store.end(first)
    (info,) = played.shown()["target_info"]
    assert agreed < info


def test_the_reader_in_the_process_says_all_of_its_resource() -> None:
    """Nothing of one process is left out, and a provider with another resource is no second service."""
    played, reader = Workers(), Source()
    played.push(reader, {COUNTER: {None: 1}}, resource=SHOP)
    assert ("process_pid", "7") in next(iter(played.shown()["target_info"]))
    played.push(reader, {COUNTER: {None: 1}}, resource=BANK)
    assert played.shown() == {
        "target_info": {
            labels(("service_name", "bank"), ("thread_id", "1"), ("telemetry_sdk_language", "python")): 1
        },
        "c_total": {labels(): 2},
    }


def test_a_filter_that_fails_costs_its_labels_only(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing that a source says is lost for it."""

    def fail(key: str) -> bool:
        raise RuntimeError(key)

    played = Workers(translation=replace(PLAIN, resource_attribute_filter=fail))
    for source in two():
        played.push(source, {COUNTER: {None: 1}}, resource=SHOP)
    assert played.shown()["c_total"] == {labels(): 2}
    assert len(caplog.records) == 1


# ---------------------------------------------------------------- cost, and what stays behind


def test_what_did_not_change_costs_nothing() -> None:
    """A push of levels that are what they were has nothing shown anew, and families stay the same objects."""
    played, sources = Workers(), [Source(worker=each) for each in range(8)]
    levels = {f"k{each}": float(each) for each in range(50)}
    for source in sources:
        played.push(source, {LEVEL: levels, GAUGE: levels})
    families = played.store.families()
    for source in sources:
        played.push(source, {LEVEL: levels, GAUGE: levels})
    assert waiting(played.store) == 0
    assert all(new is old for new, old in zip(played.store.families(), families, strict=True))
    played.push(sources[3], {LEVEL: {**levels, "k7": 8.0}, GAUGE: levels})
    assert waiting(played.store) == 1


def _batch(number_: int) -> list[Any]:
    source = {WORKER: str(number_ % 4)}
    return [
        (COUNTER, [number(1, {"k": f"{number_ % 3}"})]),
        (LEVEL, [number(number_ % 5, {"k": f"{number_ % 3}"})]),
        (GAUGE, [number(number_, {"k": f"{number_ % 3}", **source}) for _ in range(2)]),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("scraped", [True, False])
def test_ten_thousand_sources_come_and_go(scraped: bool) -> None:
    """Memory is flat, nothing of a source stays but its sums, and families have the series of the living."""

    played = Workers()
    live: list[Source] = []
    sizes = []
    for number_ in range(10_000):
        source = Source(worker=number_ % 4)
        live.append(source)
        resource = {"service.name": "s", "service.instance.id": str(number_), "process.pid": number_}
        played.store.take(source, _batch(number_), resource=resource)
        if len(live) > 3:
            played.store.end(live.pop(0))
        if scraped:
            played.store.families()
        if number_ in (3000, 9999):
            gc.collect()
            sizes.append(sys.getallocatedblocks())
    assert sizes[1] - sizes[0] < 200
    for source in live:
        played.store.end(source)
    shown = played.shown()
    assert sum(shown["c_total"].values()) == 10_000
    assert set(shown) == {"c_total", "target_info"}
    assert not played.store._speakers
    assert remembered(played.store) == 3
    assert waiting(played.store) == 0


def test_services_without_totals_leave_nothing() -> None:
    """An origin goes with its last source, unless a total is left of it."""
    played = Workers()
    for number_ in range(100):
        source = Source(worker=0)
        played.push(source, {GAUGE: {None: 1}}, resource={"service.name": f"s{number_}"})
        played.store.families()
        played.store.end(source)
    assert played.shown() == {}
    assert list(played.store._origins.records()) == []


# ---------------------------------------------------------------- in odd places


def test_an_end_within_the_store_waits_for_its_turn() -> None:
    """A rule of the application that ends a source does so when what goes on is done."""
    played, (first, second) = Workers(), two()

    def ends(value: str) -> str:
        played.store.end(first)
        played.store.take(second, [(LEVEL, [number(10)])])
        return value

    played = Workers(ExportView(instrument_name="u", rules={"k": ends}))
    played.push(first, {LEVEL: {"a": 1}, COUNTER: {None: 1}})
    assert played.shown() == {"u": {labels(): 10}, "c_total": {labels(): 1}}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_knows_the_sources() -> None:
    """A child that was forked while a thread was in the store shows the same, and sources go on and end."""
    played, (first, second) = Workers(), two()
    for source in (first, second):
        played.push(source, {LEVEL: {None: 1}, GAUGE: {None: 2}, COUNTER: {None: 1}}, resource=SHOP)
    before = played.shown()
    inside, over = threading.Event(), threading.Event()

    def hold() -> None:
        with played.store._lock:
            inside.set()
            over.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait(10)
    pid = os.fork()
    if pid == 0:
        alike = played.shown() == before
        played.store.end(first)
        played.push(second, {LEVEL: {None: 5}})
        os._exit(0 if alike and played.shown()["u"] == {labels(): 5} else 1)
    over.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_stream_may_come_twice_in_a_batch() -> None:
    """Both parts of it are said, also where there is no room for more."""
    played, (first, _) = Workers(max_series_per_metric=2), two()
    for _ in range(2):
        both = [(LEVEL, [number(1, {"k": "a"})]), (LEVEL, [number(2, {"k": "b"})])]
        played.store.take(first, both)
        assert played.shown() == {"u": {labels(("k", "a")): 1, labels(("k", "b")): 2}}


def test_sources_from_many_threads() -> None:
    """Eight threads that push, end and look at once lose no delta and leave no level."""
    played = Workers()

    def work(worker: int) -> None:
        for _ in range(50):
            source = Source(worker=worker)
            for value in (1, 2, 3):
                played.push(source, {COUNTER: {None: 1}, LEVEL: {"a": value}, GAUGE: {None: value}})
                played.store.families()
                played.store.state()
            played.store.end(source)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert played.shown() == {"c_total": {labels(): 8 * 50 * 3}}
    assert not played.store._speakers


class Rude(Mapping[str, object]):
    """A resource that raises when it is looked at."""

    def __getitem__(self, key: str) -> object:
        raise RuntimeError(key)

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("iter")

    def __len__(self) -> int:
        return 1


def test_a_resource_that_cannot_be_read_costs_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    """Its points count, with what is known of the source otherwise."""
    played, (first, second) = Workers(), two()
    played.push(first, {COUNTER: {None: 1}}, resource=Rude())
    played.push(first, {COUNTER: {None: 1}}, resource=Rude())
    assert played.shown() == {"c_total": {labels(): 2}}
    played.push(second, {COUNTER: {None: 1}}, resource=SHOP)
    played.push(second, {COUNTER: {None: 1}}, resource=Rude())
    assert sum(played.shown()["c_total"].values()) == 4
    assert len([record for record in caplog.records if "resource" in record.getMessage()]) == 1


# ---------------------------------------------------------------- clocks and exemplars


def test_a_batch_that_was_under_way_is_no_clock_that_was_set_back() -> None:
    """Of a worker only a time before the last one is; of the reader, what the clock says, too."""
    now = 0.0
    inside, pushed = SetClock(clock=lambda: now), SetClock(clock=None, shift=2.0)
    for passed, said in ((0, 0), (15, 1), (0, 1), (0, 13)):
        now += passed
        for clock in (inside, pushed):
            clock.look(int((1000 + said) * 1e9))
    assert (inside.shift, pushed.shift) == (14.0, 2.0)
    pushed.look(int(900 * 1e9))
    assert pushed.shift == 115.0


def test_exemplars_of_several_sources() -> None:
    """A series keeps the newest, whoever brings it."""
    played, (first, second) = Workers(), two()
    for source, seconds in ((first, 20), (second, 30), (first, 10)):
        exemplar = Exemplar({}, 1.0, int((1.7e9 + seconds) * 1e9), 2, 1)
        point = number(1, exemplars=[exemplar], time=exemplar.time_unix_nano)
        played.store.take(source, [(COUNTER, [point]), (TOTAL, [point])])
    for family in played.store.families():
        (shown,) = family.points
        assert isinstance(shown, CounterPoint)
        assert shown.exemplar is not None
        assert shown.exemplar.timestamp == 1.7e9 + 30


def test_points_that_cannot_be_read_cost_themselves_only() -> None:
    """A value that is no number leaves what the source said before of others, and of others' parts all."""
    played, (first, second) = Workers(), two()
    played.push(first, {LEVEL: {"a": 1, "b": 1}})
    played.push(second, {LEVEL: {"a": 1}})
    bad: Any = [number(2, {"k": "a"}), replace(number(1, {"k": "b"}), value="x")]
    played.store.take(first, [(LEVEL, bad)])
    assert played.shown()["u"][labels(("k", "a"))] == 3
    played.push(first, {LEVEL: {"a": 1, "b": 5}})
    assert played.shown() == {"u": {labels(("k", "a")): 2, labels(("k", "b")): 5}}

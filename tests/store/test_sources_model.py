"""Many sources in any order show what a model of dictionaries says."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inside import check_places, remembered
from properties import examples
from pushed import COUNTER, GAUGE, LEVEL, Shown, Values, Workers

from otel_prom_bridge import ExportView
from otel_prom_bridge.points import Source, Stream

MODES = ("each", "sum", "max", "min", "newest")
CURRENT = (LEVEL, GAUGE)


class Model:
    """What is shown of sources, written down anew with every question and nothing of ours."""

    def __init__(self, services: list[str], workers: str, ended: str) -> None:
        self.services, self.workers, self.ended = services, workers, ended
        self.counted: dict[tuple[str, Any], float] = defaultdict(float)
        self.present: dict[tuple[Stream, int], dict[Any, float]] = defaultdict(dict)
        self.changed: dict[tuple[int, Any], int] = {}  # when each gauge of each source changed
        self.left: dict[tuple[str, Any], float] = defaultdict(float)  # levels of ended sources
        self.newest_left: dict[tuple[str, Any], float] = {}
        self.seen: set[str] = set()  # services that are there, or of which something is left
        self.is_told_apart = False
        self.live: set[int] = set()
        self.step = 0

    def push(self, source: int, said: dict[Stream, Values], failing: set[str], straggles: bool) -> None:
        self.step += 1
        service = self.services[source]
        self.live.add(source)
        if said:
            self.seen.add(service)
        self.is_told_apart = self.is_told_apart or len(self.seen) > 1
        for key, value in said.get(COUNTER, {}).items():
            self.counted[service, key] += value
        if straggles:
            return
        for stream in CURRENT:
            now, before = dict(said.get(stream, {})), self.present[stream, source]
            for key, value in now.items():
                if stream is GAUGE and before.get(key) != value:
                    self.step += 1
                    self.changed[source, key] = self.step
                    self.newest_left.pop((service, key), None)
            self.present[stream, source] = {**before, **now} if stream.name in failing else now

    def end(self, source: int) -> None:
        service = self.services[source]
        for key, value in self.present.pop((LEVEL, source), {}).items():
            if self.ended == "keep":
                self.left[service, key] += value
        for key, value in self.present.get((GAUGE, source), {}).items():
            if self.ended == "keep" and self.workers == "newest" and self._newest(service, key) == source:
                self.newest_left[service, key] = value
        self.present.pop((GAUGE, source), None)
        self.live.discard(source)
        left = {each for each, _ in (*self.counted, *self.newest_left)}
        left |= {each for (each, _), value in self.left.items() if value}
        self.seen &= left | {self.services[each] for each in self.live}

    def _having(self, stream: Stream, service: str, key: Any) -> dict[int, float]:
        return {
            source: said[key]
            for (each, source), said in self.present.items()
            if each is stream and self.services[source] == service and key in said
        }

    def _newest(self, service: str, key: Any) -> int | None:
        if (service, key) in self.newest_left:
            return None
        return max(self._having(GAUGE, service, key), key=lambda source: self.changed[source, key])

    def shown(self) -> Shown:
        found: dict[str, dict[Any, Any]] = {"c_total": {}, "u": {}, "g": {}}
        for (service, key), value in self.counted.items():
            found["c_total"][self._labels(service, key)] = value
        for service in self.seen:
            for key in ("a", "b", None):
                levels = self._having(LEVEL, service, key).values()
                left = self.left.get((service, key), 0)
                if levels or left:
                    found["u"][self._labels(service, key)] = sum(levels) + left
                found["g"].update(self._gauges(service, key))
        return {name: values for name, values in found.items() if values}

    def _gauges(self, service: str, key: Any) -> dict[Any, float]:
        having = self._having(GAUGE, service, key)
        if self.workers == "each":
            return {
                self._labels(service, key) | {("worker", str(source))}: value
                for source, value in having.items()
            }
        if (service, key) in self.newest_left:
            return {self._labels(service, key): self.newest_left[service, key]}
        if not having:
            return {}
        if self.workers == "newest":
            value = having[self._newest(service, key) or 0]
        else:
            value = {"sum": sum, "max": max, "min": min}[self.workers](having.values())
        return {self._labels(service, key): value}

    def _labels(self, service: str, key: Any) -> frozenset[tuple[str, str]]:
        labels = {("k", key)} if key else set()
        return frozenset(labels | ({("service_name", service)} if self.is_told_apart else set()))


keys = st.sampled_from(["a", "b", None])
values = st.dictionaries(keys, st.integers(-4, 4).map(float), max_size=3)
counts = st.dictionaries(keys, st.integers(0, 4).map(float), max_size=3)
batches = st.fixed_dictionaries({}, optional={COUNTER: counts, LEVEL: values, GAUGE: values})
steps = st.one_of(
    st.tuples(
        st.just("push"), st.integers(0, 4), batches, st.sets(st.sampled_from("ug")), st.sampled_from("nnns")
    ),
    st.tuples(st.just("end"), st.integers(0, 4)),
    st.tuples(st.just("show")),
)


def play(
    script: list[tuple[Any, ...]], services: list[str], workers: Any, ended: Any, **options: Any
) -> tuple[Workers, Model]:
    """Play the script to a store and to the model, and compare them wherever the script looks."""
    played = Workers(ExportView(workers=workers, ended=ended), **options)
    model = Model(services, workers, ended)
    sources = [Source(worker=each) for each in range(len(services))]
    numbers = [0] * len(services)
    for step in [*script, ("show",)]:
        match step:
            case ("push", which, said, failing, order):
                which %= len(services)
                straggles = order == "s" and numbers[which] > 0
                number = numbers[which] = numbers[which] + (not straggles)
                played.push(
                    sources[which],
                    said,
                    number=number - straggles,
                    failing=failing,
                    resource={"service.name": services[which], "process.pid": which},
                )
                model.push(which, said, failing, straggles)
            case ("end", which):
                which %= len(services)
                played.store.end(sources[which])
                model.end(which)
                sources[which], numbers[which] = Source(worker=which), 0
            case ("show",):
                shown = played.shown()
                shown.pop("target_info", None)
                assert shown == model.shown()
                check_places(played.store)
    return played, model


@settings(max_examples=examples(300))
@given(
    st.lists(steps, max_size=30),
    st.sampled_from(["s", "ss", "sssss", "st", "sstts"]),
    st.sampled_from(MODES),
    st.booleans(),
)
def test_any_order_of_sources_equals_the_model(
    script: list[tuple[Any, ...]], services: str, workers: str, keep: bool
) -> None:
    """Pushes, ends, failures, stragglers and looks in any order: families are what they should be."""
    ended = "keep" if keep and workers == "newest" else "drop"
    play(script, list(services), workers, ended)


@settings(max_examples=examples(100))
@given(st.lists(steps, max_size=30))
def test_kept_levels_equal_the_model(script: list[tuple[Any, ...]]) -> None:
    """With ended="keep" what ended sources left stays in the sum of levels."""
    play(script, list("sss"), "newest", "keep")


@pytest.mark.slow
@settings(max_examples=examples(100))
@given(st.lists(steps, max_size=30), st.sampled_from(MODES))
def test_nothing_of_a_source_stays_when_it_ends(script: list[tuple[Any, ...]], workers: str) -> None:
    """After all have ended there is no current value, no source and nothing that is remembered of them."""
    ends = [("end", which) for which in range(5)]
    played, model = play([*script, *ends], list("ssttt"), workers, "drop")
    assert not played.store._speakers
    assert set(played.shown()) <= {"c_total", "target_info"}
    assert remembered(played.store) <= sum(1 for _ in model.counted) * 2


def test_the_model_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that forgot an end would not equal the model."""
    monkeypatch.setattr("otel_prom_bridge.store.store.Store.end", lambda *_: None)
    push = ("push", 0, {LEVEL: {"a": 1.0}}, set(), "n")
    with pytest.raises(AssertionError):
        play([push, ("end", 0)], ["s"], "each", "drop")

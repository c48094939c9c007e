"""Made-up load by a description: seeded, so that each run makes the same.

A description is a TOML file, or a mapping like one::

    seed = 1

    [[metrics]]
    name = "http.server.request.duration"
    kind = "histogram"
    unit = "s"
    rate = 20                    # recordings in a second, all series together
    median = 0.12                # of a log-normal distribution
    spread = 0.6
    labels = {"http.route" = 12, "http.request.method" = {GET = 9, POST = 1}}
    errors = {label = "error.type", share = 0.02, values = ["timeout", "500"]}
    season = {period = 3600, depth = 0.5}

It is played through OTel instruments, to try a pipeline (:meth:`Synthetic.step`), or straight into snapshots,
to try a Prometheus (:meth:`Synthetic.recording`), which takes no time to wait for.
"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from opentelemetry.metrics import Meter

from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.instruments import METHODS, InstrumentKind, recording
from otel_prom_bridge.snapshots import Snapshot
from otel_prom_bridge.snapshots.recordings import Recording
from otel_prom_bridge.testing.clock import EPOCH, Clock
from otel_prom_bridge.testing.probe import MetricsProbe
from otel_prom_bridge.values.checks import BOUNDS, FACTOR, STRING, TEXT, Check, is_number, one_of, whole
from otel_prom_bridge.values.notation import unknown
from otel_prom_bridge.values.toml import read_config_file

_MOST_VALUES = 100_000
# Those of the semantic conventions for HTTP, which fit most latencies better than the SDK's own.
# https://opentelemetry.io/docs/specs/semconv/http/http-metrics/#metric-httpserverrequestduration
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)


def _share(value: object) -> float:
    if not is_number(value) or not 0 <= value <= 1:
        raise ValueError
    return value


def _finite(value: object) -> float:
    if not is_number(value) or not math.isfinite(value):
        raise ValueError
    return value


def _values(value: object) -> dict[str, float]:
    """The values of a label with their weights. Of a number there are so many, the first ones most often."""
    if isinstance(value, bool):
        raise TypeError
    if isinstance(value, int) and 0 < value <= _MOST_VALUES:
        return {str(number): 1 / number for number in range(1, value + 1)}
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return dict.fromkeys(value, 1.0)
    if isinstance(value, dict) and value and all(is_number(item) and item > 0 for item in value.values()):
        return {str(name): float(weight) for name, weight in value.items()}
    raise ValueError


_SHARE = Check(allowed="a number from 0 to 1", check=_share)
_NUMBER = Check(allowed="a number", check=_finite)
_VALUES = Check(
    allowed=f"a number of values (1 to {_MOST_VALUES}), a list of values, or a table of values and weights",
    check=_values,
)
_SEED = whole(0)
_KEYS: dict[str, Check] = {
    "name": TEXT,
    "kind": one_of(*METHODS),
    "unit": STRING,
    "description": STRING,
    "rate": FACTOR,
    "median": FACTOR,
    "spread": FACTOR,
    "amount": FACTOR,
    "level": _NUMBER,
    "swing": _NUMBER,
    "bounds": BOUNDS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticMetric:
    """A metric of a description."""

    name: str
    kind: InstrumentKind
    unit: str = ""
    description: str = ""
    rate: float = 1.0
    median: float = 1.0
    spread: float = 0.5
    amount: float = 1.0
    level: float = 0.0
    swing: float = 1.0
    bounds: tuple[float, ...] | None = None
    labels: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    error_label: str = ""
    error_share: float = 0.0
    error_values: tuple[str, ...] = ("error",)
    period: float = 0.0
    depth: float = 0.0

    def busyness(self, seconds: float) -> float:
        """The share of the rate at this time: 1 at noon, less in the valleys of the season."""
        if not self.period:
            return 1.0
        return 1 - self.depth * (0.5 + 0.5 * math.cos(2 * math.pi * seconds / self.period))


class Synthetic:
    """Load that a description asks for, the path of a TOML file or a mapping.

    Raises:
        ConfigurationError: the description has a key or a value that is not allowed.
    """

    def __init__(self, description: str | os.PathLike[str] | Mapping[str, Any]) -> None:
        if isinstance(description, Mapping):
            found, place = dict(description), ""
        else:
            found, place = read_config_file("description", description), f"{os.fspath(description)}: "
        known = ("seed", "metrics")
        for key in found:
            if key not in known:
                raise unknown(key, key, known, "keys of a description", at=f"{place}{key}")
        self.seed: int = _SEED.value(f"{place}seed", found.get("seed", 0))
        metrics = found.get("metrics")
        if not isinstance(metrics, list) or not metrics:
            raise ConfigurationError(f"{place}metrics", metrics, "a list of tables, such as [[metrics]]")
        self.metrics = tuple(_metric(f"{place}metrics[{n}]", item) for n, item in enumerate(metrics))
        self._random = random.Random(self.seed)
        self._seconds = 0.0
        self._owed = [0.0] * len(self.metrics)
        self._choices = [_Choices(metric, self._random) for metric in self.metrics]
        self._levels: dict[tuple[int, tuple[tuple[str, str], ...]], float] = {}

    def step(self, meter: Meter, seconds: float) -> None:
        """Record what happens in so many seconds."""
        for number, metric in enumerate(self.metrics):
            record = recording(
                meter,
                metric.kind,
                metric.name,
                unit=metric.unit,
                description=metric.description,
                buckets=metric.bounds or (_SECONDS if metric.unit == "s" else None),
            )
            self._owed[number] += metric.rate * seconds * metric.busyness(self._seconds)
            times, self._owed[number] = int(self._owed[number]), self._owed[number] % 1
            for _ in range(times):
                attributes = self._choices[number].attributes()
                record(self._value(number, metric, attributes), attributes, None)
        self._seconds += seconds

    def _value(self, number: int, metric: SyntheticMetric, attributes: dict[str, str]) -> float:
        match metric.kind:
            case "histogram":
                return self._random.lognormvariate(math.log(metric.median), metric.spread)
            case "counter":
                return metric.amount
            case "up_down_counter":
                key = number, tuple(attributes.items())
                level = self._levels.get(key, 0.0)
                change = self._random.choice((-1, 1)) if level > 0 else 1
                self._levels[key] = level + change
                return change
            case _:
                noise = self._random.gauss(0, 0.1)
                return metric.level + metric.swing * (metric.busyness(self._seconds) + noise)

    def recording(self, seconds: float, *, interval: float = 15.0, begin: float = EPOCH) -> Recording:
        """What a scraper would have seen in so many seconds, from the time ``begin`` on."""
        return Recording(tuple(self.snapshots(seconds, interval=interval, begin=begin)))

    def snapshots(
        self, seconds: float, *, interval: float = 15.0, begin: float = EPOCH
    ) -> Iterator[Snapshot]:
        """The same, one after the other."""
        clock = Clock(0.0, epoch=begin)
        with clock.standing(), MetricsProbe(max_series_per_metric=_MOST_VALUES) as probe:
            meter = probe.meter("synthetic")
            while True:
                families = probe.families()
                yield Snapshot(families, begin + clock())
                if clock() + interval > seconds:
                    return
                self.step(meter, interval)
                clock.advance(interval)


class _Choices:
    """Chooses the attributes of a recording."""

    def __init__(self, metric: SyntheticMetric, chance: random.Random) -> None:
        self._metric = metric
        self._random = chance
        self._labels = [
            (name, list(values), list(accumulate(values.values()))) for name, values in metric.labels.items()
        ]

    def attributes(self) -> dict[str, str]:
        found = {
            name: self._random.choices(values, cum_weights=weights)[0]
            for name, values, weights in self._labels
        }
        if self._metric.error_share and self._random.random() < self._metric.error_share:
            found[self._metric.error_label] = self._random.choice(self._metric.error_values)
        return found


def _metric(place: str, found: object) -> SyntheticMetric:
    if not isinstance(found, Mapping):
        raise ConfigurationError(place, found, "a table with name and kind")
    options: dict[str, Any] = {}
    for key, value in found.items():
        if key in _KEYS:
            options[key] = _KEYS[key].value(f"{place}.{key}", value)
        elif key == "labels":
            options["labels"] = {
                str(name): _VALUES.value(f"{place}.labels.{name}", item)
                for name, item in _table(f"{place}.labels", value).items()
            }
        elif key == "errors":
            options |= _errors(f"{place}.errors", _table(f"{place}.errors", value))
        elif key == "season":
            options |= _season(f"{place}.season", _table(f"{place}.season", value))
        else:
            allowed = (*_KEYS, "labels", "errors", "season")
            raise unknown(key, key, allowed, "keys of a metric", at=f"{place}.{key}")
    for key in ("name", "kind"):
        if key not in options:
            raise ConfigurationError(f"{place}.{key}", None, _KEYS[key].allowed)
    return SyntheticMetric(**options)


def _table(place: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigurationError(place, value, "a table")
    return value


def _read_table(
    place: str, found: Mapping[str, Any], keys: Mapping[str, tuple[str, Check]]
) -> dict[str, Any]:
    for key in found:
        if key not in keys:
            raise unknown(key, key, tuple(keys), "keys", at=f"{place}.{key}")
    for key in keys:
        if key not in found and key != "values":
            raise ConfigurationError(f"{place}.{key}", None, keys[key][1].allowed)
    return {keys[key][0]: keys[key][1].value(f"{place}.{key}", value) for key, value in found.items()}


def _errors(place: str, found: Mapping[str, Any]) -> dict[str, Any]:
    keys = {
        "label": ("error_label", TEXT),
        "share": ("error_share", _SHARE),
        "values": ("error_values", _TEXTS),
    }
    return _read_table(place, found, keys)


def _season(place: str, found: Mapping[str, Any]) -> dict[str, Any]:
    return _read_table(place, found, {"period": ("period", FACTOR), "depth": ("depth", _SHARE)})


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, Sequence) or not value or not all(isinstance(item, str) for item in value):
        raise ValueError
    return tuple(value)


_TEXTS = Check(allowed="a list of texts", check=_texts)

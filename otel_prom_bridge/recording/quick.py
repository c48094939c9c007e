"""Recording clean attributes without having them looked at once more.

Since 1.45 the SDK makes a copy of the attributes of each measurement, and looks at each of them as it does
so. That takes longer than most of the rest of a recording. It would change nothing in attributes that are
clean, so the measurements of its instruments are made here, with such a copy. They bring along the key by
which our reader finds the series. And of what is recorded of one span the SDK is asked only once whether it
becomes exemplars. All of that is so only as long as nobody else has a hand in it: a method that is not the
SDK's own gets what it would get of the SDK.

What that needs of the SDK is private to it, and found by way of the instrument, so who records loads no SDK.
Where it is made otherwise than we know it, its instruments are called as anybody calls them.
"""

from __future__ import annotations

import dataclasses
import sys
from functools import lru_cache
from types import MethodType
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context, get_current
from opentelemetry.util.types import AttributeValue

from otel_prom_bridge.instruments import Attributes, Record

_INSTRUMENTS = "opentelemetry.sdk.metrics._internal.instrument"
_STAND_INS = "opentelemetry.metrics._internal.instrument"
_CONSUMERS = "opentelemetry.sdk.metrics._internal.measurement_consumer"
_FILTERS = "opentelemetry.sdk.metrics._internal.exemplar.exemplar_filter"
_FIELDS = ("value", "time_unix_nano", "instrument", "context", "attributes")
_CLEANING = "_clean_attribute_value"
# What a consumer does with a measurement that its filter decides about and its readers get.
_CONSUMING = frozenset(
    {
        *("value", "time_unix_nano", "context", "attributes"),
        *("_sdk_config", "exemplar_filter", "should_sample"),
        *("_reader_storages", "values", "consume_measurement"),
    }
)
_OF_SPANS = "TraceBasedExemplarFilter"
_CHOICES = (_OF_SPANS, "AlwaysOnExemplarFilter", "AlwaysOffExemplarFilter")
_SPAN: Any = getattr(trace.propagation, "_SPAN_KEY", None)
_TEXT = frozenset({str})
_PLAIN = frozenset({str, bool, int, float})


class CleanAttributes(dict[str, AttributeValue]):
    """Attributes that a metric can have. Who has made them changes them no more.

    ``key`` is what tells them apart, where that is as simple as in our reader of the SDK.
    """

    __slots__ = ("_key",)
    _key: tuple[object, ...] | None

    @property
    def key(self) -> tuple[object, ...] | None:
        """Names, values and, unless all are texts, the types of the values: 1, 1.0 and True are equal."""
        try:
            return self._key
        except AttributeError:
            kinds = (*map(type, self.values()),)
            is_text, is_plain = _TEXT.issuperset(kinds), _PLAIN.issuperset(kinds)
            key = (*self, *self.values(), *(() if is_text else kinds)) if is_plain else None
            self._key = key
            return key

    def also(self, key: str, value: AttributeValue) -> CleanAttributes:
        """These and one more, which is clean itself."""
        result = CleanAttributes(self)
        result[key] = value
        return result


class InSpan(Context):
    """A context in the span that this is about, of which it is known whether it is sampled."""

    def __init__(self, about: trace.SpanContext, context: Context) -> None:
        span = trace.NonRecordingSpan(about)
        if _SPAN is None:
            super().__init__(trace.set_span_in_context(span, context))
        else:  # the same with fewer copies
            super().__init__(context)
            dict.__setitem__(self, _SPAN, span)
        self.is_sampled = about.trace_flags.sampled


def is_awaited(record: Record) -> bool:
    """Whether this belongs to a stand-in for an instrument that there will be once an SDK is set."""
    return getattr(getattr(record, "__self__", None), "_real_instrument", record) is None


def quick(record: Record) -> Record:
    """What records as this method of an instrument does, sooner if the attributes are clean.

    A value has to be one that the instrument can have: it is not looked at once more, either.
    """
    try:
        return _quick(_real(record)) or record
    except Exception:  # the SDK is made otherwise than we know it
        return record


def _real(record: Any) -> Any:
    """The method of the SDK's instrument, where this one does nothing but call it."""
    instrument = getattr(record, "__self__", None)
    real = getattr(instrument, "_real_instrument", None)
    is_stand_in = real is not None and _is_of(record, _STAND_INS)
    return getattr(real, record.__name__) if is_stand_in else record


def _is_of(record: Any, module: str) -> bool:
    """Whether this is a method as that module has it, which nobody put something else in the place of."""
    if type(record) is not MethodType or module not in sys.modules:
        return False
    return getattr(record.__func__, "__globals__", None) is vars(sys.modules[module])


def _quick(record: Any) -> Record | None:
    """What is quick; None if we do not know how the instrument is made. It may raise then, too."""
    if not _is_of(record, _INSTRUMENTS):
        return None
    instrument: Any = record.__self__
    consuming = instrument._measurement_consumer.consume_measurement
    module: Any = sys.modules[_INSTRUMENTS]  # its clock is that of the SDK, which tests may set
    measurement = _measurement_of(type(instrument))
    if measurement is None or not _is_of(consuming, _CONSUMERS) or not _works(measurement, module.time_ns()):
        return None
    name, is_enabled, filters = record.__name__, instrument._is_enabled, _filters(consuming)
    method, consume = record.__func__, consuming.__func__

    def record_quickly(value: float, attributes: Attributes | None, context: Context | None) -> None:
        # Anybody may put something else in the place of these methods at any time, to see or change what is
        # recorded. A method may look like the one that it wraps, so its type is looked at, too.
        usual, consumer = getattr(instrument, name), instrument._measurement_consumer
        own = consumer.consume_measurement
        is_own = type(usual) is type(own) is MethodType
        is_own = is_own and usual.__func__ is method and own.__func__ is consume
        asked = consumer._sdk_config.exemplar_filter.should_sample if is_own else None
        asks_span_only = filters.get(asked.__func__) if type(asked) is MethodType else None
        if type(attributes) is not CleanAttributes:
            usual(value, attributes, context)
            return
        # Each has attributes of its own, since whoever gets them may change them.
        copy = attributes.copy()
        if asks_span_only is None or "" in copy or not is_enabled():  # the SDK says that a name is missing
            usual(value, copy, context)
            return
        context = context or get_current()
        made = measurement(value, module.time_ns(), instrument, context, copy, attributes.key)
        if asks_span_only and type(context) is InSpan:
            for storage in consumer._reader_storages.values():
                storage.consume_measurement(made, context.is_sampled)
        else:
            own(made)

    return record_quickly


def _works(measurement: Any, now: int) -> bool:
    """A trial, after which nothing fails that would lose what is recorded. It may raise."""
    given = (0, now, None, get_current(), CleanAttributes())
    trial = measurement(*given, ())
    return tuple([getattr(trial, field) for field in _FIELDS]) == given


def _filters(consuming: Any) -> dict[Any, bool]:
    """What the SDK's own filters ask, and whether that is only if the span is sampled. It may raise.

    ``consuming`` is what asks them, and then gives each measurement to the readers.
    """
    is_known = set(consuming.__func__.__code__.co_names) == _CONSUMING
    module = vars(sys.modules[_FILTERS])
    found = {name: module[name].should_sample for name in _CHOICES}
    return {
        asked: is_known and name == _OF_SPANS for name, asked in found.items() if asked.__globals__ is module
    }


def _measurement_of(kind: Any) -> Any:
    """What instruments of this class hand over, made without a look at attributes; None if we know it not."""
    if kind.__module__ != _INSTRUMENTS or not hasattr(kind, "_is_enabled"):
        return None
    usual: Any = getattr(sys.modules[_INSTRUMENTS], "Measurement", None)
    if tuple(field.name for field in dataclasses.fields(usual)) != _FIELDS:
        return None
    cleaning = getattr(usual, "__post_init__", None)  # older SDKs take attributes as they are
    if cleaning is not None and _CLEANING not in cleaning.__code__.co_names:
        return None
    return _clean(usual)


@lru_cache(maxsize=20)
def _clean(usual: Any) -> Any:
    """One class for instruments of all kinds, as the interpreter is quicker where classes do not change."""

    class CleanMeasurement(usual):  # type: ignore[misc]
        """The same, with the key of its series. A copy has none, as it may get other attributes."""

        __slots__ = ("key",)

        def __getstate__(self) -> dict[str, Any]:
            return self.__dict__

    new, set_key = CleanMeasurement.__new__, CleanMeasurement.key.__set__

    def made(
        value: float, time: int, instrument: Any, context: Context, attributes: Any, key: Any
    ) -> CleanMeasurement:
        """One of which the fields are set at once, since it is frozen and its class looks at attributes."""
        result = new(CleanMeasurement)
        fields = result.__dict__
        fields["value"], fields["time_unix_nano"] = value, time
        fields["instrument"], fields["context"] = instrument, context
        fields["attributes"] = attributes
        set_key(result, key)
        return result

    return made

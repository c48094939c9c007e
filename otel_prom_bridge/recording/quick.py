"""Recording clean attributes without having them looked at once more.

Since 1.45 the SDK makes a copy of the attributes of each measurement, and looks at each of them as it does
so. That takes longer than most of the rest of a recording. It would change nothing in attributes that are
clean, so the measurements of its instruments are made here, with such a copy.

What that needs of the SDK is private to it, and found by way of the instrument, so who records loads no SDK.
Where it is made otherwise than we know it, its instruments are called as anybody calls them.
"""

from __future__ import annotations

import dataclasses
import sys
from functools import lru_cache
from types import MethodType
from typing import Any

from opentelemetry.context import Context, get_current
from opentelemetry.util.types import AttributeValue

from otel_prom_bridge.instruments import Attributes, Record

_INSTRUMENTS = "opentelemetry.sdk.metrics._internal.instrument"
_STAND_INS = "opentelemetry.metrics._internal.instrument"
_FIELDS = ("value", "time_unix_nano", "instrument", "context", "attributes")
_CLEANING = "_clean_attribute_value"


class CleanAttributes(dict[str, AttributeValue]):
    """Attributes that a metric can have. Who has made them changes them no more."""

    __slots__ = ()

    def also(self, key: str, value: AttributeValue) -> CleanAttributes:
        """These and one more, which is clean itself."""
        result = CleanAttributes(self)
        result[key] = value
        return result


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
    kind: Any = type(instrument)
    measurement = _measurement_of(kind)
    if measurement is None:
        return None
    module: Any = sys.modules[_INSTRUMENTS]  # its clock is that of the SDK, which tests may set
    consumer, is_enabled = instrument._measurement_consumer, instrument._is_enabled
    # A trial, after which nothing fails that would lose what is recorded.
    given = (0, module.time_ns(), instrument, get_current(), CleanAttributes())
    trial = measurement(*given)
    shown = tuple([getattr(trial, field) for field in _FIELDS])
    if shown != given or not callable(consumer.consume_measurement):
        return None

    def record_quickly(value: float, attributes: Attributes | None, context: Context | None) -> None:
        # What has no name is no attribute, which the SDK says.
        if type(attributes) is not CleanAttributes or "" in attributes or not is_enabled():
            record(value, attributes, context)
            return
        # Each has attributes of its own, since other readers may have exporters that change what they get.
        own = attributes.copy()
        consumer.consume_measurement(
            measurement(value, module.time_ns(), instrument, context or get_current(), own)
        )

    return record_quickly


@lru_cache(maxsize=20)
def _measurement_of(kind: Any) -> Any:
    """What instruments of this class hand over, made without a look at attributes; None if we know it not."""
    if kind.__module__ != _INSTRUMENTS or not hasattr(kind, "_is_enabled"):
        return None
    usual: Any = getattr(sys.modules[_INSTRUMENTS], "Measurement", None)
    cleaning = getattr(getattr(usual, "__post_init__", None), "__code__", None)
    if cleaning is None or _CLEANING not in cleaning.co_names:
        return None  # an older SDK, which takes attributes as they are
    if tuple(field.name for field in dataclasses.fields(usual)) != _FIELDS:
        return None

    class CleanMeasurement(usual):  # type: ignore[misc]
        """The same, of which the fields are set at once, since it is frozen."""

        def __init__(
            self, value: float, time_unix_nano: int, instrument: Any, context: Context, attributes: Any
        ) -> None:
            fields = self.__dict__
            fields["value"], fields["time_unix_nano"] = value, time_unix_nano
            fields["instrument"], fields["context"] = instrument, context
            fields["attributes"] = attributes

    return CleanMeasurement

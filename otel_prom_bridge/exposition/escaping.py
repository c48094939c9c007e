"""What the text formats share: how strings, numbers and label sets are written."""

from __future__ import annotations

import math
import sys
from decimal import Decimal
from functools import lru_cache

from otel_prom_bridge.families import Labels, is_legacy_label, is_legacy_name

_LABEL_VALUE = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_HELP_TEXT = str.maketrans({"\\": r"\\", "\n": r"\n"})
_NAMES_REMEMBERED = 1024
_HIGHEST = int(sys.float_info.max)
_LOWEST = -_HIGHEST


def quoted(name: str) -> str:
    """The name in quotes, as names beyond the legacy characters stand in the text formats."""
    return f'"{name.translate(_LABEL_VALUE)}"'


def metadata_name(name: str) -> str:
    """The name of a metric as it stands in HELP, TYPE and UNIT lines."""
    return name if is_legacy_name(name) else quoted(name)


def label_set(labels: Labels) -> str:
    r"""The labels without braces: ``a="b",c="d\"e","f.g"="h"``."""
    return ",".join([f'{_label_name(name)}="{_label_value(value)}"' for name, value in labels])


@lru_cache(maxsize=_NAMES_REMEMBERED)  # there are few names and many series
def _label_name(name: str) -> str:
    return name if is_legacy_label(name) else quoted(name)


def _label_value(value: str) -> str:
    # To look for each is faster than to translate, and nearly no value has any of them.
    if '"' in value or "\\" in value or "\n" in value:
        return value.translate(_LABEL_VALUE)
    return value


def help_text(text: str, *, openmetrics: bool) -> str:
    """The text of a HELP line. Only OpenMetrics escapes quotes in it."""
    return text.translate(_LABEL_VALUE if openmetrics else _HELP_TEXT)


def number(value: float) -> str:
    """The value of a sample: integers without a point, floats with one, ``+Inf``, ``-Inf`` and ``NaN``.

    Other numeric types (bool, numpy's scalars) are written as floats. An integer that no float can hold is
    written as infinite.
    """
    if type(value) is int:
        if _LOWEST <= value <= _HIGHEST:
            return str(value)
        # Prometheus reads every value as a float, and one that does not fit fails the whole scrape.
        value = math.inf if value > 0 else -math.inf
    value = float(value)
    if math.isfinite(value):
        return repr(value)
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


def bound(value: float) -> str:
    """The ``le`` of a bucket or the ``quantile`` of a summary in the canonical form: 0.0, 10.0, 1e+06, 1e-05.

    The form matters because ``le="1"`` and ``le="1.0"`` are two different series to Prometheus 2.
    https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md#considerations-canonical-numbers
    """
    value = float(value)
    if not math.isfinite(value):
        return number(value)
    if value == 0:
        return "0.0"  # Zeros of either sign are one bound.
    # The digits of repr() are the fewest that read back as the same float, so they must not be rounded again.
    mantissa, _, power = f"{Decimal(repr(value)).normalize():e}".partition("e")
    return repr(value) if -5 < int(power) < 6 else f"{mantissa}e{int(power):+03d}"

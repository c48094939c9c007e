"""What both text formats share: escaped strings, numbers, label sets."""

from __future__ import annotations

import math
import re
from decimal import Decimal

from otel_prom_bridge.families import Labels

_FOREIGN = re.compile(r"^[^a-zA-Z_:]|[^a-zA-Z0-9_:]")
_LABEL_VALUE = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_HELP_TEXT = str.maketrans({"\\": r"\\", "\n": r"\n"})


def underscored(name: str) -> str:
    """A name with ``_`` for every foreign character: the escaping scheme ``underscores``.

    https://github.com/prometheus/docs/blob/main/docs/instrumenting/escaping_schemes.md
    """
    return _FOREIGN.sub("_", name)


def label_set(labels: Labels) -> str:
    r"""The labels without braces: ``a="b",c="d\"e"``."""
    return ",".join([f'{name}="{value.translate(_LABEL_VALUE)}"' for name, value in labels])


def help_text(text: str, *, openmetrics: bool) -> str:
    """A HELP text; only OpenMetrics escapes quotes in it."""
    return text.translate(_LABEL_VALUE if openmetrics else _HELP_TEXT)


def number(value: float) -> str:
    """A sample value: integers without a point, floats with one, ``+Inf``, ``-Inf``, ``NaN``.

    Other numeric types (bool, numpy scalars) are written as floats.
    """
    if type(value) is int:
        return str(value)
    value = float(value)
    if math.isfinite(value):
        return repr(value)
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


def bound(value: float) -> str:
    """A bucket's ``le`` or a summary's ``quantile``, in the canonical form: 0.0, 10.0, 1e+06, 1e-05.

    "``le="1"`` and ``le="1.0"`` are two series to Prometheus 2", so the form matters.
    https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md#considerations-canonical-numbers
    """
    value = float(value)
    if not math.isfinite(value):
        return number(value)
    _, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    power = len(digits) + int(exponent) - 1
    if value == 0 or -5 < power < 6:
        return f"{Decimal(repr(value)):f}" if value else "0.0"
    mantissa, _, _ = f"{value:.{max(len(digits) - 1, 0)}e}".partition("e")
    return f"{mantissa}e{power:+03d}"

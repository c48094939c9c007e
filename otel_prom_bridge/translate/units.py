"""Translates units of OpenTelemetry, which are those of UCUM, into the words that Prometheus has for them.

The table of words and the rule of brackets are those of the compatibility document. It leaves open which
rates have words, and what becomes of foreign characters. There we do what ``prometheus/otlptranslator`` does.
https://github.com/open-telemetry/opentelemetry-specification/blob/main/specification/compatibility/prometheus_and_openmetrics.md#metric-metadata-1
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

# otlptranslator writes TiBy as "tibibytes" and does not know kBy. The table of the specification wins. KBy is
# not in UCUM, but many instrumentations write it, and otlptranslator accepts it.
_WORDS = {
    "d": "days",
    "h": "hours",
    "min": "minutes",
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "ns": "nanoseconds",
    "By": "bytes",
    "KiBy": "kibibytes",
    "MiBy": "mebibytes",
    "GiBy": "gibibytes",
    "TiBy": "tebibytes",
    "kBy": "kilobytes",
    "KBy": "kilobytes",
    "MBy": "megabytes",
    "GBy": "gigabytes",
    "TBy": "terabytes",
    "m": "meters",
    "V": "volts",
    "A": "amperes",
    "J": "joules",
    "W": "watts",
    "g": "grams",
    "Cel": "celsius",
    "Hz": "hertz",
    "%": "percent",
    # "1" has no dimension and gets no word. The word "ratio" left the specification in v1.56.0.
    "1": "",
}

_WORDS_PER = {
    "s": "second",
    "m": "minute",
    "h": "hour",
    "d": "day",
    "w": "week",
    "mo": "month",
    "y": "year",
}

# How much one of each unit is, measured in the first unit of its kind.
_KINDS: tuple[dict[str, Fraction | int], ...] = (
    {
        "s": 1,
        "ms": Fraction(1, 10**3),
        "us": Fraction(1, 10**6),
        "ns": Fraction(1, 10**9),
        "min": 60,
        "h": 3600,
        "d": 86_400,
    },
    {
        "By": 1,
        "kBy": 10**3,
        "KBy": 10**3,
        "MBy": 10**6,
        "GBy": 10**9,
        "TBy": 10**12,
        "KiBy": 2**10,
        "MiBy": 2**20,
        "GiBy": 2**30,
        "TiBy": 2**40,
    },
)

_BRACKETS = re.compile(r"\{[^}]*\}")
_FOREIGN = re.compile(r"[^a-zA-Z0-9:]+")


class UnitWords(NamedTuple):
    """A unit in words, such as ``UnitWords("bytes", "per_second")``. Either part may be empty."""

    main: str
    per: str

    def __str__(self) -> str:
        return "_".join(part for part in self if part)


def unit_words(unit: str) -> UnitWords:
    """Translate a unit of UCUM. For ``By/s`` the result is ``bytes`` and ``per_second``.

    Parts in brackets are dropped, and the rest is kept, so ``By{written}`` is ``bytes``. Text that is in no
    table stays as it is, but with ``_`` for characters that a Prometheus name cannot have.
    """
    main, _, per = _BRACKETS.sub("", unit).partition("/")
    main, per = main.strip(), per.strip()
    main_word = _clean(_WORDS.get(main, main))
    per_word = _clean(_WORDS_PER.get(per, per))
    return UnitWords(main_word, f"per_{per_word}" if per_word else "")


def conversion(unit: str, to: str) -> Fraction | None:
    """The factor that leads from one unit to the other.

    It is None if the units are the same or of different kinds.

    >>> conversion("ms", "s"), conversion("KiBy", "By"), conversion("s", "s"), conversion("ms", "By")
    (Fraction(1, 1000), Fraction(1024, 1), None, None)
    """
    for sizes in _KINDS:
        if unit in sizes and to in sizes:
            factor = Fraction(sizes[unit]) / Fraction(sizes[to])
            return None if factor == 1 else factor
    return None


def _clean(text: str) -> str:
    return _FOREIGN.sub("_", text).strip("_")

"""OTel units (UCUM) become words."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_prom_bridge.translate.units import UnitWords, unit_words

# open-telemetry/opentelemetry-specification@1377f53b2bc0
# specification/compatibility/prometheus_and_openmetrics.md:97-123, the 25 rows that MUST be followed.
SPECIFICATION = {
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
}

# The same document: portions in brackets are dropped (:436), rates over time become words.
SPECIFICATION_EXAMPLES = {"{packet}": "", "m/s": "meters_per_second"}

# prometheus/otlptranslator@51da77392288 metric_namer_test.go (assertions on UnitNamer) and, for the last
# two, perUnitMap of metric_namer.go.
TRANSLATOR = {
    "1": "",
    "ms": "milliseconds",
    "By/s": "bytes_per_second",
    "{custom}": "",
    "By/{custom}": "bytes",
    "s": "seconds",
    "unit@with#special/chars": "unit_with_special_per_chars",
    "h": "hours",
    "min": "minutes",
    "MiBy": "mebibytes",
    "GiBy": "gibibytes",
    "KBy": "kilobytes",
    "MBy": "megabytes",
    "TBy": "terabytes",
    "m": "meters",
    "A": "amperes",
    "Cel": "celsius",
    "Hz": "hertz",
    "1/m": "per_minute",
    "1/mo": "per_month",
    "1/y": "per_year",
    "By/": "bytes",
    "By/h": "bytes_per_hour",
    "By/mo": "bytes_per_month",
}

# prometheus/otlptranslator@c9bafb7d9cdc unit_namer_test.go, assertions that still hold at its HEAD.
HISTORICAL = {
    "   ": "",
    "KBy/s": "kilobytes_per_second",
    "W/h": "watts_per_hour",
    "1/custom": "per_custom",
    "custom/custom": "custom_per_custom",
    "{custom}/s": "per_second",
    "unit__with__multiple__underscores": "unit_with_multiple_underscores",
    "@#$%": "",
    "custom_unit_": "custom_unit",
    "By/_custom__unit_": "bytes_per_custom_unit",
}

# The same sources, where the compatibility document's table says otherwise (design D3): unit, ours, theirs.
OVERRULED = [
    ("TiBy", "tebibytes", "tibibytes"),
    ("kBy", "kilobytes", "kBy"),
]

# What follows from the rules without standing in a table of the references.
DERIVED = {
    "": "",
    # Only the portion in brackets goes (design D3); otlptranslator drops that whole side.
    "By{x}": "bytes",
    "{x}By": "bytes",
    "{a}By/s{b}": "bytes_per_second",
    "{a}{b}": "",
    "{a}/{b}": "",
    "By/{a}s": "bytes_per_second",
    # A slash in brackets divides nothing.
    "{a/b}By": "bytes",
    # Brackets without a partner are foreign characters; neither may come through.
    "{x": "x",
    "x}": "x",
    # otlptranslator's table of rates has no row for this: the unit stands as it is.
    "By/min": "bytes_per_min",
    # The first slash divides.
    "m/s/s": "meters_per_s_s",
    # Case matters.
    "MBY": "MBY",
    # Whitespace around a part is not the unit's.
    " By ": "bytes",
    "requests": "requests",
    "m2": "m2",
    "°": "",
}


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        row
        for table in (SPECIFICATION, SPECIFICATION_EXAMPLES, TRANSLATOR, HISTORICAL, DERIVED)
        for row in table.items()
    ],
)
def test_unit(unit: str, expected: str) -> None:
    """A unit becomes the words of the compatibility document or, where it is silent, of otlptranslator."""
    assert str(unit_words(unit)) == expected


@pytest.mark.parametrize(("unit", "ours", "theirs"), OVERRULED)
def test_the_specification_wins_over_otlptranslator(unit: str, ours: str, theirs: str) -> None:
    """Where otlptranslator contradicts the document's table, the table is followed."""
    assert str(unit_words(unit)) == ours != theirs


def test_the_table_is_complete() -> None:
    """The document's table has 25 rows, and no two units that mean different things share a word."""
    words = [str(unit_words(unit)) for unit in SPECIFICATION]
    assert len(words) == 25 == len(set(words))


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("By/s", UnitWords("bytes", "per_second")),
        ("By", UnitWords("bytes", "")),
        ("1/s", UnitWords("", "per_second")),
        ("", UnitWords("", "")),
        ("By/{x}", UnitWords("bytes", "")),
    ],
)
def test_the_unit_and_its_rate_are_apart(unit: str, expected: UnitWords) -> None:
    """The unit proper and its rate are told apart, and either may be missing."""
    assert unit_words(unit) == expected


@given(st.text() | st.text(st.sampled_from("{}/ By1s_%")))
def test_any_text_gives_words(unit: str) -> None:
    """Any text gives words that a metric name can end with, without brackets and lone underscores."""
    words = unit_words(unit)
    word = r"[a-zA-Z0-9:]+(_[a-zA-Z0-9:]+)*"
    assert re.fullmatch(f"({word})?", words.main)
    assert re.fullmatch(f"(per_{word})?", words.per)

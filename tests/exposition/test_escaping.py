"""What both text formats share: escaped strings, numbers, canonical bounds, names with underscores."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from oracles import OPENMETRICS, parse
from promtool import PROMTOOL, promtool_complaint

from otel_prom_bridge.exposition.escaping import bound, help_text, label_set, number

TEXT = "text/plain; version=0.0.4"

# prometheus/docs@c105550aad07 docs/instrumenting/exposition_formats.md "Comments, help text, and type
# information" (text 0.0.4: backslash and line feed in HELP, and the double quote in label values), and
# docs/specs/om/open_metrics_spec.md:306-384 "ABNF" (OpenMetrics: all three in both).
STRINGS = [
    # text, as a label value, as HELP of text 0.0.4, as HELP of OpenMetrics
    ("plain", "plain", "plain", "plain"),
    ("", "", "", ""),
    ("\\", r"\\", r"\\", r"\\"),
    ("\n", r"\n", r"\n", r"\n"),
    ('"', r"\"", '"', r"\""),
    (r"\n", r"\\n", r"\\n", r"\\n"),
    ('a\\b\nc"d', r"a\\b\nc\"d", r'a\\b\nc"d', r"a\\b\nc\"d"),
    # nothing else is escaped
    ("\r\t\x00 火{}=,#'", "\r\t\x00 火{}=,#'", "\r\t\x00 火{}=,#'", "\r\t\x00 火{}=,#'"),
]


@pytest.mark.parametrize(("text", "value", "plain", "openmetrics"), STRINGS)
def test_escapes(text: str, value: str, plain: str, openmetrics: str) -> None:
    """Backslash and line feed are escaped everywhere, the double quote not in the HELP of text 0.0.4."""
    assert label_set((("name", text),)) == f'name="{value}"'
    assert help_text(text, openmetrics=False) == plain
    assert help_text(text, openmetrics=True) == openmetrics


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ((), ""),
        ((("a", "1"),), 'a="1"'),
        ((("a", "1"), ("b", "")), 'a="1",b=""'),
        ((("b", '"'), ("a", ",")), 'b="\\"",a=","'),
    ],
)
def test_label_set(labels: tuple[tuple[str, str], ...], expected: str) -> None:
    """Labels are separated by commas and keep their order."""
    assert label_set(labels) == expected


texts = st.text(st.characters(codec="utf-8")) | st.text(st.sampled_from('\\\n"n {}=,#\r'))


@given(value=texts, help_=texts)
@example(value='\\"\n', help_='\\"\n')
def test_strings_come_back(value: str, help_: str) -> None:
    """An independent parser reads back every label value and help text, in both formats."""
    # prometheus_client's parser strips whitespace around a help text.
    help_ = f"x{help_}x"
    plain = f"# HELP m {help_text(help_, openmetrics=False)}\n# TYPE m gauge\n"
    openmetrics = f"# TYPE m gauge\n# HELP m {help_text(help_, openmetrics=True)}\n"
    line = f"m{{{label_set((('a', value), ('b', 'x')))}}} 1\n"
    for content_type, body in ((TEXT, plain + line), (OPENMETRICS, openmetrics + line + "# EOF\n")):
        (family,) = parse(content_type, body.encode())
        assert family.documentation == help_
        assert family.samples[0].labels == {"a": value, "b": "x"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0"),
        (-1, "-1"),
        (23, "23"),
        (10**20, "100000000000000000000"),
        (2**63, "9223372036854775808"),
        (10**308, "1" + "0" * 308),
        # no float can hold these, and Prometheus fails a scrape with one of them
        (10**309, "+Inf"),
        (-(10**309), "-Inf"),
        (10**5000, "+Inf"),
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (1.0, "1.0"),
        (0.1, "0.1"),
        (1e16, "1e+16"),
        (5e-324, "5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (math.nan, "NaN"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
        (True, "1.0"),
        (False, "0.0"),
        (Decimal("1.50"), "1.5"),
        (Fraction(1, 4), "0.25"),
    ],
    ids=lambda value: repr(value)[:20] if not isinstance(value, int) else f"{value.bit_length()} bits",
)
def test_number(value: float, expected: str) -> None:
    """Integers have no point and floats have one, and what is not finite has its name."""
    assert number(value) == expected


@given(st.integers() | st.integers(-(10**400), 10**400))
@example(int(1.7976931348623157e308))
@example(-int(1.7976931348623157e308))
def test_integers_are_exact(value: int) -> None:
    """An integer that a float can hold is written with all of its digits; others are infinite."""
    written = number(value)
    if abs(value) <= int(1.7976931348623157e308):
        assert re.fullmatch(r"-?\d+", written)
        assert int(written) == value
    else:
        assert float(written) == math.copysign(math.inf, 1 if value > 0 else -1)


@given(st.floats())
def test_floats_are_exact(value: float) -> None:
    """A float is read back as the same float, and is never written like an integer."""
    written = number(value)
    assert float(written) == value or (math.isnan(value) and written == "NaN")
    assert re.fullmatch(r"-?\d+\.\d+|-?\d+(\.\d+)?e[+-]\d+|[+-]Inf|NaN", written)


@pytest.mark.skipif(PROMTOOL is None, reason="no promtool here")
@pytest.mark.parametrize("value", [10**308, 10**309, -(10**309), 5e-324, 1e308, math.inf, math.nan, True])
def test_prometheus_reads_the_number(value: float) -> None:
    """Prometheus' own parser accepts the extremes."""
    assert promtool_complaint(f"m {number(value)}\n".encode()) is None


# prometheus/docs@c105550aad07 docs/specs/om/open_metrics_spec.md:439-451 "Considerations: Canonical Numbers",
# and the buckets of the example at :748.
CANONICAL = [
    (0.0, "0.0"),
    (0.001, "0.001"),
    (0.002, "0.002"),
    (0.01, "0.01"),
    (0.1, "0.1"),
    (0.9, "0.9"),
    (0.95, "0.95"),
    (0.99, "0.99"),
    (0.999, "0.999"),
    (1.0, "1.0"),
    (1.7, "1.7"),
    (10.0, "10.0"),
    (1e-10, "1e-10"),
    (1e-09, "1e-09"),
    (1e-05, "1e-05"),
    (0.0001, "0.0001"),
    (100000.0, "100000.0"),
    (1e06, "1e+06"),
    (1e10, "1e+10"),
    (1e23, "1e+23"),
    (1.1e23, "1.1e+23"),
    (math.inf, "+Inf"),
]

# Go's %g, which the same section names as the target, for what it does not list.
LIKE_GO = [
    (0.5, "0.5"),
    (2.5, "2.5"),
    (0.00011, "0.00011"),
    (0.000099, "9.9e-05"),
    (999999.0, "999999.0"),
    (999999.9, "999999.9"),
    (1000001.0, "1.000001e+06"),
    (1234567.0, "1.234567e+06"),
    (12345678.5, "1.23456785e+07"),
    (1e100, "1e+100"),
    (1.5e-100, "1.5e-100"),
    (5e-324, "5e-324"),
    (1.7976931348623157e308, "1.7976931348623157e+308"),
    # exactly between two numbers of 16 digits, of which only the upper one is read back as this
    (2.0**-24, "5.960464477539063e-08"),
    (-0.5, "-0.5"),
    (-1e06, "-1e+06"),
    (-math.inf, "-Inf"),
    (math.nan, "NaN"),
    # integers are bounds too, and a negative zero is the same bound as zero
    (0, "0.0"),
    (1, "1.0"),
    (1000000, "1e+06"),
    (-0.0, "0.0"),
]


@pytest.mark.parametrize(("value", "expected"), [*CANONICAL, *LIKE_GO])
def test_bound(value: float, expected: str) -> None:
    """Bounds and quantiles have the canonical form of OpenMetrics, so that equal bounds are equal labels."""
    assert bound(value) == expected


@given(st.floats(allow_nan=False))
@example(9007199254740993.0)
@example(2.0**-1074)
@example(2.0**1023)
def test_bounds_are_exact(value: float) -> None:
    """A bound is read back as the same float, with an exponent exactly where Go's %g has one."""
    written = bound(value)
    assert float(written) == value
    if math.isfinite(value):
        fixed = value == 0 or 1e-4 <= abs(value) < 1e6
        pattern = r"-?\d+\.\d+" if fixed else r"-?[1-9](\.\d*[1-9])?e[+-]\d{2,3}"
        assert re.fullmatch(pattern, written)


@given(st.integers(-(2**53), 2**53))
def test_integer_bounds_are_float_bounds(value: int) -> None:
    """A bound given as an integer is the same label as the float."""
    assert bound(value) == bound(float(value))

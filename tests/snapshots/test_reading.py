"""Reading anybody's exposition: what writers write comes back, and what scrapers refuse is found."""

from __future__ import annotations

import pytest
from any_families import any_families
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from properties import examples

from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.exposition import Exposer, Exposition, Format, WriterOptions
from otel_prom_bridge.families import MetricFamily, claimed_names, identity
from otel_prom_bridge.snapshots import Snapshot
from otel_prom_bridge.snapshots.reading import read

OPENMETRICS = Format.OPENMETRICS_1_0_0.value
TEXT = Format.TEXT_0_0_4.value
FORMATS = [Format.TEXT_1_0_0, Format.OPENMETRICS_1_0_0, Format.OPENMETRICS_2_0_0, Format.PROTOBUF]


@pytest.fixture(autouse=True)
def judged() -> None:
    """These families say what no parser would take, such as negative counters."""


def written(families: list[MetricFamily], form: Format) -> Exposition:
    """The families in this format, with all that it can say."""
    exposer = Exposer(findings=Findings(), options=WriterOptions(created=True, openmetrics_2=True))
    return exposer.expose(families, accept=f"{form.value}; escaping=allow-utf-8")


def distinct(family: MetricFamily) -> bool:
    """Whether no two of its points are one series."""
    return len({identity(point.labels) for point in family.points}) == len(family.points)


def claimed(families: list[MetricFamily]) -> list[str]:
    """All names that the families use in any format."""
    return [name for family in families for name in claimed_names(family.name, family.kind)]


@given(any_families(), st.sampled_from(FORMATS))
@settings(max_examples=examples(300))
def test_what_is_read_is_written_again(families: list[MetricFamily], form: Format) -> None:
    """Nothing that a format says is lost: what was read of a body is written as the same body."""
    assume(all(map(distinct, families)) and len(claimed(families)) == len(set(claimed(families))))
    if form is Format.OPENMETRICS_2_0_0:  # which has exemplars beside buckets, and these are in any bucket
        assume(not any(getattr(point, "exemplars", ()) for family in families for point in family.points))
    first = written(families, form)
    again = written(list(read(first.body, first.content_type).families), form)
    assert sorted(again.body.split(b"\n")) == sorted(first.body.split(b"\n"))


# What Prometheus' own parsers refuse: model/textparse/openmetricsparse_test.go and promparse_test.go,
# https://github.com/prometheus/prometheus/tree/v3.5.0/model/textparse
REFUSED_OPENMETRICS = [
    b"",
    b"\n",
    b"metric",
    b"metric 1",
    b"metric 1\n",
    b'metric_total 1 # {aa="bb"} 4',
    b"a\n#EOF\n",
    b"\n\n#EOF\n",
    b" a 1\n#EOF\n",
    b"9\n#EOF\n",
    b"# TYPE u untyped\n#EOF\n",
    b"# TYPE c counter \n#EOF\n",
    b"#  TYPE c counter\n#EOF\n",
    b"# TYPE \n#EOF\n",
    b"# TYPE m\n#EOF\n",
    b"# UNIT metric suffix\n#EOF\n",
    b"# UNIT metricsuffix suffix\n#EOF\n",
    b"# UNIT m suffix\n#EOF\n",
    b"# UNIT \n#EOF\n",
    b"# UNIT m\n#EOF\n",
    b"# HELP \n#EOF\n",
    b"# HELP m\n#EOF\n",
    b"a\t1\n#EOF\n",
    b"a 1\t2\n#EOF\n",
    b"a 1 2 \n#EOF\n",
    b"a 1 2 #\n#EOF\n",
    b"a 1 1z\n#EOF\n",
    b" # EOF\n",
    b"# EOF\na 1",
    b"# EOF\n\n",
    b"# EOFa 1",
    b"#\tTYPE c counter\n",
    b"# TYPE c  counter\n",
    b"a 1 1 1\n# EOF\n",
    b"a{b='c'} 1\n# EOF\n",
    b'a{,b="c"} 1\n# EOF\n',
    b'a{b="c"d="e"} 1\n# EOF\n',
    b'a{b="c",,d="e"} 1\n# EOF\n',
    b"a{b=\n# EOF\n",
    b'a{\xff="foo"} 1\n# EOF\n',
    b'a{b="\xff"} 1\n# EOF\n',
    b'{"a","b = "c"}\n# EOF\n',
    b'{"a",b\\nc="d"} 1\n# EOF\n',
    b"a true\n",
    b'something_weird{problem="\n# EOF\n',
    b'empty_label_name{=""} 0\n# EOF\n',
    b"{A}0\n# EOF\n",
    b"foo 1_2\n\n# EOF\n",
    b"foo 0x1p-3\n\n# EOF\n",
    b"foo 0x1P-3\n\n# EOF\n",
    b"foo 0 1_2\n\n# EOF\n",
    b"custom_metric_total 1 # {aa=bb}\n# EOF\n",
    b'custom_metric_total 1 # {aa="bb"}\n# EOF\n',
    b'custom_metric_total 1 # {aa="bb"}',
    b"custom_metric_total 1 # {bb}",
    b'custom_metric_total 1 # {bb, a="dd"}',
    b'custom_metric_total 1 # {aa="bb",,cc="dd"} 1',
    b'custom_metric_total 1 # {aa="bb"} 1_2',
    b'custom_metric_total 1 # {aa="bb"} 0x1p-3',
    b'custom_metric_total 1 # {aa="bb"} true',
    b'custom_metric_total 1 # {aa="bb",cc=}',
    b'custom_metric_total 1 # {aa=\\"\\xff\\"} 9.0',
    b'{b="c",} 1',
    b"a 1 NaN",
    b"a 1 -Inf",
    b"a 1 Inf",
    b'# TYPE hhh histogram\nhhh_bucket{le="+Inf"} 1 # {aa="bb"} 4 NaN',
    b'# TYPE hhh histogram\nhhh_bucket{le="+Inf"} 1 # {aa="bb"} 4 -Inf',
]
REFUSED_TEXT = [
    b"a",
    b"a{b='c'} 1\n",
    b"a{b=\n",
    b'a{\xff="foo"} 1\n',
    b'a{b="\xff"} 1\n',
    b'{"a", "b = "c"}',
    b'{"a",b\\nc="d"} 1',
    b"a true\n",
    b'something_weird{problem="',
    b'empty_label_name{=""} 0',
    b"{A}0",
    b"foo 1_2\n",
    b"foo 0x1p-3\n",
    b"foo 0x1P-3\n",
    b"foo 0 1_2\n",
    b'{a="ok"} 1',
    b"# TYPE #\n#EOF\n",
    b"# HELP #\n#EOF\n",
]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [*((body, OPENMETRICS) for body in REFUSED_OPENMETRICS), *((body, TEXT) for body in REFUSED_TEXT)],
)
def test_what_prometheus_refuses_is_an_error(body: bytes, content_type: str) -> None:
    """Each is found, and the finding says in which line, unless it is the end that is missing."""
    errors = [finding for finding in read(body, content_type).findings if finding.severity == "error"]
    assert errors
    assert all(finding.line or finding.rule == "eof" for finding in errors)


@pytest.mark.parametrize(
    "body", [b"# EOF", b"# EOF\n", b"a 1\n# EOF\n", b'foo{a="b"} 17.0 1520879607.789\n# EOF\n']
)
def test_what_prometheus_takes_is_none(body: bytes) -> None:
    """The same parser takes these."""
    assert read(body, OPENMETRICS).findings == ()


def test_names_that_collide_are_all_there() -> None:
    """Go has a gauge x beside a counter x_total, which OpenMetrics forbids; a replay keeps both."""
    body = b"# TYPE x gauge\nx 1\n# TYPE x_total counter\nx_total 2\n"
    snapshot = Snapshot.of(body)
    assert snapshot.expose(TEXT).body == body
    assert [family.name for family in Snapshot.of(snapshot.complete().body).families] == ["x", "x_total"]

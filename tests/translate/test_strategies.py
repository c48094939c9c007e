"""The strategies beside the default one: which names stay as they are, and which get suffixes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import AlwaysOnExemplarFilter
from opentelemetry.sdk.metrics.view import View
from opentelemetry.sdk.resources import Resource
from setups import Setup

from otel_prom_bridge import TranslationStrategy
from otel_prom_bridge.translate.labels import labels
from otel_prom_bridge.translate.names import metric_name

Make = Callable[..., Setup]
DEFAULT = TranslationStrategy.UNDERSCORE_ESCAPING_WITH_SUFFIXES
WITHOUT = TranslationStrategy.UNDERSCORE_ESCAPING_WITHOUT_SUFFIXES
NO_UTF8 = TranslationStrategy.NO_UTF8_ESCAPING_WITH_SUFFIXES
NONE = TranslationStrategy.NO_TRANSLATION

# prometheus/otlptranslator@51da77392288 metric_namer_test.go, at HEAD and from its history where HEAD's
# algorithm still gives the same: name, unit, is a counter, namespace, strategy, expected.
NAMES = [
    ("simple_metric", "", False, "", WITHOUT, "simple_metric"),
    ("123metric", "", False, "", WITHOUT, "_123metric"),
    ("metric@@##$$name", "", False, "", WITHOUT, "metric_name"),
    ("metric", "", False, "test@namespace!!??", WITHOUT, "test_namespace_metric"),
    ("system.io", "By", True, "", WITHOUT, "system_io"),
    ("3.14 digits", "By", False, "", WITHOUT, "_3_14_digits"),
    ("system.io", "foo/bar", True, "", WITHOUT, "system_io"),
    ("requests_total", "", True, "", NO_UTF8, "requests_total"),
    ("cpu_seconds_total", "s", True, "", NO_UTF8, "cpu_seconds_total"),
    ("requêsts", "", True, "", NO_UTF8, "requêsts_total"),
    ("respønse_time", "ms", False, "", NO_UTF8, "respønse_time_milliseconds"),
    ("@#$%", "", True, "", NO_UTF8, "@#$%_total"),
    ("metric", "", True, "test@namespace", NO_UTF8, "test@namespace_metric_total"),
    ("system.io", "By", True, "", NO_UTF8, "system.io_bytes_total"),
    ("network.io", "By", True, "system", NO_UTF8, "system_network.io_bytes_total"),
    ("3.14 digits", "", False, "", NO_UTF8, "3.14 digits"),
    ("envoy__rule_engine_zlib_buf_error", "", False, "", NO_UTF8, "envoy__rule_engine_zlib_buf_error"),
    (":foo::bar", "", False, "", NO_UTF8, ":foo::bar"),
    (":foo::bar", "", True, "", NO_UTF8, ":foo::bar_total"),
    ("system.io", "foo/bar", True, "", NO_UTF8, "system.io_foo_per_bar_total"),
    # By its algorithm: a suffix is trimmed with whatever stands before it, and the unit is not repeated.
    ("process.uptime.seconds", "s", False, "", NO_UTF8, "process.uptime.seconds"),
    ("requests.total", "", True, "", NO_UTF8, "requests_total"),
    ("requests total", "", True, "", NO_UTF8, "requests_total"),
    ("cpu.seconds.total", "s", True, "", NO_UTF8, "cpu.seconds_total"),
    ("io.bytes.total", "By", True, "app", NO_UTF8, "app_io.bytes_total"),
    ("io.bytes_per_second", "By/s", False, "", NO_UTF8, "io.bytes_per_second"),
    ("total", "", True, "", NO_UTF8, "total_total"),
    ("requests.total", "", True, "", NONE, "requests.total"),
    ("requests", "", True, "_app", DEFAULT, "_app_requests_total"),
    ("requests", "", True, "_app", WITHOUT, "_app_requests"),
    ("requests", "", True, "_app", NO_UTF8, "_app_requests_total"),
    ("metric_with_字符_x", "", True, "", NO_UTF8, "metric_with_字符_x_total"),
    ("___", "", False, "", NONE, "___"),
    ("métric_with_ñ_chars", "", False, "test_namespace", NONE, "test_namespace_métric_with_ñ_chars"),
    ("http.requests", "1", True, "", NONE, "http.requests"),
    (":foo::bar", "", False, "", NONE, ":foo::bar"),
    ("metric_with_字符_x", "", True, "", NONE, "metric_with_字符_x"),
    ("system_io_total", "", True, "", NONE, "system_io_total"),
    # open-telemetry/opentelemetry-specification@1377f53b2bc0 specification/metrics/sdk_exporters/
    # prometheus.md:194-199, the worked table for counter foo.bar, By.
    ("foo.bar", "By", True, "", DEFAULT, "foo_bar_bytes_total"),
    ("foo.bar", "By", True, "", WITHOUT, "foo_bar"),
    ("foo.bar", "By", True, "", NO_UTF8, "foo.bar_bytes_total"),
    ("foo.bar", "By", True, "", NONE, "foo.bar"),
]

# Rows of otlptranslator that design decision D3 rules against: the specification, where it is explicit, wins,
# and no data is refused.
OVERRULED = [
    # "Multiple consecutive _ characters SHOULD be replaced with a single _": it keeps those it did not make.
    ("metric_with_字符_foreign_characters", "", True, "", WITHOUT, "metric_with_foreign_characters"),
    # Unit 1 gets no suffix since v1.56.0: it appends _ratio.
    ("cpu_usagé", "1", False, "", NO_UTF8, "cpu_usagé"),
    # "unless the metric name already ends with the unit": its older tests repeat the unit.
    ("system_io_seconds", "s", False, "", NO_UTF8, "system_io_seconds"),
    # Whole words only: it takes a name that ends with the letters of a unit for one that ends with the unit.
    ("nanoseconds.in.ms.milliseconds", "s", False, "", NO_UTF8, "nanoseconds.in.ms.milliseconds_seconds"),
    ("subtotal", "", True, "", NO_UTF8, "subtotal_total"),
    ("caf\u00e9total", "", True, "", NO_UTF8, "caf\u00e9total_total"),
    # A rate is found behind any separators: it repeats the unit behind a dot within it.
    ("io.bytes.per.second", "By/s", False, "", NO_UTF8, "io.bytes.per.second"),
    # "Multiple consecutive _": also those that a prefix begins with.
    ("requests", "", False, "__app_", DEFAULT, "_app_requests"),
    ("requests", "", False, "_", DEFAULT, "_requests"),
    # Names without a usable character, or none at all: it refuses them (or leaves "___" as it is).
    ("___", "", False, "", WITHOUT, "U________"),
    ("@_#_$_%", "", False, "", WITHOUT, "U___40____23____24____25_"),
    ("", "", False, "", NONE, "_"),
]


@pytest.mark.parametrize(("name", "unit", "counter", "prefix", "strategy", "expected"), [*NAMES, *OVERRULED])
def test_names(
    name: str, unit: str, counter: bool, prefix: str, strategy: TranslationStrategy, expected: str
) -> None:
    """Each strategy escapes or not, and appends or not."""
    assert metric_name(name, unit=unit, counter=counter, prefix=prefix, strategy=strategy) == expected


@pytest.mark.parametrize(
    ("spelling", "strategy"),
    [
        ("UnderscoreEscapingWithSuffixes", DEFAULT),
        ("UnderscoreEscapingWithoutSuffixes", WITHOUT),
        ("NoUTF8EscapingWithSuffixes", NO_UTF8),
        ("NoTranslation", NONE),
        # open-telemetry/opentelemetry-configuration@3ec7c877051a schema/meter_provider.yaml
        ("underscore_escaping_with_suffixes", DEFAULT),
        ("underscore_escaping_without_suffixes/development", WITHOUT),
        ("no_utf8_escaping_with_suffixes/development", NO_UTF8),
        ("no_translation/development", NONE),
        ("no_translation", NONE),
    ],
)
def test_spellings(spelling: str, strategy: TranslationStrategy) -> None:
    """A strategy is known by the specification's name and by the declarative configuration's."""
    assert TranslationStrategy(spelling) is strategy


@pytest.mark.parametrize("spelling", ["", "NOTRANSLATION", "/development", None, 1, []])
def test_other_spellings_are_refused(spelling: object) -> None:
    """Anything else is no strategy."""
    with pytest.raises(ValueError, match="is not a valid TranslationStrategy"):
        TranslationStrategy(spelling)


@given(st.text(), st.text(max_size=8), st.booleans(), st.sampled_from(TranslationStrategy))
def test_any_name_stays_a_name(name: str, unit: str, counter: bool, strategy: TranslationStrategy) -> None:
    """Under every strategy a name is never empty and always encodes; counters end in _total where asked."""
    result = metric_name(name, unit=unit, counter=counter, strategy=strategy)
    assert result.encode()
    assert not (counter and strategy.adds_suffixes) or result.endswith("_total")


# prometheus/otlptranslator@51da77392288 label_namer_test.go, utf8_allowed; it refuses the last one, which we
# keep under a name that Prometheus does not reserve.
@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("label:with:colons", "label:with:colons"),
        ("label.with.dots", "label.with.dots"),
        (".foo", ".foo"),
        ("__", "exported___"),
    ],
)
def test_label_names_without_escaping(key: str, expected: str) -> None:
    """Without escaping a key is the label's name."""
    assert labels([(key, "v")], escape=False) == ((expected, "v"),)


def test_labels_stay_as_they_are_without_escaping() -> None:
    """Keys that differ stay different; only what cannot be a label is made one."""
    attributes = {"a.b": 1, "a-b": 2, "1x": 3, "__": 4, "": 5, "\ud800": 6, "le": 7}
    assert labels(attributes.items(), escape=False, reserved=frozenset({"le"})) == (
        ("1x", "3"),
        ("_", "5"),
        ("a-b", "2"),
        ("a.b", "1"),
        ("exported___", "4"),
        ("exported_le", "7"),
        ("\ufffd", "6"),
    )


def recorded(bridge: Make, strategy: TranslationStrategy) -> Setup:
    """A counter and a histogram with foreign names, and an exemplar with a foreign label."""
    setup = bridge(
        translation_strategy=strategy,
        resource=Resource({"service.name": "s"}),
        scope_info_enabled=True,
        views=(View(instrument_name="jobs.done", attribute_keys={"job.kind"}),),
        exemplar_filter=AlwaysOnExemplarFilter(),
    )
    setup.meter.create_counter("jobs.done", unit="By").add(2, {"job.kind": "a", "request.id": 7})
    setup.meter.create_histogram("wait", unit="s", explicit_bucket_boundaries_advisory=[1]).record(3)
    return setup


SCOPE = 'otel_scope_name="test",otel_scope_schema_url="",otel_scope_version=""'
WAIT = (
    '{name}_bucket{{SCOPE,le="1.0"}} 0\n{name}_bucket{{SCOPE,le="+Inf"}} 1\n'
    "{name}_count{{SCOPE}} 1\n{name}_sum{{SCOPE}} 3\n"
).replace("SCOPE", SCOPE)


@pytest.mark.parametrize(
    ("strategy", "escaping", "body"),
    [
        (
            NO_UTF8,
            "allow-utf-8",
            "# HELP target_info Target metadata\n# TYPE target_info gauge\n"
            'target_info{"service.name"="s"} 1\n'
            '# TYPE "jobs.done_bytes_total" counter\n'
            f'{{"jobs.done_bytes_total","job.kind"="a",{SCOPE}}} 2\n'
            f"# TYPE wait_seconds histogram\n{WAIT.format(name='wait_seconds')}",
        ),
        (
            NONE,
            "allow-utf-8",
            "# HELP target_info Target metadata\n# TYPE target_info gauge\n"
            'target_info{"service.name"="s"} 1\n'
            f'# TYPE "jobs.done" counter\n{{"jobs.done","job.kind"="a",{SCOPE}}} 2\n'
            f"# TYPE wait histogram\n{WAIT.format(name='wait')}",
        ),
        (
            NONE,
            "underscores",
            "# HELP target_info Target metadata\n# TYPE target_info gauge\n"
            'target_info{service_name="s"} 1\n'
            f'# TYPE jobs_done counter\njobs_done{{job_kind="a",{SCOPE}}} 2\n'
            f"# TYPE wait histogram\n{WAIT.format(name='wait')}",
        ),
        (
            WITHOUT,
            "allow-utf-8",
            "# HELP target_info Target metadata\n# TYPE target_info gauge\n"
            'target_info{service_name="s"} 1\n'
            f'# TYPE jobs_done counter\njobs_done{{job_kind="a",{SCOPE}}} 2\n'
            f"# TYPE wait histogram\n{WAIT.format(name='wait')}",
        ),
    ],
)
def test_text(bridge: Make, strategy: TranslationStrategy, escaping: str, body: str) -> None:
    """Strategy first, then what the scraper can read; promtool and the parser are asked as well."""
    assert recorded(bridge, strategy).text(f"text/plain;version=1.0.0;escaping={escaping}") == body


@pytest.mark.parametrize(
    ("strategy", "escaping", "lines"),
    [
        (
            NO_UTF8,
            "allow-utf-8",
            [
                '# TYPE "jobs.done_bytes" counter',
                '# UNIT "jobs.done_bytes" bytes',
                f'{{"jobs.done_bytes_total","job.kind"="a",{SCOPE}}} 2 # {{"request.id"="7"}} 2 ',
            ],
        ),
        # The name with its _total is escaped as one, so that a scraper reads jobs.done_bytes_total back.
        (
            NO_UTF8,
            "values",
            [
                "# TYPE U__jobs_2e_done__bytes_ counter",
                f'U__jobs_2e_done__bytes__total{{U__job_2e_kind="a",{SCOPE}}} 2 '
                '# {U__request_2e_id="7"} 2 ',
            ],
        ),
        # A counter without _total cannot be called a counter here, nor have an exemplar.
        (
            NONE,
            "underscores",
            ["# TYPE jobs_done unknown", f'jobs_done{{job_kind="a",{SCOPE}}} 2'],
        ),
    ],
)
def test_openmetrics(bridge: Make, strategy: TranslationStrategy, escaping: str, lines: list[str]) -> None:
    """Quoted and escaped names, in metadata, samples and exemplars."""
    accept = f"application/openmetrics-text;version=1.0.0;escaping={escaping}"
    found = [line for line in recorded(bridge, strategy).text(accept).splitlines() if "jobs" in line]
    assert [line.startswith(start) for line, start in zip(found, lines, strict=True)] == [True] * len(lines)

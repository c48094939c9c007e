"""OTel attributes become labels: names, values, collisions, and what the bridge adds itself."""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_prom_bridge import ConfigurationError, PrometheusMetricReader
from otel_prom_bridge.families import Kind, Labels
from otel_prom_bridge.translate import Translation
from otel_prom_bridge.translate.labels import label_name, label_value, labels

LEGAL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")

# prometheus/otlptranslator@51da77392288 label_namer_test.go:34-83, label_namer.go:65 and README.md: the
# default configuration.
NAMES = {
    "label:with:colons": "label_with_colons",
    ".foo": "_foo",
    "_label_starting_with_underscore": "_label_starting_with_underscore",
    "__label_starting_with_2underscores": "_label_starting_with_2underscores",
    "label.name__with&&special##chars": "label_name_with_special_chars",
    "trailing_underscores___": "trailing_underscores_",
    "123invalid": "key_123invalid",
    "label@with$symbols": "label_with_symbols",
    # Asserted there for other configurations, which differ from the default only in what these keys lack.
    "LabelWithCapitalLetters": "LabelWithCapitalLetters",
    "label!with&special$chars)": "label_with_special_chars_",
    "label_with_foreign_characters_字符": "label_with_foreign_characters_",
    "label.with.dots": "label_with_dots",
    "123label": "key_123label",
}

# Rows of the same sources where we decide otherwise (design D3); the expected names are ours.
OVERRULED_NAMES = {
    # otlptranslator keeps the outer `__` here and below. The compatibility document: "multiple consecutive
    # _ characters SHOULD be replaced with a single _ character". Prometheus moreover reserves `__…`: a label
    # `__name__` would rename the series.
    "__reserved__label__name__": "_reserved_label_name_",
    "__reserved__": "_reserved_",
    "__name__": "_name_",
    # otlptranslator: errors, "resulted in invalid name". We lose no value because of its key.
    "ようこそ": "_",
    "__": "_",
}

# What follows from the rules without standing in a table of the references.
DERIVED_NAMES = {
    "": "_",
    "1x": "key_1x",
    "2x": "key_2x",
    # a digit of another script is a foreign character
    "٣x": "_x",
    ".1": "_1",
    "a\nb": "a_b",
    "a\ud800b": "a_b",
    "le": "le",
}


@pytest.mark.parametrize(
    ("key", "expected"),
    [row for table in (NAMES, OVERRULED_NAMES, DERIVED_NAMES) for row in table.items()],
)
def test_name(key: str, expected: str) -> None:
    """An attribute key becomes the label name that the references, and our decisions between them, say."""
    assert label_name(key) == expected


# open-telemetry/opentelemetry-specification@1377f53b2bc0 specification/common/README.md:113-186
VALUES = [
    ("hello world", "hello world"),
    ("", ""),
    (True, "true"),
    (False, "false"),
    (42, "42"),
    (-123, "-123"),
    (3.14159, "3.14159"),
    (float("nan"), "NaN"),
    (float("inf"), "Infinity"),
    (float("-inf"), "-Infinity"),
    (b"hello world", "aGVsbG8gd29ybGQ="),
    (None, ""),
    ([], "[]"),
    (
        [1, float("-inf"), "a", True, {"nested": b"hello world"}],
        '[1, "-Infinity", "a", true, {"nested": "aGVsbG8gd29ybGQ="}]',
    ),
    ({}, "{}"),
    ({"a": float("-inf"), "b": 2, "c": [3, None]}, '{"a": "-Infinity", "b": 2, "c": [3, null]}'),
]


class Color(str, enum.Enum):  # noqa: UP042 (a StrEnum's str() is its value; this one's is not)
    RED = "red"


class Level(int, enum.Enum):
    HIGH = 3


# What follows from the same rules.
DERIVED_VALUES = [
    (1.0, "1.0"),
    (2**63, "9223372036854775808"),
    (b"", ""),
    (bytearray(b"hi"), "aGk="),
    ((1, 2), "[1, 2]"),
    ([None], "[null]"),
    # not ASCII, and readable
    (["größe", "火"], '["größe", "火"]'),
    # the SDK takes members of such enums for the strings and numbers that they are
    (Color.RED, "red"),
    ([Color.RED, {Color.RED: Color.RED}], '["red", {"red": "red"}]'),
    (Level.HIGH, "3"),
    # not of OTel
    (1 + 2j, "(1+2j)"),
    ([1 + 2j], '["(1+2j)"]'),
]

# No encoding can carry a lone surrogate; a pair of them is a character.
SURROGATES = [
    ("\ud800", "\ufffd"),
    ("a\udc00b", "a\ufffdb"),
    ("\udc00\ud800", "\ufffd\ufffd"),
    ("\ud83d\ude00", "😀"),
    (["\ud800"], '["\ufffd"]'),
    ({"\ud800": 1}, '{"\ufffd": 1}'),
]


@pytest.mark.parametrize(("value", "expected"), [*VALUES, *DERIVED_VALUES, *SURROGATES])
def test_value(value: object, expected: str) -> None:
    """An attribute value of any type becomes the string that OTel's common rules say."""
    assert label_value(value) == expected


# The specification's row is "1.23e10"; any rendering of that number is in its spirit. The other rows are
# open-telemetry/opentelemetry-go@736a14fcdca2 exporters/prometheus/exporter_test.go:59-78, which has no
# spaces in JSON where the specification has some.
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1.23e10, "1.23e10"),
        ([True, False], "[true,false]"),
        (["foo", "bar"], '["foo","bar"]'),
        ([float("nan"), float("inf")], '["NaN","Infinity"]'),
    ],
)
def test_value_as_json(value: object, expected: str) -> None:
    """Values that the references render with other spaces or digits are the same JSON."""
    assert json.loads(label_value(value)) == json.loads(expected)


def labels_of(
    attributes: Mapping[str, object],
    *,
    scope: InstrumentationScope | None = None,
    resource: Mapping[str, object] | None = None,
    kind: Kind = Kind.COUNTER,
    copied: Callable[[str], bool] | None = None,
    scope_info_enabled: bool | None = None,
) -> dict[str, str]:
    """The labels that a translation gives a series; scope labels only if a scope is given."""
    enabled = scope is not None if scope_info_enabled is None else scope_info_enabled
    translation = Translation(scope_info_enabled=enabled, resource_attribute_filter=copied)
    scope = scope or InstrumentationScope("scope")
    copies = translation.resource_attributes(resource or {})
    return dict(translation.labels(kind, attributes, translation.scope_attributes(scope), copies))


# open-telemetry/opentelemetry-specification@1377f53b2bc0
# specification/compatibility/prometheus_and_openmetrics.md:722-725 "ordered by the lexicographical order of
# the original keys". The Go exporter orders by value (a;b) and drops a metric that collides with the scope.
COLLISIONS = [
    ({"foo.bar": "a", "foo-bar": "b"}, {"foo_bar": "b;a"}),
    ({"foo-bar": "b", "foo.bar": "a"}, {"foo_bar": "b;a"}),
    # open-telemetry/opentelemetry-go@736a14fcdca2 exporters/prometheus/testdata/sanitized_labels.txt
    ({"A.B": "Q", "C.D": "Y", "C/D": "Z"}, {"A_B": "Q", "C_D": "Y;Z"}),
    # What follows: as many as there are, none lost though they are equal or empty, and every type.
    ({"c_c": "3", "c.c": "2", "c-c": "1"}, {"c_c": "1;2;3"}),
    ({"x.y": "same", "x-y": "same"}, {"x_y": "same;same"}),
    ({"x.y": None, "x-y": ""}, {"x_y": ";"}),
    ({"x.y": True, "x-y": 1.5}, {"x_y": "1.5;true"}),
    ({"ä": "1", "ö": "2"}, {"_": "1;2"}),
    # Capital letters and digits keep keys apart.
    ({"A": "1", "a": "2"}, {"A": "1", "a": "2"}),
    ({"1x": "1", "2x": "2"}, {"key_1x": "1", "key_2x": "2"}),
]


@pytest.mark.parametrize(("attributes", "expected"), COLLISIONS)
def test_colliding_keys_are_joined(attributes: Mapping[str, object], expected: dict[str, str]) -> None:
    """Values of keys that become one label are joined with a semicolon, in the order of the original keys."""
    assert labels_of(attributes) == expected


SCOPE = InstrumentationScope(
    "scope-name",
    "scope-version",
    "https://example.com/schema",
    {"name": "x", "version": "x", "schema_url": "x", "schema.url": "x", "custom.scope": "kept"},
)
SCOPE_FIELDS = {
    "otel_scope_name": "scope-name",
    "otel_scope_version": "scope-version",
    "otel_scope_schema_url": "https://example.com/schema",
}


def test_scope_labels() -> None:
    """A scope gives labels for its name, version, schema URL and attributes.

    Attributes that would take the place of the first three are dropped (compatibility document :465-468 and
    TestScopeAttributeConflictsDropped of opentelemetry-go@736a14fcdca2).
    """
    assert labels_of({}, scope=SCOPE) == {**SCOPE_FIELDS, "otel_scope_custom_scope": "kept"}


def test_scope_labels_of_a_bare_scope() -> None:
    """A scope without version and schema URL has these labels too, empty."""
    expected = {"otel_scope_name": "bare", "otel_scope_version": "", "otel_scope_schema_url": ""}
    assert labels_of({}, scope=InstrumentationScope("bare")) == expected


def test_scope_labels_can_be_left_out() -> None:
    """Without scope_info_enabled, no label comes from the scope."""
    assert labels_of({"a": "1"}, scope=SCOPE, scope_info_enabled=False) == {"a": "1"}


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        # shared collision rule, compatibility document :722-725: "." sorts before "_"
        ({"otel.scope.name": "user"}, "user;scope-name"),
        # of equal keys, the point's own attribute comes first
        ({"otel_scope_name": "user"}, "user;scope-name"),
        # a control: this one is another label
        ({"otel.scope.names": "other"}, "scope-name"),
    ],
)
def test_attributes_collide_with_scope_labels(attributes: Mapping[str, object], expected: str) -> None:
    """An attribute that becomes a scope label's name is joined with it; neither is lost."""
    assert labels_of(attributes, scope=SCOPE)["otel_scope_name"] == expected


def test_resource_attributes_are_copied_on_request() -> None:
    """The chosen resource attributes become labels of every series, and collide like any others."""
    resource = {"service.name": "shop", "service.version": 2, "host.name": "h"}
    found = labels_of(
        {"service_name": "own"}, resource=resource, copied=lambda key: key.startswith("service")
    )
    assert found == {"service_name": "shop;own", "service_version": "2"}
    assert labels_of({"a": "1"}, resource=resource) == {"a": "1"}


@pytest.mark.parametrize(
    ("attributes", "resource", "expected"),
    [
        ({"env": "stage"}, {"env": "prod"}, {"env": "stage"}),
        ({}, {"env": "prod"}, {"env": "prod"}),
        ({"env": None}, {"env": "prod"}, {"env": ""}),
        # Different keys are joined, whether the point has one of them or both.
        ({"deploy.env": "stage"}, {"deploy_env": "prod"}, {"deploy_env": "stage;prod"}),
        ({"deploy_env": "stage"}, {"deploy.env": "prod"}, {"deploy_env": "prod;stage"}),
        (
            {"deploy.env": "a", "deploy_env": "b"},
            {"deploy.env": "x", "deploy-env": "c"},
            {"deploy_env": "c;a;b"},
        ),
    ],
)
def test_of_one_key_the_value_of_the_point_stands(
    attributes: Mapping[str, object], resource: Mapping[str, object], expected: Mapping[str, str]
) -> None:
    """As in the Python and Java exporters, and in Prometheus' own translation of OTLP: `;` is for others."""
    assert labels_of(attributes, resource=resource, copied=lambda key: True) == expected


def test_target_labels_are_the_resource_alone() -> None:
    """The target's labels are all of the resource attributes, whatever is copied to the series."""
    translation = Translation(resource_attribute_filter=lambda _: False)
    assert translation.target_labels({"service.name": "shop", "a": [1]}) == (
        ("a", "[1]"),
        ("service_name", "shop"),
    )
    assert translation.target_labels({}) == ()


@pytest.mark.parametrize(
    ("kind", "attributes", "expected"),
    [
        (Kind.HISTOGRAM, {"le": "1"}, {"exported_le": "1"}),
        (Kind.HISTOGRAM, {"le": "1", "exported.le": "2"}, {"exported_le": "2;1"}),
        (Kind.HISTOGRAM, {".le": "1"}, {"_le": "1"}),
        (Kind.COUNTER, {"le": "1"}, {"le": "1"}),
        (Kind.GAUGE, {"le": "1"}, {"le": "1"}),
    ],
)
def test_le_belongs_to_the_buckets(
    kind: Kind, attributes: dict[str, object], expected: dict[str, str]
) -> None:
    """On histograms an attribute named le makes way for the buckets' label; elsewhere it stays."""
    assert labels_of(attributes, kind=kind) == expected


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.text(st.characters(categories=["Cs", "Ll"]))
    | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
keys = st.text() | st.text(st.characters()) | st.text(st.sampled_from("a1._-é"), max_size=3) | st.just("le")
attribute_sets = st.dictionaries(keys, anything, max_size=8)


def check(found: Labels, attributes: Mapping[str, object]) -> None:
    """Check what holds for the labels of any series."""
    names = [name for name, _ in found]
    assert names == sorted(set(names))
    assert all(LEGAL.fullmatch(name) and not name.startswith("__") for name in names)
    values = [value for _, value in found]
    "".join(values).encode()  # raises if there is a lone surrogate
    for original in attributes.values():
        assert any(label_value(original) in value for value in values)
        if isinstance(original, str) and not re.search("[\ud800-\udfff]", original):
            assert any(original in value for value in values)
    # Each joint adds one semicolon: nothing is there that no attribute brought.
    texts = [label_value(value) for value in attributes.values()]
    assert sum(map(len, values)) == sum(map(len, texts)) + len(texts) - len(names)


@given(attribute_sets)
def test_any_attributes_give_valid_labels(attributes: dict[str, object]) -> None:
    """Any attributes give sorted labels with unique legal names, and values in which none was lost."""
    check(labels(attributes.items()), attributes)


@given(attribute_sets, st.sampled_from([Kind.HISTOGRAM, Kind.COUNTER]), attribute_sets, attribute_sets)
def test_any_scope_and_resource_give_valid_labels(
    attributes: dict[str, object],
    kind: Kind,
    scope_attributes: dict[str, object],
    resource: dict[str, object],
) -> None:
    """Attributes, scope and resource together give valid labels, and no le on a histogram."""
    scope = InstrumentationScope("scope", None, None, scope_attributes)  # type: ignore[arg-type]
    translation = Translation(resource_attribute_filter=lambda _: True)
    common = translation.scope_attributes(scope) + translation.resource_attributes(resource)
    found = translation.labels(kind, attributes, common)
    pairs = [*attributes.items(), *common]
    check(found, {str(index): value for index, (_, value) in enumerate(pairs)})
    assert kind is not Kind.HISTOGRAM or "le" not in dict(found)


@given(st.lists(anything) | st.dictionaries(st.text(), anything))
def test_arrays_and_maps_are_json(value: object) -> None:
    """Arrays and maps become JSON of the strict kind, which has no NaN and no Infinity."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    found = json.loads(label_value(value), parse_constant=refuse)
    assert isinstance(found, type(value))
    assert len(found) <= len(value)  # type: ignore[arg-type]
    assert bool(found) == bool(value)


@pytest.mark.parametrize("label", ["le", "quantile", "__name__"])
def test_reserved_labels_are_no_common_labels(label: str) -> None:
    """The error says which labels cannot be."""
    with pytest.raises(ConfigurationError, match=r"common_labels: .*not 'le', 'quantile' or '__…'"):
        PrometheusMetricReader(registry=None, common_labels={label: "service.name"})

"""Views, rules and limits as TOML and YAML write them: what they stand for, and what is wrong with them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import Counter
from opentelemetry.sdk.metrics.view import View
from properties import examples

from otel_prom_bridge import (
    ConfigurationError,
    Exemplars,
    ExportView,
    FirstOf,
    Outcome,
    PrometheusMetricReader,
    Tenants,
    rules,
)
from otel_prom_bridge.configuration.settings import from_mapping, log_error, raise_error
from otel_prom_bridge.rules import (
    Allow,
    Chain,
    ErrorType,
    Extract,
    FinishReason,
    First,
    Forbid,
    ModelName,
    PathTemplate,
    ProviderName,
    Redact,
    StatusClass,
    Translate,
    Truncate,
)
from otel_prom_bridge.values.checks import Check
from otel_prom_bridge.values.notation import called
from otel_prom_bridge.views.written import EXEMPLARS, RULES, TENANTS, VIEWS

PAGE = Path(__file__).parents[2] / "docs" / "view-options.md"

# A key of a view, and what it is in TOML, in YAML and in Python.
SPELLINGS: list[tuple[str, str, str, object]] = [
    ("instrument_name", '"http.*"', "http.*", "http.*"),
    ("instrument_type", '"observable_gauge"', "observable_gauge", "observable_gauge"),
    ("instrument_unit", '"s"', "s", "s"),
    ("meter_name", '"m"', "m", "m"),
    ("meter_name", '"m"', "m\n  drop:", "m"),  # null is the default
    ("name", '"jobs_total"', "jobs_total", "jobs_total"),
    ("name", "false", "false", None),
    ("stream_name", '"jobs"', "jobs", "jobs"),
    ("description", '"Jobs."', "Jobs.", "Jobs."),
    ("buckets", "[1, 2.5]", "[1, 2.5]", (1.0, 2.5)),
    ("buckets", '"exponential"', "exponential", "exponential"),
    ("scale", "0.001", "0.001", 0.001),
    ("unit", '"s"', "s", "s"),
    ("unit", '""', "''", ""),
    ("labels", '{ region = "", "a.b" = "c" }', "{region: '', a.b: c}", {"region": "", "a.b": "c"}),
    ("keep", '["a", "b.*"]', "[a, b.*]", ("a", "b.*")),
    ("keep", "[]", "[]", ()),
    ("drop", '["a"]', "[a]", ("a",)),
    ("rename", '{ "a.b" = "c" }', "{a.b: c}", {"a.b": "c"}),
    ("where", '{ a = "x*" }', "{a: x*}", {"a": "x*"}),
    ("where", '{ a = ["x", "y"] }', "{a: [x, y]}", {"a": ["x", "y"]}),
    ("where", '{ a = { excluded = ["x"] } }', "{a: {excluded: [x]}}", {"a": {"excluded": ["x"]}}),
    ("price", '"input"', "input", "input"),
    ("max_series", "7", "7", 7),
    ("exemplars", "false", "false", False),
    ("exemplars", '{ keep = "error" }', "{keep: error}", Exemplars(keep="error")),
    ("workers", '"max"', "max", "max"),
    ("ended", '"keep"', "keep", "keep"),
    ("compute", '{ a = "b" }', "{a: b}", {"a": "b"}),
    ("compute", '{ a = ["b", "c"] }', "{a: [b, c]}", {"a": ["b", "c"]}),
    ("compute", '{ a = { first_of = ["b"] } }', "{a: {first_of: [b]}}", {"a": FirstOf(("b",))}),
    ("compute", '{ a = { first_of = ["b"], default = "x" } }', "{a: {first_of: [b], default: x}}",
     {"a": FirstOf(("b",), default="x")}),
    ("compute", "{ a = { outcome = true } }", "{a: {outcome: }}", {"a": Outcome()}),
    ("compute", '{ a = { outcome = { error = "bad", error_status = 400 } } }',
     "{a: {outcome: {error: bad, error_status: 400}}}", {"a": Outcome(error="bad", error_status=400)}),
    ("rules", '{ a = "status_class" }', "{a: status_class}", {"a": StatusClass()}),
    ("rules", '{ a = { error_type = { kinds = { Oops = "bug" } } } }',
     "{a: {error_type: {kinds: {Oops: bug}}}}", {"a": ErrorType(kinds={"Oops": "bug"})}),
    ("rules", '{ a = "forbid" }', "{a: {forbid: true}}", {"a": Forbid()}),
    ("rules", '{ a = { status_class = { other = "?" } } }', "{a: {status_class: {other: '?'}}}",
     {"a": StatusClass(other="?")}),
    ("rules", '{ a = { allow = ["x", "y"] } }', "{a: {allow: [y, x]}}", {"a": Allow(["x", "y"])}),
    ("rules", '{ a = { allow = { values = ["x"], other = "y" } } }', "{a: {allow: {values: [x], other: y}}}",
     {"a": Allow(["x"], other="y")}),
    ("rules", '{ a = { translate = { table = { "0" = "ok" }, other = "?" } } }',
     "{a: {translate: {table: {'0': ok}, other: '?'}}}", {"a": Translate({"0": "ok"}, other="?")}),
    ("rules", '{ a = { extract = "(.*)/" } }', "{a: {extract: {pattern: '(.*)/'}}}", {"a": Extract("(.*)/")}),
    ("rules", "{ a = { truncate = 40 } }", "{a: {truncate: {length: 40}}}", {"a": Truncate(40)}),
    ("rules", '{ a = "finish_reason" }', "{a: {finish_reason: }}", {"a": FinishReason()}),
    ("rules", '{ a = "provider_name" }', "{a: {provider_name: }}", {"a": ProviderName()}),
    ("rules", '{ a = "model_name" }', "{a: {model_name: }}", {"a": ModelName()}),
    ("rules", '{ a = { model_name = { aliases = { b = "c" } } } }', "{a: {model_name: {aliases: {b: c}}}}",
     {"a": ModelName({"b": "c"})}),
    ("rules", '{ a = { path_template = [["t-.*", "{t}"]] } }', "{a: {path_template: [[t-.*, '{t}']]}}",
     {"a": PathTemplate([("t-.*", "{t}")])}),
    ("rules", "{ a = { path_template = { max_segments = 3 } } }", "{a: {path_template: {max_segments: 3}}}",
     {"a": PathTemplate(max_segments=3)}),
    ("rules", '{ a = { redact = { kinds = ["email"] } } }', "{a: {redact: {kinds: [email]}}}",
     {"a": Redact(kinds=["email"])}),
    ("rules", '{ a = ["status_class", { allow = ["5xx"] }] }', "{a: [status_class, {allow: [5xx]}]}",
     {"a": Chain(StatusClass(), Allow(["5xx"]))}),
]  # fmt: skip


@pytest.mark.parametrize(("key", "toml", "yaml_text", "value"), SPELLINGS)
def test_toml_and_yaml_and_python_are_equal(key: str, toml: str, yaml_text: str, value: Any) -> None:
    """A key of a view stands for the same in each language, and an ExportView for itself."""
    beside = {"unit": "s"} if key == "scale" else {}
    expected = (ExportView(**{key: value, **beside}),)
    assert VIEWS.value("views", [tomllib.loads(f"{key} = {toml}") | beside]) == expected
    assert VIEWS.value("views", [yaml.safe_load(f"- {key}: {yaml_text}")[0] | beside]) == expected
    assert VIEWS.value("views", expected) == expected
    assert VIEWS.value("views", [{key: value, **beside}] if value is not None else expected) == expected


def test_every_key_and_every_rule_is_spelled_above() -> None:
    """No argument of a view is left out of the test above, and no rule; `first` and `take` need more."""
    assert {key for key, *_ in SPELLINGS} | {"take"} == set(ExportView.__dataclass_fields__)
    spelled = {toml for key, toml, *_ in SPELLINGS if key == "rules"}
    assert [name for name in RULES if not any(name in toml for toml in spelled)] == ["first"]
    classes = {item for item in map(vars(rules).get, rules.__all__) if isinstance(item, type)}
    assert set(RULES.values()) == classes - {rules.Rule, Chain}


def test_what_cannot_be_compared() -> None:
    """`first` remembers, so each is its own; `take` needs the name of its counter."""
    views = VIEWS.value("views", [{"rules": {"a": {"first": 9}}}, {"take": "sum", "name": "x_total"}])
    assert isinstance(views[0].rules["a"], First)
    assert repr(views[0].rules["a"]) == repr(First(9))
    assert views[1] == ExportView(take="sum", name="x_total")


def test_classes_and_functions_are_for_python() -> None:
    """A mapping made in Python may hold what only Python has."""

    def rule(value: str) -> str:
        return value

    def compute(attributes: object) -> str:
        return "x"

    given = {"instrument_type": Counter, "rules": {"a": [rule, "forbid"]}, "compute": {"b": compute}}
    (view,) = VIEWS.value("views", [given])
    expected = {"a": Chain(rule, Forbid())}  # type: ignore[arg-type]
    assert view == ExportView(instrument_type=Counter, rules=expected, compute={"b": compute})


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({"attribute": "t", "limits": {"acme": 5}}, Tenants("t", {"acme": 5})),
        (
            {"attribute": "t", "limits": {"acme": 5}, "other": "rest", "other_limit": 3},
            Tenants("t", {"acme": 5}, other="rest", other_limit=3),
        ),
        ({"attribute": "t", "limits": {1: 5}, "other": None}, Tenants("t", {"1": 5})),
    ],
)
def test_tenants(written: object, expected: Tenants) -> None:
    """A mapping of the arguments, or the object."""
    assert TENANTS.value("tenant", written) == TENANTS.value("tenant", expected) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (True, True),
        (False, False),
        ({}, Exemplars()),
        ({"keep": "slowest", "hold": 5, "per_minute": 0.5, "labels": ["a.*"]},
         Exemplars(keep="slowest", hold=5, per_minute=0.5, labels=["a.*"])),
        ({"hold": None, "labels": []}, Exemplars(labels=())),
    ],
)  # fmt: skip
def test_exemplars(written: object, expected: object) -> None:
    """True, false, a mapping of the arguments, or the object."""
    assert EXEMPLARS.value("exemplars", written) == EXEMPLARS.value("exemplars", expected) == expected


RULE_NAMES = r"one of the rules allow, first, .*, forbid"
MEANT = r"one of the keys \(did you mean "
KEYS = r"\?\): instrument_name, .*, ended"
QUOTES = "; in TOML, an attribute key with dots is written in quotes"
# A view; the rest of the key, the value, and what is allowed.
WRONG: list[tuple[object, str, object, str]] = [
    (5, "", 5, "a mapping of 'instrument_name', .*"),
    ("a", "", "a", "a mapping of 'instrument_name', .*"),
    ({"tak": "sum"}, ".tak", "sum", rf"{MEANT}'take'{KEYS}"),
    ({"max-series": 5}, "['max-series']", 5, rf"{MEANT}'max_series'{KEYS}"),
    ({1: 5}, "[1]", 5, "one of the keys instrument_name, .*, ended"),
    ({"name": None}, ".name", None, "the name of a family, or false to export nothing"),
    ({"name": True}, ".name", True, "the name of a family, or false to export nothing"),
    ({"instrument_name": ""}, ".instrument_name", "", "a string that is not empty"),
    ({"instrument_type": "count"}, ".instrument_type", "count", "one of 'counter', .*"),
    ({"instrument_type": ["counter"]}, ".instrument_type", ["counter"], "one of 'counter', .*"),
    ({"instrument_type": int}, ".instrument_type", int, "one of 'counter', .*"),
    ({"take": "mean"}, ".take", "mean", "one of 'value', 'count', 'sum'"),
    ({"take": "sum"}, ".name", "", "the name of the new counter, as the view takes the sum"),
    ({"instrument_name": ").take", "name": ").x", "keep": "a"}, ".keep", "a", "a list of attribute keys.*"),
    ({"name": False, "keep": ["a"]}, ".keep", ["a"], "none, as name=None exports nothing.*"),
    ({"instrument_name": None, "keep": "a"}, ".keep", "a", "a list of attribute keys.*"),
    ({"buckets": [2, 1]}, ".buckets", [2, 1], "a list of finite numbers, each greater.*"),
    ({"max_series": 0}, ".max_series", 0, "a whole number of at least 1"),
    ({"exemplars": "slowest"}, ".exemplars", "slowest", "true, false, or a mapping of 'keep', .*"),
    ({"exemplars": {"keep": "oldest"}}, ".exemplars.keep", "oldest", "one of 'newest', .*"),
    ({"workers": "mean"}, ".workers", "mean", "one of 'each', 'sum', 'max', 'min', 'newest'"),
    ({"ended": True}, ".ended", True, "one of 'drop', 'keep'"),
    ({"workers": "sum", "ended": "keep"}, ".ended", "keep", "'drop', or workers='newest', .*"),
    ({"exemplars": {"kep": "error"}}, ".exemplars.kep", "error", ".*did you mean 'keep'.*"),
    ({"rename": ["a"]}, ".rename", ["a"], "a mapping of attributes to labels"),
    ({"rename": {"http": {"route": "r"}}}, ".rename['http']", {"route": "r"}, f"a label{QUOTES}"),
    ({"rename": {"a": "le"}}, ".rename", {"a": "le"}, "a label other than 'le', which is reserved"),
    ({"scale": 0, "unit": "s"}, ".scale", 0, "a finite number above zero"),
    ({"scale": 0.5}, ".unit", None, "the unit of what is shown, as the view has a 'scale'"),
    ({"labels": ["a"]}, ".labels", ["a"], "a mapping of labels to strings"),
    ({"labels": {"a": 5}}, ".labels['a']", 5, "a string"),
    ({"labels": {"a": {"b": "c"}}}, ".labels['a']", {"b": "c"}, f"a string{QUOTES}"),
    ({"labels": {"le": "c"}}, ".labels", {"le": "c"}, "a label other than 'le', which is reserved"),
    ({"where": {"a": {"b": "c"}}}, ".where['a']", {"b": "c"}, f"a pattern, a list.*{QUOTES}"),
    ({"where": {"status": 500}}, ".where['status']", 500, "a pattern, a list of them, or a mapping.*"),
    ({"where": "a"}, ".where", "a", "a mapping of attributes to patterns"),
    ({"compute": {"a": {}}}, ".compute['a']", {}, f"what to compute it from: .*{QUOTES}"),
    ({"compute": {"a": 5}}, ".compute['a']", 5, "what to compute it from: .*"),
    ({"compute": {"a": {"first_of": "b"}}}, ".compute['a'].first_of", "b", "a list of attribute keys"),
    ({"compute": {"a": {"first_of": ["b", ""]}}}, ".compute['a'].first_of[1]", "", "a string that is not.*"),
    ({"compute": {"a": {"first_of": None}}}, ".compute['a']", {"first_of": None}, ".*'first_of' is required"),
    ({"compute": {"a": {"first_of": ["b"], "else": "c"}}}, ".compute['a'].else", "c", ".* first_of, default"),
    ({"compute": {"a": {"first_of": ["b"], "default": 1}}}, ".compute['a'].default", 1, "a string"),
    ({"compute": {"a": {"outcome": False}}}, ".compute['a'].outcome", False, "true, or a mapping of 'suc.*"),
    ({"compute": {"a": {"outcome": {"error_status": "5"}}}}, ".compute['a'].outcome.error_status", "5",
     "a whole number of at least 1"),
    ({"compute": {"a": {"outcome": {"success": 1}}}}, ".compute['a'].outcome.success", 1, "a string that.*"),
    ({"compute": {"a": {"outcome": {"fail": "x"}}}}, ".compute['a'].outcome.fail", "x", "one of the keys.*"),
    ({"rules": "forbid"}, ".rules", "forbid", "a mapping of attributes to rules"),
    ({"rules": {"a": None}}, ".rules['a']", None, "a rule: its name, a mapping .*, or a list of such rules"),
    ({"rules": {"a": Allow}}, ".rules['a']", Allow, "a rule: its name, .*"),
    ({"rules": {"a": {"allow": ["x"], "first": 5}}}, ".rules['a']", {"allow": ["x"], "first": 5}, "a rule.*"),
    ({"rules": {"a": []}}, ".rules['a']", [], "at least one rule"),
    ({"rules": {"a": ["forbid", ["forbid"]]}}, ".rules['a'][1]", ["forbid"], "a rule: its name, .*"),
    ({"rules": {"a": "PathTemplate"}}, ".rules['a']", "PathTemplate", ".*did you mean 'path_template'.*"),
    ({"rules": {"a": "chain"}}, ".rules['a']", "chain", RULE_NAMES),
    ({"rules": {"http": {"route": "forbid"}}}, ".rules['http'].route", "forbid", RULE_NAMES + QUOTES),
    ({"rules": {"a": {"x y": 1}}}, ".rules['a']['x y']", 1, RULE_NAMES + QUOTES),
    ({"rules": {"a": "allow"}}, ".rules['a']", "allow", "the rule with its arguments, {'allow': {'values'.*"),
    ({"rules": {"a": {"allow": True}}}, ".rules['a'].allow", True, "the rule with its arguments.*"),
    ({"rules": {"a": {"allow": {}}}}, ".rules['a'].allow", {}, ".* of which 'values' is required"),
    ({"rules": {"a": {"allow": []}}}, ".rules['a'].allow", [], "a list with at least one string"),
    ({"rules": {"a": {"allow": {"values": "x"}}}}, ".rules['a'].allow.values", "x", "a list with at least.*"),
    ({"rules": {"a": {"allow": {"values": ["x"], "oter": "y"}}}}, ".rules['a'].allow.oter", "y",
     r"one of the keys \(did you mean 'other'\?\): values, other"),
    ({"rules": {"a": ["model_name", {"first": 0}]}}, ".rules['a'][1].first", 0, "a whole number of.*"),
    ({"rules": {"a": {"translate": {"0": "ok"}}}}, ".rules['a'].translate['0']", "ok", ".*keys table, other"),
    ({"rules": {"a": {"status_class": "x"}}}, ".rules['a'].status_class", "x", "true, or a mapping.*"),
    ({"rules": {"a": {"forbid": ["x"]}}}, ".rules['a'].forbid", ["x"], "true, as it has no arguments"),
    ({"rules": {"a": {"path_template": [["(", "{x}"]]}}}, ".rules['a'].path_template", ["(", "{x}"],
     "a list of pairs of a regular expression and a placeholder"),
]  # fmt: skip


@pytest.mark.parametrize(("view", "key", "value", "allowed"), WRONG)
def test_what_is_wrong_with_a_view(view: object, key: str, value: object, allowed: str) -> None:
    """The error says which view, which part of it, its value, and what is allowed there."""
    with pytest.raises(ConfigurationError) as caught:
        VIEWS.value("views", [{}, ExportView(), view])
    error = caught.value
    assert (error.key, error.value) == (f"views[2]{key}", value)
    assert re.fullmatch(allowed, error.expected), error.expected
    assert str(error) == f"views[2]{key}: {value!r} is not allowed, expected {error.expected}"


WRONG_ELSEWHERE: list[tuple[Check, object, str, object, str]] = [
    (TENANTS, {}, "", {}, "a mapping of 'attribute', .*, of which 'attribute' is required"),
    (TENANTS, {"attribute": "t", "limit": {}}, ".limit", {}, ".*mean 'limits'.* other_limit"),
    (TENANTS, {"attribute": "t", "limits": {"a": 0}}, ".limits['a']", 0, "a whole number of at least 1"),
    (TENANTS, {"attribute": "", "limits": {"a": 1}}, ".attribute", "", "a string that is not empty"),
    (TENANTS, {"attribute": "t", "limits": {"a": 1}, "other": "a"}, ".other", "a", "a name that no tenant.*"),
    (TENANTS, {"attribute": "t", "limits": {"other": 1}}, ".other", "other", "a name that no tenant.*"),
    (TENANTS, {"attribute": "t", "limits": {7: 1}, "other": "7"}, ".other", "7", "a name that no tenant.*"),
    (EXEMPLARS, {"keep": 1}, ".keep", 1, "one of 'newest', 'slowest', 'error'"),
    (EXEMPLARS, {"hold": "5m"}, ".hold", "5m", "a number above zero"),
    (EXEMPLARS, {"labels": "a"}, ".labels", "a", "a list of attribute keys, .*"),
    (EXEMPLARS, {"rate": 1}, ".rate", 1, "one of the keys keep, hold, per_minute, labels"),
]  # fmt: skip


@pytest.mark.parametrize(("check", "given_value", "key", "value", "allowed"), WRONG_ELSEWHERE)
def test_what_is_wrong_with_tenants_and_exemplars(
    check: Check, given_value: object, key: str, value: object, allowed: str
) -> None:
    """Their errors have the form of those of views."""
    with pytest.raises(ConfigurationError) as caught:
        check.value("option", given_value)
    assert (caught.value.key, caught.value.value) == (f"option{key}", value)
    assert re.fullmatch(allowed, caught.value.expected), caught.value.expected


def test_two_views_that_cannot_both_be_right() -> None:
    """The later one is to blame, whichever way they came."""
    one = {"instrument_name": "a", "instrument_type": "counter", "name": "x"}
    other = {"instrument_name": "b", "instrument_type": "histogram", "name": "x"}
    for views in ([{}, one, {}, other, {}], [{}, ExportView(**one), {}, ExportView(**other), {}]):  # type: ignore[arg-type]
        with pytest.raises(
            ConfigurationError,
            match=r"^views\[3\]\.name: .* expected another name for ExportView\('b', name='x'\): 'x' is of",
        ):
            VIEWS.value("views", views)


def test_an_sdk_view_is_none_of_ours() -> None:
    """The error says where it belongs."""
    with pytest.raises(ConfigurationError, match=r"^views\[0\]: .*; SDK Views are for a MeterProvider"):
        PrometheusMetricReader(registry=None, views=[View(instrument_name="a")])  # type: ignore[list-item]


def test_a_list_that_contains_itself() -> None:
    """YAML can write one; it is wrong, and not without end."""
    for text in ("{rules: {a: &x [*x]}}", "{compute: {a: &x {first_of: [*x]}}}", "&x {compute: {a: *x}}"):
        with pytest.raises(ConfigurationError):
            VIEWS.value("views", [yaml.safe_load(text)])


def test_a_class_that_does_not_check_its_arguments() -> None:
    """What it raises is an error of the whole mapping, with its reason."""
    with pytest.raises(
        ConfigurationError, match=r"expected other values of 'length' \('str' object cannot be"
    ):
        called(lambda length: range(length), {"length": "x"})


def test_one_wrong_view_means_none_where_nothing_may_raise(caplog: pytest.LogCaptureFixture) -> None:
    """Half of the views could show what the others hide; other options are used all the same."""
    views = [{"instrument_name": "a", "name": False}, {"instrument_name": "b", "nam": "x"}]
    found = from_mapping({"views": views, "prefix": "shop"}, log_error)
    assert (found.reader["views"], found.reader["prefix"]) == ((), "shop")
    (message,) = caplog.messages
    assert message.startswith(
        "views[1].nam: 'x' is not allowed, expected one of the keys (did you mean 'name'?): "
    )
    assert message.endswith(", ended; using none")


def blocks(language: str) -> list[str]:
    """The blocks of code in a language, of the page's section about files."""
    section = PAGE.read_text().partition("\n## In a file\n")[2].partition("\n## ")[0]
    return re.findall(rf"^```{language}\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


def test_the_examples_of_the_page_are_the_same() -> None:
    """Its TOML, its YAML and its Python lead to equal readers."""
    (toml,) = blocks("toml")
    (yaml_text,) = (text for text in blocks("yaml") if "views:" in text)
    (python,) = (text for text in blocks("python") if "ExportView(" in text)
    namespace: dict[str, Any] = {}
    exec(python, namespace)
    policy = namespace["reader"].policy
    namespace["reader"].shutdown()
    for mapping in (tomllib.loads(toml), yaml.safe_load(yaml_text)):
        options = from_mapping(mapping, raise_error).reader
        assert len(options["views"]) == 3
        del options["fallback_views"]  # of the default profile, which a reader by hand does not have
        assert PrometheusMetricReader(**options, registry=None).policy == policy


def test_the_page_lists_the_rules() -> None:
    """Their names are those that a file may use."""
    found = re.search(r"^The rules are (.*?)\.", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    assert re.findall(r"`(\w+)`", found[1]) == list(RULES)


def one_of(*names: str) -> st.SearchStrategy[str]:
    """Mostly these strings, sometimes any."""
    return st.sampled_from(names) | st.text(max_size=5)


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | one_of("a", "", "*", "sum", "other", "exponential", "forbid", "x_total", "histogram", "le")
)
NAMES = one_of(
    *(
        "first_of",
        "outcome",
        "default",
        "included",
        "excluded",
        "values",
        "other",
        "table",
        "limit",
        "length",
    ),
    *("aliases", "patterns", "max_segments", "kinds", "keep", "hold", "per_minute", "labels", "attribute"),
    *("limits", "other_limit", "error_status", "success", *RULES),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.integers(), inner, max_size=3),
    max_leaves=8,
)
VIEW = st.dictionaries(st.sampled_from(list(ExportView.__dataclass_fields__)), VALUES, max_size=4)


@settings(max_examples=examples(500))
@given(st.sampled_from([VIEWS, TENANTS, EXEMPLARS]), VALUES | st.lists(VIEW | VALUES, max_size=3))
@example(VIEWS, [{"instrument_type": ["counter"]}])
@example(VIEWS, [{"rules": {"a": {"redact": {"kinds": [["email"]]}}}}])
@example(EXEMPLARS, {"hold": 10**400})
def test_no_value_whatsoever_raises_anything_else(check: Check, value: Any) -> None:
    """A value is right, so that a reader takes it, or a ConfigurationError whose message can be written."""
    try:
        found = check.value("option", value)
    except ConfigurationError as error:
        found, message = None, str(error)
    if found is None:
        assert re.match(r"option.*: .* is not allowed, expected ", message, re.DOTALL)
        return
    key = {VIEWS.allowed: "views", TENANTS.allowed: "tenant"}.get(check.allowed, "exemplars")
    PrometheusMetricReader(registry=None, **{key: found}).policy.sdk_views()

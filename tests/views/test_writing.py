"""Views as one writes them: what is written in Python and in TOML is the view that is meant."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

import otel_prom_bridge.rules as rules_module
from otel_prom_bridge import ExportView, Outcome
from otel_prom_bridge.profiles import load_profile
from otel_prom_bridge.rules import (
    Allow,
    Chain,
    ErrorType,
    Extract,
    First,
    Forbid,
    ModelName,
    PathTemplate,
    Redact,
    StatusClass,
    Translate,
    Truncate,
)
from otel_prom_bridge.views.writing import without_attributes, written
from otel_prom_bridge.views.written import VIEWS

RULES: list[Any] = [
    Allow(["a", "b"], other="rest"),
    Chain(ModelName({"x": "gpt-4o"}), First(5)),
    ErrorType(kinds={"Boom": "timeout"}),
    Extract("(.*)/[^/]*"),
    Forbid(),
    PathTemplate([(r"t-[a-z]+", "{tenant}")], max_segments=3),
    Redact([(r"\d+", "#")]),
    StatusClass(),
    Translate({"0": "ok"}, other="no"),
    Truncate(10),
]


def read_again(view: ExportView) -> None:
    """Both forms, read by who reads them, are this view."""
    form = written(view)
    names = {name: getattr(rules_module, name) for name in rules_module.__all__}
    names |= {"ExportView": ExportView, "Outcome": Outcome}
    assert repr(eval(form.python, names)) == repr(view)
    (from_toml,) = VIEWS.value("views", tomllib.loads(form.toml)["views"])
    assert repr(from_toml) == repr(view)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_rules_are_written(rule: Any) -> None:
    """A view with a rule, whatever its arguments, reads as the same view again."""
    read_again(ExportView(instrument_name='a."b"\n', name="n_total", rules={"k": rule}))


def test_everything_else_is_written() -> None:
    """So does one with all other options."""
    read_again(
        ExportView(
            instrument_name="h",
            instrument_type="histogram",
            meter_name="shop*",
            name="h_seconds",
            description="A „help“ with \\ and \x7f",
            buckets=[0.1, 1],
            unit="s",
            keep=["a", "b.*"],
            drop=["c"],
            rename={"a.b": "ab"},
            compute={"outcome": Outcome(success="ok"), "x": ["y", "z"], "w": "v"},
            labels={"empty": ""},
            where={"q": {"excluded": ["1"]}},
            max_series=7,
            exemplars=False,
            workers="sum",
        )
    )
    read_again(ExportView(instrument_name="x", name=None))


def test_views_of_the_default_profile_are_written() -> None:
    """Those that a what-if has to repeat nearly always have a form."""
    views = load_profile("semconv").views("current", beside=[])
    assert all(written(view).toml for view in views)


def test_what_has_no_form_is_not_written() -> None:
    """A function of the application's is in no file, so there is no text that would be wrong."""
    assert written(ExportView(instrument_name="x", name="x", rules={"k": lambda value: value})) == ("", "")


def test_without_attributes() -> None:
    """Nothing of an attribute that is left out stays: not its label, its rule, nor its default."""
    view = ExportView(
        instrument_name="x",
        name="x",
        keep=["a", "b"],
        rename={"a": "label"},
        compute={"c": "d"},
        rules={"label": StatusClass(), "b": StatusClass()},
        labels={"label": ""},
    )
    assert without_attributes(view, frozenset({"a"}), frozenset({"c"})) == ExportView(
        instrument_name="x", name="x", keep=["b"], rules={"b": StatusClass()}, drop=["a"]
    )

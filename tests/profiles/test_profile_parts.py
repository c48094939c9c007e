"""Profiles that extend several others, take parts of them, and whose labels are like others."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bridges import families_of, running
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import examples

from otel_prom_bridge import ConfigurationError
from otel_prom_bridge.dashboards import files_of, read_dashboard
from otel_prom_bridge.profiles import BUILT_IN, load_profile
from otel_prom_bridge.profiles.inheritance import PartTable, extended, picked
from otel_prom_bridge.profiles.loading import PARTS

Write = Callable[..., Path]

BASE = """
namespace = "base"
[defaults]
help = "What it is"
drop = ["host"]
[labels.kind]
attributes = ["kind"]
description = "Which kind."
rules = { allow = ["a", "b"] }
[labels.sort]
like = "kind"
attributes = ["sort"]
[labels.other]
attributes = ["other"]
[buckets]
small = [1, 2]
large = [100]
[[sources.jobs]]
instrument = "job.duration"
[[sources.others]]
instrument = "other"
[[families]]
name = "jobs_total"
type = "counter"
source = "jobs"
take = "count"
labels = ["sort"]
[[families]]
name = "job_seconds"
type = "histogram"
unit = "s"
source = "jobs"
labels = []
buckets = "small"
[[families]]
name = "others"
type = "gauge"
source = "others"
[[instruments]]
name = "job.duration"
type = "histogram"
unit = "s"
buckets = "large"
[dashboard]
title = "Base"
namespace = "base"
[[dashboard.variables]]
name = "job"
query = "label_values(up, job)"
[[dashboard.panels]]
title = "Jobs"
type = "stat"
queries = [{ expr = 'job:base_jobs:rate5m{job="$job"}' }]
[[dashboard.panels]]
title = "Others"
type = "stat"
queries = [{ expr = "base_others" }]
[[dashboard.recording_rules]]
record = "job_kind:base_jobs:rate5m"
expr = "sum by (job, sort) (rate(base_jobs_total[5m]))"
[[dashboard.recording_rules]]
record = "job:base_jobs:rate5m"
expr = "sum by (job) (job_kind:base_jobs:rate5m)"
[[dashboard.recording_rules]]
record = "job:base_others:max"
expr = "max by (job) (base_others)"
"""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a profile beside the one that is taken from; gives its path."""

    def write_file(text: str, *, base: str = BASE, **others: str) -> Path:
        for stem, content in {"base": base, **others, "mine": text}.items():
            tmp_path.joinpath(f"{stem}.toml").write_text(content)
        return tmp_path / "mine.toml"

    return write_file


def test_a_family_comes_with_what_it_refers_to(write: Write) -> None:
    """Labels, those that they are like, buckets, sources and defaults come along; nothing else does."""
    path = write('namespace = "mine"\n[[parts]]\nof = "base.toml"\nfamilies = ["jobs_*"]\n')
    profile = load_profile(path)
    assert [family.name for family in profile.families] == ["mine_jobs_total"]
    assert {*profile.labels} == {"kind", "sort"}
    assert (profile.own_instruments, profile.dashboard, profile.name) == ((), {}, "mine")
    with running(profile=path) as bridge:
        seconds = bridge.meter_provider.get_meter("app").create_histogram("job.duration", unit="s")
        for sort in ("a", "b", "c"):
            seconds.record(1.5, {"sort": sort, "host": "h"})
        jobs = families_of(bridge)["mine_jobs"]
    assert jobs.documentation == "What it is"
    assert {sample.labels["sort"] for sample in jobs.samples} == {"a", "b", "other"}


def test_conditions_name_patterns(write: Write) -> None:
    """What is in them and what is not is told apart, also where another profile takes the families."""
    base = """
[patterns]
nightly = ["backup", "clean-*"]
[[sources.nightly]]
instrument = "job.duration"
where = { kind = { in = "nightly" } }
[[families]]
name = "nightly_total"
type = "counter"
help = "x"
source = "nightly"
take = "count"
labels = []
[[families]]
name = "daily_total"
type = "counter"
help = "x"
source = { instrument = "job.duration" }
where = { kind = { not_in = "nightly" } }
take = "count"
labels = []
"""
    mine = '[[parts]]\nof = "base.toml"\n{} = ["*"]\n'
    assert [*load_profile(write(mine.format("sources"), base=base)).families] == []
    with running(profile=write(mine.format("families"), base=base)) as bridge:
        seconds = bridge.meter_provider.get_meter("app").create_histogram("job.duration", unit="s")
        for kind in ("backup", "clean-disk", "clean", "report"):
            seconds.record(1, {"kind": kind})
        seconds.record(1)
        families = families_of(bridge)
    counted = {name: [s.value for s in family.samples] for name, family in families.items()}
    assert (counted["nightly"], counted["daily"]) == ([2], [3])


def test_an_instrument_comes_with_its_buckets(write: Write) -> None:
    """And under the namespace of who takes it."""
    path = write('namespace = "mine"\n[[parts]]\nof = "base.toml"\ninstruments = ["*"]\n')
    (spec,) = load_profile(path).own_instruments
    assert (spec.name, spec.buckets) == ("mine.job.duration", (100,))


def test_a_panel_comes_with_rules_and_variables(write: Write) -> None:
    """Rules come with the rules that they need, and all names are those of the new profile's families."""
    path = write(
        'namespace = "mine"\n[[parts]]\nof = "base.toml"\nfamilies = ["jobs_total"]\npanels = ["Jobs"]\n'
        '[dashboard]\ntitle = "Mine"\n[[dashboard.panels]]\ntitle = "Ours"\ntype = "stat"\n'
        'queries = [{ expr = "mine_jobs_total" }]\n'
    )
    dashboard = read_dashboard(load_profile(path))
    assert {panel.title: panel.queries[0].expr for panel in dashboard.panels} == {
        "Jobs": 'job:mine_jobs:rate5m{job="$job"}',
        "Ours": "mine_jobs_total",
    }
    assert {rule.record: rule.expr for rule in dashboard.recording_rules} == {
        "job_kind:mine_jobs:rate5m": "sum by (job, sort) (rate(mine_jobs_total[5m]))",
        "job:mine_jobs:rate5m": "sum by (job) (job_kind:mine_jobs:rate5m)",
    }
    assert [variable.name for variable in dashboard.variables] == ["job"]


def test_what_a_file_says_comes_before_its_parts_and_parts_before_what_it_extends(write: Write) -> None:
    """The order in which tables are put over each other."""
    family = '[[families]]\nname = "x"\ntype = "gauge"\nhelp = "{}"\nsource = {{ instrument = "x" }}\n'
    text = 'extends = ["one.toml", "two.toml"]\n[[parts]]\nof = "three.toml"\nfamilies = ["x"]\n'
    others = {name: family.format(name) for name in ("one", "two", "three")}
    assert load_profile(write(text, **others)).families[0].help == "three"
    assert load_profile(write('extends = ["one.toml", "two.toml"]', **others)).families[0].help == "two"
    assert load_profile(write(text + family.format("mine"), **others)).families[0].help == "mine"


def test_dashboards_of_two_namespaces_go_together(write: Write) -> None:
    """Each panel has names of its own profile, which become those of the one that extends both."""
    other = BASE.replace("base", "other").replace("job", "task").replace("Jobs", "Tasks")
    path = write('extends = ["base.toml", "other.toml"]\nnamespace = "mine"\n', other=other)
    dashboard = read_dashboard(load_profile(path))
    text = files_of(load_profile(path))["mine.json"] + files_of(load_profile(path))["mine.rules.yml"]
    assert {"Jobs", "Tasks"} <= {panel.title for panel in dashboard.panels}
    assert not re.search(r"\b(base|other)_(jobs|tasks|others)", text)
    assert "mine_tasks_total" in text


def test_extending_in_a_diamond_is_no_circle(write: Write) -> None:
    """Two that extend the same one may be extended together."""
    others = {"left": 'extends = "base.toml"', "right": 'extends = "base.toml"'}
    profile = load_profile(write('extends = ["left.toml", "right.toml"]', **others))
    assert len(profile.families) == 3


@pytest.mark.parametrize("part", PARTS)
def test_a_built_in_part_can_be_extended(write: Write, part: str) -> None:
    """By itself, it is a profile that works; and it is none to choose."""
    assert load_profile(write(f'extends = "{part}"\nnamespace = "x"')).namespace == "x"
    with pytest.raises(ConfigurationError) as caught:
        load_profile(part)
    assert part not in str(caught.value).partition("expected")[2]


@pytest.mark.parametrize("name", [name for name in BUILT_IN if name != "semconv"])
def test_a_dialect_can_have_another_namespace(write: Write, name: str) -> None:
    """Its panels and rules follow, whether it had a namespace before or not."""
    profile = load_profile(write(f'extends = "{name}"\nnamespace = "acme"\n'))
    assert all(family.name.startswith("acme_") for family in profile.families)
    text = "".join(files_of(profile).values())
    assert set(re.findall(r"\w*http_requests_total", text)) == {"acme_http_requests_total"}


# --- a source that says what its points do not ------------------------------------------------------------


def test_attributes_of_a_source_are_for_points_without_them(write: Write) -> None:
    """A label is computed from them, by its own rule; what a point says itself comes before."""
    path = write(
        '[labels.kind]\nattributes = ["kind"]\nrules = { translate = { table = { a = "A", b = "B" } } }\n'
        '[[families]]\nname = "x_total"\ntype = "counter"\nhelp = "x"\nlabels = ["kind"]\n'
        'source = { instrument = "x", attributes = { kind = "a" } }\n'
        '[[families]]\nname = "y_total"\ntype = "counter"\nhelp = "y"\n'
        'source = { instrument = "x", attributes = { kind = "a" } }\n'
    )
    with running(profile=path) as bridge:
        counter = bridge.meter_provider.get_meter("app").create_counter("x")
        counter.add(1)
        counter.add(2, {"kind": "b"})
        families = families_of(bridge)
    assert {sample.labels["kind"]: sample.value for sample in families["x"].samples} == {"A": 1, "B": 2}
    assert {sample.labels["kind"]: sample.value for sample in families["y"].samples} == {"a": 1, "b": 2}


# --- mistakes ---------------------------------------------------------------------------------------------

LABEL = '[labels.a]\nattributes = ["a"]\n'
FAMILY = '[[families]]\nname = "{}"\ntype = "{}"\nhelp = "x"\nsource = {{ instrument = "x" }}\n'
MISTAKES = [
    ("parts = 3", "parts", "3", "a list of tables"),
    ("parts = [3]", "parts[0]", "3", "a table"),
    ("[[parts]]\nfamilies = ['x']", "parts[0]", "'families'", "'of' is required"),
    ("[[parts]]\nof = 'base.toml'", "parts[0]", "'base.toml'", "what to take of it: 'labels', 'buckets'"),
    ("[[parts]]\nof = 'base.toml'\nfamily = ['x']", "parts['base.toml'].family", "['x']", "'families'"),
    (
        "[[parts]]\nof = 'base.toml'\nfamilies = ['jbs*']",
        "parts[0].families",
        "'jbs*'",
        "jobs_total, job_sec",
    ),
    ("[[parts]]\nof = 'base.toml'\nfamilies = [3]", "parts[0].families", "[3]", "a list of names"),
    ("[[parts]]\nof = 'base.toml'\npanels = ['Job']", "parts[0].panels", "'Job'", "did you mean 'Jobs'"),
    ("[[parts]]\nof = 'htp'\nfamilies = ['*']", "parts[0].of", "'htp'", "one of the parts 'databases'"),
    ("[[parts]]\nof = ''\nfamilies = ['*']", "parts[0].of", "''", "one of the parts 'databases'"),
    ("[[parts]]\nof = 3\nfamilies = ['*']", "parts[0].of", "3", "one of the parts 'databases'"),
    (
        "[[parts]]\nof = 'mine.toml'\nfamilies = ['*']",
        "parts[0].of",
        "'mine.toml'",
        "does not extend this one",
    ),
    ("[[parts]]\nof = 'no.toml'\nfamilies = ['*']", "parts[0].of", "no.toml", "No such file"),
    ("extends = ['base.toml', 3]", "extends", "3", "one of the parts 'databases'"),
    ("extends = ['base.toml', 'mine.toml']", "extends", "'mine.toml'", "does not extend this one"),
    ("[patterns]\na = 'x'", "patterns.a", "'x'", "a list of patterns"),
    ("[patterns]\na = []", "patterns.a", "[]", "a list of patterns"),
    (
        "[patterns]\na = ['x']\n[[sources.a]]\ninstrument = 'x'\nwhere.k = { in = 'a', included = 'y' }",
        "sources.a.where['k'].in",
        "'a'",
        "either 'in' or 'included'",
    ),
    (
        "[patterns]\nprobes = ['x']\n[[sources.a]]\ninstrument = 'x'\nwhere = { k = { in = 'prob' } }",
        "sources.a.where['k'].in",
        "'prob'",
        "did you mean 'probes'",
    ),
    (f"{LABEL}like = 'b'", "labels.a.like", "'b'", "profile's labels"),
    (f"{LABEL}like = 'a'", "labels.a.like", "'a'", "not like this one"),
    (f"{LABEL}like = 3", "labels.a.like", "3", "profile's labels"),
    ("[labels.a]\nlike = 'b'\n[labels.b]\nlike = 'a'", "labels.a.like", "'a'", "not like this one"),
    (
        "[[sources.a]]\ninstrument = 'x'\nattributes = { a.b = 'c' }",
        "sources.a.attributes.a",
        "{'b': 'c'}",
        "written in quotes",
    ),
    (
        FAMILY.format("x_total", "counter") + FAMILY.format("x", "gauge"),
        "families['x'].name",
        "'x (gauge)'",
        "another name: 'x' is of the counter 'x_total'",
    ),
    (
        FAMILY.format("x_count", "gauge") + FAMILY.format("x", "histogram"),
        "families['x'].name",
        "'x (histogram)'",
        "another name: 'x_count' is of the gauge 'x_count'",
    ),
    (
        FAMILY.format("x_total", "counter") + FAMILY.format("x_total", "gauge"),
        "families['x_total'].type",
        "'gauge'",
        "'counter', as the other family of this name",
    ),
]


@pytest.mark.parametrize(("text", "key", "value", "allowed"), MISTAKES)
def test_a_mistake_is_named(write: Write, text: str, key: str, value: str, allowed: str) -> None:
    """An error has the file, the key, the value, and what is allowed."""
    path = write(text)
    with pytest.raises(ConfigurationError) as caught:
        load_profile(path)
    message = str(caught.value)
    assert f"{path}: {key}" in message
    before, _, after = message.partition(" is not allowed, expected ")
    assert value in before
    assert allowed in after


def test_a_mistake_in_what_is_taken_from_is_named(write: Write) -> None:
    """The error says in which file it is."""
    path = write("[[parts]]\nof = 'base.toml'\nfamilies = ['*']", base="families = [3]")
    with pytest.raises(ConfigurationError, match=r"base\.toml: families\[0\]: 3 .* a table"):
        load_profile(path)


def test_families_that_never_exist_together_may_share_names(write: Write) -> None:
    """With each setting of `present` there is one of them."""
    one, two = FAMILY.format("x_total", "counter"), FAMILY.format("x", "gauge")
    path = write(f'{one}present = "current"\n{two}present = "latest"\n')
    assert len(load_profile(path).families) == 2


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["name", "labels", "like", "source", "buckets", "title", "queries", "panels", "a"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
KEYS = st.sampled_from(
    ["labels", "buckets", "sources", "families", "instruments", "defaults", "dashboard", "namespace"]
)


@settings(max_examples=examples(150))
@given(st.dictionaries(KEYS, ANY), st.dictionaries(KEYS, ANY))
def test_whatever_is_taken_from_is_tables_or_one_error(one: dict[str, Any], two: dict[str, Any]) -> None:
    """No content of a file raises anything but the error for it."""
    try:
        taken = picked(
            one, PartTable(of="x", families=["*"]) if one.get("families") else PartTable(of="x", labels=["*"])
        )
    except ConfigurationError:
        taken = {}
    try:
        assert isinstance(extended(two, taken), dict)
        assert isinstance(extended(one, two), dict)
    except ConfigurationError:
        pass

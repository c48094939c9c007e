"""Profiles: files that extend each other, what they say, and where the profile is chosen."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bridges import families_of, labels_of, running
from genai_conventions import BY_NAME
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from instrumented import EXPORTERS, instrumented
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from properties import examples
from servers import free_port

from otel_prom_bridge import ConfigurationError, ExportView, start
from otel_prom_bridge.autoconfigure import DeclarativePrometheusMetricReader
from otel_prom_bridge.bridge import Bridge
from otel_prom_bridge.profiles import BUILT_IN, Profile, load_profile
from otel_prom_bridge.profiles.reading import read_profile
from otel_prom_bridge.rules import Chain, First

Write = Callable[..., Path]

JOBS = """
namespace = "acme"
description = "What our jobs do."

[labels.kind]
attributes = ["job.kind"]
rules = { allow = ["nightly", "hourly"] }

[labels.result]
compute = { outcome = true }

[buckets]
seconds = [1, 60, 3600]

[[sources.jobs]]
instrument = "job.duration"

[[families]]
name = "jobs_total"
type = "counter"
help = "Jobs"
source = "jobs"
take = "count"
labels = ["kind", "result"]

[[families]]
name = "job_seconds"
type = "histogram"
unit = "s"
help = "How long jobs take"
source = "jobs"
labels = ["kind"]
buckets = "seconds"

[[instruments]]
name = "job.duration"
type = "histogram"
unit = "s"
description = "How long a job takes"
attributes = ["job.kind", "error.type"]
buckets = "seconds"

[[instruments]]
name = "job.queue"
type = "up_down_counter"
unit = "{job}"
attributes = ["job.kind"]

[options]
max_series_per_metric = 3
scope_info_enabled = false
common_labels = { service = "service.name" }
"""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write files; gives the path of the last one."""

    def write_files(text: str, name: str = "jobs.toml", **others: str) -> Path:
        for stem, content in others.items():
            tmp_path.joinpath(f"{stem}.toml").write_text(content)
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write_files


def record_jobs(bridge: Bridge, *seconds: float, name: str = "job.duration", **attributes: str) -> None:
    """Record how long jobs took, as an instrumentation does that knows nothing of the profile."""
    histogram = bridge.meter_provider.get_meter("app").create_histogram(name, unit="s")
    for value in seconds:
        histogram.record(value, {"job.kind": "nightly", "user.id": "u1", **attributes})


# --- choosing one -------------------------------------------------------------------------------------------


def test_a_profile_of_ones_own_by_path(write: Write) -> None:
    """A path is a profile: its families, labels, buckets, limits and common labels are there."""
    with running(profile=str(write(JOBS))) as bridge:
        record_jobs(bridge, 3, 30, 300)
        record_jobs(bridge, 30, **{"error.type": "ValueError", "job.kind": "surprise"})
        families = families_of(bridge)
        assert bridge.reader.policy.max_series_per_metric == 3
    values = {(s.labels["kind"], s.labels["result"]): s.value for s in families["acme_jobs"].samples}
    assert values == {("nightly", "success"): 3, ("other", "error"): 1}
    assert labels_of(families["acme_jobs"]) == {"kind", "result", "service"}
    seconds = families["acme_job_seconds"]
    bounds = [s.labels["le"] for s in seconds.samples if s.name.endswith("_bucket")]
    assert (bounds[:4], seconds.unit) == (["1.0", "60.0", "3600.0", "+Inf"], "seconds")
    assert "job_duration_seconds" not in families


@pytest.mark.parametrize("how", ["argument", "path", "profile", "variable", "file"])
def test_where_the_profile_is_chosen(write: Write, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """By an argument (a string, a path, a loaded profile), a variable, or the key of a file."""
    path = write(JOBS)
    options: dict[str, Any] = {"argument": {"profile": str(path)}, "path": {"profile": path}}.get(how, {})
    if how == "profile":
        options = {"profile": load_profile(path)}
    if how == "variable":
        monkeypatch.setenv("OTEL_PROM_BRIDGE_PROFILE", str(path))
    if how == "file":
        options = {"config_file": write(f"profile = '{path}'", "config.toml")}
    with running(**options) as bridge:
        record_jobs(bridge, 3)
        assert "acme_jobs" in families_of(bridge)


def test_what_is_nearer_wins(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """An argument before a variable, that before a file, and without any of them it is semconv."""
    config = write("profile = 'llmdevops'", "config.toml")
    for expected in ("semconv", "llmdevops"):
        with running(config_file=config, profile="semconv" if expected == "semconv" else None) as bridge:
            record_jobs(bridge, 3, name="gen_ai.client.operation.duration")
            names = set(families_of(bridge))
        assert ("llmdevops_llm_requests" in names) == (expected == "llmdevops")
        assert ("gen_ai_client_operation_duration_seconds" in names) == (expected == "semconv")
    monkeypatch.setenv("OTEL_PROM_BRIDGE_PROFILE", str(write(JOBS)))
    with running(config_file=config) as bridge:
        record_jobs(bridge, 3)
        assert "acme_jobs" in families_of(bridge)
    monkeypatch.delenv("OTEL_PROM_BRIDGE_PROFILE")
    with running() as bridge:
        histogram = bridge.meter_provider.get_meter("app").create_histogram(
            "gen_ai.client.operation.duration", "s"
        )
        histogram.record(3, {"gen_ai.system": "openai"})
        assert "gen_ai_provider_name" in labels_of(
            families_of(bridge)["gen_ai_client_operation_duration_seconds"]
        )


def test_in_declarative_yaml(write: Write) -> None:
    """The keys `profile` and `present` of the YAML, whatever the environment says."""
    reader = DeclarativePrometheusMetricReader(profile=str(write(JOBS)), port=0)
    provider = MeterProvider([reader], shutdown_on_exit=False)
    provider.get_meter("app").create_histogram("job.duration", unit="s").record(3, {"job.kind": "hourly"})
    assert "acme_jobs_total{" in reader.expose().body.decode()
    provider.shutdown()
    reader = DeclarativePrometheusMetricReader(present="latest", port=0)
    provider = MeterProvider([reader], shutdown_on_exit=False)
    histogram = provider.get_meter("app").create_histogram("gen_ai.client.operation.duration", unit="s")
    histogram.record(3, {"gen_ai.operation.name": "chat"})
    assert "gen_ai_client_inference_duration_seconds_count{" in reader.expose().body.decode()
    provider.shutdown()


def test_with_auto_instrumentation(tmp_path: Path, write: Write) -> None:
    """Nothing but variables: the application says nothing of the profile, and shows its families."""
    port = free_port()
    code = (
        "from opentelemetry import metrics\n"
        "histogram = metrics.get_meter('app').create_histogram('job.duration', unit='s')\n"
        "histogram.record(3, {'job.kind': 'nightly'})\n"
        "from urllib.request import ProxyHandler, build_opener\n"
        f"url = 'http://127.0.0.1:{port}/metrics'\n"
        "print(build_opener(ProxyHandler({})).open(url, timeout=5).read().decode())\n"
    )
    ours = {
        **EXPORTERS,
        "OTEL_EXPORTER_PROMETHEUS_HOST": "127.0.0.1",
        "OTEL_EXPORTER_PROMETHEUS_PORT": str(port),
        "OTEL_SERVICE_NAME": "x",
        "OTEL_PROM_BRIDGE_PROFILE": str(write(JOBS)),
    }
    result = instrumented(tmp_path, code, **ours)
    assert result.returncode == 0, result.stderr
    assert 'acme_jobs_total{kind="nightly",result="success",service="x"} 1' in result.stdout


@pytest.mark.parametrize("profile", [None, 5, b"semconv"])
def test_what_is_no_name_of_a_profile_is_refused(profile: Any) -> None:
    """Also by whoever loads it by hand."""
    with pytest.raises(ConfigurationError, match=r"^profile: .* expected one of the profiles"):
        load_profile(profile)


@pytest.mark.parametrize(
    "profile", ["semcov", "SEMCONV", "", 3, "missing.toml", "./nowhere/x.toml", "a\0b.toml", ["semconv"]]
)
def test_what_is_no_profile_is_refused(profile: Any) -> None:
    """The error names the option, the value, and the profiles that there are."""
    with pytest.raises(ConfigurationError, match=r"^profile: .*(semconv.*\.toml|path of a file)") as caught:
        start(profile=profile, port=0)
    assert str(caught.value).count("profile: ") == 1


def test_a_profile_that_was_misspelt() -> None:
    """The error asks for the one that was probably meant."""
    with pytest.raises(ConfigurationError, match=r"'tachicoma' .*did you mean 'tachikoma'\?"):
        load_profile("tachicoma")


def test_a_wrong_generation_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """`present` is one of three words, wherever it is said."""
    with pytest.raises(ConfigurationError, match=r"present: 'newest' .*'current', 'latest', 'both'"):
        start(present="newest", port=0)  # type: ignore[arg-type]
    monkeypatch.setenv("OTEL_PROM_BRIDGE_PRESENT", "old")
    with pytest.raises(ConfigurationError, match=r"OTEL_PROM_BRIDGE_PRESENT: 'old'"):
        start(port=0)


# --- options ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "limit"), [("profile", 3), ("argument", 7), ("variable", 8), ("file", 9), ("reset", 2000)]
)
def test_options_of_a_profile_are_the_last_to_be_asked(
    write: Write, monkeypatch: pytest.MonkeyPatch, how: str, limit: int
) -> None:
    """Arguments, variables and files say otherwise; what they do not say is as in the profile."""
    options: dict[str, Any] = {}
    if how == "argument":
        options["max_series_per_metric"] = 7
    if how == "variable":
        monkeypatch.setenv("OTEL_PROM_BRIDGE_MAX_SERIES_PER_METRIC", "8")
    if how == "file":
        options["config_file"] = write("max_series_per_metric = 9", "config.toml")
    text = JOBS.replace("max_series_per_metric = 3", "") if how == "reset" else JOBS
    with running(profile=write(text), **options) as bridge:
        assert bridge.reader.policy.max_series_per_metric == limit
        record_jobs(bridge, 3)
        assert labels_of(families_of(bridge)["acme_jobs"]) == {"kind", "result", "service"}


def test_views_beside_a_profile(write: Write) -> None:
    """They add families; one that has the name of a family of the profile takes its place."""
    mine = [
        ExportView(instrument_name="job.duration", name="acme_jobs_total", take="count", keep=["job.kind"]),
        ExportView(instrument_name="job.duration", name="job_hours", scale=1 / 3600, unit="h", keep=[]),
    ]
    with running(profile=write(JOBS), views=mine) as bridge:
        record_jobs(bridge, 3600, **{"error.type": "ValueError", "job.kind": "odd"})
        families = families_of(bridge)
        assert bridge.reader.conflicts() == []
    assert labels_of(families["acme_jobs"]) == {"job_kind", "service"}
    assert {s.value for s in families["job_hours"].samples if s.name == "job_hours_sum"} == {1}
    assert labels_of(families["acme_job_seconds"]) == {"kind", "service"}


@pytest.mark.parametrize("clash", ["acme_job_seconds_count", "acme_job_seconds"])
def test_a_view_that_has_the_name_of_a_sample_of_a_family(write: Write, clash: str) -> None:
    """The family makes way, too, as a scrape cannot have both."""
    mine = ExportView(instrument_name="other", instrument_type="up_down_counter", name=clash)
    with running(profile=write(JOBS), views=[mine]) as bridge:
        record_jobs(bridge, 3)
        bridge.meter_provider.get_meter("app").create_up_down_counter("other").add(2)
        families = families_of(bridge)
    assert families[clash].type == "gauge"
    assert "acme_jobs" in families
    assert families.keys().isdisjoint({"acme_job_seconds", "acme_job_seconds_count"} - {clash})


def test_two_bridges_with_one_profile_share_nothing(write: Write) -> None:
    """What rules remember belongs to a start: the first values of one are not those of another."""
    text = JOBS.replace('{ allow = ["nightly", "hourly"] }', "{ first = 1 }")
    path = write(text)
    for kind in ("nightly", "weekly"):
        with running(profile=str(path)) as bridge:
            record_jobs(bridge, 3, **{"job.kind": kind})
            assert {s.labels["kind"] for s in families_of(bridge)["acme_jobs"].samples} == {kind}


@pytest.mark.parametrize("profile", BUILT_IN)
def test_two_bridges_with_a_built_in_profile_share_nothing(profile: str) -> None:
    """Models that filled the places of one bridge take none of the next one's."""
    for start_at in (0, 100):
        models = {f"model-{start_at + number}" for number in range(45)}
        with running(profile=profile) as bridge:
            for model in models:
                attributes = {"gen_ai.request.model": model, "gen_ai.operation.name": "chat"}
                record_jobs(bridge, 3, name="gen_ai.client.operation.duration", **attributes)
            shown = {
                sample.labels.get("model", sample.labels.get("gen_ai_request_model"))
                for name, family in families_of(bridge).items()
                for sample in family.samples
                if name.endswith(("llm_requests", "executions", "operation_duration_seconds"))
            }
        assert shown in (models, set())  # there are dialects without models


@pytest.mark.parametrize("profile", BUILT_IN)
def test_a_built_in_profile_is_read_once(profile: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each load is the same, but for what rules remember. One rule of several families is one each time."""
    one = load_profile(profile)
    monkeypatch.setattr(ExportView, "__post_init__", lambda view: pytest.fail(f"{view} is checked again"))
    other = load_profile(profile)
    assert repr(one) == repr(other)
    first, second = _remembering(one), _remembering(other)
    assert set(first).isdisjoint(second)
    assert list(map(first.index, first)) == list(map(second.index, second))
    for family in other.families:
        assert {*map(id, family.labels or ())} <= {*map(id, other.labels.values())}


def _remembering(profile: Profile) -> list[First]:
    """What remembers values in the rules of labels and of views, as often as it stands there."""
    views = [view for family in profile.families for view in family.views]
    of_views = [rule for view in views for rule in view.rules.values()]
    rules = [*(label.rule for label in profile.labels.values()), *of_views]
    parts = [part for rule in rules for part in (rule.rules if isinstance(rule, Chain) else (rule,))]
    return [part for part in parts if isinstance(part, First)]


# --- extending ----------------------------------------------------------------------------------------------


def test_labels_families_and_options_are_put_over_those_of_the_other(write: Write) -> None:
    """What has a name takes the place of what had it; everything else stays."""
    path = write(
        """
        extends = "base.toml"
        [labels.kind]
        attributes = ["job.kind"]
        rules = { allow = ["surprise"] }
        [options]
        max_series_per_metric = 5
        [[families]]
        name = "job_seconds"
        type = "histogram"
        unit = "s"
        help = "Ours"
        source = "jobs"
        labels = []
        buckets = [10]
        [[instruments]]
        name = "job.queue"
        type = "gauge"
        """,
        base=JOBS,
    )
    profile, base = load_profile(path), load_profile(path.with_name("base.toml"))
    assert (profile.name, profile.namespace, profile.description) == ("jobs", "acme", "What our jobs do.")
    assert profile.options == {**base.options, "max_series_per_metric": 5}
    assert {family.name: family.help for family in profile.families} == {
        "acme_jobs_total": "Jobs",
        "acme_job_seconds": "Ours",
    }
    assert {spec.name: spec.type for spec in profile.own_instruments} == {
        "acme.job.duration": "histogram",
        "acme.job.queue": "gauge",
    }
    with running(profile=path) as bridge:
        record_jobs(bridge, 3, **{"job.kind": "surprise"})
        families = families_of(bridge)
    assert {s.labels["kind"] for s in families["acme_jobs"].samples} == {"surprise"}
    assert labels_of(families["acme_job_seconds"]) == {"service"}


def test_a_built_in_profile_with_one_change(write: Write) -> None:
    """A few lines are enough to change one label of llmdevops, and all of its families have it."""
    path = write(
        """
        extends = "llmdevops"
        [labels.model]
        attributes = ["gen_ai.request.model"]
        rules = { allow = ["gpt-4o"] }
        [options]
        max_series = 500
        """
    )
    profile, base = load_profile(path), load_profile("llmdevops")
    assert [family.name for family in profile.families] == [family.name for family in base.families]
    assert profile.options == {**base.options, "max_series": 500}
    with running(profile=str(path)) as bridge:
        for model in ("gpt-4o", "o3"):
            record_jobs(bridge, 3, name="gen_ai.client.operation.duration", **{"gen_ai.request.model": model})
        requests = families_of(bridge)["llmdevops_llm_requests"]
    assert {s.labels["model"] for s in requests.samples} == {"gpt-4o", "other"}


def test_paths_are_relative_to_the_file_that_names_them(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A profile in a folder finds the one beside it and the one above, wherever the process runs."""
    write('extends = "../above.toml"\n[options]\nmax_series = 2', "folder/middle.toml", above=JOBS)
    path = write('extends = "middle.toml"\n[options]\nmax_series = 3', "folder/last.toml")
    monkeypatch.chdir("/")
    assert load_profile(path).options["max_series"] == 3
    assert load_profile(path).options["max_series_per_metric"] == 3


def test_what_all_families_have_is_said_once(write: Write) -> None:
    """Lists and tables of the defaults are joined with a family's own, which wins; other keys are its own."""
    path = write(
        """
        [defaults]
        help = "Something"
        drop = ["host"]
        rename = { kind = "sort", "job.kind" = "kind" }
        [[families]]
        name = "work_seconds"
        type = "histogram"
        source = { instrument = "job.duration" }
        buckets = [1]
        drop = ["user.*"]
        rename = { kind = "other" }
        [[families]]
        name = "work_total"
        type = "counter"
        help = "Jobs"
        take = "count"
        source = { instrument = "job.duration" }
        """
    )
    with running(profile=path, scope_info_enabled=False) as bridge:
        record_jobs(bridge, 3, host="a", kind="b", **{"user.name": "c"})
        families = families_of(bridge)
    assert labels_of(families["work_seconds"]) == {"kind", "other"}
    assert labels_of(families["work"]) == {"kind", "sort", "user_name"}
    assert (families["work_seconds"].documentation, families["work"].documentation) == ("Something", "Jobs")


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_circle_of_profiles_is_refused(write: Write, length: int) -> None:
    """Files that extend each other, and a file that extends itself, end in an error that names one."""
    names = [f"p{number}" for number in range(length)]
    files = {name: f'extends = "{names[(i + 1) % length]}.toml"' for i, name in enumerate(names)}
    path = write(files["p0"], "p0.toml", **files)
    with pytest.raises(
        ConfigurationError, match=r"p\d\.toml: extends: 'p\d\.toml' .* does not extend this one"
    ):
        load_profile(path)


def test_a_parent_that_is_missing_is_named(write: Write) -> None:
    """The error says which file names it, and which file is not there."""
    path = write('extends = "nowhere.toml"')
    with pytest.raises(ConfigurationError, match=r"jobs\.toml: extends: '.*nowhere\.toml' .*No such file"):
        load_profile(path)


# --- mistakes -----------------------------------------------------------------------------------------------

FAMILY = '[[families]]\nname = "a"\ntype = "{type}"\nhelp = "x"\nsource = {{ instrument = "x"{more} }}\n'
GAUGE = FAMILY.format(type="gauge", more="")
HISTOGRAM = FAMILY.format(type="histogram", more="")
COUNTER = FAMILY.format(type="counter", more="")
INSTRUMENT = '[[instruments]]\nname = "a"\n'

# What is written, the key that the error names, the value, and something of what is allowed.
MISTAKES = [
    ("familes = []", "familes", "[]", "did you mean 'families'"),
    (
        "[[families]]\nname = 'x'\ntype = 'guage'\nhelp = 'x'\nsource = { instrument = 'x' }",
        "families['x'].type",
        "'guage'",
        "did you mean 'gauge'",
    ),
    ("extend = 'semconv'", "extend", "'semconv'", "did you mean 'extends'"),
    ("part = []", "part", "[]", "did you mean 'parts'"),
    ("name = ''", "name", "''", "not empty"),
    ("description = 3", "description", "3", "string"),
    ("namespace = 3", "namespace", "3", "string"),
    ("fallback = 'yes'", "fallback", "'yes'", "true or false"),
    ("extends = 'semcov'", "extends", "'semcov'", "'semconv', 'tachikoma', one of the parts 'databases', "),
    ("extends = 3", "extends", "3", "'llmdevops', 'research_api', 'semconv'"),
    ("extends = ''", "extends", "''", "'llmdevops', 'research_api', 'semconv'"),
    ("labels = 3", "labels", "3", "a table"),
    ("options = 3", "options", "3", "a table"),
    ("options = { profile = 'semconv' }", "options.profile", "'semconv'", "extends"),
    ("dashboard = 3", "dashboard", "3", "a table"),
    ("families = 3", "families", "3", "a list of tables"),
    ("families = [3]", "families[0]", "3", "a table"),
    ("extends = 'llmdevops'\nlabels = [3]", "labels", "[3]", "a table"),
    ("extends = 'llmdevops'\nfamilies = [3]", "families[", "3", "a table"),
    ("[labels]\nm = 3", "labels.m", "3", "a table"),
    ("[labels.m]\ndescription = 'a'", "labels.m", "'description'", "either 'attributes' or 'compute'"),
    ("[labels.m]\nattributes = ['a']\ncompute = 'b'", "labels.m", "'compute'", "either"),
    ("[labels.m]\nattributes = [3]", "labels.m.attributes", "3", "not empty"),
    ("[labels.m]\nattribute = ['a']", "labels.m.attribute", "['a']", "did you mean 'attributes'"),
    ("[labels.m]\nattributes = ['a']\nrules = 'modelname'", "labels.m.rules", "'modelname'", "'model_name'"),
    ("[labels.m]\ncompute = { outcom = true }", "labels.m.compute", "outcom", "an attribute key"),
    ("[labels.le]\nattributes = ['a']", "labels.le", "le", "reserved"),
    ("[buckets]\na = [3, 2]", "buckets.a", "[3, 2]", "greater than the one before"),
    ("[sources]\na = []", "sources.a", "[]", "'instrument'"),
    ("[[sources.a]]\ntype = 'histogram'", "sources.a", "'histogram'", "'instrument' is required"),
    ("[[sources.a]]\ninstrument = 'x'\nmeters = 'a'", "sources.a.meters", "'a'", "did you mean 'meter'"),
    (
        '[[families]]\ntype = "counter"\nhelp = "x"\nsource = "x"',
        "families[0]",
        "'counter'",
        "'name' is required",
    ),
    (GAUGE + "label = ['a']", "families['a'].label", "['a']", "did you mean 'labels'"),
    (FAMILY.format(type="countr", more=""), "families['a'].type", "'countr'", "'counter', 'gauge'"),
    (GAUGE + "take = 'count'", "families['a'].type", "'gauge'", "'counter', which its sources make"),
    (GAUGE + "buckets = [1]", "families['a'].type", "'gauge'", "'histogram'"),
    (GAUGE + HISTOGRAM, "families['a'].type", "'histogram'", "'gauge', as the other family"),
    (GAUGE.replace('{ instrument = "x" }', "'x'"), "families['a'].source", "'x'", "profile's sources"),
    (GAUGE.replace('{ instrument = "x" }', "[]"), "families['a'].source", "[]", "a source, or several"),
    (
        GAUGE + "labels = ['modl']\n[labels.model]\nattributes = ['m']",
        "families['a'].labels",
        "'modl'",
        "'model'",
    ),
    (HISTOGRAM + "buckets = 'x'", "families['a'].buckets", "'x'", "profile's buckets"),
    (HISTOGRAM + "buckets = [2, 1]", "families['a'].buckets", "[2, 1]", "greater than"),
    (COUNTER + "take = 'cnt'", "families['a'].take", "'cnt'", "'count'"),
    (COUNTER + "present = 'newest'", "families['a'].present", "'newest'", "'latest'"),
    (COUNTER + "max_series = 0", "families['a'].max_series", "0", "at least 1"),
    (
        FAMILY.format(type="counter", more=", where = { a = 'b' }") + "where = { a = 'c' }",
        "families['a'].where['a']",
        "'c'",
        "no filter that its source has",
    ),
    (FAMILY.format(type="histogram", more=", scale = 0.1"), "families['a'].unit", "None", "has a 'scale'"),
    (INSTRUMENT, "instruments['a']", "'a'", "'type' is required"),
    (INSTRUMENT + "type = 'meter'", "instruments['a'].type", "'meter'", "'up_down_counter'"),
    (INSTRUMENT + "type = 'counter'\nbuckets = [1]", "instruments['a'].buckets", "[1]", "of a histogram"),
    (
        INSTRUMENT + "type = 'histogram'\nbuckets = 'b'",
        "instruments['a'].buckets: ",
        "'b'",
        "profile's buckets",
    ),
    (INSTRUMENT + "type = 'histogram'\nattributes = ['']", "instruments['a'].attributes", "''", "not empty"),
    ("[[instruments]]\nname = '1 a'\ntype = 'counter'", "instruments['1 a'].name", "'1 a'", "a letter"),
    (
        f"{INSTRUMENT}type = 'counter'\n{INSTRUMENT}type = 'gauge'",
        "instruments",
        "'a'",
        "one instrument of each",
    ),
]


@pytest.mark.parametrize(("text", "key", "value", "allowed"), MISTAKES, ids=[m[1] for m in MISTAKES])
def test_a_mistake_is_named(write: Write, text: str, key: str, value: str, allowed: str) -> None:
    """An error has the file, the key, the value, and what is allowed; nothing is running after it."""
    path = write(text)
    with pytest.raises(ConfigurationError) as caught:
        start(profile=str(path), port=0)
    message = str(caught.value)
    assert f"{path}: {key}" in message
    before, _, after = message.partition(" is not allowed, expected ")
    assert value in before
    assert allowed in after


@pytest.mark.parametrize(
    ("option", "allowed"), [("max_series = 0", "at least 1"), ("max_seris = 3", "did you mean 'max_series'")]
)
def test_a_mistake_in_the_options_of_a_profile_is_named(write: Write, option: str, allowed: str) -> None:
    """Options are checked as those of any file; the error names the profile's."""
    path = write(f"[options]\n{option}")
    with pytest.raises(ConfigurationError, match=rf"{path}: options\.max_seri\w+: \d .*{allowed}"):
        start(profile=str(path), port=0)


@pytest.mark.parametrize("kind", ["families", "instruments"])
def test_a_table_without_a_name_has_its_number_in_its_own_file(write: Write, kind: str) -> None:
    """Whatever the profile has that it extends: the first one of the file is number 0."""
    path = write(f'extends = "llmdevops"\n[[{kind}]]\ntype = "b"')
    with pytest.raises(
        ConfigurationError, match=rf"{path}: {kind}\[0\]: .*'b'.*expected a table with a name"
    ):
        load_profile(path)


def test_a_file_that_is_no_toml_is_named(write: Write) -> None:
    """The error says where it stops being TOML."""
    with pytest.raises(
        ConfigurationError, match=r"jobs\.toml: line 2, column \d+: 'b c' is not allowed, expected TOML"
    ):
        load_profile(write("a = 1\nb c\nd = 2"))


@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.sampled_from(
            [
                "name",
                "namespace",
                "fallback",
                "labels",
                "buckets",
                "sources",
                "defaults",
                "families",
                "instruments",
                "options",
            ]
        ),
        st.recursive(
            st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "s", "counter"]),
            lambda inner: (
                st.lists(inner, max_size=2)
                | st.dictionaries(
                    st.sampled_from(["a", "name", "type", "help", "source", "instrument"]), inner, max_size=3
                )
            ),
            max_leaves=6,
        ),
        max_size=4,
    )
)
@example({"name": "a", "defaults": [], "families": [{}]})  # a list is no table
def test_whatever_a_file_holds_is_a_profile_or_one_error(values: dict[str, Any]) -> None:
    """No content ends in anything but a profile or a ConfigurationError."""
    with suppress(ConfigurationError):
        assert isinstance(read_profile({"name": "x", **values}, name="x"), Profile)


# --- its own instruments ------------------------------------------------------------------------------------


@pytest.fixture
def recorded() -> Iterator[Callable[[], dict[str, Any]]]:
    """A provider with a reader of the SDK's; gives its metrics by name."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)

    def metrics() -> dict[str, Any]:
        data = reader.get_metrics_data()
        scopes = [] if data is None else data.resource_metrics[0].scope_metrics
        return {metric.name: metric for scope in scopes for metric in scope.metrics}

    metrics.meter = provider.get_meter("app")  # type: ignore[attr-defined]
    yield metrics
    provider.shutdown()


def test_instruments_are_made_as_the_profile_says(write: Write, recorded: Any) -> None:
    """Name, unit, description and buckets; found with and without the namespace."""
    instruments = load_profile(write(JOBS)).instruments(recorded.meter)
    assert list(instruments) == ["acme.job.duration", "acme.job.queue"]
    assert len(instruments) == 2
    assert instruments["job.duration"] is instruments["acme.job.duration"]
    instruments["job.duration"].record(30, {"job.kind": "nightly", "error.type": "ValueError"})
    instruments["job.queue"].add(3, {"job.kind": "nightly"})
    instruments["job.queue"].add(-1, {"job.kind": "nightly"})
    found = recorded()
    duration, queue = found["acme.job.duration"], found["acme.job.queue"]
    assert (duration.unit, duration.description) == ("s", "How long a job takes")
    (point,) = duration.data.data_points
    assert list(point.explicit_bounds) == [1, 60, 3600]
    assert point.attributes == {"job.kind": "nightly", "error.type": "ValueError"}
    (point,) = queue.data.data_points
    assert (queue.unit, point.value, queue.data.is_monotonic) == ("{job}", 2, False)
    with pytest.raises(
        KeyError, match=r"none of 'acme\.job\.duration', 'acme\.job\.queue' \(did you mean 'job\.d"
    ):
        instruments["job.duratoin"]


def test_a_source_may_be_an_instrument_of_the_profile_s_own(write: Write) -> None:
    """By the name that it has in the file, which is not its full one; whoever records that is seen, too."""
    path = write(JOBS)
    with running(profile=path) as bridge:
        instruments = load_profile(path).instruments(bridge.meter_provider.get_meter("app"))
        instruments["job.duration"].record(30, {"job.kind": "hourly"})
        record_jobs(bridge, 30)
        families = families_of(bridge)
    totals = {sample.labels["kind"]: sample.value for sample in families["acme_jobs"].samples}
    assert totals == {"hourly": 1, "nightly": 1}
    with running(profile=write('extends = "llmdevops"\nnamespace = "shop"')) as bridge:
        profile = load_profile(write('extends = "llmdevops"\nnamespace = "shop"'))
        instruments = profile.instruments(bridge.meter_provider.get_meter("app"))
        for name in instruments:
            instruments[name].record(1)
        families = families_of(bridge)
    assert {"shop_agent_steps", "shop_agent_active", "shop_llm_model_info"} <= families.keys()


@pytest.mark.parametrize("profile", BUILT_IN)
def test_every_instrument_of_a_built_in_profile_records(profile: str, recorded: Any) -> None:
    """Each takes all of its attributes, and nothing is logged about it."""
    loaded = load_profile(profile)
    instruments = loaded.instruments(recorded.meter, strict=True)
    for spec in loaded.own_instruments:
        instruments[spec.name].record(1, dict.fromkeys(spec.attributes, "x"))
        assert spec.description
    assert recorded().keys() == set(instruments)


def test_attributes_that_the_profile_does_not_know_are_left_out(
    write: Write, recorded: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The value is recorded without them, and each is logged once; some at most, whatever comes."""
    queue = load_profile(write(JOBS)).instruments(recorded.meter)["job.queue"]
    for _ in range(3):
        queue.add(1, {"job.kind": "nightly", "user": "u1"})
    queue.add(1)
    (message,) = [record.getMessage() for record in caplog.records]
    assert (
        message
        == "acme.job.queue: attribute: 'user' is not allowed, expected one of 'job.kind'; leaving it out"
    )
    for number in range(100):
        queue.add(1, {f"attribute {number}": "x"})
    assert len(caplog.records) == 10
    values = {tuple(p.attributes.items()): p.value for p in recorded()["acme.job.queue"].data.data_points}
    assert values == {(("job.kind", "nightly"),): 3, (): 101}


def test_strict_instruments_raise(write: Write, recorded: Any) -> None:
    """In tests a wrong attribute is an error, and then nothing is recorded."""
    instruments = load_profile(write(JOBS)).instruments(recorded.meter, strict=True)
    with pytest.raises(ConfigurationError, match=r"acme\.job\.queue: attribute: 'user' .*'job\.kind'"):
        instruments["job.queue"].add(1, {"user": "u1"})
    assert recorded() == {}


def test_to_set_what_adds_up_is_an_error(write: Write, recorded: Any) -> None:
    """An instrument has the methods of its type in OpenTelemetry; another would do another thing."""
    instruments = load_profile(write(JOBS)).instruments(recorded.meter)
    with pytest.raises(AttributeError, match=r"job\.queue: its type up_down_counter has 'add', not 'set'"):
        instruments["job.queue"].set(3)
    with pytest.raises(AttributeError, match="histogram has 'record', not 'add'"):
        instruments["job.duration"].add(3)
    assert recorded() == {}


LLMDEVOPS = load_profile("llmdevops")


@settings(max_examples=examples(40))
@given(st.dictionaries(st.sampled_from(["agent_type", "step_type", "user", ""]), st.text(max_size=5)))
def test_only_known_attributes_are_recorded(attributes: dict[str, str]) -> None:
    """Whatever is given, the point has those that the profile knows, and is there."""
    logging.getLogger("otel_prom_bridge").setLevel(logging.ERROR)
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    step = LLMDEVOPS.instruments(provider.get_meter("app"))["agent.step.duration"]
    step.record(1, attributes)
    data = reader.get_metrics_data()
    assert data is not None
    (point,) = data.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points
    assert point.attributes == {k: v for k, v in attributes.items() if k in ("agent_type", "step_type")}
    provider.shutdown()


@pytest.fixture(autouse=True)
def logged() -> Iterator[None]:
    """The level of the package's log is as it was after each test."""
    level = logging.getLogger("otel_prom_bridge").level
    yield
    logging.getLogger("otel_prom_bridge").setLevel(level)


# --- the built-in ones --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["llmdevops", "semconv"])
def test_buckets_are_those_of_the_conventions(name: str) -> None:
    """Families of the metrics of the conventions have the buckets that these recommend."""
    checked = set()
    for family in load_profile(name).families:
        if family.type != "histogram":
            continue
        for source in family.sources:
            metric = BY_NAME.get(source.instrument)
            if metric is not None and not _is_elsewhere(source.instrument, family.name):
                assert family.buckets == pytest.approx(metric.buckets), (family.name, metric.name)
                checked.add(metric.name)
    if name == "semconv":
        assert checked == set(BY_NAME)
    assert len(checked) > 5


def _is_elsewhere(instrument: str, family: str) -> bool:
    # The first token of OpenLLMetry is a first chunk, and remote agents are agents.
    return (instrument, "agent" in family) in {
        ("gen_ai.server.time_to_first_token", False),
        ("gen_ai.client.operation.duration", True),
    } and "first_token" not in family


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_histogram_has_buckets(name: str) -> None:
    """None is left to the SDK's defaults, which tell nothing of seconds."""
    for family in load_profile(name).families:
        if family.type == "histogram":
            assert isinstance(family.buckets, tuple)
            assert all(map(math.isfinite, family.buckets))


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_label_of_a_dialect_is_bounded(name: str) -> None:
    """The table of cardinality: each label has a largest number of values, and says what it is."""
    labels = load_profile(name).labels
    most = {key: label.max_values for key, label in labels.items()}
    assert all(value is not None and value <= 101 for value in most.values()), most
    assert all(label.description and label.attributes for label in labels.values())


def test_the_labels_of_llmdevops_have_the_bounds_of_its_document() -> None:
    """The numbers of its table."""
    most = {key: label.max_values for key, label in load_profile("llmdevops").labels.items()}
    assert most | {"model": 51, "agent_type": 101, "status": 2, "http_status": 6, "method": 10} == most
    assert (most["error_type"] or 99) <= 20


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("present", ["current", "latest", "both"])
def test_views_of_a_built_in_profile_are_no_contradiction(name: str, present: Any) -> None:
    """A policy of them can be made, and each family has a help text that says something."""
    profile = load_profile(name)
    with running(profile=profile, present=present) as bridge:
        assert bridge.reader.conflicts() == []
    assert profile.description
    assert all(family.help and family.views for family in profile.shown(present))
    names = [family.name for family in profile.shown(present)]
    assert len(names) == len(set(names))


def test_a_loaded_profile_may_be_changed_in_python() -> None:
    """It is data: a copy with other options is a profile."""
    profile = replace(load_profile("llmdevops"), options={"max_series": 20})
    with running(profile=profile) as bridge:
        assert bridge.reader.policy.max_series_per_metric == 2000

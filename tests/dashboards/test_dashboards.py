"""Dashboards: what a profile says becomes JSON for Grafana, and what cannot work is said before that."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard as GrafanaDashboard

from otel_prom_bridge.cli import main
from otel_prom_bridge.dashboards import files_of, read_dashboard
from otel_prom_bridge.dashboards.metric_names import names_in
from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.profiles import BUILT_IN, Profile, load_profile

PANEL: dict[str, Any] = {"title": "Up", "type": "stat", "queries": [{"expr": "up"}]}
ALERT: dict[str, Any] = {
    "alert": "Down",
    "expr": "up == 0",
    "for": "5m",
    "severity": "critical",
    "summary": "It is down.",
    "description": "Start it.",
}


def profile(**dashboard: Any) -> Profile:
    """A profile without families that says this of its dashboard."""
    return Profile(name="mine", dashboard={"title": "Mine", "panels": [PANEL], **dashboard})


def grafana(profile: Profile) -> dict[str, Any]:
    """Grafana's JSON of a profile's dashboard."""
    found: dict[str, Any] = json.loads(next(iter(files_of(profile).values())))
    return found


@pytest.mark.parametrize("name", BUILT_IN)
def test_grafana_takes_it(name: str) -> None:
    """Grafana's own library reads the JSON, and writes the same again; it only adds defaults."""
    register_default_plugins()
    made = grafana(load_profile(name))
    read = json.loads(json.dumps(GrafanaDashboard.from_json(made), cls=JSONEncoder))
    assert list(lost(made, read)) == []


def lost(made: Any, read: Any, where: str = "") -> Iterator[str]:
    """What is in the first, and not in the second."""
    if isinstance(made, dict) and isinstance(read, dict):
        for key, value in made.items():
            yield from lost(value, read.get(key), f"{where}.{key}")
    elif isinstance(made, list) and isinstance(read, list) and len(made) == len(read):
        for number, pair in enumerate(zip(made, read, strict=True)):
            yield from lost(*pair, f"{where}[{number}]")
    elif made != read:
        yield f"{where}: {made!r}, not {read!r}"


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_fields_that_grafana_asks_for(name: str) -> None:
    """Ids differ, panels are on the screen and do not overlap, and each asks the chosen data source."""
    made = grafana(load_profile(name))
    assert made["schemaVersion"] >= 36
    assert made["uid"] == name
    (source, *variables) = made["templating"]["list"]
    assert (source["name"], source["type"], source["query"]) == ("datasource", "datasource", "prometheus")
    assert {item["type"] for item in variables} == {"query"}
    ids = [panel["id"] for panel in made["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in made["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken
        taken |= cells
    for panel in (panel for panel in made["panels"] if panel["type"] != "row"):
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert [target["refId"] for target in panel["targets"]] == list("ABC")[: len(panel["targets"])]


@pytest.mark.parametrize("name", BUILT_IN)
def test_variables_are_those_that_there_are(name: str) -> None:
    """Queries use no variable but the dashboard's and Grafana's own, and each of the dashboard's is used."""
    dashboard = read_dashboard(load_profile(name))
    known = {variable.name for variable in dashboard.variables}
    used = {
        word.split("}")[0].split('"')[0].split("]")[0]
        for panel in dashboard.panels
        for query in panel.queries
        for word in query.expr.split("$")[1:]
    }
    assert used - {"__rate_interval", "__range"} == known


def test_heat_maps_ask_for_buckets_and_exemplars() -> None:
    """The latency panel is a heat map of ready-made buckets, with exemplars."""
    made = grafana(load_profile("llmdevops"))
    (panel,) = (panel for panel in made["panels"] if panel["type"] == "heatmap")
    (target,) = panel["targets"]
    assert (target["format"], target["exemplar"], target["legendFormat"]) == ("heatmap", True, "{{le}}")
    assert panel["options"]["calculate"] is False


def test_tables_ask_once_and_gauges_have_an_end() -> None:
    """A table asks for an instant; a gauge has its scale and colours, and ends with red."""
    made = grafana(load_profile("llmdevops"))
    tables = [panel for panel in made["panels"] if panel["type"] == "table"]
    assert all(t["instant"] and t["format"] == "table" for panel in tables for t in panel["targets"])
    (gauge,) = (panel for panel in made["panels"] if panel["type"] == "gauge")
    defaults = gauge["fieldConfig"]["defaults"]
    assert (defaults["min"], defaults["max"]) == (0, 1)
    assert [step["color"] for step in defaults["thresholds"]["steps"]] == ["green", "orange", "red"]


@pytest.mark.parametrize("name", [name for name in BUILT_IN if name != "semconv"])
def test_every_family_is_to_be_seen(name: str) -> None:
    """Each family of a dialect, and each self-metric that has a name there, is in some panel."""
    dialect = load_profile(name)
    dashboard = read_dashboard(dialect)
    names = {word for _, expression, _ in dashboard.expressions() for word in names_in(expression)}
    own: Any = dialect.options.get("self_metric_names", {})
    for family in [*(family.name for family in dialect.families), *own.values()]:
        assert {family, f"{family}_bucket", f"{family}_sum"} & names, family


def test_it_is_the_same_every_time(tmp_path: Path) -> None:
    """Another process writes the same bytes, whatever order its sets have."""
    command = [sys.executable, "-W", "error", "-m", "otel_prom_bridge", "dashboards"]
    # The hash of a text is another one there than here, unless this process has the same seed.
    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    subprocess.run(
        [*command, "--profile", "llmdevops", "--out", str(tmp_path)],
        env={"PYTHONHASHSEED": seed},
        check=True,
        timeout=30,
        capture_output=True,
    )
    files = files_of(load_profile("llmdevops"))
    assert files.keys() >= {"llmdevops.json", "llmdevops.rules.yml"}
    for name, text in files.items():
        assert (tmp_path / name).read_text() == text


def test_a_profile_with_another_namespace_gets_its_names(tmp_path: Path) -> None:
    """A file that extends llmdevops with a namespace of its own has panels and rules with that."""
    file = tmp_path / "acme.toml"
    file.write_text('extends = "llmdevops"\nnamespace = "acme"\n[dashboard]\ntitle = "Acme"\n')
    files = files_of(load_profile(file))
    assert list(files) == ["acme.json", "acme.rules.yml"]
    expressions = [expression for _, expression, _ in read_dashboard(load_profile(file)).expressions()]
    assert any("acme_llm_requests_total" in expression for expression in expressions)
    assert "service_model:acme_llm_requests:rate5m" in files["acme.rules.yml"]
    # The self-metrics' names are an option, which does not follow the namespace.
    assert {n for e in expressions for n in names_in(e) if "llmdevops" in n} == {
        "llmdevops_metrics_series_count",
        "llmdevops_metrics_cardinality_overflow_total",
        "llmdevops_metrics_scrape_duration_seconds_bucket",
        "llmdevops_metrics_cache_size_bytes",
    }


def test_a_profile_says_what_it_changes_of_a_dashboard(tmp_path: Path) -> None:
    """An alert keeps what is not changed, a new panel comes at the end of its row, one may move."""
    before = read_dashboard(load_profile("llmdevops"))
    file = tmp_path / "acme.toml"
    file.write_text(
        """
        extends = "llmdevops"
        [[dashboard.alerts]]
        alert = "LLMCostHigh"
        severity = "critical"
        [[dashboard.alerts]]
        alert = "Always"
        expr = "vector(1)"
        severity = "info"
        summary = "It is so"
        description = "It always is."
        [[dashboard.panels]]
        title = "Ours"
        row = "Traffic"
        type = "stat"
        queries = [{ expr = "vector(1)" }]
        [[dashboard.panels]]
        title = "Cost"
        row = "Now"
        width = 3
        [[dashboard.panels]]
        title = "Agent executions per second"
        row = "Traffic"
        """
    )
    after = read_dashboard(load_profile(file))
    changed = {alert.alert: alert for alert in after.alerts}
    assert list(changed) == [alert.alert for alert in before.alerts] + ["Always"]
    for alert in before.alerts:
        severity = "critical" if alert.alert == "LLMCostHigh" else alert.severity
        assert changed[alert.alert] == replace(alert, severity=severity)

    titles = {panel.title: panel for panel in before.panels}
    moved = replace(titles.pop("Agent executions per second"), row="Traffic")
    titles["Cost"] = replace(titles["Cost"], width=3)
    last = max(at for at, panel in enumerate(titles.values()) if panel.row == "Traffic") + 1
    rest = list(titles.values())
    assert after.panels[: last + 2] == (*rest[:last], after.panels[last], moved)
    assert after.panels[last].title == "Ours"
    assert after.panels[last + 2 :] == tuple(rest[last:])
    assert after.recording_rules == before.recording_rules


def test_a_change_that_may_mean_several_is_refused(tmp_path: Path) -> None:
    """Alerts of one name and several severities: nobody could tell which one is to change."""
    base, file = tmp_path / "base.toml", tmp_path / "mine.toml"
    alert = '[[dashboard.alerts]]\nalert = "Slow"\nexpr = "x > 1"\nseverity = "{}"\nsummary = "s"\n'
    twice = [alert.format(severity) + 'description = "d"\n' for severity in ("warning", "critical")]
    base.write_text('namespace = "x"\n[dashboard]\ntitle = "X"\n' + "".join(twice))
    file.write_text('extends = "base.toml"\n[[dashboard.alerts]]\nalert = "Slow"\nexpr = "x > 2"\n')
    with pytest.raises(ConfigurationError, match=r"mine\.toml: dashboard\.alerts\[alert\]: 'Slow'"):
        load_profile(file)


def test_an_empty_list_takes_away_what_a_dashboard_had(tmp_path: Path) -> None:
    """Rules that nobody wants go as a whole."""
    file = tmp_path / "quiet.toml"
    file.write_text('extends = "llmdevops"\n[dashboard]\nalerts = []\n')
    dashboard = read_dashboard(load_profile(file))
    assert not dashboard.alerts
    assert dashboard.recording_rules == read_dashboard(load_profile("llmdevops")).recording_rules


def test_matchers_of_names_get_the_names_of_another_namespace(tmp_path: Path) -> None:
    """What a selector asks of `__name__` is renamed, if that is there; other strings are as they were."""
    file = tmp_path / "acme.toml"
    file.write_text(
        'extends = "llmdevops"\nnamespace = "acme"\n[[dashboard.panels]]\ntitle = "Up"\ntype = "stat"\n'
        "[[dashboard.panels.queries]]\n"
        """expr = 'a{__name__ =~ "llmdevops_llm_(a|requests)_total|llmdevops_agent_active", b="x"}'\n"""
        "[[dashboard.panels.queries]]\n"
        """expr = '{__name__="llmdevops_metrics_series_count", __name__!="llmdevops_x", b="llmdevops_x"}'\n"""
    )
    dashboard = read_dashboard(load_profile(file))
    assert [variable.query for variable in dashboard.variables] == [
        "label_values(otel_prom_bridge_series, job)",
        'label_values({__name__=~"acme_(llm_requests|llm_errors|llm_tokens|agent_executions|http_requests)_total"},'
        " service)",
        'label_values({__name__=~"acme_llm_(requests|errors|tokens)_total", service=~"$service"}, model)',
    ]
    (up,) = (panel for panel in dashboard.panels if panel.title == "Up")
    assert [query.expr for query in up.queries] == [
        'a{__name__ =~ "acme_llm_(a|requests)_total|acme_agent_active", b="x"}',
        # The self-metrics' names are an option, which does not follow the namespace.
        '{__name__="llmdevops_metrics_series_count", __name__!="llmdevops_x", b="llmdevops_x"}',
    ]


@pytest.mark.parametrize(
    ("pattern", "known"),
    [
        ("llmdevops_llm_.*", True),
        ("llmdevops_$kind", True),  # whatever Grafana makes of it
        (r"llmdevops_llm\\wrequests_total", True),
        (r"llmdevops_\\p{Greek}", True),  # Prometheus reads it, and Python does not
        ("up|other_metric", True),
        ("llmdevops_llm_request_total", False),
        ("llmdevops_(a|b)_total", False),
    ],
)
def test_a_matcher_that_no_name_has_is_an_error(pattern: str, known: bool) -> None:
    """A selector by names that the profile does not have could never show anything."""
    llmdevops = load_profile("llmdevops")
    panel = {**PANEL, "queries": [{"expr": f'count({{__name__=~"{pattern}"}})'}]}
    changed = replace(llmdevops, dashboard={"title": "x", "namespace": "llmdevops", "panels": [panel]})
    if known:
        assert read_dashboard(changed).panels
        return
    with pytest.raises(ConfigurationError, match="names of metrics of the profile") as caught:
        read_dashboard(changed)
    assert caught.value.key == "profile 'llmdevops': dashboard.panels['Up'].queries[0].expr"
    assert caught.value.value == pattern


def test_names_in_an_expression() -> None:
    """Strings are no names, whatever stands in them."""
    expression = r'sum by (le) (rate(a_bucket{x=~"b_c\"d_e", y=\'f\', z=`g`}[5m])) / s:b:c'.replace(
        "\\'", "'"
    )
    assert {"a_bucket", "s:b:c"} <= set(names_in(expression))
    assert {"b_c", "d_e", "f", "g"}.isdisjoint(names_in(expression))


def test_brackets_in_strings_and_comments_mean_nothing() -> None:
    """What PromQL takes is taken."""
    expression = """sum(a{b=~"(", c='[', d=`{\\`, e="\\"}"}[5m]) # ) and don't"""
    (panel,) = read_dashboard(profile(panels=[{**PANEL, "queries": [{"expr": expression}]}])).panels
    assert panel.queries[0].expr == expression


@pytest.mark.parametrize(
    ("dashboard", "key", "part"),
    [
        ({"titel": "x"}, ".titel", "did you mean 'title'"),
        ({"title": ""}, ".title", "a string that is not empty"),
        ({"uid": "a b"}, ".uid", "40 letters"),
        ({"refresh": "soon"}, ".refresh", "a duration such as '30s'"),
        ({"tags": "x"}, ".tags", "a list of strings"),
        ({"panels": []}, ".panels", "a list of tables"),
        ({"panels": ["x"]}, ".panels[0]", "a table"),
        ({"panels": [{**PANEL, "type": "pie"}]}, ".panels['Up'].type", "'timeseries'"),
        ({"panels": [{**PANEL, "width": 25}]}, ".panels['Up'].width", "from 1 to 24"),
        ({"panels": [{**PANEL, "exemplars": "yes"}]}, ".panels['Up'].exemplars", "true or false"),
        ({"panels": [{**PANEL, "queries": []}]}, ".panels['Up'].queries", "a list of tables"),
        ({"panels": [{**PANEL, "queries": ["up"]}]}, ".panels['Up'].queries[0]", "a table"),
        ({"panels": [{**PANEL, "queries": [{}]}]}, ".panels['Up'].queries[0]", "'expr' is required"),
        ({"panels": [{**PANEL, "queries": [{"expr": ""}]}]}, ".panels['Up'].queries[0].expr", "brackets"),
        ({"panels": [{**PANEL, "queries": [{"expr": "sum(up"}]}]}, ".panels['Up'].queries[0].expr", "closed"),
        ({"recording_rules": [{"record": "a", "expr": "up)"}]}, ".recording_rules['a'].expr", "closed"),
        ({"alerts": [{**ALERT, "expr": 'up{a="b}'}]}, ".alerts['Down'].expr", "quotes are closed"),
        ({"variables": [{"name": "a", "query": "f(x]"}]}, ".variables['a'].query", "closed"),
        ({"variables": [{"name": "a b", "query": "x"}]}, ".variables['a b'].name", "name of a variable"),
        ({"recording_rules": [{"record": "a-b", "expr": "up"}]}, ".recording_rules['a-b'].record", "a name"),
        ({"alerts": ["x"]}, ".alerts[0]", "a table"),
        ({"alerts": [{**ALERT, "for": "long"}]}, ".alerts['Down'].for", "a duration"),
        ({"alerts": [{**ALERT, "hold": "5m"}]}, ".alerts['Down'].hold", "the key 'for'"),
        ({"alerts": [{**ALERT, "severity": "bad"}]}, ".alerts['Down'].severity", "'critical'"),
        ({"alerts": [{**ALERT, "labels": {"a b": "c"}}]}, ".alerts['Down'].labels", "names of labels"),
        ({"alerts": [{**ALERT, "labels": 1}]}, ".alerts['Down'].labels", "names of labels"),
        ({"alerts": [{**ALERT, "expr": "a:b > 1"}]}, ".alerts['Down'].expr", "metrics of the profile"),
    ],
)
def test_what_cannot_work_is_said(dashboard: dict[str, Any], key: str, part: str) -> None:
    """The error names the key, by titles where there are any, and says what is allowed."""
    with pytest.raises(ConfigurationError) as caught:
        files_of(profile(**dashboard))
    assert caught.value.key == f"profile 'mine': dashboard{key}"
    assert part in str(caught.value)


def test_a_name_that_nobody_exposes_is_an_error() -> None:
    """A panel that asks for a metric that the profile does not have is refused, with the nearest name."""
    llmdevops = load_profile("llmdevops")
    panel = {**PANEL, "queries": [{"expr": "sum(rate(llmdevops_llm_request_total[5m]))"}]}
    dashboard = {"title": "x", "namespace": "llmdevops", "panels": [panel]}
    with pytest.raises(ConfigurationError, match="did you mean 'llmdevops_llm_requests_total'") as caught:
        files_of(replace(llmdevops, dashboard=dashboard))
    assert caught.value.key == "profile 'llmdevops': dashboard.panels['Up'].queries[0].expr"


def test_a_mistake_in_a_dashboard_of_a_file_names_the_file(tmp_path: Path) -> None:
    """There may be several files with the same name, so the error has the path."""
    path = tmp_path / "mine.toml"
    path.write_text("[dashboard]\ntitle = 3\n")
    with pytest.raises(ConfigurationError, match=rf"^{path}: dashboard\.title: 3 is not allowed"):
        files_of(load_profile(path))


def test_a_profile_without_a_dashboard_has_none() -> None:
    """It is an error to ask for one."""
    with pytest.raises(ConfigurationError, match="'title' and 'panels'"):
        files_of(Profile(name="mine"))


def test_rules_are_only_there_if_the_profile_has_some() -> None:
    """Without rules there are no groups; labels of a rule are written."""
    assert files_of(profile())["mine.rules.yml"].endswith("groups: []\n")
    rules = [{"record": "a:b", "expr": "up", "labels": {"team": "x"}}]
    assert "team: x" in files_of(profile(recording_rules=rules))["mine.rules.yml"]


def test_many_thresholds_end_with_red() -> None:
    """There are more thresholds than colours: the last ones are red."""
    panel = {**PANEL, "thresholds": [1, 2, 3, 4]}
    (made,) = grafana(profile(panels=[panel]))["panels"]
    steps = made["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert [step["color"] for step in steps] == ["green", "yellow", "orange", "red", "red"]


@pytest.mark.parametrize("kind", ["stat", "gauge"])
def test_numbers_are_those_of_now(kind: str) -> None:
    """A number asks for an instant: what ended is not shown as if it went on."""
    (made,) = grafana(profile(panels=[{**PANEL, "type": kind}]))["panels"]
    assert [(target["instant"], target["range"]) for target in made["targets"]] == [(True, False)]


def test_no_thresholds_are_none_of_grafanas_own() -> None:
    """A panel without thresholds is green throughout; Grafana would make it red from 80."""
    (made,) = grafana(profile())["panels"]
    steps = made["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert steps == [{"color": "green", "value": None}]


@pytest.mark.parametrize(("thresholds", "mode"), [([1], "dashed"), ([], "off")])
def test_thresholds_of_a_time_series_are_to_be_seen(thresholds: list[float], mode: str) -> None:
    """They are lines, as Grafana shows them in no other way."""
    panel = {**PANEL, "type": "timeseries", "thresholds": thresholds}
    (made,) = grafana(profile(panels=[panel]))["panels"]
    assert made["fieldConfig"]["defaults"]["custom"]["thresholdsStyle"]["mode"] == mode


def test_a_panel_that_does_not_fit_goes_below() -> None:
    """Three panels of half the screen: the third one is on a line of its own."""
    panels = [{**PANEL, "width": 12, "height": height} for height in (4, 6, 4)]
    made = grafana(profile(panels=panels))["panels"]
    assert [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in made] == [(0, 0), (12, 0), (0, 6)]


def test_the_command_writes_two_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It makes the folder, names what it wrote, and writes over what was there."""
    folder = tmp_path / "a" / "b"
    for _ in range(2):
        assert main(["dashboards", "--profile", "semconv", "--out", str(folder)]) == 0
        assert capsys.readouterr().out.splitlines() == [
            str(folder / "semconv.json"),
            str(folder / "semconv.rules.yml"),
        ]
    assert grafana(load_profile("semconv")) == json.loads((folder / "semconv.json").read_text())


def test_the_commands_errors_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A profile that does not exist, and a folder that cannot be written to."""
    assert main(["dashboards", "--profile", "nope"]) == 2
    assert "one of the profiles 'incident_manager', 'llmdevops', " in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main(["dashboards", "--profile", "semconv", "--out", str(tmp_path / "file")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("otel-prom-bridge: cannot write ")


@pytest.mark.parametrize("package", ["grafana_foundation_sdk", "yaml"])
def test_without_the_extra_it_says_what_to_install(package: str) -> None:
    """Where a package of the extra is missing, only this command fails, and says how to get it."""
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from otel_prom_bridge.cli import main\n"
        "assert main(['profile', 'semconv']) == 0\n"
        "sys.exit(main(['dashboards', '--profile', 'semconv']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 2
    assert "pip install grafana-foundation-sdk PyYAML" in done.stderr

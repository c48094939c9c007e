"""The checks of an exposition, compared with promtool, and on expositions that nobody here wrote."""

from __future__ import annotations

import json
import random
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from promtool import agrees
from servers import free_port, get, newer, prometheus, victoria_metrics, wait_for

from otel_prom_bridge.audit import Limits, check
from otel_prom_bridge.audit.bucket_advice import better_bounds
from otel_prom_bridge.cli import main
from otel_prom_bridge.snapshots import Snapshot

Capture = pytest.CaptureFixture[str]
TEXT = "text/plain; version=0.0.4"


def rules(body: str, content_type: str = TEXT, **limits: int) -> set[tuple[str, str]]:
    """The rules that are broken, with their severity, besides missing help texts."""
    snapshot = Snapshot.lenient(body.encode(), content_type=content_type)
    found = check(snapshot, Limits(**limits))
    return {(item.severity, item.rule) for item in found if item.rule != "help"}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("# TYPE a_total counter\na_total 1\n", set()),
        ("# TYPE a counter\na 1\n", {("warning", "naming")}),
        ("# TYPE a_total gauge\na_total 1\n", {("warning", "naming")}),
        ("# TYPE a_count gauge\na_count 1\n", {("warning", "naming")}),
        ("# TYPE aB gauge\naB 1\n", {("warning", "naming")}),
        ("# TYPE a:b gauge\na:b 1\n", {("warning", "naming")}),
        ("# TYPE my_gauge gauge\nmy_gauge 1\n", {("warning", "naming")}),
        ("# TYPE a_ms gauge\na_ms 1\n", {("warning", "unit")}),
        ("# TYPE a_milliseconds gauge\na_milliseconds 1\n", {("warning", "unit")}),
        ("a 1\n", {("warning", "type")}),
        ('# TYPE a gauge\na{le="1"} 1\n', {("warning", "label")}),
        ('# TYPE a gauge\na{job="x"} 1\n', {("warning", "label")}),
        ('# TYPE a gauge\na{__x="x"} 1\n', {("error", "label")}),
        ("# TYPE a gauge\na 1 1700000000000\n", {("warning", "timestamp")}),
        ("# TYPE a gauge\na 1\na 2\n", {("error", "duplicate")}),
        ('# TYPE a gauge\na{k=""} 1\na 2\n', {("error", "duplicate")}),
        ("# TYPE a gauge\na 1\n# TYPE z gauge\nz 1\na{k='v'} 1\n", {("error", "syntax")}),
        ('# TYPE a gauge\na 1\n# TYPE z gauge\nz 1\na{k="v"} 1\n', {("error", "interleaved")}),
        ('# TYPE a gauge\na{k="' + "x" * 300 + '"} 1\n', {("warning", "label-length")}),
        ("# TYPE a_total counter\na_total -1\n", {("error", "value")}),
        ('# TYPE q histogram\nq_bucket{le="1"} 2\nq_bucket{le="+Inf"} 1\n', {("error", "buckets")}),
        ('# TYPE q histogram\nq_bucket{le="1"} 2\nq_sum 1\nq_count 2\n', {("error", "buckets")}),
        ('# TYPE q summary\nq{quantile="2"} 2\n', {("error", "label")}),
        ("# TYPE a wrong\na 1\n", {("error", "type"), ("warning", "type")}),
        (
            '# TYPE q_count gauge\nq_count 1\n# TYPE q histogram\nq_bucket{le="+Inf"} 1\nq_sum 1\n',
            {("warning", "naming"), ("warning", "collision"), ("error", "buckets")},
        ),
    ],
)
def test_what_is_found(body: str, expected: set[tuple[str, str]]) -> None:
    """Each kind of fault has a rule, and one fault is one finding."""
    assert rules(body) == expected


def test_too_many_series_and_odd_content_types() -> None:
    """Limits are those of the call; a content type that Prometheus does not read is an error."""
    body = "# TYPE a gauge\n" + "".join(f'a{{k="{number}"}} 1\n' for number in range(20))
    assert rules(body, series=19) == {("warning", "cardinality")}
    assert rules(body, series=20) == set()
    assert rules("a_total 1\n", "application/json") == {("error", "content-type"), ("warning", "type")}


def test_exemplars() -> None:
    """They are short, stand where they may, and within their bucket."""
    begin = '# TYPE q histogram\nq_bucket{le="1.0"} 1'
    end = '\nq_bucket{le="+Inf"} 1\nq_count 1\nq_sum 1\n# EOF\n'
    openmetrics = "application/openmetrics-text; version=1.0.0"
    assert rules(f'{begin} # {{trace_id="a"}} 0.5{end}', openmetrics) == set()
    assert rules(f'{begin} # {{trace_id="a"}} 3{end}', openmetrics) == {("warning", "exemplar")}
    assert rules(f'{begin} # {{trace_id="{"a" * 130}"}} 0.5{end}', openmetrics) == {("error", "exemplar")}
    assert rules(f'{begin} # {{trace_id="a"}} 0.5{end}') >= {("error", "exemplar")}


def histogram(counts: dict[str, int], total: float) -> str:
    """A histogram in text."""
    lines = "".join(f'q_bucket{{le="{limit}"}} {count}\n' for limit, count in counts.items())
    return f"# HELP q Help.\n# TYPE q histogram\n{lines}q_sum {total}\nq_count {counts['+Inf']}\n"


@pytest.mark.parametrize(
    ("counts", "total", "begin"),
    [
        (
            {"5": 1000, "10": 1000, "+Inf": 1000},
            120,
            "nearly all of 1,000 observations are in one bucket, (0, 5]",
        ),
        (
            {"5": 0, "10": 0, "+Inf": 1000},
            90_000,
            "nearly all of 1,000 observations are in the last bucket, above",
        ),
        (
            {"1": 10, "5": 500, "10": 700, "+Inf": 1000},
            9000,
            "30% of 1,000 observations are beyond the last bound",
        ),
    ],
)
def test_the_bucket_doctor(counts: dict[str, int], total: float, begin: str) -> None:
    """It says what is wrong with buckets, and bounds around what was observed: the mean is among them."""
    (finding,) = check(Snapshot.of(histogram(counts, total).encode()))
    assert finding.message.startswith(begin)
    bounds = json.loads(finding.hint.removeprefix("bounds that fit: "))
    assert 5 <= len(bounds) <= 16
    assert bounds == sorted(set(bounds))
    assert bounds[0] < total / 1000 < bounds[-1]


def test_the_bucket_doctor_is_silent() -> None:
    """Buckets that say something, and few observations, are no finding; without a sum there is no advice."""
    assert rules(histogram({"1": 300, "2": 600, "4": 900, "+Inf": 1000}, 2000)) == set()
    assert rules(histogram({"1": 20, "+Inf": 20}, 2)) == set()
    assert better_bounds((1.0,), (100, 0), None) == []
    assert better_bounds((1.0,), (100, 0), -5) == []


DASHBOARD = {
    "title": "D",
    "templating": {"list": [{"name": "m", "query": "label_values(llm_requests_total, nomodel)"}]},
    "panels": [
        {
            "title": "fine",
            "targets": [{"expr": 'sum by (model) (rate(llm_requests_total{model=~"$m"}[5m]))'}],
        },
        {"title": "typo", "targets": [{"expr": "rate(llm_request_total[5m])"}]},
        {"title": "label", "targets": [{"expr": 'llm_requests_total{modle="gpt-4o"}'}]},
        {"title": "value", "targets": [{"expr": 'llm_requests_total{model=~"claude.*"}'}]},
        {
            "title": "row",
            "panels": [{"title": "by", "targets": [{"expr": "sum by (zone) (llm_requests_total)"}]}],
        },
        {"title": "ours", "targets": [{"expr": 'up{job="x"} and on (job) absent(scrape_duration_seconds)'}]},
    ],
}
RULES = """
groups:
  - name: g
    rules:
      - record: model:llm:rate5m
        expr: sum by (model) (rate(llm_requests_total[5m]))
      - alert: Slow
        expr: model:llm:rate5m > 3 or histogram_quantile(0.9, rate(nothing_bucket[5m])) > 1
"""


def test_what_dashboards_and_rules_lack(tmp_path: Path, capsys: Capture) -> None:
    """What is not there is named, with the panel that asks and what is nearest."""
    target = tmp_path / "target.txt"
    target.write_text(
        "# HELP llm_requests_total R.\n# TYPE llm_requests_total counter\n"
        'llm_requests_total{model="gpt-4o"} 1\n'
    )
    (tmp_path / "d.json").write_text(json.dumps(DASHBOARD))
    (tmp_path / "r.yml").write_text(RULES)
    arguments = ["--dashboard", str(tmp_path / "d.json"), "--rules", str(tmp_path / "r.yml"), "--json"]
    assert main(["check", str(target), *arguments]) == 1
    found = [
        (item["rule"], item["metric"], item["message"].partition(" ask")[0], item["hint"])
        for item in json.loads(capsys.readouterr().out)
    ]
    assert sorted(found) == [
        ("missing-label", "", "d.json: by groups by zone, which llm_requests_total do not have", ""),
        (
            "missing-label",
            "",
            "d.json: variable m groups by nomodel, which llm_requests_total do not have",
            "the nearest is model",
        ),
        ("missing-label", "llm_requests_total", "d.json: label", "the nearest is model"),
        ("missing-metric", "llm_request_total", "d.json: typo", "the nearest is llm_requests_total"),
        ("missing-metric", "nothing_bucket", "r.yml: Slow", ""),
        ("missing-value", "llm_requests_total", "d.json: value", ""),
    ]


def test_our_own_dashboard_finds_what_it_asks_for(tmp_path: Path, capsys: Capture) -> None:
    """The dashboard and the rules of a profile name no metric that PromQL would read as something else."""
    assert main(["dashboards", "--profile", "llmdevops", "--out", str(tmp_path)]) == 0
    files = capsys.readouterr().out.split()
    target = tmp_path / "target.txt"
    target.write_text("# TYPE x gauge\nx 1\n")
    main(["check", str(target), "--json", "--dashboard", files[0], "--rules", files[1]])
    found = json.loads(capsys.readouterr().out)
    names = {item["metric"] for item in found if item["rule"] == "missing-metric" and item["metric"]}
    assert names
    assert {name for name in names if not name.startswith(("llm", "agent", "process_"))} <= {"target_info"}


@pytest.mark.real_server
def test_promtool_and_we_agree(real_prometheus: str, real_victoria_metrics: str, tmp_path: Path) -> None:
    """Of the metrics of node_exporter, Prometheus and VictoriaMetrics both complain of the same ones."""
    (tmp_path / "victoria").mkdir()
    with prometheus(real_prometheus, tmp_path, {}) as server:
        bodies = [get(f"{server.url}/metrics")[1]]
        target = {"prometheus": server.url.removeprefix("http://")}
        with victoria_metrics(real_victoria_metrics, tmp_path / "victoria", target) as other:
            bodies.append(get(f"{other.url}/metrics")[1])
    for body in (*bodies, node_exporter(tmp_path)):
        agrees(body)


@pytest.mark.real_server
def test_promtool_and_we_agree_on_any_name() -> None:
    """Of a thousand names, types and labels both complain of the same ones."""
    lines = any_families(1000, random.Random(16))
    agrees("\n".join([*lines, ""]).encode(), tool=newer("sid", "promtool"))


WORDS = re.findall(
    r"\w+",
    "foo bar fooBar time info count sum total counter gauge histogram summary untyped seconds milliseconds "
    "days bytes kilobytes bits miles ratio percent celsius kelvin pounds kilograms ms s kB d volt microvolts",
)


def any_families(count: int, chance: random.Random) -> Iterator[str]:
    """The lines of so many families, of which none is a part of another."""
    names: set[str] = set()
    while len(names) < count:
        name = "_".join(chance.choices(WORDS, k=chance.randint(1, 4)))
        if any(name.startswith(other) or other.startswith(name) for other in names):
            continue
        names.add(name)
        kind = chance.choice(["counter", "gauge", "histogram", "summary", "untyped"])
        label = chance.choice(["k", "a_b", "fooBar", "job"])
        yield from [f"# HELP {name} Help."] * (chance.random() < 0.9)
        yield f"# TYPE {name} {kind}"
        if kind in ("histogram", "summary"):
            yield (
                f'{name}_bucket{{{label}="1",le="+Inf"}} 1'
                if kind == "histogram"
                else f'{name}{{{label}="1",quantile="1"}} 1'
            )
            yield f'{name}_sum{{{label}="1"}} 1'
            yield f'{name}_count{{{label}="1"}} 1'
        else:
            yield f'{name}{{{chance.choice([label, "le", "quantile"])}="1"}} 1'


def node_exporter(folder: Path) -> bytes:
    """What a real node_exporter says."""
    address = f"127.0.0.1:{free_port()}"
    command = ["prometheus-node-exporter", f"--web.listen-address={address}"]
    try:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except FileNotFoundError:
        pytest.skip("prometheus-node-exporter is not installed")
    try:

        def body() -> bytes:
            try:
                return get(f"http://{address}/metrics")[1]
            except OSError:
                return b""

        return wait_for(body, seconds=20, what="node_exporter")
    finally:
        process.terminate()
        process.wait(10)

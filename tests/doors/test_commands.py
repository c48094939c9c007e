"""The commands of the command line, as a whole: help, completion, exit codes."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from servers import running

from otel_prom_bridge import start_http_server
from otel_prom_bridge.cli import main, top
from otel_prom_bridge.cli.completion import options_of_commands
from otel_prom_bridge.cli.parser import COMMANDS
from otel_prom_bridge.snapshots.findings import RULES
from otel_prom_bridge.testing import MetricsProbe, Snapshot

Capture = pytest.CaptureFixture[str]
BEFORE = "# HELP c_total C.\n# TYPE c_total counter\nc_total 5\n# HELP g G.\n# TYPE g gauge\ng 1\n"
AFTER = '# HELP c_total C.\n# TYPE c_total counter\nc_total 3\n# HELP g H.\n# TYPE g gauge\ng{k="v"} 1\n'


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str, capsys: Capture) -> None:
    """Help says what the command does, and shows how it is used."""
    with pytest.raises(SystemExit) as caught:
        main([name, "--help"])
    text = capsys.readouterr().out
    assert caught.value.code == 0
    assert re.search(rf"examples?:\n.*otel-prom-bridge {name}", text, re.DOTALL)
    assert max(map(len, text.splitlines())) <= 110


def test_a_command_loads_no_other(files: tuple[str, str]) -> None:
    """Neither the SDK nor the other commands are imported for one that needs none of them."""
    code = "import sys; from otel_prom_bridge.cli import main; main(['diff', *sys.argv[1:]])"
    code += "; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, *files], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = done.stdout.splitlines()[-1].split()
    assert "otel_prom_bridge.cli.diff" in loaded
    assert not [
        name for name in loaded if name.startswith(("opentelemetry.sdk", "rich", "otel_prom_bridge.audit"))
    ]


def test_completion(capsys: Capture) -> None:
    """Bash completes commands and their options."""
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    words = "COMP_WORDS=(otel-prom-bridge $1 $2); COMP_CWORD=$3"
    ask = f"{script}\n{words}; _otel_prom_bridge; echo ${{COMPREPLY[@]}}"
    for given, expected in ((("ch", "", "1"), "check"), (("check", "--das", "2"), "--dashboard")):
        done = subprocess.run(
            ["bash", "-c", ask, "bash", *given], capture_output=True, text=True, check=False, timeout=20
        )
        assert done.stdout.strip() == expected, done.stderr
    assert main(["completion", "zsh"]) == 0
    assert "bashcompinit" in capsys.readouterr().out
    assert "--rules" in options_of_commands()["check"]


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    """Two expositions."""
    for name, text in (("before.txt", BEFORE), ("after.txt", AFTER)):
        (tmp_path / name).write_text(text)
    return str(tmp_path / "before.txt"), str(tmp_path / "after.txt")


def test_diff(files: tuple[str, str], capsys: Capture) -> None:
    """Differences make the exit code 1."""
    assert main(["diff", *files]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "~ g: the help was 'G.' and is 'H.'",
        "+ g{k='v'} 1",
        "- g 1",
        "! c_total was 5 and is 3: a counter that went back",
    ]
    assert main(["diff", files[0], files[0]]) == 0
    assert capsys.readouterr().out == "no difference\n"
    assert main(["diff", *files, "--json", "--match", "c_*"]) == 1
    assert json.loads(capsys.readouterr().out)["resets"] == [
        {"metric": "c_total", "labels": {}, "before": 5, "after": 3}
    ]


def test_formats_do_not_make_a_difference(files: tuple[str, str]) -> None:
    """What a format cannot say is no difference: units, infos, types that it does not have."""
    with MetricsProbe(resource={"service.name": "x"}, disable_target_info=False) as probe:
        meter = probe.meter()
        meter.create_counter("c", unit="s", description="C.").add(1)
        meter.create_histogram("h", description="H.").record(1)
        text, openmetrics, protobuf = (
            Snapshot.of(probe.reader.expose(accept))
            for accept in (
                None,
                "application/openmetrics-text;version=1.0.0",
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
            )
        )
    assert not text.diff(openmetrics)
    assert not openmetrics.diff(protobuf)
    assert not protobuf.diff(text)


def test_snapshot(files: tuple[str, str], tmp_path: Path, capsys: Capture) -> None:
    """What it writes is read again as the same."""
    assert main(["snapshot", files[0]]) == 0
    (tmp_path / "kept.txt").write_text(capsys.readouterr().out)
    assert main(["diff", files[0], str(tmp_path / "kept.txt")]) == 0


def test_top_once(capsys: Capture) -> None:
    """One table: the fastest first, with rates and quantiles of what came in between."""
    with MetricsProbe() as probe, start_http_server(probe.reader, port=0, cache_ttl=0) as server:
        fast, slow = (probe.meter().create_counter(name) for name in ("fast", "slow"))
        histogram = probe.meter().create_histogram("h", unit="s", explicit_bucket_boundaries_advisory=[1, 2])
        for instrument in (fast.add, slow.add, histogram.record):
            instrument(1)

        def record() -> None:
            fast.add(100)
            slow.add(10)
            for _ in range(50):
                histogram.record(1.5)

        timer = threading.Timer(0.2, record)
        timer.start()
        assert main(["top", server.url, "--once", "--interval", "0.6"]) == 0
        timer.join()
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines] == ["METRIC", "fast_total", "h_seconds", "slow_total"]
    rates = {line[0]: float(line[3].replace(",", "")) for line in lines[1:]}
    assert rates["fast_total"] == pytest.approx(10 * rates["slow_total"], rel=0.01)
    assert lines[2][-3:] == ["1.5", "1.9", "1.99"]


def test_top_as_json(capsys: Capture) -> None:
    """A script gets numbers, and null where there is none."""
    with MetricsProbe() as probe, start_http_server(probe.reader, port=0, cache_ttl=0) as server:
        probe.meter().create_histogram("h").record(1)
        probe.meter().create_gauge("g").set(2)
        assert main(["top", server.url, "--once", "--json", "--interval", "0.1"]) == 0
    lines = {line["name"]: line for line in json.loads(capsys.readouterr().out)}
    assert (lines["g"]["value"], lines["g"]["rate"], lines["g"]["quantiles"]) == (2, None, {})
    assert list(lines["h"]["quantiles"]) == ["p50", "p90", "p99"]


@pytest.mark.parametrize("command", [["synth", "{load}", "--port", "0"], ["replay", "{load}", "--port", "0"]])
def test_the_usual_end_is_no_failure(command: list[str], tmp_path: Path) -> None:
    """Ctrl-C ends what serves until then, with exit code 0 and without a complaint."""
    load = tmp_path / "load"
    is_description = command[0] == "synth"
    load.write_text('[[metrics]]\nname = "a"\nkind = "counter"\n' if is_description else BEFORE)
    given = [text.format(load=load) for text in command]
    with running([sys.executable, "-m", "otel_prom_bridge", *given], log=tmp_path / "log") as process:
        process.until("Ctrl-C ends it", 20)
        process.process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    assert process.output.count("\n") == 1


def test_rules_that_there_are_not(files: tuple[str, str], capsys: Capture) -> None:
    """What is to be ignored has to be a rule; all rules are in the documentation."""
    with pytest.raises(SystemExit) as caught:
        main(["check", files[0], "--ignore", "hlep"])
    assert caught.value.code == 2
    assert "'hlep' is not allowed, expected one of" in capsys.readouterr().err
    page = (Path(__file__).parents[2] / "docs" / "commands.md").read_text()
    table = page.partition("| Rule |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`([\w-]+)`", table)) >= set(RULES)


def test_top_as_rich_shows_it(files: tuple[str, str]) -> None:
    """The table that refreshes has the same lines."""
    console = pytest.importorskip("rich.console").Console(width=120, file=None, record=True)
    before, after = (Snapshot.of(name) for name in files)
    console.print(top._rich_table("here", top.lines_of(before, after), 10))
    assert "c_total" in console.export_text()


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "no/such"],
        ["check", "{file}", "--dashboard", "no/such"],
        ["check", "{file}", "--dashboard", "{file}"],
        ["check", "{file}", "--rules", "{file}"],
        ["diff", "{file}", "no/such"],
        ["snapshot", "no/such"],
        ["record", "localhost:1", "--out", "{folder}/x"],
        ["replay", "no/such"],
        ["replay", "{file}", "--addr", "no.such.host.invalid"],
        ["synth", "no/such"],
        ["synth", "{file}"],
        ["top", "no/such", "--once"],
        ["top", "{file}", "--json"],
        ["check", "{file}", "--dashboard", "{folder}"],
        ["check", "{file}", "--dashboard", "{binary}"],
        ["check", "{file}", "--rules", "{binary}"],
        ["check", "{folder}"],
        ["check", "http://[::1"],
        ["check", "localhost:1"],
        ["snapshot", "{binary}"],
        ["snapshot", "{file}", "--accept", "application/json"],
        ["record", "{file}", "--out", "{folder}/no/such"],
        ["replay", "{empty}"],
        ["replay", "{folder}"],
        ["synth", "{binary}"],
        ["doctor", "--", "no-such-program"],
        ["cardinality", "{binary}"],
        ["demo", "--profile", "no-such-profile"],
        ["dashboards", "--profile", "no-such-profile"],
        ["dashboards", "--profile", "semconv", "--out", "{file}"],
        ["profile", "{binary}"],
        ["hub", "--port", "70000"],
        ["hub", "--config-file", "no/such"],
        ["run"],
    ],
)
def test_what_cannot_be_used_is_one_line(
    arguments: list[str], files: tuple[str, str], tmp_path: Path, capsys: Capture
) -> None:
    """A wrong file, URL or description gets one clear line and exit code 2."""
    binary, empty = tmp_path / "binary", tmp_path / "empty"
    binary.write_bytes(b"\x00\xff\xfe")
    empty.write_text("")
    places = {"file": files[0], "folder": tmp_path, "binary": binary, "empty": empty}
    given = [text.format(**places) for text in arguments]
    assert main(given) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("otel-prom-bridge: ")
    assert err.count("\n") == 1
    assert err.count("is not allowed") <= 1

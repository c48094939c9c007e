"""The command line: any exposition from anywhere, and every error in one line."""

from __future__ import annotations

import gzip
import importlib.metadata
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import programs
import prometheus_client
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from properties import examples
from servers import free_port, get, prometheus, wait_for
from setups import Setup

import otel_prom_bridge
from otel_prom_bridge import installed, start_http_server
from otel_prom_bridge.cli import main
from otel_prom_bridge.errors import ExpositionError
from otel_prom_bridge.report.cardinality import MetricCardinality, of_family
from otel_prom_bridge.snapshots import Snapshot, fetching
from otel_prom_bridge.snapshots.fetching import as_url

Make = Callable[..., Setup]
Capture = pytest.CaptureFixture[str]

TEXT = '# TYPE c_total counter\nc_total{k="1"} 1\nc_total{k="2"} 1\n# TYPE g gauge\ng 1\n'


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers of this machine are asked directly, whatever the environment names."""
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def registry() -> prometheus_client.CollectorRegistry:
    """A prometheus_client registry with every type that it has."""
    registry = prometheus_client.CollectorRegistry()
    requests = prometheus_client.Counter("requests", "Help.", ["route"], registry=registry)
    latency = prometheus_client.Histogram("latency", "Help.", ["route"], buckets=[1, 2], registry=registry)
    for number in range(3):
        requests.labels(f"/{number}").inc(exemplar={"trace_id": "a b"})
        latency.labels(f"/{number}").observe(1.5, exemplar={"trace_id": "}"})
    prometheus_client.Gauge("temperature", "Help.", registry=registry).set(1)
    prometheus_client.Summary("size", "Help.", ["k"], registry=registry).labels("v").observe(1)
    prometheus_client.Info("build", "Help.", registry=registry).info({"version": "1", "empty": ""})
    prometheus_client.Enum("state", "Help.", states=["up", "down", "gone"], registry=registry)
    return registry


class Answers:
    """What a server answers by path, and the headers of the requests it got."""

    def __init__(self, bodies: Mapping[str, tuple[int, dict[str, str], bytes]]) -> None:
        self.bodies = dict(bodies)
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.url = ""


def counted(body: bytes) -> list[MetricCardinality]:
    """The metrics of an exposition that have series, counted."""
    return [of_family(family) for family in Snapshot.of(body).families if family.points]


@contextmanager
def serving(bodies: Mapping[str, tuple[int, dict[str, str], bytes]]) -> Iterator[Answers]:
    """A real server on a free port."""
    answers = Answers(bodies)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answers.requests.append(
                (self.path, {name.lower(): value for name, value in self.headers.items()})
            )
            status, headers, body = answers.bodies.get(self.path, (404, {}, b""))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        answers.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield answers
        finally:
            server.shutdown()
            thread.join()


def counts(output: str) -> dict[str, tuple[str, int, int]]:
    """Type, series and samples by metric, from JSON."""
    return {
        metric["metric"]: (metric["type"], metric["series"], metric["samples"])
        for metric in json.loads(output)["metrics"]
    }


def test_the_table_of_a_file(tmp_path: Path, capsys: Capture) -> None:
    """A file of text becomes the table."""
    (tmp_path / "metrics.txt").write_text(TEXT)
    assert main(["cardinality", str(tmp_path / "metrics.txt")]) == 0
    assert capsys.readouterr().out == (
        "METRIC              TYPE     SERIES  SAMPLES\n"
        "c_total             counter       2        2\n"
        '    k  2  "1" 1, "2" 1\n'
        "g                   gauge         1        1\n"
        "\n"
        "TOTAL of 2 metrics                3        3\n"
    )


def test_json(tmp_path: Path, capsys: Capture) -> None:
    """JSON says the same in full."""
    (tmp_path / "metrics.txt").write_text(TEXT)
    assert main(["cardinality", "--json", "--match", "c_*", str(tmp_path / "metrics.txt")]) == 0
    biggest = [{"value": "1", "series": 1}, {"value": "2", "series": 1}]
    metric = {
        "metric": "c_total",
        "type": "counter",
        "series": 2,
        "samples": 2,
        "overflow_series": 0,
        "labels": [{"name": "k", "values": 2, "biggest": biggest}],
    }
    assert json.loads(capsys.readouterr().out) == {
        "series": 2,
        "samples": 2,
        "metrics": [metric],
        "left_out": 0,
    }


def test_choosing_what_is_shown(tmp_path: Path, capsys: Capture) -> None:
    """The first 20 unless told otherwise, all of them with 0, and only names that match."""
    file = tmp_path / "metrics.txt"
    file.write_text("".join(f"m{number} 1\n" for number in range(30)))

    def shown(*options: str) -> list[str]:
        assert main(["cardinality", str(file), *options]) == 0
        return [line for line in capsys.readouterr().out.splitlines() if line.startswith(("m", "and"))]

    assert len(shown()) == 21
    assert shown()[-1] == "and 10 smaller metrics: 10 series, 10 samples"
    assert len(shown("--top", "0")) == 30
    assert len(shown("--match", "m1?", "--match", "m2")) == 11
    assert len(shown("--match", "M*")) == 0
    assert main(["cardinality", str(file), "--json", "--top", "2"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (len(found["metrics"]), found["left_out"], found["series"]) == (2, 28, 30)


def test_our_own_endpoint(bridge: Make, capsys: Capture) -> None:
    """host:port is enough for an endpoint of ours, gzip and all."""
    setup = bridge(max_series_per_metric=100, max_lines_per_metric=5000)
    histogram = setup.meter.create_histogram("h", unit="s")
    for number in range(150):
        histogram.record(1, {"user": str(number)})
    with start_http_server(setup.reader, port=0) as server:
        assert main(["cardinality", f"localhost:{server.port}"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "METRIC             TYPE       SERIES  SAMPLES",
        "h_seconds          histogram     101    1,818",
        '    user  100  "0" 1, "1" 1, "10" 1, "11" 1, "12" 1, …',
        '    over the limit: 1 series otel_metric_overflow="true"',
        "",
        "TOTAL of 1 metric                101    1,818",
    ]


def test_a_prometheus_client_endpoint(registry: prometheus_client.CollectorRegistry, capsys: Capture) -> None:
    """Every type of prometheus_client, as OpenMetrics from its own server."""
    port = free_port()
    server, thread = prometheus_client.start_http_server(port, addr="127.0.0.1", registry=registry)
    try:
        assert main(["cardinality", "--json", f"http://127.0.0.1:{port}"]) == 0
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert counts(capsys.readouterr().out) == {
        "latency": ("histogram", 3, 18),  # three buckets, count, sum, created
        "requests_total": ("counter", 3, 6),
        "temperature": ("gauge", 1, 1),
        "size": ("summary", 1, 3),
        "build_info": ("info", 1, 1),
        "state": ("stateset", 1, 3),
    }


def test_text_and_openmetrics_have_the_same_counts(registry: prometheus_client.CollectorRegistry) -> None:
    """As text prometheus_client writes start times as gauges of their own; they count for their metric."""
    as_text, as_openmetrics = counted(generate_latest(registry)), counted(generate_openmetrics(registry))
    assert {(item.metric, item.samples) for item in as_text} == {
        (item.metric, item.samples) for item in as_openmetrics
    }


@pytest.mark.real_server
def test_a_real_prometheus(real_prometheus: str, tmp_path: Path, capsys: Capture) -> None:
    """A Prometheus' own metrics have its types and names, and add up to the lines that it sends."""
    with prometheus(real_prometheus, tmp_path, {}) as server:
        _, body = get(f"{server.url}/metrics")
        (tmp_path / "prometheus.txt").write_bytes(body)
        assert main(["cardinality", server.url, "--json"]) == 0
        live = counts(capsys.readouterr().out)
    assert main(["cardinality", str(tmp_path / "prometheus.txt"), "--json"]) == 0
    output = capsys.readouterr().out
    lines = [line for line in body.decode().splitlines() if not line.startswith("#")]
    assert json.loads(output)["samples"] == len(lines)
    found = counts(output)
    assert found.keys() == live.keys()
    types = {line.split()[2]: line.split()[3] for line in body.decode().splitlines() if "# TYPE" in line}
    assert {name: kind for name, (kind, _, _) in found.items()} == {
        name: "unknown" if kind == "untyped" else kind for name, kind in types.items()
    }
    buckets = sum(line.startswith("prometheus_http_request_duration_seconds_bucket") for line in lines)
    _, series, samples = found["prometheus_http_request_duration_seconds"]
    assert samples == buckets + 2 * series


@pytest.mark.real_server
def test_what_a_real_prometheus_federates(real_prometheus: str, tmp_path: Path, capsys: Capture) -> None:
    """It counts the samples that we count; histograms, which federation makes untyped, are found again."""
    body = (
        b'# TYPE h histogram\nh_bucket{k="v",le="1"} 1\nh_bucket{k="v",le="+Inf"} 1\nh_sum{k="v"} 1\n'
        b'h_count{k="v"} 1\n# TYPE c_total counter\nc_total{k="v"} 1\n'
    )
    with serving({"/metrics": (200, {"Content-Type": "text/plain; version=0.0.4"}, body)}) as target:
        targets = {"job": target.url.removeprefix("http://")}
        with prometheus(real_prometheus, tmp_path, targets) as server:
            wait_for(lambda: server.query("c_total"), seconds=20, what="the first samples")
            assert main(["cardinality", target.url, "--json"]) == 0
            scraped = server.values("scrape_samples_scraped", "job")[("job",)]
            assert json.loads(capsys.readouterr().out)["samples"] == scraped == 5
            url = f"{server.url}/federate?match[]=%7Bjob%3D%22job%22%7D"
            assert main(["cardinality", url, "--json", "--match", "h*", "--match", "c_*"]) == 0
    assert counts(capsys.readouterr().out) == {"h": ("histogram", 1, 4), "c_total": ("unknown", 1, 1)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('x 1\n\n  x{a="b"} 2 1700000000000\n', {"x": ("unknown", 2, 2)}),
        ("# TYPE x counter\nx 1\n", {"x": ("counter", 1, 1)}),
        ("# TYPE x counter\nx 1\n# TYPE x_created gauge\nx_created 1\n", {"x": ("counter", 1, 2)}),
        ("# TYPE x counter\nx_created 1\nx_total 1\n# EOF", {"x_total": ("counter", 1, 2)}),
        ("# TYPE x_created gauge\nx_created 1\n", {"x_created": ("gauge", 1, 1)}),
        ("# TYPE x_count gauge\nx_count 1\n# TYPE x histogram\n", {"x_count": ("gauge", 1, 1)}),
        (
            '# TYPE x_bucket untyped\nx_bucket{le="1"} 1\nx_bucket{le="+Inf"} 1\n'
            "# TYPE x_count untyped\nx_count 1\n# TYPE x_sum untyped\nx_sum 1\n",
            {"x": ("histogram", 1, 4)},
        ),
        ("x_bucket 1\nx_count 1\n", {"x_bucket": ("unknown", 1, 1), "x_count": ("unknown", 1, 1)}),
        (
            '# TYPE x gaugehistogram\nx_bucket{le="+Inf"} 1\nx_gcount 1\nx_gsum 1\n',
            {"x": ("gaugehistogram", 1, 3)},
        ),
        ('# TYPE x gauge\nx{le="1",quantile="2"} 1\nx{le="2",quantile="2"} 1\n', {"x": ("gauge", 2, 2)}),
        ('# TYPE x gauge\nx{a="b",c=""} 1\nx{c="d",a="b"} 1\n', {"x": ("gauge", 2, 2)}),
        ('# TYPE "a.b" counter\n{"a.b",k="v"} 1\n', {"a.b": ("counter", 1, 1)}),
        ('#TYPE x gauge\n# nothing\n#\n# TYPE x\nx 1 # {a="b"} 1\n', {"x": ("unknown", 1, 1)}),
        ('x_total 1 # {a="b c",d="} 1 # {"} 0.5 1.7e9\n', {"x_total": ("unknown", 1, 1)}),
        ('x{a="\u2028\x85"} 1\n', {"x": ("unknown", 1, 1)}),
        ("# TYPE x \x1b[2J\nx 1\n# TYPE y untyped\ny 1\n", {"x": ("unknown", 1, 1), "y": ("unknown", 1, 1)}),
        ("", {}),
    ],
)
def test_odd_expositions(text: str, expected: dict[str, tuple[str, int, int]]) -> None:
    """What other exporters write, with the names and types that queries know."""
    found = counted(text.encode())
    assert {item.metric: (item.kind, item.series, item.samples) for item in found} == expected


@given(
    st.dictionaries(
        st.from_regex(r"[a-z]{1,8}", fullmatch=True),
        st.tuples(
            st.sampled_from(["counter", "gauge", "histogram", "summary"]), st.sets(st.text(max_size=5))
        ),
        max_size=5,
    ),
    st.booleans(),
)
@settings(max_examples=examples(60))
def test_reading_gives_what_was_registered(spec: dict[str, tuple[str, set[str]]], openmetrics: bool) -> None:
    """Whatever is in prometheus_client's registry, is read from its text: names, types, series."""
    registry = prometheus_client.CollectorRegistry()
    for name, (kind, values) in spec.items():
        make: Any = getattr(prometheus_client, kind.title())
        metric = make(f"m_{name}", "Help.\n\\", ["k"], registry=registry)
        for value in values:
            metric.labels(value)
    body = (generate_openmetrics if openmetrics else generate_latest)(registry).decode()
    found = [family for family in Snapshot.of(body.encode()).families if family.points]
    expected = {
        f"m_{name}_total" if kind == "counter" else f"m_{name}": (kind, values)
        for name, (kind, values) in spec.items()
        if values
    }
    assert {
        family.name: (family.kind.value, {dict(point.labels).get("k", "") for point in family.points})
        for family in found
    } == expected
    lines = [line for line in body.split("\n") if line and not line.startswith("#")]
    assert sum(of_family(family).samples for family in found) == len(lines)


@given(st.text(st.sampled_from('ab1{}=",\\# \n\t_é+-.') | st.characters(codec="utf-8"), max_size=80))
def test_garbage_is_an_error_with_its_line(text: str) -> None:
    """Text is either read or refused with a line number; nothing else comes out."""
    complaint = "line "
    try:
        Snapshot.of(text.encode())
    except ExpositionError as error:
        complaint = str(error)
    assert complaint.startswith("line ")


@pytest.mark.parametrize(
    ("where", "url"),
    [
        ("localhost:9464", "http://localhost:9464/metrics"),
        ("[::1]:9464", "http://[::1]:9464/metrics"),
        ("10.0.0.1:80/x?y=z", "http://10.0.0.1:80/x?y=z"),
        ("https://example.org", "https://example.org/metrics"),
        ("http://example.org/#top", "http://example.org/"),
        ("HTTP://example.org/metrics", "http://example.org/metrics"),
        ("http://[", "http://["),
        ("metrics.txt", ""),
        ("./localhost:9464", ""),
        ("file:///etc/passwd", ""),
        ("-", ""),
    ],
)
def test_what_is_a_url(where: str, url: str) -> None:
    """host:port and http(s) are URLs, with the usual path if they have none; the rest are files."""
    assert as_url(where) == url


def test_requests(capsys: Capture) -> None:
    """Gzip, redirects and headers; what the user sends along stays with the server it is for."""
    packed = (200, {"Content-Encoding": "gzip"}, gzip.compress(TEXT.encode()))
    with serving({"/metrics": packed}) as other, serving({}) as server:
        server.bodies["/old"] = (302, {"Location": "/new"}, b"")
        server.bodies["/new"] = (307, {"Location": f"{other.url}/metrics"}, b"")
        assert (
            main(["cardinality", f"{server.url}/old", "--json", "--header", "authorization: Bearer x"]) == 0
        )
        seen = [(path, headers.get("authorization")) for path, headers in server.requests + other.requests]
    assert seen == [("/old", "Bearer x"), ("/new", "Bearer x"), ("/metrics", None)]
    assert other.requests[0][1]["accept-encoding"] == "gzip"
    assert other.requests[0][1]["accept"].startswith("application/openmetrics-text;version=1.0.0,text/plain")
    assert counts(capsys.readouterr().out)["c_total"] == ("counter", 2, 2)


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        ((404, {}, b""), "answers 404 Not Found; is the path right? usually it is /metrics"),
        ((401, {}, b""), "answers 401 Unauthorized; pass what it asks for with --header 'Authorization: …'"),
        ((503, {}, b""), "answers 503 Service Unavailable; its log may say why"),
        ((302, {"Location": "file:///etc/passwd"}, b""), "answers 302 Found - Redirection to url"),
        ((200, {"Content-Type": "text/html; charset=x"}, b"<p>"), "answers with text/html, which is no expo"),
        ((200, {"Content-Type": "application/vnd.google.protobuf"}, b"\x03a"), "at byte 0: a message of 3 b"),
        ((200, {"Content-Length": "9999"}, TEXT.encode()), "broke off 9,923 bytes before the end"),
        ((200, {}, gzip.compress(TEXT.encode())[:-9]), "broken gzip: "),
        ((200, {}, b"\x1f\x8b garbage"), "broken gzip: "),
        ((200, {}, gzip.compress(bytes(2_000_000))), "larger than 1 MB, which is no exposition that a Prom"),
        (
            (200, {}, b"x" * 2_000_000),
            "larger than 1 MB, which is no exposition that a Prometheus would take",
        ),
        (
            (200, {}, b"ok 1\n\nno \xff\x1b[0m sample\n"),
            "line 3: 'no \\\\xff\\x1b[0m sample' is no UTF-8",
        ),
        ((200, {}, b'{k="v"} 1' + b"0" * 200), 'line 1: \'{k="v"} 1000000000'),
    ],
)
def test_answers_that_are_no_exposition(
    answer: tuple[int, dict[str, str], bytes],
    complaint: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    """One line that names the URL and what is wrong, and exit code 2."""
    monkeypatch.setattr(fetching, "MAX_BYTES", 2**20)
    with serving({"/metrics": answer}) as server:
        assert main(["cardinality", server.url]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"otel-prom-bridge: {server.url}: {complaint}")
    assert err.endswith("\n")
    assert err[:-1].isprintable()


def test_a_server_that_does_not_answer_in_time(capsys: Capture) -> None:
    """Silence and a trickle both end after the timeout."""
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler, bind_and_activate=True) as silent:
        where = f"127.0.0.1:{silent.server_address[1]}"
        assert main(["cardinality", where, "--timeout", "0.2"]) == 2
    assert capsys.readouterr().err == (
        f"otel-prom-bridge: {where}: no complete answer within 0.2 s; --timeout gives it more\n"
    )
    stop = threading.Event()

    class Trickle(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            for _ in iter(lambda: stop.wait(0.02), True):
                self.wfile.write(b"# more\n")

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Trickle) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        where = f"127.0.0.1:{server.server_address[1]}"
        assert main(["cardinality", where, "--timeout", "0.3"]) == 2
        stop.set()
        server.shutdown()
        thread.join()
    assert "no complete answer within 0.3 s" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("where", "complaint"),
    [
        (f"127.0.0.1:{free_port()}", "nothing listens there; is it running, and is the port right?"),
        ("http://nobody.invalid/", "the host is not known ("),
        ("http://user:secret@localhost/", "credentials go into --header"),
        ("http://[", "cannot be fetched: Invalid IPv6 URL"),
        ("http://localhost:x/", "cannot be fetched: nonnumeric port"),
        ("http://127.0.0.1:1/a b", "cannot be fetched: URL can't contain control characters"),
        ("no/such.txt", "cannot be read: No such file or directory; give a file, a URL, host:port, or -"),
        (".", "cannot be read: Is a directory"),
        ("\0", "cannot be read: embedded null byte"),
    ],
    ids=range(9),
)
def test_what_cannot_be_had(where: str, complaint: str, capsys: Capture) -> None:
    """Whatever is wrong with a place, one line says so, and what to do."""
    assert main(["cardinality", where]) == 2
    err = capsys.readouterr().err
    assert complaint in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["cardinality"],
        ["cardinality", "-", "--top", "-1"],
        ["cardinality", "-", "--values", "many"],
        ["cardinality", "-", "--timeout", "0"],
        ["cardinality", "-", "--timeout", "nan"],
        ["cardinality", "-", "--timeout", "soon"],
        ["cardinality", "-", "--header", "no colon"],
        ["cardinality", "-", "--header", "a: b\r\nc: d"],
    ],
)
def test_wrong_usage(arguments: list[str], capsys: Capture) -> None:
    """argparse explains, exit code 2."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("usage: otel-prom-bridge")


def run(
    *arguments: str, stdin: bytes = b"", env: Mapping[str, str] | None = None
) -> tuple[int, bytes, bytes]:
    """The command line as a process."""
    command = [sys.executable, "-m", "otel_prom_bridge", *arguments]
    done = programs.run(command, input=stdin, capture_output=True, timeout=60, check=False, env=env)
    return done.returncode, done.stdout, done.stderr


def test_as_a_process_from_stdin() -> None:
    """`-` reads stdin, plain or compressed; errors have no traceback."""
    assert run("cardinality", "-", stdin=TEXT.encode()) == run(
        "cardinality", "-", stdin=gzip.compress(TEXT.encode())
    )
    code, out, err = run("cardinality", "-", stdin=b"\x7fELF")
    assert (code, out) == (2, b"")
    assert err == b"otel-prom-bridge: -: line 1: '\\x7fELF' is not a sample\n"


def test_a_terminal_that_knows_few_characters() -> None:
    """What stdout cannot encode is escaped."""
    value = "é" * 60
    code, out, err = run(
        "cardinality", "-", stdin=f'x{{k="{value}"}} 1\n'.encode(), env={"PYTHONIOENCODING": "ascii"}
    )
    assert (code, err) == (0, b"")
    assert b"\\xe9\\u2026" in out


def test_a_closed_pipe_is_silent() -> None:
    """`| head` may go away."""
    text = "".join(f"m{number} 1\n" for number in range(20_000)).encode()
    command = [sys.executable, "-m", "otel_prom_bridge", "cardinality", "-", "--top", "0"]
    with programs.Program(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stdin.write(text)
        process.stdin.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 0


def test_python_m_runs_it() -> None:
    """Where the script is not on the path."""
    command = [sys.executable, "-m", "otel_prom_bridge", "profile", "semconv"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith("# Profile `semconv`")
    wrong = programs.run([*command[:-1], "nothing"], capture_output=True, text=True, timeout=60, check=False)
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("otel-prom-bridge: ")


def test_the_version(capsys: Capture) -> None:
    """The command line and the package say what the metadata of the installed package says."""
    version = importlib.metadata.version("otel-prom-bridge")
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"otel-prom-bridge {version}\n"
    assert otel_prom_bridge.__version__ == version


def test_a_copy_without_metadata(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """Whoever looks at the version of every module must not get an odd exception from a bundled copy."""
    missing = importlib.metadata.PackageNotFoundError("otel-prom-bridge")
    monkeypatch.setattr(importlib.metadata, "version", Mock(side_effect=missing))
    monkeypatch.setattr(otel_prom_bridge, "release_of", installed.release_of.__wrapped__)  # which remembers
    assert not hasattr(otel_prom_bridge, "__version__")
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == "otel-prom-bridge of an unknown version\n"


def test_the_version_costs_nothing_at_import() -> None:
    """Only who asks for the version pays for reading the metadata of packages."""
    code = (
        "import sys; before = 'importlib.metadata' in sys.modules; import otel_prom_bridge\n"
        "assert ('importlib.metadata' in sys.modules) == before; print(otel_prom_bridge.__version__)"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=False)
    assert "AssertionError" not in done.stderr
    assert done.stdout or "no metadata" in done.stderr  # -S hides installed packages

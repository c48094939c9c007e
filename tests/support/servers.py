"""Other processes that tests need: real scrapers, applications. Every wait has an end."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeVar
from urllib.parse import urlencode

import programs
import pytest

_Found = TypeVar("_Found")


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def free_ports(count: int) -> int:
    """The first of some ports in a row of 127.0.0.1 that nobody uses now, and that no client gets."""
    while True:
        first = random.randrange(10_000, 30_000)
        with contextlib.ExitStack() as probes, contextlib.suppress(OSError):
            for port in range(first, first + count):
                probes.enter_context(socket.create_server(("127.0.0.1", port)))
            return first


def missing(program: str, *, package: str) -> NoReturn:
    """End a test that needs a program which is not there: a failure on CI, elsewhere a visible skip."""
    reason = f"no {program} here: `apt-get install {package}` brings it"
    pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)


def wait_for(probe: Callable[[], _Found], *, seconds: float, what: str) -> _Found:
    """The first true result of ``probe``; fails the test after ``seconds`` without one."""
    deadline = time.monotonic() + seconds
    while True:
        if found := probe():
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds} s, last seen {found!r}")
        time.sleep(0.05)


def get(
    url: str, *, accept: str | None = None, timeout: float = 5, context: ssl.SSLContext | None = None
) -> tuple[str, bytes]:
    """The content type and the body at a URL; straight to it, whatever proxy the environment names."""
    https = urllib.request.HTTPSHandler(context=context)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), https)
    request = urllib.request.Request(url, headers={} if accept is None else {"Accept": accept})
    with opener.open(request, timeout=timeout) as response:
        return response.headers["Content-Type"], response.read()


class Running:
    """A process that was started, and what it has written so far, to stdout and stderr together."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def output(self) -> str:
        """What it has written so far."""
        return self._log.read_text()

    def wait(self, seconds: float) -> int:
        """Wait until it ends by itself; gives the exit code."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {seconds} s:\n{self.output}") from None

    def until(self, text: str, seconds: float) -> str:
        """Wait until it has written ``text``; gives all of its output."""

        def written() -> str:
            ended = self.process.poll() is not None  # asked first: what it wrote at its end counts
            output = self.output
            if text in output:
                return output
            assert not ended, f"ended with {self.process.returncode} before {text!r}:\n{output}"
            return ""

        return wait_for(written, seconds=seconds, what=f"{text!r} in {self._log}")


@contextmanager
def running(
    command: Sequence[str | Path], *, log: Path, env: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """Run a process, and end it: SIGTERM, and SIGKILL after five seconds."""
    environment = {**os.environ, **(env or {})}
    with log.open("wb") as output:
        process = programs.Program(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environment
        )
    try:
        yield Running(process, log)
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


class Prometheus:
    """The HTTP API of a running Prometheus, or of a VictoriaMetrics, which has the same."""

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, expr: str, **options: object) -> list[dict[str, Any]]:
        """The instant vector of an expression: ``metric`` and ``value`` of every series.

        It is of now, or of the ``time`` among the options.
        """
        return self._api("query", query=expr, **options)["result"]

    def values(self, expr: str, *labels: str) -> dict[tuple[str, ...], float]:
        """The values of an expression by the values of these labels; "" for a label that is not there."""
        found: dict[tuple[str, ...], float] = {}
        for series in self.query(expr):
            key = tuple(series["metric"].get(label, "") for label in labels)
            assert key not in found, f"{expr}: more than one series with {labels} = {key}"
            found[key] = float(series["value"][1])
        return found

    def query_exemplars(self, expr: str) -> list[dict[str, Any]]:
        """The exemplars of the last hour: ``seriesLabels`` and ``exemplars`` of every series."""
        now = time.time()
        return self._api("query_exemplars", query=expr, start=now - 3600, end=now + 60)

    def targets(self) -> list[dict[str, Any]]:
        """What is scraped, with ``health`` and ``lastError``: Prometheus' own verdict on an exposition."""
        return self._api("targets")["activeTargets"]

    def has_scraped(self) -> bool:
        """Every target was scraped at least once, with success or without."""
        targets = self.targets()
        return targets != [] and all(target["health"] == "up" or target["lastError"] for target in targets)

    def metadata(self, job: str) -> dict[str, tuple[str, str, str]]:
        """Type, description and unit of every family that a job's target exposes."""
        found = self._api("targets/metadata", match_target=f'{{job="{job}"}}')
        return {item["metric"]: (item["type"], item["help"], item["unit"]) for item in found}

    def is_ready(self) -> bool:
        """It answers queries."""
        try:
            return get(f"{self.url}/-/ready")[1] != b""
        except urllib.error.HTTPError as error:  # 503: not yet
            error.close()
        except OSError:  # not even listening yet
            pass
        return False

    def _api(self, path: str, **parameters: object) -> Any:
        try:
            answer = json.loads(get(f"{self.url}/api/v1/{path}?{urlencode(parameters)}")[1])
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{path} {parameters}: {error.read().decode()}") from None
        return answer["data"]


@contextmanager
def prometheus(
    executable: str,
    folder: Path,
    targets: Mapping[str, str],
    *,
    features: Sequence[str] = (),
    interval: float = 1.0,
    settings: Mapping[str, Mapping[str, object]] | None = None,
    arguments: Sequence[str] = (),
) -> Iterator[Prometheus]:
    """Run a Prometheus that scrapes ``targets`` (``host:port`` by job name) every ``interval`` seconds.

    It stores exemplars; ``features`` are what else to enable, by the names of ``--enable-feature``, and
    ``settings`` what else stands in the scrape configuration of a job, by its name.

    Its first scrape comes about five seconds after the start, whatever the interval: targets are discovered
    at that pace.
    """
    address = f"127.0.0.1:{free_port()}"
    command = [
        executable,
        f"--config.file={scrape_config(folder, targets, interval, settings)}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
        f"--enable-feature={','.join(('exemplar-storage', *features))}",
        "--log.level=warn",
        *arguments,
    ]
    with serving(command, folder, address) as api:
        yield api


@contextmanager
def victoria_metrics(
    executable: str,
    folder: Path,
    targets: Mapping[str, str],
    *,
    interval: float = 1.0,
    settings: Mapping[str, Mapping[str, object]] | None = None,
) -> Iterator[Prometheus]:
    """Run a VictoriaMetrics that scrapes ``targets``; its HTTP API is that of Prometheus, without exemplars.

    ``settings`` are those of :func:`prometheus`.

    It has scraped them once when this gives it: a query before that would find nothing, and for ten seconds
    it would answer later ones with that.
    """
    address = f"127.0.0.1:{free_port()}"
    command = [
        executable,
        f"-promscrape.config={scrape_config(folder, targets, interval, settings)}",
        f"-storageDataPath={folder / 'data'}",
        f"-httpListenAddr={address}",
        "-retentionPeriod=1",
        "-search.latencyOffset=0s",  # otherwise it answers with nothing that is younger than 30 seconds
        "-loggerLevel=WARN",
    ]
    with serving(command, folder, address) as api:
        wait_for(api.has_scraped, seconds=10, what="the first scrapes")
        get(f"{api.url}/internal/force_flush")  # within a second, what was stored can be found

        def found() -> bool:
            return {job for (job,) in api.values("up", "job")} == set(targets)

        wait_for(found, seconds=15, what="the first samples")
        yield api


def scrape_config(
    folder: Path,
    targets: Mapping[str, str],
    interval: float = 1.0,
    settings: Mapping[str, Mapping[str, object]] | None = None,
) -> Path:
    """A file with the scrape configuration that :func:`prometheus` describes."""
    config = {
        "global": {
            "scrape_interval": f"{interval * 1000:.0f}ms",
            "scrape_timeout": f"{interval * 900:.0f}ms",
        },
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [target]}], **(settings or {}).get(job, {})}
            for job, target in targets.items()
        ],
    }
    path = folder / "scrape.yml"
    path.write_text(json.dumps(config))  # JSON is YAML
    return path


@contextmanager
def serving(
    command: Sequence[str], folder: Path, address: str, *, env: Mapping[str, str] | None = None
) -> Iterator[Prometheus]:
    """Run what has Prometheus' HTTP API at this address, from the time when it is ready."""
    with running(command, log=folder / "server.log", env=env) as server:
        api = Prometheus(f"http://{address}")

        def ready() -> bool:
            assert server.process.poll() is None, f"{command[0]} did not start:\n{server.output}"
            return api.is_ready()

        wait_for(ready, seconds=10, what=f"a ready {command[0]}")
        yield api


@contextmanager
def alertmanager(executable: str, config: Path, folder: Path) -> Iterator[str]:
    """Run an Alertmanager by itself; gives its address."""
    address = f"127.0.0.1:{free_port()}"
    command = [
        executable,
        f"--config.file={config}",
        f"--storage.path={folder / 'alerts'}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
    ]
    with running(command, log=folder / "alertmanager.log"):
        yield address


def newer(suite: str, program: str, *, required: bool = False) -> str:
    """The path of a program of a newer suite of Debian, as ``scripts/newer-servers`` unpacks it.

    If it is missing, the test is skipped visibly; if it is ``required``, that is a failure on CI.
    """
    path = Path(__file__).parents[2] / ".servers" / suite / "usr" / "bin" / program
    if not path.exists():
        reason = f"no {program} of Debian's {suite} here: `sh scripts/newer-servers` fetches it"
        pytest.fail(reason) if required and os.environ.get("CI") else pytest.skip(reason)
    return str(path)

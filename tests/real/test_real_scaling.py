"""The files of examples/scaling with real servers: hubs of two machines, a pair of Prometheis, a federation,
vmagent and VictoriaMetrics, and services that push by themselves."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from machines import EXAMPLES, TOKEN_FILE, Command, Machine, command, here, machine, path_with_scripts
from pages import DOCS, blocks
from servers import Prometheus, alertmanager, free_port, get, newer, running, serving, wait_for

pytestmark = [pytest.mark.real_server, pytest.mark.slow, pytest.mark.timeout(120)]

FAST = {"15s": "1s"}
NAMING = "-opentelemetry.usePrometheusNaming"
TARGETS = ("machine-1.internal:9464", "machine-2.internal:9464")


class Cluster:
    """Two machines, and what scrapes them by the files of examples/scaling."""

    def __init__(self, stack: ExitStack, folder: Path, executable: str) -> None:
        self.folder = folder
        self._token = {"/etc/prometheus/shop-token": str(folder / TOKEN_FILE)}
        runtime = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hub-", dir="/tmp")))
        machines = [stack.enter_context(machine(folder, runtime, linger=8)) for _ in TARGETS]
        self.machines: list[Machine] = machines
        addresses = dict(zip(TARGETS, (found.address for found in machines), strict=True))
        (folder / "alertmanager.yml").write_text('{"route": {"receiver": "x"}, "receivers": [{"name": "x"}]}')
        self.alertmanager = stack.enter_context(alertmanager(executable, folder / "alertmanager.yml", folder))
        self.first = stack.enter_context(ExitStack())
        self.pair = [
            kept.enter_context(self._prometheus(replica, addresses))
            for replica, kept in {"a": self.first, "b": stack}.items()
        ]
        self.above = stack.enter_context(self._federation())
        self.victoria = stack.enter_context(self._victoria(addresses))
        for found in machines:
            found.wait_for_workers()

    @contextmanager
    def _prometheus(self, replica: str, addresses: Mapping[str, str]) -> Iterator[Prometheus]:
        folder = self.folder / replica
        folder.mkdir()
        here(folder, "scaling/hubs.yml", addresses)
        here(folder, "scaling/rules.yml", {"for: 5m": "for: 1s"})
        config = here(
            folder,
            "scaling/prometheus.yml",
            {**FAST, **self._token, "alertmanager.internal:9093": self.alertmanager},
        )
        shown = command("scaling.md", "prometheus", "--config.file=prometheus.yml")
        with _started(shown, config, folder, {**shown.variables, "REPLICA": replica}) as found:
            yield found

    @contextmanager
    def _federation(self) -> Iterator[Prometheus]:
        folder = self.folder / "above"
        folder.mkdir()
        places = {
            f"prometheus-eu-{name}.internal:9090": found.url.removeprefix("http://")
            for name, found in zip("ab", self.pair, strict=True)
        }
        config = here(folder, "scaling/federation.yml", {**FAST, **places})
        shown = command("scaling.md", "prometheus", "--config.file=federation.yml")
        with _started(shown, config, folder, {}) as found:
            yield found

    @contextmanager
    def _victoria(self, addresses: Mapping[str, str]) -> Iterator[Prometheus]:
        folder = self.folder / "vmagent"
        folder.mkdir()
        here(folder, "scaling/hubs.yml", addresses)
        config = here(folder, "scaling/vmagent.yml", {**FAST, **self._token})
        with victoria(folder) as found:
            shown = command("scaling.md", "vmagent")
            with _vmagent(shown.words, folder, str(config), found, shown.variables):
                yield found


@contextmanager
def _started(
    shown: Command, config: Path, folder: Path, variables: Mapping[str, str]
) -> Iterator[Prometheus]:
    """A Prometheus by a command of the page, with its file and its data in this folder."""
    address = f"127.0.0.1:{free_port()}"
    program, *flags = (word.replace(config.name, str(config)) for word in shown.words)
    places = [f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={address}"]
    executable = newer("sid", program, required=True)
    with serving([executable, *flags, *places, "--log.level=warn"], folder, address, env=variables) as found:
        yield found


@contextmanager
def _vmagent(
    words: Sequence[str], folder: Path, config: str, database: Prometheus, variables: Mapping[str, str]
) -> Iterator[str]:
    """A vmagent by a command of the page, which writes to this database; gives its address."""
    address = f"127.0.0.1:{free_port()}"
    places = {"vmagent.yml": config, "http://victoria.internal:8428": database.url}
    program, *flags = words
    for written, place in places.items():
        flags = [flag.replace(written, place) for flag in flags]
    own = [f"-remoteWrite.tmpDataPath={folder / 'agent'}", f"-httpListenAddr={address}"]
    executable = newer("sid", program, required=True)
    with running([executable, *flags, *own], log=folder / "agent.log", env=variables):
        yield f"http://{address}"


@contextmanager
def victoria(folder: Path) -> Iterator[Prometheus]:
    """A VictoriaMetrics that scrapes nothing; names are those of Prometheus."""
    address = f"127.0.0.1:{free_port()}"
    command = [
        newer("sid", "victoria-metrics", required=True),
        f"-storageDataPath={folder / 'victoria'}",
        f"-httpListenAddr={address}",
        "-retentionPeriod=1",
        "-search.latencyOffset=0s",
        NAMING,
        "-loggerLevel=WARN",
    ]
    with serving(command, folder, address) as found:
        yield found


@pytest.fixture(scope="module")
def cluster(real_alertmanager: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Started once, for all tests."""
    with ExitStack() as stack:
        yield Cluster(stack, tmp_path_factory.mktemp("scaling"), real_alertmanager)


def test_the_federation_has_what_both_of_a_pair_sum_up(cluster: Cluster) -> None:
    """A series of each rule from each replica, with its labels; `max without (replica)` is one of them."""
    expression = "job:orders:rate5m"
    wait_for(
        lambda: len(cluster.above.query(f"{expression} > 0")) == 2, seconds=40, what="rates of both replicas"
    )
    found = cluster.above.values(expression, "cluster", "replica", "job")
    assert found.keys() == {("eu", "a", "shop"), ("eu", "b", "shop")}
    one = cluster.above.values(f"max without (replica) ({expression})", "cluster", "job", "replica")
    assert one.keys() == {("eu", "shop", "")}
    (query,) = (block.text for block in blocks(DOCS / "scaling.md") if block.language == "promql")
    assert cluster.above.values(query, "job").keys() == {("shop",)}
    wait_for(
        lambda: cluster.above.values("max(job:otel_prom_bridge_sources:sum)").get(()) == 8,
        seconds=20,
        what="eight workers of two machines",
    )
    quantile = "histogram_quantile(0.5, max without (replica) (job:latency_seconds_bucket:rate5m))"
    wait_for(
        lambda: 0.1 < cluster.above.values(quantile, "job").get(("shop",), 0) < 0.3,
        seconds=20,
        what="the median of both machines",
    )
    assert cluster.above.query('{__name__=~"orders.*"}') == []


def test_both_of_a_pair_see_all(cluster: Cluster) -> None:
    """The instances, and exemplars of each of them: one scraper takes nothing from the other."""
    instances = {(found.address,) for found in cluster.machines}
    for database in cluster.pair:
        assert cluster.pair[0].values("up", "instance").keys() == instances

        def exemplars(database: Prometheus = database) -> set[tuple[str, ...]]:
            found = database.query_exemplars("latency_seconds_bucket")
            return {(series["seriesLabels"]["instance"],) for series in found if series["exemplars"]}

        wait_for(lambda: exemplars() == instances, seconds=20, what="exemplars of both")
    (info, *_) = cluster.pair[0].query("target_info")
    assert "instance" in info["metric"]
    assert not any(
        "service_instance_id" in found["metric"] for found in cluster.pair[0].query("orders_total")
    )


def test_vmagent_and_prometheus_have_the_same(cluster: Cluster) -> None:
    """Each machine's total is in both databases, and is what its workers have counted. It is the last test
    of these hubs: they end with it, and both of the pair send one alert, which says so."""
    wait_for(lambda: len(cluster.victoria.query("orders_total")) == 2, seconds=40, what="orders of vmagent")
    (series, _) = cluster.victoria.query("orders_total")
    assert (series["metric"]["cluster"], series["metric"]["job"]) == ("eu", "shop")
    taken = {found.address: float(found.stop()) for found in cluster.machines}
    for database in (*cluster.pair, cluster.victoria):
        wait_for(
            lambda database=database: (
                {  # type: ignore[misc]
                    key[0]: value for key, value in database.values("orders_total", "instance").items()
                }
                == taken
            ),
            seconds=8,
            what=f"{taken} in {database.url}",
        )
    wait_for(
        lambda: all(found.is_gone() for found in cluster.machines), seconds=20, what="the end of the hubs"
    )
    command = [
        "amtool",
        f"--alertmanager.url=http://{cluster.alertmanager}",
        "--output=json",
        "alert",
        "query",
    ]

    def alerts() -> list[dict[str, str]]:
        found = subprocess.run(
            [*command, "alertname=HubDown"], capture_output=True, timeout=10, check=False
        ).stdout
        return [alert["labels"] for alert in json.loads(found or "[]")]

    found = wait_for(lambda: alerts() if len(alerts()) >= 2 else [], seconds=20, what="alerts")
    assert {alert["instance"] for alert in found} == taken.keys()
    assert len(found) == 2
    assert {(alert["cluster"], alert.get("replica")) for alert in found} == {("eu", None)}


def test_one_of_a_pair_is_enough(cluster: Cluster) -> None:
    """When the first has ended, the one above still gets new values of the same series from the other."""
    expression = "max without (replica) (job:orders:rate5m)"
    before = cluster.above.values(expression, "cluster", "job")
    assert before.keys() == {("eu", "shop")}
    ended = cluster.pair[0].url.removeprefix("http://")
    cluster.first.close()
    down = f'up{{instance="{ended}"}} == 0'
    wait_for(lambda: cluster.above.query(down), seconds=20, what="the end of one")
    ends = time.time()
    fresh = f'timestamp(job:orders:rate5m{{replica="b"}}) > {ends}'
    wait_for(lambda: cluster.above.query(fresh), seconds=20, what="values of the other")
    assert cluster.above.values(expression, "cluster", "job").keys() == before.keys()


SERVICE = """
import time
from opentelemetry import metrics
orders = metrics.get_meter("shop").create_counter("orders")
for _ in range(200):
    orders.add(1, {"payment.method": "card"})
    time.sleep(0.01)
"""
ENDPOINT = "http://victoria.internal:8428"


def push(folder: Path, to: str, temporality: str = "cumulative") -> None:
    """Run a service with two processes, which take 200 orders each and push to this address."""
    changed = {ENDPOINT: to, "15000": "300", "=cumulative": f"={temporality}"}
    file = here(folder, "scaling/otlp.env", changed)
    (folder / "shop.py").write_text(SERVICE)
    (block,) = (each.text for each in blocks(DOCS / "scaling.md") if "opentelemetry-instrument" in each.text)
    script = f"cd {folder}\n{block.replace('examples/scaling/otlp.env', str(file))}"
    variables = {"PATH": path_with_scripts(), "OTEL_TRACES_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}
    with ExitStack() as stack:
        processes = [
            stack.enter_context(running(["sh", "-euc", script], log=folder / f"{number}.log", env=variables))
            for number in range(2)
        ]
        assert [process.wait(40) for process in processes] == [0, 0], processes[0].output


def orders(database: Prometheus) -> dict[str, float]:
    """The orders of each process that a VictoriaMetrics has."""
    get(f"{database.url}/internal/force_flush")
    found = database.query('last_over_time(orders_total{service_name="shop"}[5m])')
    return {series["metric"]["service_instance_id"]: float(series["value"][1]) for series in found}


@pytest.mark.parametrize("through", ["itself", "vmagent"])
def test_services_push_cumulatively(through: str, tmp_path: Path) -> None:
    """Each process has series of its own, by its service.instance.id, and their sum is right."""
    with victoria(tmp_path) as database, ExitStack() as stack:
        to = database.url
        if through == "vmagent":
            words = ["vmagent", "-remoteWrite.url=http://victoria.internal:8428/api/v1/write", NAMING]
            to = stack.enter_context(_vmagent(words, tmp_path, "", database, {}))
        push(tmp_path, to)
        wait_for(lambda: [*orders(database).values()] == [200, 200], seconds=20, what="all orders")


def test_deltas_are_wrong_there(tmp_path: Path) -> None:
    """VictoriaMetrics takes them without an error, and keeps the last of them for the total."""
    with victoria(tmp_path) as database:
        push(tmp_path, database.url, "delta")
        found = wait_for(
            lambda: orders(database) if len(orders(database)) == 2 else {}, seconds=20, what="both"
        )
        time.sleep(2)  # what it has taken in last can be found after a second
        assert 0 < sum(orders(database).values()) < 200, found


def test_debian_s_prometheus_has_no_receiver() -> None:
    """What the first line of a file says that was not run here."""
    assert (
        "Not run here: Debian's" in (EXAMPLES / "scaling" / "prometheus-otlp.yml").read_text().splitlines()[0]
    )
    command = [newer("sid", "prometheus", required=True), "--web.enable-otlp-receiver"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert "unknown long flag" in found.stderr

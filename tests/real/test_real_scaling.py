"""The files of examples/scaling with real servers: hubs of two machines, a pair of Prometheis, a federation,
vmagent and VictoriaMetrics, and services that push by themselves."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from machines import EXAMPLES, Machine, here, machine, path_with_scripts, variables
from servers import Prometheus, alertmanager, free_port, get, newer, running, serving, wait_for

pytestmark = [pytest.mark.real_server, pytest.mark.slow, pytest.mark.timeout(120)]

FAST = {"15s": "1s"}
TARGETS = ("machine-1.internal:9464", "machine-2.internal:9464")


class Cluster:
    """Two machines, and what scrapes them by the files of examples/scaling."""

    def __init__(self, stack: ExitStack, folder: Path, executable: str) -> None:
        self.folder = folder
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
            folder, "scaling/prometheus.yml", {**FAST, "alertmanager.internal:9093": self.alertmanager}
        )
        environment = {"CLUSTER": "eu", "REPLICA": replica}
        with _started("prometheus", config, folder, environment) as found:
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
        with _started("prometheus", config, folder, {}) as found:
            yield found

    @contextmanager
    def _victoria(self, addresses: Mapping[str, str]) -> Iterator[Prometheus]:
        folder = self.folder / "vmagent"
        folder.mkdir()
        here(folder, "scaling/hubs.yml", addresses)
        config = here(folder, "scaling/vmagent.yml", {**FAST, "victoria.internal": "localhost"})
        with victoria(folder) as found:
            agent = [
                newer("sid", "vmagent", required=True),
                f"-promscrape.config={config}",
                f"-remoteWrite.url={found.url}/api/v1/write",
                f"-remoteWrite.tmpDataPath={folder / 'agent'}",
                f"-httpListenAddr=127.0.0.1:{free_port()}",
            ]
            with running(agent, log=folder / "agent.log", env={"CLUSTER": "eu"}):
                yield found


@contextmanager
def _started(
    program: str, config: Path, folder: Path, environment: Mapping[str, str]
) -> Iterator[Prometheus]:
    address = f"127.0.0.1:{free_port()}"
    command = [
        newer("sid", program, required=True),
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
        "--enable-feature=exemplar-storage,native-histograms",
        "--log.level=warn",
    ]
    with serving(command, folder, address, env=environment) as found:
        yield found


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
        "-opentelemetry.usePrometheusNaming",
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


def pushed(folder: Path, database: Prometheus, **changed: str) -> float:
    """The orders that a VictoriaMetrics has of a service with two processes, which take 400 together."""
    endpoint = {"http://victoria.internal:8428": database.url, "15000": "300"}
    environment = variables(here(folder, "scaling/otlp.env", endpoint)) | changed
    environment |= {"PATH": path_with_scripts(), "OTEL_TRACES_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}
    command = [
        shutil.which("opentelemetry-instrument", path=path_with_scripts()) or "",
        "python",
        "-c",
        SERVICE,
    ]
    with ExitStack() as stack:
        processes = [
            stack.enter_context(running(command, log=folder / f"{number}.log", env=environment))
            for number in range(2)
        ]
        assert [process.wait(40) for process in processes] == [0, 0], processes[0].output

    def found() -> list[dict[str, Any]]:
        get(f"{database.url}/internal/force_flush")
        return database.query("last_over_time(orders_total[5m])")

    time.sleep(2)  # it keeps what it has taken in for a second
    wait_for(lambda: len(found()) == 2, seconds=10, what="both processes")
    assert len({series["metric"]["service_instance_id"] for series in found()}) == 2
    assert {series["metric"]["service_name"] for series in found()} == {"shop"}
    return sum(float(series["value"][1]) for series in found())


def test_services_push_cumulatively(tmp_path: Path) -> None:
    """Each process has series of its own, by its service.instance.id, and their sum is right."""
    with victoria(tmp_path) as database:
        assert pushed(tmp_path, database) == 400


def test_deltas_are_wrong_there(tmp_path: Path) -> None:
    """VictoriaMetrics takes them without an error, and keeps the last of them for the total."""
    temporality = {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta"}
    with victoria(tmp_path) as database:
        assert pushed(tmp_path, database, **temporality) < 200


def test_debian_s_prometheus_has_no_receiver() -> None:
    """What the first line of a file says that was not run here."""
    assert (
        "Not run here: Debian's" in (EXAMPLES / "scaling" / "prometheus-otlp.yml").read_text().splitlines()[0]
    )
    command = [newer("sid", "prometheus", required=True), "--web.enable-otlp-receiver"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert "unknown long flag" in found.stderr

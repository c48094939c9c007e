"""Real scrapers and an endpoint that is not open to everybody: TLS, passwords, certificates, a Unix socket.

And one whose idle connections end just when the next scrape comes (fault 43).
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import bcrypt
import pytest
from certificates import CA, write_authority, write_pair
from opentelemetry.sdk.metrics import MeterProvider
from servers import Prometheus, get, prometheus, victoria_metrics, wait_for

from otel_prom_bridge import MetricsServer, PrometheusMetricReader, start_http_server
from otel_prom_bridge.endpoint.server.limits import ServerLimits

pytestmark = [pytest.mark.real_server, pytest.mark.timeout(120)]

INTERVAL = 1.0
SCRAPES = 12  # in a row, without a loss
PASSWORD = "correct horse battery staple"
SAME = tuple(f"idle-{number}" for number in range(4))  # idle connections may last as long as the interval
# Where connections end when the next request comes. Prometheus sends it again; VictoriaMetrics sleeps for a
# second before it does, which is more than its timeout here, so there it may lose a scrape.
RACE = ("race",)
GOOD = ("password", "certificate", "unix", *SAME)
REFUSED = {"wrong-password": "401", "no-password": "401", "no-certificate": "", "wrong-certificate": ""}


class Forwarder:
    """A proxy from TCP to a Unix socket: some connections, each in two threads, until it is closed."""

    MOST = 16

    def __init__(self, path: str) -> None:
        self._path = path
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._room = threading.BoundedSemaphore(self.MOST)
        self._open: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        """End all connections and threads."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join(5)
        for end in list(self._open):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
            assert not thread.is_alive()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if not self._room.acquire(blocking=False):
                near.close()
                continue
            thread = threading.Thread(target=self._talk, args=(near,))
            self._threads.append(thread)
            thread.start()

    def _talk(self, near: socket.socket) -> None:
        with near, socket.socket(socket.AF_UNIX) as far, self._room_given_back(), suppress(OSError):
            far.connect(self._path)
            ends = {near, far}
            self._open |= ends
            back = threading.Thread(target=self._pump, args=(far, near))
            back.start()
            self._pump(near, far)
            back.join()
            self._open -= ends

    @contextmanager
    def _room_given_back(self) -> Iterator[None]:
        try:
            yield
        finally:
            self._room.release()

    def _pump(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        for end in (one, other):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@dataclass(frozen=True)
class Targets:
    """Where to scrape, and how: by the name of the job."""

    addresses: Mapping[str, str]
    settings: Mapping[str, Mapping[str, object]]
    servers: Mapping[str, MetricsServer]


@dataclass(frozen=True)
class Files:
    """The certificates and configurations of both sides."""

    folder: Path

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def write(self) -> None:
        """A CA, a server, and two scrapers of which one may scrape."""
        write_authority(self.folder)
        for name in ("127.0.0.1", "scraper.example", "other.example"):
            write_pair(self.folder, CA.issue_cert(name), name)
        hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(10)).decode()
        own = "cert_file: 127.0.0.1.pem, key_file: 127.0.0.1.key"
        (self.folder / "password.yml").write_text(
            f"tls_server_config: {{{own}}}\nbasic_auth_users:\n  alice: {hashed}\n"
        )
        required = "client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.pem"
        (self.folder / "certificate.yml").write_text(
            f"tls_server_config: {{{own}, {required}, client_allowed_sans: [scraper.example]}}\n"
        )

    def settings(self) -> dict[str, Mapping[str, object]]:
        """What a scraper has to be told of each job."""

        def secure(**rest: object) -> Mapping[str, object]:
            return {"scheme": "https", "tls_config": {"ca_file": self.path("ca.pem"), **rest}}

        def shown(name: str) -> Mapping[str, object]:
            return secure(cert_file=self.path(f"{name}.pem"), key_file=self.path(f"{name}.key"))

        def user(password: str) -> Mapping[str, object]:
            return {**secure(), "basic_auth": {"username": "alice", "password": password}}

        return {
            "password": user(PASSWORD),
            "wrong-password": user(PASSWORD + "!"),
            "no-password": secure(),
            "certificate": shown("scraper.example"),
            "wrong-certificate": shown("other.example"),
            "no-certificate": secure(),
        }


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Targets]:
    """One reader behind endpoints of all kinds."""
    files = Files(tmp_path_factory.mktemp("secure"))
    files.write()
    reader = PrometheusMetricReader(registry=None, self_metrics=False)
    provider = MeterProvider([reader], shutdown_on_exit=False)
    provider.get_meter("shop").create_counter("orders").add(7, {"item": "books"})
    with ExitStack() as stack:
        stack.callback(provider.shutdown)

        def start(**options: object) -> MetricsServer:
            where = {} if "unix_socket" in options else {"port": 0}
            return stack.enter_context(start_http_server(reader, **where, **options))  # type: ignore[arg-type]

        servers = {name: start(web_config=files.path(f"{name}.yml")) for name in ("password", "certificate")}
        for name in SAME:
            servers[name] = start(limits=ServerLimits(idle_timeout=INTERVAL))
        servers["race"] = start(limits=ServerLimits(idle_timeout=INTERVAL - 0.502))  # half a second is added
        addresses = {name: f"127.0.0.1:{server.port}" for name, server in servers.items()}
        servers["unix"] = start(unix_socket=os.path.join(files.folder, "metrics.sock"))
        forwarder = Forwarder(servers["unix"].address)
        stack.callback(forwarder.close)
        addresses["unix"] = forwarder.address
        for job in REFUSED:
            addresses[job] = addresses[job.partition("-")[2]]
        yield Targets(addresses, files.settings(), servers)


@pytest.fixture(scope="module")
def scrapers(
    real_prometheus: str,
    real_victoria_metrics: str,
    targets: Targets,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Mapping[str, Prometheus]]:
    """Both, started together: the first scrape of one of them takes seconds."""
    addresses, settings = targets.addresses, targets.settings
    one, two = tmp_path_factory.mktemp("prometheus"), tmp_path_factory.mktemp("victoria")
    with (
        prometheus(real_prometheus, one, addresses, interval=INTERVAL, settings=settings) as first,
        victoria_metrics(
            real_victoria_metrics, two, addresses, interval=INTERVAL, settings=settings
        ) as second,
    ):
        yield {"prometheus": first, "victoria": second}


@pytest.fixture(params=["prometheus", "victoria"])
def scraper(request: pytest.FixtureRequest, scrapers: Mapping[str, Prometheus]) -> Prometheus:
    """Each of them, after its first scrapes."""
    api = scrapers[request.param]
    wait_for(api.has_scraped, seconds=30, what="the first scrapes")
    return api


def results(api: Prometheus, jobs: Collection[str], since: float) -> dict[str, list[float]]:
    """What became of these jobs' scrapes since then, 1 for a success, when there were enough of them."""

    def enough() -> dict[str, list[float]]:
        found = {
            series["metric"]["job"]: [float(up) for at, up in series["values"] if float(at) >= since]
            for series in api.query("up[2m]")
        }
        return found if all(len(found.get(job, ())) >= SCRAPES for job in jobs) else {}

    found = wait_for(enough, seconds=SCRAPES * INTERVAL * 3, what=f"{SCRAPES} scrapes of each target")
    return {job: found[job] for job in jobs}


def test_43_no_scrape_is_lost(scrapers: Mapping[str, Prometheus]) -> None:
    """Twelve in a row succeed over TLS, through a proxy, and where the idle timeout equals the interval."""
    for api in scrapers.values():
        wait_for(api.has_scraped, seconds=30, what="the first scrapes")
    since = time.time()
    for name, api in scrapers.items():
        jobs = GOOD + RACE if name == "prometheus" else GOOD
        found = results(api, jobs, since)
        assert {job: set(ups) for job, ups in found.items()} == {job: {1.0} for job in jobs}, name


def test_what_was_recorded_arrives(scraper: Prometheus, targets: Targets) -> None:
    """The value is there by every way that is open to the scraper, and by no other."""

    def arrived() -> bool:
        found = scraper.values('orders_total{item="books"}', "job")
        return not any((job,) in found for job in REFUSED) and all(found.get((job,)) == 7 for job in GOOD)

    wait_for(arrived, seconds=20, what="the value of each good job")
    assert all(server.is_serving for server in targets.servers.values())


def test_who_may_not_is_refused(scraper: Prometheus) -> None:
    """Wrong and missing passwords and certificates are failed scrapes with the right reason."""
    found = {target["labels"]["job"]: target for target in scraper.targets()}
    for job, reason in REFUSED.items():
        assert found[job]["health"] == "down", job
        assert found[job]["lastError"] != "", job
        assert reason in found[job]["lastError"], job


def test_connections_are_kept(scrapers: Mapping[str, Prometheus]) -> None:
    """Prometheus shakes hands once for all of its scrapes, also with an idle timeout of one interval."""
    api = scrapers["prometheus"]
    wait_for(api.has_scraped, seconds=30, what="the first scrapes")
    lines = get(f"{api.url}/metrics")[1].decode().splitlines()
    own = dict(line.rsplit(" ", 1) for line in lines)

    def opened(job: str) -> int:
        return int(own[f'net_conntrack_dialer_conn_established_total{{dialer_name="{job}"}}'])

    for job in GOOD:  # a scrape that a busy machine made late would have been another one
        assert 1 <= opened(job) <= 3, job

"""What strangers do to guards and TLS, by the numbers of the faults in the research.

Through a server of a real reader, and with ``unharmed`` after each of them, whose scrape is that of somebody
who may.
"""

from __future__ import annotations

import base64
import hmac
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import bcrypt
import pytest
from certificates import CA, CLIENT, OTHER_CA, client_context, write_authority, write_pair
from servers import wait_for
from setups import Setup
from wire import (
    LAST_GET,
    PATIENT,
    SOON,
    Port,
    asking,
    connect,
    exchange,
    get,
    looping,
    memory,
    received,
    reset,
    serve,
    statuses,
    unharmed,
)

from otel_prom_bridge import ConfigurationError, EndpointError, MetricsServer
from otel_prom_bridge.endpoint.files.tls import Tls, TlsSettings
from otel_prom_bridge.endpoint.guards import Guards, RateLimit
from otel_prom_bridge.endpoint.guards.rate import MAX_PEERS
from otel_prom_bridge.endpoint.messages import Handler, Request, Response

pytestmark = pytest.mark.clocked

Make = Callable[..., Setup]
Capture = pytest.CaptureFixture[str]
Log = pytest.LogCaptureFixture

SECRET, TOKEN = "correct horse battery staple", "first-token-0123456789"


def hashed(password: str, cost: int = 4) -> str:
    """The hash of a password, as a web-config.yml has it."""
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode()


def basic(user: str, password: str) -> str:
    """The header of a user."""
    return "Authorization: Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def scrape_as(*fields: str, server: MetricsServer | Port) -> float:
    """How long a scrape with these fields takes; it must succeed."""
    start = time.monotonic()
    answer = get(server, *fields)
    assert answer.status == 200, answer
    return time.monotonic() - start


def known_to(*fields: str) -> Callable[[MetricsServer | Port], float]:
    """The scrape of somebody with these fields, for ``unharmed``."""
    return lambda server: scrape_as(*fields, server=server)


# --- TLS ----------------------------------------------------------------------------------------------


def in_files(folder: Path) -> TlsSettings:
    """A certificate and its key in files, and the authority beside them."""
    write_authority(folder)
    cert_file, key_file = write_pair(folder)
    return TlsSettings(cert_file=cert_file, key_file=key_file)


def secure_get(server: MetricsServer | Port, context: ssl.SSLContext) -> tuple[int | None, int]:
    """The status, None where the connection was refused, and the serial number of the certificate."""
    serial = 0
    with (
        suppress(OSError),
        connect(server) as raw,
        context.wrap_socket(raw, server_hostname="127.0.0.1") as client,
    ):
        serial = int(client.getpeercert()["serialNumber"], 16)  # type: ignore[index,arg-type]
        client.sendall(LAST_GET)
        found = statuses(received(client))
        return (int(found[0]) if found else None), serial
    return None, serial


def secure_scrape(context: ssl.SSLContext, server: MetricsServer | Port) -> float:
    """How long a scrape over TLS takes; it must succeed."""
    start = time.monotonic()
    assert secure_get(server, context)[0] == 200
    return time.monotonic() - start


def over_tls(context: ssl.SSLContext) -> Callable[[MetricsServer | Port], float]:
    """The scrape of a client with this context, for ``unharmed``."""
    return partial(secure_scrape, context)


class Large(Handler):
    """A handler with a large body, but for ``/metrics``."""

    body = bytes(20_000_000)

    def respond(self, request: Request) -> Response:
        return Response(200, (), b"up 1\n" if request.path == "/metrics" else self.body)


def shaken(server: Port, context: ssl.SSLContext, data: bytes) -> ssl.SSLSocket:
    """A connection over TLS on which so much was said."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.settimeout(10)
    raw.connect((server.address, server.port))
    client = context.wrap_socket(raw, server_hostname="127.0.0.1")
    client.sendall(data)
    return client


def test_6_readers_that_do_not_read_over_tls(tmp_path: Path, capfd: Capture) -> None:
    """Twenty of them cost less than one body together, and are cut off when their time is over."""
    context = client_context()  # one for all: it takes more memory than a connection
    with (
        looping(Large(), tls=Tls(in_files(tmp_path))) as server,
        unharmed(server, capfd, scrape=over_tls(context)),
    ):
        before = memory()
        clients = [shaken(server, context, asking(path="/large")) for _ in range(20)]
        time.sleep(0.5)
        assert memory() - before < len(Large.body)
        time.sleep(1.0)
        for client in clients:
            taken = 0
            with suppress(OSError), client:
                while piece := client.recv(65536):
                    taken += len(piece)
            assert taken < len(Large.body)


def test_7_resets_over_tls(tmp_path: Path, capfd: Capture) -> None:
    """Clients that vanish after the handshake, in a request and in a response harm nobody."""
    context = client_context()
    with (
        looping(Large(), tls=Tls(in_files(tmp_path))) as server,
        unharmed(server, capfd, scrape=over_tls(context)),
    ):
        for data in (b"", LAST_GET[:20], LAST_GET, asking(path="/large") * 3):
            for _ in range(3):
                reset(shaken(server, context, data))
            client = shaken(server, context, data)
            with suppress(OSError):
                client.settimeout(0.1)
                client.recv(100)
            reset(client)


def test_3_a_trickled_handshake(setup: Setup, tmp_path: Path, capfd: Capture) -> None:
    """Its deadline is that of the whole handshake, and a byte now and then does not move it."""
    with (
        serve(setup, tls=Tls(in_files(tmp_path))) as server,
        unharmed(server, capfd, scrape=over_tls(client_context())),
        connect(server) as client,
    ):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        with pytest.raises(ssl.SSLWantReadError):
            client_context().wrap_bio(incoming, outgoing, server_hostname="127.0.0.1").do_handshake()
        client.settimeout(0.05)
        start = time.monotonic()
        with suppress(ConnectionError):
            for byte in outgoing.read():
                client.sendall(bytes([byte]))
                with suppress(TimeoutError):
                    if not client.recv(100):
                        break
        assert 0.5 < time.monotonic() - start < 4


def test_8_silence(setup: Setup, tmp_path: Path, capfd: Capture) -> None:
    """Fifty connections without a handshake hold up nobody and are closed when their time is over."""
    with (
        serve(setup, tls=Tls(in_files(tmp_path)), limits=PATIENT) as server,
        unharmed(server, capfd, scrape=over_tls(client_context())),
    ):
        clients = [connect(server) for _ in range(50)]
        assert secure_scrape(client_context(), server) < SOON / 2
        for client in clients:
            assert received(client) == b""
            client.close()


def test_9_what_is_no_tls(setup: Setup, tmp_path: Path, capfd: Capture) -> None:
    """Half a ClientHello, plain HTTP, garbage and resets end in closed connections."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        client_context().wrap_bio(incoming, outgoing, server_hostname="127.0.0.1").do_handshake()
    hello = outgoing.read()
    with (
        serve(setup, tls=Tls(in_files(tmp_path))) as server,
        unharmed(server, capfd, scrape=over_tls(client_context())),
    ):
        said = (hello[:100], hello, LAST_GET, b"\x16\x03\x01" + b"\xff" * 500, b"\0" * 5000, b"\r\n")
        clients = [connect(server, data) for data in said]
        for data in said:
            reset(connect(server, data))
        for client in clients:
            assert b"HTTP/1.1 2" not in received(client)
            client.close()


def test_plain_http_on_a_port_with_tls(setup: Setup, tmp_path: Path, capfd: Capture, caplog: Log) -> None:
    """Somebody who forgot the s of https is in the log, once, with what to do."""
    with (
        serve(setup, tls=Tls(in_files(tmp_path))) as server,
        unharmed(server, capfd, scrape=over_tls(client_context())),
    ):
        for _ in range(5):
            assert statuses(exchange(server, LAST_GET)) == []
    wait_for(lambda: "plain HTTP" in caplog.text, seconds=5, what="the line")
    lines = [record for record in caplog.records if "plain HTTP" in record.message]
    assert [line.levelname for line in lines] == ["WARNING"]
    assert "127.0.0.1 speaks plain HTTP, and this port only TLS; let it ask https://" in lines[0].message


def test_10_an_old_client(setup: Setup, tmp_path: Path, capfd: Capture) -> None:
    """TLS 1.1 is refused in the handshake, and 1.2 is not."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("no openssl here")
    with (
        serve(setup, tls=Tls(in_files(tmp_path))) as server,
        unharmed(server, capfd, scrape=over_tls(client_context())),
    ):

        def openssl(*options: str) -> str:
            command = [program, "s_client", "-connect", f"127.0.0.1:{server.port}", *options]
            run = subprocess.run(command, input=b"Q\n", capture_output=True, timeout=20, check=False)
            return (run.stdout + run.stderr).decode(errors="replace")

        assert "Cipher is (NONE)" in openssl("-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0")
        assert re.search(r"Protocol *: TLSv1\.2", openssl("-tls1_2"))


def test_11_clients_without_the_right_certificate(setup: Setup, tmp_path: Path, capfd: Capture) -> None:
    """No certificate, one of another CA and one for another name are refused, the right one is answered."""
    plain = in_files(tmp_path)
    settings = TlsSettings(
        cert_file=plain.cert_file,
        key_file=plain.key_file,
        client_ca_file=str(tmp_path / "ca.pem"),
        client_auth="RequireAndVerifyClientCert",
        client_allowed_sans=("scraper.example",),
    )
    right = client_context(CLIENT)
    with (
        serve(setup, tls=Tls(settings)) as server,
        unharmed(server, capfd, scrape=over_tls(right)),
    ):
        for wrong in (None, OTHER_CA.issue_cert("scraper.example"), CA.issue_cert("other.example")):
            for newest in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                context = client_context(wrong)
                context.maximum_version = newest
                assert secure_get(server, context)[0] is None
        assert secure_get(server, right)[0] == 200


def test_12_certificates_that_change(
    setup: Setup, tmp_path: Path, capfd: Capture, caplog: Log, later: Callable[[Tls], Tls]
) -> None:
    """New connections get a new certificate, and bad files change nothing but one line in the log."""
    tls = Tls(in_files(tmp_path))
    certificate = tmp_path / "server.pem"
    with serve(setup, tls=tls) as server, unharmed(server, capfd, scrape=over_tls(client_context())):

        def serial() -> int:
            later(tls)
            return secure_get(server, client_context())[1]

        first, whole = serial(), certificate.read_bytes()
        for content in (b"garbage", whole[: len(whole) // 2], b""):
            certificate.write_bytes(content)
            assert [serial(), serial()] == [first, first]
            assert str(certificate) in (tls.problem or "")
        write_pair(tmp_path, CA.issue_cert("localhost", "127.0.0.1"))
        assert serial() not in (first, 0)
        assert tls.problem is None
    wait_for(lambda: "in use" in caplog.text, seconds=5, what="the log")
    stays = [record.message for record in caplog.records if "stays in use" in record.message]
    assert 1 <= len(stays) == len(set(stays)) <= 3  # one for each problem


# --- credentials --------------------------------------------------------------------------------------


def test_27_a_thousand_wrong_passwords(setup: Setup, capfd: Capture) -> None:
    """All get 401 with a challenge or 503, what is remembered is bounded, and who may ask does not wait."""
    guards = Guards(basic_users={"alice": hashed(SECRET, cost=5)})
    right, found = basic("alice", SECRET), list[bytes]()
    with serve(setup, guards=guards) as server, unharmed(server, capfd, scrape=known_to(right)):

        def attack(part: int) -> None:
            with connect(server, timeout=30) as client:
                users = [("alice", "bob")[number % 2] for number in range(50)]
                asked = [asking(basic(user, f"{part}-{i}"), last=i == 49) for i, user in enumerate(users)]
                client.sendall(b"".join(asked))
                found.append(received(client))

        threads = [threading.Thread(target=attack, args=(part,)) for part in range(20)]
        for thread in threads:
            thread.start()
        slowest = 0.0
        while any(thread.is_alive() for thread in threads):
            slowest = max(slowest, scrape_as(right, server=server))
            time.sleep(0.01)
        refused = [status for answer in found for status in statuses(answer)]
        assert len(refused) == 1000
        assert set(refused) <= {b"401", b"503"}
        assert b"".join(found).count(b"\r\nWWW-Authenticate: Basic ") == refused.count(b"401") > 0
        assert slowest < SOON  # 0.2, on a machine that is not busy
        passwords = guards._authentication._passwords  # no answer tells how many are remembered
        assert passwords is not None
        assert max(len(passwords._right), len(passwords._wrong)) <= 100


def test_28_the_cache_is_not_confused(setup: Setup, capfd: Capture) -> None:
    """CVE-2022-46146 and the toolkit's decoy get 401 with a cold and with a warm cache."""
    secret_hash = hashed(SECRET)
    right = basic("alice", SECRET)
    with (
        serve(setup, guards=Guards(basic_users={"alice": secret_hash})) as server,
        unharmed(server, capfd, scrape=known_to(right)),
    ):
        plain = f"alice{secret_hash}{SECRET}"
        tries = [(plain[:cut], plain[cut:]) for cut in (1, 4, 5, 6, 30, 65, 66)]
        tries += [("alice:" + secret_hash, SECRET), ("alice", secret_hash + SECRET), ("alice", secret_hash)]
        tries += [("nobody", "fakepassword"), ("alice", "fakepassword"), ("", ""), ("", SECRET)]
        for _ in range(2):
            assert [get(server, basic(*pair)).status for pair in tries] == [401] * len(tries)
            assert get(server, right).status == 200


def test_29_odd_authorization_headers(setup: Setup, tmp_path: Path, capfd: Capture) -> None:
    """Each is 401 or 400, nothing is printed, and the server lives."""
    (tmp_path / "tokens").write_text(TOKEN)
    guards = Guards(basic_users={"alice": hashed(SECRET)}, bearer_tokens_file=tmp_path / "tokens")
    right = f"Authorization: Bearer {TOKEN}"
    encoded = base64.b64encode(b"\xff\xfe:\xfd").decode()
    odd: list[Sequence[str]] = [
        ["Authorization: Basic \xe4\xf6\xfc"],
        ["Authorization: \xff\xfe"],
        [f"Authorization: Basic {encoded}"],
        ["Authorization: Basic " + "QQ" * 4000],
        ["Authorization: Bearer " + "x" * 8000],
        ["Authorization: Basic !!!"],
        ["Authorization: Basic " + base64.b64encode(b"nocolon").decode()],
        ["Authorization: Basic"],
        ["Authorization:"],
        [f"Authorization: Negotiate {TOKEN}"],
        [f"Authorization: Bearer {TOKEN} {TOKEN}"],
        [right, right],
        [basic("alice", SECRET), "Authorization: x"],
    ]
    with serve(setup, guards=guards) as server, unharmed(server, capfd, scrape=known_to(right)):
        for fields in odd:
            assert get(server, *fields).status in (400, 401), fields
        assert get(server, basic("alice", SECRET)).status == 200


def test_30_secrets_stay_secret(
    setup: Setup, tmp_path: Path, capfd: Capture, caplog: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tokens are compared in constant time, and are in no answer, no log line and no representation."""
    other = "second-token-0123456789"
    (tmp_path / "tokens").write_text(f"{TOKEN}\n{other}\n")
    compared: list[tuple[bytes, bytes]] = []
    compare = hmac.compare_digest

    def watch(one: bytes, two: bytes) -> bool:
        compared.append((one, two))
        return compare(one, two)

    right = f"Authorization: Bearer {TOKEN}"
    caplog.set_level("DEBUG")
    guards = Guards(
        basic_users={"alice": hashed(SECRET)}, bearer_tokens_file=tmp_path / "tokens", health_open=False
    )
    with serve(setup, guards=guards) as server, unharmed(server, capfd, scrape=known_to(right)):
        shown = [repr(server), repr(guards), str(vars(server))]
        with monkeypatch.context() as patched:
            patched.setattr(hmac, "compare_digest", watch)
            for token in (TOKEN, TOKEN[:-1] + "x", "y" * 30):
                compared.clear()
                shown.append(get(server, f"Authorization: Bearer {token}", path="/metrics").raw.decode())
                assert len(compared) in (2, 4)  # both, whichever fits; the loop may have looked, too
        for path in ("/health", "/ready", "/metrics"):
            for fields in ((), (right,), (basic("alice", SECRET),), (basic("alice", SECRET + "!"),)):
                shown.append(get(server, *fields, path=path).raw.decode())
    for secret in (TOKEN, other, SECRET):
        for text in (*shown, caplog.text):
            assert secret not in text
            assert base64.b64encode(f"alice:{secret}".encode()).decode() not in text


# --- rates and networks -------------------------------------------------------------------------------


def test_31_more_than_the_rate(setup: Setup, capfd: Capture) -> None:
    """The request after the burst gets 429 with Retry-After, and health is not starved."""
    guards = Guards(peer_rate_limit=RateLimit(interval=60, burst=3), trusted_proxies=["127.0.0.1"])
    numbers = iter(range(1, 250))

    def scrape(server: MetricsServer | Port) -> float:
        return scrape_as(f"X-Forwarded-For: 198.51.100.{next(numbers)}", server=server)

    with serve(setup, guards=guards) as server, unharmed(server, capfd, scrape=scrape):
        assert [get(server).status for _ in range(5)] == [200, 200, 200, 429, 429]
        assert re.search(rb"\r\nRetry-After: [1-9][0-9]*\r\n", get(server).raw)
        assert {get(server, path="/health").status for _ in range(20)} == {200}
        assert get(server, "X-Forwarded-For: 192.0.2.1").status == 200


def test_31_peers_without_number(setup: Setup, capfd: Capture) -> None:
    """Five thousand made-up peers leave a bounded number of buckets."""
    guards = Guards(peer_rate_limit=RateLimit(interval=60, burst=1000), trusted_proxies=["127.0.0.1"])
    with serve(setup, guards=guards) as server, unharmed(server, capfd, seconds=10):

        def flood(part: int) -> None:
            with connect(server, timeout=60) as client:
                for low in range(0, 250, 50):
                    peers = [f"10.{part}.{high}.{low + i}" for high in range(10) for i in range(50)]
                    asked = [asking(f"X-Forwarded-For: {peer}", path="/none", last=False) for peer in peers]
                    client.sendall(b"".join(asked))
                    answer = b""
                    while answer.count(b"HTTP/1.1 404 ") < len(peers):
                        answer += client.recv(65536)

        threads = [threading.Thread(target=flood, args=(part,)) for part in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert 1000 < len(guards._limiter) <= MAX_PEERS


def connect_from(address: str, server: MetricsServer, data: bytes) -> bytes:
    """All that comes back to a client with this address."""
    with socket.socket() as client:
        client.settimeout(10)
        client.bind((address, 0))
        client.connect((server.address, server.port))
        with suppress(ConnectionError):
            client.sendall(data)
        return received(client)


def test_32_outside_of_the_allowed_networks(setup: Setup, capfd: Capture) -> None:
    """A stranger is not even read from, whatever it says of itself and whatever password it has."""
    guards = Guards(allow=["127.0.0.1"], basic_users={"alice": hashed(SECRET)})
    right = basic("alice", SECRET)
    with serve(setup, guards=guards) as server, unharmed(server, capfd, scrape=known_to(right)):
        for fields in ((), (right,), (right, "X-Forwarded-For: 127.0.0.1")):
            assert connect_from("127.0.0.2", server, asking(*fields)) == b""
        assert get(server).status == 401
        assert get(server, right, "X-Forwarded-For: 192.0.2.1").status == 200


def test_32_behind_a_proxy(setup: Setup, capfd: Capture) -> None:
    """What a trusted proxy says counts, and a stranger behind it gets 403 before passwords are looked at."""
    guards = Guards(
        allow=["198.51.100.0/24"], trusted_proxies=["127.0.0.1"], basic_users={"alice": hashed(SECRET)}
    )
    inside = ("X-Forwarded-For: 198.51.100.7", basic("alice", SECRET))
    with serve(setup, guards=guards) as server, unharmed(server, capfd, scrape=known_to(*inside)):
        for forwarded in ("192.0.2.1", "198.51.100.7, 192.0.2.1", "nonsense"):
            answer = get(server, f"X-Forwarded-For: {forwarded}", basic("alice", SECRET))
            assert (answer.status, answer.headers["WWW-Authenticate"]) == (403, None)


def test_32_mapped_addresses(setup: Setup, capfd: Capture) -> None:
    """An IPv4 client of a socket for both kinds has its IPv4 address."""
    guards = Guards(allow=["127.0.0.1"])
    try:
        server = serve(setup, guards=guards, addr="::")
    except EndpointError:
        pytest.skip("no IPv6 on this machine")

    def scrape(_: object) -> float:
        start = time.monotonic()
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
            client.sendall(LAST_GET)
            assert statuses(received(client)) == [b"200"]
        return time.monotonic() - start

    def stranger() -> bytes:
        with socket.create_connection(("::1", server.port), timeout=10) as client:
            with suppress(ConnectionError):
                client.sendall(LAST_GET)
            return received(client)

    with server, unharmed(server, capfd, scrape=scrape):
        assert stranger() == b""


def test_32_what_is_no_network() -> None:
    """It is an error when the guards are made, before anything listens."""
    for entry in ("10.0.0.0/99", "10.0.0.1/8", "localhost", ""):
        with pytest.raises(ConfigurationError, match="allow"):
            Guards(allow=[entry])


def test_a_refused_client_of_a_unix_socket(setup: Setup, tmp_path: Path, caplog: Log) -> None:
    """The log says where it came from, though it has no address."""
    guards = Guards(allow=["127.0.0.1"])
    with serve(setup, guards=guards, unix_socket=str(tmp_path / "m.sock")) as server:
        assert exchange(server, LAST_GET) == b""
        wait_for(lambda: "refused" in caplog.text, seconds=5, what="the line")
    assert "a connection from the Unix socket was refused" in caplog.text

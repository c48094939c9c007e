"""``web-config.yml``: read as the exporter-toolkit reads it, with promtool as the second judge."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIEnvironment

import bcrypt
import pytest
from certificates import CA, CLIENT, SERVER, private_key, write_authority, write_pair
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from promtool import promtool
from properties import examples

from otel_prom_bridge.endpoint.files.webconfig import WebConfig, load
from otel_prom_bridge.endpoint.guards import Guards
from otel_prom_bridge.endpoint.messages import Handler, Request, Response
from otel_prom_bridge.errors import ConfigurationError

Later = Callable[[Any], Any]
Verdicts = Mapping[tuple[str, str], bool]

KEY = private_key(SERVER)
PASSWORD = "correct horse battery staple"
HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
FILES = "cert_file: server.pem, key_file: server.key"


def write_config(directory: Path, text: str) -> str:
    """The file, in the place of what was there."""
    new = directory / "web.yml.new"
    new.write_text(text)
    os.replace(new, directory / "web.yml")
    return str(directory / "web.yml")


def with_certificates(folder: Path) -> Path:
    """The directory, with certificates."""
    write_pair(folder)
    write_pair(folder, CLIENT, "client")
    write_authority(folder)
    (folder / "no.pem").write_text("no certificate\n")
    return folder


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A directory with certificates."""
    return with_certificates(tmp_path)


def indented(text: str) -> str:
    """A block of YAML text, two levels down."""
    return "|\n" + "".join(f"    {line}\n" for line in text.splitlines())


INLINE = (
    "tls_server_config:\n"
    f"  cert: {indented(SERVER.cert_chain_pems[0].bytes().decode())}"
    f"  key: {indented(KEY)}"
)


def tls(rest: str = "") -> str:
    """A file whose TLS has a certificate, a key, and this."""
    return f"tls_server_config: {{{FILES}{rest and ', ' + rest}}}\n"


CLIENT_CA = "client_ca_file: ca.pem"
REQUIRED = f"client_auth_type: RequireAndVerifyClientCert, {CLIENT_CA}"
ALL_CIPHERS = """cipher_suites: [TLS_AES_128_GCM_SHA256, TLS_AES_256_GCM_SHA384, TLS_CHACHA20_POLY1305_SHA256,
 TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA,
 TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA,
 TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
 TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
 TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
 TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256]"""

# Files that the toolkit takes, after its TestYAMLFiles and TestServerBehaviour.
GOOD = {
    "empty": "",
    "only a comment": "# nothing\n",
    "an empty mapping": "{}",
    "null": "~",
    "empty sections": "tls_server_config:\nhttp_server_config:\nbasic_auth_users:\n",
    "TLS": tls(),
    "TLS with everything": tls(
        f"{REQUIRED}, min_version: TLS12, max_version: TLS13, prefer_server_cipher_suites: false"
    ),
    "all ciphers": tls(ALL_CIPHERS),
    "some ciphers": tls("cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]"),
    "one curve": tls("curve_preferences: [CurveP521]"),
    "old minimum": tls("min_version: TLS10"),
    "no client certificates": tls("client_auth_type: NoClientCert"),
    "client certificates if given": tls(f"client_auth_type: VerifyClientCertIfGiven, {CLIENT_CA}"),
    "the machine's authorities": tls("client_auth_type: RequireAndVerifyClientCert"),
    "nulls": tls("client_ca_file: ~, client_auth_type: , cipher_suites: ~"),
    "http2": "http_server_config: {http2: false}",
    "http2 in old words": "http_server_config: {http2: y}",
    "headers": """
http_server_config:
  headers:
    Strict-Transport-Security: max-age=31536000
    X-Content-Type-Options: nosniff
    X-Frame-Options: sameorigin
    X-XSS-Protection: 1
    Content-Security-Policy: default-src 'self'
""",
    "empty headers": "http_server_config: {headers: {Strict-Transport-Security: , X-XSS-Protection: ''}}",
    "users": f"basic_auth_users: {{alice: '{HASH}', bob: {HASH.replace('$2b$', '$2y$')}}}",
    "a user of digits": f"basic_auth_users: {{1: '{HASH}'}}",
    "a user called null": f"basic_auth_users: {{'null': '{HASH}', ~: '{HASH}'}}",
    "anchors": f"basic_auth_users: {{alice: &hash '{HASH}', bob: *hash}}",
}

# Files that the toolkit does not take, and what is said of them.
BAD = {
    "no mapping": ("hey", r"a single value.*a mapping"),
    "a list": ("[]", r"a list.*a mapping"),
    "no YAML": ("a: [", r"line 1, column 5: .*YAML"),
    "junk": ("hahaha:\n\tb", r"line 2, column 1: .*YAML"),
    "control characters": ("a: '\x00'", r"its content.*YAML"),
    "unknown section": ("tls_config: {}", r"line 1: tls_config: .*'tls_server_config'"),
    "unknown key": (tls("cert_filse: x"), r"cert_filse: .*one of the keys \(did you mean 'cert_file'\?\)"),
    "unknown HTTP key": ("http_server_config: {http3: true}", r"http_server_config\.http3: "),
    "key in another case": ("TLS_server_config: {}", r"did you mean 'tls_server_config'"),
    "a section twice": (
        "basic_auth_users: {}\nbasic_auth_users: {}",
        r"line 2: basic_auth_users: .*each key once",
    ),
    "a key twice": (tls("cert_file: server.pem"), r"tls_server_config\.cert_file: .*each key once"),
    "a user twice": (
        f"basic_auth_users: {{a: '{HASH}', 'a': '{HASH}'}}",
        r"basic_auth_users\.a: .*each key once",
    ),
    "no certificate": (
        "tls_server_config: {key_file: server.key}",
        r"tls_server_config\.cert_file: .*or cert",
    ),
    "an empty certificate": (
        "tls_server_config: {cert_file: '', key_file: server.key}",
        r"cert_file: '' .*or cert",
    ),
    "no key": ("tls_server_config: {cert_file: server.pem}", r"tls_server_config\.key_file: .*or key"),
    "no such file": (
        "tls_server_config: {cert_file: no, key_file: server.key}",
        r"cert_file: .*/no.*No such file",
    ),
    "no such key": (
        "tls_server_config: {cert_file: server.pem, key_file: no}",
        r"key_file: .*/no.*No such file",
    ),
    "another key": (
        "tls_server_config: {cert_file: server.pem, key_file: client.key}",
        r"KEY_VALUES_MISMATCH",
    ),
    "not a certificate": ("tls_server_config: {cert_file: no.pem, key_file: server.key}", r"in PEM"),
    "a CA and no policy": (tls(CLIENT_CA), r"client_auth_type: .*there is a client_ca"),
    "no such CA": (
        tls("client_auth_type: VerifyClientCertIfGiven, client_ca_file: no"),
        r"client_ca_file: .*/no",
    ),
    "a policy that is none": (tls("client_auth_type: Sometimes"), r"client_auth_type: 'Sometimes'"),
    "an invented cipher": (tls("cipher_suites: [TLS_MAYBE]"), r"cipher_suites: 'TLS_MAYBE'"),
    "a cipher and no list": (tls("cipher_suites: TLS_AES_128_GCM_SHA256"), r"cipher_suites: .*a list"),
    "an insecure cipher": (tls("cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]"), r"cipher_suites: "),
    "an invented curve": (tls("curve_preferences: [CurveP42]"), r"curve_preferences: 'CurveP42'"),
    "an invented version": (tls("min_version: TLS111"), r"min_version: 'TLS111'"),
    "an empty version": (tls("max_version: ''"), r"max_version: '' .*'TLS13'"),
    "a quoted truth": ("http_server_config: {http2: 'true'}", r"http2: .*true or false"),
    "no truth": ("http_server_config: {http2: maybe}", r"http2: .*true or false"),
    "a header of one's own": (
        "http_server_config: {headers: {Server: x}}",
        r"headers\.Server: .*one of the keys.* X-Frame-Options",
    ),
    "a header in another case": (
        "http_server_config: {headers: {x-frame-options: deny}}",
        r"mean 'X-Frame-Options'",
    ),
    "a wrong header": (
        "http_server_config: {headers: {X-Frame-Options: DENY}}",
        r"'DENY' .*'deny', 'sameorigin'",
    ),
    "a header without a value": (
        "http_server_config: {headers: {X-Frame-Options: }}",
        r"headers\.X-Frame-Options: .*'sameorigin'",
    ),
    "an empty header": ("http_server_config: {headers: {X-Content-Type-Options: ''}}", r"'nosniff'"),
    "a plain password": (f"basic_auth_users: {{alice: {PASSWORD}}}", r"basic_auth_users\.alice: .*htpasswd"),
    "no hash": ("basic_auth_users: {alice: }", r"basic_auth_users\.alice: .*htpasswd"),
    "users in a list": ("basic_auth_users: [alice]", r"basic_auth_users: .*a mapping"),
    "a hash in a list": (
        f"basic_auth_users: {{alice: ['{HASH}']}}",
        r"alice: a list is not .*a single value",
    ),
}

# What Debian's promtool does not know yet; newer toolkits have it.
NEWER_GOOD = {
    "inline": INLINE,
    "inline and from a file": f"{INLINE}  cert_file: server.pem\n",
    "names of clients": tls(f"{REQUIRED}, client_allowed_sans: [scraper.example]"),
    "no rate": "rate_limit: {interval: 0, burst: 0}",
    "an empty rate": "rate_limit:\n",
    "a rate": "rate_limit: {interval: 1s, burst: 20}",
}
NEWER_BAD = {
    "names of optional clients": (
        tls(f"client_auth_type: VerifyClientCertIfGiven, {CLIENT_CA}, client_allowed_sans: [a]"),
        r"client_auth_type: .*client_allowed_sans would let others in",
    ),
    "a rate without unit": ("rate_limit: {interval: 1, burst: 1}", r"rate_limit\.interval: .*'500ms'"),
    "a negative rate": ("rate_limit: {interval: -1s, burst: 1}", r"rate_limit\.interval: "),
    "a rate of words": ("rate_limit: {interval: often, burst: 1}", r"rate_limit\.interval: "),
    "a burst of words": ("rate_limit: {interval: 1s, burst: some}", r"rate_limit\.burst: .*whole number"),
    "no authorities": (
        tls("client_auth_type: VerifyClientCertIfGiven, client_ca_file: no.pem"),
        r"client_ca_file: .*certificates in PEM",
    ),
}
# What the toolkit takes and this does not, because Python cannot do it or nobody can mean it.
STRICTER = {
    "any certificate": (tls(f"client_auth_type: RequireAnyClientCert, {CLIENT_CA}"), r"without verifying it"),
    "any certificate, old": (
        tls(f"client_auth_type: RequireClientCert, {CLIENT_CA}"),
        r"without verifying it",
    ),
    "a certificate, maybe": (tls("client_auth_type: RequestClientCert"), r"without verifying it"),
    "several curves": (tls("curve_preferences: [CurveP256, X25519]"), r"cannot set several"),
    "versions crossed": (tls("min_version: TLS13, max_version: TLS12"), r"min_version: .*at most 'TLS12'"),
    "nothing but old versions": (tls("max_version: TLS11"), r"max_version: .*nothing older"),
    "TLS without TLS": (
        "tls_server_config: {min_version: TLS12}",
        r"tls_server_config\.cert_file: .*or cert",
    ),
    "a hash that bcrypt cannot read": (
        f"basic_auth_users: {{a: '{HASH.replace('$2b$', '$2x$')}'}}",
        r"htpasswd",
    ),
    "a user whom nobody can be": (f"basic_auth_users: {{'a:b': '{HASH}'}}", r"without colons"),
    "a header of two lines": (
        'http_server_config: {headers: {Content-Security-Policy: "a\\r\\nSet-Cookie: b"}}',
        r"in one line",
    ),
}


@pytest.fixture(scope="module")
def taken_by_promtool(tmp_path_factory: pytest.TempPathFactory) -> Verdicts:
    """Whether promtool takes each of the files. It takes longer to start than to read all of them."""
    folder = with_certificates(tmp_path_factory.mktemp("files"))
    texts = {("good", name): text for name, text in GOOD.items()}
    texts |= {("bad", name): text for name, (text, _) in BAD.items()}
    texts |= {("stricter", name): text for name, (text, _) in STRICTER.items()}
    names = {f"{number}.yml": which for number, which in enumerate(texts)}
    for name, which in names.items():
        (folder / name).write_text(texts[which])
    said = promtool("check", "web-config", *names, folder=folder)
    verdicts = dict(re.findall(r"^([0-9]+\.yml) (SUCCESS|FAILED)", said.stdout + said.stderr, re.MULTILINE))
    assert verdicts.keys() == names.keys()
    return {names[name]: verdict == "SUCCESS" for name, verdict in verdicts.items()}


@pytest.mark.parametrize("name", GOOD)
def test_good_files(name: str, here: Path, taken_by_promtool: Verdicts) -> None:
    """What the toolkit takes is taken; promtool agrees."""
    path = write_config(here, GOOD[name])
    load(path).guards()
    assert taken_by_promtool["good", name]


@pytest.mark.parametrize("name", BAD)
def test_bad_files(name: str, here: Path, taken_by_promtool: Verdicts) -> None:
    """What the toolkit refuses is refused with file, place and what is allowed; promtool agrees."""
    text, message = BAD[name]
    path = write_config(here, text)
    with pytest.raises(ConfigurationError, match=message) as caught:
        load(path)
    assert str(caught.value).startswith(path)
    assert not taken_by_promtool["bad", name]


@pytest.mark.parametrize("name", NEWER_GOOD)
def test_newer_good_files(name: str, here: Path) -> None:
    """What newer toolkits take is taken, though the promtool of Debian does not know it yet."""
    load(write_config(here, NEWER_GOOD[name])).guards()


@pytest.mark.parametrize("name", NEWER_BAD)
def test_newer_bad_files(name: str, here: Path) -> None:
    """What newer toolkits refuse, or would only refuse with every request, is refused."""
    text, message = NEWER_BAD[name]
    with pytest.raises(ConfigurationError, match=message):
        load(write_config(here, text))


@pytest.mark.parametrize("name", STRICTER)
def test_files_that_are_only_bad_here(name: str, here: Path, taken_by_promtool: Verdicts) -> None:
    """What Python cannot do and what nobody can mean is refused, never weakened; promtool would take it."""
    text, message = STRICTER[name]
    path = write_config(here, text)
    with pytest.raises(ConfigurationError, match=message):
        load(path)
    assert taken_by_promtool["stricter", name]


def test_the_page_lists_the_files_that_are_only_bad_here() -> None:
    """docs/securing.md has a row for each of them, in this order."""
    page = (Path(__file__).parents[2] / "docs" / "securing.md").read_text()
    table = page.partition("| in the file | why it is refused |\n|---|---|\n")[2].partition("\n\n")[0]
    rows = table.splitlines()
    assert len(rows) == len(STRICTER)
    for row, (text, _) in zip(rows, STRICTER.values(), strict=True):
        assert row.split("`")[1] in text


@pytest.mark.parametrize("name", [*BAD, *NEWER_BAD, *STRICTER])
def test_errors_show_no_secrets(name: str, here: Path) -> None:
    """No message shows a hash, a password or a key, wherever they stand."""
    text, _ = {**BAD, **NEWER_BAD, **STRICTER}[name]
    secrets = f"\nbasic_auth_users: {{carol: '{HASH}'}}\n" if "basic_auth_users" not in text else ""
    with pytest.raises(ConfigurationError) as caught:
        load(write_config(here, text + secrets))
    shown = repr(caught.value) + repr(caught.value.__cause__)
    assert not any(secret in shown for secret in (HASH, HASH[7:20], PASSWORD, "PRIVATE"))


def test_a_key_in_the_wrong_place(here: Path) -> None:
    """Somebody who writes the key where its path belongs does not find it in the log."""
    text = f"tls_server_config:\n  cert_file: server.pem\n  key_file: {indented(KEY)}"
    with pytest.raises(ConfigurationError, match="key_file") as caught:
        load(write_config(here, text))
    assert KEY.splitlines()[1] not in str(caught.value)


def test_a_deep_file(here: Path) -> None:
    """A file of lists within lists within lists is refused like any other that makes no sense."""
    with pytest.raises(ConfigurationError, match="YAML"):
        load(write_config(here, "[" * 1000 + "]" * 1000))


@pytest.mark.parametrize("path", ["/nowhere/web.yml", "/"])
def test_no_file(path: str) -> None:
    """A file that is not there is an error that names it, by the name of the option."""
    with pytest.raises(ConfigurationError, match=f"^web_config: '{path}' "):
        load(path)


def test_without_pyyaml(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    """Without PyYAML or bcrypt the error says what to install; bcrypt is needed only for users."""
    path = write_config(here, f"basic_auth_users: {{alice: '{HASH}'}}")
    for package in ("yaml", "bcrypt"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, package, None)
            with pytest.raises(ConfigurationError, match=r"pip install (PyYAML|bcrypt)"):
                load(path)
    monkeypatch.setitem(sys.modules, "bcrypt", None)
    load(write_config(here, tls())).guards()


SECTIONS = ["tls_server_config:", "basic_auth_users:", "rate_limit:", "interval:", "headers:"]
PIECES = [*SECTIONS, *"{}[]a<:~?-'|>,", "&a", "*a", "<<", "1s", "!!binary", '"', "---", "...", "%YAML"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(200))
@given(st.one_of(st.text(), st.lists(st.sampled_from([*PIECES, "\n", "  "])).map(" ".join)))
def test_any_file(here: Path, text: str) -> None:
    """Whatever a file holds, it is taken or refused with a ConfigurationError."""
    (here / "web.yml").write_bytes(text.encode("utf-8", "replace"))
    with contextlib.suppress(ConfigurationError):
        load(str(here / "web.yml"))


class Hello(Handler):
    """Answers everything."""

    def respond(self, request: Request) -> Response:
        """An answer."""
        return Response(200, (("Content-Length", "5"),), b"hello")


class Server(WSGIServer):
    """A server that wraps each connection into TLS as the loop of the bridge does: after it was accepted."""

    config: WebConfig

    def get_request(self) -> tuple[Any, Any]:
        connection, address = super().get_request()
        connection.settimeout(5)
        if self.config.tls is not None:
            connection = self.config.tls.context().wrap_socket(connection, server_side=True)
            if self.config.tls.complaint(connection) is not None:
                connection.close()
                raise OSError
        return connection, address


class Quiet(WSGIRequestHandler):
    """Logs nothing."""

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def over_wsgi(config: WebConfig, **options: Any) -> Iterator[str]:
    """The configured guards over WSGI; gives the URL."""
    guarded = config.guards(**options).wrap(Hello())

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        headers = {"authorization": environ["HTTP_AUTHORIZATION"]} if "HTTP_AUTHORIZATION" in environ else {}
        request = Request(peer=environ["REMOTE_ADDR"], path=environ["PATH_INFO"], headers=headers)
        response = guarded.respond(request)
        start_response(f"{response.status} {response.reason}", list(response.headers))
        return [response.body]

    server = make_server("127.0.0.1", 0, app, server_class=Server, handler_class=Quiet)
    server.config = config
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"{'https' if config.tls else 'http'}://localhost:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def curl(here: Path, url: str, *options: str) -> str:
    """What curl gets: status code and body."""
    program = shutil.which("curl")
    if program is None:
        pytest.skip("no curl here")
    command = [program, "-sS", "-4", "--max-time", "10", "--cacert", str(here / "ca.pem"), *options]
    run = subprocess.run([*command, "-w", " %{http_code}", url], capture_output=True, timeout=20, check=False)
    return (run.stdout if run.returncode == 0 else run.stderr).decode()


# After the toolkit's TestServerBehaviour and TestUsers: file, options of curl, what curl gets.
USERS = f"basic_auth_users: {{dave: '{HASH}'}}\n"
WITH_CERT = ("--cert", "client.pem", "--key", "client.key")
REFUSED = "curl: ("
BEHAVIOUR: dict[str, tuple[str, tuple[str, ...], str]] = {
    "plain": ("", (), "hello 200"),
    "TLS": (tls(), (), "hello 200"),
    "TLS inline": (INLINE, (), "hello 200"),
    "TLS 1.1": (tls(), ("--tls-max", "1.1"), REFUSED),
    "TLS 1.2": (tls(), ("--tls-max", "1.2"), "hello 200"),
    "TLS 1.2 where 1.3 is required": (tls("min_version: TLS13"), ("--tls-max", "1.2"), REFUSED),
    "a cipher in common": (
        tls("cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]"),
        ("--tls-max", "1.2", "--ciphers", "ECDHE-ECDSA-AES128-GCM-SHA256"),
        "hello 200",
    ),
    "no cipher in common": (
        tls("cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]"),
        ("--tls-max", "1.2", "--ciphers", "ECDHE-ECDSA-AES256-GCM-SHA384"),
        REFUSED,
    ),
    "no curve in common": (tls("curve_preferences: [CurveP521]"), ("--curves", "X25519"), REFUSED),
    "certificate required": (tls(REQUIRED), (), REFUSED),
    "certificate shown": (tls(REQUIRED), WITH_CERT, "hello 200"),
    "certificate for an allowed name": (
        tls(f"{REQUIRED}, client_allowed_sans: [other, scraper.example]"),
        WITH_CERT,
        "hello 200",
    ),
    "certificate for another name": (
        tls(f"{REQUIRED}, client_allowed_sans: [other]"),
        WITH_CERT,
        REFUSED,
    ),
    "no user": (USERS, (), "Basic\n 401"),
    "the user": (USERS, ("-u", f"dave:{PASSWORD}"), "hello 200"),
    "wrong password": (USERS, ("-u", "dave:wrong"), " 401"),
    "unknown user": (USERS, ("-u", "nobody:nobody"), " 401"),
    "unknown user with the fake password": (USERS, ("-u", "nobody:fakepassword"), " 401"),
    "the hash for a password": (USERS, ("-u", f"dave:{HASH}"), " 401"),
    "TLS and user": (tls() + USERS, ("-u", f"dave:{PASSWORD}"), "hello 200"),
    "TLS and no user": (tls() + USERS, (), " 401"),
}


@pytest.mark.parametrize("name", BEHAVIOUR)
def test_behaviour(name: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server with the file does with curl what one of the toolkit does."""
    monkeypatch.chdir(here)
    text, options, expected = BEHAVIOUR[name]
    with over_wsgi(load(write_config(here, text))) as url:
        got = curl(here, url, *options)
    assert expected in got
    assert ("hello" in got) is ("hello" in expected)


def test_the_rate_limit(here: Path, later: Later) -> None:
    """Past the burst curl gets 429, as from the toolkit; the limit is read once."""
    path = write_config(here, "rate_limit: {interval: 1m, burst: 3}")
    config = load(path)
    assert (config.rate and (config.rate.interval, config.rate.burst)) == (60.0, 3)
    with over_wsgi(config) as url:
        assert [curl(here, url)[-3:] for _ in range(5)] == ["200"] * 3 + ["429"] * 2
        assert curl(here, url.replace("metrics", "health"))[-3:] == "200"
    write_config(here, "rate_limit: {interval: 1ms, burst: 3}")
    later(config).users()
    assert config.rate is not None
    assert config.rate.interval == 60.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1),
        ("500ms", 0.5),
        ("1m30s", 90),
        ("1.5h", 5400),
        (".5s", 0.5),
        ("10us", 1e-5),
        ("1µs", 1e-6),
        ("2ns", 2e-9),
    ],
)
def test_durations(here: Path, text: str, seconds: float) -> None:
    """Durations are as Go writes them."""
    rate = load(write_config(here, f"rate_limit: {{interval: {text}, burst: 1}}")).rate
    assert rate is not None
    assert rate.interval == pytest.approx(seconds)


def test_headers(here: Path, later: Later) -> None:
    """The configured headers are on every response, and follow the file; blank ones are none."""
    path = write_config(here, "http_server_config: {headers: {X-Frame-Options: deny, X-XSS-Protection: ''}}")
    config = load(path)
    guarded = config.guards().wrap(Hello())
    assert ("X-Frame-Options", "deny") in guarded.respond(Request()).headers
    assert config.headers() == (("X-Frame-Options", "deny"),)
    write_config(here, "http_server_config: {headers: {X-Frame-Options: sameorigin}}")
    later(config)
    assert ("X-Frame-Options", "sameorigin") in guarded.respond(Request()).headers


def test_users_are_read_again(here: Path, later: Later) -> None:
    """Users that are added, changed and removed are so within a second, without a restart."""
    path = write_config(here, USERS)
    config = load(path)
    assert set(config.users()) == {"dave"}
    write_config(here, f"basic_auth_users: {{erin: '{HASH}'}}")
    assert set(config.users()) == {"dave"}
    assert set(later(config).users()) == {"erin"}


BROKEN = {
    "no YAML": "basic_auth_users: {",
    "a plain password": "basic_auth_users: {dave: dave}",
    "empty, as while it is written": "",
    "no users any more": "http_server_config: {http2: false}",
    "no TLS any more": USERS,
    "a certificate that is not there": f"tls_server_config: {{cert_file: no, key_file: no}}\n{USERS}",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_bad_file_changes_nothing(
    name: str, here: Path, caplog: pytest.LogCaptureFixture, later: Later
) -> None:
    """A file that is bad, or would let in everybody, leaves everything as it is, with one line in the log."""
    config = load(write_config(here, tls() + USERS))
    assert config.tls is not None
    context = config.tls.context()
    write_config(here, BROKEN[name])
    for _ in range(3):
        assert set(later(config).users()) == {"dave"}
    assert config.tls.context() is context
    for thread in threading.enumerate():
        if thread.name == "otel-prom-bridge-log":
            thread.join()
    assert len(caplog.records) == 1
    assert "stays in use" in caplog.text
    assert HASH not in caplog.text
    assert config.problem is not None
    write_config(here, tls() + f"basic_auth_users: {{erin: '{HASH}'}}")
    assert set(later(config).users()) == {"erin"}
    assert config.problem is None


LESS = {
    "no certificates, as while it is written": "",
    "certificates of anybody whom the machine trusts": "client_auth_type: RequireAndVerifyClientCert",
    "certificates for any name": REQUIRED,
    "certificates if somebody likes": f"client_auth_type: VerifyClientCertIfGiven, {CLIENT_CA}",
}


@pytest.mark.parametrize("name", LESS)
def test_clients_are_not_asked_for_less(name: str, here: Path, later: Later) -> None:
    """What is asked of clients' certificates may become something else while the program runs, not less."""
    everything = f"{REQUIRED}, client_allowed_sans: [a.example]"
    config = load(write_config(here, tls(everything)))
    assert config.tls is not None
    context = config.tls.context()
    write_config(here, tls(LESS[name]))
    assert later(config).tls is not None
    assert config.tls.context() is context
    assert "without a restart" in str(config.problem)
    write_config(here, tls(everything.replace("a.example", "b.example")))
    later(config)
    assert config.tls.context() is not context
    assert config.problem is None


@pytest.mark.parametrize("users", ["{}", "", "null"])
def test_a_list_of_users_without_users_is_logged(
    here: Path, users: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The toolkit lets everybody in then, and so does this; but somebody may not have meant it."""
    config = load(write_config(here, f"basic_auth_users: {users}\n"))
    assert config.guards().wrap(Hello()).respond(Request()).status == 200
    (line,) = caplog.messages
    assert "web.yml: basic_auth_users names no user, so nobody needs a password" in line
    caplog.clear()
    load(write_config(here, "http_server_config: {}\n"))
    assert caplog.messages == []


def test_tls_cannot_be_turned_on(here: Path, later: Later) -> None:
    """A server that speaks no TLS does not begin to with a change of the file; users may come, however."""
    config = load(write_config(here, ""))
    guards = config.guards()
    write_config(here, tls() + USERS)
    assert later(config).users() == {}
    assert "without a restart" in str(config.problem)
    write_config(here, USERS)
    later(config)
    assert guards.wrap(Hello()).respond(Request()).status == 401


def test_certificates_are_read_again(here: Path, later: Later) -> None:
    """TLS follows the certificates, and the settings in the file."""
    config = load(write_config(here, tls()))
    assert config.tls is not None
    first = config.tls.context()
    write_config(here, tls("min_version: TLS13"))
    later(config)
    second = config.tls.context()
    assert second is not first
    assert second.minimum_version is ssl.TLSVersion.TLSv1_3
    write_pair(here, CA.issue_cert("localhost"))
    assert later(config.tls).context() is not second
    assert config.problem is config.tls.problem is None


def test_options_beside_the_file(here: Path) -> None:
    """Other guards may be given beside the file, but not what it says itself."""
    config = load(write_config(here, USERS + "rate_limit: {interval: 1s, burst: 1}"))
    assert isinstance(config.guards(allow=["10.0.0.0/8"]), Guards)
    conflicts: list[Callable[[], object]] = [
        lambda: config.guards(basic_users={}),
        lambda: config.guards(rate_limit=None),
        lambda: config.guards(headers=()),
    ]
    for conflict in conflicts:
        with pytest.raises(ConfigurationError, match=r"web\.yml says it"):
            conflict()


def test_a_relative_path(here: Path, monkeypatch: pytest.MonkeyPatch, later: Later) -> None:
    """Paths are relative to the file, wherever the program is or goes."""
    write_config(here, tls())
    monkeypatch.chdir(here.parent)
    config = load(os.path.join(here.name, "web.yml"))
    monkeypatch.chdir("/")
    assert config.tls is not None
    assert later(config).problem is None
    assert config.users() == {}
    assert config.problem is None


def test_nothing_is_shown(here: Path) -> None:
    """No repr of a configuration shows a secret."""
    config = load(write_config(here, INLINE + USERS))
    shown = repr((config, config.tls, vars(config), vars(config._watched), config._watched.get()))
    assert not any(secret in shown for secret in (HASH, "PRIVATE"))

"""The guards together: in which order, what they answer, and what never reaches a log."""

from __future__ import annotations

import base64
import gc
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from setups import Setup

from otel_prom_bridge.endpoint import messages
from otel_prom_bridge.endpoint.guards import Guards, RateLimit, credentials
from otel_prom_bridge.endpoint.messages import Request, Response
from otel_prom_bridge.endpoint.scrape import Scrape
from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.testing import Clock

SECRET, TOKEN = "correct horse battery staple", "first-token-0123456789"
HASH = bcrypt.hashpw(SECRET.encode(), bcrypt.gensalt(4)).decode()


def basic(user: str, password: str) -> dict[str, str]:
    """The headers of a user."""
    return {"authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def headers(response: Response) -> dict[str, str]:
    """The headers of a response by lower-case name."""
    return {name.lower(): value for name, value in response.headers}


class Handler(messages.Handler):
    """Answers everything, and keeps what it was asked."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.go_on = threading.Event()
        self.go_on.set()

    def respond(self, request: Request) -> Response:
        """An answer."""
        self.requests.append(request)
        self.go_on.wait(10)
        return Response(200, (("Content-Type", "text/plain"), ("Content-Length", "5")), b"hello")


class Quick(Handler):
    """Answers ``/health`` at once."""

    def quick(self, request: Request) -> Response | None:
        """An answer, or none."""
        return self.respond(request) if request.path == "/health" else None


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    """A file with one token."""
    path = tmp_path / "tokens"
    path.write_text(TOKEN)
    return path


METRICS = Request(peer="192.0.2.1")
HEALTH, READY = replace(METRICS, path="/health"), replace(METRICS, path="/ready/")


def statuses(guarded: Any, *requests: Request) -> list[int]:
    """What the requests are answered with."""
    return [guarded.respond(request).status for request in requests]


def test_without_options_everybody_passes() -> None:
    """Guards that guard nothing change nothing: not the request, not the response."""
    handler = Handler()
    guards = Guards()
    assert guards.accepts(None)
    assert guards.accepts("nonsense")
    assert guards.wrap(handler).respond(METRICS) == Handler().respond(METRICS)
    assert handler.requests == [METRICS]


def test_the_allow_list() -> None:
    """Who is outside of the allowed networks gets 403 and learns which address is meant; health, too."""
    guarded = Guards(allow=["10.0.0.0/8"]).wrap(Handler())
    assert (
        statuses(guarded, replace(METRICS, peer="10.0.0.1"), replace(METRICS, peer="::ffff:10.0.0.1"))
        == [200] * 2
    )
    for request in (METRICS, HEALTH, replace(METRICS, peer=None), replace(METRICS, peer="localhost")):
        response = guarded.respond(request)
        assert (response.status, response.reason) == (403, "Forbidden")
    assert b"192.0.2.1" in guarded.respond(METRICS).body


def test_forwarded_headers() -> None:
    """X-Forwarded-For changes who asks only if a configured proxy sends it."""
    insider = {"x-forwarded-for": "10.0.0.1"}
    lie = replace(METRICS, headers=insider)
    proxied = replace(METRICS, peer="172.16.0.1", headers=insider)
    assert statuses(Guards(allow=["10.0.0.0/8"]).wrap(Handler()), lie, proxied) == [403, 403]
    guarded = Guards(allow=["10.0.0.0/8"], trusted_proxies=["172.16.0.1"]).wrap(Handler())
    assert statuses(guarded, lie, proxied) == [403, 200]
    nonsense = replace(proxied, headers={"x-forwarded-for": "10.0.0.1, nonsense"})
    assert statuses(guarded, nonsense, replace(proxied, headers={})) == [403, 403]


def test_two_spellings_of_one_header() -> None:
    """What a program on the way may take for X-Forwarded-For comes through no proxy."""
    both = {"x-forwarded-for": "10.0.0.1", "x_forwarded_for": "10.0.0.2"}
    guarded = Guards(allow=["10.0.0.0/8"], trusted_proxies=["172.16.0.1"]).wrap(Handler())
    proxied = replace(METRICS, peer="172.16.0.1", headers=both)
    assert statuses(guarded, proxied, replace(proxied, headers={"x_forwarded_for": "10.0.0.2"})) == [403, 403]
    assert statuses(guarded, replace(proxied, peer="10.0.0.9")) == [200]  # it speaks for nobody else


def test_which_connections_are_worth_reading_from() -> None:
    """A connection is accepted if its peer is allowed, or a proxy whose header will tell."""
    guards = Guards(allow=["10.0.0.0/8"], trusted_proxies=["172.16.0.1"])
    assert guards.accepts("10.0.0.1")
    assert guards.accepts("::ffff:10.0.0.1")
    assert guards.accepts("172.16.0.1")
    for peer in ("192.0.2.1", None, "", "nonsense", "10.0.0.1, 192.0.2.1", "1" * 10000):
        assert not guards.accepts(peer)
    assert Guards(allow=["unix"]).accepts(None)
    assert Guards(allow=["unix"]).accepts("")
    assert not Guards(allow=["unix"]).accepts("nonsense")


def test_to_accept_is_fast() -> None:
    """A thousand connections are judged in about a tenth of a second, also against many networks."""
    guards = Guards(allow=[f"10.{number}.0.0/16" for number in range(50)])
    start = time.thread_time()
    for _ in range(1000):
        guards.accepts("192.0.2.1")
    assert time.thread_time() - start < 2


def test_the_rate_of_all() -> None:
    """Past the limit the answer is 429 and says when to come back; then one passes again."""
    clock = Clock()
    guarded = Guards(rate_limit=RateLimit(interval=1.5, burst=2), clock=clock).wrap(Handler())
    assert statuses(guarded, METRICS, replace(METRICS, peer="192.0.2.2")) == [200, 200]
    response = guarded.respond(METRICS)
    assert (response.status, response.reason) == (429, "Too Many Requests")
    assert headers(response)["retry-after"] == "2"
    clock.now += 1.5
    assert statuses(guarded, METRICS, METRICS) == [200, 429]


def test_the_rate_of_each() -> None:
    """A client that asks too often does not stop another, and is known by what a trusted proxy says."""
    guards = Guards(
        peer_rate_limit=RateLimit(interval=60, burst=1), trusted_proxies=["10.0.0.1"], clock=Clock()
    )
    guarded = guards.wrap(Handler())
    assert statuses(guarded, METRICS, METRICS, replace(METRICS, peer="192.0.2.2")) == [200, 429, 200]
    proxied = [
        replace(METRICS, peer="10.0.0.1", headers={"x-forwarded-for": f"{lie}, {client}"})
        for lie, client in (("1.1.1.1", "192.0.2.3"), ("2.2.2.2", "192.0.2.3"), ("1.1.1.1", "192.0.2.4"))
    ]
    assert statuses(guarded, *proxied) == [200, 429, 200]


def test_health_is_never_starved() -> None:
    """However many requests there are, /health and /ready are answered; they use nothing up either."""
    limit = RateLimit(interval=60, burst=1)
    guarded = Guards(rate_limit=limit, peer_rate_limit=limit, clock=Clock()).wrap(Handler())
    assert statuses(guarded, *[HEALTH, READY] * 50) == [200] * 100
    assert statuses(guarded, METRICS, METRICS, HEALTH, READY) == [200, 429, 200, 200]


def test_paths_that_only_look_like_health() -> None:
    """Nothing but the two paths is exempt from anything."""
    guarded = Guards(basic_users={"alice": HASH}).wrap(Handler())
    paths = (
        "/health/../metrics",
        "/healthz",
        "//health",
        "/metrics/health",
        "/Health",
        "/metrics;/health",
        "",
    )
    assert statuses(guarded, *[replace(METRICS, path=path) for path in paths]) == [401] * len(paths)
    assert (
        statuses(guarded, replace(METRICS, query="/health"), replace(METRICS, mount="/health")) == [401] * 2
    )


def test_requests_in_flight() -> None:
    """When all places are taken, the answer is 503 at once, health has its own, and places come back."""
    handler = Handler()
    guarded = Guards(max_in_flight=2).wrap(handler)
    handler.go_on.clear()
    threads = [threading.Thread(target=guarded.respond, args=(METRICS,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    while len(handler.requests) < 2:
        time.sleep(0.001)
    response = guarded.respond(METRICS)
    assert (response.status, response.reason) == (503, "Service Unavailable")
    assert headers(response)["retry-after"] == "1"
    health = threading.Thread(target=guarded.respond, args=(HEALTH,))
    health.start()
    while len(handler.requests) < 3:
        time.sleep(0.001)
    handler.go_on.set()
    for thread in (*threads, health):
        thread.join()
    assert statuses(guarded, *[METRICS] * 5) == [200] * 5


def test_a_place_is_given_back_when_the_handler_fails() -> None:
    """A handler that raises, against its contract, does not keep its place."""

    class Broken(messages.Handler):
        def respond(self, request: Request) -> Response:
            raise ZeroDivisionError

    guarded = Guards(max_in_flight=1).wrap(Broken())
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            guarded.respond(METRICS)


def test_credentials(token_file: Path) -> None:
    """Without valid credentials the answer is 401 and a challenge for each scheme; with them the scrape."""
    handler = Handler()
    guards = Guards(bearer_tokens_file=token_file, basic_users={"alice": HASH})
    guarded = guards.wrap(handler)
    for wrong in ({}, basic("alice", "x"), basic("eve", SECRET), {"authorization": "Bearer x"}):
        response = guarded.respond(replace(METRICS, headers=wrong))
        assert (response.status, response.reason) == (401, "Unauthorized")
        challenges = [value for name, value in response.headers if name == "WWW-Authenticate"]
        assert challenges == ['Bearer realm="metrics"', 'Basic realm="metrics", charset="UTF-8"']
        assert headers(response)["content-length"] == str(len(response.body))
    assert handler.requests == []
    for right in (basic("alice", SECRET), {"authorization": f"Bearer {TOKEN}"}):
        assert guarded.respond(replace(METRICS, headers=right)).status == 200
    assert [request.authenticated for request in handler.requests] == [True, True]


def test_tokens_that_are_older_than_their_file(token_file: Path, later: Callable[[Guards], Guards]) -> None:
    """Whoever reports on health can ask whether the tokens are those of the file."""
    guards = Guards(bearer_tokens_file=token_file)
    assert guards.problem is Guards().problem is None
    token_file.unlink()
    right = replace(METRICS, headers={"authorization": f"Bearer {TOKEN}"})
    assert statuses(later(guards).wrap(Handler()), right) == [200]
    assert str(token_file) in str(guards.problem)


def test_refusals_do_not_tell_why(token_file: Path) -> None:
    """An unknown user, a wrong password and no credentials at all look the same."""
    guarded = Guards(basic_users={"alice": HASH}).wrap(Handler())
    wrong = ({}, basic("alice", "x"), basic("eve", "x"), {"authorization": "Bearer x"})
    assert len({guarded.respond(replace(METRICS, headers=header)) for header in wrong}) == 1


def test_nobody_can_say_that_it_is_authenticated() -> None:
    """What a request says of itself does not count."""
    handler = Handler()
    Guards().wrap(handler).respond(replace(METRICS, authenticated=True))
    Guards(basic_users={"alice": HASH}).wrap(handler).respond(replace(HEALTH, authenticated=True))
    assert [request.authenticated for request in handler.requests] == [False, False]


def test_health_for_strangers() -> None:
    """Strangers are answered, as strangers; those with valid credentials are known."""
    handler = Handler()
    guarded = Guards(basic_users={"alice": HASH}).wrap(handler)
    for header in ({}, basic("alice", "x"), basic("alice", SECRET)):
        assert guarded.respond(replace(HEALTH, headers=header)).status == 200
    assert [request.authenticated for request in handler.requests] == [False, False, True]


def test_health_for_those_who_may() -> None:
    """If health is not open, it needs credentials as everything does."""
    guarded = Guards(basic_users={"alice": HASH}, health_open=False).wrap(Handler())
    right = replace(HEALTH, headers=basic("alice", SECRET))
    assert statuses(guarded, HEALTH, replace(HEALTH, headers=basic("alice", "x")), right) == [401, 401, 200]


@pytest.mark.parametrize("open_to_strangers", [True, False])
def test_where_there_is_no_health(setup: Setup, token_file: Path, open_to_strangers: bool) -> None:
    """Its paths are like all others: who may not ask does not hear which paths there are."""
    scrape = Scrape(setup.reader, health=False, metrics_path="/a-secret-path")
    guarded = Guards(bearer_tokens_file=token_file, health_open=open_to_strangers).wrap(scrape)
    for path in ("/health", "/ready", "/health/", "/other"):
        stranger = Request(peer="192.0.2.1", path=path)
        quick, response = guarded.quick(stranger), guarded.respond(stranger)
        assert quick == response
        assert response.status == 401
        assert b"secret" not in response.body
        known = guarded.respond(replace(stranger, headers={"authorization": f"Bearer {TOKEN}"}))
        assert (known.status, b"/a-secret-path" in known.body) == (404, True)


def test_passwords_cannot_be_tried_at_health() -> None:
    """Passwords that need a hash count as requests at /health as well; past the limit none is made."""
    handler = Handler()
    limit = RateLimit(interval=60, burst=2)
    guarded = Guards(basic_users={"alice": HASH}, peer_rate_limit=limit, clock=Clock()).wrap(handler)
    tries = [replace(HEALTH, headers=basic("alice", f"{number}")) for number in range(5)]
    assert statuses(guarded, *tries) == [200] * 5
    assert statuses(guarded, replace(HEALTH, headers=basic("alice", SECRET)), METRICS) == [200, 429]
    assert not any(request.authenticated for request in handler.requests)
    assert statuses(
        Guards(basic_users={"alice": HASH}, rate_limit=limit, health_open=False).wrap(handler), *tries
    ) == [
        401,
        401,
        503,
        503,
        503,
    ]


def test_the_order(token_file: Path) -> None:
    """Networks before rates before credentials: nobody learns more than the first guard says."""
    limit = RateLimit(interval=60, burst=1)
    guards = Guards(allow=["10.0.0.0/8"], rate_limit=limit, bearer_tokens_file=token_file, clock=Clock())
    guarded = guards.wrap(Handler())
    insider = replace(METRICS, peer="10.0.0.1")
    right = replace(insider, headers={"authorization": f"Bearer {TOKEN}"})
    assert statuses(guarded, METRICS, METRICS, insider, insider, right, METRICS) == [
        403,
        403,
        401,
        429,
        429,
        403,
    ]


def test_users_come_and_go() -> None:
    """Users may be given by a function; without any, nobody has to be one."""
    users: dict[str, str] = {}
    guards = Guards(basic_users=lambda: users)
    guarded = guards.wrap(Handler())
    assert statuses(guarded, METRICS) == [200]
    users["alice"] = HASH
    assert statuses(guarded, METRICS, replace(METRICS, headers=basic("alice", SECRET))) == [401, 200]


def test_configured_headers() -> None:
    """Headers are put on every response, refusals too, and never in the place of the response's own."""
    configured = [("X-Frame-Options", "deny"), ("content-type", "text/html")]
    guarded = Guards(headers=configured, basic_users={"alice": HASH}).wrap(Handler())
    for request in (METRICS, HEALTH):
        response = guarded.respond(request)
        assert ("X-Frame-Options", "deny") in response.headers
        assert headers(response)["content-type"].startswith("text/plain")
        assert len(headers(response)) == len(response.headers)
    assert (
        headers(Guards(headers=lambda: configured).wrap(Handler()).respond(METRICS))["x-frame-options"]
        == "deny"
    )


@pytest.mark.parametrize(
    "name", ["Transfer-Encoding", "content-encoding", "Content-Length", "connection", "DATE", "Keep-Alive"]
)
def test_headers_of_the_servers_own(name: str) -> None:
    """How a response is sent is not for guards to say: no client would understand it."""
    with pytest.raises(ConfigurationError, match=r"^headers\[1\]: .* not the server's to send$"):
        Guards(headers=[("X-Frame-Options", "deny"), (name, "chunked")])
    guarded = Guards(headers=lambda: [(name, "1")]).wrap(Handler())
    assert statuses(guarded, METRICS) == [500]


def test_head() -> None:
    """A refusal of a HEAD request is that of GET: whoever writes it leaves the body out."""
    guarded = Guards(allow=["10.0.0.0/8"]).wrap(Handler())
    get, head = guarded.respond(METRICS), guarded.respond(replace(METRICS, method="HEAD"))
    assert head == get


def test_quick() -> None:
    """A handler's quick answers come through the guards; what it cannot answer at once is for respond."""
    guarded = Guards(allow=["192.0.2.0/24"]).wrap(Quick())
    answers = [guarded.quick(request) for request in (HEALTH, METRICS, replace(METRICS, peer="10.0.0.1"))]
    assert [answer and answer.status for answer in answers] == [200, None, 403]


def test_quick_never_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a loop no password is hashed: unknown ones are for respond, known ones and none are answered."""
    guarded = Guards(basic_users={"alice": HASH}, health_open=False).wrap(Quick())
    right, wrong = (replace(HEALTH, headers=basic("alice", password)) for password in (SECRET, "x"))
    with monkeypatch.context() as patch:
        patch.setattr(credentials, "load_bcrypt", lambda: pytest.fail("hashed"))
        assert guarded.quick(right) is None
        assert guarded.quick(wrong) is None
        assert (answer := guarded.quick(HEALTH)) is not None
        assert answer.status == 401
    assert statuses(guarded, right, wrong) == [200, 401]
    monkeypatch.setattr(credentials, "load_bcrypt", lambda: pytest.fail("hashed"))
    assert [answer.status for answer in map(guarded.quick, (right, wrong)) if answer] == [200, 401]


def test_quick_counts_once() -> None:
    """A request that quick passes on is counted by respond, one that it answers is counted there."""

    class Everything(Handler):
        def quick(self, request: Request) -> Response | None:
            return self.respond(request) if request.query else None

    guarded = Guards(rate_limit=RateLimit(interval=60, burst=3), clock=Clock()).wrap(Everything())
    assert guarded.quick(METRICS) is None
    assert guarded.quick(METRICS) is None
    assert statuses(guarded, METRICS, METRICS) == [200, 200]
    quick = replace(METRICS, query="now")
    answers = [guarded.quick(quick), guarded.quick(quick)]
    assert [answer and answer.status for answer in answers] == [200, 429]


@pytest.mark.clocked
def test_wrong_passwords_do_not_hold_up_others() -> None:
    """A thousand wrong passwords at a time are refused, and a known scraper is answered at once meanwhile."""
    slow = bcrypt.hashpw(SECRET.encode(), bcrypt.gensalt(6)).decode()
    guarded = Guards(basic_users={"alice": slow}).wrap(Handler())
    right = replace(METRICS, headers=basic("alice", SECRET))
    assert statuses(guarded, right) == [200]
    found: list[int] = []

    def attack(part: int) -> None:
        tries = [replace(METRICS, headers=basic("alice", f"{part}-{number}")) for number in range(50)]
        found.extend(statuses(guarded, *tries))

    threads = [threading.Thread(target=attack, args=(part,)) for part in range(20)]
    for thread in threads:
        thread.start()
    slowest = 0.0
    while any(thread.is_alive() for thread in threads):
        start = time.perf_counter()
        assert statuses(guarded, right) == [200]
        slowest = max(slowest, time.perf_counter() - start)
        time.sleep(0.005)
    assert len(found) == 1000
    assert set(found) <= {401, 503}
    assert slowest < 1


FAULTY: dict[str, Callable[[Any], None]] = {
    "origins": lambda guards: setattr(guards, "_origins", None),
    "limiter": lambda guards: setattr(guards, "_limiter", None),
    "authentication": lambda guards: setattr(guards, "_authentication", None),
    "headers": lambda guards: setattr(guards, "_headers", {}.__getitem__),
}


@pytest.mark.parametrize("fault", FAULTY)
def test_guards_fail_closed(fault: str, caplog: pytest.LogCaptureFixture) -> None:
    """A fault of a guard is a 500 that reaches nothing, and a line in the log that shows nothing."""
    guards = Guards(allow=["192.0.2.0/24"], basic_users={"alice": HASH})
    FAULTY[fault](guards)
    request = replace(METRICS, headers=basic("alice", SECRET), path=f"/{fault}")
    with caplog.at_level(logging.DEBUG):
        guarded = guards.wrap(Quick())
        quick, response = guarded.quick(request), guarded.respond(request)
        settle()
    assert quick is None or quick.status == 500
    assert (response.status, response.reason) == (500, "Internal Server Error")
    assert b"hello" not in response.body
    assert "a guard failed: " in caplog.text
    if fault == "origins":
        assert not guards.accepts("192.0.2.1")


def settle() -> None:
    """Wait for the threads that write log lines."""
    for thread in threading.enumerate():
        if thread.name == "otel-prom-bridge-log":
            thread.join()


def test_secrets_stay_secret(token_file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """After requests of all kinds, no log line, no body, no header and no repr shows a secret."""
    with caplog.at_level(logging.DEBUG):
        guards = Guards(bearer_tokens_file=token_file, basic_users={"alice": HASH})
        guarded = guards.wrap(Handler())
        encoded = basic("alice", SECRET)["authorization"]
        sent = (
            {"authorization": f"Bearer {TOKEN}"},
            {"authorization": encoded},
            {"authorization": encoded + "!"},
        )
        responses = [guarded.respond(replace(METRICS, headers=header)) for header in sent]
        settle()
    shown = caplog.text + repr((responses, guards, guarded, vars(guards), vars(guarded)))
    assert not any(secret in shown for secret in (SECRET, TOKEN, HASH, encoded[6:]))


@given(
    st.one_of(st.none(), st.text(max_size=40)),
    st.dictionaries(
        st.sampled_from(["authorization", "x-forwarded-for"]),
        st.one_of(st.text(max_size=80), st.text("0123456789.,: abBsicer", max_size=80)),
    ),
    st.text(max_size=20),
)
def test_no_request_gets_in(peer: str | None, sent: dict[str, str], path: str) -> None:
    """Whatever a stranger sends, it is refused without an error; only health answers those inside."""
    request = Request(peer=peer, headers=sent, path=path)
    response = STRICT.respond(request)
    assert response.status in (401, 403)
    assert (quick := STRICT.quick(request)) is None or quick.status in (401, 403)


STRICT: Any = Guards(
    allow=["10.0.0.0/8"],
    trusted_proxies=["172.16.0.0/12"],
    basic_users={"alice": HASH},
    health_open=False,
).wrap(Quick())


@pytest.mark.parametrize("value", [0, -1, True, 1.5, "4"])
def test_room_that_is_none(value: object) -> None:
    """The number of requests in flight is a whole number of at least 1."""
    with pytest.raises(ConfigurationError, match=r"^max_in_flight: "):
        Guards(max_in_flight=value)  # type: ignore[arg-type]


def test_options_that_cannot_work(tmp_path: Path) -> None:
    """Wrong options are errors when the guards are made, not when somebody asks."""
    for options in (
        {"allow": ["nonsense"]},
        {"allow": []},  # which must not be everybody
        {"basic_users": {}},
        {"trusted_proxies": ["nonsense"]},
        {"basic_users": {"alice": "plain"}},
        {"bearer_tokens_file": str(tmp_path / "missing")},
    ):
        with pytest.raises(ConfigurationError):
            Guards(**options)  # type: ignore[arg-type]
    gc.collect()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_while_a_password_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child has the same guards, and none of the locks and places that are taken in its parent."""
    guards = Guards(
        basic_users={"alice": HASH}, max_in_flight=1, rate_limit=RateLimit(interval=0.001, burst=1000)
    )
    begun, release = threading.Event(), threading.Event()

    def check(*_: object) -> bool:
        begun.set()
        release.wait(20)
        return True

    monkeypatch.setattr(credentials.Passwords, "_check", check)
    handler = guards.wrap(Handler())
    request = Request(headers=basic("alice", "x"))
    waiting = threading.Thread(target=handler.respond, args=(request,))
    waiting.start()
    assert begun.wait(10)
    with guards._limiter._lock:
        child = os.fork()
        if not child:
            signal.alarm(10)
            release.set()
            os._exit(handler.respond(request).status != 200)
    release.set()
    waiting.join(10)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_in_front_of_a_scrape(bridge: Callable[..., Setup]) -> None:
    """Guards in front of the real thing: metrics for those who may, health for all, at once."""
    setup = bridge()
    setup.meter.create_counter("c").add(1)
    guarded = Guards(basic_users={"alice": HASH}).wrap(Scrape(setup.reader))
    assert statuses(guarded, METRICS) == [401]
    scrape = guarded.respond(replace(METRICS, headers=basic("alice", SECRET)))
    assert scrape.status == 200
    assert b"c_total 1" in scrape.body
    health = guarded.quick(HEALTH)
    assert health is not None
    assert health.status == 200


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *((key, value) for key in ("rate_limit", "peer_rate_limit") for value in (5, "5", (1, 5), RateLimit)),
        ("health_open", "no"),
        ("health_open", None),
        ("bearer_tokens_file", 5),
        *(
            ("headers", value)
            for value in (
                {"X-A": "y"},
                "X-A: y",
                None,
                [("X-A",)],
                ["XA"],
                [("X-A", 1)],
                [("X-A", "one\r\nX-B: two")],
                [("X A", "y")],
                [("X-A", "\u20ac")],
            )
        ),
    ],
)
def test_options_of_another_type(key: str, value: Any) -> None:
    """They are refused at the start, not with every request."""
    with pytest.raises(ConfigurationError, match=rf"^{key}(\[0\])?: "):
        Guards(**{key: value})


@pytest.mark.parametrize("given", [{"X-A": "y"}, None, 5, [("X-A", "a\nb")]])
def test_headers_that_turn_out_wrong(given: Any) -> None:
    """What gives the headers may give anything: the answer is closed then, and nothing is raised."""
    guarded = Guards(headers=lambda: given).wrap(Handler())
    assert statuses(guarded, METRICS, replace(METRICS, method="HEAD")) == [500, 500]

"""Answers are kept for a moment: which, for how long, and for whom."""

from __future__ import annotations

import gzip
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from opentelemetry.metrics import CallbackOptions, Observation
from oracles import OPENMETRICS, samples
from servers import wait_for
from setups import Setup

from otel_prom_bridge import ConfigurationError, start
from otel_prom_bridge.clocks import process_start
from otel_prom_bridge.endpoint import scrape as scrape_module
from otel_prom_bridge.endpoint.cache import Cache
from otel_prom_bridge.endpoint.messages import Request, Response
from otel_prom_bridge.endpoint.scrape import Scrape
from otel_prom_bridge.exposition import Exposition
from otel_prom_bridge.testing import Clock

Make = Callable[..., Setup]


class Counted:
    """A reader's endpoint, and how often callbacks ran."""

    def __init__(self, setup: Setup, ttl: float) -> None:
        self.setup = setup
        self.collections = 0
        self.seconds = 0.0
        self.release = threading.Event()
        self.release.set()
        self.scrape = Scrape(setup.reader, cache_ttl=ttl)
        setup.meter.create_observable_gauge("g", [self._observe])
        for number in range(100):
            setup.meter.create_counter("c").add(1, {"k": str(number)})

    def _observe(self, _: CallbackOptions) -> Iterator[Observation]:
        self.collections += 1
        time.sleep(self.seconds)
        assert self.release.wait(20)
        yield Observation(self.collections)

    def get(self, query: str = "", **headers: str) -> Response:
        """A scrape."""
        return self.scrape.respond(Request(query=query, headers=headers))


@pytest.fixture
def cached(bridge: Make) -> Counted:
    """An endpoint that keeps answers for long."""
    return Counted(bridge(), ttl=60)


def field(response: Response, name: str) -> str | None:
    """A header of a response."""
    return dict(response.headers).get(name)


def test_an_answer_is_given_again(cached: Counted) -> None:
    """Within its time the same bytes come without a collection."""
    first, second = cached.get(), cached.get()
    assert first.body is second.body
    assert cached.collections == 1


def test_each_format_filter_and_compression_has_its_own(cached: Counted) -> None:
    """What is kept for one scraper never answers another one that asked for something else."""
    for _ in range(2):
        assert cached.get().body.startswith(b"# TYPE")
        assert (field(cached.get(accept=OPENMETRICS), "Content-Type") or "").startswith("application/openm")
        assert cached.get(accept=OPENMETRICS).body.endswith(b"# EOF\n")
        assert gzip.decompress(cached.get(**{"accept-encoding": "gzip"}).body) != b""
        assert field(cached.get(**{"accept-encoding": "gzip;q=0"}), "Content-Encoding") is None
        assert samples("text/plain", cached.get("name[]=g").body).keys() == {("g", frozenset())}
        assert b"c_total" in cached.get("name[]=c_total").body
    assert cached.collections == 5


def test_openmetrics_2_has_its_own(bridge: Make) -> None:
    """Who asks for OpenMetrics 2.0 and who asks for 1.0 get their own answers, one after the other."""
    it = Counted(bridge(openmetrics_2=True), ttl=60)
    for _ in range(2):
        for version in ("2.0.0", "1.0.0"):
            answer = it.get(accept=f"application/openmetrics-text;version={version}")
            assert f"version={version}" in (field(answer, "Content-Type") or "")
    assert it.collections == 2


def test_other_spellings_of_one_question_share_an_answer(cached: Counted) -> None:
    """What counts is what was negotiated, not how it was asked for."""
    for accept in ("text/plain", "text/plain;version=0.0.4", "*/*", "text/*;q=0.5"):
        cached.get(accept=accept)
    cached.get("name[]=g&name[]=c_total")
    cached.get("name[]=c_total&name[]=g&x=1")
    assert cached.collections == 2


def test_answers_that_lack_something_are_not_kept(bridge: Make) -> None:
    """An incomplete answer is for the one who asked; the next one gets another try."""
    it = Counted(bridge(), ttl=60)
    it.get("name[]=c_total")
    it.seconds = 0.5
    hurried = {"x-prometheus-scrape-timeout-seconds": "0.05"}
    assert it.get(**hurried).status == 200
    it.seconds = 0
    it.setup.reader.force_flush()
    before = it.collections
    it.get()
    assert it.collections == before + 1


def test_a_stampede_is_one_answer(bridge: Make) -> None:
    """When an answer is too old, those who come share one collection and one body, however long it takes."""
    it = Counted(bridge(), ttl=0.1)
    it.seconds = 0.3
    answers: list[Response] = []
    threads = [threading.Thread(target=lambda: answers.append(it.get())) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert it.collections == 1
    assert [answer.status for answer in answers] == [200] * 10
    assert len({id(answer.body) for answer in answers}) == 1


@pytest.mark.clocked
def test_an_answer_that_is_not_made_in_time_is_not_waited_for() -> None:
    """Neither is one that fails, and nobody waits for what nobody makes any more."""
    cache = Cache[str](60)
    with cache.making("k", 60) as nothing:
        assert nothing is None
        start = time.monotonic()
        with cache.making("k", 0.05) as late:
            assert late is None
        assert 0.05 <= time.monotonic() - start < 5
        with cache.making("other", 60) as another:
            assert another is None
    with pytest.raises(OSError, match="disk"), cache.making("k", 60):
        raise OSError("disk")
    with cache.making("k", 60) as again:
        assert again is None
        cache.renew()  # as in the child of a fork
        with cache.making("k", 60) as in_child:
            assert in_child is None
    with Cache[str](0).making("k", 60) as kept_never:
        assert kept_never is None


def test_ages() -> None:
    """A value is as old as the question, and gone when it is too old; with 0 nothing is kept."""
    clock = Clock(100.0)
    cache: Cache[str] = Cache(1, clock=clock)
    cache.put("key", "value", asked=99.5)
    assert cache.get("key") == "value"
    clock.set(100.49)
    assert cache.get("key") == "value"
    clock.set(100.5)
    assert cache.get("key") is None
    never: Cache[str] = Cache(0, clock=clock)
    never.put("key", "value", asked=clock())
    assert never.get("key") is None


def kept(cache: Cache[Any]) -> dict[Any, Any]:
    """What is in memory, by its question. Nobody is told of what is too old, so only the inside shows it."""
    return {question: value for question, (_, value) in cache._kept.items()}


def test_the_cache_is_bounded() -> None:
    """Whoever asks for ever other filters pushes out the oldest answers, nothing else."""
    cache: Cache[int] = Cache(1000)
    for number in range(1000):
        cache.put(number, number, asked=cache.now())
    assert len(kept(cache)) <= 64
    assert cache.get(999) == 999


def test_the_cache_keeps_little_memory() -> None:
    """What is too old goes when something new comes, and so does what is too large together."""
    clock, size = Clock(100.0), 1024 * 1024
    cache: Cache[bytes] = Cache(1, size=len, clock=clock)
    for number in range(50):
        cache.put(number, bytes(size), asked=clock())
    assert list(kept(cache)) == list(range(34, 50))
    cache.put("larger than all", bytes(32 * size), asked=clock())
    assert list(kept(cache)) == ["larger than all"]
    cache.put("small", b"", asked=clock() + 0.5)
    clock.advance(1)
    cache.put("later", b"", asked=clock())
    assert list(kept(cache)) == ["small", "later"]


def test_whoever_chooses_filters_chooses_no_memory(bridge: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers of a large process, one for each filter that somebody thinks of, are not all kept."""
    reader = bridge().reader
    large = Exposition("text/plain", bytes(2_000_000))
    monkeypatch.setattr(reader, "expose", lambda *_, **__: large)
    scrape = Scrape(reader, cache_ttl=60, compression_threshold=False)
    for number in range(20):
        assert len(scrape.respond(Request(query=f"name[]=c_total&name[]={number}")).body) == 2_000_000
    assert 1_000_000 < sum(len(response.body) for response in kept(scrape._cache).values()) < 17_000_000


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("10", 9.5), ("0.5", 0.4), ("1", 0.8), ("2.5", 2.0), ("1e1", 9.5), ("0.900", 0.72)],
)
def test_the_scrapers_timeout_is_kept_with_a_margin(header: str, seconds: float) -> None:
    """A fifth of it, at most half a second, is for the way back."""
    assert scrape_module._timeout(header) == pytest.approx(seconds)


@pytest.mark.parametrize("header", [None, "", "soon", "nan", "inf", "-1", "0", "1e309", "0x10", "1,2"])
def test_a_timeout_that_makes_no_sense_is_none(bridge: Make, header: str | None) -> None:
    """It is passed over, and the scrape answered."""
    assert scrape_module._timeout(header) is None
    headers = {} if header is None else {"x-prometheus-scrape-timeout-seconds": header}
    assert Scrape(bridge().reader).respond(Request(headers=headers)).status == 200


@pytest.mark.clocked
def test_a_hanging_callback_is_a_200_in_time_that_says_so(bridge: Make) -> None:
    """The answer comes before the scraper gives up, with known values and a marker."""
    setup = bridge(self_metrics=True)
    release = threading.Event()
    hang = threading.Event()

    def wait(_: CallbackOptions) -> Iterator[Observation]:
        if hang.is_set():
            release.wait(20)
        yield Observation(7)

    setup.meter.create_observable_gauge("g", [wait])
    scrape = Scrape(setup.reader)
    marker = ("otel_prom_bridge_last_collection_successful", frozenset[tuple[str, str]]())
    found = samples("text/plain", scrape.respond(Request()).body)
    assert (found[marker], found["g", frozenset()]) == (1, 7)
    hang.set()
    for _ in range(3):
        start = time.monotonic()
        response = scrape.respond(Request(headers={"x-prometheus-scrape-timeout-seconds": "0.5"}))
        assert time.monotonic() - start < 3  # 0.4, on a machine that is not busy
        found = samples("text/plain", response.body)
        assert (response.status, found[marker], found["g", frozenset()]) == (200, 0, 7)
    release.set()


def test_a_body_that_cannot_be_compressed_is_sent_as_it_is(
    cached: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compression is an economy: without the memory for it the scrape is answered all the same."""

    def refuse(*_: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr(zlib, "compressobj", refuse)
    response = cached.get(**{"accept-encoding": "gzip"})
    assert (response.status, field(response, "Content-Encoding")) == (200, None)
    assert response.body.startswith(b"# TYPE")


def test_every_answer_says_when_the_process_began(cached: Counted) -> None:
    """As promhttp does: whole seconds since the epoch, before this test and after the machine's start."""
    start = process_start()
    assert start is not None
    assert 0 < time.time() - start < 24 * 3600
    assert field(cached.get(), "Process-Start-Time-Unix") == str(int(start))


def test_the_path_and_compression_are_options(bridge: Make) -> None:
    """The metrics can be elsewhere, also at the root; and nothing need be compressed."""
    reader = bridge(self_metrics=True).reader
    scrape = Scrape(reader, metrics_path="/internal/prom", compression_threshold=False)
    headers = {"accept-encoding": "gzip"}
    assert scrape.respond(Request(path="/metrics")).status == 404
    response = scrape.respond(Request(path="/internal/prom", headers=headers))
    assert (response.status, field(response, "Content-Encoding")) == (200, None)
    assert Scrape(reader, metrics_path="/").respond(Request(path="/")).status == 200
    small = Scrape(reader, compression_threshold=1).respond(Request(query="name[]=none", headers=headers))
    assert field(small, "Content-Encoding") is None  # an empty body has nothing to compress


NO_PATHS = (
    *("/health", "/ready", "/ready/", "/health//", "metrics", "", 1),
    *("//x", "/a//b", "/a?b", "/a b", "/m\u00e9", "/m#f", "/%6d", "/x\n", "/metrics/", "/.", "/a/../health"),
)


@pytest.mark.parametrize("path", NO_PATHS)
def test_paths_that_cannot_be(bridge: Make, path: object) -> None:
    """The metrics are not where guards let strangers in, nor where no client asks; start() says the same."""
    with pytest.raises(ConfigurationError, match=r"^metrics_path: .* expected a path like '/metrics'"):
        Scrape(bridge().reader, metrics_path=path)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"^metrics_path: .* expected a path like '/metrics'"):
        start(port=0, metrics_path=path, set_global=False)  # type: ignore[arg-type]


def test_an_answer_that_was_kept_is_quick(cached: Counted) -> None:
    """It is given again without a collection, to GET and HEAD, and to the same question in other words."""
    request = Request(headers={"accept-encoding": "gzip"})
    assert cached.scrape.quick(request) is None  # nothing is kept yet
    response = cached.scrape.respond(request)
    again, head = cached.scrape.quick(request), cached.scrape.quick(replace(request, method="HEAD"))
    assert again is response
    assert head is response
    assert cached.scrape.quick(replace(request, headers={"accept-encoding": "x, gzip"})) is response
    assert cached.collections == 1


def test_what_is_quick_is_never_for_another_question(cached: Counted) -> None:
    """What was kept answers the same format, filter and compression only, and only a scrape."""
    cached.get()
    assert cached.scrape.quick(Request()) is not None
    for other in (
        Request(headers={"accept": OPENMETRICS}),
        Request(headers={"accept-encoding": "gzip"}),
        Request(query="name[]=g"),
        Request(method="POST"),
        Request(method="OPTIONS"),
        Request(path="/ready"),
        Request(path="/nothing"),
    ):
        assert cached.scrape.quick(other) is None
    assert cached.collections == 1


@pytest.mark.clocked
def test_what_is_quick_ends_with_its_time_and_with_the_reader(bridge: Make) -> None:
    """An answer that is too old, or of a reader that was shut down, is not given."""
    setup = bridge()
    short = Counted(setup, ttl=0.3)
    short.get()
    time.sleep(0.31)
    assert short.scrape.quick(Request()) is None
    long = Scrape(setup.reader, cache_ttl=60)
    assert long.respond(Request()).status == 200
    assert long.quick(Request()) is not None
    setup.reader.shutdown()
    assert long.quick(Request()) is None
    assert long.respond(Request()).status == 503


def test_what_is_quick_does_not_wait_for_a_collection(bridge: Make) -> None:
    """While a callback hangs and all others wait for it, an answer that is still fresh is given at once."""
    it = Counted(bridge(), ttl=60)
    it.get()
    it.release.clear()
    thread = threading.Thread(target=it.get, args=("name[]=c_total",))
    thread.start()
    wait_for(lambda: it.collections == 2, seconds=10, what="a callback that hangs")
    assert it.scrape.quick(Request()) is not None
    assert thread.is_alive()  # still waiting for the callback
    it.release.set()
    thread.join(20)
    assert it.collections == 2


def test_quick_answers_are_counted(bridge: Make) -> None:
    """The number of scrapes that the bridge says it answered has those from the cache in it."""
    scrape = Scrape(bridge(self_metrics=True).reader, cache_ttl=60)
    scrape.respond(Request())
    for _ in range(4):
        assert scrape.quick(Request()) is not None
    found = samples("text/plain", scrape.respond(Request(query="name[]=otel_prom_bridge_scrapes_total")).body)
    assert found["otel_prom_bridge_scrapes_total", frozenset({("status", "200")})] == 5

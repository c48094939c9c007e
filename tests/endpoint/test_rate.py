"""How often: token buckets, for all together and for each client, in bounded memory."""

from __future__ import annotations

import threading
import time
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_prom_bridge.endpoint.guards import RateLimit
from otel_prom_bridge.endpoint.guards.rate import MAX_PEERS, Limiter
from otel_prom_bridge.errors import ConfigurationError

A, B = ip_address("192.0.2.1"), ip_address("192.0.2.2")


def test_burst_and_refill() -> None:
    """A burst passes at once, then one more for every interval; the wait is until the next one passes."""
    limiter = Limiter(rate_limit=RateLimit(interval=2, burst=3), peer_rate_limit=None)
    assert [limiter.take(A, 100.0) for _ in range(4)] == [0, 0, 0, 2]
    assert limiter.take(A, 101.5) == pytest.approx(0.5)
    assert limiter.take(A, 102.0) == 0
    assert limiter.take(A, 102.0) == pytest.approx(2)
    assert [limiter.take(A, 1000.0) for _ in range(4)] == [0, 0, 0, 2]


def test_refusals_are_free() -> None:
    """Those who are refused do not wait longer for it."""
    limiter = Limiter(rate_limit=RateLimit(interval=1, burst=1), peer_rate_limit=None)
    limiter.take(A, 0.0)
    assert all(limiter.take(A, 0.5) == 0.5 for _ in range(1000))
    assert limiter.take(A, 1.0) == 0


@pytest.mark.parametrize("start", [0.0, 100.0, 1e7])
@pytest.mark.parametrize("interval", [0.1, 0.3, 1 / 3])
def test_rounding_makes_nobody_late(start: float, interval: float) -> None:
    """Who asks once in each interval is never refused, although sums of intervals are not exact."""
    limiter = Limiter(rate_limit=RateLimit(interval=interval, burst=1), peer_rate_limit=None)
    assert [limiter.take(A, start + number * interval) for number in range(1000)] == [0] * 1000
    early = start + 1000 * interval - 0.0001  # what is really too early is refused
    assert limiter.take(A, early) == pytest.approx(0.0001, abs=1e-5)


def test_asking_takes_nothing() -> None:
    """To ask for the wait is not to take."""
    limiter = Limiter(
        rate_limit=RateLimit(interval=1, burst=1), peer_rate_limit=RateLimit(interval=1, burst=1)
    )
    assert all(limiter.wait(A, 0.0) == 0 for _ in range(10))
    assert limiter.take(A, 0.0) == 0
    assert limiter.wait(A, 0.0) == 1


def test_each_client_has_its_own() -> None:
    """One client's requests are not another's, and a client that is refused uses nothing of all clients'."""
    limiter = Limiter(
        rate_limit=RateLimit(interval=1, burst=2), peer_rate_limit=RateLimit(interval=10, burst=1)
    )
    assert limiter.take(A, 0.0) == 0
    assert all(limiter.take(A, 0.0) == 10 for _ in range(5))
    assert limiter.take(B, 0.0) == 0
    assert limiter.take(None, 0.0) == 1  # the limit of all
    assert limiter.take(None, 1.0) == 0


def test_a_network_of_addresses_is_one_client() -> None:
    """On IPv6 a client that changes the lower half of its address remains the same client."""
    limiter = Limiter(rate_limit=None, peer_rate_limit=RateLimit(interval=1, burst=1))
    assert limiter.take(ip_address("2001:db8::1"), 0.0) == 0
    assert limiter.take(ip_address("2001:db8::ffff:2"), 0.0) == 1
    assert limiter.take(ip_address("2001:db8:0:1::1"), 0.0) == 0


@pytest.mark.clocked
def test_a_flood_of_clients() -> None:
    """Memory is bounded under 100,000 clients, and no request pays for the others."""
    limiter = Limiter(rate_limit=None, peer_rate_limit=RateLimit(interval=1000, burst=1))
    start = time.perf_counter()
    for number in range(100_000):
        assert limiter.take(ip_address(0x0A000000 + number), float(number) / 1e6) == 0
    assert len(limiter) <= MAX_PEERS
    assert time.perf_counter() - start < 10


def test_full_buckets_are_forgotten() -> None:
    """A client whose bucket is full again is not remembered."""
    limiter = Limiter(rate_limit=None, peer_rate_limit=RateLimit(interval=1, burst=1))
    for number in range(100):
        limiter.take(ip_address(0x0A000000 + number), float(number) / 1000)
    for number in range(100):
        limiter.take(A, 1000.0 + 2 * number)
    assert len(limiter) == 1


def test_threads_do_not_pass_twice() -> None:
    """However many threads ask, no more pass than the burst."""
    limiter = Limiter(rate_limit=RateLimit(interval=1000, burst=50), peer_rate_limit=None)
    passed: list[bool] = []
    threads = [
        threading.Thread(target=lambda: passed.extend(not limiter.take(A, 0.0) for _ in range(50)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(passed) == 50


@given(
    st.integers(1, 5),
    st.sampled_from([0.1, 0.3, 1.0]),
    st.lists(st.floats(0, 3), max_size=50),
    st.sampled_from([0.0, 1e5, 1e7]),
)
def test_it_is_a_bucket_of_tokens(burst: int, interval: float, pauses: list[float], now: float) -> None:
    """The same requests pass as with a bucket that counts its tokens."""
    limiter = Limiter(rate_limit=RateLimit(interval=interval, burst=burst), peer_rate_limit=None)
    tokens, last = float(burst), now
    for pause in pauses:
        now += pause
        tokens, last = min(burst, tokens + (now - last) / interval), now
        if abs(tokens - 1) < 1e-4:
            return  # too close for either to be wrong
        passes = tokens > 1
        assert (limiter.take(A, now) == 0) is passes
        tokens -= passes


@pytest.mark.parametrize("interval", [0, -1, float("inf"), float("nan"), True, "1s", None])
def test_intervals(interval: object) -> None:
    """An interval is a number of seconds above zero."""
    with pytest.raises(ConfigurationError, match=r"^interval: "):
        RateLimit(interval=interval, burst=1)  # type: ignore[arg-type]


@pytest.mark.parametrize("burst", [0, -1, 1.5, True, "1", None])
def test_bursts(burst: object) -> None:
    """A burst lets at least one request pass."""
    with pytest.raises(ConfigurationError, match=r"^burst: "):
        RateLimit(interval=1, burst=burst)  # type: ignore[arg-type]

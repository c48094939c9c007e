"""What a hub answers to pushes, and what becomes of totals, levels, duplicates and strangers."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Callable

import pytest
from hubs import (
    CUMULATIVE,
    DELTA,
    counter,
    gauge,
    histogram,
    own,
    partial_success,
    push,
    request_of,
    shown,
    total,
)

from otel_prom_bridge.endpoint.messages import Link, Request
from otel_prom_bridge.hub.hub import Hub

Make = Callable[..., Hub]
LATER = 2**62  # after any hub began
SOURCE = {"service.name": "shop", "service.instance.id": "one"}


def sent(hub: Hub, *values: float, start: int = LATER) -> None:
    """Push these totals one after the other."""
    for value in values:
        metric = counter("orders", value, temporality=CUMULATIVE, start=start)
        assert partial_success(push(hub, request_of(metric, resource=SOURCE))) == (0, "")


def test_totals_become_what_came_in_between(hub: Hub) -> None:
    """Of a client that adds up itself, every event is counted once; a total that falls has begun anew."""
    sent(hub, 5, 5, 8)
    assert total(hub, "orders_total") == 8
    sent(hub, 2)  # a reset without another start
    assert total(hub, "orders_total") == 10
    sent(hub, 3, 4, start=LATER + 1)  # one with another start
    assert total(hub, "orders_total") == 14


def test_totals_from_before_the_hub_are_where_counting_begins(hub: Hub) -> None:
    """Another hub may have shown them, and a scraper would take them for new."""
    sent(hub, 100, start=1)
    assert shown(hub, "orders_total") == {(): 0}
    sent(hub, 103, start=1)
    assert total(hub, "orders_total") == 3


def test_totals_without_a_start_count_in_full(hub: Hub) -> None:
    """Nobody can know when they began, and nothing recorded is lost."""
    sent(hub, 7, 9, start=0)
    assert total(hub, "orders_total") == 9


def test_late_totals_are_passed_over(hub: Hub) -> None:
    """One that was overtaken by a later one is contained in that."""
    for value, time in ((5, 10**18 + 2), (3, 10**18 + 1), (6, 10**18 + 3)):
        metric = counter("orders", value, temporality=CUMULATIVE, start=LATER, time=time)
        push(hub, request_of(metric, resource=SOURCE))
    assert total(hub, "orders_total") == 6


def test_totals_of_two_clients_add_up(hub: Hub) -> None:
    """Each has baselines of its own, and what an ended one counted stays."""
    for instance in ("one", "two"):
        for value in (4, 6):
            metric = counter("orders", value, temporality=CUMULATIVE, start=LATER)
            push(hub, request_of(metric, resource={**SOURCE, "service.instance.id": instance}))
    assert total(hub, "orders_total") == 12


def test_histograms_of_totals(hub: Hub) -> None:
    """Bucket by bucket; other bounds are another beginning."""
    for counts, bounds in (([1, 0], [1.0]), ([3, 1], [1.0]), ([1, 1], [2.0])):
        metric = histogram("latency", counts, bounds, sum(counts), temporality=CUMULATIVE, start=LATER)
        push(hub, request_of(metric, resource=SOURCE))
    assert total(hub, "latency_count") == 4 + 2


def test_exponential_histograms_of_totals(hub: Hub) -> None:
    """A client lowers its resolution as values spread; what came in between is exact."""
    from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
    from opentelemetry.sdk.metrics import Histogram, MeterProvider
    from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
    from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation

    reader = InMemoryMetricReader(
        preferred_temporality={Histogram: AggregationTemporality.CUMULATIVE},
        preferred_aggregation={Histogram: ExponentialBucketHistogramAggregation()},
    )
    instrument = MeterProvider(metric_readers=[reader]).get_meter("shop").create_histogram("latency")
    count = 0
    for values in ((1.0, 1.1), (1e-5, 0.0, 7.0), (1e9,), ()):
        for value in values:
            instrument.record(value)
        count += len(values)
        push(hub, encode_metrics(reader.get_metrics_data()).SerializeToString())
        assert total(hub, "latency_count") == count


def test_steps_of_levels_end_with_their_source(make: Make) -> None:
    """What a process added to a level goes when it does, also where it sends steps."""
    hub = make({"source_timeout": 3600})
    for step in (5, -2):
        metric = counter("busy", step, temporality=DELTA, monotonic=False)
        push(hub, request_of(metric), **own("a;1", 1 if step == 5 else 2))
    push(hub, request_of(counter("busy", 4, temporality=CUMULATIVE, monotonic=False)), **own("b;1", 1))
    assert total(hub, "busy") == 7
    push(hub, request_of(), **own("a;1", 3, end="1"))
    assert total(hub, "busy") == 4


def test_gauges_are_those_of_living_workers(make: Make) -> None:
    """Each has a series by the number of its worker, which the next one gets when it has gone."""
    hub = make()
    for source in ("a;1", "b;2", "c;3"):
        push(hub, request_of(gauge("temperature", ord(source[0]))), **own(source, 1))
    assert shown(hub, "temperature") == {(("worker", str(n)),): 96 + n for n in (1, 2, 3)}
    push(hub, request_of(), **own("b;2", 2, end="1"))
    assert set(shown(hub, "temperature")) == {(("worker", "1"),), (("worker", "3"),)}
    push(hub, request_of(gauge("temperature", 1)), **own("d;4", 1))
    assert shown(hub, "temperature")[(("worker", "2"),)] == 1
    assert total(hub, "otel_prom_bridge_sources_ended_total") == 1


def test_what_a_worker_does_not_mention_is_gone(hub: Hub) -> None:
    """Its pushes are whole, but for what its failing callbacks would have said."""
    push(hub, request_of(gauge("a", 1), gauge("b", 2)), **own("x;1", 1))
    push(hub, request_of(gauge("b", 2)), **own("x;1", 2, failing="a"))
    assert shown(hub, "a")
    push(hub, b"", **own("x;1", 3))
    assert not shown(hub, "a")
    assert not shown(hub, "b")


def test_what_a_stranger_does_not_mention_stays_for_a_while(hub: Hub) -> None:
    """Exporters split large requests, so nobody knows whether a request is whole."""
    push(hub, request_of(gauge("a", 1), resource=SOURCE))
    push(hub, request_of(gauge("b", 2), resource=SOURCE))
    assert shown(hub, "a")
    assert shown(hub, "b")


@pytest.mark.parametrize("headers", [own("x;1", 7), {}], ids=["ours", "a stranger's"])
def test_a_push_that_comes_again_counts_once(hub: Hub, headers: dict[str, str]) -> None:
    """The answer may have been lost. The second one is answered like the first."""
    body = request_of(counter("orders", 2))
    answers = [push(hub, body, **headers) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 200]
    assert total(hub, "orders_total") == 2
    assert total(hub, "otel_prom_bridge_duplicate_pushes_total") == 2


def test_a_goodbye_that_comes_again_counts_once(hub: Hub) -> None:
    """The source has ended by then, and its last push is still known."""
    for _ in range(3):
        push(hub, request_of(counter("orders", 2)), **own("x;1", 9, end="1"))
    assert total(hub, "orders_total") == 2
    assert total(hub, "otel_prom_bridge_sources") == 0


def test_dropped_points_are_said_once(hub: Hub) -> None:
    """A worker says how many it has dropped since it began, in every push."""
    for number, dropped in ((1, 0), (2, 5), (3, 5), (4, 8)):
        push(hub, b"", **own("x;1", number, dropped=str(dropped)))
    assert total(hub, "otel_prom_bridge_worker_dropped_points_total") == 8


def test_a_full_hub_says_come_again(make: Make) -> None:
    """There is no place for more than so many processes; those that are there go on."""
    hub = make({"max_sources": 2})
    for source in ("a;1", "b;2"):
        assert push(hub, request_of(counter("orders", 1)), **own(source, 1)).status == 200
    refused = push(hub, request_of(counter("orders", 1)), **own("c;3", 1))
    assert refused.status == 503
    assert ("Retry-After", "5") in refused.headers
    assert b"max_sources" in refused.body
    assert push(hub, request_of(counter("orders", 1)), **own("a;1", 2, end="1")).status == 200
    assert push(hub, request_of(counter("orders", 1)), **own("c;3", 1)).status == 200
    assert total(hub, "orders_total") == 4


@pytest.mark.parametrize(
    "pack", [gzip.compress, zlib.compress, lambda body: gzip.compress(body[:9]) + gzip.compress(body[9:])]
)
def test_compressed_pushes(hub: Hub, pack: Callable[[bytes], bytes]) -> None:
    """gzip, deflate as HTTP means it, and gzip in several members."""
    body = pack(request_of(counter("orders", 2)))
    assert push(hub, body, content_encoding="gzip").status == 200
    assert total(hub, "orders_total") == 2


def test_a_bomb_is_refused(make: Make) -> None:
    """A small body that would be large unpacked gets no memory."""
    hub = make({"max_push_size": 100_000})
    bomb = gzip.compress(bytes(50_000_000), 9)
    assert len(bomb) < 100_000
    assert push(hub, bomb, content_encoding="gzip").status == 413
    for broken in (bomb[:1000], b"no gzip", gzip.compress(b"x")[:-4]):
        assert push(hub, broken, content_encoding="gzip").status in (400, 413)


@pytest.mark.parametrize(
    ("headers", "status", "says"),
    [
        ({"content_type": "application/json"}, 415, b"OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"),
        ({"content_type": "application/grpc+proto"}, 415, b"OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"),
        ({"content_type": ""}, 415, b"application/x-protobuf"),
        ({"content_encoding": "zstd"}, 415, b"OTEL_EXPORTER_OTLP_COMPRESSION=gzip"),
    ],
)
def test_other_languages_hear_what_to_set(
    hub: Hub, headers: dict[str, str], status: int, says: bytes
) -> None:
    """JSON, gRPC and compressions that are not known get a sentence."""
    response = push(hub, b"{}", **headers)
    assert response.status == status
    assert says in response.body


def test_other_paths_and_methods(hub: Hub) -> None:
    """Traces and logs are for somebody else."""
    link = Link(is_local=True)
    answers = [
        hub.receiver.admit(Request(method=method, path=path, link=link))
        for method, path in (("POST", "/v1/traces"), ("POST", "/metrics"), ("GET", "/v1/metrics"))
    ]
    assert [answer and answer.status for answer in answers] == [404, 404, 405]
    assert answers[0] is not None
    assert b"OTEL_TRACES_EXPORTER=none" in answers[0].body


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        ("Bearer secret", 200),
        ("bearer  secret ", 200),
        ("Bearer sec%72et", 200),  # as the environment has it, for exporters that leave it so
        ("Bearer other", 401),
        ("Basic secret", 401),
        ("Bearer s\u00e9cret", 401),
        ("", 401),
    ],
)
def test_over_tcp_a_token_is_needed(make: Make, authorization: str, status: int) -> None:
    """The right one, whoever asks."""
    hub = make({"token": "secret"})
    body = request_of(counter("orders", 1))
    assert push(hub, body, link=Link(), authorization=authorization).status == status


def test_without_a_token_nobody_comes_in_over_tcp(hub: Hub) -> None:
    """An empty token is none."""
    assert push(hub, b"", link=Link(), authorization="Bearer ").status == 401


def test_over_the_socket_only_the_users_own_processes_come_in(make: Make) -> None:
    """And root's, and those of users that are named."""
    hub = make({"users": [4242]})
    status = {
        uid: push(hub, b"", link=Link(is_local=True, uid=uid)).status for uid in (0, os.getuid(), 4242, 4343)
    }
    assert status == {0: 200, os.getuid(): 200, 4242: 200, 4343: 403}


def test_two_services_are_told_apart(hub: Hub) -> None:
    """Series of two services get labels that say whose they are, and there is a target_info of each."""
    for service in ("shop", "bank"):
        push(
            hub,
            request_of(counter("orders", 1), resource={"service.name": service, "service.instance.id": "1"}),
        )
    services = {dict(labels)["service_name"] for labels in shown(hub, "orders_total")}
    assert services == {"shop", "bank"}
    assert len(shown(hub, "target_info")) == 2


def test_more_services_than_there_may_be(make: Callable[..., Hub], caplog: pytest.LogCaptureFixture) -> None:
    """Further ones are shown together, exactly, with the label that says so; it is said once, and counted."""
    hub = make(receiving={"max_services": 2})
    for turn in range(2):
        for number in range(6):
            service = {"service.name": f"service-{number}"}
            body = request_of(counter("orders", 1), gauge("limit", number), resource=service)
            push(hub, body, **own(f"{number};{1000 + number}", turn + 1))
    found = {dict(labels).get("service_name"): value for labels, value in shown(hub, "orders_total").items()}
    assert found == {"service-0": 2, "service-1": 2, None: 8}
    rest = {dict(labels).get("otel_metric_overflow") for labels in shown(hub, "orders_total")}
    assert rest == {"true", None}
    assert sorted(shown(hub, "limit").values()) == [0, 1, 2, 3, 4, 5]  # each is of another worker
    assert total(hub, "otel_prom_bridge_overflowed_sources_total") == 4
    assert len(shown(hub, "target_info")) == 2
    (line,) = (record.message for record in caplog.records if "max_services" in record.message)
    assert "more than 2 services" in line
    for number in range(6):
        push(hub, b"", **own(f"{number};{1000 + number}", 3, end="1"))
    assert total(hub, "orders_total") == 12
    assert shown(hub, "limit") == {}


def test_a_service_that_has_left_makes_room(make: Callable[..., Hub]) -> None:
    """Where nothing of it is left, the next one has its place."""
    hub = make(receiving={"max_services": 1})
    for number in range(3):
        body = request_of(gauge("limit", number), resource={"service.name": f"service-{number}"})
        push(hub, body, **own(f"{number};{number + 1}", 1))
        assert total(hub, "limit") == number
        push(hub, b"", **own(f"{number};{number + 1}", 2, end="1"))
    assert shown(hub, "otel_prom_bridge_overflowed_sources_total") == {}

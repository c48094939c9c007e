"""What a view can compute: the outcome of an operation, by whatever says it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from otel_prom_bridge import ConfigurationError, ExportView, FirstOf, Outcome
from otel_prom_bridge.views.written import VIEWS

GRPC = "rpc.grpc.status_code"


@pytest.mark.parametrize(
    ("attributes", "failed"),
    [
        ({}, False),
        ({"error.type": "timeout"}, True),
        ({"error.type": ""}, False),
        ({"http.response.status_code": 500}, True),
        ({"http.response.status_code": "503"}, True),
        ({"http.response.status_code": 404}, False),
        ({"http.response.status_code": 14}, False),
        ({"http.status_code": 500}, False),
        ({GRPC: 14}, False),
    ],
)
def test_what_it_looks_at_by_default(attributes: dict[str, Any], failed: bool) -> None:
    """The error type, and the status of HTTP by its present name."""
    assert Outcome()(attributes) == ("error" if failed else "success")


@pytest.mark.parametrize(
    ("attributes", "failed"),
    [
        ({"http.status_code": 500}, True),
        ({"http.status_code": 404}, False),
        ({"http.response.status_code": 200, "http.status_code": 500}, True),
        ({GRPC: 0}, False),
        ({GRPC: 14}, True),
        ({GRPC: "14"}, True),
        ({GRPC: 5}, False),
        ({GRPC: 17}, False),
        ({GRPC: -1}, False),
        ({GRPC: True}, False),
        ({"rpc.response.status_code": "UNAVAILABLE"}, True),
        ({"rpc.response.status_code": "OK"}, False),
        ({"rpc.response.status_code": "NOT_FOUND"}, False),
        ({"rpc.response.status_code": "?"}, False),
        ({"rpc.response.status_code": ["OK"]}, False),
        ({"error.type": "x", GRPC: 0}, True),
    ],
)
def test_other_statuses(attributes: dict[str, Any], failed: bool) -> None:
    """Several attributes, any of which may say that it failed; gRPC's codes as HTTP's that they stand for."""
    keys = ["http.response.status_code", "http.status_code", GRPC, "rpc.response.status_code"]
    outcome = Outcome(status_attribute=keys)
    assert outcome(attributes) == ("error" if failed else "success")
    assert outcome.attributes == ("error.type", *keys)


# https://opentelemetry.io/docs/specs/semconv/rpc/grpc/#grpc-status
SERVER = {2, 4, 12, 13, 14, 15}


@pytest.mark.parametrize("code", range(17))
def test_errors_of_grpc_are_those_of_the_conventions(code: int) -> None:
    """A server's errors are six codes, a client's are all but OK."""
    assert (Outcome(status_attribute=GRPC)({GRPC: code}) == "error") is (code in SERVER)
    assert (Outcome(status_attribute=GRPC, error_status=400)({GRPC: code}) == "error") is (code != 0)


def test_one_attribute_is_one() -> None:
    """A string is a key and not a list of letters; equal arguments make equal outcomes."""
    outcome = Outcome(status_attribute="http.status_code")
    assert outcome.attributes == ("error.type", "http.status_code")
    assert outcome == Outcome(status_attribute=["http.status_code"])
    assert hash(outcome) == hash(Outcome(status_attribute=("http.status_code",)))


@pytest.mark.parametrize("written", ["http.status_code", ["http.status_code", GRPC]])
def test_in_a_file(written: object) -> None:
    """One key or a list of them."""
    (view,) = VIEWS.value("views", [{"compute": {"status": {"outcome": {"status_attribute": written}}}}])
    assert view == ExportView(compute={"status": Outcome(status_attribute=written)})  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [5, "", [], ["a", ""], [5]])
def test_what_is_no_attribute_in_a_file(wrong: object) -> None:
    """The error says where it is."""
    given = [{"compute": {"status": {"outcome": {"status_attribute": wrong}}}}]
    with pytest.raises(ConfigurationError) as caught:
        VIEWS.value("views", given)
    assert caught.value.key.startswith("views[0].compute['status'].outcome.status_attribute")


KEYS = "an attribute key, or a list of them"
TEXT = "a string that is not empty"
WRONG: list[tuple[Callable[[Any], object], object, str, str]] = [
    *((FirstOf, bad, "FirstOf.attributes", KEYS) for bad in (5, None, (), b"a", {"a": "b"}, iter("ab"))),
    (FirstOf, "", "FirstOf.attributes", TEXT),
    (lambda bad: FirstOf(["a", bad]), 5, "FirstOf.attributes[1]", TEXT),
    (lambda bad: FirstOf("a", default=bad), 5, "FirstOf.default", "a string"),
    *(
        (lambda bad: Outcome(error_status=bad), bad, "Outcome.error_status", "a whole number of at least 1")
        for bad in ("500", None, 0, True, 500.0)
    ),
    *((lambda bad: Outcome(status_attribute=bad), bad, "Outcome.status_attribute", KEYS) for bad in (5, [])),
    (lambda bad: Outcome(status_attribute=["a", bad]), "", "Outcome.status_attribute[1]", TEXT),
    (lambda bad: Outcome(error_attribute=bad), ["a"], "Outcome.error_attribute", TEXT),
    (lambda bad: Outcome(success=bad), "", "Outcome.success", TEXT),
    (lambda bad: Outcome(error=bad), "\ud800", "Outcome.error", TEXT),
]


@pytest.mark.parametrize(("make", "bad", "key", "allowed"), WRONG)
def test_wrong_arguments_are_refused_at_once(
    make: Callable[[Any], object], bad: object, key: str, allowed: str
) -> None:
    """And not with the first measurement, when the label would be left out."""
    with pytest.raises(ConfigurationError) as caught:
        make(bad)
    assert str(caught.value) == f"{key}: {bad!r} is not allowed, expected {allowed}"


def test_unusual_arguments_that_work() -> None:
    """A list, one key and an empty default."""
    assert FirstOf(["a", "b"], default="")({}) == ""
    assert FirstOf("ab") == FirstOf(("ab",))
    assert Outcome(error_status=400)({"http.response.status_code": 404}) == "error"

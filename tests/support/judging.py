"""Every exposition that a test produces is judged: by strict parsers at once, and by promtool later.

Promtool takes 40 ms to start, and tests expose a thousand texts: each by itself was a tenth of the time. So
texts wait until there are many. One that is ill-formed fails the test that exposed it, though that is over:
it is reported as a failure of its teardown, and run again by those who run again what failed. Processes of
pytest-xdist may report nothing of tests that are over, and send what there is to say as they end.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import pytest
from metrics_messages import decode
from oracles import parse
from promtool import promtool_complaints

from otel_prom_bridge.exposition import Exposer, Exposition

# Promtool judges only so many of each test: those of properties produce thousands.
_TEXTS_PER_TEST = 20
_AT_ONCE = 200
Place = tuple[str, tuple[str, int | None, str]]  # the id of a test, and where it stands

_waiting: dict[bytes, Place] = {}
_faults: list[tuple[Place, str]] = []


@pytest.fixture(autouse=True)
def judged(request: pytest.FixtureRequest) -> Iterator[None]:
    """Parse every exposition that the test produces, in any thread, and fail the test if one is wrong."""
    faults: list[str] = []
    seen: set[int] = set()
    texts: list[bytes] = []
    original = Exposer.expose

    def expose(self: Exposer, *args: object, **options: object) -> Exposition:
        result = original(self, *args, **options)  # type: ignore[arg-type]
        if hash(result.body) not in seen:
            seen.add(hash(result.body))
            try:
                is_protobuf = result.content_type.startswith("application/vnd.google.protobuf")
                decode(result.body) if is_protobuf else parse(result.content_type, result.body)
            except ValueError as error:
                faults.append(f"{error!r} in\n{result.body.decode(errors='replace')}")
            # Debian's promtool is older than quoted names.
            quoted = result.content_type.endswith("escaping=allow-utf-8")
            if result.content_type.startswith("text/") and not quoted and len(texts) < _TEXTS_PER_TEST:
                texts.append(result.body)
        return result

    Exposer.expose = expose  # type: ignore[method-assign]
    yield
    Exposer.expose = original  # type: ignore[method-assign]
    judge_later(texts, request.node)
    assert not faults, "\n\n".join(faults)


def judge_later(texts: list[bytes], item: pytest.Item) -> None:
    """Have promtool judge what this test exposed."""
    for text in texts:
        _waiting.setdefault(text, (item.nodeid, item.location))
    if len(_waiting) >= _AT_ONCE:
        _judge()


def _judge() -> None:
    for (text, place), complaint in zip(_waiting.items(), promtool_complaints([*_waiting]), strict=True):
        if complaint is not None:
            _faults.append((place, f"{complaint} in\n{text.decode(errors='replace')}"))
    _waiting.clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """When all tests are over, judge the rest."""
    result = yield
    _judge()
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["ill_formed"] = _faults[:]
    else:
        _report(session.config, _faults)
    _faults.clear()
    return result


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Report what a process of pytest-xdist has found."""
    _report(node.config, getattr(node, "workeroutput", {}).get("ill_formed", ()))


def _report(config: pytest.Config, faults: Any) -> None:
    for (node_id, location), complaint in faults:
        report = pytest.TestReport(node_id, tuple(location), {}, "failed", complaint, "teardown")
        config.hook.pytest_runtest_logreport(report=report)

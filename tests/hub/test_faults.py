"""A hub that is killed, stuck, slow or loses its answers: nothing that workers record is lost for that.

The truth is what the workers counted. The hub is a real one.
"""

from __future__ import annotations

import signal
from itertools import pairwise
from pathlib import Path

import pytest
from hub_processes import bad_connection, hub_process, workers
from servers import wait_for

# Seconds of the processor that one recording may take. It waits for nothing, so it is microseconds; a
# collection of garbage may come in between.
QUICK = 0.1


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [3, 15])
def test_a_hub_that_is_killed(runtime: Path, seconds: float) -> None:
    """The next one begins anew, with all that was recorded since its predecessor's end."""
    with hub_process(runtime) as hub, workers(hub.path, 4) as program:
        program.record(1)
        before = program.flush()
        assert sum(hub.values("jobs_total")) == before > 0
        hub.end(signal.SIGKILL)
        program.record(seconds)
        hub.start()
        total = program.flush()
        assert total > before + 500 * seconds
        assert sum(hub.values("jobs_total")) == total - before
        assert sum(hub.values("sizes_count")) == total - before
        assert hub.values("level") == [4]
        assert program.longest < QUICK
        total, log = program.end()
        # Once for each process: the workers, and the one that they were forked from.
        assert 1 <= log.count("does not take metrics") <= 5


def test_answers_that_get_lost(runtime: Path) -> None:
    """Three of ten: what comes again counts once."""
    with (
        hub_process(runtime) as hub,
        bad_connection(hub, runtime / "bad.sock", lose=0.3) as path,
        workers(path, 3, OTEL_PROM_BRIDGE_PUSH_INTERVAL="0.05") as program,
    ):
        program.record(2)
        total, _ = program.end()
        assert sum(hub.values("jobs_total")) == total
        assert sum(hub.values("sizes_count")) == total
        assert sum(hub.values("otel_prom_bridge_duplicate_pushes_total")) > 5


@pytest.mark.slow
def test_a_slow_hub(runtime: Path) -> None:
    """Each answer takes a second. Recordings take what they took, and all of them arrive."""
    with (
        hub_process(runtime) as hub,
        bad_connection(hub, runtime / "slow.sock", delay=1) as path,
        workers(path, 3, OTEL_PROM_BRIDGE_PUSH_INTERVAL="0.05") as program,
    ):
        counts = [program.record(0.5) for _ in range(5)]
        assert all(later > sooner + 100 for sooner, later in pairwise(counts))
        total = program.flush()
        assert sum(hub.values("jobs_total")) == total
        assert program.longest < QUICK


@pytest.mark.slow
def test_a_stuck_hub(runtime: Path) -> None:
    """It neither answers nor ends. Recordings take what they took, and memory stays as it is."""
    with hub_process(runtime) as hub, workers(hub.path, 4) as program:
        program.record(2)
        hub.signal(signal.SIGSTOP)
        before, resident = program.record(2), program.resident
        after = program.record(12)  # longer than a push waits for an answer
        assert after > before + 12 * 4 * 100
        assert program.resident < resident + 10
        hub.signal(signal.SIGCONT)
        total = program.flush()
        assert sum(hub.values("jobs_total")) == total
        assert program.longest < QUICK
        _, log = program.end()
        assert "does not take metrics" in log


@pytest.mark.slow
def test_many_workers(runtime: Path) -> None:
    """32 of them: the sum is exact, levels and gauges are those of all, and go with them."""
    with hub_process(runtime) as hub, workers(hub.path, 32) as program:
        program.record(3)
        total = program.flush()
        assert sum(hub.values("jobs_total")) == total
        assert hub.values("level") == [32]
        assert sorted(hub.values("limit")) == list(range(32))
        assert hub.values("otel_prom_bridge_sources") == [33]
        program.record(1)
        total, _ = program.end()
        wait_for(lambda: hub.values("otel_prom_bridge_sources") == [0], seconds=5, what="the end of all")
        assert sum(hub.values("jobs_total")) == total
        assert (hub.values("level"), hub.values("limit")) == ([], [])

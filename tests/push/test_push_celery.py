"""The children of celery, which end in a way of their own; the truth is what the tasks wrote down.

Celery asks the system to kill each child as soon as "the parent" ends (``set_pdeathsig``), which for Linux is
the thread that forked it. With a broker that has no event loop, such as the one in memory, a thread replaces
children that have ended. When celery stops, this thread ends before its children do, and they are killed in
the middle of whatever they do. Nothing can be demanded of those, so here nobody is killed.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
from pathlib import Path

import pytest
from fake_hub import fake_hub
from pushing import Program
from servers import wait_for

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="celery's pool forks"),
    pytest.mark.skipif(importlib.util.find_spec("celery") is None, reason="no celery"),
]

TASKS = 40
CODE = """
import os, time
from celery import Celery, platforms
from celery.signals import worker_process_shutdown, worker_ready
from opentelemetry import metrics
from otel_prom_bridge import start

app = Celery(broker="memory://")
jobs = metrics.get_meter("shop").create_counter("jobs")
level = metrics.get_meter("shop").create_up_down_counter("level")

platforms.set_pdeathsig = lambda signal: None

@worker_process_shutdown.connect
def take_time(**_):  # longer than it takes the thread that replaces children to end
    if os.path.exists("stopping"):
        time.sleep(1)

start()
jobs.add(1)
level.add(3)

@app.task
def job():
    jobs.add(1)
    with open("done", "ab", buffering=0) as file:
        file.write(b".")

@worker_ready.connect
def send(**_):
    for _ in range(40):
        job.delay()
"""


def test_celery(tmp_path: Path) -> None:
    """Each process of the pool says goodbye; ``tests/hub`` has all other ways, with a real hub."""
    done = tmp_path / "done"
    done.touch()
    command = [sys.executable, "-m", "celery", "-A", "program", "worker", "-c", "2", "--without-mingle"]
    command += ["--without-gossip", "--max-tasks-per-child", "5"]
    with fake_hub(tmp_path) as hub:
        program = Program(CODE, tmp_path, hub, *command, head="")
        wait_for(lambda: done.stat().st_size >= TASKS, seconds=60, what="all tasks")
        (tmp_path / "stopping").touch()
        program.signal(signal.SIGTERM)
        code, _, log = program.end()
        assert code == 0, log
        assert done.stat().st_size == TASKS
        assert hub.total("jobs") == TASKS + 1
        assert hub.ended == hub.sources()
        levels = [value for levels in hub.levels.values() for value in levels.values()]
        assert levels == [3]
        assert len(hub.sources()) >= TASKS // 5

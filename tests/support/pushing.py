"""Programs that push to a fake hub, and whether anything of them is left when they have ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import programs
from fake_hub import FakeHub
from servers import wait_for

# What a program begins with. It counts by itself what it records.
HEAD = """
import atexit, json, multiprocessing, os, signal, struct, sys, threading, time
from opentelemetry import metrics
from otel_prom_bridge import start

meter = metrics.get_meter("shop")
jobs = meter.create_counter("jobs")
sizes = meter.create_histogram("sizes")
level = meter.create_up_down_counter("level")
bridge = start()

def work(count):
    for number in range(count):
        jobs.add(1, {"kind": str(number % 3)})
        sizes.record(number)
    return count

def say(**found):
    print(json.dumps(found), flush=True)
"""

# From here on the program's process can start no more threads, as CPython 3.12 cannot when it ends.
NO_THREADS = """
from otel_prom_bridge import native
def none_left(*_):
    raise RuntimeError("can't start new thread")
native._thread.start_new_thread = none_left
"""


class Program:
    """A program that was started, with all that it starts itself."""

    def __init__(
        self, code: str, folder: Path, hub: FakeHub, *command: str, head: str = HEAD, **variables: str
    ):
        self._path = folder / "program.py"
        self._path.write_text(head + code)
        self._mark = uuid.uuid4().hex
        # A program that does something before it imports the packages has an interpreter that has not.
        start = programs.Program if head is HEAD else subprocess.Popen[Any]
        self._process = start(
            [*command] if command else [sys.executable, str(self._path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
            env={
                **os.environ,
                "OTEL_PROM_BRIDGE_HUB": hub.address,
                "PYTHONPATH": os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]),
                "PROGRAM_MARK": self._mark,
                **variables,
            },
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def line(self) -> Any:
        """The next line that it says, as JSON."""
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline() or "null")

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def end(self, seconds: float = 60) -> tuple[int, Any, str]:
        """Wait for its end: its code, the last line that it said, and its log. Nothing of it is left."""
        try:
            said, log = self._process.communicate(timeout=seconds)
        finally:
            if self._process.poll() is None:
                self._process.kill()
        wait_for(lambda: not self.left(), seconds=5, what=f"the end of {self.left()}")
        lines = [line for line in said.splitlines() if line.startswith("{")]
        return self._process.returncode, json.loads(lines[-1]) if lines else None, log

    def left(self) -> list[str]:
        """The command lines of processes of it that still run: those in its folder, or with its mark."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                is_here = (folder / "cwd").readlink() == self._path.parent.resolve()
                if is_here or f"PROGRAM_MARK={self._mark}".encode() in (folder / "environ").read_bytes():
                    found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:  # it has ended, or is not ours
                continue
        return found


def run(code: str, folder: Path, hub: FakeHub, **variables: str) -> tuple[Any, str]:
    """What a program says at its end, and its log; it must end well."""
    code_, found, log = Program(code, folder, hub, **variables).end()
    assert code_ == 0, log
    return found, log

"""Python programs in processes of their own, which begin with the packages imported.

An interpreter takes most of a second of processor to import OpenTelemetry and the bridge, and tests start
some hundred programs. So one interpreter imports both and does nothing else (``origin.py``), and each program
is a fork of it. It knows nothing of that: it has arguments, an environment, streams, a folder and a
``__main__`` of its own, no hook of the packages has seen a fork, it is a child of the test's process, and it
ends as an interpreter ends.

Tests of what a start does (what is imported, and what is done before that) start an interpreter, with
``subprocess``. With ``PROGRAMS=whole`` all tests do; ``make slow`` runs them so.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FunctionType
from typing import Any

# Only Linux lets a process adopt the children of its children.
IS_FORKED = sys.platform == "linux" and os.environ.get("PROGRAMS") != "whole"
_SET_CHILD_SUBREAPER = 36  # https://man7.org/linux/man-pages/man2/PR_SET_CHILD_SUBREAPER.2const.html


class Program(subprocess.Popen[Any]):
    """A process as ``subprocess.Popen`` starts it. An interpreter has the packages imported as it begins."""

    def _execute_child(self, args: Any, *options: Any) -> None:
        """Let the origin fork where ``Popen``, which has made the pipes, would execute a program."""
        _, preexec, _, inherited, folder, environment, _, _, shell, *streams = options[:15]
        environment = dict(os.environ if environment is None else environment)
        is_plain = not (preexec or inherited or shell or options[20:21] == (True,))
        if not (is_plain and IS_FORKED and _may_be_forked(args, environment)):
            super()._execute_child(args, *options)  # type: ignore[misc]
            return
        program = {
            "arguments": [os.fspath(argument) for argument in args[1:]],
            "folder": os.fspath(folder or os.getcwd()),
            "environment": environment,
        }
        own = (
            streams[0],
            streams[3],
            streams[5],
        )  # the ends of the pipes that are not ours; -1: as we have it
        descriptors = [number if end == -1 else end for number, end in enumerate(own)]
        self.pid = _origin(os.getpid()).fork(program, descriptors)
        self._child_created = True
        self._close_pipe_fds(*streams)  # type: ignore[attr-defined]


# `subprocess.run`, but for what it starts.
run: Callable[..., subprocess.CompletedProcess[Any]] = FunctionType(
    subprocess.run.__code__, {**vars(subprocess), "Popen": Program}
)
run.__kwdefaults__ = subprocess.run.__kwdefaults__


def _may_be_forked(command: Sequence[str | os.PathLike[str]], environment: Mapping[str, str]) -> bool:
    """Whether the command is this interpreter, with nothing that only one that starts can heed."""
    if os.fspath(command[0]) != sys.executable or _of_interpreters(environment) != _OF_INTERPRETERS:
        return False
    arguments = list(map(os.fspath, command[1:]))
    while arguments[:2] == ["-W", "error"]:
        del arguments[:2]
    return arguments != [] and (arguments[0] in ("-c", "-m") or not arguments[0].startswith("-"))


def _of_interpreters(environment: Mapping[str, str]) -> dict[str, str]:
    """What an interpreter reads as it starts, but for the path, which may be added to later."""
    names = [name for name in environment if name.startswith("PYTHON") and name != "PYTHONPATH"]
    return {name: environment[name] for name in names}


_OF_INTERPRETERS = _of_interpreters(os.environ)


class _Origin:
    """The process that is forked, and the connection to it, which ends it as this process ends."""

    def __init__(self) -> None:
        settings = ("OTEL_", "METRICS_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(settings)}
        command = [sys.executable, Path(__file__).with_name("origin.py")]
        self._control, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its:  # its streams, too: programs get streams that were made for what has no positions, as pipes
            self._process = subprocess.Popen(command, stdin=its, stdout=its, stderr=its, env=kept)
        atexit.register(self._end)
        self._one_at_a_time = threading.Lock()
        self._prctl = ctypes.CDLL(None).prctl

    def fork(self, program: Mapping[str, object], streams: Sequence[int]) -> int:
        """The number of a new process, which is a child of this one."""
        with self._one_at_a_time:
            self._prctl(_SET_CHILD_SUBREAPER, 1)
            try:
                socket.send_fds(self._control, [json.dumps(program).encode()], streams)
                return int(self._control.recv(20))
            finally:
                self._prctl(_SET_CHILD_SUBREAPER, 0)

    def _end(self) -> None:
        self._control.close()
        self._process.kill()
        self._process.wait()


@functools.cache
def _origin(process: int) -> _Origin:
    """That of this process; a forked one has its own."""
    return _Origin()

"""Watches over a hub: starts it, and starts it anew if something kills it.

This is a program of its own that imports nothing but the standard library, because it must stay small and
live as long as the application does: ``python guardian.py WATCHED READY COMMAND …``. COMMAND is that of the
hub. WATCHED is the program whose metrics it shows, and READY is where to say once whether there is a hub.

It is no child of the program's, which may wait for children of its own and must not meet this one. It takes
no notice of what a terminal or a supervisor tells the program: the hub is needed until the program has ended.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Sequence

IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# For the hub, from its guardian: what it watches, and where to say that it listens.
WATCHED, READY = "_OTEL_PROM_BRIDGE_WATCHED", "_OTEL_PROM_BRIDGE_READY"
# What systemd says of sockets that it has opened, and for which process.
ACTIVATION = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
_LONGEST_PAUSE = 10.0
_POLL_SECONDS = 0.2
# A hub that lived as long as this is started again at once.
_LIVED_SECONDS = 10.0


class Program:
    """The program that is watched, by a descriptor of its process (``fd:7``) or its number (``pid:4711``)."""

    def __init__(self, text: str) -> None:
        kind, _, number = text.partition(":")
        self.text = text
        self._descriptor = int(number) if kind == "fd" else None
        self._process = int(number)

    @property
    def descriptors(self) -> list[int]:
        """What has to stay open for it."""
        return [] if self._descriptor is None else [self._descriptor]

    def ends_within(self, seconds: float) -> bool:
        """Whether it has ended, after so many seconds at most."""
        if self._descriptor is not None:
            return bool(select.select([self._descriptor], [], [], seconds)[0])
        deadline = time.monotonic() + seconds
        while self._is_there():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(_POLL_SECONDS, left))
        return True

    def _is_there(self) -> bool:
        try:
            os.kill(self._process, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True


def watched(process: int) -> str:
    """What names this process to a guardian. A descriptor of it is never another's; it may be inherited."""
    descriptor = _descriptor(process)
    if descriptor is None:
        return f"pid:{process}"
    os.set_inheritable(descriptor, True)
    return f"fd:{descriptor}"


def be_silent() -> None:
    """Let go of the terminal and of pipes, since somebody may wait for their end."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    os.close(nothing)


class Guardian:
    """Keeps a hub running until the program ends. ``ready`` is the descriptor of who waits for the first."""

    def __init__(self, program: Program, ready: int, command: list[str]) -> None:
        self._program = program
        os.set_inheritable(ready, False)  # whoever waits there must not wait for the hub's end
        self._ready: int | None = ready
        self._command = command
        self._is_silent = False
        self._is_first = True

    def run(self) -> None:
        """Return when the program and the hub have ended, or the first hub could not be started."""
        pause = 0.1
        while True:
            began = time.monotonic()
            hub, said = self._start()
            self._answer(said)
            if not said.startswith(b"{") or b'"error"' in said:
                os.waitpid(hub, 0)
                if self._is_first:
                    return
            else:
                self._await(hub)
            self._is_first = False
            if time.monotonic() - began >= _LIVED_SECONDS:
                pause = 0.1
            if self._program.ends_within(pause):
                return
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _start(self) -> tuple[int, bytes]:
        """Start a hub: its process, and what it says when it listens."""
        hears, says = os.pipe()
        passed = [says, *self._program.descriptors]
        environment = {**os.environ, WATCHED: self._program.text, READY: str(says)}
        hub = os.fork()
        if hub == 0:
            try:
                for descriptor in passed:
                    os.set_inheritable(descriptor, True)
                if ACTIVATION[0] in environment:
                    environment[ACTIVATION[0]] = str(os.getpid())
                os.execve(self._command[0], self._command, environment)
            finally:
                os._exit(127)
        os.close(says)
        said = b""
        while piece := os.read(hears, 4096):
            said += piece
        os.close(hears)
        return hub, said

    def _answer(self, said: bytes) -> None:
        if self._ready is not None:
            with contextlib.suppress(OSError):  # nobody waits any more
                os.write(self._ready, said)
            os.close(self._ready)
            self._ready = None
        elif b'"error"' in said:
            sys.stderr.write(f"otel-prom-bridge: the hub cannot be started again: {said.decode()}\n")

    def _await(self, hub: int) -> None:
        """Wait until the hub has ended."""
        process = _descriptor(hub)
        while not os.waitpid(hub, os.WNOHANG)[0]:
            if not self._is_silent and self._program.ends_within(0):
                be_silent()
                self._is_silent = True
            watched = [] if self._is_silent else self._program.descriptors
            sleepless = process is not None and (self._is_silent or watched)
            descriptors = watched if process is None else [*watched, process]
            select.select(descriptors, [], [], None if sleepless else _POLL_SECONDS)
        if process is not None:
            os.close(process)


def _descriptor(process: int) -> int | None:
    try:
        return os.pidfd_open(process)
    except (AttributeError, OSError):  # not on Linux
        return None


def main(arguments: Sequence[str]) -> None:
    """Run a guardian."""
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    program, ready, *command = arguments
    Guardian(Program(program), int(ready), command).run()


if __name__ == "__main__":
    main(sys.argv[1:])

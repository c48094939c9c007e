"""What commands write, and the error that ends one in one line."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress

PROGRAM = "otel-prom-bridge"
# The exit code of a command that did its work and found something.
FOUND = 1


class CommandError(Exception):
    """What a command was given cannot be used. The message is one line for whoever gave it."""


def write(text: str) -> int:
    """Write to stdout, and return the exit code of a command that has nothing more to say."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a Latin-1 terminal has no ellipsis
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader (`| head`) has seen enough. Python flushes once more at exit, which must find no pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def until_interrupted(seconds: float | None = None) -> None:
    """Wait so long, or until Ctrl-C, which is how what serves is ended."""
    with suppress(KeyboardInterrupt):
        threading.Event().wait(seconds)


class Progress:
    """A line on stderr that is written over, if that is a terminal. Scripts and logs get none."""

    def __init__(self) -> None:
        self._is_shown = sys.stderr.isatty()
        self._width = 0

    def show(self, text: str) -> None:
        """Write this in the place of what was there."""
        if self._is_shown:
            sys.stderr.write(f"\r{text.ljust(self._width)}")
            sys.stderr.flush()
            self._width = len(text)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._width:
            sys.stderr.write("\n")

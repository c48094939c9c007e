"""What the processes of one application know of each other.

An application may have several processes: a server and its workers, a reloader and what it reloads, a pool.
The first of them that opens an endpoint keeps its port. The others have to know that the port was taken by
one of them and not by a stranger, and the first has to know that others record and it does not.

A process that serves has a page of shared memory for that. A forked child has the page because a fork shares
it. A child that is a new program finds it through a variable of the environment, on Linux.
"""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

# What to do about several processes.
ONE_FOR_ALL = "Run the program as `otel-prom-bridge run -- COMMAND`, which shows all processes at one port"
_VARIABLE = "_OTEL_PROM_BRIDGE_PROCESS"
_NAME = "otel-prom-bridge"
# The bytes of a page.
_CHILD_RECORDS, _IS_SAID = range(2)

_own: _Page | None = None  # of this process, if it serves
_serving = 0  # so many endpoints
_above: _Page | None = None  # of the nearest process above this one that serves
_is_forked = False


class _Page:
    """The shared memory of a process and of those below it."""

    def __init__(self, memory: mmap.mmap, descriptor: int) -> None:
        self.memory = memory
        self.descriptor = descriptor

    def take(self, at: int) -> bool:
        """Set a byte; whether this call did it."""
        was_set = bool(self.memory[at])
        self.memory[at] = 1
        return not was_set


def announce() -> Callable[[], None]:
    """This process serves: those that it starts from now on are below it. The result takes that back."""
    global _own, _serving
    _serving += 1
    if _serving == 1:
        _own = _new_page()
        os.environ[_VARIABLE] = f"{os.getpid()}:{-1 if _own is None else _own.descriptor}"
    return partial(_withdraw, os.getpid())


def _withdraw(process: int) -> None:
    global _own, _serving
    if process != os.getpid():  # a forked child ends what it has inherited
        return
    _serving -= 1
    if _serving == 0:
        os.environ.pop(_VARIABLE, None)
        # The application may have closed the descriptor, and opened another file that has its number now.
        if _own is not None and _is_page(f"/proc/self/fd/{_own.descriptor}"):
            os.close(_own.descriptor)
        _own = None


def tell_of_recording() -> None:
    """Tell the process above that this one records."""
    if _above is not None:
        _above.take(_CHILD_RECORDS)


def a_child_records() -> bool:
    """Whether a process below this one records."""
    return _own is not None and bool(_own.memory[_CHILD_RECORDS])


def is_first_to_say() -> bool:
    """Whether of all processes below the one that serves, none has asked this before."""
    return _above is None or _above.take(_IS_SAID)


def is_one_of_several() -> bool:
    """Whether an application started this process beside another one of its own."""
    return _is_forked or _is_below or _is_spawned() or _is_fork_of_its_parent()


def _is_spawned() -> bool:
    """Whether `multiprocessing` made this process; if it is not loaded, it did not."""
    loaded = sys.modules.get("multiprocessing.process")
    return loaded is not None and loaded.parent_process() is not None


def _is_fork_of_its_parent() -> bool:
    """Whether the parent was started with the same command line, as that of a fork is."""
    try:
        parent, own = (
            Path(f"/proc/{process}/cmdline").read_bytes() for process in (os.getppid(), os.getpid())
        )
    except OSError:  # not on Linux, or it is not ours to read
        return False
    return parent == own


def _new_page() -> _Page | None:
    """A page for the processes that this one starts; forked ones only, where no other can find it."""
    try:
        descriptor = os.memfd_create(_NAME) if hasattr(os, "memfd_create") else -1
        if descriptor >= 0:
            os.truncate(descriptor, mmap.PAGESIZE)
        return _Page(mmap.mmap(descriptor, mmap.PAGESIZE), descriptor)
    except (OSError, ValueError):  # no memory, no descriptors: nobody is told anything
        return None


def _page_above() -> _Page | None:
    """The page of the process that set the variable, if that is still there and not this one."""
    process, _, descriptor = os.environ.get(_VARIABLE, "").partition(":")
    path = f"/proc/{process}/fd/{descriptor}"
    try:
        # The process may be gone, and another one have its number.
        if int(process) == os.getpid() or not _is_page(path):
            return None
        with open(path, "r+b") as file:
            return _Page(mmap.mmap(file.fileno(), mmap.PAGESIZE), -1)
    except (OSError, ValueError):
        return None


def _is_below_another() -> bool:
    """Whether a process above this one serves. Without Linux it is known by its number alone."""
    process = os.environ.get(_VARIABLE, "").partition(":")[0]
    if _above is not None or not process.isdigit() or int(process) == os.getpid():
        return _above is not None
    if hasattr(os, "memfd_create") or not hasattr(os, "fork"):
        return False
    try:
        os.kill(int(process), 0)
    except OSError:
        return False
    return True


def _is_page(path: str) -> bool:
    try:
        return os.readlink(path).startswith(f"/memfd:{_NAME} ")
    except OSError:
        return False


def _after_fork() -> None:
    global _above, _own, _is_forked, _serving
    _above, _own, _is_forked, _serving = _own or _above, None, True, 0


_above = _page_above()
_is_below = _is_below_another()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

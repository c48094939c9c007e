"""How processes end that do not run what is registered with ``atexit``.

The children of ``multiprocessing`` and of ``billiard`` (which is celery's) end with ``os._exit``. Before,
they run finalizers of their own. A worker of celery does not run these either, but sends a signal of
celery's. All of them are asked only if something has imported them.

What a child has registered is forgotten when it begins, so it is registered in a function that the library
calls in each child.
"""

from __future__ import annotations

import contextlib
import os
import sys
from functools import partial
from typing import Any, Protocol
from weakref import WeakKeyDictionary

_LIBRARIES = ("multiprocessing", "billiard")
# After all others: queues wait for their threads at -5, and what the application has may record.
_PRIORITY = -100
_is_forked = False


class Ending(Protocol):
    """Something that has a last thing to do in a process."""

    def end(self) -> None:
        """Do it."""
        ...


# What was registered for it: a library, which children inherit, or a library and the process.
_known: WeakKeyDictionary[Ending, set[object]] = WeakKeyDictionary()


def watch(ending: Ending) -> None:
    """See to it that this ends with the process, and in its children with them."""
    for library in _LIBRARIES:
        util = sys.modules.get(f"{library}.util")
        with contextlib.suppress(Exception):  # it is made otherwise; the fork or the start must go on
            if util is not None and _is_new(ending, library):
                util.register_after_fork(ending, partial(_in_child, library))
            if util is not None and _is_child(library):
                _in_child(library, ending)
    signals: Any = sys.modules.get("celery.signals")
    with contextlib.suppress(Exception):
        if signals is not None and _is_new(ending, "celery"):
            signals.worker_process_shutdown.connect(lambda **_: ending.end(), weak=False)


def _in_child(library: str, ending: Ending) -> None:
    # A spawned child is a program of its own, which runs what is registered with `atexit`.
    is_program = "--multiprocessing-fork" in sys.orig_argv and not _is_forked
    if not is_program and _is_new(ending, (library, os.getpid())):
        sys.modules[f"{library}.util"].Finalize(None, ending.end, exitpriority=_PRIORITY)


def _is_child(library: str) -> bool:
    process: Any = sys.modules.get(f"{library}.process")
    return process is not None and process.current_process()._parent_pid is not None


def _after_fork() -> None:
    global _is_forked
    _is_forked = True


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)


def _is_new(ending: Ending, what: object) -> bool:
    known = _known.setdefault(ending, set())
    is_new = what not in known
    known.add(what)
    return is_new

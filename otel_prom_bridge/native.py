"""The interpreter's own threads, locks, sockets and clocks, whatever is patched and whenever.

gevent and eventlet replace functions in the standard library's modules. They do it before the bridge is
imported, or later: gunicorn patches each of its gevent workers after the hook ``post_fork``, in which
applications start the bridge. What was begun with the interpreter's own threads would then go on with
greenlets of a hub that nobody runs, and no scrape would ever be answered.

So everything that a scrape passes uses the names of this module. They come from fresh instances of the
built-in modules, which nobody else has and so nobody has patched. This also keeps collections away from the
application's hub: a callback that takes its time holds up nothing but its own thread.

There is one exception. Where a greenlet of the application's waits for work of ours (its own WSGI server asks
for the metrics, say), it waits by sleeping again and again, since a native wait would stop all greenlets.
"""

from __future__ import annotations

import builtins
import contextlib
import importlib
import importlib.util
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from types import BuiltinFunctionType, CodeType, ModuleType
from typing import TYPE_CHECKING, Any


def _fresh(name: str) -> ModuleType:
    """A built-in module as it was before anybody patched it."""
    with contextlib.suppress(ImportError, ValueError, AttributeError):
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    return importlib.import_module(name)  # an interpreter that cannot make another one


def _selectors(select: ModuleType) -> ModuleType:
    """The module ``selectors``, run again with this module ``select``.

    gevent takes ``epoll`` out of the public one, without which there is no fast selector.
    """

    def importing(name: str, *args: Any) -> Any:
        return select if name == "select" else builtins.__import__(name, *args)

    spec = importlib.util.find_spec("selectors")
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    code: CodeType | None = getattr(spec.loader, "get_code", lambda _: None)("selectors")
    if code is None:
        return importlib.import_module("selectors")
    vars(module)["__builtins__"] = {**vars(builtins), "__import__": importing}
    exec(code, vars(module))
    return module


_thread = _fresh("_thread")
_public = importlib.import_module("_thread")

if TYPE_CHECKING:
    from _socket import socket as _Socket  # noqa: N812
    from queue import Empty as Empty
    from queue import SimpleQueue as SimpleQueue
    from selectors import DefaultSelector as DefaultSelector
    from threading import Lock as Lock
    from threading import RLock as RLock
else:
    Lock, RLock = _thread.allocate_lock, _thread.RLock
    _queue = _fresh("_queue")
    SimpleQueue, Empty = _queue.SimpleQueue, _queue.Empty
    DefaultSelector = _selectors(_fresh("select")).DefaultSelector
    _Socket = importlib.import_module("_socket").socket
_sockets = importlib.import_module("_socket")

# Since Python 3.12. Before, an isolated sub-interpreter starts no thread at all.
_daemons_allowed: Callable[[], bool] = getattr(_thread, "daemon_threads_allowed", lambda: True)
_ISOLATED = (
    "this is an isolated sub-interpreter, which allows no daemon threads; start the bridge in the main"
    " interpreter, or mount make_wsgi_app() or make_asgi_app() in a server of this one"
)
get_ident: Callable[[], int] = _thread.get_ident
sleep: Callable[[float], None] = _fresh("time").sleep
_TIMEOUT_MAX: float = _thread.TIMEOUT_MAX
# How long a thread waits to be shown in ``threading.enumerate()``.
_SHOWN_SECONDS = 0.1
# How long whoever starts a thread waits for it to begin.
_BEGIN_SECONDS = 5.0
# How long a greenlet sleeps before it looks again: at first, and at last.
_GLANCE_SECONDS, _LONGEST_GLANCE_SECONDS = 0.0005, 0.01


def is_patched() -> bool:
    """Whether what the standard library calls a thread is something else at the moment."""
    return not isinstance(_public.start_new_thread, BuiltinFunctionType)


_ours: set[int] = set()  # the identities of our threads that run
_shown: dict[int, Any] = {}  # what ``threading`` shows of them


class Thread:
    """A daemon thread that calls ``work``. The interpreter does not wait for it at its end."""

    def __init__(self, work: Callable[[], object], *, name: str) -> None:
        self.name = name
        self._work = work
        self._began, self._ended = Event(), Event()
        self._turn = Lock()  # taken by itself when it begins, or by whoever waits for that no more
        self._pid: int | None = None
        self._ident: int | None = None

    def start(self) -> None:
        """Start it, and wait until it runs.

        Raises:
            RuntimeError: there can be no more threads, not even one that begins (no memory is left for it),
                the interpreter is ending, or it allows no daemon threads.
        """
        if sys.is_finalizing():  # before Python 3.12 it would be made, and never run
            raise RuntimeError("the interpreter is ending")
        if not _daemons_allowed():  # such a thread would abort the process when the interpreter ends
            raise RuntimeError(_ISOLATED)
        self._pid = os.getpid()
        try:
            _thread.start_new_thread(self._run, ())
        except RuntimeError as error:
            self._pid = None
            raise RuntimeError(_ISOLATED if "subinterpreter" in str(error) else str(error)) from error
        if not self._began.wait_here(_BEGIN_SECONDS) and self._turn.acquire(blocking=False):
            self._pid = None
            raise RuntimeError("a new thread does not begin")

    def is_alive(self) -> bool:
        """Whether it was started, in this process, and has not ended."""
        return self._pid == os.getpid() and not self._ended.is_set

    @property
    def has_ended(self) -> bool:
        """Whether it was started and is no more."""
        return self._ended.is_set

    @property
    def is_current(self) -> bool:
        """Whether it is the thread that asks."""
        return self._ident == get_ident() and not self._ended.is_set

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended, for so many seconds at most."""
        self._ended.wait(_TIMEOUT_MAX if timeout is None else timeout)

    def _run(self) -> None:
        if not self._turn.acquire(blocking=False):
            return
        self._ident = get_ident()
        _ours.add(self._ident)
        try:
            self._introduce()
            self._began.set()
            self._work()
        finally:
            _forget(self._ident)
            _shown.pop(self._ident, None)
            _ours.discard(self._ident)
            self._ended.set()

    def _introduce(self) -> None:
        """Show the thread where debuggers, log lines and ``threading.enumerate()`` look for it.

        The tracers that were asked for follow it, too, as those of debuggers and of coverage are.
        """
        if is_patched():
            return  # there, a thread is a greenlet
        with contextlib.suppress(Exception):
            self._show()
            if trace := threading.gettrace():
                sys.settrace(trace)
            if profile := threading.getprofile():
                sys.setprofile(profile)

    def _show(self) -> None:
        # Who waits until this runs may be a signal handler whose thread holds the lock of that list.
        lock: Any = threading._active_limbo_lock  # type: ignore[attr-defined]
        if lock.acquire(timeout=_SHOWN_SECONDS):
            try:
                shown: Any = threading.current_thread()
                shown.name, shown.join, shown.is_alive = self.name, self.join, self.is_alive
                _shown[get_ident()] = shown
            finally:
                lock.release()


def _before_fork() -> None:
    # The thread that forks is the main thread of the child. If it is in the list of ``threading``, but was
    # started by somebody else, that child cannot end well until Python 3.12: multiprocessing says it failed.
    if get_ident() in _shown:
        _forget(get_ident())


def _after_fork_in_parent() -> None:
    if (shown := _shown.get(get_ident())) is not None:
        threading._active[get_ident()] = shown  # type: ignore[attr-defined]


def _after_fork() -> None:
    _ours.intersection_update({get_ident()})
    _shown.clear()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork
    )


def _forget(ident: int) -> None:
    # Until Python 3.12, a thread that ``threading`` has not started itself stays in its list for ever.
    with contextlib.suppress(Exception):
        threading._active.pop(ident, None)  # type: ignore[attr-defined]


class Event:
    """Something that happens once. It may be set by any thread and from a signal handler."""

    def __init__(self) -> None:
        self.is_set = False
        # Whoever gets the gate lets the next one pass.
        self._gate = Lock()
        self._gate.acquire()

    def set(self) -> None:
        """It has happened: wake all who wait."""
        self.is_set = True
        self._open()

    def wait(self, seconds: float) -> bool:
        """Whether it happens within so many seconds."""
        if self.is_set:
            return True
        seconds = min(max(0.0, seconds), _TIMEOUT_MAX)
        if is_patched() and get_ident() not in _ours:
            return self._wait_for_others(seconds)
        return self.wait_here(seconds)

    def wait_here(self, seconds: float = _TIMEOUT_MAX) -> bool:
        """Whether it happens within so many seconds; greenlets of this thread do not go on meanwhile."""
        try:
            self._gate.acquire(timeout=seconds)
        finally:  # also if a signal handler raises as soon as it is acquired
            if self.is_set:
                self._open()
        return self.is_set

    def _open(self) -> None:
        with contextlib.suppress(RuntimeError):  # it is open
            self._gate.release()

    def _wait_for_others(self, seconds: float) -> bool:
        """In a greenlet: let the others go on meanwhile."""
        deadline, glance = time.monotonic() + seconds, _GLANCE_SECONDS
        while not self.is_set and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(glance, left))
            glance = min(2 * glance, _LONGEST_GLANCE_SECONDS)
        return self.is_set


class Capacity:
    """Room for so many at a time; nobody waits for it."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._lock = Lock()

    def enter(self) -> bool:
        """Take a place; False if there is none. Whoever got one has to :meth:`leave`."""
        with self._lock:
            if self._left < 1:
                return False
            self._left -= 1
            return True

    def leave(self) -> None:
        """Give the place back."""
        with self._lock:
            self._left += 1


class Socket(_Socket):
    """A socket of the system's, without the names that ``socket.socket`` adds in Python."""

    def accept(self) -> tuple[Socket, Any]:
        """The next connection, and the address of its other end.

        Raises:
            OSError: there is none at the moment, or the system has no descriptor for it.
        """
        descriptor, address = self._accept()  # type: ignore[attr-defined]
        return Socket(fileno=descriptor), address


def addresses(host: str, port: int) -> list[tuple[int, Any]]:
    """The families and addresses at which a TCP port of this host may be.

    Raises:
        OSError: nobody knows the host.
    """
    found = _sockets.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
    return [(int(family), address) for family, _, _, _, address in found]


def socket_pair() -> tuple[Socket, Socket]:
    """Two sockets that are connected with each other.

    Raises:
        OSError: the system has no descriptors for them.
    """
    one, other = socket.socketpair()
    return Socket(fileno=one.detach()), Socket(fileno=other.detach())

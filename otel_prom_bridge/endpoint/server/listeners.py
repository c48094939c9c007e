"""Sockets that listen: on TCP, on Unix paths, and those that systemd opened.

Each is non-blocking and says where it is. An ``EndpointError`` names the address and says what to do. Two
things are left out on purpose:

- *SO_REUSEPORT, or the next free port after a stranger's*: a scraper would hear a part of the truth, or
  watch the wrong process.
- *Removing what is no stale socket*: a path stays if it is a file, or if somebody answers there.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import os
import socket
import stat
from collections.abc import Callable
from dataclasses import dataclass, field

from otel_prom_bridge.errors import ConfigurationError, EndpointError
from otel_prom_bridge.native import Socket
from otel_prom_bridge.values.checks import HOST

SYSTEMD = "systemd"
BACKLOG = 128
_FIRST_DESCRIPTOR = 3  # of those that systemd passes, by its protocol
_UNIX_MODE = 0o660
# What to do when an address cannot be had, unless the reason is that something uses it.
_PRIVILEGED = "ports below 1024 need a privilege (CAP_NET_BIND_SERVICE): choose another port"
_ADVICE = {
    errno.EADDRNOTAVAIL: "this machine has no such address: give one that it has, or 0.0.0.0 for all of them",
    errno.EACCES: _PRIVILEGED,
    errno.EPERM: _PRIVILEGED,
    errno.EAFNOSUPPORT: "this machine does not speak that protocol: give an address of the other one",
    errno.EMFILE: "the process has too many files open: raise its limit",
}
_UNIX_ADVICE = {
    errno.ENOENT: "its directory does not exist: make it first",
    errno.ENOTDIR: "a part of the path is not a directory",
    errno.EACCES: "this user may not write to its directory",
    errno.EPERM: "this user may not write to its directory",
    errno.EROFS: "choose a path that can be written to",
    errno.ENAMETOOLONG: "choose a shorter path: it may have 107 bytes on Linux, 103 elsewhere",
}


@dataclass(frozen=True, eq=False)
class Listener:
    """A listening socket; ``address`` is an IP address, or the path of a Unix socket, whose ``port`` is 0."""

    sock: Socket
    address: str
    port: int
    _remove: Callable[[], None] = field(default=lambda: None)

    def close(self) -> None:
        """Stop listening. The file of a Unix socket is removed, too."""
        self.abandon()
        self._remove()

    def abandon(self) -> None:
        """Close the descriptor and nothing else. After a fork, the path and the port are the parent's."""
        with contextlib.suppress(OSError):
            self.sock.close()


def open_tcp(addr: str, port: int) -> Listener:
    """Listen on an address of this machine. Port 0 takes a free one.

    Raises:
        ConfigurationError: the address cannot be one.
        EndpointError: the address cannot be bound, usually because something else uses the port.
    """
    try:
        found = socket.getaddrinfo(addr, port, type=socket.SOCK_STREAM)
        # `localhost` is both 127.0.0.1 and ::1 on most machines. Every client reaches the first.
        family, _, _, _, address = min(found, key=lambda info: info[0] is not socket.AF_INET)
        sock = _bound(family, address)
    except socket.gaierror as error:
        advice = "give an address of this machine, or a host name that leads to one"
        raise EndpointError(error.errno, _message(addr, port, error.strerror, advice)) from error
    except OSError as error:
        advice = _ADVICE.get(
            error.errno or 0, "choose another port (0 takes a free one) or stop what uses it"
        )
        raise EndpointError(error.errno, _message(addr, port, error.strerror, advice)) from error
    except UnicodeError as error:  # a host name that cannot be one, such as "a..b"
        raise ConfigurationError("addr", addr, HOST.allowed) from error
    address, port = sock.getsockname()[:2]
    return Listener(sock, str(address), int(port))


def _message(addr: str, port: int, reason: str | None, advice: str) -> str:
    return f"cannot serve metrics on address {addr!r}, port {port}: {reason}; {advice}"


def _bound(family: int, address: object) -> Socket:
    sock = Socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "nt":
            # There SO_REUSEADDR would let two processes have the same port.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)  # type: ignore[attr-defined,unused-ignore]
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # `::` is IPv4 as well
        sock.bind(address)  # type: ignore[arg-type]
        return _listening(sock)
    except BaseException:
        sock.close()
        raise


def _listening(sock: Socket) -> Socket:
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted connections inherit it
    sock.listen(BACKLOG)
    sock.setblocking(False)
    return sock


def open_unix(path: str, *, mode: int = _UNIX_MODE) -> Listener:
    """Listen on a path. The owner and the group may connect, unless the ``mode`` of the file says otherwise.

    A stale file of a crashed process is replaced.

    Raises:
        EndpointError: somebody listens there, the path is no socket, or it cannot be made.
    """
    try:
        if not hasattr(socket, "AF_UNIX"):  # Windows
            raise OSError(errno.EAFNOSUPPORT, "this Python has no Unix sockets; use an address and a port")
        _clear(path)
        sock = Socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.bind(path)
            # Until listen() nobody can connect, so there is no moment with another mode.
            os.chmod(path, mode)
            _listening(sock)
            removal = _Removal(path)
        except BaseException:
            sock.close()
            raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        number = getattr(error, "errno", None) or errno.EINVAL
        if "too long" in reason:  # Python says it without a number
            number = errno.ENAMETOOLONG
        advice = f"; {_UNIX_ADVICE[number]}" if number in _UNIX_ADVICE else ""
        message = f"cannot serve metrics on the Unix socket {path!r}: {reason}{advice}"
        raise EndpointError(number, message) from error
    atexit.register(removal)
    return Listener(sock, path, 0, _remove=removal)


def _clear(path: str) -> None:
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EEXIST, "something else than a socket is there; choose another path")
    with contextlib.closing(Socket(socket.AF_UNIX, socket.SOCK_STREAM)) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:  # its backlog is full
            pass
    raise OSError(errno.EADDRINUSE, "somebody serves there; choose another path or stop it")


class _Removal:
    """Removes the file of a Unix socket, unless it is another's by now, or this process is a fork."""

    def __init__(self, path: str) -> None:
        self._path = os.path.abspath(path)
        self._pid = os.getpid()
        self._identity = self._found()

    def __call__(self) -> None:
        atexit.unregister(self)
        if os.getpid() == self._pid and self._identity == self._found():
            with contextlib.suppress(OSError):
                os.unlink(self._path)

    def _found(self) -> tuple[int, int] | None:
        try:
            status = os.lstat(self._path)
        except OSError:
            return None
        return status.st_dev, status.st_ino


def open_systemd(name: str | None = None) -> list[Listener]:
    """Take the sockets that systemd opened for this process (``LISTEN_FDS``), or those of them with a name.

    Some of the sockets may be the application's own, so the environment and the descriptors stay as they are.
    Several servers may be started on them one after the other.

    Raises:
        EndpointError: there is no such socket.
    """
    where = "the sockets of systemd" if name is None else f"the sockets of systemd that are named {name!r}"
    count, names = os.environ.get("LISTEN_FDS", ""), os.environ.get("LISTEN_FDNAMES", "").split(":")
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or not count.isdigit():
        advice = "LISTEN_FDS and LISTEN_PID name none for this process; start it from a .socket unit"
        raise EndpointError(errno.EBADF, f"cannot serve metrics on {where}: {advice}")
    numbers = range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + int(count))
    if name is not None:
        numbers = [number for number, found in zip(numbers, names, strict=False) if found == name]  # type: ignore[assignment]
    listeners: list[Listener] = []
    try:
        listeners += (_inherited(number) for number in numbers)
        if not listeners:
            raise OSError(errno.EBADF, "there is none")
    except OSError as error:
        for listener in listeners:
            listener.close()
        raise EndpointError(error.errno, f"cannot serve metrics on {where}: {error.strerror}") from error
    return listeners


def _inherited(number: int) -> Listener:
    os.set_inheritable(number, False)
    sock = Socket(fileno=os.dup(number))
    try:
        if sock.type != socket.SOCK_STREAM:
            raise OSError(errno.EPROTONOSUPPORT, f"descriptor {number} is not a stream socket")
        _listening(sock)
    except BaseException:
        sock.close()
        raise
    if sock.family == getattr(socket, "AF_UNIX", None):
        return Listener(sock, str(sock.getsockname()), 0)
    address, port = sock.getsockname()[:2]
    return Listener(sock, str(address), int(port))

"""Where hubs are: the folder of their sockets, and what one hub tells another.

All hubs of a user share a folder that nobody else can enter, unless they are told another place. A hub of
``run`` may still serve a last scrape when the program is started again. So who finds its port taken asks the
hubs in that folder to make way: one whose program has ended does.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import socket
import stat
import tempfile
import time
from pathlib import Path

from otel_prom_bridge.endpoint.server.listeners import Listener, open_unix
from otel_prom_bridge.errors import ConfigurationError, EndpointError

_NAME = "otel-prom-bridge"
_PRIVATE, _SHARED = 0o700, 0o711
_PRIVATE_SOCKET, _SHARED_SOCKET = 0o600, 0o666
_LONGEST = 68  # of the 103 characters that the path of a socket may have everywhere
_ATTEMPTS = 20
MAKE_WAY_PATH = "/make-way"
_ANSWER_SECONDS, _END_SECONDS, _PAUSE_SECONDS = 1.0, 3.0, 0.05


def folder() -> Path:
    """The folder of this user's hubs."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime and len(os.fsencode(runtime)) <= _LONGEST and os.access(runtime, os.W_OK | os.X_OK):
        return Path(runtime) / _NAME
    return Path(tempfile.gettempdir()) / f"{_NAME}-{os.getuid()}"


def new_socket() -> str:
    """A place for the socket of one run of a program."""
    return str(folder() / f"{secrets.token_hex(6)}.sock")


def open_socket(path: str, *, shared: bool) -> Listener:
    """Listen at this path, where only this user can connect. With ``shared``, who connects is asked later.

    Raises:
        ConfigurationError: others may put something else in the place of the socket.
        EndpointError: the path cannot be had.
    """
    place = Path(path).absolute().parent
    for attempt in range(_ATTEMPTS):
        try:
            _make(place, mode=_SHARED if shared else _PRIVATE)
            return open_unix(path, mode=_SHARED_SOCKET if shared else _PRIVATE_SOCKET)
        except (EndpointError, FileNotFoundError) as error:  # a hub that ended has just removed the folder
            if error.errno != errno.ENOENT or place != folder() or attempt == _ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


def _make(place: Path, *, mode: int) -> None:
    if place != folder():
        return  # who names another place is to see to it
    with contextlib.suppress(FileExistsError):
        place.mkdir(mode=mode)
    found = os.lstat(place)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        expected = "a path of your own, because somebody else has made that folder"
        raise ConfigurationError("otlp_socket", str(place), expected)
    os.chmod(place, found.st_mode & 0o777 & ~0o022 | (mode & 0o011))


def tidy(path: str) -> None:
    """Remove the folder of hubs when the last one has gone."""
    if Path(path).parent == folder():
        with contextlib.suppress(OSError):
            folder().rmdir()


def make_way(port: int) -> bool:
    """Ask the hubs of this user that one of them leaves this port; whether one is about to.

    One whose program is just ending does not know that yet, so it is asked again for a moment.
    """
    deadline = time.monotonic() + _END_SECONDS
    while answers := set(filter(None, (_answer(str(path), port) for path in folder().glob("*.sock")))):
        if b"200" in answers or time.monotonic() > deadline:
            return b"200" in answers
        time.sleep(_PAUSE_SECONDS)
    return False


def _answer(path: str, port: int) -> bytes:
    """The status with which a hub answers whether it makes way; nothing if there is none."""
    request = f"GET {MAKE_WAY_PATH}?{port} HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n"
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
        client.settimeout(_ANSWER_SECONDS)
        client.connect(path)
        client.sendall(request.encode())
        return client.recv(64).partition(b" ")[2][:3]
    return b""

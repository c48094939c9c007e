"""Starting a hub for a program, from within the process that is to become it.

The hub is no descendant of that process that anybody would notice: a guardian starts it (``guardian.py``), in
a session of its own, and the guardian's parent has ended. What the program needs to know is in the variables
that come back.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from otel_prom_bridge.errors import EndpointError
from otel_prom_bridge.hub import guardian, places

HUB, TOKEN = "OTEL_PROM_BRIDGE_HUB", "OTEL_PROM_BRIDGE_HUB_TOKEN"
_START_SECONDS = 60.0
# Where opentelemetry-instrument has Python look first, so that every Python program is instrumented.
_INSTRUMENTED = str(Path("opentelemetry", "instrumentation", "auto_instrumentation"))


def start_hub(flags: Sequence[str], *, socket: str | None = None, otlp: bool = False) -> dict[str, str]:
    """Start a hub that ends after this process, and return the variables that lead to it.

    ``flags`` are those of the command ``hub``, and ``socket`` is where it listens. With ``otlp`` it also
    listens for exporters of OpenTelemetry, and there are variables for those.

    Raises:
        EndpointError: it cannot be started. The message is the hub's.
    """
    environment = _environment()
    token = environment.setdefault(TOKEN, secrets.token_urlsafe(24))
    command = [sys.executable, "-P", "-m", "otel_prom_bridge", "hub", *flags]
    command += ["--otlp-socket", socket or places.new_socket()]
    if otlp:
        command += ["--otlp-port", "0"]
    found = _found(_guarded(command, environment))
    variables = {HUB: f"unix:{found['socket']}"}
    if found["otlp"] is not None:
        variables |= {TOKEN: token}
    if otlp:
        variables |= _for_exporters(found["otlp"], token)
    return variables


def end_instrumentation() -> dict[str, str]:
    """If this process was instrumented by opentelemetry-instrument, leave that to what it becomes.

    The bridge that was started in it would have the hub's port. The variables that come back let the program
    be instrumented, as Python has been told only once.
    """
    loaded = sys.modules.get("sitecustomize")
    place = os.path.dirname(getattr(loaded, "__file__", None) or "")
    if not place.endswith(_INSTRUMENTED):
        return {}
    from otel_prom_bridge.configuration.watch import watches

    for watch in watches():
        watch.reader.shutdown()
    known = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    return {"PYTHONPATH": os.pathsep.join([place, *(path for path in known if path != place)])}


def _environment() -> dict[str, str]:
    """The environment of a hub, which records nothing itself."""
    environment = dict(os.environ)
    environment.pop(HUB, None)
    if not _activated():
        for name in guardian.ACTIVATION:
            environment.pop(name, None)
    python_path = environment.get("PYTHONPATH", "").split(os.pathsep)
    environment["PYTHONPATH"] = os.pathsep.join(
        path for path in python_path if not path.rstrip("/").endswith(_INSTRUMENTED)
    )
    return environment


def _activated() -> range:
    """The descriptors of sockets that systemd has opened for this process."""
    count = os.environ.get("LISTEN_FDS", "")
    is_ours = os.environ.get("LISTEN_PID") == str(os.getpid())
    return range(3, 3 + int(count)) if is_ours and count.isdecimal() and len(count) < 5 else range(0)


def _guarded(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Start a guardian of this command. What comes out of the descriptor is what the hub says."""
    _have_standard_descriptors()
    hears, says = os.pipe()
    watched = guardian.watched(os.getpid())
    os.set_inheritable(says, True)
    passed = [says, *guardian.Program(watched).descriptors, *_activated()]
    program = [sys.executable, "-I", "-S", guardian.__file__, watched, str(says), *command]
    between = os.fork()
    if between == 0:
        try:
            os.setsid()
            if os.fork() == 0:
                nothing = os.open(os.devnull, os.O_RDWR)
                os.dup2(nothing, 0)
                os.dup2(nothing, 1)
                _keep_only(passed)
                os.execve(program[0], program, environment)
        finally:
            os._exit(0)
    os.close(says)
    for descriptor in guardian.Program(watched).descriptors:
        os.close(descriptor)
    with contextlib.suppress(ChildProcessError):  # a program that waits for all of its children met it
        os.waitpid(between, 0)
    return hears


def _keep_only(descriptors: Sequence[int]) -> None:
    """Close all others but the first three: a lock that the program has, or a pipe to somebody who waits."""
    try:
        found = [int(name) for name in os.listdir("/dev/fd")]
    except OSError:
        found = list(range(256))
    for descriptor in found:
        if descriptor > 2 and descriptor not in descriptors:
            with contextlib.suppress(OSError):  # that of the list itself
                os.close(descriptor)


def _have_standard_descriptors() -> None:
    """If stdin or another of the three is closed, let nothing else have its number until we end."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)


def _found(hears: int) -> dict[str, Any]:
    said = b""
    while select.select([hears], [], [], _START_SECONDS)[0] and (piece := os.read(hears, 4096)):
        said += piece
    os.close(hears)
    try:
        found: dict[str, Any] = json.loads(said)
    except ValueError:
        found = {"error": "the hub could not be started; what it wrote to stderr says why"}
    if "error" in found:
        raise EndpointError(found["error"])
    return found


def _for_exporters(url: str, token: str) -> dict[str, str]:
    """Variables for exporters of OpenTelemetry, unless somebody has said where metrics go."""
    prefix = "OTEL_EXPORTER_OTLP_METRICS_"
    if os.environ.get(f"{prefix}ENDPOINT"):
        return {}
    wanted = {
        f"{prefix}ENDPOINT": f"{url}/v1/metrics",
        f"{prefix}PROTOCOL": "http/protobuf",
        f"{prefix}HEADERS": f"authorization={quote(f'Bearer {token}')}",
        f"{prefix}TEMPORALITY_PREFERENCE": "delta",
        "OTEL_METRIC_EXPORT_INTERVAL": "1000",
    }
    return {name: value for name, value in wanted.items() if not os.environ.get(name)}

"""``run``: a program, and a hub for its processes."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys

from otel_prom_bridge.cli.hub import FLAGS, add_options, flags_of
from otel_prom_bridge.cli.output import PROGRAM, CommandError
from otel_prom_bridge.errors import EndpointError

# As shells have it.
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126


def add(command: argparse.ArgumentParser) -> None:
    """Describe the command."""
    command.description = (
        "Start a hub, then become COMMAND. Its processes push to the hub, which serves the sum of all\n"
        "of them. COMMAND has this process, with its signals, terminal and exit code. Every option also\n"
        "has a variable and a key in the file: docs/configuration.md."
    )
    command.epilog = (
        "examples:\n"
        "  otel-prom-bridge run -- gunicorn -w 4 shop:app\n"
        "  otel-prom-bridge run --port 9100 -- opentelemetry-instrument uvicorn --workers 4 shop:app"
    )
    command.usage = f"{PROGRAM} run [OPTIONS] -- COMMAND"
    command.add_argument(
        "--otlp",
        action="store_true",
        help="let exporters of OpenTelemetry push, too: sets OTEL_EXPORTER_OTLP_METRICS_* where unset",
    )
    add_options(command, without=("otlp_socket",))
    command.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND", help="what to run")
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        raise CommandError("run: there is no COMMAND; write it behind the options: run -- gunicorn shop:app")
    if not hasattr(os, "fork"):
        raise CommandError("run: this system has no fork(); start `otel-prom-bridge hub` beside the program")
    path = shutil.which(command[0])
    if path is None:
        return _cannot_run(command[0])
    from otel_prom_bridge.hub.launch import end_instrumentation, start_hub

    instrumented = end_instrumentation()
    try:
        variables = start_hub(_arguments(options), otlp=options.otlp)
    except EndpointError as error:
        raise CommandError(error.strerror or str(error)) from None
    return _become(path, command, {**os.environ, **instrumented, **variables})


def _arguments(options: argparse.Namespace) -> list[str]:
    flags = {option.key: option.flag for option in FLAGS}
    return [f"{flags[key]}={text}" for key, text in flags_of(options).items()]


def _cannot_run(name: str) -> int:
    is_there = os.path.sep in name and os.path.exists(name)
    why = "it cannot be executed" if is_there else "there is no such command"
    sys.stderr.write(f"{PROGRAM}: run: {name}: {why}\n")
    return _NOT_EXECUTABLE if is_there else _NOT_FOUND


def _become(path: str, command: list[str], environment: dict[str, str]) -> int:
    # Python ignores these, and who is executed would inherit that.
    for name in ("SIGPIPE", "SIGXFSZ"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # it was closed
            stream.flush()
    try:
        os.execve(path, command, environment)
    except OSError as error:
        sys.stderr.write(f"{PROGRAM}: run: {command[0]}: {error.strerror}\n")
        return _NOT_EXECUTABLE

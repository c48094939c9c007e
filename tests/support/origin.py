"""The interpreter that imports the packages once, and is forked for each program that ``programs`` starts.

What it forks must look like an interpreter that was just started. So the fork is the system's own: hooks
that Python runs after a fork do not hear of it. And it is done twice, and the process between ends at once,
so that the test's process adopts the program and can wait for it.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import random
import runpy
import socket
import sys
import threading
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

from otel_prom_bridge.profiles import load_profile

PACKAGES = (
    "opentelemetry.sdk.trace",
    "otel_prom_bridge.bridge",
    "otel_prom_bridge.configuration.serving",
    "otel_prom_bridge.configuration.spans",
    "otel_prom_bridge.testing",
)
_fork = ctypes.PyDLL(None).fork


def _forked(control: socket.socket) -> dict[str, Any]:
    """Fork for each program that is asked for; this returns in the program's process, with what it is."""
    while True:
        message, streams, _, _ = socket.recv_fds(control, 1 << 20, 3)
        if not message:  # the test's process has ended
            os._exit(0)
        read, write = os.pipe()
        between = _fork()
        if between == 0 and (program := _fork()):
            os.write(write, b"%d" % program)
            os._exit(0)
        if between == 0:
            control.close()
            os.close(read), os.close(write)
            for number, stream in enumerate(streams):
                os.dup2(stream, number)
                os.close(stream)
            return dict(json.loads(message))
        os.waitpid(between, 0)  # by now, the program has another parent
        control.send(os.read(read, 20))
        for descriptor in (read, write, *streams):
            os.close(descriptor)


def _begin(arguments: list[str], folder: str, environment: dict[str, str]) -> None:
    """Be an interpreter with these arguments, and run the program."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    random.seed()
    sys.orig_argv = [sys.executable, *arguments]
    while arguments[0] == "-W":
        sys.warnoptions.append(arguments[1])
        warnings.simplefilter(arguments[1])  # type: ignore[arg-type]
        del arguments[:2]
    paths = environment.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[0:0] = [path for path in paths if path not in sys.path]
    with contextlib.suppress(ModuleNotFoundError):  # most have none
        sys.modules.pop("sitecustomize", None)
        importlib.import_module("sitecustomize")
    if arguments[0] == "-m":
        sys.path.insert(0, folder)
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        return
    main = sys.modules["__main__"] = ModuleType("__main__")
    if arguments[0] == "-c":
        sys.path.insert(0, "")
        sys.argv = ["-c", *arguments[2:]]
        source, name = arguments[1], "<string>"
    else:
        sys.path.insert(0, str(Path(arguments[0]).resolve().parent))
        sys.argv = arguments
        name = main.__file__ = arguments[0]
        source = Path(name).read_text(encoding="utf-8")
    exec(compile(source, name, "exec", dont_inherit=True), vars(main))


if __name__ == "__main__":
    for package in PACKAGES:
        importlib.import_module(package)
    load_profile("semconv")  # as every start does; it is remembered
    del sys.path[0]  # the folder of this file
    assert threading.active_count() == 1
    gc.collect()
    gc.freeze()
    _begin(**_forked(socket.socket(fileno=os.dup(0))))

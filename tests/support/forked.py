"""Short programs, each in a process of its own that begins with the packages imported.

An interpreter takes most of a second to import OpenTelemetry and the bridge, and the documentation has more
than seventy programs. So each is run in a fork of a process that has imported both and done nothing else.
What a program leaves behind (providers, hooks, handlers) ends with its process, as it does in a real one.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import sys
import warnings
from pathlib import Path
from types import ModuleType

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(
    [
        "forked",
        "otel_prom_bridge.bridge",
        "otel_prom_bridge.configuration.serving",
        "otel_prom_bridge.configuration.spans",
        "otel_prom_bridge.testing",
        "opentelemetry.sdk.trace",
    ]
)


def run_forked(code: str, folder: Path, *, seconds: float = 30) -> tuple[int | None, str]:
    """Run the program as `python -W error -c` does; its exit code (None: it took longer) and its stderr."""
    errors = folder / "stderr"
    process = _SERVER.Process(target=_run, args=(code, dict(os.environ), errors))
    process.start()
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
        process.join()
        return None, errors.read_text()
    return process.exitcode, errors.read_text()


def _run(code: str, environment: dict[str, str], errors: Path) -> None:
    """What the new process does: the program in a `__main__` of its own, and what ends a program."""
    os.environ.clear()
    os.environ.update(environment)
    with errors.open("wb") as file:
        os.dup2(file.fileno(), 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    warnings.simplefilter("error")
    main = sys.modules["__main__"] = ModuleType("__main__")
    try:
        exec(compile(code, "<string>", "exec"), vars(main))
    finally:
        atexit._run_exitfuncs()  # multiprocessing leaves them out

"""A program of the user's, looked at from inside: which provider it has, and who sets it.

The program runs as it would, with a ``sitecustomize`` of ours in front of any other. That one notes who calls
``set_meter_provider``, and writes down after some seconds, or at the end, what there is.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from otel_prom_bridge.doctor.symptoms import Symptom
from otel_prom_bridge.errors import ConfigurationError

_SITE = '''
import atexit, json, os, sys, threading, traceback

def _chain():
    """Run the sitecustomize that would have been run without us, such as that of auto-instrumentation."""
    import runpy
    own = os.path.dirname(os.path.abspath(__file__))
    for folder in [p for p in sys.path if p and os.path.abspath(p) != own]:
        path = os.path.join(folder, "sitecustomize.py")
        if os.path.isfile(path):
            runpy.run_path(path, run_name="sitecustomize")
            return

def _stay_first():
    """opentelemetry-instrument puts a sitecustomize of its own in front, and becomes the program."""
    own, original = os.path.dirname(os.path.abspath(__file__)), os.execl
    def execl(*args):
        os.environ["PYTHONPATH"] = os.pathsep.join([own, os.environ.get("PYTHONPATH", "")])
        original(*args)
    os.execl = execl

found = {"set": [], "pid": os.getpid()}

def _watch():
    from opentelemetry.metrics import _internal
    original = _internal._set_meter_provider
    def noted(provider, log):
        frames = [f for f in traceback.extract_stack()[:-1] if "opentelemetry/metrics" not in f.filename]
        place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "unknown"
        found["set"].append({"by": place, "kind": type(provider).__module__ + "." + type(provider).__name__})
        return original(provider, log)
    _internal._set_meter_provider = noted

def _report():
    try:
        _internal = sys.modules["opentelemetry.metrics._internal"]
        provider = _internal._METER_PROVIDER
        found["provider"] = None if provider is None else type(provider).__name__
        readers = getattr(provider, "_all_metric_readers", None) or getattr(provider, "_metric_readers", ())
        config = getattr(provider, "_sdk_config", None)
        readers = getattr(config, "metric_readers", readers) if config is not None else readers
        found["readers"] = [type(r).__name__ for r in list(readers or ())]
        traces = sys.modules.get("opentelemetry.trace")
        tracer = getattr(traces, "_TRACER_PROVIDER", None)
        found["tracer"] = None if tracer is None else type(tracer).__name__
        found["modules"] = sorted({m.split(".")[0] for m in sys.modules if m.startswith("otel_prom_bridge")})
        with open(os.environ["_PROM_BRIDGE_DOCTOR_REPORT"], "w") as file:
            json.dump(found, file)
    except Exception as error:
        sys.stderr.write(f"otel-prom-bridge doctor: {error!r}\\n")

_stay_first()
try:
    _watch()
    atexit.register(_report)
    timer = threading.Timer(float(os.environ["_PROM_BRIDGE_DOCTOR_SECONDS"]), _report)
    timer.daemon = True
    timer.start()
except ImportError:
    pass
_chain()
'''


def examine_program(command: Sequence[str], *, seconds: float) -> Iterator[Symptom]:
    """Run the command for so many seconds at most, and say what its provider was."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "sitecustomize.py").write_text(_SITE, encoding="utf-8")
        report = Path(folder, "report.json")
        env = dict(os.environ)
        env["PYTHONPATH"] = os.pathsep.join(filter(None, (folder, env.get("PYTHONPATH", ""))))
        env["_PROM_BRIDGE_DOCTOR_REPORT"] = str(report)
        env["_PROM_BRIDGE_DOCTOR_SECONDS"] = str(seconds)
        ended = _run(command, env, seconds)
        try:
            found = json.loads(report.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            found = {}
    if ended is not None:
        weight = "note" if ended == 0 else "problem"
        yield Symptom(weight, "program", f"it ended within {seconds:g} s, with exit code {ended}")  # type: ignore[arg-type]
    yield from _provider(found)


def _run(command: Sequence[str], env: dict[str, str], seconds: float) -> int | None:
    try:
        process = subprocess.Popen(command, env=env)
    except (OSError, ValueError) as error:
        raise ConfigurationError("COMMAND", command[0], f"a program that can be run ({error})") from None
    try:
        return process.wait(seconds + 1)
    except subprocess.TimeoutExpired:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        return None


def _provider(found: dict[str, Any]) -> Iterator[Symptom]:
    if not found:
        yield Symptom(
            "problem",
            "program",
            "it said nothing: is it Python, and is OpenTelemetry installed where it runs?",
        )
        return
    for item in found["set"][1:]:
        yield Symptom(
            "problem", "provider", f"set a second time, by {item['by']}: OpenTelemetry keeps the first one"
        )
    if found.get("provider") is None:
        yield Symptom(
            "problem",
            "provider",
            "no meter provider was set, so what is recorded goes nowhere",
            "otel_prom_bridge.start() in the application, or opentelemetry-instrument COMMAND",
        )
        return
    by = found["set"][0]["by"] if found["set"] else "the SDK itself"
    yield Symptom("ok", "provider", f"{found['provider']}, set by {by}")
    readers = found.get("readers") or []
    if not any("Prometheus" in name for name in readers):
        yield Symptom(
            "problem",
            "provider",
            f"it has no reader of the bridge, but {', '.join(readers) or 'none at all'}",
            "MeterProvider([PrometheusMetricReader()]), and start_http_server(reader)",
        )
    if found.get("tracer") is None:
        yield Symptom(
            "note",
            "exemplars",
            "no tracer provider was set, so nothing gets an exemplar",
            "set a TracerProvider",
        )

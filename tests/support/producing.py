"""Runs one producer of metrics or spans under the bridge; a script that runs in the producer's environment.

`python producing.py NAME URL FILE` runs tests/producers/programs/NAME.py against the server at URL, with both
profiles, and with `span_metrics` off and on. Its imports take most of the time, so they are done once, and
each of the four runs is a fork. What the scrapes showed is written to FILE, as JSON.

A program has a function `instrument()`, which does what the producer's own documentation says, and
`work(run)`, which does everything that the producer can tell about once. It is called twice, with a scrape
after each, so that rates are rates.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import os
import sys
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RUNS = [(profile, spans) for profile in ("semconv", "llmdevops") for spans in ("off", "on")]
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


class Run:
    """One run of a program: where its server is, and what the program did that the server cannot know."""

    def __init__(self, url: str, name: str) -> None:
        self.name = name
        self.root = f"{url}/{name}"  # Anthropic's and Google's libraries add the version themselves
        self.url = f"{url}/{name}/v1"
        self.did: Counter[str] = Counter()

    def agent(self, times: int = 1) -> None:
        """An agent runs."""
        self.did["agents"] += times

    def weather(self, city: str) -> str:
        """What the tool `weather` says."""
        self.did["tools"] += 1
        return f"sunny in {city}"

    def broken(self, city: str) -> str:
        """The tool `broken` fails."""
        self.did["tools"] += 1
        self.did["tool errors"] += 1
        raise ValueError(f"no weather in {city}")

    def checked(self) -> None:
        """A guardrail checks something."""
        self.did["guardrails"] += 1

    @contextlib.contextmanager
    def failing(self) -> Iterator[None]:
        """What fails here was meant to."""
        try:
            yield
        except Exception:
            return


def _program(name: str) -> Any:
    path = Path(__file__).parents[1] / "producers" / "programs" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


class _Counted:
    """Counts spans by the scopes that wrote them, and keeps some, for whoever looks for a reason."""

    def __init__(self) -> None:
        self.scopes: Counter[str] = Counter()
        self.spans: list[dict[str, Any]] = []

    def on_start(self, *_: object, **__: object) -> None: ...

    def _on_ending(self, span: Any) -> None: ...

    def on_end(self, span: Any) -> None:
        self.scopes[span.instrumentation_scope.name] += 1
        values = {key: str(value)[:100] for key, value in (span.attributes or {}).items()}
        self.spans.append(
            {
                "name": span.name,
                "scope": span.instrumentation_scope.name,
                "attributes": values,
                "kind": span.kind.name,
                "status": span.status.status_code.name,
                "id": span.context.span_id,
                "parent": span.parent and span.parent.span_id,
            }
        )

    def shutdown(self) -> None: ...

    def force_flush(self, timeout_millis: int = 0) -> bool:
        return True


def _run(program: Any, run: Run, profile: str, spans: str) -> dict[str, Any]:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    import otel_prom_bridge

    counted, tracers = _Counted(), TracerProvider(shutdown_on_exit=False)
    trace.set_tracer_provider(tracers)
    tracers.add_span_processor(counted)
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    for name in ("otel_prom_bridge", "opentelemetry"):
        logging.getLogger(name).addHandler(handler)
    bridge = otel_prom_bridge.start(
        port=0,
        addr="127.0.0.1",
        profile=profile,
        span_metrics=spans == "on",
        collect_interval=0,
        resource={"service.name": run.name},
    )
    shown, error = [], ""
    try:
        program.instrument()
        for _ in range(2):
            program.work(run)
            shown.append(bridge.reader.expose(OPENMETRICS).body.decode())
        if hasattr(program, "end"):
            program.end()
    except Exception:
        error = traceback.format_exc()
    return {
        "profile": profile,
        "spans": spans,
        "shown": shown,
        "did": run.did,
        "error": error,
        "log": lines,
        "scopes": counted.scopes,
        "kept": counted.spans if os.environ.get("PRODUCERS_KEEP") else [],
        "conflicts": [str(conflict) for conflict in bridge.reader.conflicts()],
    }


def main(name: str, url: str, file: str) -> None:
    """Run the program in each of the four ways."""
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        os.environ.pop(variable, None)
    os.environ |= {"OPENAI_API_KEY": "none", "ANTHROPIC_API_KEY": "none", "GOOGLE_API_KEY": "none"}
    sys.path.append(str(Path(__file__).parents[1] / "producers" / "programs"))
    program, found = _program(name), []
    for profile, spans in RUNS:
        part = f"{file}.{profile}.{spans}"
        child = os.fork()
        if child == 0:
            run = Run(url, f"{name}.{profile}.{spans}")
            Path(part).write_text(json.dumps(_run(program, run, profile, spans)))
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)
        os.waitpid(child, 0)
        found.append(json.loads(Path(part).read_text()))
        Path(part).unlink()
    Path(file).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])

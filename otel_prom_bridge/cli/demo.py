"""``demo``: a simulated LLM agent service and its metrics."""

from __future__ import annotations

import argparse
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from otel_prom_bridge.cli.output import CommandError, until_interrupted, write
from otel_prom_bridge.cli.shared_arguments import checked, profile_help
from otel_prom_bridge.exposition import Exposition
from otel_prom_bridge.values.checks import PORT, SECONDS

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

_PROFILE = "llmdevops"
_RESOURCE = {"service.name": "demo-agents"}
_SPANS_TO = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
_OPENMETRICS = "application/openmetrics-text;version=1.0.0"
# Of calls of models: in the profile that is shown first, and in the semantic conventions.
_DURATIONS = (
    "llmdevops_llm_request_duration_seconds_bucket",
    "gen_ai_client_operation_duration_seconds_bucket",
)
_LOOK_AT = """\
Look at:
  llmdevops_llm_requests_total            model calls by model, provider and status
  llmdevops_llm_request_duration_seconds  how long they take, with exemplars
  llmdevops_llm_tokens_total              tokens, input and output
  llmdevops_llm_cost_usd_total            what they cost
  llmdevops_llm_errors_total              what went wrong, by error_type
  llmdevops_agent_executions_total        agents at work
  llmdevops_http_requests_total           the service as its callers see it

Ask a Prometheus that scrapes it:
  sum by (model) (rate(llmdevops_llm_tokens_total[1m]))
  histogram_quantile(0.95, sum by (le, model) (rate(llmdevops_llm_request_duration_seconds_bucket[1m])))

Or have all of it drawn, with alerts:
  otel-prom-bridge dashboards --profile llmdevops --out monitoring
"""


def add(command: argparse.ArgumentParser) -> None:
    """Describe the command."""
    command.description = (
        "Simulate a service of LLM agents, serve its metrics, and say what to look at: no model, no key,\n"
        "no network. Environment variables move and configure it as they do any application, and\n"
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT says where its spans go, if anywhere. Ctrl-C ends it."
    )
    command.epilog = (
        "examples:\n  otel-prom-bridge demo\n  otel-prom-bridge demo --profile semconv --port 9465 --for 60"
    )
    command.add_argument("--profile", default=_PROFILE, metavar="NAME|FILE", help=profile_help())
    command.add_argument(
        "--port",
        type=checked(PORT),
        metavar="PORT",
        help="0 is a free one (default: 9464, or the variable's)",
    )
    command.add_argument("--addr", help="address to listen on (default: localhost, or the variable's)")
    command.add_argument("--for", dest="seconds", type=checked(SECONDS), metavar="SECONDS", help="how long")
    command.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> int:
    from opentelemetry import trace

    from otel_prom_bridge.bridge import start
    from otel_prom_bridge.demo import Service

    trace.set_tracer_provider(_spans())
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    chosen = {"port": options.port, "addr": options.addr}
    given: dict[str, Any] = {key: value for key, value in chosen.items() if value is not None}
    with (
        suppress(KeyboardInterrupt),
        start(profile=options.profile, resource=_RESOURCE, **given) as bridge,
        Service(),
    ):
        url = bridge.server.url
        write(f"A simulated LLM agent service has its metrics at\n\n  {url}\n")
        if options.profile == _PROFILE:
            write(_LOOK_AT)
        write(f"With exemplars, which only OpenMetrics has:\n\n  {_command(url)}\n")
        if bridge.server.is_serving:  # else a hub does
            shown = _exemplar(bridge.reader.expose)
            write(f"They lead from a bucket to a trace that is in it. One of them is now\n\n  {shown}\n")
        write("Ctrl-C ends it.")
        until_interrupted(options.seconds)
    return 0


def _spans() -> TracerProvider:
    """Makes spans, sampled as exemplars require. They go nowhere unless a variable says where to."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

    provider = TracerProvider(resource=Resource.create(_RESOURCE))
    if os.environ.get(_SPANS_TO):
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        except ModuleNotFoundError:
            package = "opentelemetry-exporter-otlp-proto-http"
            raise CommandError(f"demo: {_SPANS_TO} is set: pip install {package} sends spans there") from None
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def _command(url: str) -> str:
    return f"curl -sH 'Accept: {_OPENMETRICS}' {url} | grep trace_id"


def _exemplar(expose: Callable[[str], Exposition]) -> str:
    """A bucket with an exemplar, as the endpoint shows it; waits a while for the first."""
    for _ in range(50):
        lines = expose(_OPENMETRICS).body.decode().splitlines()
        found = [line for line in lines if line.startswith(_DURATIONS) and "trace_id=" in line]
        if found:
            return found[0]
        time.sleep(0.1)
    return "(none so far: does an OTEL_ variable turn sampling or exemplars off?)"

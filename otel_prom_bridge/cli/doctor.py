"""``doctor``: why is there nothing to see?"""

from __future__ import annotations

import argparse
import json

from otel_prom_bridge.cli.output import FOUND, write
from otel_prom_bridge.cli.shared_arguments import add_access, checked
from otel_prom_bridge.configuration.settings import Settings
from otel_prom_bridge.doctor.environment import examine_environment, examine_options
from otel_prom_bridge.doctor.installation import examine_installation
from otel_prom_bridge.doctor.program import examine_program
from otel_prom_bridge.doctor.scraping import examine_scrapes
from otel_prom_bridge.report.cardinality import visible
from otel_prom_bridge.values.checks import SECONDS


def add(command: argparse.ArgumentParser) -> None:
    """Describe the command."""
    command.description = (
        "Look for what keeps metrics from being seen: packages, entry points, environment variables,\n"
        "options, the provider of a program, and the endpoint, which is asked as Prometheus 2 and 3 ask.\n"
        "Each problem comes with the line that mends it. The exit code is 1 if there is one."
    )
    command.epilog = (
        "examples:\n"
        "  otel-prom-bridge doctor\n"
        "  otel-prom-bridge doctor --url localhost:9464\n"
        "  otel-prom-bridge doctor --seconds 5 -- opentelemetry-instrument python app.py"
    )
    command.add_argument("--url", help="the endpoint to ask (default: where the options say that it is)")
    command.add_argument(
        "--seconds", type=checked(SECONDS), default=5.0, help="how long COMMAND runs (default: %(default)g)"
    )
    command.add_argument("--json", action="store_true", help="write JSON instead of lines")
    command.add_argument("command", nargs="*", metavar="-- COMMAND", help="a program to look into")
    add_access(command)
    command.set_defaults(run=_doctor)


def _doctor(options: argparse.Namespace) -> int:
    settings, of_options = examine_options()
    symptoms = [*examine_installation(), *examine_environment(), *of_options]
    if options.command:
        symptoms += examine_program(options.command, seconds=options.seconds)
    if options.url or not options.command:
        url = options.url or _place(settings)
        symptoms += examine_scrapes(url, timeout=options.timeout, headers=dict(options.header))
    if options.json:
        write(json.dumps([symptom._asdict() for symptom in symptoms], indent=2))
    else:
        write("\n".join(visible(line) for symptom in symptoms for line in str(symptom).split("\n")))
    return FOUND if any(symptom.weight == "problem" for symptom in symptoms) else 0


def _place(settings: Settings | None) -> str:
    endpoint = settings.endpoint if settings is not None else {}
    host = str(endpoint.get("addr") or "localhost")
    host = {"0.0.0.0": "localhost", "::": "localhost"}.get(host, f"[{host}]" if ":" in host else host)
    scheme = "https" if endpoint.get("tls_cert_file") else "http"
    path = endpoint.get("metrics_path") or "/metrics"
    return f"{scheme}://{host}:{endpoint.get('port') or 9464}{path}"

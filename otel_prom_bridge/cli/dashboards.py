"""``dashboards``: a Grafana dashboard and Prometheus rules for the metrics of a profile."""

from __future__ import annotations

import argparse
from pathlib import Path

from otel_prom_bridge.cli.arguments import profile_help
from otel_prom_bridge.cli.output import CommandError, write
from otel_prom_bridge.dashboards import files_of
from otel_prom_bridge.profiles import load_profile


def add(command: argparse.ArgumentParser) -> None:
    """Describe the command."""
    command.description = (
        "Write NAME.json, a dashboard that Grafana imports, and NAME.rules.yml, recording and\n"
        "alert rules for Prometheus. What was written before is overwritten."
    )
    command.epilog = "example:\n  otel-prom-bridge dashboards --profile llmdevops --out grafana/"
    command.add_argument("--profile", required=True, metavar="NAME|FILE", help=profile_help())
    command.add_argument(
        "--out", type=Path, default=Path(), metavar="DIR", help="where to, made if need be (default: here)"
    )
    command.set_defaults(run=_dashboards)


def _dashboards(options: argparse.Namespace) -> int:
    folder: Path = options.out
    written = []
    for name, text in files_of(load_profile(options.profile)).items():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        except OSError as error:
            raise CommandError(f"cannot write {folder / name}: {error.strerror or error}") from None
        written.append(str(folder / name))
    return write("\n".join(written))

"""``dashboards``: a Grafana dashboard and Prometheus rules for the metrics of a profile."""

from __future__ import annotations

import argparse
from pathlib import Path

from otel_prom_bridge.cli.output import CommandError, write
from otel_prom_bridge.cli.shared_arguments import profile_help
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
    command.add_argument(
        "--runbooks",
        type=_page,
        metavar="URL",
        help="the page that alerts link to, if you have one of your own with the same headings"
        " (default: that of the documentation)",
    )
    command.set_defaults(run=_dashboards)


def _page(text: str) -> str:
    if not text.startswith(("http://", "https://")) or "#" in text:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a URL of a page, such as https://wiki.example.com/runbooks"
        )
    return text


def _dashboards(options: argparse.Namespace) -> int:
    folder: Path = options.out
    written = []
    for name, text in files_of(load_profile(options.profile), runbooks=options.runbooks).items():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        except OSError as error:
            raise CommandError(f"cannot write {folder / name}: {error.strerror or error}") from None
        written.append(str(folder / name))
    return write("\n".join(written))

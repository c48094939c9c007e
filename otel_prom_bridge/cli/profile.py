"""``profile``: the reference page of a profile."""

from __future__ import annotations

import argparse

from otel_prom_bridge.cli.output import write
from otel_prom_bridge.cli.shared_arguments import profile_help
from otel_prom_bridge.profiles import load_profile
from otel_prom_bridge.profiles.reference import reference


def add(command: argparse.ArgumentParser) -> None:
    """Describe the command."""
    command.description = "Print what a profile says, in Markdown: families, labels, instruments and options."
    command.epilog = "example:\n  otel-prom-bridge profile llmdevops | less"
    command.add_argument("profile", metavar="NAME|FILE", help=profile_help())
    command.set_defaults(run=_page)


def _page(options: argparse.Namespace) -> int:
    return write(reference(load_profile(options.profile), given=options.profile).rstrip("\n"))

"""The command line: ``otel-prom-bridge COMMAND …``."""

from otel_prom_bridge.cli.program import main

__all__ = ["main"]

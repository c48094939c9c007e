"""The command line: ``otel-prom-bridge COMMAND …``."""

from otel_prom_bridge.cli.parser import main

__all__ = ["main"]

"""``python -m otel_prom_bridge`` is the command line."""

from __future__ import annotations

import sys

from otel_prom_bridge.cli import main

if __name__ == "__main__":
    sys.exit(main())

"""``python -m otel_prom_bridge.cli`` is the command line, too."""

from __future__ import annotations

import sys

from otel_prom_bridge.cli.program import main

if __name__ == "__main__":
    sys.exit(main())

"""``top``: a live view of an endpoint."""

from __future__ import annotations

import argparse
import json
import math
import time
from contextlib import suppress
from typing import Any

from otel_prom_bridge.cli.output import CommandError, write
from otel_prom_bridge.cli.shared_arguments import WHOLE, add_access, add_source, checked
from otel_prom_bridge.report.cardinality import visible
from otel_prom_bridge.snapshots import Snapshot
from otel_prom_bridge.snapshots.rates import QUANTILES, Line, lines_of
from otel_prom_bridge.values.checks import SECONDS
from otel_prom_bridge.values.patterns import glob

_BAR = 16
_QUANTILES = [f"p{round(100 * quantile)}" for quantile in QUANTILES]
_TITLES = ("METRIC", "TYPE", "SERIES", "RATE/s", "", *_QUANTILES, "VALUE")


def add(command: argparse.ArgumentParser) -> None:
    """Describe the command."""
    command.description = (
        "Show the metrics of an endpoint, what grows fastest first, and refresh: rates of counters, rates\n"
        "and quantiles of histograms (of what came since the refresh before), values of gauges, and series.\n"
        "With --once it writes one table after one interval, without colours; it needs no package then."
    )
    command.epilog = (
        "examples:\n"
        "  otel-prom-bridge top localhost:9464\n"
        "  otel-prom-bridge top localhost:9464 --match 'llm_*' --interval 5\n"
        "  otel-prom-bridge top localhost:9464 --once"
    )
    add_source(command)
    command.add_argument("--match", action="append", metavar="GLOB", help="only metrics of this name")
    command.add_argument(
        "--interval", type=checked(SECONDS), default=2.0, metavar="SECONDS", help="default: %(default)g"
    )
    command.add_argument("--lines", type=WHOLE, default=30, metavar="N", help="default: %(default)s")
    command.add_argument("--once", action="store_true", help="write one table, and end")
    command.add_argument("--json", action="store_true", help="with --once: write JSON instead of a table")
    add_access(command)
    command.set_defaults(run=_top)


def _top(options: argparse.Namespace) -> int:
    if options.json and not options.once:
        raise CommandError("top: --json is for --once")
    names = glob(options.match or ["*"])

    def take() -> Snapshot:
        return Snapshot.of(options.where, timeout=options.timeout, headers=dict(options.header))

    live = None if options.once else _live()
    before = take()
    if options.once:
        time.sleep(options.interval)
        lines = lines_of(before, take(), wanted=names.fullmatch)[: options.lines]
        return write(_as_json(lines) if options.json else _table(lines))
    with suppress(KeyboardInterrupt), live() as shown:  # type: ignore[misc]
        while True:
            time.sleep(options.interval)
            after = take()
            lines = lines_of(before, after, wanted=names.fullmatch)
            shown.update(_rich_table(options.where, lines, options.lines), refresh=True)
            before = after
    return 0


def _live() -> Any:
    try:
        from rich.live import Live
    except ImportError:
        raise CommandError(
            "top needs the package rich: pip install 'otel-prom-bridge[top]'; --once needs none"
        ) from None
    return lambda: Live(screen=True, auto_refresh=False)


def _rich_table(where: str, lines: list[Line], most: int) -> Any:
    from rich.table import Table

    series = sum(line.series for line in lines)
    table = Table(title=f"{where}   {len(lines):,} metrics, {series:,} series", expand=True)
    for number, title in enumerate(_TITLES):
        table.add_column(title, justify="left" if number in (0, 1, 4) else "right", no_wrap=True)
    fastest = max((line.rate or 0 for line in lines), default=0)
    for line in lines[:most]:
        cells = _cells(line, fastest)
        table.add_row(*cells, style="bold" if line.rate else "dim")
    return table


def _cells(line: Line, fastest: float) -> list[str]:
    bar = "█" * round(_BAR * line.rate / fastest) if line.rate and fastest else ""
    quantiles = [_short(item) for item in line.quantiles] if line.quantiles else ["", "", ""]
    return [
        visible(line.name),
        line.kind,
        f"{line.series:,}",
        _short(line.rate),
        bar,
        *quantiles,
        _short(line.value),
    ]


def _as_json(lines: list[Line]) -> str:
    found = [line._asdict() | {"quantiles": _quantiles(line)} for line in lines]
    return json.dumps(found, indent=2)


def _quantiles(line: Line) -> dict[str, float | None]:
    pairs = zip(_QUANTILES, line.quantiles, strict=False)  # only histograms have some
    return {name: value if math.isfinite(value) else None for name, value in pairs}


def _short(value: float | None) -> str:
    return "" if value is None or value != value else f"{value:,.4g}"


def _table(lines: list[Line]) -> str:
    fastest = max((line.rate or 0 for line in lines), default=0)
    rows = [list(_TITLES), *(_cells(line, fastest) for line in lines)]
    widths = [max(len(row[index]) for row in rows) for index in range(len(_TITLES))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index in (0, 1, 4) else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )

"""The command line: ``otel-prom-bridge COMMAND …``.

Each command is a function that adds itself to the parser, together with a function that takes its arguments
and returns the text to print. Everything that a user can do wrong ends in one line on stderr. The exit code
is 1 then, or 2 for wrong usage.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import otel_prom_bridge
from otel_prom_bridge.dashboards import files_of
from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.profiles import BUILT_IN, load_profile
from otel_prom_bridge.profiles.reference import reference
from otel_prom_bridge.report.cardinality import (
    DEFAULT_VALUES,
    CardinalityReport,
    MetricCardinality,
    of_labels,
    visible,
)
from otel_prom_bridge.report.remote import ExpositionError, load
from otel_prom_bridge.values.checks import SECONDS, Check, whole
from otel_prom_bridge.values.patterns import glob

if TYPE_CHECKING:
    Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

PROGRAM = "otel-prom-bridge"
_TOP = 20
_TIMEOUT = 10.0
_PROFILE = f"one of {', '.join(BUILT_IN)}, or the path of a TOML file"


class _FileError(Exception):
    """A file could not be written. The message says which one, and why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit code."""
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], str] = options.run
    try:
        return _write(run(options))
    except (ExpositionError, ConfigurationError, _FileError) as error:
        sys.stderr.write(f"{PROGRAM}: {visible(str(error))}\n")
        return 1
    except KeyboardInterrupt:
        return 130


class _ShowVersion(argparse.Action):
    """Prints the version. Reading it takes a millisecond, so that happens only when somebody asks."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        parser.exit(_write(f"{PROGRAM} {getattr(otel_prom_bridge, '__version__', 'of an unknown version')}"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROGRAM, description="Tools for metrics that Prometheus scrapes.")
    parser.add_argument("--version", action=_ShowVersion, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for add in (_add_cardinality, _add_dashboards, _add_profile):
        add(commands)
    return parser


def _write(text: str) -> int:
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a Latin-1 terminal has no ellipsis
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader (`| head`) has seen enough. Python flushes once more at exit, which must find no pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _add_cardinality(commands: Commands) -> None:
    command = commands.add_parser(
        "cardinality",
        help="how many series each metric of an exposition has, and which labels make them",
        description="Count the series of an exposition (text or OpenMetrics), biggest metric first.",
        epilog="SERIES are label sets; SAMPLES are lines, each a series to the database.",
    )
    command.add_argument(
        "where",
        metavar="URL|FILE|-",
        help="what to read; host:port is http, a URL without a path means /metrics, - is stdin",
    )
    _add_choices(command)
    _add_access(command)
    command.set_defaults(run=_cardinality)


def _add_choices(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--top",
        type=_WHOLE,
        metavar="N",
        help=f"show N metrics, 0 for all (default: {_TOP} in the table, all with --json)",
    )
    command.add_argument(
        "--values",
        type=_WHOLE,
        default=DEFAULT_VALUES,
        metavar="N",
        help="count the series of the N biggest values of each label (default: %(default)s)",
    )
    command.add_argument(
        "--match",
        action="append",
        metavar="GLOB",
        help="only metrics of this name, with * and ?; may be repeated",
    )
    command.add_argument("--json", action="store_true", help="write JSON instead of a table")


def _add_access(command: argparse.ArgumentParser) -> None:
    """Add the arguments of every command that reads an exposition."""
    command.add_argument(
        "--timeout",
        type=_read(SECONDS),
        default=_TIMEOUT,
        metavar="SECONDS",
        help="for the whole answer of a URL (default: %(default)g)",
    )
    command.add_argument(
        "--header",
        type=_HEADER,
        action="append",
        default=[],
        metavar="'NAME: VALUE'",
        help="send this to the URL, such as 'Authorization: Bearer …'; may be repeated",
    )


def _add_dashboards(commands: Commands) -> None:
    command = commands.add_parser(
        "dashboards",
        help="write a Grafana dashboard and Prometheus rules for the metrics of a profile",
        description="Write NAME.json, a dashboard that Grafana imports, and NAME.rules.yml, recording and"
        " alert rules for Prometheus. What was written before is overwritten.",
    )
    command.add_argument("--profile", required=True, metavar="NAME|FILE", help=_PROFILE)
    command.add_argument(
        "--out", type=Path, default=Path(), metavar="DIR", help="where to, made if need be (default: here)"
    )
    command.set_defaults(run=_dashboards)


def _dashboards(options: argparse.Namespace) -> str:
    folder: Path = options.out
    written = []
    for name, text in files_of(load_profile(options.profile)).items():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        except OSError as error:
            raise _FileError(f"cannot write {folder / name}: {error.strerror or error}") from None
        written.append(str(folder / name))
    return "\n".join(written)


def _add_profile(commands: Commands) -> None:
    command = commands.add_parser(
        "profile",
        help="print the reference page of a profile",
        description="Print what a profile says, in Markdown: families, labels, instruments and options.",
    )
    command.add_argument("profile", metavar="NAME|FILE", help=_PROFILE)
    command.set_defaults(run=_page)


def _page(options: argparse.Namespace) -> str:
    return reference(load_profile(options.profile), given=options.profile).rstrip("\n")


def _cardinality(options: argparse.Namespace) -> str:
    names = glob(options.match or ["*"])
    metrics = load(options.where, timeout=options.timeout, headers=dict(options.header))
    report = CardinalityReport.of(
        of_labels(metric.name, metric.kind, metric.series, samples=metric.samples, values=options.values)
        for metric in metrics
        if names.fullmatch(metric.name)
    )
    if options.json:
        return json.dumps(_as_json(report, options.top or None), indent=2)
    return report.table(top=_TOP if options.top is None else options.top or None)


def _as_json(report: CardinalityReport, top: int | None) -> dict[str, Any]:
    return {
        "series": report.series,
        "samples": report.samples,
        "metrics": [_metric_as_json(metric) for metric in report.metrics[:top]],
        "left_out": len(report) - len(report.metrics[:top]),
    }


def _metric_as_json(metric: MetricCardinality) -> dict[str, Any]:
    return {
        "metric": metric.metric,
        "type": metric.kind,
        "series": metric.series,
        "samples": metric.samples,
        "overflow_series": metric.overflow_series,
        "labels": [
            {
                "name": label.name,
                "values": label.values,
                "biggest": [{"value": value, "series": series} for value, series in label.biggest],
            }
            for label in metric.labels
        ],
    }


def _read(check: Check) -> Callable[[str], Any]:
    """Reads what a check allows, and says what is wrong as argparse wants it."""

    def read(text: str) -> Any:
        try:
            return check.text("", text)
        except ConfigurationError as error:
            raise argparse.ArgumentTypeError(str(error).removeprefix(": ")) from None

    return read


def _header(text: str) -> tuple[str, str]:
    name, colon, value = (part.strip() for part in text.partition(":"))
    if not name or not colon or not text.isprintable() or not text.isascii() or " " in name:
        raise ValueError
    return name, value


_WHOLE = _read(whole(0))
_HEADER = _read(Check(allowed="a header like 'Authorization: Bearer …'", check=_header))


if __name__ == "__main__":
    sys.exit(main())

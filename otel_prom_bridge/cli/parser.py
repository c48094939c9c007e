"""The parser of the command line, and what it makes of errors.

Each command is a file of this folder, of the command's name, with a function ``add(command)``. That gives the
command's parser its description, its arguments and ``run``, a function that takes what was parsed and returns
the exit code. A file is only imported when its command is used, so that one command does not wait for what
another one needs.

Everything that a user can do wrong ends in one line on stderr and exit code 2.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Iterable, Sequence

import otel_prom_bridge
from otel_prom_bridge.cli.output import PROGRAM, CommandError, write
from otel_prom_bridge.errors import ConfigurationError, EndpointError, ExpositionError
from otel_prom_bridge.report.cardinality import visible
from otel_prom_bridge.values.notation import nearest

COMMANDS = {
    "check": "is an exposition right, and does it have what dashboards and rules ask for?",
    "diff": "what is different between two expositions",
    "snapshot": "write an exposition of any format, sorted and complete",
    "doctor": "why there is nothing to see: packages, environment, provider, endpoint",
    "top": "a live view of an endpoint: what grows fastest, rates, quantiles",
    "cardinality": "how many series each metric of an exposition has, and which labels make them",
    "record": "write a recording of what a URL exposes, at an interval",
    "replay": "serve a recording again, as if the application were there",
    "serve": "show what an endpoint or a file exposes on a page in the browser",
    "synth": "make up load by a description: serve it, or write it as a recording",
    "demo": "a simulated LLM agent service and its metrics, to look at",
    "dashboards": "write a Grafana dashboard and Prometheus rules for the metrics of a profile",
    "hub": "serve the sum of what several processes push",
    "profile": "print the reference page of a profile",
    "run": "run a program of several processes, with a hub for them",
    "completion": "print what bash or zsh needs to complete commands and options",
}
WRONG = 2
INTERRUPTED = 130  # as shells say it: 128 and the number of SIGINT
_EXIT_CODES = """\
exit codes:
  0  done, and nothing to complain of
  1  done, and the answer is no: check, diff and doctor found something
  2  wrong usage, or what was given (a file, a URL, a description) cannot be used
  130  interrupted with Ctrl-C; for what goes on until then, that is 0
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = parser_of(name for name in COMMANDS if name in given)
    if given and not given[0].startswith("-") and given[0] not in COMMANDS:
        near = nearest(given[0], COMMANDS)
        hint = f"did you mean {near}?" if near else f"there are {', '.join(COMMANDS)}"
        parser.error(f"there is no command {given[0]!r}; {hint}")
    options, unknown = parser.parse_known_args(given)
    if unknown:
        near = nearest(unknown[0].partition("=")[0], options.flags)
        hint = f" (did you mean {near}?)" if near else ""
        parser.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except (CommandError, ConfigurationError, EndpointError, ExpositionError) as error:
        sys.stderr.write(f"{PROGRAM}: {visible(str(error))}\n")
        return WRONG
    except KeyboardInterrupt:
        return INTERRUPTED


class _ShowVersion(argparse.Action):
    """Prints the version. Reading it takes a millisecond, so that happens only when somebody asks."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        parser.exit(write(f"{PROGRAM} {getattr(otel_prom_bridge, '__version__', 'of an unknown version')}"))


def parser_of(names: Iterable[str]) -> argparse.ArgumentParser:
    """The parser. It knows every command, and the arguments of those that are named."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Tools for metrics that Prometheus scrapes.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_ShowVersion, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    parsers = {
        name: commands.add_parser(name, help=summary, formatter_class=argparse.RawDescriptionHelpFormatter)
        for name, summary in COMMANDS.items()
    }
    for name in names:
        importlib.import_module(f"{__package__}.{name}").add(parsers[name])
        parsers[name].set_defaults(flags=list(parsers[name]._option_string_actions))
    return parser

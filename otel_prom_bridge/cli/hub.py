"""``hub``: the process that shows what all processes of an application record."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping

from otel_prom_bridge.cli.output import CommandError
from otel_prom_bridge.configuration.option import Option
from otel_prom_bridge.configuration.options import (
    CONFIG_FILE,
    ENDPOINT_OPTIONS,
    HUB_OPTIONS,
    READER_OPTIONS,
)
from otel_prom_bridge.configuration.settings import from_flags
from otel_prom_bridge.errors import EndpointError
from otel_prom_bridge.explorer.options import EXPLORER
from otel_prom_bridge.values.checks import BOOLEAN

# What a flag may say: all options of a hub, of its endpoint and of what it shows.
FLAGS = tuple(
    option
    for option in (CONFIG_FILE, *ENDPOINT_OPTIONS, *READER_OPTIONS, *HUB_OPTIONS)
    if not option.only_in_files
)


def add(command: argparse.ArgumentParser) -> None:
    """Describe the command."""
    command.description = (
        "Take what processes push, and serve the sum of all of them to Prometheus, until a signal\n"
        "ends it. Every option also has a variable and a key in the file: docs/configuration.md."
    )
    command.epilog = (
        "example:\n"
        "  otel-prom-bridge hub --port 9464 --otlp-socket /run/shop/hub.sock\n"
        "  OTEL_PROM_BRIDGE_HUB=unix:/run/shop/hub.sock gunicorn -w 4 shop:app"
    )
    add_options(command)
    command.set_defaults(run=_run)


def add_options(command: argparse.ArgumentParser, *, without: Iterable[str] = ()) -> None:
    """Add a flag for each option of a hub that a text can say."""
    for option in FLAGS:
        if option.key not in without:
            _add(command, option)


def _add(command: argparse.ArgumentParser, option: Option) -> None:
    words = "a TOML file with options" if option is CONFIG_FILE else option.meaning.partition("; see [")[0]
    words = words.replace("`", "").replace("%", "%%")
    yes = {"nargs": "?", "const": "true"} if option.check in (BOOLEAN, EXPLORER) else {}
    command.add_argument(option.flag, dest=option.key, metavar="VALUE", help=words, **yes)  # type: ignore[arg-type]


def flags_of(options: argparse.Namespace) -> Mapping[str, str]:
    """The flags that were given, by the keys of their options."""
    keys = [option.key for option in FLAGS]
    found = {key: getattr(options, key, None) for key in keys}
    return {key: text for key, text in found.items() if text is not None}


def _run(options: argparse.Namespace) -> int:
    try:
        from otel_prom_bridge.hub.process import is_of_program, serve_program, serve_until_told
    except ModuleNotFoundError as error:
        raise missing(error) from None
    flags = flags_of(options)
    if is_of_program():
        return serve_program(lambda: from_flags(flags))
    try:
        serve_until_told(from_flags(flags))
    except EndpointError as error:
        raise CommandError(error.strerror or str(error)) from None
    return 0


def missing(error: ModuleNotFoundError) -> CommandError:
    """What to do about a package of the extra that is not installed."""
    if error.name is None or error.name.split(".")[0] not in ("opentelemetry", "google"):
        raise error
    return CommandError(
        f"a hub needs the package of {error.name!r}: pip install 'otel-prom-bridge[hub]' installs it"
    )

"""Arguments that several commands have, and how arguments are read."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.values.checks import PORT, SECONDS, Check, whole

_TIMEOUT = 10.0


def profile_help() -> str:
    """What may stand for a profile. Only who needs profiles loads them, and the SDK with them."""
    from otel_prom_bridge.profiles import BUILT_IN

    return f"one of {', '.join(BUILT_IN)}, or the path of a TOML file"


def checked(check: Check) -> Callable[[str], Any]:
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


WHOLE = checked(whole(0))
_HEADER = checked(Check(allowed="a header like 'Authorization: Bearer …'", check=_header))


def add_source(command: argparse.ArgumentParser, name: str = "where") -> None:
    """Add the argument of a command that reads an exposition."""
    command.add_argument(
        name,
        metavar="URL|FILE|-",
        help="what to read; host:port is http, a URL without a path means /metrics, - is stdin",
    )


def add_access(command: argparse.ArgumentParser) -> None:
    """Add the options of every command that reads an exposition."""
    command.add_argument(
        "--timeout",
        type=checked(SECONDS),
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


def add_endpoint(command: argparse.ArgumentParser) -> None:
    """Add the options of every command that serves something."""
    command.add_argument(
        "--port",
        type=checked(PORT),
        default=9464,
        metavar="PORT",
        help="0 is a free one (default: %(default)s)",
    )
    command.add_argument("--addr", default="localhost", help="address to listen on (%(default)s)")

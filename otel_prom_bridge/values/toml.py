"""Reading TOML files. A file is read as a whole before anything in it is looked at."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

from otel_prom_bridge.errors import ConfigurationError, Described

_CONTENT = Described("its content")
_PLACE = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL)


def read_config_file(key: str, path: str | os.PathLike[str]) -> dict[str, object]:
    """The content of a TOML file. ``key`` is the option or the place that named the file.

    Raises:
        ConfigurationError: there is no such file, or it is not TOML. The message says where.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        reason = error.strerror or error
        raise ConfigurationError(key, str(path), f"the path of a file to read ({reason})") from None
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: byte {error.start}", error.object[error.start], "UTF-8") from None
    except ValueError as error:  # a path with a null in it
        raise ConfigurationError(key, str(path), f"the path of a file to read ({error})") from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(path, text, str(error)) from None
    except ValueError as error:  # a number of 5000 digits
        raise ConfigurationError(str(path), _CONTENT, f"TOML that can be read ({error})") from None
    except RecursionError:
        raise ConfigurationError(str(path), _CONTENT, "TOML of fewer lists within lists") from None


def _syntax_error(path: object, text: str, message: str) -> ConfigurationError:
    lines = text.splitlines() or [""]
    found = _PLACE.fullmatch(message)
    reason, line, column = found.groups() if found else (message, None, None)
    where = f"line {line}, column {column}" if line else "the end"
    written = lines[min(int(line), len(lines)) - 1] if line else lines[-1]
    return ConfigurationError(f"{path}: {where}", written, f"TOML ({reason})")

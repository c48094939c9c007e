"""A YAML document that is read strictly, by code that knows what should be in it.

The document is composed and not constructed. What a scalar is depends on who asks for it, as in Go, where the
field has the type. So a password of digits is a password, and a mistake has a line number. Keys that are
unknown or that come twice are mistakes; PyYAML alone would take the last of them. Errors show no values,
because those may be secrets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from otel_prom_bridge.errors import HIDDEN, ConfigurationError, Described, MissingPackageError
from otel_prom_bridge.values.notation import unknown

_NULL = "tag:yaml.org,2002:null"
# https://yaml.org/type/bool.html
_TRUE, _FALSE = ("y", "yes", "true", "on"), ("n", "no", "false", "off")
# https://pkg.go.dev/time#ParseDuration
_DURATION = re.compile(r"(?:(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h))", re.ASCII)
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_KINDS = {
    "scalar": Described("a single value"),
    "sequence": Described("a list"),
    "mapping": Described("a mapping"),
}


@dataclass(frozen=True, slots=True, repr=False)
class Part:
    """A part of a document: what stands at ``key``. One that is missing or null has no node of PyYAML's."""

    file: str
    key: str
    node: Any

    @property
    def is_missing(self) -> bool:
        """Nothing stands there."""
        return self.node is None

    @property
    def place(self) -> str:
        """Where it stands: the file, the line and the key."""
        line = "" if self.node is None else f" line {self.node.start_mark.line + 1}:"
        return f"{self.file}:{line} {self.key}"

    def error(self, value: object, expected: str) -> ConfigurationError:
        """What to raise if something else should stand there."""
        return ConfigurationError(self.place, value, expected)

    def fields(self, *names: str) -> dict[str, Part]:
        """The parts with these names, all of them. No others may be there."""
        found = self.entries()
        for name, part in found.items():
            if name not in names:
                raise unknown(name, HIDDEN, names, "keys", at=part.place)
        return {name: found.get(name, Part(self.file, self._below(name), None)) for name in names}

    def entries(self) -> dict[str, Part]:
        """The parts of a mapping."""
        found: dict[str, Part] = {}
        for key, value in self._value("mapping", []):
            name = Part(self.file, self.key or "a key", key).string()
            part = self._part(self._below(name), value)
            if name in found:
                raise part.error(Described("a key that is there already"), "each key once")
            found[name] = part
        return found

    def string(self) -> str:
        """The text of a single value. It is empty if there is none."""
        return str(self._value("scalar", ""))

    def strings(self) -> tuple[str, ...]:
        """The texts of a list."""
        return tuple(self._part(f"{self.key}[{i}]", item).string() for i, item in self._items())

    def boolean(self, *, default: bool) -> bool:
        """A truth value as YAML 1.1 spells it, without quotes."""
        word = self.string().lower()
        if self.node is None:
            return default
        if self.node.style is not None or word not in _TRUE + _FALSE:
            raise self.error(HIDDEN, "true or false")
        return word in _TRUE

    def whole(self) -> int:
        """A whole number of at least 0. It is 0 if there is none."""
        text = self.string()
        if not text:
            return 0
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise self.error(HIDDEN, "a whole number")
        return int(text)

    def seconds(self) -> float:
        """The seconds of a duration as Go writes it. They are 0 if there is none."""
        text = self.string()
        if text in ("", "0"):
            return 0.0
        found = _DURATION.findall(text)
        if not found or "".join(map("".join, found)) != text:
            raise self.error(HIDDEN, "a duration with its unit, like '500ms', '1s' or '1m30s'")
        return sum(float(number) * _UNITS[unit] for number, unit in found)

    def _items(self) -> Iterator[tuple[int, Any]]:
        return enumerate(self._value("sequence", []))

    def _value(self, kind: str, default: Any) -> Any:
        if self.node is None:
            return default
        if self.node.id != kind:
            raise self.error(_KINDS[self.node.id], _KINDS[kind])
        return self.node.value

    def _part(self, key: str, node: Any) -> Part:
        return Part(self.file, key, None if node.tag == _NULL else node)

    def _below(self, name: str) -> str:
        return f"{self.key}.{name}" if self.key else name


def read_document(file: str) -> Part:
    """The whole document of a file.

    Raises:
        ConfigurationError: the file cannot be read, or is not one document of YAML; or PyYAML is missing.
    """
    yaml = _load_yaml(file)
    try:
        with open(file, "rb") as stream:
            node = yaml.compose(stream, Loader=yaml.SafeLoader)
    except OSError as error:
        expected = f"the path of a file that can be read ({error.strerror})"
        raise ConfigurationError("web_config", file, expected) from None
    except yaml.YAMLError as error:
        # The error's own text is left out, because it shows the lines around the mistake.
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        where = f"{file}: line {mark.line + 1}, column {mark.column + 1}" if mark else file
        raise ConfigurationError(where, Described("its content"), f"YAML ({problem or 'not text'})") from None
    except (ValueError, RecursionError):
        raise ConfigurationError(file, Described("its content"), "YAML that can be read") from None
    return Part(file, "", None if node is None or node.tag == _NULL else node)


def _load_yaml(file: str) -> ModuleType:
    try:
        import yaml
    except ImportError:
        raise MissingPackageError(file, "yaml", "pip install PyYAML") from None
    return yaml

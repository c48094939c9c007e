r"""Lines of the text formats → samples and metadata.

One grammar takes everything that some exporter writes and some scraper reads: Prometheus text 0.0.4 and
1.0.0, OpenMetrics 1.0 and 2.0, with exemplars, quoted names and blanks wherever they are allowed. OpenMetrics
is stricter about blanks than Prometheus text, so a second pattern says whether a line has its form.

Faults are collected, and the lines that have them are left out. So a reader who only counts can go on, and
one who checks sees them all.

https://github.com/prometheus/docs/blob/main/docs/instrumenting/exposition_formats.md#text-based-format
https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md#abnf
https://github.com/prometheus/docs/blob/main/docs/specs/om/open_metrics_spec_2_0.md#abnf
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from otel_prom_bridge.families import Exemplar, Labels
from otel_prom_bridge.snapshots.findings import Faults

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*+"
# Quantifiers are possessive (`*+`), so that no line can make the pattern try again and again.
_QUOTED = r'"(?:[^"\\]|\\.)*+"'
_BRACES = rf'\{{(?:[^"}}]|{_QUOTED})*+\}}'
_EXEMPLARS = rf"(?:[ \t]+#[ \t]*{_BRACES}[ \t]+[^ \t]++(?:[ \t]+[^ \t#]++)?+)*+"
_COMPOSITE = r"\{g?count:"
_SAMPLE = re.compile(
    rf"(?P<name>{_NAME})?+[ \t]*+(?:(?!{_COMPOSITE})(?P<braces>{_BRACES}))?+[ \t]*+"
    rf"(?P<value>\{{[^ \t]*+|[^ \t{{#]++)"
    rf"(?:[ \t]+(?P<time>(?!st@)[^ \t#]++))?+(?:[ \t]+st@(?P<start>[^ \t#]++))?+"
    rf"(?P<exemplars>{_EXEMPLARS})[ \t]*+"
)
_EXEMPLAR = re.compile(rf"#[ \t]*({_BRACES})[ \t]+([^ \t]+)(?:[ \t]+([^ \t#]+))?")
_LABEL = re.compile(rf'[ \t]*(?:({_NAME})|({_QUOTED}))[ \t]*=[ \t]*"((?:[^"\\]|\\.)*+)"[ \t]*(,|$)')
_ALONE = re.compile(rf"[ \t]*({_QUOTED})[ \t]*(,|$)")
# Most label sets are written in one way, which is read at once.
_PLAIN = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="([^"\\]*)"(?:,|$)')
_PLAIN_EXTRA = 4  # `=""` and the comma

_META = re.compile(rf"#[ \t]+(TYPE|HELP|UNIT)(?:[ \t]+({_NAME}|{_QUOTED})(?:[ \t](.*))?)?[ \t]*", re.DOTALL)
_META_BEGIN = re.compile(r"[ \t]*#[ \t]+(?:TYPE|HELP)[ \t]")
_NUMBER = re.compile(
    r"[-+]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[iI][nN][fF](?:[iI][nN][iI][tT][yY])?|[nN][aA][nN])"
)
_INTEGER = re.compile(r"[-+]?[0-9]{1,400}")
_ESCAPES = {"n": "\n", "\\": "\\", '"': '"'}

# How OpenMetrics writes a line: single blanks, nothing before or after, no comma at the end of labels.
_STRICT_LABEL = rf"(?:[a-zA-Z_][a-zA-Z0-9_]*|{_QUOTED})={_QUOTED}"
_STRICT_LABELS = rf"\{{(?:(?:{_STRICT_LABEL}|{_QUOTED})(?:,{_STRICT_LABEL})*)?\}}"
_STRICT = re.compile(
    rf"(?:{_NAME}(?:{_STRICT_LABELS})?|{_STRICT_LABELS}) [^ \t]+(?: [^ \t#]+)?(?: st@[^ \t]+)?"
    rf"(?: # {_STRICT_LABELS} [^ \t]+(?: [^ \t#]+)?)*"
)
_STRICT_META = re.compile(rf"# (?:TYPE|HELP|UNIT) (?:{_NAME}|{_QUOTED}) .*", re.DOTALL)
_LINE_WIDTH = 70


class Sample(NamedTuple):
    """A line with a value: a number, or the text of a composite value of OpenMetrics 2.0."""

    name: str
    labels: Labels
    value: float | str
    time: float | None
    start: float | None
    exemplars: tuple[Exemplar, ...]
    line: int


@dataclass(slots=True)
class Metadata:
    """What is said of a name before its samples. ``line`` is where it was said first."""

    line: int
    kind: str | None = None
    help: str | None = None
    unit: str | None = None


@dataclass(slots=True)
class Lines:
    """All samples and metadata, in their order. ``firsts`` are the lines where samples of a name begin."""

    samples: list[Sample] = field(default_factory=list)
    metadata: dict[str, Metadata] = field(default_factory=dict)


def read_lines(text: str, *, openmetrics: bool, faults: Faults) -> Lines:
    """Read what the lines of a text exposition say; what is wrong with them goes to ``faults``."""
    found = Lines()
    reader = _Reader(found, faults, openmetrics=openmetrics)
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    elif lines[-1] != "# EOF":
        faults.error("eof", "", "the last line has no line feed at its end", line=len(lines))
    ended = 0
    for number, line in enumerate(lines, 1):
        if ended:
            faults.error("syntax", "", f"something follows # EOF: {shortened(line)!r}", line=number)
            break
        if line == "# EOF" and openmetrics:
            ended = number
        elif line[:1] == "#" or line.lstrip(" \t")[:1] == "#":
            reader.comment(line, number)
        elif line.strip(" \t\r"):
            reader.sample(line, number)
        elif openmetrics:
            faults.error("syntax", "", "an empty line", line=number)
    if openmetrics and not ended:
        faults.error("eof", "", "# EOF is missing at the end, so nobody knows whether this is all")
    return found


def shortened(line: str) -> str:
    """As much of a line as a message has room for."""
    return line if len(line) <= _LINE_WIDTH else f"{line[:_LINE_WIDTH]}…"


class _Reader:
    """Reads one line after the other."""

    def __init__(self, found: Lines, faults: Faults, *, openmetrics: bool) -> None:
        self._found = found
        self._faults = faults
        self._openmetrics = openmetrics

    def comment(self, line: str, number: int) -> None:
        """A line that begins with a #."""
        found = _META.fullmatch(line if self._openmetrics else line.lstrip(" \t"))
        if found is None:
            if _META_BEGIN.match(line):
                self._fault(line, number, "is no TYPE or HELP line")
            elif self._openmetrics:
                self._fault(line, number, "is no TYPE, HELP or UNIT line, and OpenMetrics has no comments")
            return
        key, name, rest = found.groups()
        if name is None or (rest is None and key != "HELP"):
            self._faults.error("metadata", name or "", f"{shortened(line)!r} is no {key} line", line=number)
            return
        if self._openmetrics and not _STRICT_META.fullmatch(line):
            self._fault(line, number, f"is no {key} line; single blanks are between its parts")
        self._enter(key, unquoted(name), rest or "", number)

    def _enter(self, key: str, name: str, rest: str, number: int) -> None:
        metadata = self._found.metadata.setdefault(name, Metadata(number))
        field = {"TYPE": "kind", "HELP": "help", "UNIT": "unit"}[key]
        if getattr(metadata, field) is not None:
            self._faults.error("metadata", name, f"a second {key} line", line=number)
            return
        text = rest.strip(" \t") if key != "HELP" else unescaped(rest)
        setattr(metadata, field, text)

    def sample(self, line: str, number: int) -> None:
        """A line with a value."""
        try:
            self._found.samples.append(self._read(line, number))
        except ValueError as error:
            self._fault(line, number, f"is not a sample{f': {error}' if str(error) else ''}")

    def _read(self, line: str, number: int) -> Sample:
        found = _SAMPLE.fullmatch(line.strip(" \t"))
        if found is None:
            raise ValueError
        name, braces, value, time, start, exemplars = found.groups()
        if self._openmetrics and not _STRICT.fullmatch(line):
            raise ValueError("OpenMetrics has single blanks, and no comma after the last label")
        if name is None and braces is None:
            raise ValueError
        if name is None:
            name, labels = _named_within(braces)
        else:
            labels = read_labels(braces[1:-1]) if braces else ()
        return Sample(
            name,
            labels,
            value if value[0] == "{" else number_of(value),
            None if time is None else self._time(time),
            None if start is None else number_of(start),
            tuple(_exemplar(*item) for item in _EXEMPLAR.findall(exemplars)) if exemplars else (),
            number,
        )

    def _time(self, text: str) -> float:
        if self._openmetrics:
            return float(number_of(text))
        if not _INTEGER.fullmatch(text):
            raise ValueError("its timestamp is not a whole number of milliseconds")
        return int(text) / 1000

    def _fault(self, line: str, number: int, message: str) -> None:
        self._faults.error("syntax", "", f"{shortened(line)!r} {message}", line=number)


def read_labels(text: str) -> Labels:
    """The labels that stand between braces, sorted.

    Raises:
        ValueError: it is no list of labels, or has a name twice.
    """
    pairs = _PLAIN.findall(text)
    if sum(map(len, map("".join, pairs))) + _PLAIN_EXTRA * len(pairs) - (text[-1:] != ",") != len(text):
        pairs = list(_slow_labels(text))
    pairs.sort()
    if len(pairs) > 1 and len(dict(pairs)) != len(pairs):
        raise ValueError("a label twice")
    return tuple(pairs)


def _slow_labels(text: str) -> Iterator[tuple[str, str]]:
    position = 0
    while position < len(text.rstrip(" \t")):
        found = _LABEL.match(text, position)
        if found is None:
            raise ValueError("no list of labels")
        name, quoted, value, _ = found.groups()
        if name is not None and ":" in name:
            raise ValueError(f"the name of a label has no colon: {name}")
        yield unquoted(quoted) if name is None else name, unescaped(value)
        position = found.end()


def _named_within(braces: str | None) -> tuple[str, Labels]:
    # {"http.requests",method="GET"} 1
    found = _ALONE.match(braces[1:-1]) if braces else None
    if not braces or found is None:
        raise ValueError("it has no name")
    return unquoted(found[1]), read_labels(braces[1 + found.end() : -1])


def _exemplar(braces: str, value: str, time: str) -> Exemplar:
    when = float(number_of(time)) if time else None
    return Exemplar(read_labels(braces[1:-1]), number_of(value), when)


def number_of(text: str) -> Any:
    """The number, as an int if it is written as one.

    Raises:
        ValueError: it is none, or one that only Python reads.
    """
    if text.isdecimal() and text.isascii() and len(text) <= 400:
        return int(text)
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{shortened(text)!r} is no number")
    return int(text) if _INTEGER.fullmatch(text) else float(text)


def unquoted(name: str) -> str:
    """A name without its quotes, if it has any."""
    return unescaped(name[1:-1]) if name.startswith('"') else name


def unescaped(text: str) -> str:
    r"""The text with ``\n``, ``\\`` and ``\"`` read; other backslashes stand for themselves."""
    if "\\" not in text:
        return text
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[0]), text, flags=re.DOTALL)

"""Making templates of the paths of requests: parts that name one thing among many become placeholders.

Each segment is judged by its looks alone, because the bridge does not know the application's routes. Where a
framework knows them (``http.route``), that is the better label. A path is cut before anything is matched,
because a stranger can send any path of any length, and a scanner sends thousands.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote

from otel_prom_bridge.rules.rule import PATTERNS, Compiled, Pattern
from otel_prom_bridge.rules.words import are_words, is_named
from otel_prom_bridge.values.checks import POSITIVE

# How many characters of a path are looked at, and the longest segment that can be a word of a route.
_LONGEST = 2048
_LONGEST_SEGMENT = 64

_HOST = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]{0,30}://[^/?#]*")
_MATRIX = re.compile(r";[^/]*")
_SLASHES = re.compile(r"/{2,}")

# What is a template already: {user_id}, <int:id>, :id.
_TEMPLATE = re.compile(r"\{[\w:.*-]{1,40}\}|<[\w:. -]{1,40}>|:[a-zA-Z_]\w{0,40}", re.ASCII)

# What whole segments may be. The most specific expression comes first.
_SEGMENTS: Compiled = tuple(
    (re.compile(pattern, re.ASCII | re.IGNORECASE), placeholder)
    for pattern, placeholder in (
        (r"[^@\s]{1,64}@[a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z]{2,24}", "{email}"),
        (r"\{?[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}\}?", "{uuid}"),
        (r"\d{4}-\d{2}(?:-\d{2}(?:[t ][\d:.]+(?:z|[+-]\d{2}:?\d{2})?)?)?", "{date}"),
        (r"\d{1,3}(?:\.\d{1,3}){3}", "{ip}"),
        # 2.0 is the version of an API, and 52.5163 is a coordinate. 1,2 and 1-2-3 are lists.
        (r"[+-]?\d+|[+-]?\d+\.\d{3,}", "{number}"),
        (r"(?!\d+(?:\.\d+)+\Z)[,.:;_~+|()@!'* -]*\d[\d,.:;_~+|()@!'* -]*", "{number}"),
        (r"[0-9a-f]{16,}", "{hash}"),
        (r"[0-7][0-9a-hjkmnp-tv-z]{25}", "{id}"),  # ULID
    )
)

# Numbers in a segment, one or several in a row. Beside a letter a number is part of a word (s3, 70b). Two
# with a dot between them are part of a version (v2.1, 1.10.3).
_NUMBERS = re.compile(
    r"(?<![a-zA-Z0-9])(?<![0-9]\.)(?:[0-9](?:[-_,:][0-9]+){2,}|[0-9]{2,}(?:[-_,:][0-9]+)*)(?![a-zA-Z0-9]|\.[0-9])"
)
# What may follow at the end of a segment: .png, .tar.gz, :cancel.
_ENDING = re.compile(r"(?:\.[a-zA-Z][a-zA-Z0-9]{0,7}){0,2}(?::[a-zA-Z]{1,40})?")


@dataclass(frozen=True, slots=True, init=False)
class PathTemplate:
    """A path with placeholders for ids, UUIDs, hashes, numbers, dates, addresses and tokens.

    A number of several digits within a segment becomes one, too: ``/img/{id}.png``, ``/items/item-{id}``.
    What stays are single digits (``step-1``), two digits beside letters or between words (``u42``,
    ``gpt-35-turbo``), and versions (``v1``, ``2.0``, ``1.10.3``, ``oauth2``). An id of letters alone, or of
    digits with letters of one case, is told from a word only if nobody could pronounce it. One in twenty
    texts of eleven random characters looks like words.

    ``patterns`` are pairs of a regular expression for a whole segment and a placeholder, which are tried
    first. Query, fragment, scheme, host and matrix parameters (``;jsessionid=…``) are cut. After
    ``max_segments`` segments comes ``{more}``. There is no bound, because what looks like words is taken for
    a route. Put :class:`First` after it.

    >>> template = PathTemplate([(r"t-[a-z]+", "{tenant}")])
    >>> template("/v1/t-acme/users/17?page=2"), template("https://example.com/v1/chat/completions")
    ('/v1/{tenant}/users/{number}', '/v1/chat/completions')
    """

    patterns: Compiled
    max_segments: int

    def __init__(self, patterns: Iterable[Pattern] = (), *, max_segments: int = 10) -> None:
        object.__setattr__(self, "patterns", PATTERNS.value("PathTemplate.patterns", patterns))
        segments = POSITIVE.value("PathTemplate.max_segments", max_segments)
        object.__setattr__(self, "max_segments", segments)

    @property
    def max_values(self) -> None:
        """No bound of its own."""
        return None

    def __call__(self, value: str) -> str:
        """The template of a path, or of the path of a URL."""
        text = value[:_LONGEST]
        host = _HOST.match(text)
        if host:
            text = text[host.end() :]
        path = text.partition("?")[0].partition("#")[0] or ("/" if host else "")
        first, *segments = _SLASHES.sub("/", _MATRIX.sub("", path)).split("/")
        if len(segments) > self.max_segments:
            segments[self.max_segments :] = ["{more}"]
        return "/".join(map(self._segment, (first, *segments)))

    def _segment(self, segment: str) -> str:
        if not segment or _TEMPLATE.fullmatch(segment):
            return segment
        if len(segment) > _LONGEST_SEGMENT:
            return "{id}"
        plain = unquote(segment)
        for pattern, placeholder in (*self.patterns, *_SEGMENTS):
            if pattern.fullmatch(plain):
                return placeholder
        shown = plain if is_named(plain) else _NUMBERS.sub(_number, plain)
        if len(shown) > _LONGEST_SEGMENT or not are_words(shown):
            return "{id}"
        if shown == plain:
            return segment
        return shown if plain == segment else "{id}"


def _number(found: re.Match[str]) -> str:
    # gpt-35-turbo and claude-3-5-sonnet are names.
    long = sum(map(str.isdigit, found[0])) > 2 or _ENDING.fullmatch(found.string, found.end())
    return "{id}" if long else found[0]

"""Paths of requests → templates: the parts that name one thing among many become placeholders.

Segment by segment, by looks alone, since nobody here knows the application's routes. Where a framework knows
them (``http.route``), that is the better label. Cut before anything is matched: what a stranger can send is
any path of any length, and a scanner sends thousands.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote

from otel_prom_bridge.rules.rule import Compiled, Pattern, checked_patterns, checked_whole

# What is looked at of a path, and the longest segment that can be a word of a route.
_LONGEST = 2048
_LONGEST_SEGMENT = 64

_HOST = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]{0,30}://[^/?#]*")
_MATRIX = re.compile(r";[^/]*")
_SLASHES = re.compile(r"/{2,}")

# A template already: {user_id}, <int:id>, :id.
_TEMPLATE = re.compile(r"\{[\w:.*-]{1,40}\}|<[\w:. -]{1,40}>|:[a-zA-Z_]\w{0,40}", re.ASCII)

# Whole segments, the most specific first.
_SEGMENTS: Compiled = tuple(
    (re.compile(pattern, re.ASCII | re.IGNORECASE), placeholder)
    for pattern, placeholder in (
        (r"[^@\s]{1,64}@[a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z]{2,24}", "{email}"),
        (r"\{?[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}\}?", "{uuid}"),
        (r"\d{4}-\d{2}(?:-\d{2}(?:[t ][\d:.]+(?:z|[+-]\d{2}:?\d{2})?)?)?", "{date}"),
        (r"\d{1,3}(?:\.\d{1,3}){3}", "{ip}"),
        # 2.0 is the version of an API, 52.5163 a coordinate.
        (r"[+-]?\d+|[+-]?\d+\.\d{3,}", "{number}"),
        (r"[0-9a-f]{16,}", "{hash}"),
        (r"[0-7][0-9a-hjkmnp-tv-z]{25}", "{id}"),  # ULID
    )
)

# The words of a segment. All of v1, api2, oauth2, k8s, v1beta1, gpt-4o, llama-v3p1-70b are words; usr_8f3k2
# has a part that is none.
_WORDS = re.compile(r"[^a-zA-Z0-9]+")
_VERSION = re.compile(r"v\d{1,3}(?:(?:p|alpha|beta|rc)\d{0,2}){0,2}", re.IGNORECASE)
_YEAR = re.compile(r"(?:19|20)\d\d")
# What camelCase is made of, and what nobody can pronounce.
_PIECES = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_CONSONANTS = re.compile(r"[b-df-hj-np-tv-xz]{6}", re.IGNORECASE)
_LONGEST_WORD = 30
_NAMED = frozenset({"sha256", "sha384", "sha512", "x509", "h264", "h265", "es256", "rs256", "hs256", "utf16"})


@dataclass(frozen=True, slots=True, init=False)
class PathTemplate:
    """A path with placeholders for ids, UUIDs, hashes, numbers, dates, addresses and tokens.

    ``patterns`` are pairs of a regular expression for a whole segment and a placeholder, tried first. Query,
    fragment, scheme, host and matrix parameters (``;jsessionid=…``) are cut; after ``max_segments`` segments
    comes ``{more}``. There is no bound: what looks like words is taken for a route. Put
    :class:`First` after it.

    >>> template = PathTemplate([(r"t-[a-z]+", "{tenant}")])
    >>> template("/v1/t-acme/users/17?page=2"), template("https://example.com/v1/chat/completions")
    ('/v1/{tenant}/users/{number}', '/v1/chat/completions')
    """

    patterns: Compiled
    max_segments: int

    def __init__(self, patterns: Iterable[Pattern] = (), *, max_segments: int = 10) -> None:
        object.__setattr__(self, "patterns", checked_patterns("PathTemplate.patterns", patterns))
        segments = checked_whole("PathTemplate.max_segments", max_segments)
        object.__setattr__(self, "max_segments", segments)

    @property
    def max_values(self) -> None:
        """No bound of its own."""
        return None

    def __call__(self, value: str) -> str:
        """The template of a path, or of a URL's path."""
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
        return segment if all(map(_is_word, _WORDS.split(plain))) else "{id}"


def _is_word(text: str) -> bool:
    """Whether this part of a segment could be part of a route, and not of an id or a token.

    >>> [_is_word(text) for text in ("getUserById", "oauth2", "v1beta1", "8f3k2", "20241022", "NfFeUfV2Hi")]
    [True, True, True, False, False, False]
    """
    digits = sum(map(str.isdigit, text))
    if len(text) > _LONGEST_WORD:
        return False
    if digits < 3:
        pieces = len(_PIECES.findall(text))
        scrambled = pieces >= 5 and len(text) < 2.75 * pieces
        return not (scrambled or (digits and len(text) >= 12 and _CONSONANTS.search(text)))
    if digits == len(text):  # order-123, report-2024; gpt-4-0613 is given up for it
        return digits == 3 or _YEAR.fullmatch(text) is not None
    return _VERSION.fullmatch(text) is not None or text.lower() in _NAMED

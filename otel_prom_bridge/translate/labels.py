"""Translates attributes into labels: their names, their values, and two keys that become one label.

https://github.com/open-telemetry/opentelemetry-specification/blob/main/specification/compatibility/prometheus_and_openmetrics.md#metric-attributes
"""

from __future__ import annotations

import base64
import json
import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from otel_prom_bridge.families import Labels
from otel_prom_bridge.interrupts import sheltered

_FOREIGN = re.compile(r"[^a-zA-Z0-9]+")

# Attribute keys are few and come back with every new series, so they are remembered. The bound is there
# because some producers put data into keys.
_KEYS_REMEMBERED = 4096
_PAIRS_REMEMBERED = 1024
_LAYOUTS_REMEMBERED = 256


@lru_cache(maxsize=_KEYS_REMEMBERED)
def label_name(key: str) -> str:
    """The label name of an attribute key. It always matches ``[a-zA-Z_][a-zA-Z0-9_]*``.

    A run of foreign characters and underscores becomes one ``_``. So no name begins with ``__``, which
    Prometheus keeps for itself. A name that would begin with a digit gets the prefix ``key_``, as in
    otlptranslator, so that ``1x`` and ``2x`` stay two labels.

    >>> label_name("http.response.status_code"), label_name("2xx"), label_name("__name__")
    ('http_response_status_code', 'key_2xx', '_name_')
    """
    name = _FOREIGN.sub("_", key) or "_"
    return f"key_{name}" if name[0].isdigit() else name


# What JSON has as it is.
_JSON = frozenset({str, int, bool, type(None)})


def label_value(value: object) -> str:
    """The text of an attribute value, by the common rules of the specification.

    https://github.com/open-telemetry/opentelemetry-specification/blob/main/specification/common/README.md#anyvalue-representation-for-non-otlp-protocols

    Strings stay as they are. Booleans are ``true`` and ``false``. Numbers, arrays and maps are written as
    JSON, numbers that JSON does not have as ``NaN``, ``Infinity`` and ``-Infinity``, and bytes as Base64.
    None is the empty string. A lone surrogate, which no encoding can carry, becomes U+FFFD. Types that
    OpenTelemetry does not know are written with ``str()``. An integer of too many digits is written in
    hexadecimal, and any other object whose ``str()`` fails as ``<type name>``.
    """
    if type(value) is str and value.isascii():
        return value
    try:
        return valid_unicode(_text(value) if type(value) is str else sheltered(_text, value))
    except Exception:
        return hex(value) if isinstance(value, int) else f"<{type(value).__name__}>"


def _text(value: object) -> str:
    if isinstance(value, str):
        return str.__str__(value)  # a member of a string enum has its value here, not its name
    if value is None:
        return ""
    if isinstance(value, (int, float, bytes, bytearray)):
        plain = _json_value(value)
        return plain if isinstance(plain, str) else json.dumps(plain)
    if isinstance(value, (Mapping, Sequence)):
        return json.dumps(_json_value(value), ensure_ascii=False)
    return str(value)


def shortened(text: str, longest: int) -> str:
    """The text, cut so that it has at most ``longest`` characters, of which the last is then an ellipsis."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def valid_unicode(text: str) -> str:
    """The text with U+FFFD in the place of lone surrogates. Pairs of surrogates become one character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


class Layout:
    """Which labels attributes of these keys become, and in which order, whatever their values are.

    Nearly all series of a metric have the same keys, so this is found out once for all of them. ``keys`` and
    ``names`` are those of all attributes and of the labels that they become. If several keys become one
    label, their values are joined with ``;`` in the order of the original keys, so none is lost. The last
    attributes have the values ``known``, which are the same for all series; those of the others are given
    to :meth:`labels`. ``defaults`` are labels of every series, which stand where nothing else gives them a
    value. A value has at most ``longest`` characters; 0 stands for any number.
    """

    __slots__ = ("_joined", "_longest", "_pairs", "_single")

    def __init__(
        self,
        keys: Sequence[str],
        names: Iterable[str],
        *,
        known: Iterable[object] = (),
        defaults: Labels = (),
        longest: int = 0,
    ) -> None:
        self._longest = longest or sys.maxsize
        texts = [label_value(value) for value in known]
        missing: list[str | None] = [None] * (len(keys) - len(texts))
        found: dict[str, list[tuple[str, str | None, int]]] = {name: [] for name, _ in defaults}
        for index, (key, name, text) in enumerate(zip(keys, names, [*missing, *texts], strict=True)):
            found.setdefault(name, []).append((key, text, index))
        given = dict(defaults)
        # Of each label its text, if that is known. Otherwise its place, its name and where its text comes
        # from are in one of the others.
        self._pairs: list[tuple[str, str]] = []
        self._single: list[tuple[int, str, str, int]] = []
        self._joined: list[tuple[int, str, str, list[tuple[str | None, int]]]] = []
        for place, name in enumerate(sorted(found)):
            # "their values MUST be concatenated together, separated by ;, and ordered by the lexicographical
            # order of the original keys". For one key, attributes of the point stay before those of others.
            default, text, sources = given.get(name, ""), "", found[name]
            if len(sources) == 1 and sources[0][1] is None:  # as nearly all are
                self._single.append((place, name, default, sources[0][2]))
                self._pairs.append((name, text))
                continue
            parts = [part[1:] for part in sorted(sources, key=_key_of)]
            if all(known is not None for known, _ in parts):
                text = self._text(parts, ()) or default
            else:
                self._joined.append((place, name, default, parts))
            self._pairs.append(_shared(name, text))

    def labels(self, values: Sequence[object]) -> Labels:
        """The labels of a series whose attributes have these values, in the order of the keys."""
        pairs, longest = self._pairs.copy(), self._longest
        for place, name, default, index in self._single:
            value = values[index]
            text = value if type(value) is str and value.isascii() else label_value(value)
            if len(text) > longest:
                text = shortened(text, longest)
            pairs[place] = _shared(name, text or default)
        for place, name, default, parts in self._joined:
            pairs[place] = (name, self._text(parts, values) or default)
        return tuple(pairs)

    def _text(self, parts: Iterable[tuple[str | None, int]], values: Sequence[object]) -> str:
        """The value of a label that several attributes become."""
        texts = [label_value(values[index]) if text is None else text for text, index in parts]
        return shortened(";".join(texts), self._longest)


def _key_of(part: tuple[str, str | None, int]) -> str:
    return part[0]


def labels(
    attributes: Iterable[tuple[str, object]],
    *,
    reserved: frozenset[str] = frozenset(),
    escape: bool = True,
    longest: int = 0,
) -> Labels:
    """The labels of one series, sorted by name, as a :class:`Layout` has them.

    A label in ``reserved`` gets the prefix ``exported_``, which is Prometheus' own word for a label that had
    to make way. An example is ``le`` on a histogram, which would break the buckets. Without ``escape`` the
    keys stay as they are.

    >>> labels({"foo.bar": "a", "foo-bar": "b"}.items())
    (('foo_bar', 'b;a'),)
    """
    items = list(attributes)
    layout = _layout(tuple([key for key, _ in items]), reserved, escape, longest)
    return layout.labels([value for _, value in items])


@lru_cache(maxsize=_LAYOUTS_REMEMBERED)
def _layout(keys: tuple[str, ...], reserved: frozenset[str], escape: bool, longest: int) -> Layout:
    return Layout(keys, [translated(key, reserved, escape=escape) for key in keys], longest=longest)


@lru_cache(maxsize=_KEYS_REMEMBERED)
def translated(key: str, reserved: frozenset[str], *, escape: bool) -> str:
    """The name of the label that an attribute becomes."""
    # "NoTranslation … leaves label names unaltered". But an empty name cannot be a label at all.
    name = label_name(key) if escape else valid_unicode(key) or "_"
    # Prometheus keeps names that begin with two underscores for itself. A __name__ would break the scrape.
    return f"exported_{name}" if name in reserved or name.startswith("__") else name


# Of the labels of a series most are those of others, too, as the scope's are. So the pairs are shared.
_pairs: dict[tuple[str, str], tuple[str, str]] = {}


def _shared(name: str, value: str) -> tuple[str, str]:
    pair = (name, value)
    if len(_pairs) >= _PAIRS_REMEMBERED:
        _pairs.clear()
    return _pairs.setdefault(pair, pair)


def attribute_identity(attributes: Mapping[str, object]) -> str:
    """A text that is equal for equal sets of attributes, and for no others."""
    items = sorted(attributes.items(), key=lambda item: item[0])
    try:
        # repr() tells 1, True, 1.0 and "1" apart, as the SDK does, and gives NaN one identity.
        return sheltered(repr, items)
    except Exception:  # an integer of too many digits, an object whose repr() fails
        return repr([(key, label_value(value)) for key, value in items])


def _json_value(value: object) -> object:
    if type(value) in _JSON:  # as nearly all that is in a list
        return value
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else str(key): _json_value(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_json_value(item) for item in value]
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    return str(value)

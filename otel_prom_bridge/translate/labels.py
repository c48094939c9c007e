"""Translates attributes into labels: their names, their values, and two keys that become one label.

https://github.com/open-telemetry/opentelemetry-specification/blob/main/specification/compatibility/prometheus_and_openmetrics.md#metric-attributes
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from otel_prom_bridge.families import Labels
from otel_prom_bridge.interrupts import sheltered

_FOREIGN = re.compile(r"[^a-zA-Z0-9]+")

# Attribute keys are few and come back with every new series, so they are remembered. The bound is there
# because some producers put data into keys.
_KEYS_REMEMBERED = 4096
_PAIRS_REMEMBERED = 1024


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


def labels(
    attributes: Iterable[tuple[str, object]],
    *,
    reserved: frozenset[str] = frozenset(),
    escape: bool = True,
) -> Labels:
    """The labels of one series, sorted by name.

    ``attributes`` may have a key more than once: the attributes of the point come first, then those of its
    scope and resource. If several keys become one label, their values are joined with ``;`` in the order of
    the original keys, so none is lost. A label in ``reserved`` gets the prefix ``exported_``, which is
    Prometheus' own word for a label that had to make way. An example is ``le`` on a histogram, which would
    break the buckets. Without ``escape`` the keys stay as they are.

    >>> labels({"foo.bar": "a", "foo-bar": "b"}.items())
    (('foo_bar', 'b;a'),)
    """
    items = [(key, _name_of(key, reserved, escape), label_value(value)) for key, value in attributes]
    single = {name: text for _, name, text in items}
    if len(single) == len(items):  # as nearly always: no two keys become one label
        return tuple([_pair(name, single[name]) for name in sorted(single)])
    found: dict[str, list[tuple[str, str]]] = {}
    for key, name, text in items:
        found.setdefault(name, []).append((key, text))
    return tuple(sorted(_pair(name, _joined(values)) for name, values in found.items()))


@lru_cache(maxsize=_KEYS_REMEMBERED)
def _name_of(key: str, reserved: frozenset[str], escape: bool) -> str:
    # "NoTranslation … leaves label names unaltered". But an empty name cannot be a label at all.
    name = label_name(key) if escape else valid_unicode(key) or "_"
    # Prometheus keeps names that begin with two underscores for itself. A __name__ would break the scrape.
    return f"exported_{name}" if name in reserved or name.startswith("__") else name


# Of the labels of a series most are those of others, too, as the scope's are. So the pairs are shared.
@lru_cache(maxsize=_PAIRS_REMEMBERED)
def _pair(name: str, value: str) -> tuple[str, str]:
    return (name, value)


def attribute_identity(attributes: Mapping[str, object]) -> str:
    """A text that is equal for equal sets of attributes, and for no others."""
    items = sorted(attributes.items(), key=lambda item: item[0])
    try:
        # repr() tells 1, True, 1.0 and "1" apart, as the SDK does, and gives NaN one identity.
        return sheltered(repr, items)
    except Exception:  # an integer of too many digits, an object whose repr() fails
        return repr([(key, label_value(value)) for key, value in items])


def _joined(values: list[tuple[str, str]]) -> str:
    # "their values MUST be concatenated together, separated by ;, and ordered by the lexicographical order
    # of the original keys". Sorting is stable: for one key, point attributes stay before scope labels.
    if len(values) > 1:
        values.sort(key=lambda pair: pair[0])
    return ";".join(text for _, text in values)


def _json_value(value: object) -> object:
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

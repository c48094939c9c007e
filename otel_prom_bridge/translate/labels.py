"""OTel attributes → Prometheus labels: names, values, and what happens when two keys become one label.

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

# Attribute keys are few and come back with every new series. The bound is for producers that put data
# into keys.
_KEYS_REMEMBERED = 4096


@lru_cache(maxsize=_KEYS_REMEMBERED)
def label_name(key: str) -> str:
    """The label name of an attribute key, always matching ``[a-zA-Z_][a-zA-Z0-9_]*``.

    Runs of foreign characters and underscores become one ``_``, so no name starts with the ``__`` that
    Prometheus reserves. A leading digit gets the prefix ``key_`` (as in otlptranslator), so that ``1x``
    and ``2x`` stay two labels.

    >>> label_name("http.response.status_code"), label_name("2xx"), label_name("__name__")
    ('http_response_status_code', 'key_2xx', '_name_')
    """
    name = _FOREIGN.sub("_", key) or "_"
    return f"key_{name}" if name[0].isdigit() else name


def label_value(value: object) -> str:
    """The string form of an attribute value, by the specification's common rules.

    https://github.com/open-telemetry/opentelemetry-specification/blob/main/specification/common/README.md#anyvalue-representation-for-non-otlp-protocols

    Strings as they are, ``true``/``false``, numbers as JSON, ``NaN``/``Infinity``/``-Infinity``, bytes as
    Base64, None as the empty string, arrays and maps as JSON. Lone surrogates, which no encoding can
    carry, become U+FFFD. Types that OTel does not know use ``str()``. What cannot be printed at all (an
    integer of too many digits, an object whose ``str()`` fails) is hexadecimal or ``<type name>``.
    """
    try:
        return valid_unicode(_text(value) if type(value) is str else sheltered(_text, value))
    except Exception:
        return hex(value) if isinstance(value, int) else f"<{type(value).__name__}>"


def _text(value: object) -> str:
    if isinstance(value, str):
        return str.__str__(value)  # of a member of a string enum: its value, not its name
    if value is None:
        return ""
    if isinstance(value, (int, float, bytes, bytearray)):
        plain = _json_value(value)
        return plain if isinstance(plain, str) else json.dumps(plain)
    if isinstance(value, (Mapping, Sequence)):
        return json.dumps(_json_value(value), ensure_ascii=False)
    return str(value)


def shortened(text: str, longest: int) -> str:
    """The text, or as much of it as fits into so many characters with an ellipsis at its end."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def valid_unicode(text: str) -> str:
    """The text with lone surrogates replaced by U+FFFD (and surrogate pairs joined)."""
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
    """Labels of one series, sorted by name.

    ``attributes`` may repeat a key: point attributes first, then what the bridge adds (scope, resource).
    Where several keys become one label, the values are joined with ``;`` in the order of the original
    keys, so none is lost. A label in ``reserved`` (``le`` on a histogram, which would corrupt the
    buckets) gets the prefix ``exported_``, Prometheus' own word for a label that had to make way.
    Without ``escape`` the keys stay as they are.

    >>> labels({"foo.bar": "a", "foo-bar": "b"}.items())
    (('foo_bar', 'b;a'),)
    """
    found: dict[str, list[tuple[str, str]]] = {}
    for key, value in attributes:
        # "NoTranslation … leaves label names unaltered"; an empty one cannot be a label at all.
        name = label_name(key) if escape else valid_unicode(key) or "_"
        # Prometheus reserves names that begin with two underscores; a __name__ would break the scrape.
        if name in reserved or name.startswith("__"):
            name = f"exported_{name}"
        found.setdefault(name, []).append((key, label_value(value)))
    return tuple(sorted((name, _joined(values)) for name, values in found.items()))


def attribute_identity(attributes: Mapping[str, object]) -> str:
    """What makes an attribute set one."""
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

"""The kinds of instruments, as options and views name them: ``counter``, ``observable_gauge``, ….

The names are the keys of ``cardinality_limits`` in the declarative configuration.
https://github.com/open-telemetry/opentelemetry-configuration/blob/main/schema/meter_provider.yaml
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from otel_prom_bridge.sdk.meanings import INSTRUMENTS
from otel_prom_bridge.values.checks import POSITIVE, Check, no_word, read_whole
from otel_prom_bridge.values.notation import listed

INSTRUMENTS_BY_NAME: Mapping[str, type] = {
    re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.__name__.lstrip("_")).lower(): kind for kind in INSTRUMENTS
}
_NAMES = tuple(INSTRUMENTS_BY_NAME)
_LIMIT_KEYS = (*_NAMES, "default")


def _instrument(value: object) -> str | type:
    if isinstance(value, str) and value in INSTRUMENTS_BY_NAME:
        return value
    if isinstance(value, type) and value in INSTRUMENTS:
        return value
    raise no_word(value, _NAMES)


def _limits(value: object) -> dict[type, int]:
    if not isinstance(value, Mapping):
        raise TypeError
    given = {key: POSITIVE.check(limit) for key, limit in value.items() if limit is not None}
    default = given.pop("default", None)
    limits = {} if default is None else dict.fromkeys(INSTRUMENTS, default)
    for key, limit in given.items():
        kind = INSTRUMENTS_BY_NAME.get(key, key)
        if kind not in INSTRUMENTS:
            raise no_word(key, _LIMIT_KEYS)
        limits[kind] = limit
    return limits


def _read_limits(text: str) -> dict[str, object]:
    pairs = (item.partition("=") for item in text.split(","))
    return {key.strip(): read_whole(value.strip()) for key, _, value in pairs}


INSTRUMENT = Check(allowed=f"one of {listed(_NAMES)}", check=_instrument)
LIMITS = Check(
    allowed=f"a mapping of {listed(_LIMIT_KEYS)} to whole numbers of at least 1",
    example="counter=500,default=1000",
    check=_limits,
    read=_read_limits,
)

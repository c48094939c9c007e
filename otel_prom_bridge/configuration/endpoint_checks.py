"""What the options of the endpoint may be, as far as the endpoint itself does not say it."""

from __future__ import annotations

import math

from otel_prom_bridge.values.checks import SECONDS, TEXT, Check, list_of, one_of


def _rate(value: object) -> float:
    rate: float = SECONDS.check(value)
    if not 1 / rate < math.inf:
        raise ValueError
    return rate


NAMES = list_of(TEXT, "a list of names, at least one", least=1, example="prometheus.internal,ops@example.com")
RATE = Check(allowed="a number of requests per second, above zero", check=_rate, read=float)
TLS_VERSION = one_of("TLS12", "TLS13")

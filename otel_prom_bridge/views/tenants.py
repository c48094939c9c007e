"""How many series a metric, a tenant and the bridge may have, here and in the SDK.

Two tables hold series: the SDK's, which in delta mode starts empty at every collection, and our store, which
remembers. Ours is the one that bounds a process. A point that goes to its overflow series still counts
there, and what was known before keeps its series. What lands in the SDK's overflow point can no longer be
told apart, so the SDK's limit stays well above ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.points import Stream
from otel_prom_bridge.sdk.meanings import INSTRUMENTS, instruments_of
from otel_prom_bridge.values.checks import POSITIVE, STRING, TEXT, Check, check_fields

# The specification's default for a stream.
# https://github.com/open-telemetry/opentelemetry-specification/blob/main/specification/metrics/sdk.md#cardinality-limits
DEFAULT_MAX_SERIES = 2000
SDK_LIMIT_AT_LEAST = 20_000

_TIMES = 10  # the SDK's limit, by ours


def sdk_limit(max_series: int) -> int:
    """The SDK's limit where ours is ``max_series``: the larger of 20,000 and ten times that."""
    return max(SDK_LIMIT_AT_LEAST, _TIMES * max_series)


def sdk_limits(given: Mapping[type, int], default: int) -> dict[type, int]:
    """The SDK's limit for each instrument class: the default, or more where our limit asks for more.

    ``given`` are our limits. If they were the SDK's own, its tables would fill first come, first served in
    every cycle, and a flood between two collections would take the places of the series that we know.
    """
    return {kind: max(default, _TIMES * given.get(kind, 0)) for kind in INSTRUMENTS}


def recorded_limit(stream: Stream, given: Mapping[type, int], default: int) -> int:
    """The same for one stream, where it is not the SDK that records it."""
    return max(default, _TIMES * stream_limit(stream, given, 0))


def stream_limit(stream: Stream, given: Mapping[type, int], max_series: int) -> int:
    """Our limit for a stream: what was given for its instrument class, or ``max_series``."""
    classes = instruments_of(stream.meaning)
    return max((given[kind] for kind in classes if kind in given), default=max_series)


def _limits(value: object) -> dict[str, int]:
    if not isinstance(value, Mapping) or not value:
        raise TypeError
    return {str(tenant): POSITIVE.value(f"[{tenant!r}]", limit) for tenant, limit in value.items()}


_CHECKS = {
    "attribute": TEXT,
    "limits": Check(allowed="a mapping of tenants to whole numbers of at least 1", check=_limits),
    "other": STRING,
    "other_limit": POSITIVE,
}


@dataclass(frozen=True, slots=True)
class Tenants:
    """The tenants of a service, each with a limit of its own, so that none floods the others.

    Args:
        attribute: the attribute that names the tenant. Points without it belong to nobody.
        limits: for each tenant the number of series that it may have in the whole bridge, whatever the limits
            of metrics and of the bridge are. Further series go to ``otel_metric_overflow="true"`` with its
            label.
        other: what the label says of a tenant that is not in ``limits``. It must not be a name from there.
        other_limit: the number of series that all other tenants may have together, within the common limits.

    Raises:
        ConfigurationError: a value that cannot work.
    """

    attribute: str
    limits: Mapping[str, int]
    other: str = "other"
    other_limit: int = DEFAULT_MAX_SERIES

    def __post_init__(self) -> None:
        check_fields(self, _CHECKS, title="tenant.")
        if self.other in self.limits:  # whoever is not listed would be counted as that tenant
            raise ConfigurationError("tenant.other", self.other, "a name that no tenant in 'limits' has")

    def known(self, value: str) -> str:
        """The tenant as its label says it."""
        return value if value in self.limits else self.other

    def limit(self, tenant: str) -> int:
        """The number of series of a tenant."""
        return self.limits.get(tenant, self.other_limit)

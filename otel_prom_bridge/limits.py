"""How many series a metric, a tenant and the bridge may have, here and in the SDK.

Two tables hold series: the SDK's, which in delta mode starts empty at every collection, and our store,
which remembers. Ours is the one that bounds a process, because a point that went to *its* overflow series
still counts there, and what was known before keeps its series. What lands in the SDK's overflow point can
no longer be told apart, so its limit stays well above ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from opentelemetry.sdk.metrics import (
    Counter,
    Histogram,
    ObservableCounter,
    ObservableGauge,
    ObservableUpDownCounter,
    UpDownCounter,
)
from opentelemetry.sdk.metrics import _Gauge as Gauge  # the SDK's public name for it

from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.families import Kind
from otel_prom_bridge.primitives import is_whole
from otel_prom_bridge.translate.points import Meaning, Shape, Stream

# The specification's default for a stream.
# https://github.com/open-telemetry/opentelemetry-specification/blob/main/specification/metrics/sdk.md#cardinality-limits
DEFAULT_MAX_SERIES = 2000
SDK_LIMIT_AT_LEAST = 20_000

_TIMES = 10  # the SDK's limit, by ours

INSTRUMENTS: tuple[type, ...] = (
    Counter,
    UpDownCounter,
    Histogram,
    Gauge,
    ObservableCounter,
    ObservableUpDownCounter,
    ObservableGauge,
)

HISTOGRAM: tuple[type, ...] = (Histogram,)

_INSTRUMENTS_OF: Mapping[Meaning, tuple[type, ...]] = {
    Meaning(Kind.COUNTER, accumulates=True, additive=True): (Counter,),
    Meaning(Kind.COUNTER, accumulates=False, additive=True): (ObservableCounter,),
    Meaning(Kind.GAUGE, accumulates=True, additive=True): (UpDownCounter,),
    Meaning(Kind.GAUGE, accumulates=False, additive=True): (ObservableUpDownCounter,),
    Meaning(Kind.GAUGE, accumulates=False, additive=False): (Gauge, ObservableGauge),
    Meaning(Kind.HISTOGRAM, True, True, Shape.BUCKETS): (Histogram,),
    Meaning(Kind.HISTOGRAM, True, True, Shape.EXPONENTIAL): (Histogram,),
}

# The type of the family that an instrument's points become, by its class.
KINDS: Mapping[type, Kind] = {
    instrument: meaning.kind for meaning, classes in _INSTRUMENTS_OF.items() for instrument in classes
}


def instruments_of(meaning: Meaning) -> tuple[type, ...]:
    """The instruments that make points of this meaning by default; none for what only SDK Views make."""
    return _INSTRUMENTS_OF.get(meaning, ())


def sdk_limit(max_series: int) -> int:
    """The SDK's limit where ours is ``max_series``: the larger of 20,000 and ten times that."""
    return max(SDK_LIMIT_AT_LEAST, _TIMES * max_series)


def sdk_limits(given: Mapping[type, int], default: int) -> dict[type, int]:
    """The SDK's limit per instrument class: the default, or more where our limit for it asks for more.

    ``given`` are our limits. As the SDK's own they would fill first come, first served in every cycle: a
    flood between two collections would take the places of the series that we know.
    """
    return {kind: max(default, _TIMES * given.get(kind, 0)) for kind in INSTRUMENTS}


def stream_limit(stream: Stream, given: Mapping[type, int], max_series: int) -> int:
    """Our limit for a stream: what was given for its instrument class, or ``max_series``."""
    classes = instruments_of(stream.meaning)
    return max((given[kind] for kind in classes if kind in given), default=max_series)


@dataclass(frozen=True, slots=True)
class Tenants:
    """The tenants of a service, each with a limit of its own, so that none floods the others.

    Args:
        attribute: the attribute that names the tenant. Points without it belong to nobody.
        limits: tenant → the number of series that it may have in the whole bridge, whatever the limits of
            metrics and of the bridge are. Further ones go to ``otel_metric_overflow="true"`` with its label.
        other: what the label says of a tenant that is not in ``limits``; no name that is there.
        other_limit: the number of series that all others may have together, within the common limits.

    Raises:
        ConfigurationError: a value that cannot work.
    """

    attribute: str
    limits: Mapping[str, int]
    other: str = "other"
    other_limit: int = DEFAULT_MAX_SERIES

    def __post_init__(self) -> None:
        if not isinstance(self.attribute, str) or not self.attribute:
            raise ConfigurationError("tenant.attribute", self.attribute, "an attribute key")
        if not isinstance(self.other, str):
            raise ConfigurationError("tenant.other", self.other, "a string")
        if not isinstance(self.limits, Mapping) or not self.limits:
            expected = "a mapping of tenants to whole numbers of at least 1"
            raise ConfigurationError("tenant.limits", self.limits, expected)
        limits = {f"tenant.limits[{tenant!r}]": limit for tenant, limit in self.limits.items()}
        for key, limit in (*limits.items(), ("tenant.other_limit", self.other_limit)):
            if not is_whole(limit):
                raise ConfigurationError(key, limit, "a whole number of at least 1")
        object.__setattr__(self, "limits", {str(tenant): limit for tenant, limit in self.limits.items()})
        if self.other in self.limits:  # whoever is not listed would be counted as that tenant
            raise ConfigurationError("tenant.other", self.other, "a name that no tenant in 'limits' has")

    def known(self, value: str) -> str:
        """The tenant as its label says it."""
        return value if value in self.limits else self.other

    def limit(self, tenant: str) -> int:
        """The number of series of a tenant."""
        return self.limits.get(tenant, self.other_limit)


class Budget:
    """A number of series that may exist, and how many do."""

    __slots__ = ("limit", "option", "used", "whose")

    def __init__(self, limit: int, *, whose: str, option: str) -> None:
        self.limit = limit
        self.used = 0
        self.whose = whose  # for messages, as the option that sets the limit
        self.option = option

    @property
    def is_full(self) -> bool:
        """Nothing more fits in."""
        return self.used >= self.limit


class Budgets:
    """The budgets of one store: of each family, of each tenant, and of the bridge."""

    def __init__(self, *, max_series: int | None, tenants: Tenants | None) -> None:
        self._bridge = () if max_series is None else (_common(max_series),)
        self._tenants = tenants
        self._families: dict[str, Budget] = {}
        self._by_tenant: dict[str, Budget] = {}

    def family(self, name: str, limit: int) -> Budget:
        """The budget of a family; where several views feed it, the largest of their limits counts."""
        budget = self._families.setdefault(name, _own(limit))
        budget.limit = max(budget.limit, limit)
        return budget

    def most(self, name: str, *, wanted: float, overflows: int) -> int:
        """The series that a family may have, if it has no more attribute sets than ``wanted``.

        Those past a limit are included, since the SDK's limit may be reached where none of ours is: as many
        as there are ``overflows`` with labels of their own, and as many again per tenant.
        """
        limit = min(budget.limit for budget in (self._families[name], *self._bridge))
        tenants = 0
        if self._tenants is not None:
            tenants = len({*self._tenants.limits, self._tenants.other})
            limit += sum(self._tenants.limits.values())
        return int(min(wanted, limit)) + overflows * (1 + tenants)

    def may_be_full(self, family: Budget) -> bool:
        """Whether some new series of a family may not fit in."""
        return self._tenants is not None or any(budget.is_full for budget in (family, *self._bridge))

    def of(self, family: Budget, tenant: str | None) -> tuple[Budget, ...]:
        """All budgets that a new series of a family must fit into.

        A listed tenant has a budget of its own instead of the common ones, or one tenant could fill those and
        leave nothing to the others.
        """
        if tenant is None or self._tenants is None:
            return (family, *self._bridge)
        budget = self._by_tenant.get(tenant)
        if budget is None:  # tenants are a list, so this does not grow
            budget = self._by_tenant[tenant] = _of_tenant(self._tenants, tenant)
        return (budget,) if tenant in self._tenants.limits else (family, budget, *self._bridge)


def _own(limit: int) -> Budget:
    return Budget(limit, whose="its own", option="max_series_per_metric or a view's max_series")


def _common(limit: int) -> Budget:
    return Budget(limit, whose="all metrics together", option="max_series")


def _of_tenant(tenants: Tenants, tenant: str) -> Budget:
    option = f"limits[{tenant!r}]" if tenant in tenants.limits else "other_limit"
    return Budget(tenants.limit(tenant), whose=f"the tenant {tenant!r}", option=f"the tenant's {option}")

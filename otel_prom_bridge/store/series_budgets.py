"""How many series and lines a metric, a tenant and the bridge may have, and how many they do."""

from __future__ import annotations

from collections.abc import Sequence

from otel_prom_bridge.views.tenants import Tenants

_LINES = "lines"


class SeriesBudget:
    """A number of series, or of their lines, that may exist, and how many do.

    ``unit``, ``whose`` and ``option`` are for messages: what is counted, whose that is, and the option that
    sets the limit. ``step`` is what one more series takes at most.
    """

    __slots__ = ("limit", "option", "step", "unit", "used", "whose")

    def __init__(self, limit: int, *, whose: str, option: str, unit: str = "series") -> None:
        self.limit = limit
        self.used = 0
        self.step = 1
        self.unit = unit
        self.whose = whose
        self.option = option

    def __str__(self) -> str:
        return f"{self.limit} {self.unit} of {self.whose}"

    @property
    def is_full(self) -> bool:
        """Whether no further series fits in."""
        return self.used + self.step > self.limit

    def add(self, lines: int) -> None:
        """Take up the room of a series that has so many lines."""
        self.step = lines if self.unit == _LINES else 1
        self.used += self.step

    def remove(self, lines: int) -> None:
        """Give that room back."""
        self.used -= lines if self.unit == _LINES else 1


class SeriesBudgets:
    """The budgets of one store: of each family, of each tenant, and of the bridge."""

    def __init__(self, *, max_series: int | None, max_lines: int, tenants: Tenants | None) -> None:
        self._max_lines = max_lines
        self._lines: dict[str, SeriesBudget] = {}
        self._bridge = () if max_series is None else (_common(max_series),)
        self._tenants = tenants
        self._families: dict[str, SeriesBudget] = {}
        self._by_tenant: dict[str, SeriesBudget] = {}
        self._together: dict[tuple[tuple[SeriesBudget, ...], str | None], tuple[SeriesBudget, ...]] = {}

    def family(self, name: str, limit: int) -> SeriesBudget:
        """The budget of a family. Where several views feed it, the largest of their limits counts."""
        budget = self._families.setdefault(name, _own(limit))
        budget.limit = max(budget.limit, limit)
        return budget

    def lines(self, name: str) -> tuple[SeriesBudget, ...]:
        """The budget of the lines of a family whose series have many; none if they are not limited."""
        if not self._max_lines:
            return ()
        return (self._lines.setdefault(name, _lines_of(self._max_lines)),)

    def most(self, name: str, *, wanted: float, overflows: int) -> int:
        """The number of series that a family may have, if it has no more attribute sets than ``wanted``.

        The series for what is past a limit are included, since the SDK's limit may be reached where none of
        ours is. There are as many of them as there are ``overflows`` with labels of their own, and as many
        again for each tenant.
        """
        limits = [budget.limit for budget in (self._families[name], *self._bridge)]
        lines = self._lines.get(name)
        if lines is not None:
            limits.append(lines.limit // lines.step)
        limit = min(limits)
        tenants = 0
        if self._tenants is not None:
            tenants = len({*self._tenants.limits, self._tenants.other})
            limit += sum(self._tenants.limits.values())
        return int(min(wanted, limit)) + overflows * (1 + tenants)

    def use(self) -> list[tuple[str, SeriesBudget]]:
        """All budgets that there are, each with the family that it is of, or an empty string."""
        own = [*self._families.items(), *self._lines.items()]
        return [*own, *(("", budget) for budget in (*self._bridge, *self._by_tenant.values()))]

    def may_be_full(self, family: Sequence[SeriesBudget]) -> bool:
        """Whether some new series of a family, whose own budgets these are, may not fit in."""
        return self._tenants is not None or any(budget.is_full for budget in (*family, *self._bridge))

    def of(self, family: tuple[SeriesBudget, ...], tenant: str | None) -> tuple[SeriesBudget, ...]:
        """All budgets that a new series of a family must fit into, given the family's own ones.

        A listed tenant has a budget of its own instead of the common ones. Otherwise one tenant could fill
        those and leave nothing to the others.
        """
        found = self._together.get((family, tenant))
        if found is None:  # neither families nor tenants are many
            found = self._together[(family, tenant)] = self._of(family, tenant)
        return found

    def _of(self, family: tuple[SeriesBudget, ...], tenant: str | None) -> tuple[SeriesBudget, ...]:
        if tenant is None or self._tenants is None:
            return (*family, *self._bridge)
        budget = self._by_tenant.get(tenant)
        if budget is None:  # the tenants are a fixed list, so this does not grow
            budget = self._by_tenant[tenant] = _of_tenant(self._tenants, tenant)
        return (budget,) if tenant in self._tenants.limits else (*family, budget, *self._bridge)


def _lines_of(limit: int) -> SeriesBudget:
    return SeriesBudget(limit, whose="its own", option="max_lines_per_metric", unit=_LINES)


def _own(limit: int) -> SeriesBudget:
    return SeriesBudget(limit, whose="its own", option="max_series_per_metric or a view's max_series")


def _common(limit: int) -> SeriesBudget:
    return SeriesBudget(limit, whose="all metrics together", option="max_series")


def _of_tenant(tenants: Tenants, tenant: str) -> SeriesBudget:
    option = f"limits[{tenant!r}]" if tenant in tenants.limits else "other_limit"
    return SeriesBudget(
        tenants.limit(tenant), whose=f"the tenant {tenant!r}", option=f"the tenant's {option}"
    )

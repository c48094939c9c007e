"""What a bridge can say of itself beyond its metrics: how it is doing, and where its families come from.

The store, the hub and the pipeline fill these, and the explorer shows them. They are facts in the words of
OpenTelemetry and of the options, without any format.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from otel_prom_bridge.diagnostics import Conflict, Logged
from otel_prom_bridge.families import Labels
from otel_prom_bridge.report.recent import CallbackFailure, Collection
from otel_prom_bridge.report.self_metrics import State


class BudgetUse(NamedTuple):
    """A budget: whose it is, what is counted, how much is used and allowed, and the option that sets it.

    ``family`` is the name of the family that it is of, or an empty string.
    """

    family: str
    whose: str
    unit: str
    used: int
    limit: int
    option: str


class WorkerState(NamedTuple):
    """A process that pushes: its number, its process id, its service, and how it is doing.

    ``silent`` is how many seconds ago it pushed last, and ``dropped`` how many points it lost before.
    """

    number: int | None
    process: int | None
    service: str
    silent: float
    interval: float | None
    dropped: int


class Facts(NamedTuple):
    """How a bridge is doing.

    ``interval`` is after how many seconds without a scrape it collects on its own, and ``due`` is in how many
    seconds that will be; both are None where it never does. ``workers`` is None where nobody pushes.
    """

    state: State
    maxima: Mapping[str, int]
    budgets: tuple[BudgetUse, ...]
    conflicts: tuple[Conflict, ...]
    said: tuple[Logged, ...]
    collections: tuple[Collection, ...]
    phases: Mapping[str, float]
    failures: tuple[CallbackFailure, ...]
    interval: float | None = None
    due: float | None = None
    workers: tuple[WorkerState, ...] | None = None


class Fate(NamedTuple):
    """What became of an attribute: the label that it is, or an empty string, and why."""

    key: str
    label: str
    why: str


class Step(NamedTuple):
    """One step from a recorded attribute to a label: its name and value before and after, and who did it.

    ``after`` is None where the attribute is left out.
    """

    name: str
    before: str | None
    becomes: str
    after: str | None
    why: str


class Recorded(NamedTuple):
    """One attribute set as it was recorded, and what its labels were made of, step by step."""

    attributes: Mapping[str, object]
    steps: tuple[Step, ...]


class StreamOrigin(NamedTuple):
    """A stream that feeds a family, and the view that makes it so.

    ``tier`` says whose view it is: ``"own"`` is one of the option ``views``, ``"fallback"`` one of the
    profile, and with ``"none"`` no view selects the stream, and it is shown as it is. ``view`` is the view as
    Python. ``folds`` are points by label and rule. ``recorded`` are the attribute sets of one series, if one
    was asked for.
    """

    instrument: str
    kind: str
    unit: str
    description: str
    scope: Mapping[str, object]
    service: Mapping[str, object]
    tier: str
    view: str
    take: str
    steps: tuple[str, ...]
    attributes: tuple[Fate, ...]
    series: int
    rejected: bool
    folds: Mapping[tuple[str, str], int] = {}
    recorded: tuple[Recorded, ...] = ()


class FamilyOrigin(NamedTuple):
    """Where a family comes from. Without streams it is none of the store's."""

    name: str
    streams: tuple[StreamOrigin, ...]
    labels: Labels | None = None

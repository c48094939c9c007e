"""Trackers of work: when it begins and ends, how, and how many go on.

The general one is :class:`Tracker`; the others are that one with the names of their metrics. As all
operations they are recorded once, whether the work succeeds, fails, raises, is cancelled or is dropped. What
is said at the wrong time is logged, and never raised.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from opentelemetry.context import Context
from opentelemetry.metrics import MeterProvider

from otel_prom_bridge.genai import conventions as genai
from otel_prom_bridge.genai import vocabulary
from otel_prom_bridge.instrument import conventions
from otel_prom_bridge.instrument.scope import scope_of
from otel_prom_bridge.instruments import Attributes, Metric
from otel_prom_bridge.recording.active import Begun
from otel_prom_bridge.recording.decorators import DecoratingOperation
from otel_prom_bridge.recording.measurements import clean, said
from otel_prom_bridge.recording.operations import (
    CANCELLED,
    ERROR_TYPE,
    OTHER_ERROR,
    Failure,
    is_cancelled,
)

Extra: TypeAlias = Mapping[str, object] | None


class Tracked(DecoratingOperation):
    """What all trackers are.

    ``_duration`` is what they record, ``_counted`` how many go on, and ``_status`` the attribute that says
    how the work ended, or "" for none.
    """

    __slots__ = ("_active", "_attributes", "_going_on", "_identity", "_said", "_scope")

    _duration: Metric
    _counted: Metric | None
    _status = "status"

    def __init__(
        self,
        attributes: Attributes,
        *,
        identity: Attributes,
        meter_provider: MeterProvider | None,
        context: Context | None,
    ) -> None:
        self._scope = scope_of(meter_provider)
        self._active = None if self._counted is None else self._scope.active(self._counted)
        self._attributes = attributes
        self._identity = identity
        super().__init__(context=context)

    def _reset(self) -> None:
        super()._reset()
        self._said: str | None = None
        self._going_on: Begun | None = None

    def success(self, status: str = "success") -> None:
        """The work has succeeded. ``status`` says as what, if there is more to say."""
        self._ends(said(status), None)

    def error(self, failure: Failure = None, status: str = "error") -> None:
        """The work has failed. ``failure`` is an exception, its type, or a word for it."""
        self._ends(said(status), OTHER_ERROR if failure is None else failure)

    def _ends(self, status: str, failure: Failure) -> None:
        run = self._current()
        if run._can_end():
            run._said = status
            run.end(failure)

    def _on_start(self) -> None:
        if self._active is not None:
            self._going_on = self._active.begin(self._identity)

    def _on_end(self, took: float, error: str | None) -> None:
        if self._active is not None:
            self._active.end(self._going_on)
        attributes = dict(self._attributes)
        if self._status:
            attributes[self._status] = self._said or _status(error)
        if error is not None:
            attributes[ERROR_TYPE] = error
        self._scope.record(self._duration, took, attributes, self._context)


def _status(error: str | None) -> str:
    if error is None:
        return "success"
    return CANCELLED if is_cancelled(error) else "error"


class Tracker(Tracked):
    """Any work: ``Tracker("report")`` records ``report.duration`` [s] and ``report.active``.

    ``report.duration`` has the attributes, the attribute ``status``, and ``error.type`` if it failed. There
    should be few names, and few values of each attribute.

    >>> with Tracker("report", {"kind": "weekly"}) as tracker:
    ...     tracker.success("empty")
    """

    __slots__ = ("_counted", "_duration")

    def __init__(
        self,
        name: str,
        attributes: Extra = None,
        *,
        meter_provider: MeterProvider | None = None,
        context: Context | None = None,
    ) -> None:
        name = said(name)
        what = f"Duration of {name}."
        self._duration = Metric(f"{name}.duration", "histogram", "s", what, conventions.WORK_SECONDS)
        self._counted = Metric(
            f"{name}.active", "up_down_counter", "{operation}", f"How many of {name} go on."
        )
        own = clean(attributes)
        super().__init__(own, identity=own, meter_provider=meter_provider, context=context)


class _TrackerOf(Tracked):
    """Work of a kind that has metrics of its own, and a word in the attribute ``_key``.

    ``_is_told_apart`` says that what goes on is counted by that word.
    """

    __slots__ = ()

    _key: str
    _is_told_apart = False

    def __init__(
        self,
        word: str,
        /,
        *,
        attributes: Extra = None,
        meter_provider: MeterProvider | None = None,
        context: Context | None = None,
    ) -> None:
        own = clean({self._key: word})
        identity = own if self._is_told_apart else {}
        everything = {**clean(attributes), **own}
        super().__init__(everything, identity=identity, meter_provider=meter_provider, context=context)


class IncidentTracker(_TrackerOf):
    """An incident of a severity: ``incident.processing.duration`` [s] and ``incidents.active``.

    >>> with IncidentTracker("critical") as incident:
    ...     incident.escalated("level-2")
    ...     incident.success("resolved")
    """

    __slots__ = ()

    _key = "severity"
    _is_told_apart = True
    _duration = conventions.INCIDENT_DURATION
    _counted = conventions.INCIDENTS_ACTIVE

    def deduplicated(self) -> None:
        """The incident was known already."""
        self._scope.record(conventions.INCIDENTS_DEDUPLICATED, 1, {}, self._current()._context)

    def correlated(self) -> None:
        """The incident belongs to another one."""
        self._scope.record(conventions.INCIDENTS_CORRELATED, 1, {}, self._current()._context)

    def escalated(self, level: str) -> None:
        """Somebody else has to know of the incident."""
        attributes = clean({"level": level})
        self._scope.record(conventions.INCIDENTS_ESCALATED, 1, attributes, self._current()._context)


class PlaybookTracker(_TrackerOf):
    """An execution of a playbook by its name, which is a workflow to the conventions.

    It records ``gen_ai.invoke_workflow.duration`` [s] and ``playbook.executions.active``.
    """

    __slots__ = ()

    _key = vocabulary.WORKFLOW_NAME
    _duration = genai.WORKFLOW_DURATION
    _counted = conventions.PLAYBOOKS_ACTIVE
    _status = ""


class NotificationTracker(_TrackerOf):
    """The delivery of a notification by a channel: ``notification.duration`` [s]."""

    __slots__ = ()

    _key = "channel"
    _duration = conventions.NOTIFICATION_DURATION
    _counted = None

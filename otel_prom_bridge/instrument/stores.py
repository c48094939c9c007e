"""What holds things: caches, storages and queues. Also errors by the component in which they happened."""

from __future__ import annotations

from typing import TypeVar

from opentelemetry.context import Context
from opentelemetry.metrics import MeterProvider
from opentelemetry.util.types import AttributeValue

from otel_prom_bridge.instrument import conventions
from otel_prom_bridge.instrument.scope import Scope, scope_of
from otel_prom_bridge.instruments import Metric
from otel_prom_bridge.recording.decorators import DecoratingOperation
from otel_prom_bridge.recording.measurements import clean
from otel_prom_bridge.recording.operations import ERROR_TYPE, OTHER_ERROR, Failure, error_type
from otel_prom_bridge.recording.reports import guarded

T = TypeVar("T")


class _Sized:
    """Something with a size, which is what was said last."""

    def __init__(
        self, metric: Metric, attributes: dict[str, object], meter_provider: MeterProvider | None
    ) -> None:
        self._scope: Scope = scope_of(meter_provider)
        self._attributes = clean(attributes)
        self._size = self._scope.active(metric)

    def size(self, size: float) -> None:
        """Say how much it holds now."""
        self._size.say(size, self._attributes)


class Cache(_Sized):
    """The hits, misses and size of a cache: ``cache.hits``, ``cache.misses``, ``cache.size``.

    >>> cache = Cache("sessions")
    >>> found = cache.looked_up({}.get("a"))
    """

    def __init__(self, name: str, *, meter_provider: MeterProvider | None = None) -> None:
        super().__init__(conventions.CACHE_SIZE, {"cache.name": name}, meter_provider)

    def hit(self, count: int = 1) -> None:
        """Something was found."""
        self._scope.record(conventions.CACHE_HITS, count, self._attributes)

    def miss(self, count: int = 1) -> None:
        """Nothing was found."""
        self._scope.record(conventions.CACHE_MISSES, count, self._attributes)

    def looked_up(self, found: T) -> T:
        """Record a hit, or a miss for None; give back what was found."""
        if found is None:
            self.miss()
        else:
            self.hit()
        return found


class Queue(_Sized):
    """The size of a queue: ``queue.size``."""

    def __init__(self, name: str, *, meter_provider: MeterProvider | None = None) -> None:
        super().__init__(conventions.QUEUE_SIZE, {"queue.name": name}, meter_provider)


class NotificationQueue(_Sized):
    """The notifications of a channel that wait: ``notification.queue.size``."""

    def __init__(self, channel: str, *, meter_provider: MeterProvider | None = None) -> None:
        super().__init__(conventions.NOTIFICATION_QUEUE, {"channel": channel}, meter_provider)


class Storage(_Sized):
    """The operations and the size of a storage, such as ``s3`` or ``disk``. A database has :class:`Database`.

    They are recorded in ``storage.operation.duration`` [s], ``storage.operation.size`` [By] and
    ``storage.size`` [By].

    >>> with Storage("s3").operation("put") as operation:
    ...     operation.moved(2048)
    """

    def __init__(self, backend: str, *, meter_provider: MeterProvider | None = None) -> None:
        super().__init__(conventions.STORAGE_SIZE, {"backend": backend}, meter_provider)

    def operation(self, operation: str, *, context: Context | None = None) -> StorageOperation:
        """An operation, to be run with ``with`` or ``async with``, or to decorate a function."""
        attributes = {**self._attributes, **clean({"operation": operation})}
        return StorageOperation(self._scope, attributes, context=context)


class StorageOperation(DecoratingOperation):
    """One operation of a storage, made by :meth:`Storage.operation`."""

    __slots__ = ("_attributes", "_bytes", "_scope")

    def __init__(
        self, scope: Scope, attributes: dict[str, AttributeValue], *, context: Context | None
    ) -> None:
        self._scope = scope
        self._attributes = attributes
        super().__init__(context=context)

    def _reset(self) -> None:
        super()._reset()
        self._bytes: int | None = None

    def moved(self, bytes: int) -> None:
        """Say how many bytes were read or written since the last time this was said."""
        run = self._current()
        with guarded("a size"):
            run._bytes = (run._bytes or 0) + bytes

    def _on_end(self, took: float, error: str | None) -> None:
        failed = self._attributes if error is None else {**self._attributes, ERROR_TYPE: error}
        self._scope.record(conventions.STORAGE_DURATION, took, failed, self._context)
        self._scope.record(conventions.STORAGE_OPERATION_SIZE, self._bytes, self._attributes, self._context)


class ComponentErrors:
    """The errors of one component of a service: ``errors``, with ``component`` and ``error.type``."""

    def __init__(self, component: str, *, meter_provider: MeterProvider | None = None) -> None:
        self._scope = scope_of(meter_provider)
        self._attributes = clean({"component": component})

    def record(self, failure: Failure, *, context: Context | None = None) -> None:
        """Count an error: an exception, its type, or a word for it."""
        attributes = {**self._attributes, ERROR_TYPE: error_type(failure) or OTHER_ERROR}
        self._scope.record(conventions.COMPONENT_ERRORS, 1, attributes, context)

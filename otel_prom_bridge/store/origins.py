"""Where series come from: the services whose sources hand points over, and what their resources say.

The workers of one service have one *origin*, so what they count adds up. Two services have two, and equal
streams of theirs are kept apart. As soon as there are two services, every series says which one it is of.
Whoever may push may name as many services as it likes. So past a limit all further ones are one origin, whose
series say that they are the rest.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, TypeAlias

from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.families import InfoPoint, Kind, Labels, MetricFamily, identity
from otel_prom_bridge.interrupts import sheltered
from otel_prom_bridge.points import Source, Stream
from otel_prom_bridge.translate import Attributes, Translation
from otel_prom_bridge.translate.labels import attribute_identity, label_value

if TYPE_CHECKING:
    from otel_prom_bridge.store.lookup import StreamRecord

Resource: TypeAlias = Mapping[str, object]

_NAME, _NAMESPACE = "service.name", "service.namespace"
# What tells the processes of one service apart, and is of no use where their values are one.
_OF_PROCESS = ("process.", "thread.")
_INSTANCE = "service.instance.id"
_REST: tuple[str, ...] = ("", "", "rest")
_OF_REST: Attributes = (("otel.metric.overflow", "true"),)


class Origin:
    """A service, as far as labels tell it from others.

    ``promoted`` are the resource attributes that become labels of every series. ``common`` are the labels of
    every series that has no value of its own for them. ``service`` are the attributes that tell it from other
    services, once there are any. ``streams`` are its streams, with what the views make of them.
    """

    __slots__ = ("_is_shared", "common", "info", "key", "live", "promoted", "service", "streams")

    def __init__(self) -> None:
        self.key: tuple[str, ...] = ()
        self.promoted: Attributes = ()
        self.common: Mapping[str, object] = {}
        self.service: Attributes = ()
        self.streams: dict[Stream, StreamRecord] = {}
        self.live: dict[Source, Resource | None] = {}  # its sources, each with its resource
        self.info: InfoPoint | None = None
        self._is_shared = False

    def join(self, source: Source, resource: Resource | None) -> None:
        """Count this source in, or give it another resource."""
        self._is_shared = self._is_shared or not self.live.keys() <= {source}
        self.live[source] = resource

    def is_only_of(self, source: Source) -> bool:
        """Whether no other source ever was here."""
        return not self._is_shared and source in self.live

    @property
    def is_over(self) -> bool:
        """Whether nobody is there, and nothing is left."""
        projections = (item for record in self.streams.values() for item in record.projections)
        return not self.live and not any(item.series or item.folds for item in projections)

    def agreed(self) -> Resource | None:
        """What the resources of all of its sources say; None if none of them has any."""
        found: dict[str, object] | None = None
        for resource in self.live.values():
            if resource is None:
                continue
            if found is None:
                found = dict(resource)
            elif found != resource:
                found = {
                    key: value for key, value in found.items() if key in resource and resource[key] == value
                }
        return found


class Origins:
    """The origins of one store. ``info`` says whether their resources are shown as ``target_info``.

    There are ``most`` of them, beside that of the rest. ``rest`` is how many sources went there so far.
    """

    def __init__(
        self, translation: Translation, findings: Findings, *, info: bool, most: float = math.inf
    ) -> None:
        self._most = most
        self.rest = 0
        self._translation = translation
        self._findings = findings
        self._info = info
        self._origins: dict[tuple[str, ...], Origin] = {}
        self._stale: set[Origin] = set()  # whose info is to be made anew
        self._families: tuple[MetricFamily, ...] = ()
        self._tells_services = False

    def records(self) -> Iterator[StreamRecord]:
        """What is known of each stream of each origin. Others may be added meanwhile."""
        for origin in list(self._origins.values()):
            yield from list(origin.streams.values())

    def of(self, source: Source, resource: Resource | None, before: Origin | None) -> Origin:
        """The origin of a source with this resource, which had the origin ``before``."""
        shown = None if resource is None else _shown(source, resource)
        promoted, common = self._described(shown or {})
        service = tuple(label_value((shown or {}).get(key)) for key in (_NAMESPACE, _NAME))
        key = (*service, attribute_identity(dict(promoted)), attribute_identity(common))
        origin = self._origins.get(key)
        is_rest = before is not None and before.key == _REST
        if origin is None and before is not None and before.is_only_of(source) and not is_rest:
            # It is what it was before under another description, as a provider may get another resource.
            origin = self._origins[key] = self._origins.pop(before.key)
        elif origin is None and len(self._origins) - (_REST in self._origins) >= self._most:
            return self._rest(source, before)
        elif origin is None:
            origin = self._origins[key] = Origin()
        if before is not None and before is not origin:
            self.leave(source, before)
        origin.key, origin.promoted, origin.common = key, promoted, common
        origin.join(source, shown)
        self._stale.add(origin)
        return origin

    def _rest(self, source: Source, before: Origin | None) -> Origin:
        """The origin of all for which there is no other."""
        origin = self._origins.setdefault(_REST, Origin())
        origin.key, origin.service = _REST, _OF_REST
        if before is not origin:
            self.rest += 1
            if before is not None:
                self.leave(source, before)
        origin.join(source, None)
        self._findings.report(
            "most services",
            "metrics of more than %s services come in; all further ones are shown together, with the label"
            ' otel_metric_overflow="true"; max_services allows more',
            self._most,
        )
        return origin

    def _described(self, resource: Resource) -> tuple[Attributes, Mapping[str, object]]:
        promoted: Attributes = ()
        try:
            promoted = sheltered(self._translation.resource_attributes, resource)
        except Exception as error:
            what = "resource_attribute_filter failed, no label is added: %r"
            self._findings.report("resource", what, error)
        return promoted, self._translation.common(resource)

    def leave(self, source: Source, origin: Origin) -> None:
        """A source is not of this origin any more. What the last one says of the service stays."""
        if self._info and origin in self._stale and origin.live.keys() == {source}:
            self._describe(origin)
        origin.live.pop(source, None)
        if origin.is_over:
            del self._origins[origin.key]
        self._stale.add(origin)

    def tell_services_apart(self) -> bool:
        """Give each origin what tells its service from others, if there are several; whether that is new."""
        services = {origin.key[:2] for origin in self._origins.values() if origin.streams}
        if len(services) < 2 and not self._tells_services:
            return False
        is_new = not self._tells_services
        self._tells_services = True
        for origin in self._origins.values():
            if origin.key == _REST:
                continue
            known = {key for key, _ in origin.promoted}
            pairs = zip((_NAMESPACE, _NAME), origin.key, strict=False)
            origin.service = tuple((key, value) for key, value in pairs if value and key not in known)
        if is_new:
            self._findings.report(
                "services",
                "metrics of several services come in (%s), so every series gets the labels service_name and"
                " service_namespace",
                ", ".join(sorted(repr(".".join(filter(None, service))) for service in services)),
            )
        return is_new

    def families(self) -> tuple[MetricFamily, ...]:
        """``target_info``, if it is wanted and there is something to say."""
        if not self._info or not self._stale:
            return self._families
        stale, self._stale = self._stale, set()
        for origin in stale:
            self._describe(origin)
        infos = [origin.info for origin in self._origins.values() if origin.info is not None]
        points = tuple({identity(info.labels): info for info in infos}.values())
        if points != tuple(point for family in self._families for point in family.points):
            foreign = not self._translation.strategy.escapes
            family = MetricFamily("target_info", Kind.INFO, "Target metadata", "", points, foreign=foreign)
            # "resource attributes SHOULD be converted to a target info metric if the resource is not empty"
            self._families = (family,) if points else ()
        return self._families

    def _describe(self, origin: Origin) -> None:
        """Say what the sources of an origin are; once there are none any more, what they were."""
        try:
            agreed = origin.agreed()
            if agreed is None:
                return
            labels = sheltered(self._translation.target_labels, agreed)
        except Exception as error:
            self._findings.report("target", "the resource could not be taken in: %r", error)
            return
        if origin.info is None or origin.info.labels != labels:
            self._report_cut(labels)
            origin.info = InfoPoint(labels) if labels else None

    def _report_cut(self, labels: Labels) -> None:
        longest = self._translation.value_length
        cut = [name for name, value in labels if longest and len(value) >= longest and value.endswith("…")]
        if cut:
            self._findings.report(
                "cut target",
                "target_info: values of %s are longer than %d characters and are cut; max_label_value_length"
                " allows more, and 0 any length",
                *(", ".join(cut), longest),
            )


def _shown(source: Source, resource: Resource) -> Resource:
    """What a resource says of the service: all of it if there are no workers."""
    if source.worker is None:
        return resource
    return {
        key: value for key, value in resource.items() if key != _INSTANCE and not key.startswith(_OF_PROCESS)
    }

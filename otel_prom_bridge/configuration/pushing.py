"""A process that has a hub: what it records is pushed there, and nothing is served here.

The application's code is the same with a hub and without one. So options of the endpoint are no mistake here.
The hub finds those that stand in the environment or in the file by itself. It cannot find those that were
given in code, and the log says so where they were to protect the metrics.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from otel_prom_bridge.configuration.serving import unserved
from otel_prom_bridge.configuration.settings import Settings
from otel_prom_bridge.configuration.watch import Attached
from otel_prom_bridge.diagnostics import Findings, logger
from otel_prom_bridge.endpoint.server.server import MetricsServer
from otel_prom_bridge.pipeline.options import PipelineOptions
from otel_prom_bridge.views.policy import Policy

if TYPE_CHECKING:
    from otel_prom_bridge.direct import DirectPushReader
    from otel_prom_bridge.push import PushReader

_findings = Findings()
_NOT_HERE = (
    "metrics are pushed to the hub at %s; %s, given in code, do nothing here: give them to the hub, in its "
    "environment or in the file that OTEL_PROM_BRIDGE_CONFIG_FILE names"
)


class Pushing(Attached):
    """A reader that pushes to the hub of the settings."""

    server: MetricsServer

    def __init__(
        self, reader: PushReader | DirectPushReader, settings: Settings, *, by_itself: bool = False
    ) -> None:
        super().__init__(reader, settings, by_itself=by_itself)
        self.reader: PushReader | DirectPushReader = reader
        self.server = unserved(settings, None)
        _say_what_does_nothing(settings)

    def serve(self) -> MetricsServer:
        """The endpoint that this process would have. It is not serving."""
        return self.server

    def serve_at(self, *, port: object, host: object, unix_socket: object) -> MetricsServer:
        """The same: children push as their parent does."""
        return self.server


def has_hub(settings: Settings) -> bool:
    """Whether what is recorded is to be pushed."""
    return settings.worker["hub"] is not None


def push_options(settings: Settings, policy: Policy | None = None) -> dict[str, Any]:
    """The arguments of the reader that pushes as the settings describe; their policy, unless one is given."""
    worker = settings.worker
    return {
        "hub": worker["hub"],
        "token": worker["hub_token"],
        "policy": PipelineOptions(**settings.reader).policy() if policy is None else policy,
        "interval": worker["push_interval"],
        "flush_on_sigterm": worker["flush_on_sigterm"],
    }


def _say_what_does_nothing(settings: Settings) -> None:
    hub = settings.worker["hub"]
    given = [option for option in settings.here if option.key not in settings.worker]
    guards = [option.argument or option.key for option in given if option.protects]
    others = [option.argument or option.key for option in given if not option.protects]
    for level, names in ((logging.WARNING, guards), (logging.INFO, others)):
        if names and _findings.is_new((level, *names)):
            logger.log(level, _NOT_HERE, hub, ", ".join(map(repr, names)))

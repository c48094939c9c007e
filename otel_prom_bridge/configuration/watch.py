"""A served reader in several processes: the one that opened the endpoint, and those that were forked from it.

A forked child inherits the meter provider and its reader, but no server. What it records would be seen by
nobody and missed by nobody. So the first recording in a child is noticed. Then the child either serves what
it records, on another port, or says in the log that nobody serves it.
"""

from __future__ import annotations

import contextlib
import os
import weakref
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from opentelemetry.metrics import MeterProvider
from opentelemetry.sdk.metrics import MeterProvider as SdkMeterProvider

from otel_prom_bridge import native, processes
from otel_prom_bridge.configuration.serving import serve, serve_if_possible
from otel_prom_bridge.configuration.settings import Settings
from otel_prom_bridge.diagnostics import logger
from otel_prom_bridge.endpoint.server.server import MetricsServer
from otel_prom_bridge.forks import renew_in_child
from otel_prom_bridge.prices import PriceTable, show
from otel_prom_bridge.reader.reader import PrometheusMetricReader

if TYPE_CHECKING:
    from otel_prom_bridge.direct import DirectPushReader, DirectReader
    from otel_prom_bridge.push import PushReader

# The last one of each provider. Also one whose reader was shut down, since its provider may get another
# reader.
_watches: weakref.WeakKeyDictionary[object, Attached] = weakref.WeakKeyDictionary()


class Attached:
    """A reader that a provider uses: in the process that made it, and in those that were forked from it.

    ``by_itself``: nobody has called for it, and the providers are somebody else's.
    """

    server: MetricsServer | None = None

    def __init__(
        self,
        reader: PrometheusMetricReader | DirectReader | PushReader | DirectPushReader,
        settings: Settings,
        *,
        by_itself: bool,
    ) -> None:
        self.reader = reader
        self._settings = settings
        self._by_itself = by_itself
        self._process = os.getpid()

    @property
    def is_serving(self) -> bool:
        """An endpoint of this process serves the reader."""
        return self.server is not None and self.server.is_serving

    @property
    def is_inherited(self) -> bool:
        """The reader is in use, and this process was forked from the one in which it began."""
        return self.reader.is_ready and self._process != os.getpid()

    def adopt(self) -> None:
        """Let it be this process' own, as if it had begun here."""
        self._process = os.getpid()

    def begin(self, provider: object) -> None:
        """The provider uses the reader by now. If nobody tells which provider, the reader stands for it."""
        _watches[provider] = self
        pricing = self.reader.policy.pricing
        show(provider, pricing)
        if self._settings.endpoint["span_metrics"]:
            self._measure_spans(provider, pricing.table)

    def _measure_spans(self, provider: object, prices: PriceTable | None) -> None:
        """Record metrics of the spans of this process, too."""
        # Few ask for it, and recorders with all that they know of models take a tenth of the time to start.
        from otel_prom_bridge.configuration.spans import measure_spans, measure_spans_later

        if self._by_itself or not isinstance(provider, SdkMeterProvider):
            measure_spans_later(prices)
        else:
            measure_spans(provider, prices)

    @abstractmethod
    def serve_at(self, *, port: object, host: object, unix_socket: object) -> MetricsServer:
        """Serve the reader in this process, too, at this place."""


class Watch(Attached):
    """Serves a reader, and notices in which processes there is something to show.

    With ``by_itself`` every process is served in which something is recorded, as soon as that happens.
    Otherwise only a line in the log says that somebody should see to it. With ``is_main`` the endpoint is
    that of the application, and its other processes make way for it.
    """

    def __init__(
        self,
        reader: PrometheusMetricReader | DirectReader,
        settings: Settings,
        *,
        by_itself: bool = False,
        is_main: bool = True,
    ) -> None:
        super().__init__(reader, settings, by_itself=by_itself)
        self.reader: PrometheusMetricReader | DirectReader = reader
        self._is_main = is_main
        self._records = False

    def serve(self) -> MetricsServer:
        """Serve the reader; see :func:`~otel_prom_bridge.configuration.serving.serve`."""
        self.server = serve(self.reader, self._settings, ready=self._checks())
        return self.server

    def serve_if_possible(self, *, beside: bool = False) -> MetricsServer | None:
        """The same for those who must not raise; see the function of that name."""
        self.server = serve_if_possible(self.reader, self._settings, beside=beside, ready=self._checks())
        return self.server

    def serve_at(self, *, port: object, host: object, unix_socket: object) -> MetricsServer:
        """Serve the reader at another place than the settings say. Without a port it is the next one."""
        endpoint = dict(self._settings.endpoint)
        if host is not None:
            endpoint |= {"host": host, "unix_socket": None}
        if port is not None or unix_socket is not None:  # that place, and no other
            endpoint |= {"port": port, "unix_socket": unix_socket, "strict": True}
        settings = replace(self._settings, endpoint=endpoint)
        self.server = serve(self.reader, settings, ready=self._checks())
        return self.server

    def begin(self, provider: object) -> None:
        """Notice the next recording in this process, too."""
        super().begin(provider)
        if self.server is None or self.is_serving:  # else the log says already that nothing is served
            renew_in_child(self)
            self.renew()
        if self._is_main and self.is_serving:
            self.reader.on_shutdown(processes.announce())

    def renew(self) -> None:
        """Begin anew, in this process or in a forked child."""
        self._records = False
        if self.reader.is_ready and not self.reader.at_next_recording(self._recorded):
            self._recorded()

    def _recorded(self) -> None:
        self._records = True
        processes.tell_of_recording()
        if self.reader.is_ready and not self.is_serving:  # after a shutdown there is nothing to serve
            # Whoever records must not wait for us, and may be a signal handler.
            with contextlib.suppress(RuntimeError):  # there can be no more threads
                native.Thread(self._help, name="otel-prom-bridge-child").start()

    def _help(self) -> None:
        endpoint = self._settings.endpoint
        if self._by_itself and endpoint["process_ports"] > 1 and not endpoint["strict"]:
            self.serve_if_possible(beside=True)
        elif processes.is_first_to_say():
            logger.error(
                "process %d records metrics that nobody serves: it was forked from the process that has the "
                "endpoint, and that one shows only what it records itself. %s. Or, in each child, call "
                "otel_prom_bridge.serve_inherited() or start() (gunicorn: in post_fork, celery: in "
                "worker_process_init)",
                os.getpid(),
                processes.ONE_FOR_ALL,
            )

    def _checks(self) -> dict[str, Callable[[], object]]:
        return {"process": self._complaint}

    def _complaint(self) -> str | None:
        if self._records or not processes.a_child_records():
            return None
        return "nothing is recorded in this process, but in others that it started: scrape those"


def watch_of(provider: object) -> Attached | None:
    """The last watch of a provider, if there is one."""
    return _watches.get(provider) if isinstance(provider, MeterProvider) else None


def watches() -> list[Attached]:
    """The watches of the readers that are in use in this process, whether they are served in it or not."""
    return [watch for watch in list(_watches.values()) if watch.reader.is_ready]

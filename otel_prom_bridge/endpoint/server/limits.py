"""How long the server waits for whom, and how much of everything there may be."""

from __future__ import annotations

from dataclasses import dataclass

from otel_prom_bridge.values.checks import POSITIVE, SECONDS, check_fields, instance_of

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_MOST_CONNECTIONS, _FEWEST_CONNECTIONS = 512, 8
_TIMEOUTS = (
    "head_timeout",
    "handshake_timeout",
    "write_timeout",
    "idle_timeout",
    "linger_timeout",
    "worker_idle_timeout",
)
_CHECKS = {**dict.fromkeys(_TIMEOUTS, SECONDS), "max_connections": POSITIVE, "max_in_flight": POSITIVE}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """The deadlines and bounds of a server. The defaults suit scrapers on a network that is not only theirs.

    The timeouts are in seconds. ``max_connections=None`` stands for a quarter of the file descriptors that
    the process may have, and for 512 at most.

    Raises:
        ConfigurationError: a timeout is not a number of seconds that can be waited for, or a bound is not a
            whole number of at least 1.
    """

    head_timeout: float = 5.0
    handshake_timeout: float = 5.0
    write_timeout: float = 10.0
    idle_timeout: float = 120.0
    linger_timeout: float = 2.0
    max_connections: int | None = None
    max_in_flight: int = 40
    worker_idle_timeout: float = 2.0

    def __post_init__(self) -> None:
        check_fields(self, _CHECKS)

    @property
    def most_connections(self) -> int:
        """How many connections there may be."""
        if self.max_connections is not None:
            return self.max_connections
        descriptors = -1 if resource is None else resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if descriptors < 0:  # without a limit
            return _MOST_CONNECTIONS
        return max(_FEWEST_CONNECTIONS, min(_MOST_CONNECTIONS, descriptors // 4))


LIMITS = instance_of(ServerLimits, "ServerLimits, or None")

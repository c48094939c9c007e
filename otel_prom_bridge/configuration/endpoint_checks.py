"""What the options of the endpoint may be, as far as that is nobody else's matter."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from otel_prom_bridge.endpoint.guards.networks import Networks
from otel_prom_bridge.endpoint.health import Health
from otel_prom_bridge.endpoint.paths import METRICS_PATH_ALLOWED, is_metrics_path
from otel_prom_bridge.values.checks import BOOLEAN, PATH, POSITIVE, SECONDS, TEXT, Check, one_of, read_list
from otel_prom_bridge.values.notation import is_list


def _socket(value: object) -> str:
    path: str = PATH.check(value)
    if "/" not in path or "\0" in path:
        raise ValueError
    return path


def _url_path(value: object) -> str:
    if not is_metrics_path(value):
        raise ValueError
    return str(value)


def _texts(value: object) -> tuple[str, ...]:
    if not is_list(value):
        raise TypeError
    return tuple(map(TEXT.check, value))


def _some(check: Callable[[object], tuple[str, ...]], value: object) -> tuple[str, ...]:
    # No list means "everybody". An empty one may mean "nobody", or a template without values: who can say?
    found = check(value)
    if not found:
        raise ValueError
    return found


def _networks(value: object) -> tuple[str, ...]:
    networks = _texts(value)
    Networks("", networks)
    return networks


def _rate(value: object) -> float:
    rate: float = SECONDS.check(value)
    if not 1 / rate < math.inf:
        raise ValueError
    return rate


def _threshold(value: object) -> int | bool:
    if value is False:
        return False
    return 0 if value == 0 else int(POSITIVE.check(value))


def _health(value: object) -> Health | bool:
    if isinstance(value, Health):
        return value
    found: bool = BOOLEAN.check(value)
    return found


_A_NETWORK = "networks like '10.0.0.0/8', addresses, or 'unix' for peers without an address"
SOCKET = Check(allowed="a path with a slash in it", check=_socket)
URL_PATH = Check(
    allowed=METRICS_PATH_ALLOWED,
    check=_url_path,
)
NETWORKS = Check(
    allowed=f"a list of {_A_NETWORK}, at least one",
    example="10.0.0.0/8,::1",
    check=partial(_some, _networks),
    read=read_list,
)
PROXIES = Check(allowed=f"a list of {_A_NETWORK}", example="10.0.0.7,unix", check=_networks, read=read_list)
NAMES = Check(
    allowed="a list of names, at least one",
    example="prometheus.internal,ops@example.com",
    check=partial(_some, _texts),
    read=read_list,
)
RATE = Check(allowed="a number of requests per second, above zero", check=_rate, read=float)
THRESHOLD = Check(
    allowed="a whole number of bytes, or false for never",
    example="1024",
    check=_threshold,
    read=lambda text: False if text.lower() == "false" else POSITIVE.read(text),
)
HEALTH = Check(allowed="true or false", check=_health, read=BOOLEAN.read)
TLS_VERSION = one_of("TLS12", "TLS13")

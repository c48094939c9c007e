"""A ``MeterProvider`` whose instruments record without the SDK's metrics, for the store or for a hub.

Each name is imported when it is used: most processes record with the SDK.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TypeGuard

from otel_prom_bridge.lazy import names_of

if TYPE_CHECKING:
    from otel_prom_bridge.direct.provider import DirectMeterProvider
    from otel_prom_bridge.direct.push_reader import DirectPushReader
    from otel_prom_bridge.direct.reader import DirectReader

__all__ = ["DirectMeterProvider", "DirectPushReader", "DirectReader"]

_PROVIDERS = "otel_prom_bridge.direct.provider"
_HOMES = {
    _PROVIDERS: ("DirectMeterProvider",),
    "otel_prom_bridge.direct.push_reader": ("DirectPushReader",),
    "otel_prom_bridge.direct.reader": ("DirectReader",),
}
if not TYPE_CHECKING:  # so that checkers refuse a name that is not there
    __getattr__ = names_of(__name__, _HOMES)


def is_provider(provider: object) -> TypeGuard[DirectMeterProvider]:
    """Whether this is one of ours. There is none where nobody has imported its class."""
    module = sys.modules.get(_PROVIDERS)
    return module is not None and isinstance(provider, module.DirectMeterProvider)

"""Names that are private to the SDK. A release may not have one: then the bridge is there without it."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def private(module: str, name: str) -> Any:
    """What has this name in a module of the SDK's metrics, or elsewhere; None if there is no such thing."""
    try:
        return getattr(import_module(module, "opentelemetry.sdk.metrics._internal"), name)
    except (ImportError, AttributeError):
        return None


def private_class(module: str, name: str) -> Any:
    """The class of this name. Where the SDK has none, it is a class that nothing is of."""
    return private(module, name) or type(name, (), {})

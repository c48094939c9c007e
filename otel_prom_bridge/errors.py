"""The errors of the bridge.

::

    BridgeError
    ├── ConfigurationError (also a ValueError)   an option is wrong: key, value and what is allowed
    ├── TranslationError                         one metric cannot be expressed in Prometheus terms
    │   └── ConflictError                        its name is taken by a metric of another type
    └── EndpointError (also an OSError)          the HTTP endpoint cannot be opened

Only :class:`ConfigurationError` and :class:`EndpointError` reach the application, and only from the
calls that configure or start something. A :class:`TranslationError` never leaves the bridge: the one
metric is left out of the exposition, the reason is logged once, everything else is served.
"""

from __future__ import annotations


class BridgeError(Exception):
    """Base of every error that the bridge raises."""


class ConfigurationError(BridgeError, ValueError):
    """An option has a value that cannot work; the message says which values do.

    >>> str(ConfigurationError("port", 70000, "a whole number from 0 to 65535"))
    'port: 70000 is not allowed, expected a whole number from 0 to 65535'
    """

    def __init__(self, key: str, value: object, expected: str) -> None:
        super().__init__(f"{key}: {value!r} is not allowed, expected {expected}")
        self.key = key
        self.value = value
        self.expected = expected


class TranslationError(BridgeError):
    """A metric has no correct form in Prometheus; the message names it and says what to do."""


class ConflictError(TranslationError):
    """A metric's Prometheus name already belongs to a metric of another type."""


class EndpointError(BridgeError, OSError):
    """The endpoint's socket cannot be opened; the message names address and port."""

"""The errors of the bridge.

::

    BridgeError
    ├── ConfigurationError (also a ValueError)   an option is wrong: key, value and what is allowed
    │   └── MissingPackageError                  it needs a package that is not installed
    ├── RegistrationError                        a metric cannot be shown
    │   ├── TranslationError                     it has no form in Prometheus
    │   └── ConflictError                        its name belongs to a metric of another type
    ├── CollectionError                          values could not be had: the last known ones are shown
    │   ├── CollectionTimeoutError               no answer in time
    │   └── CollectorError                       a collector of prometheus_client failed
    ├── SerializationError                       a metric could not be written and is left out
    │   └── CompressionError                     a body could not be compressed and is sent as it is
    ├── EndpointError (also an OSError)          the HTTP endpoint cannot be opened
    └── ExpositionError                          somebody's exposition cannot be fetched or read

Each says what to do next. Only :class:`ConfigurationError` and :class:`EndpointError` reach the application,
and only from the calls that configure or start something; :class:`ExpositionError` reaches whoever asked for
an exposition. The others never leave the bridge: they are logged once, as text, and everything else is
served.
"""

from __future__ import annotations

from typing import Self


class BridgeError(Exception):
    """Base of every error that the bridge raises."""


class Described(str):
    """Words in the place of a value that an error must not or cannot show. Messages have them without quotes.

    >>> str(ConfigurationError("key", Described("what stands there"), "a key in PEM"))
    'key: what stands there is not allowed, expected a key in PEM'
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


HIDDEN = Described("what stands there")


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

    def renamed(self, key: str) -> Self:
        """The same error about another key: with the place in front of it, which a caller knows."""
        return type(self)(key, self.value, self.expected)


class MissingPackageError(ConfigurationError):
    """An option needs a package that is not installed. The message says how to install it.

    >>> str(MissingPackageError("web_config", "yaml", "pip install PyYAML"))
    "web_config: the package 'yaml' is needed for it and is not installed; `pip install PyYAML` does that"
    """

    def __init__(self, key: str, value: object, expected: str) -> None:
        super().__init__(key, value, expected)
        self.args = (
            f"{key}: the package {value!r} is needed for it and is not installed; `{expected}` does that",
        )


class RegistrationError(BridgeError):
    """A metric cannot be shown; the message names it and says what to do."""


class TranslationError(RegistrationError):
    """A metric has no correct form in Prometheus."""


class ConflictError(RegistrationError):
    """A metric's Prometheus name already belongs to a metric of another type."""


class CollectionError(BridgeError):
    """A collection failed; the last known values are shown.

    >>> str(CollectionError(RuntimeError("no memory")))
    "a collection failed, showing known values: RuntimeError('no memory'); look at what callbacks do"
    """

    def __init__(self, reason: BaseException) -> None:
        super().__init__(f"a collection failed, showing known values: {reason!r}; look at what callbacks do")


class CollectionTimeoutError(CollectionError):
    """Something did not answer in time; what it said last is shown."""

    def __init__(self, what: str, seconds: float) -> None:
        BridgeError.__init__(
            self,
            f"{what} has not ended for {seconds:g} s, showing known values; look for what hangs in it, "
            "or raise scrape_timeout",
        )


class CollectorError(CollectionError):
    """A collector of the ``prometheus_client`` registry failed; what it said last is shown."""

    def __init__(self, collector: object, reason: BaseException) -> None:
        BridgeError.__init__(
            self,
            f"collector {collector!r} of the prometheus_client registry failed and shows what it said last: "
            f"{reason!r}; correct it or unregister it",
        )


class SerializationError(BridgeError):
    """A metric could not be written and is left out."""

    def __init__(self, metric: str, reason: BaseException) -> None:
        super().__init__(
            f"metric {metric!r} could not be written and is left out: {reason!r}; please report this, and "
            "drop the metric with an ExportView meanwhile"
        )


class CompressionError(SerializationError):
    """A body could not be compressed and is sent as it is."""

    def __init__(self, reason: BaseException) -> None:
        BridgeError.__init__(
            self, f"a body was sent without compression: {reason!r}; is the process short of memory?"
        )


class EndpointError(BridgeError, OSError):
    """The endpoint's socket cannot be opened; the message names address and port."""


class ExpositionError(BridgeError):
    """An exposition cannot be fetched or read. The message is one line for whoever asked for it."""

"""The four ways to translate names. Two properties of each say what it does.

https://github.com/open-telemetry/opentelemetry-specification/blob/main/specification/metrics/sdk_exporters/prometheus.md#configuration
"""

from __future__ import annotations

import enum

from otel_prom_bridge.values.checks import Check, no_word
from otel_prom_bridge.values.notation import listed


class TranslationStrategy(enum.Enum):
    """How OpenTelemetry names become Prometheus names, in the spelling of the specification.

    ``TranslationStrategy(value)`` also takes the spellings of the declarative configuration:
    ``underscore_escaping_with_suffixes``, ``no_translation/development``, ….

    Two of them keep names as they are, with dots: ``NO_UTF8_ESCAPING_WITH_SUFFIXES`` and ``NO_TRANSLATION``.
    Prometheus shows such names from text and OpenMetrics. For native histograms it asks for protobuf without
    saying that it reads dots, so it gets underscores. Turning native histograms on then renames every metric.

    >>> TranslationStrategy("no_utf8_escaping_with_suffixes/development")
    <TranslationStrategy.NO_UTF8_ESCAPING_WITH_SUFFIXES: 'NoUTF8EscapingWithSuffixes'>
    """

    UNDERSCORE_ESCAPING_WITH_SUFFIXES = "UnderscoreEscapingWithSuffixes"
    UNDERSCORE_ESCAPING_WITHOUT_SUFFIXES = "UnderscoreEscapingWithoutSuffixes"
    NO_UTF8_ESCAPING_WITH_SUFFIXES = "NoUTF8EscapingWithSuffixes"
    NO_TRANSLATION = "NoTranslation"

    @classmethod
    def _missing_(cls, value: object) -> TranslationStrategy | None:
        if not isinstance(value, str):
            return None
        return next((item for item in cls if value.removesuffix("/development") == item.name.lower()), None)

    @property
    def escapes(self) -> bool:
        """Whether metric and label names are made legacy names. If not, they stay as they are."""
        return self.name.startswith("UNDERSCORE")

    @property
    def adds_suffixes(self) -> bool:
        """Whether units, and ``_total`` for counters, are appended to metric names."""
        return self.name.endswith("WITH_SUFFIXES")


_SPELLINGS = tuple(strategy.value for strategy in TranslationStrategy)


def _strategy(value: object) -> TranslationStrategy:
    try:
        return TranslationStrategy(value)
    except ValueError:
        raise no_word(value, _SPELLINGS) from None


STRATEGY = Check(allowed=f"one of {listed(_SPELLINGS)}", check=_strategy)

"""Makes the name of a Prometheus metric from the name and the unit of an OpenTelemetry instrument.

This is the first of two naming steps, and it is fixed when the reader is built. The second one is the
escaping that a scraper asks for. It belongs to ``exposition``.
"""

from __future__ import annotations

import re

from otel_prom_bridge.translate.labels import valid_unicode
from otel_prom_bridge.translate.strategies import TranslationStrategy
from otel_prom_bridge.translate.units import unit_words

_FOREIGN = re.compile(r"[^a-zA-Z0-9:]+")
# These two find what separates words in names that may have any characters, and the end of a counter's name.
_SEPARATORS = re.compile(r"[^\w:]+")
_TOTAL = re.compile(r"(?:[^\w:]|_)total\Z")
_DEFAULT = TranslationStrategy.UNDERSCORE_ESCAPING_WITH_SUFFIXES


def metric_name(
    name: str,
    *,
    unit: str = "",
    counter: bool = False,
    prefix: str = "",
    strategy: TranslationStrategy = _DEFAULT,
) -> str:
    """The Prometheus name of an OpenTelemetry metric.

    If the strategy escapes, a run of foreign characters becomes one ``_``, and the result matches
    ``[a-zA-Z_:][a-zA-Z0-9_:]*``. If it adds suffixes, the words of the unit are appended and, for a counter,
    ``_total``, unless the name ends with them already.

    >>> metric_name("http.server.request.duration", unit="s")
    'http_server_request_duration_seconds'
    >>> metric_name("jobs.total", unit="By", counter=True, prefix="app")
    'app_jobs_bytes_total'
    >>> metric_name("jobs", unit="By", strategy=TranslationStrategy.NO_TRANSLATION)
    'jobs'
    """
    full = f"{prefix}_{name}" if prefix else name
    lead = "_" if prefix.startswith("_") else ""
    result = _escaped(full, lead=lead) if strategy.escapes else valid_unicode(full) or "_"
    if strategy.adds_suffixes:
        # "The unit suffix comes before any type-specific suffixes": a `_total` at the end is such a suffix.
        # One in the middle is part of the name and stays where it is.
        stem = _TOTAL.sub("", result) if counter else result
        stem = _with_unit(stem, unit)
        result = f"{stem}_total" if counter else stem
    return f"_{result}" if strategy.escapes and result[0].isdigit() else result


def _escaped(name: str, *, lead: str) -> str:
    # "Invalid characters in the metric name MUST be replaced with the _ character. Multiple consecutive _
    # characters MUST be replaced with a single _ character." Leading and trailing ones go, as in
    # otlptranslator. Only the one that a prefix begins with stays, there as here.
    stripped = _FOREIGN.sub("_", name).strip("_")
    return f"{lead}{stripped}" if stripped else _spelled_out(name)


def _with_unit(name: str, unit: str) -> str:
    words = unit_words(unit)
    if _ends_with(name, str(words)):
        return name
    # A name that ends with the unit proper still needs its rate: read_bytes, By/s → read_bytes_per_second.
    if not _ends_with(name, words.main):
        name = f"{name}_{words.main}"
    if not _ends_with(name, words.per):
        name = f"{name}_{words.per}"
    return name


def _ends_with(name: str, words: str) -> bool:
    # Only whole words count, so foo_milliseconds does not end with the unit "seconds". In a name that is not
    # escaped, a dot may stand before the words.
    plain = _SEPARATORS.sub("_", name)
    return not words or plain == words or plain.endswith(f"_{words}")


def _spelled_out(name: str) -> str:
    # A name without a single usable character would be empty or "_". Such names can come from SDK Views,
    # which check nothing. otlptranslator refuses them. We keep the data, under the spelling that Prometheus'
    # own `values` escaping has for the name, from which it can be read back.
    return "U__" + "".join("__" if c == "_" else f"_{ord(c):x}_" for c in name)

"""What the context says of who a measurement is for: a team, a tenant, a feature.

An instrumentation that knows nothing of teams records within the context of whoever called it. So a value in
the context reaches whatever records there. ``genai.attributed`` puts it there. It is not baggage, which HTTP
clients send along to the providers of models. But baggage counts, too, where an application has set it.

Whoever records for us asks :class:`FromContext`, once for each measurement.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from opentelemetry import baggage
from opentelemetry.context import Context, create_key

from otel_prom_bridge.interrupts import raise_interrupt

ATTRIBUTED = create_key("otel_prom_bridge-attributed")
"""The key in a context of what ``attributed`` says there, by labels."""

# What is recorded of calls, tokens, costs, agents and tools, whoever records it.
_GENERATIVE = re.compile(
    r"(?:otel_prom_bridge\.)?(?:gen_ai|llm|mcp|openai|agent|agent_framework|semantic_kernel|strands|traceloop)\..*"
    r"|operation\.cost",
    re.IGNORECASE,
)
_NAMES_REMEMBERED = 10_000


class FromContext:
    """Completes the attributes of measurements. ``labels`` says for each label which key it is made of."""

    def __init__(self, labels: Mapping[str, str]) -> None:
        self._labels = tuple(labels.items())
        self._selected: dict[str, bool] = {}

    def selects(self, instrument: str) -> bool:
        """Whether the measurements of an instrument of this name are completed."""
        found = self._selected.get(instrument)
        if found is None:
            found = _GENERATIVE.fullmatch(instrument) is not None
            if len(self._selected) < _NAMES_REMEMBERED:
                self._selected[instrument] = found
        return found

    def complete(self, attributes: Any, context: Context) -> Any:
        """The attributes with what the context says and they do not. Raises only what interrupts it.

        The result is the same object if the context says nothing.
        """
        try:
            return self._completed(attributes, context)
        except Exception as error:  # attributes that are none, which is said where they are looked at
            raise_interrupt(error, self._completed, attributes, context)
            return attributes

    def _completed(self, attributes: Any, context: Context) -> Any:
        said: Any = context.get(ATTRIBUTED)
        entries = baggage.get_all(context)
        if not said and not entries:
            return attributes
        found: dict[str, object] = {}
        for label, key in self._labels:
            if attributes and key in attributes:
                continue
            value = said.get(label) if said else None
            if value is None:
                value = entries.get(key)
            if value is not None and value != "":
                found[key] = value
        return {**(attributes or {}), **found} if found else attributes

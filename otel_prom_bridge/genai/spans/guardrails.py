"""What came of the checks of guardrails, in the words of whoever wrote the span or the event.

The conventions have no names for them yet. litellm, Traceloop, OpenLIT and Guardrails AI have some, and each
has its own words for what came of a check.

https://docs.litellm.ai/docs/proxy/guardrails/quick_start
https://github.com/traceloop/hub/tree/main/src/guardrails
https://docs.openlit.io/latest/sdk/features/guardrails
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from otel_prom_bridge.genai import vocabulary
from otel_prom_bridge.recording.measurements import clean

NAMES = ("gen_ai.guardrail.name", "litellm.guardrail.name", "guardrail_name", "validator_name")
RESULTS = (
    "gen_ai.guardrail.triggered",
    "gen_ai.guardrail.status",
    "litellm.guardrail.status",
    "guardrail_status",
)
EVENT = "guard.evaluation"  # of OpenLIT's guards, on whatever span is the current one

# A check of openai-agents does not say what came of it. If it stopped the agent, the span around it fails so.
SAID_AROUND = frozenset({"openinference.instrumentation.openai_agents"})
TRIPPED_ERROR = "GuardrailTripwireTriggered"
_TRIPPED = re.compile(r"Guardrail tripwire triggered\b(?:.{0,20}'guardrail': '([^']{0,100})')?")

_WORDS = {
    **dict.fromkeys(("pass", "passed", "success", "allow"), "pass"),
    **dict.fromkeys(("warn", "guardrail_flagged"), "warn"),
    "redact": "modify",
    **dict.fromkeys(("fail", "failed", "deny", "guardrail_intervened"), "block"),
    **dict.fromkeys(("error", "guardrail_failed_to_respond"), "error"),
}
# litellm's masking guardrails succeed, and say how much they have masked: a number, or numbers as JSON.
_MASKED = ("litellm.guardrail.masked_entity_count", "masked_entity_count")
_OUTCOME = "output.value"  # of a validator of Guardrails AI, as OpenInference has it
_LONGEST = 10_000


def result_of(attributes: Mapping[str, Any]) -> str | None:
    """What came of the check that a span is about; None if it does not say so, or nothing was checked."""
    for key in (*RESULTS, *((_OUTCOME,) if "validator_name" in attributes else ())):
        said = attributes.get(key)
        if isinstance(said, bool):
            return "block" if said else "pass"
        if isinstance(said, str) and said:
            found = _WORDS.get(said.lower())
            return "modify" if found == "pass" and _has_masked(attributes) else found
    return None


def tripped(description: object) -> str | None:
    """The guardrail that stopped what a span is about, as the text of its error says; None if none did."""
    found = _TRIPPED.search(description[:_LONGEST]) if isinstance(description, str) else None
    return None if found is None else found[1] or ""


def labels_of_event(attributes: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The labels of a check that an event is about; None if it does not say what came of it."""
    action = attributes.get("guard.action")
    result = _WORDS.get(action.lower()) if isinstance(action, str) else None
    return None if result is None else labels(attributes.get("guard.name"), result, None, None)


def labels(name: object, result: str, provider: object, model: object) -> Mapping[str, Any]:
    """The labels of a check."""
    return clean(
        {
            vocabulary.GUARDRAIL_NAME: name or "unknown",
            vocabulary.GUARDRAIL_RESULT: result,
            vocabulary.PROVIDER: provider,
            vocabulary.REQUEST_MODEL: model,
        }
    )


def _has_masked(attributes: Mapping[str, Any]) -> bool:
    for key in _MASKED:
        said = attributes.get(key)
        if isinstance(said, str) and len(said) < _LONGEST:
            try:
                said = json.loads(said)
            except (ValueError, RecursionError):
                continue
        counts = said.values() if isinstance(said, dict) else (said,)
        if any(isinstance(count, int | float) and count > 0 for count in counts):
            return True
    return False

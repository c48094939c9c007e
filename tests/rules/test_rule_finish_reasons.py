"""Why answers end: a few words, whatever providers and libraries write."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_prom_bridge.rules import FinishReason

SAID = {
    "stop": "stop STOP end_turn stop_sequence completed COMPLETE eos_token FinishReason.STOP REASON_STOP"
    " endTurn EndTurn stopSequence",
    "length": "length max_tokens MAX_TOKENS max_output_tokens model_length model_context_window_exceeded"
    " FinishReason.MAX_TOKENS FINISH_REASON_MAX_TOKENS REASON_MAX_LEN ERROR_LIMIT maxTokens",
    "tool_calls": "tool_calls tool-calls tool_call TOOL_CALL tool_use toolUse toolCalls function_call",
    "content_filter": "content_filter content-filter content_filtered guardrail_intervened refusal SAFETY"
    " safety recitation PROHIBITED_CONTENT spii ERROR_TOXIC IMAGE_SAFETY contentFilter",
    "error": "error ERROR failed MALFORMED_FUNCTION_CALL malformed_function_call malformed_model_output",
    "other": "unknown other pause_turn OTHER LANGUAGE abort finish_reason_unspecified reason_ . -",
}


@pytest.mark.parametrize(
    ("said", "shown"), [(word, to) for to, said in SAID.items() for word in said.split()]
)
def test_words_of_providers(said: str, shown: str) -> None:
    """Each is one of the few, in every spelling that was seen."""
    assert FinishReason()(said) == shown


@given(st.text(max_size=300))
def test_whatever_is_said_is_one_of_few(said: str) -> None:
    """A hostile answer makes no values of its own."""
    rule = FinishReason()
    assert rule(said) in {*SAID}
    assert rule.max_values == len(SAID)

"""Why an answer of a model ended, in the few words of the conventions, whatever the provider calls it.

Each API has words of its own, and each library its own way to write them: ``MAX_TOKENS``, ``max_tokens``,
``maxTokens``, ``FinishReason.MAX_TOKENS`` and ``max-tokens`` are the same.

https://opentelemetry.io/docs/specs/semconv/registry/attributes/gen-ai/#gen-ai-response-finish-reasons
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from otel_prom_bridge.rules.rule import OTHER
from otel_prom_bridge.rules.spelling import snake_case

# The words of OpenAI, Anthropic, Google, Bedrock, Cohere, Mistral, xAI and the servers of open models.
_REASONS = {
    "stop": "stop stop_sequence end_turn completed complete eos eos_token",
    "length": "length max_tokens max_output_tokens max_length max_len max_context model_length token_limit"
    " error_limit model_context_window_exceeded",
    "tool_calls": "tool_calls tool_call tool_use function_call",
    "content_filter": "content_filter content_filtered guardrail_intervened refusal safety recitation"
    " blocklist prohibited_content spii image_safety image_prohibited_content image_recitation error_toxic",
    "error": "error failed malformed_function_call unexpected_tool_call too_many_tool_calls"
    " malformed_model_output malformed_tool_use malformed_response network_error",
}
_TABLE = {word: reason for reason, words in _REASONS.items() for word in words.split()}
_NOISE = re.compile(r"(?:finish_)?reason_")  # of protobuf's names: FINISH_REASON_STOP, REASON_MAX_LEN
_LONGEST = 100


@dataclass(frozen=True, slots=True)
class FinishReason:
    """``stop``, ``length``, ``tool_calls``, ``content_filter`` or ``error``. Anything else is ``other``.

    >>> [FinishReason()(text) for text in ("end_turn", "MAX_TOKENS", "tool-calls", "FinishReason.SAFETY")]
    ['stop', 'length', 'tool_calls', 'content_filter']
    """

    @property
    def max_values(self) -> int:
        """The five reasons, and ``other``."""
        return len(_REASONS) + 1

    def __call__(self, value: str) -> str:
        """The reason in the words of the conventions."""
        word = snake_case(value[-_LONGEST:].strip().rpartition(".")[2])
        return _TABLE.get(_NOISE.sub("", word, count=1), OTHER)

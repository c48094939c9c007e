"""The tokens of a generation, as Langfuse writes them: JSON, in the words of whoever has recorded it.

Langfuse's own words are parts that add up: `input` is without `input_cache_read`. Its wrapper of OpenAI's
client hands on what that API says, where the parts are among `prompt_tokens`.

https://langfuse.com/docs/observability/features/token-and-cost-tracking
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from otel_prom_bridge.genai.emission import IMPOSSIBLE_AMOUNT, Usage
from otel_prom_bridge.recording.reports import report

# Anthropic's words, which have kept their names, are parts of the input, too.
_CACHED = ("input_cached_tokens", "input_cache_read", "cache_read_input_tokens")
_WRITTEN = ("input_cache_creation", "input_cache_write", "cache_creation_input_tokens")
_INPUT = ("prompt_tokens", "input_tokens")  # the first is OpenAI's, and may be litellm's
_OUTPUT = ("completion_tokens", "output_tokens")
_REASONING = ("output_reasoning", "output_reasoning_tokens")
_APIS = ("input_tokens", "output_tokens", "input_tokens_details", "output_tokens_details")


def usage_of(said: Mapping[str, Any]) -> Usage:
    """The tokens of a generation. What is no number of them is not reported."""
    given = _details(said, "prompt_tokens_details", "input_tokens_details")
    answered = _details(said, "completion_tokens_details", "output_tokens_details")
    usage = Usage(
        _whole(said, "input", _INPUT),
        _whole(said, "output", _OUTPUT),
        cached=_first(said, _CACHED) or _first(given, ("cached_tokens",)),
        reasoning=_first(said, _REASONING) or _first(answered, ("reasoning_tokens",)),
        cache_write=_first(said, _WRITTEN),
    )
    for kind, keys in (("input", ("input", *_INPUT)), ("output", ("output", *_OUTPUT))):
        wrong = next((key for key in keys if said.get(key) is not None), None)
        if getattr(usage, kind) is None and wrong is not None:
            usage.unreadable |= {kind}
            report(("langfuse", wrong), "%r of Langfuse is no number of tokens: %r", wrong, said[wrong])
    return usage


def sum_of(costs: Mapping[str, Any]) -> float | None:
    """What a generation cost where Langfuse has no total: the sum of what it says.

    It is None if a part is no number, as the sum would hide that.
    """
    known = [cost for cost in costs.values() if cost is not None]
    for cost in known:
        if _number(cost) is None:
            report(("langfuse", "cost"), "%r of Langfuse is no cost", cost)
            return None
    return float(sum(known)) if known else None


def _whole(said: Mapping[str, Any], word: str, of_apis: tuple[str, ...]) -> int | None:
    """All tokens in one direction: those of the word and its parts, or what an API says."""
    own = _number(said.get(word))
    if own is not None:
        return own + sum(_numbers(said, lambda key: key.startswith(f"{word}_") or _is_part(key, word)))
    own = _first(said, of_apis[:1])
    if own is not None:
        return own  # its parts are among it, also those of which litellm says more in Anthropic's words
    own = _first(said, of_apis)
    # Anthropic's API has its parts beside the rest, and not among it.
    return None if own is None else own + sum(_numbers(said, lambda key: _is_part(key, word)))


def _numbers(said: Mapping[str, Any], is_wanted: Callable[[str], bool]) -> Iterator[int]:
    for key, value in said.items():
        if isinstance(key, str) and key not in _APIS and is_wanted(key):
            yield _number(value) or 0


def _is_part(key: str, word: str) -> bool:
    return key.startswith("cache_") and key.endswith(f"_{word}_tokens")


def _details(said: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    return next((said[key] for key in keys if isinstance(said.get(key), dict)), {})


def _first(said: Mapping[str, Any], keys: tuple[str, ...]) -> int | None:
    return next((number for key in keys if (number := _number(said.get(key))) is not None), None)


def _number(value: Any) -> int | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if is_number and 0 <= value < IMPOSSIBLE_AMOUNT else None

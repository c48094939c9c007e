"""Model names: every spelling of a model is one name, and no two models are."""

from __future__ import annotations

import pytest

from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.rules import ModelName

CANONICAL = {
    # OpenAI: dates, aliases of the newest, previews
    "gpt-4o-2024-08-06": "gpt-4o",
    "gpt-4-0613": "gpt-4",
    "gpt-4-32k-0613": "gpt-4-32k",
    "gpt-4-turbo-2024-04-09": "gpt-4-turbo",
    "gpt-4-turbo-preview": "gpt-4-turbo",
    "gpt-4-1106-preview": "gpt-4-turbo",
    "gpt-4o-audio-preview-2024-12-17": "gpt-4o-audio",
    "gpt-3.5-turbo-instruct-0914": "gpt-3.5-turbo-instruct",
    "chatgpt-4o-latest": "chatgpt-4o",
    "o1-preview-2024-09-12": "o1-preview",
    "o3-mini-2025-01-31": "o3-mini",
    "GPT-4o": "gpt-4o",
    " gpt-4o\n": "gpt-4o",
    # fine-tunes: another price than the base, but not one model each
    "ft:gpt-4o-mini-2024-07-18:org::id": "ft:gpt-4o-mini",
    "ft:gpt-3.5-turbo-0125:acme:support:8xYz": "ft:gpt-3.5-turbo",
    "openai/ft:gpt-4o-2024-08-06:org::id": "ft:gpt-4o",
    "gpt-4o-2024-08-06.ft-0e2f9c": "ft:gpt-4o",
    "davinci:ft-personal-2023-04-05": "ft:davinci",
    # providers and paths in front
    "openai/gpt-4o-mini": "gpt-4o-mini",
    "openai:gpt-4o-mini": "gpt-4o-mini",
    "google-gla:gemini-1.5-flash": "gemini-1.5-flash",
    "openrouter/anthropic/claude-3.5-sonnet": "claude-3-5-sonnet",
    "anthropic/claude-3.7-sonnet:thinking": "claude-3-7-sonnet",
    "anthropic/claude-sonnet-4.5": "claude-sonnet-4-5",
    "deepseek/deepseek-chat-v3-0324:free": "deepseek-chat-v3",
    "models/gemini-1.5-pro-002": "gemini-1.5-pro",
    "accounts/fireworks/models/llama-v3p1-70b-instruct": "llama-3.1-70b-instruct",
    "accounts/fireworks/models/qwen2p5-72b-instruct": "qwen2.5-72b-instruct",
    "@cf/meta/llama-3.1-8b-instruct": "llama-3.1-8b-instruct",
    "meta-llama/Meta-Llama-3.1-8B-Instruct": "llama-3.1-8b-instruct",
    "databricks-meta-llama-3-3-70b-instruct": "llama-3.3-70b-instruct",
    # Azure
    "azure/gpt-35-turbo": "gpt-3.5-turbo",
    "gpt-35-turbo-16k": "gpt-3.5-turbo-16k",
    "gpt-35-turbo-0613": "gpt-3.5-turbo",
    # Anthropic
    "claude-3-haiku-20240307": "claude-3-haiku",
    "claude-3-5-sonnet-latest": "claude-3-5-sonnet",
    "claude-opus-4-1-20250805": "claude-opus-4-1",
    "claude-4-sonnet": "claude-sonnet-4",
    # Bedrock: vendors, regions, versions, ARNs
    "anthropic.claude-3-5-sonnet-20240620-v1:0": "claude-3-5-sonnet",
    "us.anthropic.claude-3-5-sonnet-20241022-v2:0": "claude-3-5-sonnet",
    "anthropic.claude-3-opus-20240229-v1:0:200k": "claude-3-opus",
    "global.anthropic.claude-opus-4-6-v1": "claude-opus-4-6",
    "anthropic.claude-v2:1": "claude-2.1",
    "anthropic.claude-instant-v1": "claude-instant",
    "bedrock/us-east-1/anthropic.claude-instant-v1": "claude-instant",
    "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-20250514-v1:0": (
        "claude-sonnet-4"
    ),
    "arn:aws:bedrock:us-west-2::foundation-model/amazon.nova-pro-v1:0": "nova-pro",
    "meta.llama3-1-70b-instruct-v1:0": "llama-3.1-70b-instruct",
    "meta.llama3-70b-instruct-v1:0": "llama-3-70b-instruct",
    "mistral.mistral-large-2402-v1:0": "mistral-large",
    "mistral.mistral-7b-instruct-v0:2": "mistral-7b-instruct-v0.2",
    "openai.gpt-oss-120b-1:0": "gpt-oss-120b",
    "us.deepseek.r1-v1:0": "deepseek-r1",
    "amazon.titan-embed-text-v2:0": "titan-embed-text-v2",
    "cohere.rerank-v3-5:0": "rerank-v3-5",
    # Vertex AI
    "publishers/google/models/gemini-2.0-flash-001": "gemini-2.0-flash",
    "projects/p/locations/us-central1/publishers/anthropic/models/claude-3-opus@20240229": "claude-3-opus",
    "claude-3-5-sonnet@20240620": "claude-3-5-sonnet",
    "vertex_ai/claude-3-5-sonnet-v2@20241022": "claude-3-5-sonnet",
    "text-bison@001": "text-bison",
    # Gemini
    "gemini-2.5-flash-preview-09-2025": "gemini-2.5-flash",
    "gemini-2.5-pro-preview-05-06": "gemini-2.5-pro",
    "gemini-2.0-flash-thinking-exp-01-21": "gemini-2.0-flash-thinking",
    "gemini-exp-1206": "gemini-exp",
    # Ollama and files: a size is a model, a quantization is not
    "llama3.1:8b-instruct-q4_0": "llama-3.1-8b-instruct",
    "llama3.1:latest": "llama-3.1",
    "llama3:70b": "llama-3-70b",
    "mistral:7b-instruct-v0.2-q4_K_M": "mistral-7b-instruct-v0.2",
    "hf.co/bartowski/Llama-3.2-3B-Instruct-GGUF:Q4_K_M": "llama-3.2-3b-instruct",
    # others
    "mistral-large-2411": "mistral-large",
    "mistral-large-latest": "mistral-large",
    "command-r-plus-08-2024": "command-r-plus",
    "deepseek-r1-0528": "deepseek-r1",
    "doubao-1-5-pro-32k-250115": "doubao-1-5-pro-32k",
}

UNCHANGED = [
    *("gpt-4", "gpt-4o", "gpt-4.1-nano", "gpt-4-32k", "gpt-3.5-turbo-16k", "gpt-oss-120b", "gpt-5-codex"),
    *("o1", "o1-mini", "o1-preview", "o3", "o4-mini-deep-research", "whisper-1", "tts-1-hd", "dall-e-3"),
    *("text-embedding-3-small", "text-embedding-ada-002", "text-embedding-004", "text-davinci-003"),
    *("claude-3-5-sonnet", "claude-sonnet-4", "claude-sonnet-4-5", "claude-2.1", "claude-instant"),
    *("gemini-1.5-pro", "gemini-2.5-flash-lite", "gemini-embedding-001", "llama-3.1-8b-instruct"),
    *("llama-4-maverick", "codellama-34b", "llama-guard-3-8b", "mixtral-8x7b-32768"),
    *("titan-embed-text-v1", "titan-embed-text-v2", "embed-english-v3.0", "command-r", "deepseek-v3.2-exp"),
    *("qwen3-235b-a22b", "phi-3.5-mini-128k", "grok-3-beta", "my-deployment", "gpt-fake", ""),
]


@pytest.mark.parametrize(("value", "expected"), CANONICAL.items())
def test_one_name_per_model(value: str, expected: str) -> None:
    """Provider, region, date, revision, quantization and route go; the model's own name is left."""
    assert ModelName()(value) == expected


@pytest.mark.parametrize("value", [*UNCHANGED, *sorted(set(CANONICAL.values()))])
def test_canonical_names_stay(value: str) -> None:
    """What is a model of its own is not cut, and what the rule returned it returns again."""
    assert ModelName()(value) == value


@pytest.mark.parametrize(
    "value",
    ["prod-chat", "PROD-CHAT", "azure/prod-chat", "us.meta.prod-chat-2024-08-06", "prod-chat:free"],
)
def test_aliases_at_every_step(value: str) -> None:
    """An alias is found under what the application sends and under what is left of it."""
    assert ModelName({"Prod-Chat": "GPT-4o"})(value) == "GPT-4o"


def test_aliases_win() -> None:
    """An alias overrules the tables, for a whole path as well as for a canonical name."""
    arn = "arn:aws:bedrock:us-east-1:1:application-inference-profile/abc123"
    name = ModelName({arn: "claude-sonnet-4", "gpt-4o": "flagship", "o1-preview": "o1"})
    assert [name(arn), name("gpt-4o-2024-08-06"), name("o1-preview")] == ["claude-sonnet-4", "flagship", "o1"]


def test_aliases_are_copied() -> None:
    """Changing the mapping afterwards changes nothing."""
    aliases = {"a": "b"}
    name = ModelName(aliases)
    aliases["a"] = "c"
    assert name("a") == "b"


@pytest.mark.parametrize("aliases", [None, "a", ["a"], {"a": 1}, {1: "a"}, {"a": ""}, {"a": "\ud800"}])
def test_wrong_aliases(aliases: object) -> None:
    """What is no table of names is refused when the rule is made."""
    with pytest.raises(ConfigurationError, match=r"ModelName\.aliases"):
        ModelName(aliases)  # type: ignore[arg-type]

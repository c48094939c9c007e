"""Names of providers: one for each, however libraries spell it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.semconv._incubating.attributes.gen_ai_attributes import GenAiProviderNameValues

from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.rules import ProviderName


@pytest.mark.parametrize("value", [value.value for value in GenAiProviderNameValues])
def test_the_names_of_the_conventions_stay(value: str) -> None:
    """What the installed conventions call a provider is what is shown."""
    assert ProviderName()(value) == value


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        *(("gemini", "gcp.gemini"), ("Gemini", "gcp.gemini"), ("vertexai", "gcp.vertex_ai")),
        *(
            ("azure", "azure.ai.openai"),
            ("AzureOpenAI", "azure.ai.openai"),
            ("az.ai.openai", "azure.ai.openai"),
        ),
        *(("bedrock", "aws.bedrock"), ("amazon-bedrock", "aws.bedrock"), ("mistral", "mistral_ai")),
        # the Vercel AI SDK says which API it is
        *(("openai.responses", "openai"), ("anthropic.messages", "anthropic"), ("xai.chat", "x_ai")),
        *(("google.vertex.chat", "gcp.vertex_ai"), ("vertex.anthropic.messages", "gcp.vertex_ai")),
        *(("google.generative-ai", "gcp.gen_ai"), ("groq.chat", "groq"), ("vllm.chat", "vllm.chat")),
        *(("AmazonBedrock", "aws.bedrock"), ("AzureAIInference", "azure.ai.inference")),
        *(("vertex_ai_beta", "gcp.vertex_ai"), ("text-completion-openai", "openai")),  # litellm
        *(("GoogleGenerativeAI", "gcp.gen_ai"), ("Bedrock Runtime", "aws.bedrock")),
        *(("xai", "x_ai"), ("OpenAI", "openai"), (" openai ", "openai"), ("together", "together"), ("", "")),
    ],
)
def test_spellings_of_libraries(given: str, shown: str) -> None:
    """Each has the name of the conventions; an unknown one stays."""
    assert ProviderName()(given) == shown


@given(st.text(max_size=40))
def test_a_name_is_its_own_name(name: str) -> None:
    """What the rule makes of a name it leaves alone afterwards, whatever the name is."""
    rule = ProviderName()
    assert rule(rule(name)) == rule(name)


def test_aliases_come_first() -> None:
    """Names of one's own win over the table, in any case."""
    assert ProviderName({"Gemini": "ours"})("GEMINI ") == "ours"
    with pytest.raises(ConfigurationError, match=r"ProviderName\.aliases"):
        ProviderName({"a": 1})  # type: ignore[dict-item]

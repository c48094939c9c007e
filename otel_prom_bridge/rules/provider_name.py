"""A rule that gives each provider of models one name: that of the semantic conventions."""

from __future__ import annotations

import re
from collections.abc import Mapping

from otel_prom_bridge.rules.aliases import Aliased

# The names of the conventions, and those that libraries have for the same providers, in lower case and with
# "_" for whatever stands between words.
# https://opentelemetry.io/docs/specs/semconv/registry/attributes/gen-ai/#gen-ai-provider-name
_SPELLINGS: Mapping[str, str] = {
    "anthropic": "anthropic_api claude",
    "aws.bedrock": "bedrock aws_bedrock amazon_bedrock bedrock_converse bedrock_runtime aws amazon"
    " amazonbedrock",
    "azure.ai.inference": "azure_ai_inference azure_ai az_ai_inference azure_ai_foundry azure_foundry"
    " azureaiinference azureai",
    "azure.ai.openai": "azure azure_openai azure_ai_openai az_ai_openai openai_azure azureopenai",
    "cohere": "cohere_chat cohereai",
    "deepseek": "deepseek_ai",
    "gcp.gemini": "gemini gcp_gemini google_gla google_ai google_ai_studio google_gemini",
    "gcp.gen_ai": "gcp_gen_ai google google_genai google_generativeai google_generative_ai"
    " googlegenerativeai gen_ai",
    "gcp.vertex_ai": "vertex_ai vertexai gcp_vertex_ai google_vertex google_vertex_ai google_vertexai vertex"
    " gcp_vertex_agent vertex_anthropic vertex_ai_beta",
    "groq": "groqcloud",
    "ibm.watsonx.ai": "watsonx ibm_watsonx ibm_watsonx_ai watsonx_ai",
    "mistral_ai": "mistral mistralai",
    "moonshot_ai": "moonshot moonshotai",
    "openai": "open_ai openai_chat openai_responses text_completion_openai",
    "perplexity": "perplexity_ai perplexityai",
    "x_ai": "xai grok",
}
_NAMES = {
    spelling: name
    for name, spellings in _SPELLINGS.items()
    for spelling in (name, name.replace(".", "_"), *spellings.split())
}
_BETWEEN = re.compile(r"[^a-z0-9]+")
# The Vercel AI SDK says which API of a provider it is: `openai.responses`, `anthropic.messages`.
_API = re.compile(r"_(chat|messages|responses|completions?|embeddings?|text_?embedding|image|generative_ai)$")


class ProviderName(Aliased):
    """The name that the semantic conventions have for a provider of models.

    A name that the table does not have is shown in lower case. ``aliases`` is a mapping of further names,
    which count before the table's, whatever their case. Its values are shown as they are.

    >>> name = ProviderName({"llm-gateway": "openai"})
    >>> name("gemini"), name("AzureOpenAI"), name("LLM-Gateway"), name("together")
    ('gcp.gemini', 'azure.ai.openai', 'openai', 'together')
    """

    __slots__ = ()

    def __call__(self, value: str) -> str:
        """The name of the conventions or, if they have none, the value in lower case."""
        text = value.strip().lower()
        spelling = _BETWEEN.sub("_", text)
        known = self._names.get(text) or _NAMES.get(spelling) or _NAMES.get(_API.sub("", spelling))
        return known or text

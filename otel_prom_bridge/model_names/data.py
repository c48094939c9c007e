"""How providers spell the names of language models. `canonical` works with these tables.

Everything here is in lower case. A spelling that is missing here stays as it is, so that one model is shown
under two names. An alias mends that.
"""

from __future__ import annotations

import re

# Names whose ending is not a version of what stands before it, and names that only a list can tell. They are
# looked up before anything is cut and after each cut.
NAMES = {
    # Previews that are models of their own, with their own prices.
    "o1-preview": "o1-preview",
    "gpt-4-1106-preview": "gpt-4-turbo",
    "gpt-4-0125-preview": "gpt-4-turbo",
    "gpt-4-1106-vision-preview": "gpt-4-turbo",
    "gpt-4-vision-preview": "gpt-4-turbo",
    # What would be left of these is not a model.
    "gemini-embedding-001": "gemini-embedding-001",
    "gemini-exp": "gemini-exp",
    # Bedrock has a vendor "deepseek" with models "r1" and "v3".
    "deepseek.r1-v1:0": "deepseek-r1",
    "deepseek.v3-v1:0": "deepseek-v3",
    # Versions as Bedrock writes them, and as Anthropic once did.
    "claude-v2:1": "claude-2.1",
    "claude-2.1": "claude-2.1",
    "claude-v2": "claude-2",
    "claude-2.0": "claude-2",
    "claude-instant-v1": "claude-instant",
    "claude-instant-1": "claude-instant",
    "claude-instant-1.2": "claude-instant",
    # Names with their words the other way round.
    "claude-4-sonnet": "claude-sonnet-4",
    "claude-4-opus": "claude-opus-4",
    "claude-4.5-sonnet": "claude-sonnet-4-5",
    "claude-4.5-haiku": "claude-haiku-4-5",
    "claude-4.5-opus": "claude-opus-4-5",
}

# LangChain and Pydantic AI write "anthropic:claude-…". It takes a list to tell these apart, since the model
# itself may stand before a colon: "llama3.1:8b".
PROVIDERS = frozenset(
    {
        *("openai", "openai-chat", "openai-responses", "azure", "azure_openai", "azure-openai", "azure_ai"),
        *("anthropic", "anthropic_bedrock", "bedrock", "bedrock_converse", "amazon-bedrock", "sagemaker"),
        *(
            "google",
            "google-gla",
            "google-vertex",
            "google_genai",
            "google_vertexai",
            "google_anthropic_vertex",
        ),
        *(
            "gemini",
            "vertex_ai",
            "vertexai",
            "mistral",
            "mistralai",
            "cohere",
            "groq",
            "cerebras",
            "deepseek",
        ),
        *("fireworks", "fireworks_ai", "together", "together_ai", "openrouter", "perplexity", "xai", "grok"),
        *("ollama", "ollama_chat", "huggingface", "moonshotai", "nvidia", "ibm", "databricks", "github"),
        *("heroku", "vercel", "litellm", "gateway", "vllm", "hosted_vllm", "replicate", "snowflake"),
    }
)

# "mistral" is a provider and a model. What follows its colon is a tag of the model if it is one of these or
# starts with a digit.
TAGS = frozenset({"latest", "instruct", "text"})

# In "us.anthropic.claude-…" a region of Bedrock's cross-region inference profiles stands before the vendor.
# https://docs.aws.amazon.com/bedrock/latest/userguide/inference-profiles-support.html
REGION = re.compile(r"^(?:us|us-gov|eu|apac|au|jp|ca|sa|me|af|global)\.(?=[a-z0-9]+\.)")
VENDOR = re.compile(
    r"^(?:ai21|amazon|anthropic|cohere|deepseek|google|luma|meta|minimax|mistral|moonshot|moonshotai|nvidia"
    r"|openai|qwen|stability|twelvelabs|writer|xai|zai)\."
)

# The endings of "gpt-4o:free" (OpenRouter), "llama3:latest" (Ollama) and "…:fastest" (Hugging Face) say how
# to reach a model, and not which model. ":128k" and ":48k" are lengths of contexts at Bedrock.
ROUTE = re.compile(
    r":(?:free|nitro|floor|online|exacto|beta|extended|thinking|latest|fastest|cheapest|\d+k)$"
)

# How the weights are packed, as Ollama and names of files have it. That does not make another model; a size
# does.
# https://github.com/ollama/ollama/blob/main/docs/import.md
PACKING = re.compile(
    r"[-.:_](?:gguf|gptq|awq|bnb|mlx|[48]-?bit|int[48]|fp(?:4|8|16|32)|bf16|i?q[1-8](?:_[01kmslx]{1,3})*)$"
)

_YEAR = r"20[12]\d"
_MONTH = r"(?:0[1-9]|1[0-2])"
_DAY = r"(?:0[1-9]|[12]\d|3[01])"
_DATES = "|".join(
    (
        rf"{_YEAR}-?{_MONTH}-?{_DAY}",  # gpt-4o-2024-08-06, claude-3-haiku-20240307
        rf"{_MONTH}-?{_DAY}",  # gpt-4-0613, gemini-2.5-pro-preview-05-06
        rf"2[3-9]{_MONTH}(?:{_DAY})?",  # mistral-large-2411, doubao-pro-32k-250115
        rf"{_MONTH}-{_YEAR}",  # command-r-08-2024
    )
)

# These endings are cut off, again and again until none is left.
VERSIONS = (
    re.compile(rf"[-@](?:{_DATES})(?:-v\d{{1,2}}(?::\d{{1,2}})?)?$"),  # …-20241022-v2:0 (Bedrock)
    re.compile(r"-(?:latest|preview)$"),
    re.compile(r"@(?:\d{3}|default|latest)$"),  # text-bison@001, claude-opus-4@default (Vertex AI)
    # The first version of a model at Bedrock. A second one may be another model (titan-embed-text-v2).
    re.compile(r"-v?1:0$"),
    re.compile(r"(?<=\d)-v1$"),  # claude-opus-4-6-v1, but titan-embed-text-v1
    re.compile(r":0$"),
)

# These endings are cut off only from names that begin so. The numbers of "text-embedding-004" and
# "text-davinci-003" are not versions.
FAMILY_VERSIONS = (
    ("gemini-", re.compile(r"(?<=[a-z])-(?:00\d|exp|experimental)$")),
    ("claude-", re.compile(r"-v[12]$")),  # claude-3-5-sonnet-v2@20241022 (Vertex AI)
)

# Different spellings of one name by Azure, Fireworks (llama-v3p1), Bedrock (llama3-1), Ollama (llama3.1),
# Hugging Face (meta-llama-3.1), OpenRouter (claude-3.5-sonnet) and Databricks.
SPELLINGS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"-v(\d):([1-9])$"), r"-v\1.\2"),  # mistral-7b-instruct-v0:2
    (re.compile(":"), "-"),  # what is left of a tag: llama3.1:8b
    (re.compile(r"^databricks-(?!dbrx)"), ""),
    (re.compile(r"(?<=\d)p(?=\d)"), "."),
    (re.compile(r"^gpt-35(?![0-9.])"), "gpt-3.5"),
    (re.compile(r"^(?:meta-)?llama-?v?(\d)(?:[.-](\d))(?![0-9a-z.])"), r"llama-\1.\2"),
    (re.compile(r"^(?:meta-)?llama-?v?(\d)(?![0-9.])"), r"llama-\1"),
    # Anthropic writes claude-3-5-sonnet, and so do Bedrock and Vertex AI.
    (re.compile(r"(?<=^claude-)(\d)\.(\d)(?=-)"), r"\1-\2"),
    (re.compile(r"^(claude-[a-z]+-\d)\.(\d)"), r"\1-\2"),
)

"""How providers spell the names of language models: the data behind `canonical`.

Everything here is in lower case. What is not here stays as it is spelled: a gap in these tables shows one
model under two names, which an alias mends.
"""

from __future__ import annotations

import re

# Names whose ending is no version of what stands before it, and names that only a list can tell. Asked before
# anything is cut and after each cut.
NAMES = {
    # previews that are models of their own, with prices of their own
    "o1-preview": "o1-preview",
    "gpt-4-1106-preview": "gpt-4-turbo",
    "gpt-4-0125-preview": "gpt-4-turbo",
    "gpt-4-1106-vision-preview": "gpt-4-turbo",
    "gpt-4-vision-preview": "gpt-4-turbo",
    # what would be left is no model
    "gemini-embedding-001": "gemini-embedding-001",
    "gemini-exp": "gemini-exp",
    # Bedrock has a vendor "deepseek", and models "r1" and "v3"
    "deepseek.r1-v1:0": "deepseek-r1",
    "deepseek.v3-v1:0": "deepseek-v3",
    # versions written as Bedrock does, and as Anthropic did
    "claude-v2:1": "claude-2.1",
    "claude-2.1": "claude-2.1",
    "claude-v2": "claude-2",
    "claude-2.0": "claude-2",
    "claude-instant-v1": "claude-instant",
    "claude-instant-1": "claude-instant",
    "claude-instant-1.2": "claude-instant",
    # the words the other way round
    "claude-4-sonnet": "claude-sonnet-4",
    "claude-4-opus": "claude-opus-4",
    "claude-4.5-sonnet": "claude-sonnet-4-5",
    "claude-4.5-haiku": "claude-haiku-4-5",
    "claude-4.5-opus": "claude-opus-4-5",
}

# "anthropic:claude-…", as LangChain and Pydantic AI write it. A list, since what is before a colon may also
# be the model: "llama3.1:8b".
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

# "mistral" is both: these, and what starts with a digit, are tags of the model.
TAGS = frozenset({"latest", "instruct", "text"})

# "us.anthropic.claude-…": a region of Bedrock's cross-region inference profiles, and the vendor.
# https://docs.aws.amazon.com/bedrock/latest/userguide/inference-profiles-support.html
REGION = re.compile(r"^(?:us|us-gov|eu|apac|au|jp|ca|sa|me|af|global)\.(?=[a-z0-9]+\.)")
VENDOR = re.compile(
    r"^(?:ai21|amazon|anthropic|cohere|deepseek|google|luma|meta|minimax|mistral|moonshot|moonshotai|nvidia"
    r"|openai|qwen|stability|twelvelabs|writer|xai|zai)\."
)

# "gpt-4o:free" (OpenRouter), "llama3:latest" (Ollama), "…:fastest" (Hugging Face): a way to the model, not a
# model. ":128k" and ":48k" are context lengths of Bedrock.
ROUTE = re.compile(
    r":(?:free|nitro|floor|online|exacto|beta|extended|thinking|latest|fastest|cheapest|\d+k)$"
)

# How the weights are packed, at Ollama and in files. That makes no other model; a size does.
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

# What is cut from the end, again and again until nothing is.
VERSIONS = (
    re.compile(rf"[-@](?:{_DATES})(?:-v\d{{1,2}}(?::\d{{1,2}})?)?$"),  # …-20241022-v2:0 (Bedrock)
    re.compile(r"-(?:latest|preview)$"),
    re.compile(r"@(?:\d{3}|default|latest)$"),  # text-bison@001, claude-opus-4@default (Vertex AI)
    # The first version of a model in Bedrock; a second one may be another model (titan-embed-text-v2).
    re.compile(r"-v?1:0$"),
    re.compile(r"(?<=\d)-v1$"),  # claude-opus-4-6-v1, but titan-embed-text-v1
    re.compile(r":0$"),
)

# Only for names that begin so: "text-embedding-004" and "text-davinci-003" are not versions of anything.
FAMILY_VERSIONS = (
    ("gemini-", re.compile(r"(?<=[a-z])-(?:00\d|exp|experimental)$")),
    ("claude-", re.compile(r"-v[12]$")),  # claude-3-5-sonnet-v2@20241022 (Vertex AI)
)

# Spellings of one name: of Azure, Fireworks (llama-v3p1), Bedrock (llama3-1), Ollama (llama3.1), Hugging Face
# (meta-llama-3.1), OpenRouter (claude-3.5-sonnet), Databricks.
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

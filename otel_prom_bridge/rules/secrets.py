"""Keys of APIs in values of labels, which nobody means to show: found by the forms that they have.

This is no :class:`Redact`, which is asked for, and takes rather one too many. It is applied to every label
and exemplar, so it takes only what begins as a key does, and is as long as one. Every repetition has a bound,
so no text takes long.
"""

from __future__ import annotations

import re

PLACEHOLDER = "{key}"
SECRETS = "secrets"  # the rule by which points are counted whose labels had one

# No key is shorter. Most values of labels are, so that they are not searched.
SHORTEST = 20
_LONGEST = 4096
_FORMS = re.compile(
    r"(?<![a-zA-Z0-9_-])(?:"
    # OpenAI, Anthropic, OpenRouter, Stripe, Langfuse; Groq, xAI, Perplexity, Hugging Face, Replicate
    r"(?:sk|rk)[-_](?=[\w-]{0,99}\d)[\w-]{20,300}|(?:gsk_|xai-|pplx-|hf_|r8_)(?=\w{0,99}\d)\w{20,300}"
    # GitHub, GitLab, npm, PyPI, Slack, AWS, Google
    r"|gh[opsur]_\w{30,300}|github_pat_\w{20,300}|glpat-[\w-]{20,300}|npm_\w{30,300}|pypi-[\w-]{40,300}"
    r"|xox[abeprs]-[\w-]{16,300}|A[KS]IA[0-9A-Z]{16}|AIza[\w-]{30,300}"
    # JSON Web Tokens, and private keys
    r"|eyJ[\w-]{10,300}\.eyJ[\w-]{6,2000}(?:\.[\w-]{0,1000})?|-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----.*"
    # https://www.rfc-editor.org/rfc/rfc6750#section-2.1
    r"|(?i:bearer) {1,3}(?=[\w.~+/=-]{0,99}\d)[\w.~+/=-]{16,300})",
    re.DOTALL,
)


def without_secrets(text: str) -> str | None:
    """The text with placeholders for keys; None if it has none.

    >>> without_secrets("Incorrect API key provided: sk-proj-4f9aK2mQx7LbT0cVn8Rz")
    'Incorrect API key provided: {key}'
    >>> without_secrets("scikit-learn 1.7.2") is without_secrets("sk-estimators-of-all-kinds") is None
    True
    """
    if len(text) < SHORTEST:
        return None
    found, count = _FORMS.subn(PLACEHOLDER, text[:_LONGEST])
    return found if count else None

"""One spelling of a name, whichever way a library writes it."""

from __future__ import annotations

import re

_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def snake_case(name: str) -> str:
    """The words of a name in small letters with underscores between them.

    >>> [snake_case(name) for name in ("maxTokens", "MAX_TOKENS", "max-tokens", "APITimeout")]
    ['max_tokens', 'max_tokens', 'max_tokens', 'api_timeout']
    """
    return _WORDS.sub("_", name).replace("-", "_").replace(" ", "_").lower()

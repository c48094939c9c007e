"""The page: one HTML file with its script and its style, and the policy under which a browser runs it.

The policy names the script and the style by their hashes, so nothing else runs, whatever a label says.
Nothing is fetched but from the page's own origin.
https://www.w3.org/TR/CSP3/
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import lru_cache
from importlib import resources
from typing import NamedTuple

_PARTS = re.compile(rb"<(style|script)>(.*?)</\1>", re.DOTALL)


class ExplorerPage(NamedTuple):
    """The bytes of the page, and its headers."""

    body: bytes
    headers: tuple[tuple[str, str], ...]


@lru_cache(maxsize=1)
def page() -> ExplorerPage:
    """The page."""
    body = resources.files(__package__).joinpath("page.html").read_bytes()
    hashes: dict[str, str] = {}
    for kind, content in _PARTS.findall(body):
        digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
        hashes[kind.decode()] = f"'sha256-{digest}'"
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src {hashes['script']}",
            f"style-src {hashes['style']}",
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
        )
    )
    headers = (
        ("Content-Security-Policy", policy),
        ("X-Frame-Options", "DENY"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Permissions-Policy", "camera=(), geolocation=(), microphone=()"),
    )
    return ExplorerPage(body, headers)


@lru_cache(maxsize=1)
def schema() -> bytes:
    """The JSON schema of all answers."""
    return resources.files(__package__).joinpath("schema.json").read_bytes()

"""Redaction: secrets and personal data go, and what metrics are about stays."""

from __future__ import annotations

import re

import pytest

from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.rules import Redact

# Made up, and put together here so that no scanner of repositories takes them for real ones.
HEX = "9f86d081884c7d659a2feaa0c55ad015"
BASE62 = "aB3dE5fG7hJ9kL1mN3pQ5rS7"

REDACTED = {
    # keys of known forms
    "sk-" + "abcdef123456": "{key}",
    "sk-proj-" + "abc_DEF-123456": "{key}",
    "Incorrect API key provided: sk-" + "abc123def456.": "Incorrect API key provided: {key}.",
    "sk-ant-api03-" + BASE62: "{key}",
    "pk_live_" + BASE62: "{key}",
    "ghp_" + BASE62: "{key}",
    "github_pat_" + BASE62: "{key}",
    "glpat-" + "abcdefghij0123456789": "{key}",
    "AKIA" + "IOSFODNN7EXAMPLE": "{key}",
    "xoxb-" + "123456789012-abcdef": "{key}",
    "AIza" + "SyA1234567890abcdefghij": "{key}",
    "hf_" + "abcdefghijklmnop": "{key}",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc-DEF_123": "{key}",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----\n": "{key}\n",
    "-----BEGIN PRIVATE KEY-----\nMIIEow": "{key}",
    # secrets by what stands before them
    "Authorization: Bearer abc.def-123": "Authorization: Bearer {key}",
    "authorization: basic dXNlcjpwYXNz0Q==": "authorization: basic {key}",
    "password=hunter2&x=1": "password={key}&x=1",
    "api_key: 'abc'": "api_key: '{key}'",
    "AccountKey=abc/def==": "AccountKey={key}",
    "/v1beta/models?key=abcdefg": "/v1beta/models?key={key}",
    '{"token": "abcdefgh"}': '{"token": "{key}"}',
    "https://x/?access_token=abcdefg&page=2": "https://x/?access_token={key}&page=2",
    "postgresql://app:s3cr3t@db:5432/x": "postgresql://{key}@db:5432/x",
    "redis://:p@ss@cache:6379": "redis://{key}@cache:6379",
    "Authorization: Token 0123abcd": "Authorization: Token {key}",
    "authorization=Negotiate abcdefghijklmnop": "authorization={key} {key}",
    '{"Authorization": "0123abcdef"}': '{"Authorization": "{key}"}',
    "X-Auth-Token: abcdef123456": "X-Auth-Token: {key}",
    # long random runs
    HEX: "{key}",
    HEX + HEX: "{key}",
    f"etag {HEX.upper()} differs": "etag {key} differs",
    BASE62: "{key}",
    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY4x9": "{key}",
    "wJalrXUtnFEMI/K7MDENG/" + "bPxRfiCYEXAMPLEKEY": "{key}",
    "secret wJalrXUtnFEMI/K7MDENG+" + "bPxRfiCYEXAMPLEKEY is wrong": "secret {key} is wrong",
    # e-mail addresses
    "ada@example.com": "{email}",
    "mail <ada.lovelace+x@mail.example.co.uk>, please": "mail <{email}>, please",
    "jörg@müller.de": "{email}",
    "/users/ada%40example.com/x": "/users/{email}/x",
    "mail%3Dada.l%2Bx%40example.com%26x": "mail%3D{email}%26x",
    # addresses
    "10.0.0.1": "{ip}",
    "http://192.168.1.17:8080/x": "http://{ip}:8080/x",
    "1.45.2.0": "{ip}",
    "ip_10.0.0.1": "ip_{ip}",
    "::1": "{ip}",
    "[2001:db8::8a2e:370:7334]:443": "[{ip}]:443",
    "fe80::1%eth0": "{ip}",
    "::ffff:10.0.0.1": "{ip}",
    # cards
    "4111111111111111": "{card}",
    "4111 1111 1111 1111 123": "{card} 123",
    "5500-0000-0000-0004": "{card}",
    "3782 822463 10005": "{card}",
    "card_4111111111111111": "card_{card}",
    "cc4111111111111111": "cc{card}",
    "card_4111-1111-1111-1111_x": "card_{card}_x",
    # phones
    "tel_+4915112345678": "tel_{phone}",
    "tel_555-123-4567": "tel_{phone}",
    "+49 30 1234567": "{phone}",
    "call +1 (555) 123-4567 now": "call {phone} now",
    "+4915112345678": "{phone}",
    "(555) 123-4567": "{phone}",
    "1-800-555-0199": "{phone}",
    "030 1234567": "{phone}",
    "0171/1234567": "{phone}",
    # several at once
    "ada@example.com:10.0.0.1": "{email}:{ip}",
}

KEPT = [
    *("", "gpt-4o-2024-08-06", "claude-3-5-sonnet-20241022", "meta-llama/Llama-3.1-405B-Instruct-Turbo"),
    *("meta-llama/Llama-4-Maverick-17B-128E-Instruct-FP8", "us.anthropic.claude-3-5-sonnet-20241022-v2:0"),
    *("accounts/fireworks/models/llama-v3p1-70b-instruct", "text-embedding-3-small", "ft:gpt-4o"),
    *(
        "200",
        "404",
        "5xx",
        "8080",
        "443/tcp",
        "localhost:8080",
        "example.com:443",
        "1.45.2",
        "v1.45.2.0",
        "3.11.7rc1",
    ),
    *("2024-05-17", "2024-05-17T10:30:00.123Z", "2024-05-17 10:30:00+02:00", "20240517", "20240517103000"),
    *(
        "12:30:45",
        "17.05.2024",
        "05/17/2024",
        "1715941800",
        "1715941800123",
        "1715941800123456789",
        "123456789012",
    ),
    *("4111111111111112", "1234 5678 9012 3456", "999.999.999.999", "1.2.3.4.5", "+02:00", "-0.000123456"),
    *(
        "550e8400-e29b-41d4-a716-446655440000",
        "abcd4111-1111-1111-1111-446655440000",
        "aa:bb:cc:dd:ee:ff",
        "std::vector",
        "Bad::Add",
        "task-scheduler",
    ),
    *("opentelemetry.instrumentation.genai.openai", "openai.RateLimitError", "Basic authentication failed"),
    *(
        "bearer token is missing",
        "sort_key=created_at",
        "unexpected token: comma",
        "max_tokens=4096",
        "lodash@4.17.21",
        "text-bison@001",
    ),
    *(
        "@handle",
        "text-bison%40001",
        "lodash%404.17.21",
        "Authorization: required",
        "authorization failed",
        "session token: expired",
        "src/App3/Build7/OrderServiceV2/MainHandl",
        "getUserByIdAndNameFromDatabaseTable2Impl",
        "order_4111111111111112",
        "user@localhost",
        "/v1/chat/completions",
        "getUserByIdAndNameFromDatabase",
        "src/App3/Build7/OrderServiceV2/Main",
    ),
    *("internationalization", "1024x1024", "10 of 20 requests", "SELECT * FROM users WHERE id = ?", "größe"),
]


@pytest.mark.parametrize(("value", "expected"), REDACTED.items())
def test_redacted(value: str, expected: str) -> None:
    """What is secret or personal becomes a placeholder, and what is around it stays."""
    assert Redact()(value) == expected


@pytest.mark.parametrize("value", KEPT)
def test_kept(value: str) -> None:
    """Model names, versions, dates, ports, codes and prose are not touched."""
    assert Redact()(value) == value


@pytest.mark.parametrize("value", sorted(REDACTED.values()))
def test_placeholders_stay(value: str) -> None:
    """Redacting twice is redacting once."""
    assert Redact()(value) == value


def test_patterns_first() -> None:
    """The application's patterns come before ours; a placeholder is taken literally."""
    rule = Redact([(r"ada@\S+", r"{ada\1}"), (re.compile("ACME", re.IGNORECASE), "{customer}")])
    assert rule("ada@example.com bob@example.com acme") == r"{ada\1} {email} {customer}"


def test_kinds() -> None:
    """Only the chosen kinds are looked for; without any, only the application's patterns are."""
    text = "ada@example.com 10.0.0.1"
    assert Redact(kinds=["email"])(text) == "{email} 10.0.0.1"
    assert Redact([("ada", "{ada}")], kinds=())(text) == "{ada}@example.com 10.0.0.1"


def test_a_secret_at_the_cut() -> None:
    """A value that is cut is cut between words, so that no half of a secret remains."""
    shown = Redact()("x" * 4080 + " password=hunter2hunter2")
    assert shown.endswith("x …")
    assert Redact()("a1B" * 2000) == "…"


@pytest.mark.parametrize(
    "patterns", ["abc", 5, ["abc"], [("(", "{x}")], [("a", "")], [("a*", "{x}")], [(b"a", "{x}")], {"a": "b"}]
)
def test_wrong_patterns(patterns: object) -> None:
    """Patterns that do not compile, or are none, are refused when the rule is made."""
    with pytest.raises(ConfigurationError, match=r"Redact\.patterns"):
        Redact(patterns)  # type: ignore[arg-type]


@pytest.mark.parametrize("kinds", ["email", "", ["emails"], None, [1], [[]]])
def test_wrong_kinds(kinds: object) -> None:
    """Kinds that do not exist are refused."""
    with pytest.raises(ConfigurationError, match="a list of key, email, ip, card, phone"):
        Redact(kinds=kinds)  # type: ignore[arg-type]

"""Replacing personal data and secrets inside a value by placeholders.

This is the last line of defence for labels that hold text: error messages, URLs, names that users choose. It
is no licence to put secrets there. It finds what has a form: known kinds of tokens, whatever follows
``password=`` or ``Authorization:``, and long runs of characters that no language makes. Of these it rather
takes one too many. A short password in the middle of a sentence has no form, and neither has a name. What
metrics are about stays: model names, versions, dates, ports, status codes, and plain numbers of up to twelve
digits. UUIDs stay, too, because they name things.

Cards, addresses and random characters are first matched by a wide expression and then judged by a function.
No expression can start inside a run of its own kind, so none takes more than linear time where that matters.
The length of a value is bounded as well.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TypeAlias

from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.rules.rule import PATTERNS, Compiled, Pattern
from otel_prom_bridge.rules.words import is_mixed_up
from otel_prom_bridge.values.checks import Check

_Judge: TypeAlias = Callable[[str], bool]

_LONGEST = 4096


def _is_card(text: str) -> bool:
    """Whether the digits could be of a payment card, by its first digits and Luhn's check digit.

    Times in milliseconds begin with 1, and years with 20, so neither is taken for a card.
    https://en.wikipedia.org/wiki/Luhn_algorithm
    """
    digits = [int(digit) for digit in text if digit.isdigit()]
    if not (digits[0] in (3, 4, 5, 6) or 22 <= digits[0] * 10 + digits[1] <= 27):
        return False
    doubled = (digit * 2 - 9 if digit > 4 else digit * 2 for digit in digits[-2::-2])
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _is_ipv6(text: str) -> bool:
    """Whether this is an IPv6 address. A text without any digit is rather a name, like ``Bad::Add``."""
    if text.count(":") < 2 or not any(map(str.isdigit, text)):
        return False
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _is_ipv4(text: str) -> bool:
    return all(int(part) <= 255 for part in text.split("."))


def _is_random(text: str) -> bool:
    """Whether a long run is no word, because it has digits all over it or among letters of both cases.

    >>> [_is_random(text) for text in ("f3a9c04be1d27f6a85b0c9d4", "Meta20Llama20Instruction")]
    [True, True]
    >>> [_is_random(text) for text in ("internationalization2024", "20240620103000000000000000")]
    [False, False]
    """
    digits = sum(map(str.isdigit, text))
    if digits < 2 or digits == len(text):
        return False
    if text != text.lower() and text != text.upper():
        return True
    return len(text) >= 24 and len(re.findall("[0-9]+", text)) >= 3


def _is_base64(text: str) -> bool:
    """Whether a run with separators in it is base64, where the kind of character changes all the time.

    A path of words has more slashes, and a model name has longer runs of one kind of character.
    """
    if len(re.findall("[0-9]+", text)) < 3 or text.count("/") * 16 > len(text):
        return False
    kinds = [(char.isdigit(), char.isupper()) for char in text if char.isalnum()]
    return len(set(kinds)) == 3 and sum(a != b for a, b in pairwise(kinds)) >= 0.35 * len(kinds)


def _is_aws_secret(text: str) -> bool:
    # A path of forty characters that is no secret is made of words.
    return is_mixed_up(text.replace("/", "-").replace("+", "-"))


# The kinds in the order in which they are tried. What matches the group "keep" stays.
_TABLE: tuple[tuple[str, str, _Judge | None], ...] = (
    # a private key, to its end or to the end of the value
    (
        "key",
        r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[^-]*(?:-----END [A-Z ]{0,30}PRIVATE KEY-----)?",
        None,
    ),
    # OpenAI, Anthropic, OpenRouter, Stripe, Langfuse, Perplexity, xAI, Groq, Hugging Face, Replicate
    ("key", r"(?<![a-zA-Z0-9])(?:(?:sk|rk|pk)[-_]|pplx-|xai-|gsk_|hf_|r8_)[\w-]{8,}", None),
    # GitHub, GitLab, npm, PyPI, Docker, DigitalOcean, Shopify, Stripe's webhooks, Vault
    (
        "key",
        r"(?<![a-zA-Z0-9])(?:gh[a-z]_|github_pat_|gl[a-z]{2,6}-|npm_|pypi-|dckr_pat_|do[a-z]_v1_|shp[a-z]{2}_"
        r"|whsec_|hv[sbr]\.)[\w-]{16,}",
        None,
    ),
    # AWS, Google, Slack, SendGrid, Telegram
    ("key", r"(?<![a-zA-Z0-9])(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{12,}", None),
    ("key", r"(?<![a-zA-Z0-9])(?:AIza|ya29\.|GOCSPX-|1//0)[\w-]{10,}", None),
    ("key", r"(?<![a-zA-Z0-9])(?:xox[a-z]|xapp)-[\w-]{6,}", None),
    ("key", r"(?<![a-zA-Z0-9])SG\.[\w-]{8,}\.[\w-]{8,}", None),
    ("key", r"(?<!\d)\d{8,10}:AA[\w-]{30,}", None),
    # JSON Web Tokens, signed or not. https://www.rfc-editor.org/rfc/rfc7519#section-3.1
    ("key", r"(?<![a-zA-Z0-9])eyJ[\w-]{6,}(?:\.[\w-]*){1,4}", None),
    # https://www.rfc-editor.org/rfc/rfc6750#section-2.1; "Basic authentication failed" is none
    (
        "key",
        r"(?P<keep>\b(?i:bearer|basic|digest) +)(?=[\w.~+/=-]*\d|[\w.~+/=-]{16})[\w.~+/=-]{6,}",
        None,
    ),
    (
        "key",
        r"(?P<keep>(?i:passw(?:or)?d|pwd|secret|(?:api|access|account|secret|private)[-_ ]?key"
        r"|(?:auth|access|refresh|session)[-_]token)"
        r"[\"']? ?[=:] ?[\"']?)[^\s\"'&,;{}]{3,}",
        None,
    ),
    # any scheme, or none; "authorization: required" is prose
    (
        "key",
        r"(?P<keep>(?i:authorization)[\"']? ?[:=] ?[\"']?(?:[a-zA-Z][\w-]{0,30} +)?)"
        r"(?=[^\s\"',;{}]*\d|[^\s\"',;{}]{16})[^\s\"',;{}]{6,}",
        None,
    ),
    # a colon after these is mostly prose: "unexpected token: comma"
    (
        "key",
        r"(?P<keep>(?i:token|auth|authorization|credentials?|[?&]key|signature|\bsig)"
        r"(?:=|[\"'] ?: ?)[\"']?)[^\s\"'&,;{}]{6,}",
        None,
    ),
    ("key", r"(?P<keep>://)[^\s/@:?#]{0,128}:[^\s/?#]{1,256}(?=@)", None),
    ("key", r"(?<![a-zA-Z0-9+/_-])[a-zA-Z0-9+/]{40}(?![a-zA-Z0-9+/=_-])", _is_aws_secret),
    ("key", r"(?<![a-zA-Z0-9+/_-])[a-zA-Z0-9+/_-]{32,}={0,2}", _is_base64),
    ("key", r"(?<![a-zA-Z0-9])[a-zA-Z0-9]{20,}(?![a-zA-Z0-9])", _is_random),
    # the last label is letters: lodash@4.17.21 is a package; in a URL %40 is the @, and %2B the + before it
    (
        "email",
        r"(?:(?<![\w.+%'-])|(?<=%[013-9a-fA-F][0-9a-fA-F]|%2[0-9ac-fAC-F]))"
        r"(?:[\w.+'-]|%2[Bb]|%(?![0-9a-fA-F]{2}))+(?:@|%40)(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}(?!\w)",
        None,
    ),
    ("ip", r"(?<![\w:.])[0-9a-fA-F:]{2,39}(?:\.[0-9]{1,3}){0,3}(?:%\w{1,16})?(?![\w:])", _is_ipv6),
    # four small numbers; a "v" before them makes them a version
    ("ip", r"(?<![a-zA-Z0-9.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?!\w|\.[0-9])", _is_ipv4),
    # letters may stand beside it, card_4111…; what a UUID's first half looks like goes on with its last part
    (
        "card",
        r"(?<![0-9.+])(?:[0-9]{13,19}|[0-9]{4}([ -])[0-9]{4}\1[0-9]{4}\1[0-9]{1,4}"
        r"|[0-9]{4}([ -])[0-9]{6}\2[0-9]{4,5})(?![0-9]|\.[0-9]|-[0-9a-fA-F]{12})",
        _is_card,
    ),
    # +49 30 1234567; (555) 123-4567; 030 1234567
    ("phone", r"(?<![a-zA-Z0-9+])\+[0-9](?:[ ().-]{0,2}[0-9]){7,14}(?!\w)", None),
    (
        "phone",
        r"(?<![a-zA-Z0-9.+-])(?:1[ .-])?(?:\([0-9]{3}\) ?|[0-9]{3}[ .-])[0-9]{3}[ .-][0-9]{4}"
        r"(?![\w-]|\.[0-9])",
        None,
    ),
    ("phone", r"(?<![a-zA-Z0-9.+/-])0[0-9]{1,4}[ /-][0-9]{3,4}[ /-]?[0-9]{3,5}(?![\w/-]|\.[0-9])", None),
)
KINDS = tuple(dict.fromkeys(kind for kind, _, _ in _TABLE))


@cache  # made with the first rule that looks for the kind, since few applications have such a rule
def _expressions(kind: str) -> tuple[tuple[re.Pattern[str], _Judge | None], ...]:
    return tuple((re.compile(pattern), judge) for other, pattern, judge in _TABLE if other == kind)


def _chosen(value: object) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise TypeError
    chosen = list(value)
    if not all(kind in KINDS for kind in chosen):
        raise ValueError
    return tuple(kind for kind in KINDS if kind in chosen)


_CHOSEN = Check(allowed=f"a list of {', '.join(KINDS)}", check=_chosen)


@dataclass(frozen=True, slots=True, init=False)
class Redact:
    """Keys, e-mail and IP addresses, card and phone numbers become ``{key}``, ``{email}``, ``{ip}``, ….

    ``patterns`` are pairs of a regular expression and a placeholder, which are tried first. ``kinds`` says
    which of the built-in kinds are looked for. A name, or a password in a sentence, has no form and is not
    found. Four numbers like ``10.0.0.1`` are an address, but ``v1.45.2.0`` is a version. A value of more than
    4096 characters is cut. There is no bound on the number of values.

    >>> Redact()("401 for ada@example.com from 10.0.0.1:8080, Bearer sk-proj-4f9a8b7c6d5e")
    '401 for {email} from {ip}:8080, Bearer {key}'
    """

    patterns: Compiled
    kinds: tuple[str, ...]

    def __init__(self, patterns: Iterable[Pattern] = (), *, kinds: Iterable[str] = KINDS) -> None:
        chosen = _CHOSEN.value("Redact.kinds", kinds)
        compiled: Compiled = PATTERNS.value("Redact.patterns", patterns)
        for pattern, _ in compiled:
            if pattern.fullmatch(""):  # it would be found between any two characters
                raise ConfigurationError(
                    "Redact.patterns", pattern.pattern, "expressions that match something"
                )
        object.__setattr__(self, "patterns", compiled)
        object.__setattr__(self, "kinds", chosen)
        for kind in chosen:
            _expressions(kind)  # this compiles them now, and not when the application first records

    @property
    def max_values(self) -> None:
        """None: the rule has no bound of its own."""
        return None

    def __call__(self, value: str) -> str:
        """The value with placeholders."""
        text = value if len(value) <= _LONGEST else _beginning(value)
        for pattern, placeholder in self.patterns:
            text = _replaced(pattern, placeholder, None, text)
        for kind in self.kinds:
            for pattern, judge in _expressions(kind):
                text = _replaced(pattern, f"{{{kind}}}", judge, text)
        return text


def _replaced(pattern: re.Pattern[str], placeholder: str, judge: _Judge | None, text: str) -> str:
    kept = "keep" in pattern.groupindex

    def replacement(found: re.Match[str]) -> str:
        if judge is not None and not judge(found[0]):
            return found[0]
        return f"{found['keep']}{placeholder}" if kept else placeholder

    return pattern.sub(replacement, text)


def _beginning(value: str) -> str:
    # The cut is at the last space before the limit, because half a secret would not be recognized.
    words = re.match(r"(?s).*\s", value[:_LONGEST])
    return f"{words[0] if words else ''}…"

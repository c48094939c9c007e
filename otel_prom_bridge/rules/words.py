"""Telling the words, versions and short numbers of a route from ids and tokens.

A text is judged by its looks alone, because there is no list of all words. What mixes capitals, small
letters and digits has to prove that it is made of words, as ``listS3Objects`` is. Anything else that can be
pronounced is taken for a word.
"""

from __future__ import annotations

import re

# v1, api2, oauth2, k8s, v1beta1, gpt-4o, llama-v3p1-70b are words. A part of usr_8f3k2 is none.
_PARTS = re.compile(r"[^a-zA-Z0-9]+")
_VERSION = re.compile(r"v\d{1,3}(?:(?:p|alpha|beta|rc)\d{0,2}){0,2}", re.IGNORECASE)
_YEAR = re.compile(r"(?:19|20)\d\d")
# The pieces of camelCase, and what nobody can pronounce.
_PIECES = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", re.ASCII)
_CONSONANTS = re.compile(r"[b-df-hj-np-tv-xz]{6}", re.IGNORECASE)
_LONGEST_WORD = 30
# By them random letters are told from words of any language that is written with these letters.
_COMMON_LETTERS, _RARE_LETTERS = "aeinrst", "jkqvwxyz"
_SHORTEST_RANDOM = 20
_NAMED = frozenset({"sha256", "sha384", "sha512", "x509", "h264", "h265", "es256", "rs256", "hs256", "utf16"})

# Runs of the characters of base64 for URLs.
_RUNS = re.compile(r"[a-zA-Z0-9_-]{8,}")
_VOWEL = re.compile(r"[aeiouy]", re.IGNORECASE)
# Words in camelCase that have no vowel, or only two letters.
_WITHOUT_VOWEL = (
    "cfg cmd css csv ctx db dns ftp gpt grpc html http https img ip ipv js jwt llm md ml mp msg pdf pkg rpc"
    " sms sql src ssh ssl str svc tcp tls vm vpc xml"
)
_OF_TWO = "ai an as at by do go id if in is it me my no of on or os to ui up us vs we"
_SHORT = frozenset(f"{_WITHOUT_VOWEL} {_OF_TWO}".split())


def are_words(segment: str) -> bool:
    """Whether all of a segment could be part of a route.

    >>> [are_words(text) for text in ("chat-completions", "usr_8f3k2", "listS3Objects", "dQw4w9WgXcQ")]
    [True, False, True, False]
    """
    return all(map(_is_word, _PARTS.split(segment))) and not any(map(is_mixed_up, _RUNS.findall(segment)))


def is_named(segment: str) -> bool:
    """Whether the number in a segment belongs to a name: ``sha-256``, ``utf-16``."""
    return _PARTS.sub("", segment).lower() in _NAMED


def is_mixed_up(run: str) -> bool:
    """Whether a run with capitals, small letters and digits is not made of words, for the most part.

    >>> [is_mixed_up(text) for text in ("riGp-58W", "uploadToS3", "Meta-Llama-3.1-8B", "8f3k2")]
    [True, False, False, False]
    """
    if run in (run.lower(), run.upper()) or not any(map(str.isdigit, run)):
        return False
    text = run.replace("OAuth", "Oauth").replace("IPv", "Ipv")
    pieces = list(_PIECES.finditer(text))
    numbers = sum(piece[0].isdigit() for piece in pieces)
    if not all(map(_is_plain, pieces)) or (numbers > 2 and text.isalnum()):
        return True
    in_words = sum(len(piece[0]) for piece in pieces if len(piece[0]) > 2 and piece[0].isalpha())
    return 2 * in_words < sum(map(str.isalnum, text))


def is_scrambled(text: str) -> bool:
    """Whether a long run of letters is random: half of those of words are of the commonest seven.

    Few words without a gap are so long, and fewer look like it, so one is no proof. Names in camelCase are as
    long, and all that end alike may look like it, so of these the pieces have to be no words, too.

    >>> [is_scrambled(text) for text in ("vvymskxhgeswrlzhqxipgp", "internationalization", "zqxjk")]
    [True, False, False]
    >>> [is_scrambled(text) for text in ("qXvBzkWpJdhYmKtLgfVz", "InvoiceReviewWorkflow")]
    [True, False]
    """
    if len(text) < _SHORTEST_RANDOM or not (text.isascii() and text.isalpha()):
        return False
    if text not in (text.lower(), text.upper()):
        odd = [piece[0] for piece in _PIECES.finditer(text) if not _is_plain(piece)]
        if len("".join(odd)) < 2:  # a name may have one letter between its words: runXQuery
            return False
    letters = text.lower()
    common = sum(map(letters.count, _COMMON_LETTERS))
    return common <= 2 * sum(map(letters.count, _RARE_LETTERS))


def _is_word(text: str) -> bool:
    """Whether this part of a segment could be part of a route, and not of an id or a token.

    >>> [_is_word(text) for text in ("getUserById", "oauth2", "v1beta1", "8f3k2", "20241022", "NfFeUfV2Hi")]
    [True, True, True, False, False, False]
    """
    digits = sum(map(str.isdigit, text))
    if len(text) > _LONGEST_WORD:
        return False
    if digits < 3:
        pieces = len(_PIECES.findall(text))
        scrambled = pieces >= 5 and len(text) < 2.75 * pieces
        return not (scrambled or (digits and len(text) >= 12 and _CONSONANTS.search(text)))
    if digits == len(text):  # order-123, report-2024; gpt-4-0613 is given up for it
        return digits == 3 or _YEAR.fullmatch(text) is not None
    return _VERSION.fullmatch(text) is not None or text.lower() in _NAMED


def _is_plain(piece: re.Match[str]) -> bool:
    """Whether a piece of camelCase is a word, an acronym, a short number or a letter that belongs to one."""
    text = piece[0]
    if text.isdigit():
        return len(text) <= 3
    if len(text) == 1:  # S3, K8s, iPhone15, plan-b
        start, end = piece.span()
        around = piece.string[max(start - 1, 0) : start] + piece.string[end : end + 1]
        return not around.isalpha() or (start == 0 and text.islower())
    if text.isupper():
        return len(text) <= 4 or _VOWEL.search(text) is not None
    return text.lower() in _SHORT or (len(text) > 2 and _VOWEL.search(text) is not None)

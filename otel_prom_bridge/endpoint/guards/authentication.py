"""What a request's Authorization header is worth."""

from __future__ import annotations

from enum import Enum

from otel_prom_bridge.endpoint.guards.credentials import (
    BearerTokens,
    Passwords,
    bearer_token,
    user_and_password,
)

# Tells nothing of what is behind it; browsers show it.
_REALM = 'realm="metrics"'


class Verdict(Enum):
    """What is known of somebody."""

    OPEN = "nobody has to say who they are"
    PROVED = "who asks has shown that they may"
    ABSENT = "there are no credentials"
    WRONG = "there are credentials, and they are wrong"
    UNDECIDED = "that takes a hash to find out"

    @property
    def passes(self) -> bool:
        """The request may have what is protected."""
        return self in (Verdict.OPEN, Verdict.PROVED)


class Authentication:
    """Bearer tokens, passwords, either or none; with none, everybody passes."""

    def __init__(self, *, tokens: BearerTokens | None, passwords: Passwords | None) -> None:
        self._tokens = tokens
        self._passwords = passwords

    @property
    def required(self) -> bool:
        """Somebody who says nothing does not pass."""
        return self._tokens is not None or (self._passwords is not None and self._passwords.required)

    @property
    def challenges(self) -> tuple[tuple[str, str], ...]:
        """The headers that say which credentials would do.

        https://www.rfc-editor.org/rfc/rfc9110#name-www-authenticate
        """
        schemes = []
        if self._tokens is not None:
            schemes.append(f"Bearer {_REALM}")
        if self._passwords is not None and self._passwords.required:
            schemes.append(f'Basic {_REALM}, charset="UTF-8"')
        return tuple(("WWW-Authenticate", scheme) for scheme in schemes)

    @property
    def problem(self) -> str | None:
        """Why the tokens in use are older than their file, or None."""
        return None if self._tokens is None else self._tokens.problem

    def judge(self, header: str | None, *, hashing: bool, client: object = None) -> Verdict:
        """What an Authorization header is worth; ``UNDECIDED`` only if ``hashing`` is not allowed.

        Raises:
            BusyError: too many requests wait for a hash.
        """
        if not self.required:
            return Verdict.OPEN
        if header is None:
            return Verdict.ABSENT
        token = bearer_token(header)
        if token is not None and self._tokens is not None:
            return Verdict.PROVED if self._tokens.known(token) else Verdict.WRONG
        pair = user_and_password(header)
        if pair is None or self._passwords is None or not self._passwords.required:
            return Verdict.WRONG
        right = self._passwords.verify(*pair, client) if hashing else self._passwords.known(*pair)
        if right is None:
            return Verdict.UNDECIDED
        return Verdict.PROVED if right else Verdict.WRONG

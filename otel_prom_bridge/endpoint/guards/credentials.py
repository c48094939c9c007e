"""Who may ask: bearer tokens, passwords, and what a request's Authorization header is worth.

Nothing here keeps a password or a token. Tokens are kept as digests. What was verified before is known by a
keyed digest over all of its parts, each with its length in front of it, so that no two sets of parts share a
digest; they did in CVE-2022-46146. Right and wrong passwords are remembered apart, so that somebody who tries
passwords cannot make the bridge forget those who know theirs.

bcrypt is slow on purpose. It runs one at a time, in the thread that handles the request, and never in the
loop of a server. That is why there are two questions: ``known`` answers at once or not at all, and ``verify``
may take as long as a hash.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from enum import Enum
from types import ModuleType

from otel_prom_bridge.diagnostics import logger
from otel_prom_bridge.endpoint.files.watching import Watched
from otel_prom_bridge.errors import HIDDEN, ConfigurationError, Described, MissingPackageError
from otel_prom_bridge.forks import renew_in_child
from otel_prom_bridge.native import Capacity, Lock
from otel_prom_bridge.values.checks import PATH

CACHE_SIZE = 100
# How many threads may wait for their turn to hash. Other requests are told to come back.
MAX_WAITING = 8
# How many of them may be one client's, so that somebody who tries passwords cannot keep out everybody else.
MAX_WAITING_EACH = 4
_SHORT = 16  # shorter tokens may be guessed
_LONGEST_HEADER = 8192

# https://www.rfc-editor.org/rfc/rfc6750#section-2.1
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_HASH = re.compile(r"\$2[aby]\$(0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53}")
_ALPHABET = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_HASH_ALLOWED = "a bcrypt hash, as `htpasswd -nBC 10 \"\" | tr -d ':\\n'` makes one ($2a$, $2b$ or $2y$)"

# Browsers show it, and it tells nothing of what is behind it.
_REALM = 'realm="metrics"'

Users = Mapping[str, str]


class BusyError(Exception):
    """Too many passwords are being verified at the moment."""


class BearerTokens:
    """The tokens of a file. It is read again when it changes.

    There is one token in each line, and comments stand behind ``#``. Several tokens may be valid at a time,
    so that they can be rotated: add the new one, change the clients, take the old one out. A file without
    tokens is an error at the start. Later it lets nobody in.
    """

    def __init__(self, key: str, path: str | os.PathLike[str]) -> None:
        self._key = key
        self._path: str = PATH.value(key, path)
        self._has_warned = False
        self._watched = Watched(
            [self._path],
            self._read,
            doubt=lambda tokens: None if tokens else "no token is left, so nobody gets in",
        )
        if not self._watched.get():
            raise ConfigurationError(key, self._path, "a file with at least one token")

    @property
    def problem(self) -> str | None:
        """Why the tokens are older than their file, or None."""
        return self._watched.problem

    def known(self, token: str) -> bool:
        """Whether the token is one of them. It takes the same time for all of them and for any other text."""
        digest = _token_digest(token)
        found = False
        for valid in self._watched.get():
            found |= hmac.compare_digest(valid, digest)
        return found

    def _read(self) -> tuple[bytes, ...]:
        try:
            with open(self._path, encoding="utf-8-sig", errors="replace") as file:
                lines = file.read().splitlines()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "not a path"
            raise ConfigurationError(self._key, self._path, f"a file that can be read ({reason})") from None
        tokens = {number: line.partition("#")[0].strip() for number, line in enumerate(lines, 1)}
        tokens = {number: token for number, token in tokens.items() if token}
        for number, token in tokens.items():
            if not _TOKEN.fullmatch(token):
                expected = "letters, digits and ._~+/-=, like `openssl rand -hex 32`"
                raise ConfigurationError(f"{self._path}: line {number}", Described("its token"), expected)
        if not self._has_warned and any(len(token) < _SHORT for token in tokens.values()):
            self._has_warned = True
            text = "%s: a token of less than %d characters may be guessed; `openssl rand -hex 32` makes one"
            logger.warning(text, self._path, _SHORT)
        return tuple(map(_token_digest, tokens.values()))


def _token_digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


class Passwords:
    """Users with bcrypt hashes of their passwords. ``users`` is called for every request.

    A request for a user that does not exist takes as long as one for a user that does.
    """

    def __init__(self, users: Callable[[], Users]) -> None:
        self._users = users
        if users():
            load_bcrypt()
        self._key = secrets.token_bytes(32)
        self.renew()
        renew_in_child(self)

    def renew(self) -> None:
        """In a forked child: no thread verifies a password there."""
        self._lock = Lock()
        self._places = Capacity(MAX_WAITING)
        self._waiting: list[object] = []
        self._right = _Recent()
        self._wrong = _Recent()

    @property
    def required(self) -> bool:
        """There are users, so everybody has to be one."""
        return bool(self._users())

    def known(self, user: bytes, password: bytes) -> bool | None:
        """Whether the password is right, as far as that is known without hashing; else None."""
        return self._remembered(self._digest(user, self._hash(user)[0], password))

    def verify(self, user: bytes, password: bytes, client: object = None) -> bool:
        """Whether the password is right. Takes the time of one hash, unless that is known.

        Raises:
            BusyError: too many requests wait for a hash, of all clients or of this one.
        """
        hashed, exists = self._hash(user)
        digest = self._digest(user, hashed, password)
        known = self._remembered(digest)
        if known is not None:
            return known
        if self._waiting.count(client) >= MAX_WAITING_EACH or not self._places.enter():
            raise BusyError
        self._waiting.append(client)
        try:
            with self._lock:
                known = self._remembered(digest)  # another request may have brought the same
                if known is None:
                    known = self._check(password, hashed) and exists
                    (self._right if known else self._wrong).add(digest)
                return known
        finally:
            self._waiting.remove(client)
            self._places.leave()

    def _hash(self, user: bytes) -> tuple[bytes, bool]:
        users = self._users()
        hashed = users.get(user.decode("utf-8", "surrogateescape"))
        if hashed is not None:
            return hashed.encode(), True
        return self._decoy(user, users), False

    def _decoy(self, user: bytes, users: Users) -> bytes:
        """A hash of no password, at the cost of one of the users' hashes: of the same user each time."""
        secret = hmac.digest(self._key, user, "sha512")
        costs = sorted(hashed[4:6] for hashed in users.values()) or ["10"]
        cost = costs[int.from_bytes(secret[:8]) % len(costs)]
        # The last characters of salt and digest hold fewer bits, which '.' has none of.
        text = [_ALPHABET[byte % 64] for byte in secret[8:61]]
        text[21] = text[52] = "."
        return f"$2b${cost}${''.join(text)}".encode()

    def _check(self, password: bytes, hashed: bytes) -> bool:
        try:
            # bcrypt never looked further. Its newer libraries refuse a longer one instead of cutting it off.
            return bool(load_bcrypt().checkpw(password[:72], hashed))
        except ValueError:  # the text is the library's, and may show what it was given
            return False

    def _digest(self, *parts: bytes) -> bytes:
        hasher = hashlib.blake2b(key=self._key)
        for part in parts:
            hasher.update(len(part).to_bytes(8))
            hasher.update(part)
        return hasher.digest()

    def _remembered(self, digest: bytes) -> bool | None:
        if digest in self._right:
            return True
        return False if digest in self._wrong else None


class _Recent:
    """The digests that were seen last. It may be used from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._digests: OrderedDict[bytes, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._digests)

    def __contains__(self, digest: bytes) -> bool:
        with self._lock:
            found = digest in self._digests
            if found:
                self._digests.move_to_end(digest)
            return found

    def add(self, digest: bytes) -> None:
        with self._lock:
            self._digests[digest] = None
            if len(self._digests) > CACHE_SIZE:
                self._digests.popitem(last=False)


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
    """Bearer tokens, passwords, both or neither. With neither, everybody passes."""

    def __init__(self, *, tokens: BearerTokens | None, passwords: Passwords | None) -> None:
        self._tokens = tokens
        self._passwords = passwords

    @property
    def required(self) -> bool:
        """Somebody who says nothing does not pass."""
        return self._tokens is not None or (self._passwords is not None and self._passwords.required)

    @property
    def takes_tokens(self) -> bool:
        """There are tokens, which a browser sends only if a page makes it."""
        return self._tokens is not None

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
        """What an Authorization header is worth. It is ``UNDECIDED`` only if ``hashing`` is not allowed.

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


def checked_users(key: str, users: object) -> dict[str, str]:
    """The users, if every one has a name and a bcrypt hash. The error never shows what stands for a hash."""
    if not isinstance(users, Mapping):
        raise ConfigurationError(
            key, Described("a value of another type"), "a mapping of users to bcrypt hashes"
        )
    for user, hashed in users.items():
        # RFC 7617: the first colon ends the user's name, so nobody could log in under a name with one.
        if not isinstance(user, str) or ":" in user:
            raise ConfigurationError(key, user, "names of users, without colons")
        if not isinstance(hashed, str) or not _HASH.fullmatch(hashed):
            raise ConfigurationError(f"{key}.{user}", HIDDEN, _HASH_ALLOWED)
    return dict(users)


def bearer_token(header: str) -> str | None:
    """The token of an Authorization header, or None. It never raises."""
    scheme, _, rest = header.strip().partition(" ")
    token = rest.strip()
    if len(header) > _LONGEST_HEADER or scheme.lower() != "bearer" or not _TOKEN.fullmatch(token):
        return None
    return token


def user_and_password(header: str) -> tuple[bytes, bytes] | None:
    """User and password of an Authorization header, or None. It never raises.

    https://www.rfc-editor.org/rfc/rfc7617#section-2
    """
    scheme, _, rest = header.strip().partition(" ")
    if len(header) > _LONGEST_HEADER or scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(rest.strip().encode("ascii"), validate=True)
    except ValueError:
        return None
    user, colon, password = decoded.partition(b":")
    return (user, password) if colon else None


def load_bcrypt() -> ModuleType:
    """The package ``bcrypt``, which the extra ``webconfig`` brings."""
    try:
        import bcrypt
    except ImportError:
        raise MissingPackageError("basic_auth_users", "bcrypt", "pip install bcrypt") from None
    return bcrypt

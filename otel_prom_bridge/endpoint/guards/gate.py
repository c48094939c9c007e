"""All guards together. A request passes networks, rates, room and credentials, in this order.

The cheap questions come first. So a flood is refused for the price of looking at an address, and nobody who
may not even ask can make us hash a password. Guards fail closed: a fault of a guard is a refusal.

``/health`` and ``/ready`` are outside of rates and have room of their own. To answer them costs no more than
to refuse them, and a supervisor that hears "too many requests" restarts the process. Only a password can cost
something there, so requests with passwords count. When they come too often, the answer is the one for
strangers.
"""

from __future__ import annotations

import logging
import math
import re
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus
from os import PathLike

from otel_prom_bridge.clocks import monotonic
from otel_prom_bridge.endpoint.guards.credentials import (
    Authentication,
    BearerTokens,
    BusyError,
    Passwords,
    Users,
    Verdict,
    checked_users,
)
from otel_prom_bridge.endpoint.guards.networks import (
    NETWORKS,
    ClientAddresses,
    IPAddress,
    Networks,
    OriginError,
)
from otel_prom_bridge.endpoint.guards.rate import LIMIT, Limiter, RateLimit, host_of
from otel_prom_bridge.endpoint.messages import Handler, Request, Response, busy, refusal
from otel_prom_bridge.endpoint.server.log import log_without_waiting
from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.forks import renew_in_child
from otel_prom_bridge.native import Capacity
from otel_prom_bridge.values.checks import BOOLEAN, POSITIVE, instance_of

Headers = Sequence[tuple[str, str]]

# They say how a response is sent, which the server knows, or it sends them itself.
_SENT_BY_SERVERS = {
    *("connection", "content-encoding", "content-length", "date", "keep-alive", "te", "trailer"),
    *("transfer-encoding", "upgrade"),
}
# https://www.rfc-editor.org/rfc/rfc9110#name-tokens
_FIELD_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


class Guards:
    """Wraps handlers so that only those requests reach them that may. It may be used from any thread.

    Args:
        allow: the networks that may ask, at least one. None means everybody.
        trusted_proxies: the networks whose ``X-Forwarded-For`` is believed.
        rate_limit: the rate of all clients together.
        peer_rate_limit: the rate of each client.
        max_in_flight: how many requests may be on their way at once. A server that bounds them itself needs
            none here.
        bearer_tokens_file: the path of a file with tokens. Whoever has one of them passes.
        basic_users: a mapping from names to bcrypt hashes, or a function that gives one. Whoever has a name
            and its password passes.
        health_open: whether ``/health`` and ``/ready`` answer strangers, too. Whether a request is a
            stranger's is in ``request.authenticated``.
        headers: what is put on every response, or a function that gives it. A header that the response has
            already stays as it is.

    Raises:
        ConfigurationError: an option cannot work.
    """

    def __init__(
        self,
        *,
        allow: Sequence[str] | None = None,
        trusted_proxies: Sequence[str] = (),
        rate_limit: RateLimit | None = None,
        peer_rate_limit: RateLimit | None = None,
        max_in_flight: int | None = None,
        bearer_tokens_file: str | PathLike[str] | None = None,
        basic_users: Mapping[str, str] | Callable[[], Users] | None = None,
        health_open: bool = True,
        headers: Headers | Callable[[], Headers] = (),
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._allowed = Networks("allow", NETWORKS.optional("allow", allow, ()))
        self._origins = ClientAddresses(Networks("trusted_proxies", trusted_proxies))
        self._limiter = Limiter(
            rate_limit=LIMIT.optional("rate_limit", rate_limit),
            peer_rate_limit=LIMIT.optional("peer_rate_limit", peer_rate_limit),
        )
        self._size: int | None = POSITIVE.optional("max_in_flight", max_in_flight)
        self.renew()
        renew_in_child(self)
        tokens = None
        if bearer_tokens_file is not None:
            tokens = BearerTokens("bearer_tokens_file", bearer_tokens_file)
        self._authentication = Authentication(tokens=tokens, passwords=_passwords(basic_users))
        self._health_open: bool = BOOLEAN.value("health_open", health_open)
        self._headers = headers
        self._checked: object = () if callable(headers) else _checked_headers(headers)
        self._clock = clock

    def renew(self) -> None:
        """In a forked child: no request is on its way there."""
        # There is one room for scrapes and one for health, so that neither takes the other's.
        self._rooms = (_room(self._size), _room(self._size))

    @property
    def problem(self) -> str | None:
        """Why the tokens in use are older than their file, or None."""
        return self._authentication.problem

    @property
    def are_selective(self) -> bool:
        """Whether not everybody passes: networks are named, or credentials are asked for."""
        return bool(self._allowed) or self._authentication.required

    def accepts(self, peer: str | None) -> bool:
        """Whether a connection of this peer is worth reading from. It is fast and never raises."""
        try:
            if not self._allowed or self._origins.may_speak_for_others(peer):
                return True
            return self._is_allowed(*self._client(peer, None))
        except Exception as error:
            _fault(error)
            return False

    def wrap(self, handler: Handler) -> Handler:
        """The handler behind these guards."""
        return _Guarded(self, handler)

    def screen(self, request: Request, *, counted: bool) -> Response | None:
        """Why the request must not go on, as far as its origin and its rate say. It never raises.

        Unless it is ``counted`` here, :meth:`count` it when it has been answered.
        """
        try:
            return self._screen(request, counted=counted)
        except Exception as error:
            return _fault(error)

    def count(self, request: Request) -> None:
        """Count a request that was answered. It never raises."""
        if not request.is_health:
            self._limiter.take(self._client_of(request)[0], self._clock())

    def enter(self, request: Request) -> Response | None:
        """Why there is no room for the request. If there is room, :meth:`leave` it after the answer."""
        room = self._rooms[request.is_health]
        if room is None or room.enter():
            return None
        return busy()

    def leave(self, request: Request) -> None:
        """The request has been answered."""
        room = self._rooms[request.is_health]
        if room is not None:
            room.leave()

    def identify(self, request: Request, handler: Handler) -> Request | Response:
        """The request with what its credentials are worth. It may take as long as a hash, and never raises.

        The ``handler`` behind the guards says whether it has something that strangers may see.
        """
        try:
            verdict = self._authentication.judge(request.headers.get("authorization"), hashing=False)
            is_open = self._is_open(request, handler)
            if verdict is Verdict.UNDECIDED:
                return self._hashed(request, is_open=is_open)
            return self._judged(request, verdict, is_open=is_open)
        except Exception as error:
            return _fault(error)

    def glance(self, request: Request, handler: Handler) -> Request | Response | None:
        """The same without hashing: None if only a hash can tell. It is fast and never raises."""
        try:
            verdict = self._authentication.judge(request.headers.get("authorization"), hashing=False)
            is_open = self._is_open(request, handler)
            return None if verdict is Verdict.UNDECIDED else self._judged(request, verdict, is_open=is_open)
        except Exception as error:
            return _fault(error)

    def finish(self, response: Response) -> Response:
        """The response with the configured headers. It never raises."""
        try:
            configured = self._headers() if callable(self._headers) else self._headers
            if configured is not self._checked:
                self._checked = _checked_headers(configured)
            if configured:
                present = {name.lower() for name, _ in response.headers}
                added = tuple((name, value) for name, value in configured if name.lower() not in present)
                response = Response(response.status, (*response.headers, *added), response.pieces)
        except Exception as error:
            response = _fault(error)
        return response

    def _screen(self, request: Request, *, counted: bool) -> Response | None:
        client, known = self._client_of(request)
        if not self._is_allowed(client, known):
            return _not_allowed(client)
        if request.is_health:
            return None
        ask = self._limiter.take if counted else self._limiter.wait
        wait = ask(client, self._clock())
        return _too_many(wait) if wait else None

    def _is_open(self, request: Request, handler: Handler) -> bool:
        if request.is_health:
            return self._health_open and handler.has_health
        # A browser has no token to send with an address that somebody opens. For passwords it asks by itself.
        return self._authentication.takes_tokens and handler.is_blank(request)

    def _hashed(self, request: Request, *, is_open: bool) -> Request | Response:
        try:
            client = self._client_of(request)[0]
            if request.is_health and self._limiter.take(client, self._clock()):
                raise BusyError
            header = request.headers.get("authorization")
            verdict = self._authentication.judge(header, hashing=True, client=host_of(client))
        except BusyError:
            if not is_open:
                return busy("too many passwords are being verified; try again\n")
            verdict = Verdict.UNDECIDED
        return self._judged(request, verdict, is_open=is_open)

    def _judged(self, request: Request, verdict: Verdict, *, is_open: bool) -> Request | Response:
        if verdict.passes or is_open:
            return replace(request, authenticated=verdict is Verdict.PROVED)
        return _unauthorized(self._authentication.challenges)

    def _client_of(self, request: Request) -> tuple[IPAddress | None, bool]:
        if "x_forwarded_for" in request.headers and self._origins.may_speak_for_others(request.peer):
            # Some programs on the way take the two spellings for one field. Then the proxy would be believed
            # what a client has written.
            return None, False
        return self._client(request.peer, request.headers.get("x-forwarded-for"))

    def _client(self, peer: str | None, forwarded: str | None) -> tuple[IPAddress | None, bool]:
        """Who asks, and whether anybody can say."""
        try:
            return self._origins.of(peer, forwarded), True
        except OriginError:
            return None, False

    def _is_allowed(self, client: IPAddress | None, known: bool) -> bool:
        return not self._allowed or (known and client in self._allowed)


class _Guarded(Handler):
    """A handler behind guards."""

    def __init__(self, guards: Guards, handler: Handler) -> None:
        self._guards = guards
        self._handler = handler

    def respond(self, request: Request) -> Response:
        """The handler's response, or the refusal of a guard. It never raises."""
        return self._guards.finish(self._respond(request))

    def _respond(self, request: Request) -> Response:
        guards = self._guards
        refusal = guards.screen(request, counted=True) or guards.enter(request)
        if refusal is not None:
            return refusal
        try:
            admitted = guards.identify(request, self._handler)
            return admitted if isinstance(admitted, Response) else self._handler.respond(admitted)
        finally:
            guards.leave(request)

    def quick(self, request: Request) -> Response | None:
        """The handler's quick response, or a refusal; None if ``respond`` has to be asked. It never raises.

        A request for which ``respond`` is asked afterwards is counted once.
        """
        guards = self._guards
        response: Response | None = guards.screen(request, counted=False)
        if response is None:
            admitted = guards.glance(request, self._handler)
            if admitted is not None:
                response = admitted if isinstance(admitted, Response) else self._handler.quick(admitted)
            if response is None:
                return None
            guards.count(request)
        return guards.finish(response)


GUARDS = instance_of(Guards, "Guards, or None for everybody")


def _room(size: int | None) -> Capacity | None:
    return None if size is None else Capacity(size)


def _passwords(users: Mapping[str, str] | Callable[[], Users] | None) -> Passwords | None:
    if users is None:
        return None
    if callable(users):
        return Passwords(users)
    checked = checked_users("basic_users", users)
    if not checked:
        raise ConfigurationError("basic_users", users, "at least one user, or None for no passwords")
    return Passwords(lambda: checked)


def _fault(error: Exception) -> Response:
    # The error's text is left out, because it may show what the request brought, for example a password.
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{type(error).__name__} in {place.filename}:{place.lineno}"
    log_without_waiting(logging.ERROR, "a guard failed: %s; this is a fault of the bridge", where)
    return _failed()


def _checked_headers(headers: object) -> Sequence[tuple[str, str]]:
    """Headers for every response."""
    expected = "a list of pairs of text in one line, like [('X-Frame-Options', 'deny')], or what gives one"
    if isinstance(headers, str) or not isinstance(headers, Sequence):
        raise ConfigurationError("headers", headers, expected)
    for i, pair in enumerate(headers):
        is_pair = isinstance(pair, tuple | list) and len(pair) == 2
        if not is_pair or not all(map(_is_line, pair)) or not _FIELD_NAME.fullmatch(pair[0]):
            raise ConfigurationError(f"headers[{i}]", pair, expected)
        if pair[0].lower() in _SENT_BY_SERVERS:
            raise ConfigurationError(f"headers[{i}]", pair, "a header that is not the server's to send")
    return headers


def _is_line(text: object) -> bool:
    return isinstance(text, str) and text.isprintable() and all(ord(letter) < 256 for letter in text)


# --- the answers to those who do not pass: they say what would, and nothing of what is behind ---


def _not_allowed(client: IPAddress | None) -> Response:
    """To somebody outside of the allowed networks. It names the address that would have to be in them."""
    who = "a client whose address is not known" if client is None else str(client)
    return refusal(
        HTTPStatus.FORBIDDEN, f"this endpoint does not answer {who}: it is not in the allowed networks\n"
    )


def _too_many(wait: float) -> Response:
    """To somebody who asks too often."""
    seconds = _seconds(wait)
    text = f"too many requests; the next one is answered in {seconds} s\n"
    return refusal(HTTPStatus.TOO_MANY_REQUESTS, text, ("Retry-After", str(seconds)))


def _unauthorized(challenges: tuple[tuple[str, str], ...]) -> Response:
    """To somebody who has no credentials or wrong ones. It does not say which."""
    schemes = " or ".join(challenge.partition(" ")[0] for _, challenge in challenges)
    text = f"send valid credentials in an Authorization header: {schemes}\n"
    return refusal(HTTPStatus.UNAUTHORIZED, text, *challenges)


def _failed() -> Response:
    """To everybody, when a guard has a fault."""
    text = "a guard failed, so nothing is answered; the application's log says where\n"
    return refusal(HTTPStatus.INTERNAL_SERVER_ERROR, text)


def _seconds(wait: float) -> int:
    return max(1, math.ceil(min(wait, 1e9)))

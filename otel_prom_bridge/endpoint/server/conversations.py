"""What is said with each client: the handshake, requests, responses.

A client whose request is with a worker belongs to the worker, which sends what can be sent at once (in a busy
process every switch of threads may cost milliseconds, and this saves two of them) and gives the client back
through a queue. Until then the loop neither reads from it nor writes to it.
"""

from __future__ import annotations

import contextlib
import ssl
from collections import deque
from collections.abc import Callable
from functools import partial

from otel_prom_bridge.diagnostics import endpoint_logger
from otel_prom_bridge.endpoint.files.tls import Certificates
from otel_prom_bridge.endpoint.messages import FAILED, Handler, Request, Response, busy
from otel_prom_bridge.endpoint.server.channels import Encrypted
from otel_prom_bridge.endpoint.server.client import Client, Wait
from otel_prom_bridge.endpoint.server.clients import Clients
from otel_prom_bridge.endpoint.server.heads import TIMED_OUT, Head, Refusal
from otel_prom_bridge.endpoint.server.log import RateLimitedLog
from otel_prom_bridge.endpoint.server.workers import Workers

# Requests for health that may be on their way beside all the scrapes. Each takes a second or two at most.
HEALTH_ROOM = 8


class Conversations:
    """Serves clients; for the thread of the loop, which ``wake`` wakes from any other."""

    def __init__(
        self,
        clients: Clients,
        handler: Handler,
        workers: Workers,
        log: RateLimitedLog,
        *,
        most: int,
        wake: Callable[[], object],
        tls: Certificates | None = None,
    ) -> None:
        self._clients = clients
        self._handler = handler
        self._workers = workers
        self._log = log
        self._most = {False: most, True: HEALTH_ROOM}  # by whether it is for health
        self._wake = wake
        self._tls = tls
        self._in_flight: dict[bool, set[Client]] = {False: set(), True: set()}
        self._answered: deque[Client] = deque()  # given back by workers
        self._again: deque[Client] = deque()  # who has sent more than the request that was answered
        self._has_ended = False

    @property
    def has_more(self) -> bool:
        """There is something to do without news from the selector."""
        return bool(self._again)

    def serve(self, client: Client) -> None:
        """There is news of a client: something to read, room to write, or its end."""
        if client.wait is Wait.WRITE:
            self._flush(client)
        elif client.wait is Wait.LINGER:
            if client.discard() < 0:
                self._clients.close(client)
        elif client.wait is Wait.HANDSHAKE:
            self._shake(client)
        elif client.wait is Wait.ANSWER:
            self._clients.ignore(client)  # a worker's; what it says is read after the response
        else:
            if client.http.has_room:
                client.read()
            self._advance(client)

    def go_on(self) -> None:
        """Take back the clients of workers, and give those a turn who have sent several requests."""
        while self._answered:
            self._clients.safely(self._flush, self._answered.popleft())
        for _ in range(len(self._again)):
            self._clients.safely(self._advance, self._again.popleft())

    def give_up(self, client: Client) -> None:
        """A client's deadline has passed."""
        if client.wait is Wait.HEAD and client.http.has_input:
            self.refuse(client, TIMED_OUT)
        else:
            self._log.debug("no patience with %s: %s", client.origin, client.wait)
            self._clients.close(client)

    def refuse(self, client: Client, refusal: Refusal) -> None:
        """Answer what is no request, and hear no more."""
        client.queue(client.http.refuse(refusal))
        self._flush(client)

    def end(self) -> None:
        """End all connections."""
        self._has_ended = True  # before looking: a worker that comes later closes its client itself
        given_back: set[Client] = set()
        while self._answered:
            given_back.add(self._answered.popleft())
        for client in self._clients:
            if client.wait is Wait.ANSWER and client not in given_back:
                client.cut()
            else:
                self._clients.close(client)

    # --- requests -------------------------------------------------------------------------------------

    def _shake(self, client: Client) -> None:
        channel = client.channel
        assert isinstance(channel, Encrypted)
        assert self._tls is not None
        try:
            client.read()
        except ssl.SSLError as error:
            if error.reason == "HTTP_REQUEST":
                message = "%s speaks plain HTTP, and this port only TLS; let it ask https://"
                self._log.warn("plain", message, client.origin)
            raise
        client.write()
        if channel.is_shaking:
            self._clients.close(client) if client.http.is_over else self._clients.watch(client)
        elif (complaint := self._tls.complaint(channel.object)) is not None:
            self._log.warn("tls", "a connection from %s was refused: %s", client.origin, complaint)
            self._clients.close(client)
        else:
            self._clients.enter(client, Wait.HEAD)
            self._advance(client)

    def _advance(self, client: Client) -> None:
        """Look for the next request of a client."""
        if client.wait is not Wait.HEAD and client.wait is not Wait.IDLE:
            return  # its turn came twice
        asked = client.http.next()
        if isinstance(asked, Head):
            self._dispatch(client, asked)
        elif isinstance(asked, Refusal):
            self.refuse(client, asked)
        elif client.http.is_over:
            self._clients.close(client)
        else:
            is_new = client.http.requests == 0
            self._clients.enter(client, Wait.HEAD if client.http.has_input or is_new else Wait.IDLE)

    def _dispatch(self, client: Client, head: Head) -> None:
        self._clients.enter(client, Wait.ANSWER)
        request = Request(
            method=head.method,
            path=head.path,
            query=head.query,
            headers=head.headers,
            peer=client.peer,
            secure=self._tls is not None,
        )
        response = self._handler.quick(request)
        if response is None:
            if self._hand_over(client, request):
                return
            response = busy()
        _prepare(client, response)
        self._flush(client)

    def _hand_over(self, client: Client, request: Request) -> bool:
        in_flight = self._in_flight[request.is_health]
        if len(in_flight) < self._most[request.is_health]:
            in_flight.add(client)
            if self._workers.run(partial(self._work, client, request)):
                return True
            in_flight.discard(client)
        message = "%d requests are being answered; more get status 503"
        self._log.warn("busy", message, len(in_flight))
        return False

    def _work(self, client: Client, request: Request) -> None:
        """In a worker: the response of the handler, whatever happens."""
        response = FAILED
        try:
            response = self._handler.respond(request)
        finally:
            self._in_flight[request.is_health].discard(
                client
            )  # now: when the client has its answer, it may ask again
            _prepare(client, response)
            with contextlib.suppress(OSError):  # the loop will see it, too
                client.write()
            self._answered.append(client)
            if self._has_ended:
                client.abandon()
            else:
                self._wake()

    # --- responses ------------------------------------------------------------------------------------

    def _flush(self, client: Client) -> None:
        if not client.write():
            self._clients.enter(client, Wait.WRITE)
        elif client.http.closes:
            self._finish(client)
        elif client.http.has_input:
            self._clients.enter(client, Wait.HEAD)
            self._again.append(client)  # not now: others wait, too
        elif client.http.is_over:
            self._clients.close(client)
        else:
            self._clients.enter(client, Wait.IDLE)

    def _finish(self, client: Client) -> None:
        if client.http.leaves_input:
            # Closing with unread input would reset the connection, and the response might not arrive.
            client.say_goodbye()
            self._clients.enter(client, Wait.LINGER)
        else:
            self._clients.close(client)


def _prepare(client: Client, response: Response) -> None:
    try:
        pieces = client.http.answer(response)
    except Exception:
        endpoint_logger.exception("a response could not be written; this is a fault of the bridge")
        pieces = client.http.answer(FAILED)
    client.queue(pieces)

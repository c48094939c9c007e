"""What is said with each client, from its first byte to its last: one state machine for all connections.

A client is always waited for in exactly one way. This is the table of the ways: what may come, what follows,
and what happens when the time is over.

=========  ==============================  ======================================  ==========================
wait       what may come                   what follows                            when its time is over
=========  ==============================  ======================================  ==========================
HANDSHAKE  a part of the TLS handshake     HEAD when it is done; CLOSED if the     CLOSED
                                           certificate is not one that may ask
HEAD       a part of a request             ANSWER when the head is complete, or    WRITE 408, or CLOSED if
                                           BODY if one follows that is read;       nothing was said at all
                                           WRITE a refusal if it makes no sense
BODY       a part of a body                ANSWER when it is complete; WRITE a     WRITE 408
                                           refusal if there is no room for it
IDLE       another request, or nothing     as in HEAD; HEAD when a part is there   CLOSED
ANSWER     a worker gives the client back  as in WRITE                             it has no time: the maker
                                                                                   of the answer has one
WRITE      room in the socket              WRITE until all is sent; then HEAD if   CLOSED
                                           more was said, IDLE if not, LINGER or
                                           CLOSED after the last response
LINGER     what nobody will read           CLOSED when the client has ended        CLOSED
CLOSED     nothing
=========  ==============================  ======================================  ==========================

Any error of a connection leads to CLOSED, and to nothing else: other clients do not notice it.

When all connections are taken and another client comes, one of them is closed (``evict``), or the newcomer
hears 503.

A client in ANSWER belongs to a worker. The worker sends what can be sent at once, because every change of
threads may cost milliseconds in a busy process and this saves two of them. Then it gives the client back
through a queue. Until then the loop neither reads from the client nor writes to it.

All waits of one kind last equally long, so the order in which they began is the order in which they end, and
one dictionary for each kind is its own queue. The clock is monotonic, because the wall clock may jump.
"""

from __future__ import annotations

import contextlib
import selectors
import ssl
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from operator import itemgetter

from otel_prom_bridge.diagnostics import endpoint_logger
from otel_prom_bridge.endpoint.files.tls import Certificates
from otel_prom_bridge.endpoint.messages import FAILED, Handler, Request, Response, busy
from otel_prom_bridge.endpoint.server.client import Encrypted
from otel_prom_bridge.endpoint.server.connection import Connection
from otel_prom_bridge.endpoint.server.heads import TIMED_OUT, Head, Refusal
from otel_prom_bridge.endpoint.server.limits import ServerLimits
from otel_prom_bridge.endpoint.server.log import RateLimitedLog
from otel_prom_bridge.endpoint.server.threads import Threads
from otel_prom_bridge.endpoint.server.waiting import Conversation, Deadlines, Readers, Wait

# Idle connections stay this many seconds longer than was said. A timeout is a round number, and so is the
# interval of a scraper. If both are the same, its next request crosses our end of the connection, and a
# VictoriaMetrics with a short timeout loses that scrape, since it sleeps for a second before it tries again.
_IDLE_GRACE = 0.5
# Requests for health that may be on their way beside all the scrapes. Each takes a second or two at most.
HEALTH_ROOM = 8
# How much of the bodies of requests may be in memory, those that are being answered among them. A single one
# may be larger.
MOST_HELD = 64 * 1024 * 1024
_FULL = Refusal(503, "too many connections; try again")


class Conversations:
    """All connected clients of a loop. Only the thread of the loop may call it.

    ``wake`` wakes that thread from any other.
    """

    def __init__(
        self,
        selector: selectors.BaseSelector,
        handler: Handler,
        workers: Threads,
        log: RateLimitedLog,
        *,
        limits: ServerLimits,
        wake: Callable[[], object],
        tls: Certificates | None = None,
    ) -> None:
        self._selector = selector
        self._handler = handler
        self._workers = workers
        self._log = log
        self._wake = wake
        self._tls = tls
        self._deadlines = Deadlines(
            {
                Wait.HANDSHAKE: limits.handshake_timeout,
                Wait.HEAD: limits.head_timeout,
                Wait.BODY: limits.head_timeout,
                Wait.IDLE: limits.idle_timeout + _IDLE_GRACE,
                Wait.WRITE: limits.write_timeout,
                Wait.LINGER: limits.linger_timeout,
            }
        )
        self._clients: set[Conversation] = set()
        self._readers = Readers()
        # The keys of these two say whether a request is for health.
        self._most = {False: limits.max_in_flight, True: HEALTH_ROOM}
        self._in_flight: dict[bool, set[Conversation]] = {False: set(), True: set()}
        self._answered: deque[Conversation] = deque()  # given back by workers
        self._held = 0  # bytes of bodies
        self._again: deque[Conversation] = deque()  # who has sent more than the request that was answered
        self._has_ended = False

    # --- for the door and the loop ----------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._clients)

    def begin(self, client: Conversation) -> None:
        """A new client is there. The selector does not hear of it yet."""
        self._clients.add(client)
        if self._handler.max_body:
            client.http = Connection(max_body=self._handler.max_body)
        wait = Wait.HEAD if self._tls is None else Wait.HANDSHAKE
        self._deadlines.start(client, wait, time.monotonic())

    def ready(self, client: Conversation, _: int = 0) -> None:
        """There is news of a client: something to read, room to write, or its end."""
        self._safely(self._serve, client)

    def turn_away(self, client: Conversation) -> None:
        """There is no room for this new client."""
        if client.wait is Wait.HEAD:
            self._safely(lambda client: self._refuse(client, _FULL), client)
        else:
            self._close(client)  # nothing can be said before the handshake

    def evict(self) -> bool:
        """End the connection that can be spared most; False if a response is on its way on each of them."""
        waits, readers = self._deadlines, self._readers
        # Of those who say nothing and those who read nothing, whoever does so for longest. A scraper does
        # neither for long, so however many of them come, they only push out each other.
        unfinished = map(waits.oldest, (Wait.HANDSHAKE, Wait.HEAD, Wait.BODY))
        silent = filter(None, (*unfinished, readers.silent))
        oldest = min(silent, key=itemgetter(0), default=None)
        # Before them go those who have their answer, and after them those who may ask again, and those who
        # read too slowly.
        spared = waits.oldest(Wait.LINGER) or oldest or waits.oldest(Wait.IDLE) or readers.slowest
        if spared is not None:
            self._close(spared[1])
        return spared is not None

    @property
    def has_more(self) -> bool:
        """There is something to do without news from the selector."""
        return bool(self._again)

    @property
    def next_deadline(self) -> float | None:
        """When the time of the next client will be over."""
        return self._deadlines.next()

    def go_on(self) -> None:
        """Take back the clients of workers, and give those a turn who have sent several requests."""
        while self._answered:
            self._safely(self._flush, self._answered.popleft())
        for _ in range(len(self._again)):
            self._safely(self._advance, self._again.popleft())

    def give_up(self) -> None:
        """Wait no longer for those whose time is over."""
        for client in self._deadlines.passed(time.monotonic()):
            self._safely(self._late, client)

    def end(self) -> None:
        """End all connections."""
        self._has_ended = True  # before looking: a worker that comes later closes its client itself
        given_back: set[Conversation] = set()
        while self._answered:
            given_back.add(self._answered.popleft())
        for client in tuple(self._clients):
            if client.wait is Wait.ANSWER and client not in given_back:
                client.cut()
            else:
                self._close(client)

    def abandon(self) -> None:
        """In a forked child: close the descriptors that came along, and do nothing else."""
        for client in tuple(self._clients):
            client.abandon()

    # --- the machine --------------------------------------------------------------------------------------

    def _serve(self, client: Conversation) -> None:
        match client.wait:
            case Wait.HEAD | Wait.IDLE:
                if client.http.has_room:
                    client.read()
                self._advance(client)
            case Wait.BODY:
                client.read()
                self._gather(client)
            case Wait.WRITE:
                self._flush(client)
            case Wait.HANDSHAKE:
                self._shake(client)
            case Wait.ANSWER:
                self._ignore(client)  # it is a worker's; what it says is read after the response
            case Wait.LINGER:
                if not client.discard():
                    self._close(client)

    def _late(self, client: Conversation) -> None:
        if client.wait is Wait.BODY or (client.wait is Wait.HEAD and client.http.has_input):
            self._refuse(client, TIMED_OUT)
        else:
            self._log.debug("no patience with %s: %s", client.origin, client.wait)
            self._close(client)

    def _shake(self, client: Conversation) -> None:
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
            self._close(client) if client.http.is_over else self._watch(client)
        elif (complaint := self._tls.complaint(channel.object)) is not None:
            self._log.warn("tls", "a connection from %s was refused: %s", client.origin, complaint)
            self._close(client)
        else:
            self._enter(client, Wait.HEAD)
            self._advance(client)

    def _advance(self, client: Conversation) -> None:
        """Look for the next request of a client."""
        if client.wait is not Wait.HEAD and client.wait is not Wait.IDLE:
            return  # its turn came twice
        asked = client.http.next()
        if isinstance(asked, Head):
            self._hear(client, asked)
        elif isinstance(asked, Refusal):
            self._refuse(client, asked)
        elif client.http.is_over:
            self._close(client)
        else:
            is_new = client.http.requests == 0
            self._enter(client, Wait.HEAD if client.http.has_input or is_new else Wait.IDLE)

    def _refuse(self, client: Conversation, refusal: Refusal) -> None:
        """Answer what is no request, and hear no more."""
        self._handler.refused(refusal.reason)
        client.queue(client.http.refuse(refusal))
        self._flush(client)

    def _hear(self, client: Conversation, head: Head) -> None:
        """Answer a request, after its body if there is one that matters."""
        request = Request(
            method=head.method,
            path=head.path,
            query=head.query,
            headers=head.headers,
            peer=client.peer,
            link=client.link,
        )
        if not head.has_body or not self._handler.max_body:
            self._dispatch(client, request)
        elif (response := self._handler.admit(request)) is not None:
            self._reply(client, response)
        else:
            client.request = request
            if head.expects and not client.http.has_input:
                client.queue([client.http.go_ahead()])
                client.write()
            self._gather(client)

    def _gather(self, client: Conversation) -> None:
        """Look for the end of a body."""
        body = client.http.body()
        if isinstance(body, Refusal):
            self._refuse(client, body)
        elif not self._hold(client):
            self._log.warn("bodies", "more than %d bytes of requests wait; more get status 503", MOST_HELD)
            self._reply(client, busy())
        elif body is not None and client.request is not None:
            request, client.request = client.request, None
            self._dispatch(client, replace(request, body=body))
        elif client.http.is_over:
            self._close(client)
        else:
            self._enter(client, Wait.BODY)

    def _hold(self, client: Conversation) -> bool:
        """Whether there is room for what this client has sent."""
        more = client.http.body_size - client.held
        others = self._held - client.held
        if others and others + client.http.body_size > MOST_HELD:
            return False
        client.held += more
        self._held += more
        return True

    def _let_go(self, client: Conversation) -> None:
        self._held -= client.held
        client.held = 0

    def _reply(self, client: Conversation, response: Response) -> None:
        _prepare(client, response)
        self._flush(client)

    def _dispatch(self, client: Conversation, request: Request) -> None:
        self._enter(client, Wait.ANSWER)
        response = self._handler.quick(request)
        if response is None:
            if self._hand_over(client, request):
                return
            response = busy()
        self._reply(client, response)

    def _hand_over(self, client: Conversation, request: Request) -> bool:
        in_flight = self._in_flight[request.is_health]
        if len(in_flight) < self._most[request.is_health]:
            in_flight.add(client)
            if self._workers.run(partial(self._work, client, request)):
                return True
            in_flight.discard(client)
        message = "%d requests are being answered; more get status 503"
        self._log.warn("busy", message, len(in_flight))
        return False

    def _work(self, client: Conversation, request: Request) -> None:
        """In a worker: make the response, whatever happens, send what can be sent, give the client back."""
        response = FAILED
        try:
            response = self._handler.respond(request)
        finally:
            # Not later: a client that has its answer may ask again at once.
            self._in_flight[request.is_health].discard(client)
            _prepare(client, response)
            with contextlib.suppress(OSError):  # the loop will see it, too
                client.write()
            self._answered.append(client)
            if self._has_ended:
                client.abandon()
            else:
                self._wake()

    def _flush(self, client: Conversation) -> None:
        self._let_go(client)
        sent = client.sent
        if not client.write():
            if client.wait is not Wait.WRITE:
                self._readers.begin(client)
            elif client.sent != sent:
                self._readers.took(client)
            self._enter(client, Wait.WRITE)
            return
        self._readers.end(client)
        if client.http.closes:
            self._finish(client)
        elif client.http.has_input:
            self._enter(client, Wait.HEAD)
            self._again.append(client)  # not now: others wait, too
        elif client.http.is_over:
            self._close(client)
        else:
            self._enter(client, Wait.IDLE)

    def _finish(self, client: Conversation) -> None:
        if client.http.leaves_input:
            # Closing with unread input would reset the connection, and the response might not arrive.
            client.say_goodbye()
            self._enter(client, Wait.LINGER)
        else:
            self._close(client)

    # --- from wait to wait --------------------------------------------------------------------------------

    def _enter(self, client: Conversation, wait: Wait) -> None:
        """Wait for this from now on. A client that is waited for in this way already keeps its deadline."""
        if wait is not client.wait:
            self._deadlines.start(client, wait, time.monotonic())
        self._watch(client)

    def _watch(self, client: Conversation) -> None:
        """Tell the selector what the client is waited for."""
        interest = _interest(client)
        if interest == client.interest:
            return
        if client.interest:
            self._selector.modify(client.sock, interest, partial(self.ready, client))
        else:
            self._selector.register(client.sock, interest, partial(self.ready, client))
        client.interest = interest

    def _ignore(self, client: Conversation) -> None:
        """Hear nothing of this client until it is waited for again."""
        self._selector.unregister(client.sock)
        client.interest = 0

    def _close(self, client: Conversation) -> None:
        """End a connection."""
        if client.wait is Wait.CLOSED:
            return
        self._deadlines.cancel(client)
        if client.interest:
            with contextlib.suppress(KeyError, ValueError, OSError):
                self._selector.unregister(client.sock)
        self._clients.discard(client)
        self._readers.end(client)
        self._let_go(client)
        client.close()
        self._handler.left(client.link)

    def _safely(self, action: Callable[[Conversation], None], client: Conversation) -> None:
        """Do something for a client that is still there. If that fails, its connection ends."""
        if client.wait is Wait.CLOSED:
            return
        try:
            action(client)
        except OSError as error:  # it went away, or its TLS is wrong: that happens every day
            self._log.debug("a connection from %s ended: %r", client.origin, error)
            self._close(client)
        except Exception as error:
            self._log.warn("fault", "a connection failed; this is a fault of the bridge: %r", error)
            self._close(client)


def _interest(client: Conversation) -> int:
    """What the selector watches a client's socket for."""
    if client.wait is Wait.WRITE:
        return selectors.EVENT_WRITE
    if client.wait is Wait.ANSWER:
        return client.interest  # whatever it is: the answer comes soon, and a change costs a system call
    if client.wait is Wait.HANDSHAKE and client.is_sending:
        return selectors.EVENT_READ | selectors.EVENT_WRITE
    return selectors.EVENT_READ


def _prepare(client: Conversation, response: Response) -> None:
    try:
        pieces = client.http.answer(response)
    except Exception:
        endpoint_logger.exception("a response could not be written; this is a fault of the bridge")
        pieces = client.http.answer(FAILED)
    client.queue(pieces)

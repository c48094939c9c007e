"""What is asked, what is answered, and who answers; all of that without a socket.

The response to a HEAD request is the one to a GET request. Whoever writes it to the client leaves the body
out.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import InitVar, dataclass, field
from http.client import responses

from otel_prom_bridge.exposition import Pieces
from otel_prom_bridge.values.checks import Check

METRICS_PATH, HEALTH_PATH, READY_PATH = "/metrics", "/health", "/ready"
EXPLORER_PATH = "/explorer"
# Only what needs no escaping in a URL, so that nobody has to guess how a scraper spells it.
_URL_PATH = re.compile(r"/(?:[A-Za-z0-9._~-]+(?:/[A-Za-z0-9._~-]+)*)?")


def _metrics_path(value: object) -> str:
    if not isinstance(value, str) or not _URL_PATH.fullmatch(value):
        raise ValueError
    # Clients resolve "." and "..", and guards leave the other two paths open to strangers.
    if value in (HEALTH_PATH, READY_PATH) or not {".", ".."}.isdisjoint(value.split("/")):
        raise ValueError
    return value


URL_PATH = Check(
    allowed=f"a path like '/metrics', without an end slash; not '{HEALTH_PATH}' or '{READY_PATH}'",
    check=_metrics_path,
)


@dataclass(frozen=True, slots=True, eq=False)
class Link:
    """A connection, for those who have to know which requests came over the same one.

    ``is_local`` means that it is a Unix socket. Then ``pid`` and ``uid`` are those of the process that
    connected, where the system says so.
    """

    is_local: bool = False
    pid: int | None = None
    uid: int | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """A request. Header names are in lower case. The body is empty unless the handler takes bodies.

    ``mount`` is the part of the URL's path that a framework took off before it called us, and ``path`` is the
    rest. ``peer`` is the IP address of the other end of the connection. It is None on a Unix socket, and
    where nobody says. ``authenticated`` means that guards have verified its credentials.
    """

    method: str = "GET"
    path: str = METRICS_PATH
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    mount: str = ""
    peer: str | None = None
    authenticated: bool = False
    body: bytes = b""
    link: Link | None = None

    @property
    def is_health(self) -> bool:
        """It asks after the process. Scrapers that take all the room must not keep it from an answer."""
        return self.path.rstrip("/") in (HEALTH_PATH, READY_PATH)

    @property
    def wants_body(self) -> bool:
        """It is not a HEAD."""
        return self.method != "HEAD"


@dataclass(frozen=True, slots=True)
class Response:
    """A status code, headers and a body, which is in pieces until somebody asks for it as one."""

    status: int
    headers: tuple[tuple[str, str], ...]
    content: InitVar[bytes | Pieces]
    pieces: Pieces = field(init=False)

    def __post_init__(self, content: bytes | Pieces) -> None:
        pieces = content if isinstance(content, Pieces) else Pieces((content,))
        object.__setattr__(self, "pieces", pieces)

    @property
    def body(self) -> bytes:
        """The body."""
        return self.pieces.body

    @property
    def reason(self) -> str:
        """The words behind the status code."""
        return responses.get(self.status, "")


class Handler(ABC):
    """Who makes the responses."""

    # The size of the largest body that it takes; 0 means that it has no use for bodies.
    max_body = 0

    @property
    def has_health(self) -> bool:
        """Whether something is at ``/health`` and ``/ready``, which guards may leave open to strangers."""
        return True

    def is_blank(self, request: Request) -> bool:
        """Whether the answer has nothing of the application, and is for those without credentials, too."""
        return False

    @abstractmethod
    def respond(self, request: Request) -> Response:
        """The response to a request. This may take its time, and it never raises."""

    def quick(self, request: Request) -> Response | None:
        """The response, if it takes no time. None means that ``respond`` has to be asked.

        This is called in the loop of a server, so it never waits. It is for what has to be answered even when
        all workers are stuck.
        """
        return None

    def admit(self, request: Request) -> Response | None:
        """Why a body is not worth reading, by the head before it. None means that it is.

        This and the following two are called in the loop of a server, so they never wait.
        """
        return None

    def refused(self, reason: str) -> None:
        """Hear of what was no request."""
        return

    def left(self, link: Link) -> None:
        """Hear of the end of a connection."""
        return


def text_response(status: int, text: str, *headers: tuple[str, str]) -> Response:
    """A response of a line or two."""
    body = text.encode()
    content = ("Content-Type", "text/plain; charset=utf-8")
    return Response(status, (content, *headers, ("Content-Length", str(len(body)))), body)


def refusal(status: int, text: str, *headers: tuple[str, str]) -> Response:
    """A response to somebody who does not get what is here. A cache in between must not go on refusing."""
    return text_response(int(status), text, *headers, ("Cache-Control", "no-store"))


def busy(text: str = "too many requests are being answered; try again\n") -> Response:
    """The response to somebody for whom there is no room at the moment."""
    return refusal(503, text, ("Retry-After", "1"))


FAILED = text_response(500, "the scrape failed; the application's log says why\n")


def joined_headers(items: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Header fields by their names in lower case. A field that comes several times becomes one list.

    https://www.rfc-editor.org/rfc/rfc9110#name-field-order
    """
    result: dict[str, str] = {}
    for name, value in items:
        key = name.lower()
        result[key] = f"{result[key]}, {value}" if key in result else value
    return result

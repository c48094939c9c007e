"""What the servers have in common that answer as APIs of models do: a thread on loopback, JSON and events."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

REPLY = ["A", "histogram", "counts", "observations", "in", "buckets", "."]
# What is left of the provider's limits, as OpenAI and as Anthropic say it.
LIMITS = (
    *(("x-ratelimit-limit-requests", "60"), ("x-ratelimit-remaining-requests", "59")),
    *(("x-ratelimit-limit-tokens", "150000"), ("x-ratelimit-remaining-tokens", "149984")),
    *(("anthropic-ratelimit-requests-limit", "60"), ("anthropic-ratelimit-requests-remaining", "59")),
)
_SILENCE_SECONDS = 5.0


class ModelServer(ThreadingHTTPServer):
    """A server; what it writes down is in its own attributes."""

    request_queue_size = 64
    daemon_threads = True


class ModelHandler(BaseHTTPRequestHandler):
    """A request for an answer of a model."""

    protocol_version = "HTTP/1.1"
    timeout = _SILENCE_SECONDS
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        self._post(self._body())

    def do_GET(self) -> None:
        self._nothing_there()

    def _post(self, request: Any) -> None:
        """Answer a request with this body."""
        raise NotImplementedError

    def _nothing_there(self) -> None:
        error = {"message": f"no such path: {self.path}", "type": "invalid_request"}
        self._json(404, {"error": error})

    def _body(self) -> Any:
        """The JSON of the request."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
        text = b""
        while size := int(self.rfile.readline(), 16):
            text += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return json.loads(text)

    def _json(self, status: int, content: object, *headers: tuple[str, str]) -> None:
        """Answer with JSON."""
        text = json.dumps(content).encode()
        self._head(status, "application/json", ("Content-Length", str(len(text))), *headers)
        self.wfile.write(text)

    def _events(self, events: Iterable[str], pause: float = 0) -> None:
        """Answer with events, and a pause of so many seconds after each."""
        self._head(200, "text/event-stream; charset=utf-8")
        for event in events:
            self.wfile.write(event.encode())
            time.sleep(pause)

    def _head(self, status: int, content_type: str, *headers: tuple[str, str]) -> None:
        """The head of an answer."""
        self.send_response(status)
        for name, value in (("Content-Type", content_type), *headers, *(LIMITS if status == 200 else ())):
            self.send_header(name, value)
        # One request per connection: handlers end by themselves, whatever a client keeps in its pool.
        self.send_header("Connection", "close")
        self.send_header("x-request-id", f"req_{uuid.uuid4().hex}")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Keep the output of the tests silent."""


@contextmanager
def serving(server: ModelServer) -> Iterator[str]:
    """Run a server; gives its URL."""
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), name="model-server")
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)

"""A small OpenAI-compatible server on loopback: what a real `openai` client talks to in the tests.

Chat completions (plain and streamed) and embeddings. The request's model decides what happens: a name with
`429` or `500` in it gets that error (with `once` only the first time), everything else an answer from a dated
version of the model, as from the real API. Whoever offers tools is asked to call the first of them, once. The
number of tokens follows from that of words, so a test can tell requests apart.
"""

from __future__ import annotations

import itertools
import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from model_server import REPLY, ModelHandler, ModelServer, serving

CHAT_MODEL = "gpt-fake"
EMBEDDING_MODEL = "embed-fake"
RELEASE = "2026-08-01"  # answers come from "<model>-<release>"
_MESSAGE_OVERHEAD = 4  # tokens that every message costs, as in the real API
_CHUNK_SECONDS = 0.005  # between two chunks of a stream
_ERRORS = {
    429: ("rate_limit_exceeded", "Rate limit reached for requests"),
    500: ("server_error", "The server had an error while processing your request"),
}


@contextmanager
def fake_openai() -> Iterator[str]:
    """Run the server; gives the base URL for the client."""
    with serving(_Server(("127.0.0.1", 0), _Handler)) as url:
        yield f"{url}/v1"


class _Server(ModelServer):
    daemon_threads = False  # so that server_close waits for the handlers

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.refused: set[str] = set()  # models that were refused once


class _Handler(ModelHandler):
    server: _Server

    def _post(self, request: dict[str, Any]) -> None:
        answers = {"/v1/chat/completions": self._chat, "/v1/embeddings": self._embeddings}
        answer = answers.get(self.path)
        status = self._error(request["model"])
        if answer is None:
            self._nothing_there()
        elif status is not None:
            kind, message = _ERRORS[status]
            error = {"message": f"{message}: {request['model']}", "type": kind, "param": None, "code": kind}
            self._json(status, {"error": error}, ("retry-after-ms", "10"))  # for clients that retry
        else:
            answer(request)

    def _error(self, model: str) -> int | None:
        if "once" in model:
            if model in self.server.refused:
                return None
            self.server.refused.add(model)
        return next((code for code in _ERRORS if str(code) in model), None)

    def _chat(self, request: dict[str, Any]) -> None:
        if request.get("stream"):
            events = (f"data: {json.dumps(chunk)}\n\n" for chunk in _chunks(request))
            self._events(itertools.chain(events, ("data: [DONE]\n\n",)), _CHUNK_SECONDS)
            return
        message: dict[str, Any] = {"role": "assistant", "content": " ".join(REPLY), "refusal": None}
        calls = _tool_calls(request)
        if calls:
            message |= {"content": None, "tool_calls": calls}
        reason = "tool_calls" if calls else "stop"
        choice = {
            "index": 0,
            "message": {**message, "annotations": []},
            "logprobs": None,
            "finish_reason": reason,
        }
        self._json(200, {**_head(request, "chat.completion"), "choices": [choice], "usage": _usage(request)})

    def _embeddings(self, request: dict[str, Any]) -> None:
        texts = request["input"] if isinstance(request["input"], list) else [request["input"]]
        tokens = sum(len(text.split()) for text in texts)
        # The client asks for base64 unless told otherwise, and takes a list of numbers as well.
        data = [
            {"object": "embedding", "index": index, "embedding": [0.25, -0.5, 0.125]}
            for index in range(len(texts))
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        model = f"{request['model']}-{RELEASE}"
        self._json(200, {"object": "list", "model": model, "data": data, "usage": usage})


def _head(request: dict[str, Any], kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex[:29]}",
        "object": kind,
        "created": int(time.time()),
        "model": f"{request['model']}-{RELEASE}",
        "service_tier": "default",
        "system_fingerprint": "fp_fake",
    }


def _tool_calls(request: dict[str, Any]) -> list[dict[str, Any]]:
    """A call of the first tool, unless one was called already."""
    tools = request.get("tools") or []
    if not tools or any(message["role"] == "tool" for message in request["messages"]):
        return []
    function = tools[0]["function"]
    arguments = dict.fromkeys(function.get("parameters", {}).get("required", ()), "Rome")
    call = {"name": function["name"], "arguments": json.dumps(arguments)}
    return [{"id": f"call_{uuid.uuid4().hex[:24]}", "type": "function", "function": call}]


def _words(message: dict[str, Any]) -> int:
    content = message.get("content")
    text = content if isinstance(content, str) else json.dumps(content or "")
    return len(text.split())


def _usage(request: dict[str, Any]) -> dict[str, Any]:
    prompt = sum(_MESSAGE_OVERHEAD + _words(message) for message in request["messages"])
    return {
        "prompt_tokens": prompt,
        "completion_tokens": len(REPLY),
        "total_tokens": prompt + len(REPLY),
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def _chunks(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The role, one chunk per word, the finish reason; the usage comes last, and only if it was asked for."""
    head = _head(request, "chat.completion.chunk")
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    calls = _tool_calls(request)
    deltas += (
        [{"tool_calls": [{"index": 0, **call}]} for call in calls]
        if calls
        else [{"content": f"{word} "} for word in REPLY]
    )
    for delta in deltas:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
        yield {**head, "choices": [choice], "usage": None}
    reason = "tool_calls" if calls else "stop"
    yield {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}], "usage": None}
    if (request.get("stream_options") or {}).get("include_usage"):
        yield {**head, "choices": [], "usage": _usage(request)}

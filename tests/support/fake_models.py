"""A server on loopback that answers as the APIs of OpenAI, Anthropic and Google do, and writes it down.

It is what the real client libraries of tests/producers talk to. What it answers is decided by the words of
the question, so that one program can have every case: `refuse 429` is an error of this status, `cached` says
that most of the prompt came from a cache, `busy twice` is an error that clients send again for, twice, and
`Use weather` asks for the tool of this name. The number of
tokens follows from the number of words. Every answer is written down with its tokens, which is the truth that
the metrics of a producer are compared with. The first part of the path names the run that an answer belongs
to: `/RUN/v1/chat/completions`.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from model_server import REPLY, ModelHandler, ModelServer, serving

_CHUNK_SECONDS = 0.002  # between two chunks of a stream
CACHED_TOKENS = 1024
TOOL_TOKENS = 5  # that a model writes to ask for a tool
_RELEASES = {"gpt-4o": "gpt-4o-2024-08-06", "claude-sonnet-4-5": "claude-sonnet-4-5-20250929"}
_REASONS = {429: "rate_limit_exceeded", 500: "server_error"}


@dataclass(frozen=True)
class Answer:
    """What the server said to one request: the truth about it."""

    run: str
    model: str
    kind: str  # chat or embeddings
    status: int = 200
    input: int = 0
    output: int = 0
    cached: int = 0  # they are among the input
    busy: bool = False  # the same is sent again, and is no call of its own


@dataclass
class _Question:
    """A request, whichever API it is of."""

    model: str
    messages: list[Any]
    tools: dict[str, list[str]] = field(default_factory=dict)  # by name, with the arguments that they need
    was_called: bool = False  # the model has asked for a tool already
    stream: bool = False

    @property
    def text(self) -> str:
        """All that is said in it."""
        return json.dumps(self.messages)

    def tool(self) -> tuple[str, dict[str, str]] | None:
        """The tool that the model asks for, and its arguments."""
        if self.was_called:
            name = "final_answer" if "final_answer" in self.tools else None
        else:
            asked = self.text.rpartition("Use ")[2]
            # Frameworks may put the name of a plugin before it.
            found = (tool for tool in self.tools if tool.rpartition("-")[2] in asked)
            name = next(found, next(iter(self.tools), None))
        return None if name is None else (name, dict.fromkeys(self.tools[name], "Rome"))

    def answer(self, run: str) -> Answer:
        """The answer's tokens."""
        cached = CACHED_TOKENS if "cached" in self.text else 0
        output = TOOL_TOKENS if self.tool() else len(REPLY)
        return Answer(run, self.model, "chat", 200, len(self.text.split()) + cached, output, cached)


@contextmanager
def fake_models() -> Iterator[tuple[str, list[Answer]]]:
    """Run the server; gives its URL, without the run, and the list of its answers."""
    server = _Server(("127.0.0.1", 0), _Handler)
    with serving(server) as url:
        yield url, server.answers


class _Server(ModelServer):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.answers: list[Answer] = []
        self.busy: Counter[tuple[str, str]] = Counter()  # refusals so far, by run and question


class _Handler(ModelHandler):
    server: _Server

    def _post(self, request: dict[str, Any]) -> None:
        _, run, path = self.path.split("/", 2)
        path = path.partition("?")[0]
        model = re.fullmatch(r"(?:v1beta|v1beta1|v1)/(?:.*/)?models/([^:]+):(\w+)", path)
        if path.endswith("/embeddings"):
            self._embeddings(run, request)
        elif path.endswith("/chat/completions"):
            options = request.get("stream_options") or {}
            self._chat(run, _of_chat(request), with_usage=bool(options.get("include_usage")))
        elif path.endswith("/responses"):
            self._responses(run, _of_responses(request))
        elif path.endswith("/messages"):
            self._messages(run, _of_messages(request))
        elif model is not None:
            self._gemini(run, _of_gemini(request, model.group(1), model.group(2).startswith("stream")))
        else:
            self._nothing_there()

    def _taken(self, run: str, question: _Question, kind: str = "chat") -> Answer | None:
        """The answer, written down; None if the request was refused."""
        refused = re.search(r"refuse (\d+)", question.text)
        if "busy twice" in question.text and self._is_busy(run, question):
            return None
        if refused is None:
            answer = question.answer(run)
            self.server.answers.append(answer)
            return answer
        status = int(refused.group(1))
        self.server.answers.append(Answer(run, question.model, kind, status))
        reason = _REASONS.get(status, "error")
        # One body for all: each library reads what it knows.
        error = {"message": f"no: {reason}", "type": reason, "code": status, "status": reason.upper()}
        self._json(status, {"type": "error", "error": error}, ("x-should-retry", "false"))
        return None

    def _is_busy(self, run: str, question: _Question) -> bool:
        """Whether to refuse this time: the first two of three times that the same is asked."""
        asked = (run, question.text)
        self.server.busy[asked] += 1
        if self.server.busy[asked] % 3 == 0:
            return False
        self.server.answers.append(Answer(run, question.model, "chat", 429, busy=True))
        error = {"message": "later", "type": "rate_limit_exceeded"}
        self._json(429, {"error": error}, ("x-should-retry", "true"), ("retry-after-ms", "5"))
        return True

    def _embeddings(self, run: str, request: dict[str, Any]) -> None:
        texts = request["input"] if isinstance(request["input"], list) else [request["input"]]
        tokens = sum(len(str(text).split()) for text in texts)
        self.server.answers.append(Answer(run, request["model"], "embeddings", 200, tokens))
        data = [{"object": "embedding", "index": i, "embedding": [0.5, 0.25]} for i in range(len(texts))]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        self._json(200, {"object": "list", "model": request["model"], "data": data, "usage": usage})

    def _chat(self, run: str, question: _Question, *, with_usage: bool) -> None:
        answer, tool = self._taken(run, question), question.tool()
        if answer is None:
            return
        head = {
            "id": f"chatcmpl-{uuid.uuid4().hex[:24]}",
            "created": int(time.time()),
            "model": _release(question.model),
        }
        usage = {
            "prompt_tokens": answer.input,
            "completion_tokens": answer.output,
            "total_tokens": answer.input + answer.output,
            "prompt_tokens_details": {"cached_tokens": answer.cached},
            "completion_tokens_details": {"reasoning_tokens": 0},
        }
        reason = "tool_calls" if tool else "stop"
        calls = [_function(tool)] if tool else []
        if not question.stream:
            message = {"role": "assistant", "content": None if tool else " ".join(REPLY)}
            message |= {"tool_calls": calls} if calls else {}
            choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}
            self._json(200, {**head, "object": "chat.completion", "choices": [choice], "usage": usage})
            return
        head["object"] = "chat.completion.chunk"
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        words = [{"content": f"{word} "} for word in REPLY]
        deltas += [{"tool_calls": [{"index": 0, **call}]} for call in calls] or words
        events = [{**head, "choices": [{"index": 0, "delta": d, "finish_reason": None}]} for d in deltas]
        events.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
        if with_usage:
            events.append({**head, "choices": [], "usage": usage})
        self._events(
            [f"data: {json.dumps(event)}\n\n" for event in events] + ["data: [DONE]\n\n"], _CHUNK_SECONDS
        )

    def _responses(self, run: str, question: _Question) -> None:
        answer, tool = self._taken(run, question), question.tool()
        if answer is None:
            return
        if tool:
            name, arguments = tool
            output: dict[str, Any] = {
                "type": "function_call",
                "id": f"fc_{uuid.uuid4().hex[:16]}",
                "call_id": f"call_{uuid.uuid4().hex[:16]}",
                "name": name,
                "arguments": json.dumps(arguments),
                "status": "completed",
            }
        else:
            text = {"type": "output_text", "text": " ".join(REPLY), "annotations": []}
            output = {
                "type": "message",
                "id": f"msg_{uuid.uuid4().hex[:16]}",
                "role": "assistant",
                "status": "completed",
                "content": [text],
            }
        usage = {
            "input_tokens": answer.input,
            "input_tokens_details": {"cached_tokens": answer.cached, "cache_write_tokens": 0},
            "output_tokens": answer.output,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": answer.input + answer.output,
        }
        response = {
            "id": f"resp_{uuid.uuid4().hex[:24]}",
            "object": "response",
            "created_at": int(time.time()),
            "status": "completed",
            "model": _release(question.model),
            "output": [output],
            "usage": usage,
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "metadata": {},
            "temperature": 1.0,
            "top_p": 1.0,
        }
        self._json(200, response)

    def _messages(self, run: str, question: _Question) -> None:
        answer, tool = self._taken(run, question), question.tool()
        if answer is None:
            return
        block: dict[str, Any] = {"type": "text", "text": " ".join(REPLY)}
        if tool:
            block = {"type": "tool_use", "id": f"toolu_{uuid.uuid4().hex[:20]}"}
            block |= {"name": tool[0], "input": tool[1]}
        # Anthropic does not count what was read from the cache among the input.
        usage = {
            "input_tokens": answer.input - answer.cached,
            "output_tokens": answer.output,
            "cache_read_input_tokens": answer.cached,
            "cache_creation_input_tokens": 0,
        }
        message = {
            "id": f"msg_{uuid.uuid4().hex[:24]}",
            "type": "message",
            "role": "assistant",
            "model": _release(question.model),
            "content": [block],
            "stop_reason": "tool_use" if tool else "end_turn",
            "stop_sequence": None,
            "usage": usage,
        }
        if not question.stream:
            self._json(200, message)
            return
        start = {**message, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
        events: list[dict[str, Any]] = [
            {"type": "message_start", "message": start},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        ]
        for word in REPLY:
            delta = {"type": "text_delta", "text": f"{word} "}
            events.append({"type": "content_block_delta", "index": 0, "delta": delta})
        end = {"stop_reason": "end_turn", "stop_sequence": None}
        events += [
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": end, "usage": {"output_tokens": answer.output}},
            {"type": "message_stop"},
        ]
        self._events(
            [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events], _CHUNK_SECONDS
        )

    def _gemini(self, run: str, question: _Question) -> None:
        answer, tool = self._taken(run, question), question.tool()
        if answer is None:
            return
        part: dict[str, Any] = {"text": " ".join(REPLY)}
        if tool:
            part = {"functionCall": {"name": tool[0], "args": tool[1]}}
        usage = {
            "promptTokenCount": answer.input,
            "candidatesTokenCount": answer.output,
            "totalTokenCount": answer.input + answer.output,
            "cachedContentTokenCount": answer.cached,
        }

        def response(part: dict[str, Any], last: bool) -> dict[str, Any]:
            candidate: dict[str, Any] = {"index": 0, "content": {"role": "model", "parts": [part]}}
            said: dict[str, Any] = {"candidates": [candidate], "modelVersion": question.model}
            if last:
                candidate["finishReason"] = "STOP"
                said["usageMetadata"] = usage
            return said | {"responseId": uuid.uuid4().hex[:20]}

        if not question.stream:
            self._json(200, response(part, True))
            return
        parts = [part] if tool else [{"text": f"{word} "} for word in REPLY]
        said = [response(part, part is parts[-1]) for part in parts]
        self._events([f"data: {json.dumps(event)}\r\n\r\n" for event in said], _CHUNK_SECONDS)


def _release(model: str) -> str:
    return _RELEASES.get(model, model)


def _function(tool: tuple[str, dict[str, str]]) -> dict[str, Any]:
    function = {"name": tool[0], "arguments": json.dumps(tool[1])}
    return {"id": f"call_{uuid.uuid4().hex[:24]}", "type": "function", "function": function}


def _tool(name: str, schema: dict[str, Any] | None) -> tuple[str, list[str]]:
    properties = (schema or {}).get("properties", {})
    return name, list((schema or {}).get("required", ())) or list(properties)[:1] or ["city"]


def _of_chat(request: dict[str, Any]) -> _Question:
    messages = request["messages"]
    tools = [tool["function"] for tool in request.get("tools") or ()]
    return _Question(
        request["model"],
        messages,
        dict(_tool(tool["name"], tool.get("parameters")) for tool in tools),
        any(message["role"] in ("tool", "assistant") for message in messages),
        bool(request.get("stream")),
    )


def _of_responses(request: dict[str, Any]) -> _Question:
    given = request["input"]
    messages = [given] if isinstance(given, str) else given
    tools = [tool for tool in request.get("tools") or () if tool.get("type") == "function"]
    return _Question(
        request["model"],
        messages,
        dict(_tool(tool["name"], tool.get("parameters")) for tool in tools),
        any(isinstance(item, dict) and item.get("type") == "function_call_output" for item in messages),
    )


def _of_messages(request: dict[str, Any]) -> _Question:
    messages = request["messages"]
    return _Question(
        request["model"],
        messages,
        dict(_tool(tool["name"], tool.get("input_schema")) for tool in request.get("tools") or ()),
        any(message["role"] == "assistant" for message in messages),
        bool(request.get("stream")),
    )


def _of_gemini(request: dict[str, Any], model: str, stream: bool) -> _Question:
    messages = request["contents"]
    tools = [
        declared
        for tool in request.get("tools") or ()
        for declared in tool.get("functionDeclarations") or tool.get("function_declarations") or ()
    ]
    return _Question(
        model,
        messages,
        dict(
            _tool(tool["name"], tool.get("parametersJsonSchema") or tool.get("parameters")) for tool in tools
        ),
        any(message.get("role") == "model" for message in messages),
        stream,
    )

"""A small LLM service with traces, metrics and exemplars; take from it what you need.

    pip install . openai opentelemetry-instrumentation-genai-openai
    export OPENAI_API_KEY=...            # and OPENAI_BASE_URL, for another server that speaks its language
    python examples/llm_service.py       # ASK_PORT is 8000, ASK_MODEL gpt-4o-mini, if not set

    curl -d 'What is a histogram?' http://localhost:8000
    curl -sH 'Accept: application/openmetrics-text;version=1.0.0' http://localhost:9464/metrics | grep gen_ai

It records each call's duration and tokens and, as this is a stream, the time to the first chunk.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from wsgiref.simple_server import make_server
from wsgiref.types import StartResponse, WSGIEnvironment

from openai import OpenAI, OpenAIError
from opentelemetry import trace
from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from otel_prom_bridge import start

PORT = int(os.environ.get("ASK_PORT", "8000"))
MODEL = os.environ.get("ASK_MODEL", "gpt-4o-mini")


def answer(client: OpenAI, question: str) -> str:
    # The call gets a span of its own inside this one; that is where its exemplars point to.
    with trace.get_tracer("llm_service").start_as_current_span("answer"):
        stream = client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": question}],
            stream=True,
            stream_options={"include_usage": True},  # without it there are no token counts
        )
        with stream:
            return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


def main() -> None:
    resource = Resource.create({"service.name": "llm-service"})
    # Give it a span processor with your exporter: that is where the exemplars' trace ids can be looked up.
    trace.set_tracer_provider(TracerProvider(resource=resource))
    OpenAIInstrumentor().instrument()

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        question = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)).decode()
        try:
            status, text = "200 OK", answer(client, question)
        except OpenAIError as error:
            status, text = "502 Bad Gateway", str(error)
        start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [text.encode(), b"\n"]

    server = make_server("localhost", PORT, app)
    with suppress(KeyboardInterrupt), server, start(resource=resource) as bridge, OpenAI() as client:
        print(f"answers at http://localhost:{PORT}, metrics at {bridge.server.url}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()

"""Calls that the programs of client libraries make: plain, cached, streamed, embeddings, refused."""

MODEL = "gpt-4o"
CLAUDE = "claude-sonnet-4-5"
EMBEDDING = "text-embedding-3-small"


def question(text: str) -> list[dict[str, str]]:
    """One message of a user."""
    return [{"role": "user", "content": text}]


def openai_calls(run, openai) -> None:
    """Two chats, one of which is cached, a streamed one, an embedding, and two that are refused."""
    with openai.OpenAI(base_url=run.url, max_retries=0, timeout=5) as client:
        chat = client.chat.completions.create
        chat(model=MODEL, messages=question("What is a histogram?"))
        chat(model=MODEL, messages=question("What is a cached histogram?"))
        stream = chat(
            model=MODEL,
            messages=question("What is a stream?"),
            stream=True,
            stream_options={"include_usage": True},
        )
        assert list(stream)
        client.embeddings.create(model=EMBEDDING, input=["one text"], encoding_format="float")
        for status in (429, 500):
            with run.failing():
                chat(model=MODEL, messages=question(f"refuse {status}"))


def retried_call(run, openai) -> None:
    """One chat that the client sends three times, as the server is busy twice."""
    with openai.OpenAI(base_url=run.url, max_retries=2, timeout=5) as client:
        client.chat.completions.create(model=MODEL, messages=question("Be busy twice"))


def anthropic_calls(run, anthropic) -> None:
    """Two messages, one of which is cached, and one that is refused."""
    with anthropic.Anthropic(base_url=run.root, max_retries=0, timeout=5) as client:
        for text in ("What is a counter?", "What is a cached counter?"):
            client.messages.create(model=CLAUDE, max_tokens=99, messages=question(text))
        with run.failing():
            client.messages.create(model=CLAUDE, max_tokens=99, messages=question("refuse 429"))

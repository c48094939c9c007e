"""What the programs of litellm have in common."""

import asyncio
import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it loads its prices from the internet

import litellm


def work(run) -> None:
    """Chats of two providers, a cached, a streamed and two refused ones, and an embedding.

    The newer integration knows asynchronous calls only, as the proxy makes them.
    """
    litellm.suppress_debug_info = True
    openai = {"api_base": run.url, "api_key": "none", "max_retries": 0}
    claude = {"api_base": run.root, "api_key": "none", "max_retries": 0}

    async def ask(model: str, text: str, **options: object) -> object:
        messages = [{"role": "user", "content": text}]
        return await litellm.acompletion(model=model, messages=messages, **options)

    async def main() -> None:
        await ask("openai/gpt-4o", "What is a histogram?", **openai)
        await ask("openai/gpt-4o", "What is a cached histogram?", **openai)
        usage = {"stream": True, "stream_options": {"include_usage": True}}
        async for _ in await ask("openai/gpt-4o", "A stream?", **usage, **openai):
            pass
        await ask("anthropic/claude-sonnet-4-5", "What is a counter?", **claude)
        await litellm.aembedding(model="openai/text-embedding-3-small", input=["one text"], **openai)
        for status in (429, 500):
            with run.failing():
                await ask("openai/gpt-4o", f"refuse {status}", **openai)
        await asyncio.sleep(1)  # it records in tasks of its own

    asyncio.run(main())

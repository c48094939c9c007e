"""MCP: a client and a server in one process, with traces of their own."""

import asyncio

from fastmcp import Client, FastMCP


def instrument() -> None:
    """They record with the global provider as they are."""


def work(run) -> None:
    server = FastMCP("weather")
    server.tool(run.weather)
    server.tool(run.broken)

    async def main() -> None:
        async with Client(server) as client:
            await client.list_tools()
            for name in ("weather", "broken"):
                with run.failing():
                    await client.call_tool(name, {"city": "Rome"})

    asyncio.run(main())

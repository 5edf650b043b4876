"""One conversation by an agent library, run in `.venv-clients`: `drive.py LIBRARY MODEL_ADDRESS GAME SERVER...`."""

# pyright: reportMissingImports=false
from __future__ import annotations

import asyncio
import os
import sys

LIBRARY, ADDRESS, GAME, COMMAND, *ARGUMENTS = sys.argv[1:]
WISH = "Draw a red dragon, put it into my game, and take it back."
ENVIRONMENT = {**os.environ, "DGX_PIXELS_PROJECT": GAME}
API = f"{ADDRESS}/v1"


async def langchain() -> None:
    """LangChain's MCP adapters with a LangGraph agent."""
    from langchain.agents import create_agent
    from langchain_mcp_adapters.client import MultiServerMCPClient
    from langchain_openai import ChatOpenAI

    server = {"transport": "stdio", "command": COMMAND, "args": ARGUMENTS, "env": ENVIRONMENT}
    tools = await MultiServerMCPClient({"dgx-pixels": server}).get_tools()
    model = ChatOpenAI(model="scripted", base_url=API, api_key="none")
    await create_agent(model, tools).ainvoke({"messages": [("user", WISH)]})


async def openai_agents() -> None:
    """OpenAI's Agents SDK."""
    from agents import Agent, OpenAIResponsesModel, Runner, set_tracing_disabled
    from agents.mcp import MCPServerStdio
    from openai import AsyncOpenAI

    set_tracing_disabled(True)
    parameters = {"command": COMMAND, "args": ARGUMENTS, "env": ENVIRONMENT}
    async with MCPServerStdio(params=parameters, client_session_timeout_seconds=120) as server:
        model = OpenAIResponsesModel("scripted", AsyncOpenAI(base_url=API, api_key="none"))
        await Runner.run(Agent("artist", mcp_servers=[server], model=model), WISH)


async def pydantic_ai() -> None:
    """pydantic-ai."""
    from fastmcp.client.transports import StdioTransport
    from pydantic_ai import Agent
    from pydantic_ai.mcp import MCPToolset
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    tools = MCPToolset(StdioTransport(COMMAND, ARGUMENTS, env=ENVIRONMENT), init_timeout=120)
    model = OpenAIChatModel("scripted", provider=OpenAIProvider(base_url=API, api_key="none"))
    async with (agent := Agent(model, toolsets=[tools])):
        await agent.run(WISH)


asyncio.run({"langchain": langchain, "openai-agents": openai_agents, "pydantic-ai": pydantic_ai}[LIBRARY]())

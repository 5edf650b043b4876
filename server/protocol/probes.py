"""Answer `initialize` from a client that probed with `server/discover` first.

mcp 2.3 fixes the protocol era of a stdio connection at its first request, so a client that probes for the 2026-07-28
protocol and then falls back to the handshake is refused (-32022). Here a connection that has seen nothing but probes is
begun again when `initialize` arrives.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCRequest

PROBE = "server/discover"
Serve = Callable[[Any, Any], Awaitable[None]]
"""Serve one connection over a read stream and a write stream of `SessionMessage`."""


async def serve_after_probes(serve: Serve, read: Any, write: Any) -> None:
    """Serves the connection with `serve`; once more from its `initialize` where only probes came before it.

    Args:
        read: the client's messages; ends when the client leaves.
        write: takes the server's messages. Both are closed at the end.
    """
    async with read, write:  # the transport ends when both are closed
        opening = await _serve_until_handshake(serve, read, write)
        if opening is not None:
            await _serve_until_handshake(serve, read, write, opening)


async def _serve_until_handshake(
    serve: Serve, read: Any, write: Any, opening: SessionMessage | None = None
) -> SessionMessage | None:
    """Returns the `initialize` that followed probes alone; None where the client left."""
    to_server, server_reads = anyio.create_memory_object_stream[Any]()
    server_writes, from_server = anyio.create_memory_object_stream[Any]()
    probing = opening is None
    unanswered: set[Any] = set()
    handshake: SessionMessage | None = None

    async def forward() -> None:
        nonlocal probing, handshake
        async with to_server:
            if opening is not None:
                await to_server.send(opening)
            probes = 0
            async for item in read:
                request = item.message if isinstance(item, SessionMessage) else None
                if probing and isinstance(request, JSONRPCRequest):
                    if request.method == "initialize" and probes:
                        while unanswered:
                            await anyio.sleep(0.005)
                        handshake = item
                        return
                    probing = request.method == PROBE
                    probes += probing
                    if probing:
                        unanswered.add(request.id)
                await to_server.send(item)

    async def back() -> None:
        async for item in from_server:
            await write.send(item)
            unanswered.discard(getattr(item.message, "id", None))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(forward)
        tasks.start_soon(back)
        await serve(server_reads, server_writes)
        tasks.cancel_scope.cancel()
    return handshake

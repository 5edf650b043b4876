"""Serve on a port of this machine, as `dgx-pixels serve --http` does."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastmcp import FastMCP

from server.protocol.http_limits import LimitedProtocol

TOKEN = "0123456789abcdef0123"


@contextmanager
def served(mcp: FastMCP, port: int = 0) -> Iterator[int]:
    """The port on which the server answers; 0: any that is free."""
    app = mcp.http_app(host_origin_protection=True)
    config = uvicorn.Config(app, http=LimitedProtocol, log_config=None, ws="none", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", port)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join()

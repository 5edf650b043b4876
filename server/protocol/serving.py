"""Serve over stdio by default, or over HTTP on loopback only, with a token, Host and Origin checked."""

from __future__ import annotations

import gc
import ipaddress
import logging
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from server.errors import ServerError
from server.protocol.app import create_server
from server.settings import Settings
from server.tracing import stop_tracing
from server.users import Users


def serve(
    *, project: Path | None = None, preload: str = "", http: bool = False, port: int | None = None, cluster: str = ""
) -> None:
    """Serves an assistant over stdio (what an MCP client starts), or over --http.

    Parameters
    ----------
    project
        The game's root; default: found from the working directory.
    preload
        The model to load in the background when the server starts; none: on first use (default: the game's, once
        a client has listed the tools).
    http
        Serve HTTP on loopback; DGX_PIXELS_HTTP_TOKEN must hold the token that clients send.
    port
        The port for --http.
    cluster
        Draw on a Ray cluster: auto starts one on this machine, an address (host:port) joins one. docs/scale.md.
    """
    settings = Settings()
    given = {"project": project, "preload": preload, "http_port": port, "cluster": cluster}
    settings = settings.model_copy(update={name: value for name, value in given.items() if value})
    if http:
        serve_http(settings)
    elif settings.cluster:
        raise ServerError(
            "A cluster needs --http: Ray prints on standard output, where this protocol speaks. Add --http, "
            "or leave --cluster (and DGX_PIXELS_CLUSTER) out."
        )
    else:
        server = create_server(settings)
        gc.freeze()
        gc.enable()
        try:
            server.run(transport="stdio", show_banner=False, log_level="WARNING")
        except* BrokenPipeError:  # the client went away while an answer was on its way
            pass
        leave()


def leave() -> NoReturn:
    """Ends the process without taking torch apart, which takes a second: the client waits for the exit."""
    stop_tracing()
    stop_tracing()
    logging.shutdown()
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    os._exit(0)


def serve_http(settings: Settings) -> None:
    """Serves HTTP until it is interrupted.

    Raises:
        ServerError: the address is not loopback, the token is shorter than 16 characters, or nobody has one.
    """
    if not _is_loopback(settings.http_host):
        raise ServerError(
            f"{settings.http_host} is not a loopback address. The server writes files: it is served to this machine "
            "only. Use 127.0.0.1 and an SSH tunnel to reach it from another."
        )
    token = settings.http_token.get_secret_value() if settings.http_token else ""
    users = Users(settings.data_dir)
    if len(token) < 16 and (token or not users.all()):
        raise ServerError(
            "--http needs a token of at least 16 characters: set DGX_PIXELS_HTTP_TOKEN, for example to the output of "
            "`openssl rand -hex 24`, and give it to the client as bearer token. For several users: "
            "`dgx-pixels token add NAME`."
        )
    from server.protocol.http_limits import LimitedProtocol
    from server.protocol.users import Tokens

    server = create_server(settings, auth=Tokens(users, token), users=users)
    host = f"[{settings.http_host}]" if ":" in settings.http_host else settings.http_host
    address = f"http://{host}:{settings.http_port}"
    print(f"dgx-pixels: the studio is at {address}/studio/, assistants connect to {address}/mcp", file=sys.stderr)
    server.run(
        transport="http",
        host=settings.http_host,
        port=settings.http_port,
        show_banner=False,
        log_level="WARNING",
        host_origin_protection=True,
        uvicorn_config={"http": LimitedProtocol},
    )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

"""Serve the results pages on loopback and take votes, with the standard library's server: one user, one machine.

A vote needs the random token of the address and a loopback Host header, so that no other page of the browser can vote.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pipelines.errors import report, sentence
from server.errors import ServerError

logger = logging.getLogger(__name__)

MOST_CONNECTIONS = 32
MOST_SECONDS = 10.0
"""How long a connection may take, from the first byte of the request to the last of the answer."""
_LARGEST_VOTE = 4096
_LENGTH = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)

_PAGE = re.compile(r"gallery(?:-([1-9]\d{0,4}))?\.html")

Page = Callable[[str, int], str]
"""(vote_url, number of the page from 1) -> the page's HTML, made for each visit."""
Vote = Callable[[str, str], None]
"""(comparison id, the winner's key). Raises a UserError for what it does not know."""


class _Server(ThreadingHTTPServer):
    """A thread for each connection, MOST_CONNECTIONS at a time, each for MOST_SECONDS at most."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._open: dict[Any, float] = {}
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if len(self._open) >= MOST_CONNECTIONS:
            self.shutdown_request(request)
            return
        self._open[request] = time.monotonic()
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Ends connections that are open for too long: a client that sends a byte now and then keeps its thread."""
        for request, since in list(self._open.items()):
            if time.monotonic() - since > MOST_SECONDS:
                with suppress(OSError):
                    request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Logs a connection that broke instead of printing a traceback."""
        logger.debug("a connection of the gallery broke", exc_info=True)


def gallery_server(page: Page, vote: Vote, port: int = 0) -> tuple[ThreadingHTTPServer, str]:
    """Returns a server on 127.0.0.1 (any free port for 0) and the address to open. The caller runs and closes it.

    Raises:
        ServerError: the port is taken.
    """
    token = secrets.token_urlsafe(12)

    class Handler(BaseHTTPRequestHandler):
        timeout = MOST_SECONDS

        def do_GET(self) -> None:
            asked = _PAGE.fullmatch(self.path.rpartition("/")[2])
            if self._is_ours(f"/{token}/{asked[0] if asked else ''}"):
                try:
                    html = page(f"/{token}/vote", int(asked[1] or 1) if asked else 1)
                except Exception as error:
                    message = report(error).encode()
                    self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, message, "text/plain; charset=utf-8")
                else:
                    self._answer(HTTPStatus.OK, html.encode(errors="replace"), "text/html; charset=utf-8")

        def do_POST(self) -> None:
            if not self._is_ours(f"/{token}/vote"):
                return
            comparison, winner = self._read_vote()
            if not comparison:
                self._answer(HTTPStatus.BAD_REQUEST, b"A vote is {comparison, winner}.", "text/plain")
                return
            try:
                vote(comparison, winner)
            except Exception as error:
                status = HTTPStatus.CONFLICT if sentence(error) else HTTPStatus.INTERNAL_SERVER_ERROR
                self._answer(status, report(error).encode(), "text/plain; charset=utf-8")
            else:
                self._answer(HTTPStatus.OK, b"{}", "application/json")

        def _read_vote(self) -> tuple[str, str]:
            """Reads (comparison, winner) from the body; empty where it is anything else."""
            length = self.headers.get("content-length") or ""
            if not _LENGTH.fullmatch(length) or int(length) > _LARGEST_VOTE:
                return "", ""
            try:
                body = json.loads(self.rfile.read(int(length)))
                comparison, winner = body["comparison"], body["winner"]
            except (ValueError, KeyError, TypeError, RecursionError, OSError):
                return "", ""
            return (comparison, winner) if isinstance(comparison, str) and isinstance(winner, str) else ("", "")

        def _is_ours(self, path: str) -> bool:
            host = (self.headers.get("host") or "").rsplit(":", 1)[0]
            if host in ("127.0.0.1", "localhost") and secrets.compare_digest(self.path.encode(), path.encode()):
                return True
            self._answer(HTTPStatus.NOT_FOUND, b"Open the address that dgx-pixels gallery printed.", "text/plain")
            return False

        def _answer(self, status: HTTPStatus, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.send_header("cache-control", "no-store")
            self.send_header("x-content-type-options", "nosniff")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Writes nothing: the terminal shows the address only."""

    try:
        server = _Server(("127.0.0.1", port), Handler)
    except OverflowError as error:
        raise ServerError(f"{port} is not a port. Give a number from 0 to 65535 with --port.") from error
    except OSError as error:
        raise ServerError(f"Port {port} is taken ({error.strerror}). Give another with --port.") from error
    return server, f"http://127.0.0.1:{server.server_port}/{token}/"

"""Serve the results pages on loopback and take votes, with the standard library's server: one user, one machine.

A vote needs the random token of the address and a loopback Host header, so that no other page of the browser can vote.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from server.errors import ServerError

_LARGEST_VOTE = 4096

_PAGE = re.compile(r"gallery(?:-([1-9]\d{0,4}))?\.html")

Page = Callable[[str, int], str]
"""(vote_url, number of the page from 1) -> the page's HTML, made for each visit."""
Vote = Callable[[str, str], None]
"""(comparison id, the winner's key). Raises ServerError for what it does not know."""


def gallery_server(page: Page, vote: Vote, port: int = 0) -> tuple[ThreadingHTTPServer, str]:
    """A server on 127.0.0.1 (any free port for 0) and the address to open. The caller runs and closes it.

    Raises:
        ServerError: the port is taken.
    """
    token = secrets.token_urlsafe(12)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = _PAGE.fullmatch(self.path.rpartition("/")[2])
            if self._is_ours(f"/{token}/{asked[0] if asked else ''}"):
                html = page(f"/{token}/vote", int(asked[1] or 1) if asked else 1)
                self._answer(HTTPStatus.OK, html.encode(), "text/html; charset=utf-8")

        def do_POST(self) -> None:
            if not self._is_ours(f"/{token}/vote"):
                return
            length = int(self.headers.get("content-length") or 0)
            try:
                if not 0 < length <= _LARGEST_VOTE:
                    raise ValueError(length)
                body = json.loads(self.rfile.read(length))
                vote(str(body["comparison"]), str(body["winner"]))
            except (ValueError, KeyError, TypeError):
                self._answer(HTTPStatus.BAD_REQUEST, b"A vote is {comparison, winner}.", "text/plain")
            except ServerError as error:
                self._answer(HTTPStatus.CONFLICT, str(error).encode(), "text/plain; charset=utf-8")
            else:
                self._answer(HTTPStatus.OK, b"{}", "application/json")

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
        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    except OSError as error:
        raise ServerError(f"Port {port} is taken ({error.strerror}). Give another with --port.") from error
    server.daemon_threads = True
    return server, f"http://127.0.0.1:{server.server_port}/{token}/"

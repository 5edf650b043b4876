"""The desk of another process: its methods over HTTP, see `service.py`.

Uses the standard library's client, from the first request on: httpx2 takes longer to import than Textual.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pipelines import tracing
from pipelines.errors import Cancelled
from server.desk.desk import Batch, Contest, Finding, Home, OnProgress, Piece, Placed, Shown, Training
from server.desk.wire import pack, unpack
from server.errors import ServerError

if TYPE_CHECKING:
    from http.client import HTTPConnection

    from pipelines.records import Pixels

SILENCE = 120.0
"""Seconds without a line after which the server is taken as gone; it sends four a second."""


class Unreachable(ServerError):
    """The server does not answer, or not as a studio of this version does."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a desk answers, and the token that it wants."""

    host: str
    port: int
    token: str
    secure: bool = False

    def __str__(self) -> str:
        return f"{'https' if self.secure else 'http'}://{self.host}:{self.port}"

    def connect(self, silence: float = SILENCE) -> HTTPConnection:
        """Returns a connection that is not open yet; it gives up where nothing comes for `silence` seconds."""
        from http.client import HTTPConnection, HTTPSConnection

        kind = HTTPSConnection if self.secure else HTTPConnection
        return kind(self.host, self.port, timeout=silence)

    @property
    def headers(self) -> dict[str, str]:
        """The headers of every request."""
        return {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}


def address(url: str, token: str) -> Address:
    """Returns the address of a server from what a client of it is given; the path (/mcp) does not matter.

    Raises:
        ServerError: it is not an address.
    """
    try:
        parts = urlsplit(url if "//" in url else f"http://{url}")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        host = parts.hostname
    except ValueError:
        parts, port, host = urlsplit(""), 0, None
    if parts.scheme not in ("http", "https") or not host:
        raise ServerError(f"{url} is not an address. Give one as http://127.0.0.1:8765.")
    return Address(host, port, token, parts.scheme == "https")


def check(where: Address, version: str) -> None:
    """Asks the server who it is.

    Raises:
        Unreachable: it does not answer, wants another token, or is another version.
    """
    from http.client import HTTPException

    connection = where.connect()
    try:
        connection.request("GET", "/desk", headers=where.headers)
        answer = connection.getresponse()
        body = answer.read(1 << 16)
    except (OSError, HTTPException) as error:
        raise Unreachable(
            f"No server answers at {where} ({error}). Start one there: `dgx-pixels serve --http --port {where.port}`."
        ) from error
    finally:
        connection.close()
    _refuse(where, answer.status)
    try:
        other = str(json.loads(body)["version"])
    except (ValueError, KeyError, TypeError):
        raise Unreachable(f"What answers at {where} is not dgx-pixels.") from None
    if other != version:
        raise Unreachable(f"The server at {where} is dgx-pixels {other}, this is {version}. Update one of them.")


def _refuse(where: Address, status: int) -> None:
    if status in (401, 403):
        raise Unreachable(f"{where} wants another token. Set DGX_PIXELS_HTTP_TOKEN to the server's.")
    if status == 404:
        raise Unreachable(f"The server at {where} has no desk for the studio: it is older, or not dgx-pixels.")
    if status != 200:
        raise Unreachable(f"The server at {where} answers with the status {status}. Its log says why.")


class RemoteDesk:
    """Asks a server. `where` is called for every request: a process that ended may have been started again."""

    def __init__(
        self, where: Callable[[], Address], project: str | None = None, close: Callable[[], None] | None = None
    ) -> None:
        """
        Args:
            where: gives the server's address; it may take a moment.
            project: the game's root, on the server's machine; None: the server's own.
            close: called when the studio ends.
        """
        self._where = where
        self._project = project
        self._close = close

    def _ask(self, method: str, on_progress: OnProgress | None = None, **arguments: Any) -> Any:
        """Calls a method of the server's desk.

        Raises:
            Unreachable: the server does not answer.
            ServerError: the method failed; the message is the tools' own.
            Cancelled: the work was cancelled, here or there.
        """
        with tracing.span(f"studio {method}"):
            return self._request(method, on_progress, arguments)

    def _request(self, method: str, on_progress: OnProgress | None, arguments: dict[str, Any]) -> Any:
        from http.client import HTTPException

        where = self._where()
        connection = where.connect()
        try:
            headers = where.headers | {"traceparent": tracing.to_send()}
            body = json.dumps(pack({"project": self._project or "", "arguments": arguments}))
            connection.request("POST", f"/desk/{method}", body, headers)
            answer = connection.getresponse()
            _refuse(where, answer.status)
            for text in answer:
                line = json.loads(text)
                if "result" in line:
                    return unpack(line["result"])
                if "error" in line:
                    raise ServerError(line["error"])
                if "cancelled" in line:
                    raise Cancelled(line["cancelled"])
                if on_progress is not None:
                    on_progress(*line["progress"])
        except (OSError, HTTPException, ValueError, KeyError) as error:
            raise Unreachable(f"The server at {where} has stopped answering ({error}). Ask again.") from error
        finally:
            connection.close()
        raise Unreachable(f"The server at {where} has ended before it answered. Ask again.")

    def home(self) -> Home:
        """See `Desk`."""
        return self._ask("home")

    def warm(self) -> None:
        """See `Desk`."""
        self._ask("warm")

    def draw(self, fields: Mapping[str, Any], count: int, on_progress: OnProgress) -> Batch:
        """See `Desk`."""
        return self._ask("draw", on_progress, fields=fields, count=count)

    def find(self, text: str = "", kind: str = "", limit: int = 50, offset: int = 0) -> tuple[list[Piece], int]:
        """See `Desk`."""
        return self._ask("find", text=text, kind=kind, limit=limit, offset=offset)

    def show(self, piece: Piece) -> Shown:
        """See `Desk`."""
        return self._ask("show", piece=piece)

    def edit(self, fields: Mapping[str, Any], on_progress: OnProgress) -> Batch:
        """See `Desk`."""
        return self._ask("edit", on_progress, fields=fields)

    def deploy(self, asset_id: str, path: str = "", *, overwrite: bool = False) -> Placed:
        """See `Desk`."""
        return self._ask("deploy", asset_id=asset_id, path=path, overwrite=overwrite)

    def undo(self, path: str = "", *, overwrite: bool = False) -> Placed:
        """See `Desk`."""
        return self._ask("undo", path=path, overwrite=overwrite)

    def compare(
        self,
        prompts: Sequence[str],
        variants: Sequence[str],
        count: int,
        size: int | None,
        on_progress: OnProgress,
        *,
        blind: bool,
    ) -> Contest:
        """See `Desk`."""
        asked = {"prompts": prompts, "variants": variants, "count": count, "size": size, "blind": blind}
        return self._ask("compare", on_progress, **asked)

    def vote(self, contest_id: str, winner: str) -> Contest:
        """See `Desk`."""
        return self._ask("vote", contest_id=contest_id, winner=winner)

    def adopt(self, contest_id: str, winner: str) -> str:
        """See `Desk`."""
        return self._ask("adopt", contest_id=contest_id, winner=winner)

    def adopt_lora(self, job_id: str) -> str:
        """See `Desk`."""
        return self._ask("adopt_lora", job_id=job_id)

    def check(self) -> list[Finding]:
        """See `Desk`."""
        return self._ask("check")

    def status(self) -> dict[str, Any]:
        """See `Desk`."""
        return self._ask("status")

    def trainings(self) -> list[Training]:
        """See `Desk`."""
        return self._ask("trainings")

    def samples(self, job_id: str) -> Pixels | None:
        """See `Desk`."""
        return self._ask("samples", job_id=job_id)

    def train(self, dataset: str, name: str) -> Training:
        """See `Desk`."""
        return self._ask("train", dataset=dataset, name=name)

    def cancel_training(self, job_id: str) -> Training:
        """See `Desk`."""
        return self._ask("cancel_training", job_id=job_id)

    def resume_training(self, job_id: str) -> Training:
        """See `Desk`."""
        return self._ask("resume_training", job_id=job_id)

    def close(self) -> None:
        """See `Desk`."""
        if self._close is not None:
            self._close()

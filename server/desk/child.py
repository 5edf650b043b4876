"""The studio's own server: a process that draws, so that nothing there holds the interpreter that answers keys.

`python -m server.desk.child` reads a line `{"token": ..., "project": ...}`, writes the port on which its desk answers,
and ends when its standard input does: with the studio, however that ends.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING

from server.desk.remote import Address, Unreachable

if TYPE_CHECKING:
    from server.studio import Studio

NICENESS = 5
"""What the process gives way by: the studio's keys come first where both want a core."""
EXIT_PATIENCE = 1.0
"""Seconds that the studio's end waits for the process."""


class Child:
    """The process; it is started again where it has ended."""

    def __init__(self, command: Sequence[str], project: str | None = None) -> None:
        """
        Args:
            command: starts a program that calls `main`.
            project: the game's root.
        """
        self._command = tuple(command)
        self._project = project
        self._token = os.urandom(16).hex()
        self._process: subprocess.Popen[bytes] | None = None
        self._address: Address | None = None
        self._lock = threading.Lock()
        self._closed = False

    def start(self) -> None:
        """Starts the process, without waiting until it answers."""
        self._address = None
        if self._process is not None:
            _release(self._process)
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # keys that send a signal are the studio's
        )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"token": self._token, "project": self._project}).encode() + b"\n")
        self._process.stdin.flush()

    def address(self) -> Address:
        """Returns where its desk answers; waits until it does.

        Raises:
            Unreachable: the process does not start, or the studio ends.
        """
        with self._lock:
            if self._closed:
                raise Unreachable("The studio has ended.")
            try:
                if self._process is None or self._process.poll() is not None:
                    self.start()
                if self._address is None:
                    assert self._process is not None
                    assert self._process.stdout is not None
                    port = int(self._process.stdout.readline())
                    self._address = Address("127.0.0.1", port, self._token)
            except (OSError, ValueError) as error:
                raise Unreachable(
                    f"The process that draws did not start ({error}). studio.log in the data folder says why."
                ) from error
            return self._address

    def close(self) -> None:
        """Ends the process."""
        self._closed = True
        if self._process is None:
            return
        _release(self._process)
        try:
            self._process.wait(EXIT_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _release(process: subprocess.Popen[bytes]) -> None:
    """Closes the pipes of a process, which ends with its standard input."""
    for pipe in (process.stdin, process.stdout):
        with suppress(OSError):  # it has ended before it read
            assert pipe is not None
            pipe.close()


def main(make_studio: Callable[[], Studio] | None = None) -> None:
    """Serves the desk of one studio until standard input ends. `make_studio` replaces it in tests."""
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    asked = json.loads(sys.stdin.readline())
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)  # who connects now is answered when the rest is imported
    os.dup2(2, 1)  # what libraries print

    import hmac

    import uvicorn
    from starlette.applications import Starlette

    from pipelines.log import set_up_logging
    from server.desk.local import LocalDesk
    from server.desk.service import desk_routes
    from server.tracing import start_tracing, stop_tracing

    set_up_logging()
    start_tracing("dgx-pixels-studio")
    desk = LocalDesk(make_studio or _studio, asked["project"])

    def until_the_end() -> None:
        sys.stdin.read()
        desk.close()
        stop_tracing()
        os._exit(0)  # without waiting for a model that is loading

    threading.Thread(target=until_the_end, name="dgx-pixels-end", daemon=True).start()

    async def admit(token: str, _: str) -> AbstractContextManager[None] | None:
        return nullcontext() if hmac.compare_digest(token.encode(), asked["token"].encode()) else None

    app = Starlette(routes=desk_routes(lambda _: desk, admit, ""))
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", ws="none")
    uvicorn.Server(config).run(sockets=[listener])


def _studio() -> Studio:
    from server.studio import Studio

    return Studio()


if __name__ == "__main__":
    main()

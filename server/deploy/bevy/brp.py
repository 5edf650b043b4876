"""A client of the Bevy Remote Protocol (JSON-RPC 2.0 over HTTP on loopback) for Bevy 0.15 to 0.20.

Every call has a deadline for the whole exchange, because a game that is paused, minimised or hanging accepts a
connection and never answers. The port has no authentication, so any program may answer: replies are limited in size
and in the time between two reads, and texts from them are clipped.
"""

from __future__ import annotations

import itertools
import json
import re
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pipelines.visible import clipped, visible
from server.errors import ServerError

DEFAULT_PORT = 15702
MOST_BYTES = 4 << 20
"""A longer reply is refused."""
MOST_SCREEN_BYTES = 48 << 20
"""The same for a watched event: stock Bevy sends a screenshot as JSON, 38 MB for 1920x1080."""
LONGEST_TEXT = 300
"""Characters of a text from the game that are shown."""
LONGEST_PAUSE = 1.0
"""Seconds between two reads of one reply."""

NAMES_BEFORE_0_17 = {
    "world.get_components": "bevy/get",
    "world.query": "bevy/query",
    "world.spawn_entity": "bevy/spawn",
    "world.insert_components": "bevy/insert",
    "world.remove_components": "bevy/remove",
    "world.despawn_entity": "bevy/destroy",
    "world.reparent_entities": "bevy/reparent",
    "world.list_components": "bevy/list",
    "world.mutate_components": "bevy/mutate_component",
    "world.get_components+watch": "bevy/get+watch",
    "world.list_components+watch": "bevy/list+watch",
    "world.get_resources": "bevy/get_resource",
    "world.insert_resources": "bevy/insert_resource",
    "world.remove_resources": "bevy/remove_resource",
    "world.mutate_resources": "bevy/mutate_resource",
    "world.list_resources": "bevy/list_resources",
    "registry.schema": "bevy/registry/schema",
}


class BrpError(ServerError):
    """The game could not be asked, or refused."""


class NotRunning(BrpError):
    """Nothing listens on the port."""


class NotBevy(BrpError):
    """Something listens on the port that does not speak the protocol."""


class Silent(BrpError):
    """Something listens on the port and does not answer in time."""


class Refused(BrpError):
    """The game answered with an error. `code` is JSON-RPC's or BRP's."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Discovery:
    """What a game says of itself. `version` is Bevy's, e.g. "0.19.1"; empty before 0.16, which cannot say."""

    version: str
    methods: frozenset[str]

    @property
    def minor(self) -> int:
        """The 19 of 0.19.1; 15 where the game cannot say."""
        found = re.match(r"0\.(\d+)", self.version)
        return int(found[1]) if found else 15


class BrpClient:
    """One game's port. Connects for each call: a game comes and goes, and loopback is quick."""

    def __init__(self, port: int = DEFAULT_PORT, timeout: float = 2.0, host: str = "127.0.0.1") -> None:
        """Prepares a client; `timeout` is the seconds for a whole call that names none itself."""
        self.port = port
        self.timeout = timeout
        self.host = host
        self._ids = itertools.count(1)
        self._old_names = False

    def call(self, method: str, params: Any = None, timeout: float | None = None) -> Any:
        """Returns the method's result. Methods are named as since Bevy 0.17; older games are asked by their own names.

        Raises:
            NotRunning, NotBevy, Silent, Refused: see there.
        """
        reply = self._ask(self._request(method, params), timeout or self.timeout)
        return _result(reply, self.port)

    def batch(self, calls: Sequence[tuple[str, Any]], timeout: float | None = None) -> list[Any | Refused]:
        """Sends calls in one exchange; returns the results in order, refused ones as `Refused`. Watches nothing.

        Raises:
            NotRunning, NotBevy, Silent: see there.
        """
        requests = [self._request(method, params) for method, params in calls]
        replies = self._ask(requests, timeout or self.timeout)
        if not isinstance(replies, list) or len(replies) != len(requests):
            raise NotBevy(f"Port {self.port} did not answer a batch with a batch, as a Bevy game does.")
        by_id = {
            reply["id"]: reply for reply in replies if isinstance(reply, dict) and isinstance(reply.get("id"), int)
        }
        results: list[Any | Refused] = []
        for request in requests:
            try:
                results.append(_result(by_id.get(request["id"]), self.port))
            except Refused as error:
                results.append(error)
        return results

    @contextmanager
    def watch(self, method: str, params: Any = None, timeout: float | None = None) -> Iterator[Iterator[Any]]:
        """Yields the results of a "+watch" method as they come, and ends when `timeout` seconds have passed in all.

        with client.watch("world.observe+watch", {...}) as results:     # the request is sent
            for result in results: ...

        Raises:
            NotRunning, NotBevy, Silent, Refused: see there.
        """
        timeout = timeout or self.timeout
        deadline = time.monotonic() + timeout
        with _connect(self.host, self.port, deadline, timeout) as connection:
            _send(connection, json.dumps(self._request(method, params)).encode(), self.port, deadline)
            yield self._events(connection, deadline, timeout)

    def discover(self, timeout: float | None = None) -> Discovery:
        """Returns which Bevy the game is built with, and which methods it has. Remembers how to name methods.

        Raises:
            NotRunning, NotBevy, Silent: see there.
        """
        try:
            found = self.call("rpc.discover", timeout=timeout)
        except Refused as refused:
            # Bevy 0.15 has no rpc.discover, but bevy/list.
            try:
                self._old_names = True
                self.call("world.list_components", timeout=timeout)
            except Refused:
                raise NotBevy(f"Port {self.port} speaks JSON-RPC but is not a Bevy game: {refused}") from refused
            return Discovery("", frozenset({"bevy/list"}))
        try:
            discovery = Discovery(
                shown(found["info"]["version"]), frozenset(str(method["name"]) for method in found["methods"])
            )
        except (KeyError, TypeError) as error:
            raise NotBevy(f"Port {self.port} speaks JSON-RPC but does not describe itself as Bevy does.") from error
        self._old_names = bool(discovery.methods) and "world.query" not in discovery.methods
        return discovery

    def _request(self, method: str, params: Any) -> dict[str, Any]:
        name = NAMES_BEFORE_0_17.get(method, method) if self._old_names else method
        request = {"jsonrpc": "2.0", "id": next(self._ids), "method": name}
        return request if params is None else {**request, "params": params}

    def _ask(self, body: Any, timeout: float) -> Any:
        deadline = time.monotonic() + timeout
        with _connect(self.host, self.port, deadline, timeout) as connection:
            _send(connection, json.dumps(body).encode(), self.port, deadline)
            received = bytearray()
            while not _complete(received):
                data = _receive(connection, self.port, deadline, timeout, begun=bool(received))
                received += data
                if len(received) > MOST_BYTES:
                    raise _too_long(self.port, MOST_BYTES)
                if not data:
                    break
        head, _, content = bytes(received).partition(b"\r\n\r\n")
        if head and not head.startswith(b"HTTP/1."):
            raise NotBevy(f"Port {self.port} is used by something that does not speak HTTP, so it is not a Bevy game.")
        return _parse(content, self.port)

    def _events(self, connection: socket.socket, deadline: float, timeout: float) -> Iterator[Any]:
        received = bytearray()
        while True:
            try:
                data = _receive(connection, self.port, deadline, timeout)
            except Silent:
                return
            received += data
            if len(received) > MOST_SCREEN_BYTES:
                raise _too_long(self.port, MOST_SCREEN_BYTES)
            while (end := received.find(b"\n")) >= 0:
                line = bytes(received[:end])
                del received[: end + 1]
                if line.startswith(b"data:"):
                    yield _result(_parse(line[5:], self.port), self.port)
            if not data:
                return


def _connect(host: str, port: int, deadline: float, timeout: float) -> socket.socket:
    try:
        return socket.create_connection((host, port), timeout=max(deadline - time.monotonic(), 0.001))
    except TimeoutError as error:
        raise Silent(f"Port {port} does not take a connection within {timeout:.1f} s.") from error
    except OSError as error:
        raise NotRunning(f"No game listens on port {port}.") from error


def _send(connection: socket.socket, body: bytes, port: int, deadline: float) -> None:
    # HTTP/1.0: Bevy answers 1.1 in chunks; to 1.0 it sends the bare body and closes.
    head = f"POST / HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.settimeout(max(deadline - time.monotonic(), 0.001))
    try:
        connection.sendall(head.encode() + body)
    except TimeoutError as error:
        raise Silent(f"The game on port {port} takes no request.") from error
    except OSError as error:
        raise NotRunning(f"The game on port {port} closed the connection.") from error


def _receive(connection: socket.socket, port: int, deadline: float, timeout: float, *, begun: bool = False) -> bytes:
    """Returns the next bytes of a reply; one that has `begun` may pause for LONGEST_PAUSE."""
    left = deadline - time.monotonic()
    if begun:
        left = min(left, LONGEST_PAUSE)
    try:
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)
        return connection.recv(1 << 16)
    except TimeoutError as error:
        raise Silent(f"The game on port {port} does not answer within {timeout:.1f} s.") from error
    except OSError as error:
        raise NotRunning(f"The game on port {port} closed the connection.") from error


def _complete(received: bytearray) -> bool:
    """Returns whether the body is as long as its Content-Length says; without one it ends with the connection."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return False
    # A length with more digits is longer than any reply that is read: it is not even converted.
    length = re.search(rb"(?i)\r\ncontent-length: *(\d{1,15})\s", received[: end + 2])
    return length is not None and len(received) - end - 4 >= int(length[1])


def _parse(content: bytes, port: int) -> Any:
    if not content:
        raise NotRunning(f"The game on port {port} closed the connection without an answer.")
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise NotBevy(
            f"Port {port} is used by something that does not answer in JSON, so it is not a Bevy game."
        ) from error


def _result(reply: Any, port: int) -> Any:
    if not isinstance(reply, dict) or reply.get("jsonrpc") != "2.0":
        raise NotBevy(f"Port {port} is used by something that does not speak JSON-RPC 2.0, so it is not a Bevy game.")
    if isinstance(error := reply.get("error"), dict):
        code = error.get("code")
        raise Refused(shown(error.get("message", "no reason given")), code if isinstance(code, int) else 0)
    return reply.get("result")


def shown(value: Any) -> str:
    """Returns a text that the game sent, safe and short enough to show to the user."""
    return clipped(visible(value if isinstance(value, str) else f"(a {type(value).__name__})"), LONGEST_TEXT)


def _too_long(port: int, limit: int) -> NotBevy:
    return NotBevy(f"Port {port} sent a reply of more than {limit >> 20} MB, which no Bevy game does.")

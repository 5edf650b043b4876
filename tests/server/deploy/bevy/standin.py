"""A game as the Bevy Remote Protocol shows it, in Python: Bevy 0.15 to 0.20, with and without the dev plugin.

It "loads" pictures from a folder when it is asked to reload (or immediately, as a watcher does), and can behave
badly: stay silent, drip, or speak something else.
"""

from __future__ import annotations

import json
import re
import socketserver
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from PIL import Image

from server.deploy.bevy.brp import NAMES_BEFORE_0_17

SINCE_0_17 = (*NAMES_BEFORE_0_17, "rpc.discover")
PLUGIN = ("status", "reload", "await", "preview", "clear", "screenshot")


def fnv(data: bytes) -> str:
    """FNV-1a over 64-bit words, written down a second time: the server's must agree."""
    data += b"\0" * (-len(data) % 8)
    value = 14695981039346656037
    for at in range(0, len(data), 8):
        value = ((value ^ int.from_bytes(data[at : at + 8], "little")) * 1099511628211) % 2**64
    return f"{value:016x}"


class StandIn:
    """with StandIn(assets, version="0.19.1") as game: BrpClient(game.port)"""

    def __init__(
        self,
        assets: Path,
        version: str = "0.19.1",
        *,
        plugin: bool = True,
        held: tuple[str, ...] = (),
        behaviour: str = "good",
        protocol: int = 1,
    ) -> None:
        """`behaviour`: good, silent (accepts, never answers), drips (a byte now and then), http, garbage, rpc (some
        other JSON-RPC service), closes, stale (answers, but never loads anything again)."""
        self.assets = assets
        self.version = version
        self.plugin = plugin
        self.held = set(held)
        self.behaviour = behaviour
        self.protocol = protocol
        self.asked: list[str] = []
        self.states: dict[str, dict[str, Any]] = {}
        self.screens: list[bytes] = []
        """What extras' screenshots show, one after the other; the last stays."""
        self._released = threading.Event()
        for path in self.held:
            self._load(path)

    def __enter__(self) -> StandIn:
        game = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                game.serve(self.request)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def methods(self) -> list[str]:
        minor = int(self.version.split(".")[1])
        names = list(SINCE_0_17) if minor >= 17 else [*NAMES_BEFORE_0_17.values(), "rpc.discover"]
        if minor < 16:
            names = [n for n in names if n not in ("rpc.discover", "bevy/registry/schema", "bevy/get_resource")]
        if minor >= 19:
            names += ["world.observe+watch", "world.write_message"]
        if self.screens:
            names.append("brp_extras/screenshot")
        return names + ([f"dgx_pixels/{name}" for name in PLUGIN] if self.plugin else [])

    def serve(self, connection: Any) -> None:
        received = b""
        while b"\r\n\r\n" not in received:
            data = connection.recv(65536)
            if not data:
                return
            received += data
        head, _, body = received.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        while length and len(body) < int(length[1]):
            body += connection.recv(65536)
        match self.behaviour:
            case "silent":
                self._released.wait(120)
            case "drips":
                while not self._released.wait(0.05):
                    try:
                        connection.sendall(b"H")
                    except OSError:
                        return
            case "closes":
                return
            case "garbage":
                connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
            case "http":
                connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 15\r\n\r\n<h1>Nothing</h1")
            case _:
                self._answer(connection, json.loads(body))

    def _answer(self, connection: Any, request: Any) -> None:
        if isinstance(request, dict) and "+watch" in request["method"]:
            connection.sendall(b"HTTP/1.0 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
            for number in range(3):
                event = {"jsonrpc": "2.0", "id": request["id"], "result": {"number": number}}
                connection.sendall(f"data: {json.dumps(event)}\n\n".encode())
            self._released.wait(10)
            return
        many = isinstance(request, list)
        reply = [self._one(one) for one in request] if many else self._one(request)
        content = json.dumps(reply).encode()
        connection.sendall(b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n" + content)

    def _one(self, request: dict[str, Any]) -> dict[str, Any]:
        method = request["method"]
        self.asked.append(method)
        reply = {"jsonrpc": "2.0", "id": request.get("id")}
        if self.behaviour == "rpc" or method not in self.methods:
            return reply | {"error": {"code": -32601, "message": f"Method `{method}` not found"}}
        return reply | {"result": self._result(method, request.get("params") or {})}

    def _result(self, method: str, params: dict[str, Any]) -> Any:
        match method:
            case "rpc.discover":
                return {
                    "openrpc": "1.3.2",
                    "info": {"title": "Bevy Remote Protocol", "version": self.version},
                    "methods": [{"name": name, "params": []} for name in self.methods],
                }
            case "dgx_pixels/status":
                assets = {path: self._state(path) for path in params.get("paths") or self.states}
                return {
                    "protocol": self.protocol,
                    "game": "standin",
                    "asset_root": str(self.assets),
                    "pid": 1,
                    "watching": True,
                    "frame_ms": {"median": 16.7, "worst": 20.0},
                    "assets": assets,
                }
            case "dgx_pixels/reload":
                before = {path: self._state(path) for path in params["paths"]}
                if self.behaviour != "stale":
                    for path in self.held & set(params["paths"]):
                        self._load(path)
                return {"asset_root": str(self.assets), "assets": before}
            case "dgx_pixels/await":
                state = self._state(params["path"])
                while state["hash"] != params["hash"] and state["failed"] <= params["failed"]:
                    if self._released.wait(0.005):
                        break
                    state = self._state(params["path"])
                return state
            case "dgx_pixels/screenshot":
                Image.new("RGB", (32, 18), (20, 90, 40)).save(params["path"])
                return {"path": params["path"]}
            case "brp_extras/screenshot":
                Path(params["path"]).write_bytes(self.screens.pop(0) if len(self.screens) > 1 else self.screens[0])
                return {"success": True, "path": params["path"], "status": "completed"}
            case _:
                return []

    def _state(self, path: str) -> dict[str, Any]:
        empty = {
            "generation": 0,
            "width": 0,
            "height": 0,
            "layers": 0,
            "hash": "",
            "format": "",
            "failed": 0,
            "error": "",
        }
        return {**empty, **self.states.get(path, {}), "held": path in self.held}

    def _load(self, path: str) -> None:
        state = self._state(path)
        try:
            if path.endswith(".json"):
                state |= {"hash": fnv((self.assets / path).read_bytes()), "format": "sheet"}
            else:
                with Image.open(self.assets / path) as image:
                    pixels = np.asarray(image.convert("RGBA"))
                state |= {
                    "hash": fnv(pixels.tobytes()),
                    "format": "Rgba8UnormSrgb",
                    "layers": 1,
                    "height": pixels.shape[0],
                    "width": pixels.shape[1],
                }
            state["generation"] += 1
        except (OSError, SyntaxError) as error:
            state |= {"failed": state["failed"] + 1, "error": str(error)}
        self.states[path] = state

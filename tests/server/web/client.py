"""A browser without a screen: the requests that the studio's page sends, over a real connection."""

from __future__ import annotations

import http.client
import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

LIMIT = 60.0


def drop_lora(data_dir: Path, name: str) -> None:
    """Puts a LoRA that changes nothing where the server finds it."""
    from safetensors.numpy import save_file

    layer = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q"
    tensors = {f"{layer}.lora_down.weight": np.zeros((4, 8)), f"{layer}.lora_up.weight": np.zeros((8, 4))}
    (data_dir / "loras").mkdir(parents=True, exist_ok=True)
    save_file(tensors, data_dir / "loras" / f"{name}.safetensors")


class Page:
    """A page that is open at 127.0.0.1. It keeps the cookie and the key as a browser and the page's scripts do."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.cookie = self.key = ""
        self.origin = f"http://127.0.0.1:{port}"

    def send(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, Any], http.client.HTTPResponse]:
        """Sends a request with the page's headers; those given replace them, an empty one leaves its header out."""
        own = {"Cookie": self.cookie, "X-Studio-Key": self.key}
        if method == "POST":
            own |= {"Origin": self.origin, "Content-Type": "application/json"}
        sent = {name: value for name, value in (own | (headers or {})).items() if value}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT)
        data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else None
        connection.request(method, f"/studio/api/{path}", data, sent)
        answer = connection.getresponse()
        said = answer.read()
        connection.close()
        return answer.status, json.loads(said) if said.startswith(b"{") else {}, answer

    def log_in(self, token: str) -> dict[str, Any]:
        status, said, answer = self.send("POST", "login", {"token": token})
        assert status == 200, said
        self.key = said["key"]
        self.cookie = (answer.getheader("set-cookie") or "").partition(";")[0]
        return said

    def get(self, path: str) -> dict[str, Any]:
        status, said, _ = self.send("GET", path)
        assert status == 200, said
        return said

    def post(self, path: str, /, **body: Any) -> dict[str, Any]:
        status, said, _ = self.send("POST", path, body)
        assert status in (200, 202), said
        return said

    def refused(self, path: str, /, **body: Any) -> tuple[int, str]:
        status, said, _ = self.send("POST", path, body)
        assert status >= 400, said
        return status, said["error"]

    def start(self, kind: str = "sprite", /, **asked: Any) -> str:
        return self.post("runs", kind=kind, id=secrets.token_hex(8), **asked)["id"]

    def draw(self, prompt: str = "red dragon", **asked: Any) -> dict[str, Any]:
        """Draws, follows the events and returns the finished run."""
        return self.follow(self.start(prompt=prompt, **({"count": 1} | asked)))

    def follow(self, run: str) -> dict[str, Any]:
        with Stream(self) as stream:
            return stream.until(lambda data: data.get("id") == run and data["state"] in ("done", "failed", "cancelled"))


class Stream:
    """The events of a page: (id, event, data)."""

    def __init__(self, page: Page, last: str = "") -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=LIMIT)
        headers = {"Cookie": page.cookie, "X-Studio-Key": page.key}
        self._connection.request(
            "GET", "/studio/api/events", headers=headers | ({"Last-Event-ID": last} if last else {})
        )
        self.answer = self._connection.getresponse()
        self.last = last

    def __enter__(self) -> Stream:
        assert self.answer.status == 200, self.answer.read()
        return self

    def __exit__(self, *_: object) -> None:
        self.answer.close()
        self._connection.close()

    def __iter__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        event, data = "", ""
        while line := self.answer.readline().decode():
            name, _, value = line.rstrip("\r\n").partition(": ")
            if name == "id":
                self.last = value
            elif name == "event":
                event = value
            elif name == "data":
                data = value
            elif not name and data:
                yield event, json.loads(data)
                event, data = "", ""

    def until(self, holds: Any) -> dict[str, Any]:
        for _, data in self:
            if holds(data):
                return data
        raise AssertionError("the stream ended")

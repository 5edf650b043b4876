"""Pulling from the hub, against a stand-in on this machine that can break off, lie and be away."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pipelines.errors import ModelError
from pipelines.models import hub
from pipelines.models.hub import Repo, cached_file, plan_pull, pull, snapshot

COMMIT = "0123456789abcdef0123456789abcdef01234567"
WEIGHTS = bytes(range(256)) * 4096
CONFIG = b'{"_class_name": "StableDiffusionXLPipeline"}'
REPO = Repo("studio/tiny", files=("*.json", "*/*.fp16.safetensors"), licence="mit")


class Hub(ThreadingHTTPServer):
    """Serves one repository. `cut`: after so many bytes of the weights the line breaks, once."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {"model_index.json": CONFIG, "unet/model.fp16.safetensors": WEIGHTS, "unet/model.bin": b"pickle"}
        self.cut = 0
        self.ranges: list[str] = []
        self.served: list[str] = []

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Hub  # pyright: ignore[reportIncompatibleVariableOverride]
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path.startswith("/api/models/studio/tiny"):
            siblings = [{"rfilename": name, "size": len(data)} for name, data in self.server.files.items()]
            self._send(json.dumps({"id": REPO.id, "sha": COMMIT, "siblings": siblings}).encode(), {})
            return
        name = path.partition(f"/resolve/{COMMIT}/")[2] or path.partition("/resolve/main/")[2]
        data = self.server.files.get(name)
        if data is None:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if name.endswith(".safetensors"):
            etag = hashlib.sha256(WEIGHTS).hexdigest()
        else:
            etag = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        self._send(data, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}, name)

    def _send(self, data: bytes, headers: dict[str, str], name: str = "") -> None:
        asked = self.headers.get("Range", "")
        start = int(asked.removeprefix("bytes=").partition("-")[0]) if asked else 0
        self.send_response(206 if asked else 200)
        for key, value in headers.items():
            self.send_header(key, value)
        if asked:
            self.server.ranges.append(asked)
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        if self.command == "HEAD":
            return
        self.server.served.append(name)
        if self.server.cut and name.endswith(".safetensors"):
            self.wfile.write(data[start : self.server.cut])
            self.wfile.flush()
            self.connection.close()
            return
        self.wfile.write(data[start:])


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


class Stop(Exception):
    """What a caller's OnProgress raises to cancel."""


def test_a_pull_shows_what_it_will_do_and_then_does_it(server: Hub):
    assert snapshot(REPO) is None
    plan = plan_pull([REPO], server.endpoint)
    assert plan.size == len(WEIGHTS) + len(CONFIG)
    assert plan.licences == {"studio/tiny": "mit"}
    told: list[tuple[int, int]] = []
    pull(plan, lambda done, total, message: told.append((done, total)), server.endpoint)
    assert told[-1] == (plan.size, plan.size)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    found = cached_file(REPO, "unet/model.fp16.safetensors")
    assert found
    assert found.read_bytes() == WEIGHTS
    assert snapshot(Repo(REPO.id, COMMIT)) == snapshot(REPO)
    assert "unet/model.bin" not in server.served
    again = plan_pull([REPO], server.endpoint)
    assert again.size == 0


def test_an_interrupted_pull_continues_where_it_was(server: Hub, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1 << 16)
    plan = plan_pull([REPO], server.endpoint)

    def stop(done: int, total: int, message: str) -> None:
        if done > 300_000:
            raise Stop

    with pytest.raises(Stop):
        pull(plan, stop, server.endpoint)
    assert cached_file(REPO, "unet/model.fp16.safetensors") is None
    pull(plan_pull([REPO], server.endpoint), endpoint=server.endpoint)
    (asked,) = server.ranges
    assert int(asked.removeprefix("bytes=").rstrip("-")) > 0
    found = cached_file(REPO, "unet/model.fp16.safetensors")
    assert found
    assert found.read_bytes() == WEIGHTS


def test_a_file_with_the_wrong_checksum_is_thrown_away(server: Hub):
    server.files["unet/model.fp16.safetensors"] = WEIGHTS[:-1] + b"!"
    plan = plan_pull([REPO], server.endpoint)
    with pytest.raises(ModelError, match="damaged"):
        pull(plan, endpoint=server.endpoint)
    assert cached_file(REPO, "unet/model.fp16.safetensors") is None
    server.files["unet/model.fp16.safetensors"] = WEIGHTS
    pull(plan, endpoint=server.endpoint)
    assert server.ranges == [], "it went on with a damaged file"


def test_without_a_hub_the_cache_is_used(server: Hub):
    pull(plan_pull([REPO], server.endpoint), endpoint=server.endpoint)
    server.shutdown()
    server.server_close()
    assert cached_file(REPO, "unet/model.fp16.safetensors")
    with pytest.raises(ModelError, match="could not be fetched"):
        plan_pull([REPO], "http://127.0.0.1:1")


def test_what_the_hub_does_not_have_is_an_error_with_advice(server: Hub):
    with pytest.raises(ModelError, match="no model 'studio/other'"):
        plan_pull([Repo("studio/other")], server.endpoint)


def test_a_checkpoint_without_half_precision_is_fetched_in_full(server: Hub):
    server.files["unet/model.safetensors"] = server.files.pop("unet/model.fp16.safetensors")
    plan = plan_pull([Repo(REPO.id, files=REPO.files, otherwise=("*/*.safetensors",))], server.endpoint)
    assert [f.name for f in plan.files] == ["model_index.json", "unet/model.safetensors"]


def test_a_download_that_does_not_fit_the_disk_is_not_begun(server: Hub, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hub, "RESERVE", 1 << 60)
    with pytest.raises(ModelError, match="Make room"):
        pull(plan_pull([REPO], server.endpoint), endpoint=server.endpoint)
    assert not any(name.startswith("unet") for name in server.served)

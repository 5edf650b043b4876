"""Starts, watches and ends a game for the tests, and makes pictures that no other test made."""

from __future__ import annotations

import io
import itertools
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipelines.records import Recipe
from server.deploy.bevy.brp import BrpClient, BrpError
from server.deploy.bevy.screenshot import read_rgba, take_screenshot
from server.studio import Studio
from tests.bevy_game.toolchain import EXAMPLE, bevy_version, binary, manifest_for, project, target

VERSION = bevy_version()
BINARIES = target(VERSION) / "debug"
_counter = itertools.count(1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(what: str, check: Callable[[], Any], limit: float = 10.0, pause: float = 0.02) -> Any:
    """What `check` returns once that is true; fails after `limit` seconds."""
    deadline = time.monotonic() + limit
    while True:
        if found := check():
            return found
        assert time.monotonic() < deadline, f"{what} did not happen within {limit} s"
        time.sleep(pause)


def software_renderer() -> dict[str, str]:
    """The environment that makes Vulkan draw on the CPU, where Mesa's driver for that is installed."""
    drivers = sorted(Path("/usr/share/vulkan/icd.d").glob("lvp_icd*.json"))
    if not drivers or os.environ.get("WGPU_BACKEND"):
        return {}
    return {"WGPU_BACKEND": "vulkan", "WGPU_FORCE_FALLBACK_ADAPTER": "1", "VK_DRIVER_FILES": str(drivers[0])}


class Game:
    """A game's process: its project's root, its port, and a client that speaks to it."""

    def __init__(
        self, root: Path, port: int, program: str = binary(VERSION), *, headless: bool = True, draws: bool = True
    ) -> None:
        """`draws`: whether the game can show what it draws: in a window, or to the dev plugin."""
        self.root = root
        self.port = port
        self.client = BrpClient(port, timeout=5.0)
        self._command = [str(BINARIES / program), *(["--headless"] if headless else [])]
        self._draws = draws
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def assets(self) -> Path:
        return self.root / "assets"

    @property
    def log(self) -> str:
        return (self.root / "game.log").read_text(errors="replace")

    def start(self, **environment: str) -> None:
        """Starts it and waits until it has drawn: the first start compiles shaders."""
        own = {"BRP_EXTRAS_PORT": str(self.port), "BEVY_ASSET_ROOT": str(self.root), "NO_COLOR": "1"}
        # wgpu records a backtrace at each lock where RUST_BACKTRACE is set; panics still have theirs
        own["RUST_LIB_BACKTRACE"] = "0"
        with (self.root / "game.log").open("wb") as log:
            self._process = subprocess.Popen(
                self._command, env={**os.environ, **software_renderer(), **own, **environment}, stdout=log, stderr=log
            )
        wait_for("the game's start", self._answers, limit=120)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"the game ended:\n{self.log}"
        try:
            discovery = self.client.discover(timeout=2.0)
            if not self._draws:  # the first frames compile shaders and answer late
                return all(self.client.discover(timeout=0.3) for _ in range(5))
        except BrpError:
            return False
        # Sprites are drawn once their shaders are compiled; until then the screen has one colour.
        # bevy_brp_extras encodes a PNG in a debug build, which takes seconds on busy cores.
        shot = read_rgba(take_screenshot(self.client, discovery, timeout=20.0))
        return shot is not None and bool((shot != shot[0, 0]).any())

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait(timeout=10)
            self._process = None

    def revive(self) -> None:
        """Starts it again where a test has ended it."""
        if self._process is None or self._process.poll() is not None:
            self.start()

    def state(self, path: str) -> dict[str, Any]:
        return self.client.call("dgx_pixels/status", {"paths": [path]})["assets"][path]


def copy_game(folder: Path) -> Path:
    """A project of its own with the example game's assets, so that tests change nothing in the checkout."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Cargo.toml").write_text(manifest_for(VERSION))
    shutil.copy(project(VERSION) / "Cargo.lock", folder)
    for name in ("dgx-pixels.toml", "palette.hex"):
        shutil.copy(EXAMPLE / name, folder)
    shutil.copytree(EXAMPLE / "assets", folder / "assets")
    return folder


def picture(width: int = 32, height: int = 32) -> bytes:
    """A PNG of a figure in colours that no picture had before: opaque, with a transparent ground."""
    rng = np.random.default_rng(next(_counter) + 1_000_000)
    pixels = np.zeros((height, width, 4), np.uint8)
    inside = pixels[height // 8 :, width // 8 : -width // 8]
    inside[..., :3] = np.kron(
        rng.integers(0, 256, (inside.shape[0] // 4 + 1, inside.shape[1] // 4 + 1, 3)), np.ones((4, 4, 1))
    )[: inside.shape[0], : inside.shape[1]]
    inside[..., 3] = 255
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def asset(studio: Studio, data: bytes, **more: bytes) -> str:
    """The id of an asset in the game's library; `sheet__json=` becomes the file `sheet.json`."""
    recipe = Recipe("sprite", f"figure {next(_counter)}", 32, 32, seed=1)
    files = {"sprite.png": data, **{name.replace("__", "."): text for name, text in more.items()}}
    return studio.library(studio.project()).add("sprite", files, recipe).id

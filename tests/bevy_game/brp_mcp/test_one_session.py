"""bevy_brp_mcp and this server in one session of one client: launch, draw, deploy, look from both sides, play, undo."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from fastmcp import Client
from PIL import Image

from server.deploy.bevy.screenshot import find_sprite, read_rgba
from tests.bevy_game.running import VERSION, copy_game, free_port, software_renderer
from tests.bevy_game.toolchain import BRP_MCP, CACHE, EXAMPLE, cargo, environment, own_folder, target

NAME = "brp_round"
FEET, HERO, RESOURCE = f"{NAME}::actors::Feet", f"{NAME}::hero::Hero", f"{NAME}::dgx_pixels::dev::DgxPixels"


@pytest.fixture(scope="module")
def program() -> Path:
    """bevy_brp_mcp of the version that belongs to the game's Bevy; the first time it is built, for many minutes."""
    root = CACHE / f"brp-mcp-{VERSION}"
    # it has a Bevy of its own, with other features and newer dependencies: gigabytes that nothing else can use
    own = root.with_name(f"target-brp-mcp-{VERSION}")
    command = ["install", "bevy_brp_mcp", "--version", BRP_MCP[VERSION], "--debug", "--root", str(root)]
    done = subprocess.run(
        [*cargo(VERSION), *command, "--ignore-rust-version"],
        env={**environment(VERSION), "CARGO_TARGET_DIR": str(own)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    shutil.rmtree(own, ignore_errors=True)
    return root / "bin/bevy_brp_mcp"


@pytest.fixture
def game() -> Path:
    """The example game under a name of its own. brp_launch looks for programs in target/."""
    root = copy_game(own_folder(VERSION, NAME))
    manifest = root / "Cargo.toml"
    manifest.write_text(manifest.read_text().replace('name = "bevy_example"', f'name = "{NAME}"'))
    shutil.copytree(EXAMPLE / "src", root / "src")
    (root / "target").symlink_to(target(VERSION))
    return root


def toolchain(folder: Path) -> Path:
    """A folder with a `cargo` that builds for this Bevy, for the server that knows only `cargo build`."""
    script = folder / "cargo"
    real = " ".join([str(shutil.which("cargo")), *cargo(VERSION)[1:]])
    script.write_text(f'#!/bin/sh\n[ "$1" = build ] && exec {real} "$@" --ignore-rust-version\nexec {real} "$@"\n')
    script.chmod(0o755)
    return folder


def both(program: Path, game: Path, folder: Path, display: str) -> dict[str, Any]:
    """The client's configuration, as in docs/bevy.md."""
    shared = {**environment(VERSION), **software_renderer(), "DISPLAY": display, "NO_COLOR": "1"}
    path = f"{toolchain(folder)}:{os.environ['PATH']}"
    brp = {"command": str(program), "cwd": str(game), "env": {**shared, "PATH": path}}
    ours = {"DGX_PIXELS_DATA_DIR": str(folder / "data"), "PYTHONPATH": str(EXAMPLE.parent)}
    own = {"command": sys.executable, "args": ["-m", "server", "serve"], "cwd": str(game), "env": {**shared, **ours}}
    return {"mcpServers": {"brp": brp, "dgx": own}}


@pytest.mark.anyio
async def test_two_servers_make_one_round(program: Path, game: Path, tmp_path: Path, display: str) -> None:
    port = free_port()
    project = f"{game}:{port}"
    hero = game / "assets/sprites/hero.png"
    before = hero.read_bytes()
    async with Client(both(program, game, tmp_path, display), timeout=900) as client:

        async def call(tool: str, **arguments: Any) -> Any:
            answer = await client.call_tool(tool, arguments, raise_on_error=False)
            assert answer.structured_content, answer.content
            return answer.structured_content

        async def brp(tool: str, **arguments: Any) -> Any:
            answer = await call(f"brp_{tool}", port=port, **arguments)
            assert answer["status"] == "success", answer
            return answer["result"]

        try:
            await brp("brp_launch", target_name=NAME, path=str(game))
            with anyio.fail_after(120):
                while (await call("brp_brp_status", app_name=NAME, port=port))["status"] != "success":
                    await anyio.sleep(0.2)

            # its first frames compile shaders and are slow
            with anyio.fail_after(120):
                quick = 0
                while quick < 5:
                    asked = anyio.current_time()
                    known = await brp("world_get_resources", resource=RESOURCE)
                    loaded = known["value"]["assets"].get("sprites/hero.png", {}).get("generation")
                    quick = quick + 1 if loaded and anyio.current_time() - asked < 0.3 else 0

            # draw and deploy: this server's proof
            made = await call("dgx_generate_sprite", prompt="blue knight", size=32, seed=5, project=str(game))
            done = await call(
                "dgx_deploy_asset", asset_id=made["asset_id"], path="sprites/hero.png", overwrite=True, project=project
            )
            assert done["verification"] == "reloaded", done["note"]

            # the same from the other side: the plugin's resource, and what the window shows
            known = await brp("world_get_resources", resource=RESOURCE)
            # the watcher and this server may each have it loaded
            shown = known["value"]["assets"]["sprites/hero.png"]
            assert shown["generation"] >= 2
            shot = tmp_path / "screen.png"
            await brp("brp_extras_screenshot", path=str(shot))
            with Image.open(shot) as screen, Image.open(hero) as portrait:
                seen = read_rgba(shot.read_bytes())
                assert seen is not None
                assert screen.width >= 640
                assert find_sprite(seen, read_rgba(hero.read_bytes())), portrait.size  # type: ignore[arg-type]
            tools = await brp("brp_list_agent_tools")
            assert "dgx_pixels_status" in str(tools)

            # play
            start = await feet(brp)
            await brp("brp_extras_send_keys", keys=["ArrowLeft"], duration_ms=400)
            with anyio.fail_after(30):
                while (await feet(brp))[0] >= start[0]:
                    await anyio.sleep(0.1)

            # take it back
            undone = await call("dgx_undo_deploy", project=project)
            assert undone["verification"] == "reloaded", undone["note"]
            assert hero.read_bytes() == before
            known = await brp("world_get_resources", resource=RESOURCE)
            after = known["value"]["assets"]["sprites/hero.png"]
            assert after["generation"] > shown["generation"]
            assert after["hash"] != shown["hash"]
        finally:
            await call("brp_brp_shutdown", app_name=NAME, port=port)


async def feet(brp: Any) -> tuple[float, float]:
    """Where the hero stands."""
    found = await brp("world_query", data={"components": [FEET]}, filter={"with": [HERO]})
    place = found[0]["components"][FEET]
    return tuple(place) if isinstance(place, list) else (place["x"], place["y"])

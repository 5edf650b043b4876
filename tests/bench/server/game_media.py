"""`make game-media`: pictures of the example game in docs/images, and its last 20 seconds as a GIF.

The game is played by keys over the remote protocol (tests/bevy_game/player.py) while its own screenshots are taken.
Then a session of docs/bevy.md is held with it: the answers are printed, the dragon before and after becomes a picture.
Needs the built game (`make test-bevy` builds it).
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from PIL import Image

from server.deploy.bevy.brp import BrpError
from server.deploy.bevy.screenshot import find_sprite, read_rgba, take_screenshot
from tests.bench.server.readme_media import shot
from tests.bevy_game.player import FEET, HERO, Player
from tests.bevy_game.running import Game, copy_game, free_port, wait_for
from tests.bevy_game.toolchain import EXAMPLE

SECONDS, PER_SECOND, MOST_BYTES = 20.0, 8, 3_000_000
SPEED = 0.25
"""Of the game's clock while pictures are taken: a machine that draws slowly makes the same moving picture."""


def main() -> None:
    """Plays and writes the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    out = parser.parse_args().out
    frames: list[tuple[float, Image.Image]] = []

    def watch() -> None:
        now = time.monotonic() * SPEED
        if not frames or now - frames[-1][0] > 1 / PER_SECOND:
            try:
                frames.append((now, shot(game)))
            except (BrpError, AssertionError):
                return

    with tempfile.TemporaryDirectory() as folder:
        game = Game(copy_game(Path(folder) / "game"), free_port())
        try:
            game.start()
            wait_for("the hero on the screen", lambda: shows_hero(game), limit=60)
            start = shot(game)
            player = Player(game, watch, SPEED)
            while not player.wins(seconds=400):
                frames.clear()
                wait_for("the end of the lost game", lambda: "You fell" in player.line(), limit=60)
                player.press("Enter", 60)
        finally:
            game.stop()
        shutil.copytree(EXAMPLE / "src", game.root / "src")  # check_project reads it
        game.start()
        try:
            wait_for("the hero on the screen", lambda: shows_hero(game), limit=60)
            beside(*asyncio.run(session(game, Path(folder) / "data"))).save(out / "bevy-session.png", optimize=True)
        finally:
            game.stop()
    start.save(out / "bevy-game.png", optimize=True)
    write_gif(frames, out / "bevy-game.gif")
    print(f"{len(frames)} frames, {(out / 'bevy-game.gif').stat().st_size} bytes")


def shows_hero(game: Game) -> bool:
    """Whether the portrait, one of the pictures that are loaded last, is drawn."""
    portrait = read_rgba((game.assets / "sprites/hero.png").read_bytes())
    seen = read_rgba(take_screenshot(game.client, game.client.discover(), timeout=20))
    sheets = game.client.call("dgx_pixels/status", {"paths": ["sheets/hero.png", "sheets/dragon.png"]})["assets"]
    loaded = all(state["generation"] for state in sheets.values())
    return loaded and seen is not None and portrait is not None and find_sprite(seen, portrait) is not None


async def session(game: Game, data: Path) -> tuple[Image.Image, Image.Image]:
    """Makes the red dragon blue, takes it back, and prints what the tools answered. Returns the room with each."""
    from fastmcp import Client

    from server.protocol.app import create_server
    from server.settings import Settings

    os.environ["BRP_EXTRAS_PORT"] = str(game.port)
    call = game.client.call
    hero = call("world.query", {"data": {"components": [FEET]}, "filter": {"with": [HERO]}})[0]["entity"]
    call("world.insert_components", {"entity": hero, "components": {FEET: [-32.0, 60.0]}})
    pictures: list[Image.Image] = []
    async with Client(create_server(Settings(project=game.root, data_dir=data, preload="none"))) as client:

        async def ask(tool: str, **arguments: Any) -> dict[str, Any]:
            answer = await client.call_tool(tool, arguments, raise_on_error=False)
            said = answer.structured_content or {"error": [getattr(block, "text", "") for block in answer.content]}
            print(f"\n{tool} {json.dumps(arguments)}\n{json.dumps(said, indent=1)}")
            return said

        await ask("check_project")
        sprite = await ask("generate_sprite", prompt="blue dragon", seed=304)
        sheet = await ask(
            "generate_animation", asset_id=sprite["asset_id"], motions=["idle", "walk", "attack", "hurt", "die"]
        )
        where = {"asset_id": sheet["asset_id"], "path": "sheets/dragon.png"}
        await ask("deploy_asset", **where)
        pictures.append(shot(game))
        await ask("deploy_asset", **where, overwrite=True)
        pictures.append(shot(game))
        await ask("undo_deploy")
        await ask("deploy_asset", asset_id=sprite["asset_id"], path="sprites/blue_dragon.png")
    return pictures[0], pictures[1]


def beside(left: Image.Image, right: Image.Image) -> Image.Image:
    """The middle of two screenshots side by side, twice as large."""
    width, height = left.size
    box = (width // 4, height // 8, width * 3 // 4, height * 7 // 8)
    both = Image.new("RGB", (width + 8, height * 3 // 4), (24, 26, 33))
    both.paste(left.crop(box), (0, 0))
    both.paste(right.crop(box), (width // 2 + 8, 0))
    return both.resize((both.width * 2, both.height * 2), Image.Resampling.NEAREST)


def write_gif(frames: list[tuple[float, Image.Image]], path: Path) -> None:
    """Writes the last seconds as a GIF of at most `MOST_BYTES`, with fewer frames where that is needed."""
    last = [(at, image) for at, image in frames if at > frames[-1][0] - SECONDS]
    palette = last[len(last) // 2][1].quantize(96, dither=Image.Dither.NONE)
    for every in (1, 2, 3, 4):
        kept = last[::every]
        times = [at for at, _ in kept]
        ms = [round(1000 * (b - a)) for a, b in itertools.pairwise(times)] + [2500]
        small = [image.quantize(palette=palette, dither=Image.Dither.NONE) for _, image in kept]
        small[0].save(path, save_all=True, append_images=small[1:], duration=ms, loop=0, optimize=True)
        if path.stat().st_size <= MOST_BYTES:
            return


if __name__ == "__main__":
    main()

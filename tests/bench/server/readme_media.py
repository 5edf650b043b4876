"""`make readme-media`: docs/images/session.gif from a real session.

A client asks the server for four sprites, deploys one of them into a copy of the running example game, and the game's
own screenshots from before and after are shown. Needs the built game (`make test-bevy` builds it).
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import os
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from server.deploy.bevy.screenshot import read_rgba, take_screenshot
from tests.bevy_game.running import Game, copy_game, free_port

WIDTH, HEIGHT, BAND = 760, 470, 56
INK, PAPER, FAINT, GREEN = (225, 228, 235), (24, 26, 33), (130, 137, 150), (120, 200, 130)


def main() -> None:
    """Writes the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompt", default="blue potion")
    parser.add_argument("--path", default="sprites/potion.png", help="a sprite that the example game shows")
    parser.add_argument("--choose", type=int, default=1, help="which of the four, from 1")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("docs/images/session.gif"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        game = Game(copy_game(Path(folder) / "game"), free_port())
        try:
            game.start()
            os.environ["BRP_EXTRAS_PORT"] = str(game.port)
            before = shot(game)
            drawn, choices, placed = asyncio.run(session(game.root, Path(folder) / "data", given))
            after = shot(game)
        finally:
            game.stop()
    print(placed["note"])
    print(drawn["sprites"][given.choose - 1]["asset_id"], placed["verification"], f"{placed['seconds']} s")
    write(given, choices, placed, before, after)


def shot(game: Game) -> Image.Image:
    """What the game shows now."""
    pixels = read_rgba(take_screenshot(game.client, game.client.discover(), timeout=20))
    assert pixels is not None
    return Image.fromarray(pixels).convert("RGB")


async def session(root: Path, data: Path, given: argparse.Namespace) -> tuple[dict[str, Any], bytes, dict[str, Any]]:
    """Draw four, deploy one; both answers, and the picture that the assistant saw."""
    from fastmcp import Client

    from server.protocol.app import create_server
    from server.settings import Settings

    async with Client(create_server(Settings(project=root, data_dir=data, preload="none"))) as client:
        drawn = await client.call_tool(
            "generate_sprite", {"prompt": given.prompt, "count": 4, "seed": given.seed, "size": 32}
        )
        answer = drawn.structured_content or {}
        chosen = answer["sprites"][given.choose - 1]["asset_id"]
        arguments = {"asset_id": chosen, "path": given.path, "overwrite": True}
        placed = (await client.call_tool("deploy_asset", arguments)).structured_content or {}
    return answer, base64.b64decode(drawn.content[0].data), placed  # pyright: ignore[reportAttributeAccessIssue]


def write(
    given: argparse.Namespace, choices: bytes, placed: dict[str, Any], before: Image.Image, after: Image.Image
) -> None:
    """The moving picture: typing, four sprites, the game before, the game after."""
    asked = f"> Draw a {given.prompt} for my game"
    frames: list[tuple[Image.Image, int]] = []
    for end in range(2, len(asked) + 1, 2):
        frames.append((panel(before, asked[:end]), 60))
    frames.append((panel(before, asked), 700))
    four = Image.open(io.BytesIO(choices)).convert("RGB")
    frames.append((panel(four, asked, "generate_sprite(count=4): four sprites", box=True), 2000))
    frames.append((panel(four, asked, f"number {given.choose} is the clearest one", box=True), 1400))
    told = f"deploy_asset -> {placed['path']}: {placed['state']}, {placed['verification']}"
    frames.append((panel(before, asked, "deploy_asset ..."), 700))
    frames.append((panel(after, asked, told), 3500))
    pictures = [picture for picture, _ in frames]
    palette = pictures[-1].quantize(128, dither=Image.Dither.NONE)
    small = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    given.out.parent.mkdir(parents=True, exist_ok=True)
    small[0].save(
        given.out, save_all=True, append_images=small[1:], duration=[ms for _, ms in frames], loop=0, optimize=True
    )


def panel(content: Image.Image, first: str, second: str = "", *, box: bool = False) -> Image.Image:
    """One frame: the conversation above, a picture below."""
    image = Image.new("RGB", (WIDTH, HEIGHT), PAPER)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(18)
    draw.text((16, 8), first, font=font, fill=INK)
    draw.text((16, 31), second, font=font, fill=GREEN if "reloaded" in second else FAINT)
    room = (WIDTH - 32, HEIGHT - BAND - 22)
    scale = min(room[0] / content.width, room[1] / content.height)
    size = (round(content.width * scale), round(content.height * scale))
    shown = content.resize(size, Image.Resampling.NEAREST if box else Image.Resampling.BOX)
    image.paste(shown, ((WIDTH - shown.width) // 2, BAND + 8 + (room[1] - shown.height) // 2))
    return image


if __name__ == "__main__":
    main()

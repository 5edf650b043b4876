"""`make game-media`: pictures of the example game in docs/images, and 20 seconds of it as a GIF.

The game is played by keys over the remote protocol (tests/bevy_game/player.py) while its own screenshots are taken.
Needs the built game (`make test-bevy` builds it).
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from pathlib import Path

from PIL import Image

from server.deploy.bevy.brp import BrpError
from tests.bench.server.readme_media import shot
from tests.bevy_game.player import Player
from tests.bevy_game.running import Game, copy_game, free_port, wait_for

SECONDS, PER_SECOND, MOST_BYTES = 20.0, 8, 2_000_000


def main() -> None:
    """Plays and writes the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    out = parser.parse_args().out
    frames: list[tuple[float, Image.Image]] = []

    def watch() -> None:
        if not frames or time.monotonic() - frames[-1][0] > 1 / PER_SECOND:
            try:
                frames.append((time.monotonic(), shot(game)))
            except (BrpError, AssertionError):
                return

    with tempfile.TemporaryDirectory() as folder:
        game = Game(copy_game(Path(folder) / "game"), free_port())
        try:
            game.start()
            start = shot(game)
            player = Player(game, watch)
            while not player.wins(seconds=300):  # taking pictures slows the player down
                frames.clear()
                wait_for("the end of the lost game", lambda: "You fell" in player.line(), limit=60)
                player.press("Enter", 60)
            end = shot(game)
        finally:
            game.stop()
    start.save(out / "bevy-game.png", optimize=True)
    end.save(out / "bevy-won.png", optimize=True)
    write_gif(frames, out / "bevy-game.gif")
    print(f"{len(frames)} frames, {(out / 'bevy-game.gif').stat().st_size} bytes")


def write_gif(frames: list[tuple[float, Image.Image]], path: Path) -> None:
    """The last seconds as a GIF of at most `MOST_BYTES`, with fewer frames where that is needed."""
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

"""Fifty deploys in a row, by the watcher alone and by the protocol: none may be missed. Prints how long they took."""

from __future__ import annotations

import statistics
import time

from server.deploy.bevy.brp import Silent
from server.deploy.bevy.screenshot import read_rgba
from server.deploy.bevy.verify import word_hash
from server.deploy.deploy import deploy
from server.deploy.folder import AssetsFolder
from server.studio import Studio
from tests.bevy_game.running import Game, asset, picture

PATH = "sprites/hero.png"
ROUNDS = 50


def write(game: Game, data: bytes) -> None:
    assets = AssetsFolder(game.root, "assets", game.root / ".dgx-pixels")
    assets.place(assets.stage(PATH, data), PATH, overwrite=True)


def seen_after(game: Game, *, ask: bool) -> float | None:
    """Seconds from a written file to its pixels in the game; None when that took more than three."""
    data = picture()
    pixels = read_rgba(data)
    assert pixels is not None
    wanted = word_hash(pixels.tobytes())
    write(game, data)
    start = time.perf_counter()
    if ask:
        game.client.call("dgx_pixels/reload", {"paths": [PATH]})
    try:
        game.client.call("dgx_pixels/await", {"path": PATH, "hash": wanted, "failed": 10_000}, timeout=3.0)
    except Silent:
        return None
    return time.perf_counter() - start


def frames(game: Game) -> str:
    ms = game.client.call("dgx_pixels/status")["frame_ms"]
    return f"median {ms['median']:.1f}, worst {ms['worst']:.1f}"


def line(what: str, seconds: list[float]) -> str:
    p95 = statistics.quantiles(seconds, n=20, method="inclusive")[18]
    return f"{what}: median {statistics.median(seconds):.3f} s, p95 {p95:.3f} s, {len(seconds)} of {ROUNDS} seen"


def measure(game: Game, figures: list[str], what: str, *, ask: bool) -> None:
    rest = frames(game)
    times = [seen_after(game, ask=ask) for _ in range(ROUNDS)]
    seen = [seconds for seconds in times if seconds is not None]
    figures.append(line(what, seen))
    figures.append(f"  frames in ms, last 300, before: {rest}; during: {frames(game)}")
    assert len(seen) == ROUNDS


def test_the_watcher_misses_none_of_fifty(at_port: Game, figures: list[str]) -> None:
    measure(at_port, figures, "file written -> shown, watcher alone", ask=False)


def test_the_protocol_misses_none_of_fifty(at_port: Game, figures: list[str]) -> None:
    measure(at_port, figures, "file written -> shown, asked over BRP", ask=True)


def test_fifty_verified_deploys_are_all_proved(studio: Studio, figures: list[str]) -> None:
    times: list[float] = []
    shots = 0
    for _ in range(ROUNDS):
        done = deploy(studio, asset(studio, picture()), PATH, overwrite=True)
        assert done.verification.state == "reloaded"
        shots += bool(done.verification.screenshot)
        times.append(done.seconds)
    figures.append(line(f"deploy with proof and screenshot ({shots} came in time)", times))
    assert shots

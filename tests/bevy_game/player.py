"""Plays the example game as an assistant does: looks over the remote protocol, presses keys with bevy_brp_extras."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from server.deploy.bevy.brp import BrpError
from tests.bevy_game.running import VERSION, Game
from tests.bevy_game.toolchain import binary

CRATE = binary(VERSION)
FEET, HERO, MONSTER = f"{CRATE}::actors::Feet", f"{CRATE}::hero::Hero", f"{CRATE}::monsters::Monster"
RULES = f"{CRATE}::state::Game"
CLOCK = "bevy_time::time::Time<bevy_time::virt::Virtual>"
TEXT = "bevy_sprite::text2d::Text2d"
SPEED, REACH = 110.0, 62.0
KEY, DOOR, LANE = (-80.0, 131.0), -32.0, -48.0
"""The key in the ruin, the x of the ruin's door and of the lane to the gate (bevy_example/src/map.rs)."""
TO_KEY = ((DOOR, 3.0), (DOOR, 131.0), KEY)
TO_EXIT = ((DOOR, 131.0), (DOOR, 3.0), (LANE, -8.0), (LANE, -222.0), (LANE, -278.0))

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Seen:
    """Where the hero and the living monsters stand; `hero` is None once the game is over."""

    hero: Point | None
    monsters: tuple[Point, ...]


class Player:
    """Walks, fights and looks.

    Args:
        game: runs already, in a build with `dgx_pixels_extras`.
        watch: called after every look, for example to take a picture.
        speed: of the game's clock; 0.25 runs it in slow motion, for machines that draw slowly.
    """

    def __init__(self, game: Game, watch: Callable[[], None] = lambda: None, speed: float = 1.0) -> None:
        self._game = game
        self._watch = watch
        self._speed = speed
        if speed != 1.0:
            change = {"resource": CLOCK, "path": ".context.relative_speed", "value": speed}
            game.client.call("world.mutate_resources", change)

    def wins(self, seconds: float = 90.0) -> bool:
        """Fetches the key, opens the gate and leaves; False where the hero falls or the time ends."""
        deadline = time.monotonic() + seconds
        return self.walks(TO_KEY, deadline) and self.walks(TO_EXIT, deadline) and "You are free" in self.line()

    def walks(self, way: tuple[Point, ...], deadline: float) -> bool:
        """Whether the hero comes to the end of the way, or leaves the map at it."""
        for place in way:
            while True:
                seen = self.look()
                if seen.hero is None:
                    return "You are free" in self.line()
                if math.dist(seen.hero, place) < 8:
                    break
                if time.monotonic() > deadline:
                    return False
                near = min(seen.monsters, key=lambda m: math.dist(m, seen.hero or m), default=None)
                if near and math.dist(near, seen.hero) < REACH:
                    self.press(_key(seen.hero, near), 40)
                    self.press("Space", 60)
                else:
                    far = max(abs(place[0] - seen.hero[0]), abs(place[1] - seen.hero[1]))
                    self.press(_key(seen.hero, place), int(min(max(far / SPEED * 1000, 40), 220)))
        return True

    def look(self) -> Seen:
        """What stands where."""
        call = self._game.client.call
        hero = call("world.query", {"data": {"components": [FEET]}, "filter": {"with": [HERO]}})
        monsters = call("world.query", {"data": {"components": [FEET, MONSTER]}})
        self._watch()
        return Seen(
            _point(hero[0]["components"][FEET]) if hero else None,
            tuple(_point(m["components"][FEET]) for m in monsters if m["components"][MONSTER]["health"] > 0),
        )

    def line(self) -> str:
        """The line at the bottom of the screen."""
        texts = self._game.client.call("world.query", {"data": {"components": [TEXT]}})
        return " ".join(str(row["components"][TEXT]) for row in texts)

    def press(self, key: str, ms: int) -> None:
        """Holds a key down for `ms` of the game's clock, and waits as long."""
        ms = round(ms / self._speed)
        try:
            self._game.client.call("brp_extras/send_keys", {"keys": [key], "duration_ms": ms})
        except BrpError:
            return
        end = time.monotonic() + ms / 1000
        while time.monotonic() < end:
            self._watch()
            time.sleep(max(0.0, min(0.02, end - time.monotonic())))


def pace(game: Game) -> float:
    """The speed of the game's clock at which a frame lasts 40 ms of it at most: a player sees as much on busy cores."""
    median = game.client.call("dgx_pixels/status", {"paths": ["-"]})["frame_ms"]["median"]
    return min(1.0, 40.0 / median)


def _point(feet: Any) -> Point:
    """The Vec2 in `Feet(Vec2)`; versions of Bevy write it as [x, y] or {"x", "y"}, within a list or not."""
    while isinstance(feet, list) and len(feet) == 1:
        feet = feet[0]
    x, y = (feet["x"], feet["y"]) if isinstance(feet, dict) else feet
    return float(x), float(y)


def _key(here: Point, there: Point) -> str:
    """The arrow of the longer way."""
    x, y = there[0] - here[0], there[1] - here[1]
    if abs(x) > abs(y):
        return "ArrowRight" if x > 0 else "ArrowLeft"
    return "ArrowUp" if y > 0 else "ArrowDown"

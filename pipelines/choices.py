"""The fixed choices of requests and recipes as `Literal` types. Imports nothing heavy: the server's start needs it."""

from __future__ import annotations

from typing import Literal

Outline = Literal["none", "outer", "inner", "selective"]
Preset = Literal["turbo", "guided", "quality", "fast", "draft"]
"""Of all models together; `Model.presets` says which one model has."""
Layout = Literal[
    "wang16",
    "blob47",
    "cliffs",
    "edge16",
    "platformer",
    "seamless",
    "variations",
    "isometric",
    "hex_pointy",
    "hex_flat",
    "blob47_godot",
    "rpgmaker_a2",
    "props",
    "animated",
]
Border = Literal["auto", "grassy", "soft", "crisp"]
Method = Literal["composite", "joint"]
Axes = Literal["both", "x", "y"]
Motion = Literal["idle", "walk", "run", "attack", "hurt", "die"]
Layer = Literal["outline", "shadow", "normal"]
"""Pictures that lie at an atlas's places."""
Effect = Literal["fireball", "explosion", "hit", "heal", "smoke", "sparkle"]
FrameMethod = Literal["auto", "painted", "puppet", "warp"]
"""How the frames of an animation are made; auto is the rule of `pipelines.animation.making`."""
Faces = Literal["right", "left"]
Soft = Literal["keep", "dither", "solid", "drop"]
"""What becomes of half-transparent pixels."""
Kind = Literal["sprite", "sheet", "tileset", "palette"]

DIRECTIONS: dict[int, tuple[str, ...]] = {1: ("",), 2: ("right", "left"), 4: ("down", "up", "right", "left")}
"""Clip endings of 1, 2 and 4 directions."""

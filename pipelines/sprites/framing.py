"""Decide what a prompt asks for (a figure to cut out, a texture, a scene, a portrait, an icon), and extend the prompt.

A model that draws single pixels gets prompts unchanged. Style and background are added for a general model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from pipelines.errors import InvalidRequest
from pipelines.records import Recipe

BACKGROUNDS = ("auto", "transparent", "opaque")
FIGURE = 256
"""Pixels: what is larger on a side is a background, not a figure that is cut out."""
FRAMED_FROM = 64
"""Pixels: up to this side portraits, icons and scenes are drawn as every sprite is."""
FRAMINGS: Mapping[str, tuple[str, str]] = {
    "sprite": (
        "transparent",
        "pixel art, game sprite of {}, full body, centered, on a flat solid magenta background",
    ),
    "texture": ("opaque", "pixel art, seamless game texture of {}, top-down, flat lighting, fills the frame"),
    "scene": ("opaque", "pixel art, game background, {}, wide view, detailed scenery, fills the frame"),
    "portrait": (
        "transparent",
        "pixel art, {}, head and shoulders, facing the viewer, centered, on a flat solid magenta background",
    ),
    "icon": ("transparent", "pixel art, {}, single object, centered, on a flat solid magenta background"),
}
"""Framing -> (background, prompt with {} for the user's). `pixels.matte` cuts one flat saturated colour best."""
_TILES = re.compile(
    r"\b(floors?|walls?|ground|tiles?|terrain|pavement|road|path|grass|water|lava|dirt|sand|snow|gravel|mud|"
    r"cobblestones?|bricks?|planks|carpet)\W*\Z"
)
_SCENES = re.compile(r"\b(backgrounds?|backdrop|landscape|scene|scenery|skyline|panorama|vista|title screen)\b")
_PORTRAITS = re.compile(r"\b(portrait|bust|headshot|face of)\b")
_ICONS = re.compile(r"\b(icons?|emblem|badge)\b")


def background_of(recipe: Recipe) -> str:
    """Returns "transparent" or "opaque": as the recipe says, else by prompt and size.

    Floors and walls fill their square; backgrounds fill theirs, and everything above FIGURE pixels is one.

    Raises:
        InvalidRequest: the recipe's `ground` is none of BACKGROUNDS.
    """
    background = str(recipe.options.get("ground", "auto"))
    if background not in BACKGROUNDS:
        raise InvalidRequest(f"background (`ground`) is one of {', '.join(BACKGROUNDS)}, not '{background}'.")
    if background != "auto":
        return background
    if _TILES.search(recipe.prompt.lower()):
        return "opaque"
    return FRAMINGS[_framing(recipe)][0]


def framed_prompt(recipe: Recipe) -> str:
    """Returns the recipe's prompt for a general model: pixel art, framed as the prompt asks, on its background."""
    background = background_of(recipe)
    framing = _framing(recipe)
    if FRAMINGS[framing][0] != background:
        framing = "texture" if background == "opaque" else "sprite"
    return FRAMINGS[framing][1].format(recipe.prompt.replace("{", "(").replace("}", ")"))


def _framing(recipe: Recipe) -> str:
    side, prompt = max(recipe.width, recipe.height), recipe.prompt.lower()
    if side > FIGURE:
        return "scene"
    if side > FRAMED_FROM:
        for framing, words in (("scene", _SCENES), ("portrait", _PORTRAITS), ("icon", _ICONS)):
            if words.search(prompt):
                return framing
    return "sprite"

"""Draw terrains from prompts: pictures that wrap, scored by how well they tile."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from pipelines.models.catalog import Model
from pipelines.pixels.cells import sample_cells
from pipelines.pixels.clean import settle_orphans
from pipelines.pixels.grid import regular_grid
from pipelines.pixels.oklab import Lab, from_oklab, to_oklab
from pipelines.pixels.palette import Palette, extract_palette, lock
from pipelines.records import Drawing, DrawRequest, OnProgress, Pixels, Recipe
from pipelines.tiles.geometry import wrapped
from pipelines.tiles.seams import texture_seam

if TYPE_CHECKING:
    from pipelines.engine.engine import Engine

SDXL_CANVAS = 512
"""Side of the canvas of a model that does not draw single pixels."""
GRAIN = 0.03
"""The grain (mean OKLab step from the surroundings) that a texture is brought to, as far as it is near enough."""
ODDNESS = np.array([0.5, 1, 1], np.float32)
"""How much lightness, a and b count when a colour is compared with the usual one: night grass is grass."""
LUMPS_KEPT = 0.4
"""How much of a texture's unevenness at a quarter tile's scale stays."""
_COLORS = {
    "black": 0x202028, "gray": 0x8A8A8A, "grey": 0x8A8A8A, "white": 0xE8E8E8, "brown": 0x8A5A30, "red": 0xB83028,
    "orange": 0xD87828, "yellow": 0xD8C060, "green": 0x4E9A3E, "cyan": 0x70C8D0, "blue": 0x3468C0, "purple": 0x8A50B8,
    "pink": 0xD880A8, "lava": 0xD8501E, "magma": 0xD8501E, "snow": 0xEEF2F6, "ice": 0x9ADCE6, "swamp": 0x4A6A38,
}  # fmt: skip
"""What a colour word, or a terrain that has a colour of its own, looks like on the ground, as RRGGBB."""
_USUAL = {
    "grass": "green", "moss": "green", "forest": "green", "jungle": "green", "leaves": "green", "swamp": "green",
    "water": "blue", "sea": "blue", "ocean": "blue", "river": "blue", "lake": "blue", "ice": "cyan",
    "sand": "yellow", "beach": "yellow", "desert": "yellow", "dirt": "brown", "mud": "brown", "soil": "brown",
    "earth": "brown", "path": "brown", "road": "brown", "wood": "brown", "wooden": "brown", "planks": "brown",
    "brick": "brown", "bricks": "brown", "stone": "gray", "rock": "gray", "gravel": "gray", "cobblestone": "gray",
    "lava": "red", "magma": "red", "snow": "white", "marble": "white", "crystal": "purple",
}  # fmt: skip
"""The colour of a terrain whose prompt names none."""
_SYNONYMS = {
    "sea": "water", "ocean": "water", "river": "water", "lake": "water", "beach": "sand", "desert": "sand",
    "soil": "dirt", "earth": "dirt", "mud": "dirt", "path": "dirt", "road": "dirt", "rock": "stone", "magma": "lava",
    "moss": "grass", "jungle": "grass", "forest": "grass", "leaves": "grass", "wood": "wooden", "planks": "wooden",
    "bricks": "brick",
}  # fmt: skip
_BUILT = {"brick", "bricks", "planks", "wood", "wooden", "wall", "tiles"}
"""Terrains made of pieces: drawn at half their size, so that several pieces fit into a tile."""
_SOFT = {"grass", "dirt", "water", "swamp", "gravel"}
"""Terrains that are drawn lighter and more evenly when the prompt says "ground"."""
LIQUIDS = {"water", "sea", "ocean", "river", "lake", "lava", "magma", "acid", "swamp"}


@dataclass(frozen=True, slots=True, eq=False)
class Texture:
    """A terrain at native pixels ((n, n, 4), opaque, wraps where it was asked to) and its scores; `cost` is the one to
    choose by, lower is better."""

    image: Pixels
    scores: dict[str, float]

    @property
    def cost(self) -> float:
        return self.scores["cost"]


def words_of(prompt: str) -> list[str]:
    """Returns the prompt's words in lower case."""
    return re.findall(r"[a-z0-9]+", prompt.lower())


def embedded_wording(prompt: str) -> str:
    """Words the prompt for the embedded model: the terrain's usual colour where none is named, and what it is.

    Without a colour it draws terrain of any hue; without `floor`, `ground` or `wall` a thing on a transparent
    background.
    """
    words = words_of(prompt)
    usual = next((_USUAL[word] for word in words if word in _USUAL), "")
    named = any(word in _COLORS and word not in _USUAL for word in words)
    words = [_SYNONYMS.get(word, word) for word in words if word != "ground"]  # "snow ground" is not drawn as a tile
    if usual and not named:
        words.insert(0, usual)
    if not {"floor", "wall"} & set(words):
        words.append("wall" if "brick" in words else "ground" if _SOFT & set(words) else "floor")
    return " ".join(words)


def usual_color(prompt: str) -> Lab | None:
    """Returns the usual colour (OKLab) of the terrain that a prompt names; None where it names none."""
    words = words_of(prompt)
    named = sorted((word for word in words if word in _COLORS), key=lambda word: word in _USUAL)
    name = next(iter(named), "") or next((_USUAL[word] for word in words if word in _USUAL), "")
    if not name:
        return None
    value = _COLORS[name]
    return to_oklab(np.array([value >> 16, value >> 8 & 255, value & 255], np.uint8))


def canvas_of(model: Model, size: int, prompt: str = "") -> tuple[int, int]:
    """Returns (canvas side, SDXL's original size) in pixels for a texture of `size` pixels.

    A model that draws pixels draws the tile itself; doubled where it is below the smallest size, or small and made of
    pieces. Other models draw a canvas of their own, which is cut down to size x size cells.
    """
    if not model.draws_pixels:
        return SDXL_CANVAS, SDXL_CANVAS
    small, large = model.native_sizes[0], model.native_sizes[-1]
    doubled = size < small or (size < large and bool(_BUILT & set(words_of(prompt))))
    return (2 * size, small) if doubled else (size, large)


def texture_request(
    recipe: Recipe,
    model: Model,
    prompt: str,
    seeds: Sequence[int],
    wraps: tuple[bool, bool],
    references: tuple[Pixels, ...] = (),
) -> DrawRequest:
    """Returns the drawing of one texture of recipe.width a seed; `wraps` says in which axes (x, y)."""
    side, native = canvas_of(model, recipe.width, prompt)
    words = embedded_wording(prompt) if model.draws_pixels else prompt
    return DrawRequest(
        model=recipe.model,
        prompts=(words,) * len(seeds),
        seeds=tuple(seeds),
        width=side,
        height=side,
        negative=recipe.negative,
        native=native,
        preset=recipe.preset,
        steps=recipe.steps or None,
        guidance=recipe.guidance or None,
        loras=recipe.loras,
        tile_x=wraps[0],
        tile_y=wraps[1],
        references=references,
    )


def draw_textures(
    engine: Engine,
    recipe: Recipe,
    model: Model,
    prompt: str,
    wraps: tuple[bool, bool],
    on_progress: OnProgress,
    references: tuple[Pixels, ...] = (),
) -> tuple[list[Texture], Drawing]:
    """Draws recipe.candidates textures of a terrain; returns them best first, with the drawing that they came from."""
    seeds = [terrain_seed(recipe.seed, prompt, i) for i in range(recipe.candidates)]
    drawing = engine.draw(texture_request(recipe, model, prompt, seeds, wraps, references), on_progress)
    natives = [to_native(image, recipe.width, model) for image in drawing.images]
    return judge(natives, wraps, usual_color(prompt)), drawing


def terrain_seed(seed: int, prompt: str, candidate: int) -> int:
    """Derives a seed from the prompt, so that two terrains of a set do not share their noise, but grass on water
    and grass on sand have the same grass."""
    digest = 0
    for letter in prompt.encode():
        digest = (digest * 131 + letter) % 2**31
    return (seed * 1_000_003 + digest * 97 + candidate) % 2**63


def to_native(canvas: Pixels, size: int, model: Model) -> Pixels:
    """Returns a canvas as size x size pixels: doubled pixels halved, a painter's canvas cut into cells."""
    side = canvas.shape[0]
    if side == size:
        return canvas
    if model.draws_pixels and side == 2 * size:
        blocks = canvas.reshape(size, 2, size, 2, 4).astype(np.float32)
        return np.rint(blocks.mean(axis=(1, 3))).astype(np.uint8)
    return sample_cells(canvas, regular_grid(side, side, size, size))


def make_opaque(image: Pixels) -> tuple[Pixels, float]:
    """Returns the texture without holes (they take the nearest colour), and the share of it that was clear."""
    clear = image[..., 3] < 128
    solid = image.copy()
    if clear.any() and not clear.all():
        nearest = ndimage.distance_transform_edt(clear, return_distances=False, return_indices=True)
        solid = solid[tuple(np.asarray(nearest))]
    solid[..., 3] = 255
    return solid, float(clear.mean())


def judge(images: Sequence[Pixels], wraps: tuple[bool, bool], usual: Lab | None = None) -> list[Texture]:
    """Returns the candidates for one terrain, made opaque, with their scores, best first.

    `seam` is the worse wrap (see seams); `lumps` how uneven it is at the scale of a quarter tile and `lines` how much
    its rows and columns differ, `spots` how far its oddest spot stands out from the others (all three show as a grid
    when it repeats); `grain` how rough it is pixel by pixel; `odd` how
    far its colour is from the `usual` one (none: the candidates' median); `clear` the share of pixels that were filled.
    """
    found: list[tuple[Pixels, Lab, dict[str, float]]] = []
    for image in images:
        solid, clear = make_opaque(image)
        lab = to_oklab(solid[..., :3])
        smooth = _smooth(lab, wraps)
        soft = np.linalg.norm(_smooth(lab, wraps, 13) - smooth, axis=-1)
        lumps = float(np.linalg.norm(smooth - smooth.mean(axis=(0, 1)), axis=-1).mean())
        grain = float(np.linalg.norm(lab - smooth, axis=-1).mean())
        lines = max(float(np.linalg.norm(lab.mean(axis=axis).std(axis=0))) for axis in (0, 1))
        x, y = texture_seam(solid)
        seam = max(x if wraps[0] else 0.0, y if wraps[1] else 0.0)
        scores = {"seam": seam, "lumps": lumps, "lines": lines, "grain": grain, "clear": clear}
        scores["spots"] = float(soft.max() / max(soft.mean(), 1e-3))
        found.append((solid, lab.mean(axis=(0, 1)), scores))
    if usual is None:
        usual = np.median([mean for _, mean, _ in found], axis=0)
    textures = []
    for solid, mean, scores in found:
        scores["odd"] = float(np.linalg.norm((mean - usual) * ODDNESS))
        # a flat texture is dull, a rough one muddies every border
        dull, rough = max(0.0, 0.012 - scores["grain"]) * 60, max(0.0, scores["grain"] - 0.07) * 10
        grid = scores["lumps"] * 15 + max(0.0, scores["lines"] - 0.01) * 25 + max(0.0, scores["spots"] - 3.5) * 0.2
        wrong = max(0.0, scores["odd"] - 0.05) * 10 + scores["clear"] * 20
        scores["cost"] = grid + max(0.0, scores["seam"] - 1.1) * 2 + dull + rough + wrong
        textures.append(Texture(solid, scores))
    return sorted(textures, key=lambda texture: texture.cost)


def _smooth(lab: Lab, wraps: tuple[bool, bool], parts: float = 7) -> Lab:
    """Returns the texture as seen from afar: what is larger than a quarter of it (a blur by a part of its side)."""
    sigma = lab.shape[0] / parts
    for axis, wrap in ((0, wraps[1]), (1, wraps[0])):
        lab = np.asarray(ndimage.gaussian_filter1d(lab, sigma, axis, mode="wrap" if wrap else "nearest"), np.float32)
    return lab


def level(texture: Pixels, wraps: tuple[bool, bool] = (True, True)) -> Pixels:
    """Returns the texture without large lumps, which show as a grid, and with a grain that an eye sees and bears."""
    lab = to_oklab(texture[..., :3])
    smooth = _smooth(lab, wraps)
    detail = lab - smooth
    gain = np.clip(GRAIN / max(float(np.linalg.norm(detail, axis=-1).mean()), 1e-3), 0.7, 2.5)
    mean = lab.mean(axis=(0, 1))
    leveled = mean + (smooth - mean) * LUMPS_KEPT + detail * gain
    return np.concatenate([from_oklab(leveled), texture[..., 3:]], axis=-1)


def flatten(texture: Pixels, colors: int, palette: Palette | None) -> Pixels:
    """Returns a leveled texture in at most `colors` colours (of `palette` where there is one), without lone pixels."""
    few = lock(texture, palette) if palette else texture
    few = lock(few, extract_palette([few], colors, same=0.012))
    if palette:
        few = lock(few, palette)
    margin = min(4, texture.shape[0])
    return settle_orphans(wrapped(few, margin))[margin:-margin, margin:-margin]


def calm_seams(texture: Pixels, wraps: tuple[bool, bool] = (True, True)) -> Pixels:
    """Returns the texture shifted so that its wrap lies where its neighbouring rows (columns) differ least.

    Repeated it looks the same; but a joint between bricks, or a lone dark line, no longer lies on a tile's edge.
    """
    for axis, wrap in ((0, wraps[1]), (1, wraps[0])):
        if wrap:
            lab = to_oklab(texture[..., :3])
            steps = np.linalg.norm(lab - np.roll(lab, -1, axis), axis=-1).mean(axis=1 - axis)
            texture = np.roll(texture, -1 - int(steps.argmin()), axis)
    return texture

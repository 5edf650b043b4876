"""Make a finished tileset from a recipe: draw terrains, paint borders, apply one palette, lay out, check."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pipelines.errors import InvalidRequest
from pipelines.models.catalog import Model, find_model
from pipelines.pixels.gates import Report
from pipelines.pixels.oklab import to_oklab
from pipelines.pixels.palette import Palette, extract_palette, lock
from pipelines.pixels.png import encode_png
from pipelines.pixels.quantize import color_counts
from pipelines.records import Drawing, OnProgress, Pixels, Recipe, no_progress
from pipelines.sprites.draw import check_references
from pipelines.tiles.blob import blob_from_corners, join_sides
from pipelines.tiles.checks import check_recipe
from pipelines.tiles.cliffs import face_ramp, paint_cliffs, split_prompt
from pipelines.tiles.geometry import BLOB_MASKS, compose, lay_out
from pipelines.tiles.joint import draw_joint, ease, freeze
from pipelines.tiles.layouts import PLAIN, Layout, Sides, corner_sides, sides, terrain_tiles
from pipelines.tiles.ldtk import LAYOUTS as LDTK_LAYOUTS
from pipelines.tiles.ldtk import write_ldtk
from pipelines.tiles.map import Indices, random_map
from pipelines.tiles.platform import paint_platforms
from pipelines.tiles.seams import SEAM_LIMIT, check_tiles, measure_seams
from pipelines.tiles.textures import (
    LIQUIDS,
    Texture,
    calm_seams,
    draw_textures,
    flatten,
    level,
    usual_color,
    words_of,
)
from pipelines.tiles.tiled import Naming, strip, write_embedded_tmx, write_sheet, write_tmx, write_tsx
from pipelines.tiles.usual_colors import foreign_share, keep_both, keep_usual
from pipelines.tiles.variants import match_tone, quilt
from pipelines.tiles.wang import BORDERS, Border, Terrain, paint_corners, paint_paths, scale_border

if TYPE_CHECKING:
    from pipelines.engine.engine import Engine

EASED = (1.4, 1.1, 0.8, 0.5)
"""Steps across a seam of joint diffusion that are tried, before the palette, as multiples of the mean step inside."""
WAVES = 8
"""The most tries at waves along the borders that cross the tiles' edges calmly."""
_GRASSY = {"grass", "moss", "leaves", "forest", "jungle", "bush", "hedge", "snow", "fur"}
_CRISP = {"stone", "wall", "brick", "bricks", "marble", "planks", "wooden", "wood", "metal", "tiles", "dungeon"}
"""Words of the terrains whose borders have tufts, or are straight."""


@dataclass(frozen=True, slots=True, eq=False)
class Tileset:
    """A finished set: `tiles` (size, size, 4) in atlas order, and `map`, a random legal map, with its picture."""

    recipe: Recipe
    layout: Layout
    tiles: tuple[Pixels, ...]
    atlas: Pixels
    palette: Palette
    report: Report
    map: Indices
    preview: Pixels
    unknown_words: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def files(self) -> dict[str, bytes]:
        """Returns the set's files by name, the atlas first."""
        return {"tiles.png": encode_png(self.atlas, self.recipe.to_json()), **self.companions()}

    def companions(self) -> dict[str, bytes]:
        """Returns the files beside the atlas `tiles.png`, by name; they refer to each other by these names."""
        size, count, layout = self.recipe.width, len(self.tiles), self.layout
        columns, rows = self.atlas.shape[1] // size, self.atlas.shape[0] // size
        options = self.recipe.options
        upper, lower = str(options["upper"]), str(options.get("lower", ""))
        naming = Naming(f"{upper} {lower}".strip(), upper, lower, *_editor_colors(layout, self.tiles))
        grid = (size, count, columns, rows)
        files = {
            "tiles.sheet.json": write_sheet(layout, naming, "tiles.png", *grid),
            "tiles.tsx": write_tsx(layout, naming, "tiles.png", *grid),
            "map.tmx": write_tmx(self.map, "tiles.tsx", size),
            "embedded.tmx": write_embedded_tmx(self.map, layout, naming, "tiles.png", *grid),
            "strip.png": encode_png(strip(self.tiles)),
            "preview.png": encode_png(self.preview),
        }
        if layout.name in LDTK_LAYOUTS:
            files["tiles.ldtk"] = write_ldtk(layout, naming, "tiles.png", size, columns, rows, self.map)
        return files


def draw_tileset(
    engine: Engine,
    recipe: Recipe,
    on_progress: OnProgress = no_progress,
    given: Mapping[str, Pixels] | None = None,
    references: tuple[Pixels, ...] = (),
) -> Tileset:
    """Makes a tileset. Same recipe and terrains, same device: same bytes.

    Args:
        engine: what draws.
        recipe: kind "tileset", width = height = the tile's size. `options`: `layout` (see layouts.LAYOUTS), `upper` and
            `lower` (prompts; an empty lower one leaves the background clear), `border` (auto, grassy, soft,
            crisp), `method` (composite, joint), `axes` (both, x, y; for seamless), `variants` (of a variations set).
        on_progress: see OnProgress.
        given: terrains of earlier sets that are taken as they are, by "upper" or "lower": (size, size, 4), wrapping.
        references: pictures whose style is taken, where the recipe has some (`options.reference`).

    Raises:
        InvalidRequest: an option that cannot be used.
        PipelineError: what the engine raised.
    """
    check_references(recipe, references)
    model = find_model(recipe.model)
    layout = check_recipe(recipe, model)
    if not recipe.candidates:
        recipe = replace(recipe, candidates=model.tile_candidates)
    given = dict(given or {})
    if given and recipe.options.get("method") == "joint":
        raise InvalidRequest("method='joint' draws both terrains itself. To continue an earlier set leave method= out.")
    for name, texture in given.items():
        if texture.shape[:2] != (recipe.height, recipe.width):
            raise InvalidRequest(
                f"The {name} terrain of the earlier set has {texture.shape[1]} px tiles, this set {recipe.width} px. "
                f"Ask for tile_size={texture.shape[1]}, or make the earlier set again in the other size."
            )
    work = _Work(engine, recipe, model, layout, given, references, on_progress)
    tiles = work.tiles()
    atlas = lay_out(tiles, layout.columns)
    shown = [sides(layout, index, _wraps(recipe)) for index in range(len(tiles))]
    size = (layout.columns * recipe.width, -(-len(tiles) // layout.columns) * recipe.width)
    limit = len(recipe.palette) or recipe.colors
    report = check_tiles(atlas, tiles, shown, size, work.palette, max(limit, len(work.kept)))
    report = Report(report.gates, report.scores | work.scores)
    indices = random_map(layout, len(tiles), seed=recipe.seed)
    settled = replace(recipe, revision=work.revision, steps=work.steps, guidance=work.guidance)
    return Tileset(
        settled,
        layout,
        tuple(tiles),
        atlas,
        work.palette,
        report,
        indices,
        compose(tiles, indices),
        work.unknown,
        tuple(work.warnings.values()),
    )


def terrain_of(tiles_atlas: Pixels, layout: Layout, size: int, which: str) -> Pixels:
    """Returns the wrapping texture (size, size, 4) of the `upper` or `lower` terrain in an atlas made here.

    Raises:
        InvalidRequest: the layout holds no whole tile of it.
    """
    half = size // 2
    place = {
        ("wang16", "upper"): (15, 0),
        ("wang16", "lower"): (0, 0),
        ("cliffs", "upper"): (15, 0),
        ("cliffs", "lower"): (0, 0),
        ("blob47", "upper"): (PLAIN - 1, half),
        ("blob47", "lower"): (PLAIN, half),
        ("edge16", "lower"): (0, 0),
        ("seamless", "upper"): (0, 0),
        ("variations", "upper"): (0, 0),
    }.get((layout.name, which))
    if place is None:
        raise InvalidRequest(
            f"A {layout.name} set has no whole tile of its {which} terrain. Take the terrain from a wang16, blob47, "
            "seamless or variations set, or describe it in the prompt."
        )
    index, shift = place
    y, x = divmod(index, layout.columns)
    tile = tiles_atlas[y * size : (y + 1) * size, x * size : (x + 1) * size]
    if not tile[..., 3].all():
        raise InvalidRequest(f"The {which} terrain of that set is clear. Describe the terrain in the prompt instead.")
    return np.roll(tile, (-shift, -shift), (0, 1))


def _wraps(recipe: Recipe) -> tuple[bool, bool]:
    axes = recipe.options.get("axes", "both")
    return axes in ("both", "x"), axes in ("both", "y")


def _editor_colors(layout: Layout, tiles: Sequence[Pixels]) -> tuple[str, str]:
    """Picks RRGGBB of the two terrains for an editor's list."""
    colors = []
    for index in terrain_tiles(layout):
        tile = tiles[min(index, len(tiles) - 1)]
        solid = tile[tile[..., 3] == 255][:, :3]
        mean = solid.mean(axis=0) if len(solid) else np.array([128, 128, 128])
        colors.append("{:02x}{:02x}{:02x}".format(*(int(c) for c in mean)))
    return colors[0], colors[1]


class _Work:
    """One tileset in the making: what was drawn, and what was settled on the way."""

    def __init__(
        self,
        engine: Engine,
        recipe: Recipe,
        model: Model,
        layout: Layout,
        given: Mapping[str, Pixels],
        references: tuple[Pixels, ...],
        on_progress: OnProgress,
    ) -> None:
        self.engine, self.recipe, self.model, self.layout, self.given = engine, recipe, model, layout, given
        self.references, self.on_progress = references, on_progress
        self.locked = Palette.from_hex(recipe.palette) if recipe.palette else None
        self.palette = self.locked or Palette("none", ((0, 0, 0),))
        self.kept: set[tuple[int, int, int]] = set()
        self.drawn: list[Pixels] = []
        """All candidates for the terrain that was drawn last."""
        self.scores: dict[str, float] = {}
        self.revision, self.steps, self.guidance = recipe.revision, recipe.steps, recipe.guidance
        self.unknown: tuple[str, ...] = ()
        self.warnings: dict[str, str] = {}

    def tiles(self) -> list[Pixels]:
        options, size = self.recipe.options, self.recipe.width
        if options.get("method", "composite") == "joint":
            return self._joint()
        names = [name for name in ("upper", "lower") if options.get(name) or name in self.given]
        raw = self._textures(names)
        budget = self._budget(len(names))
        textures = {
            name: texture if name in self.given else self._finish(texture, budget, name)
            for name, texture in raw.items()
        }
        for texture in textures.values():
            self.kept |= _colors_of([texture])
        upper = Terrain(textures["upper"], self._is_liquid("upper"))
        clear = np.zeros((size, size, 4), np.uint8)
        lower = Terrain(textures.get("lower", clear), self._is_liquid("lower"))
        match self.layout.name:
            case "wang16" | "blob47":
                border = self._border()
                return self._settle(
                    self._calmest(lambda waves: self._complete(freeze(paint_corners(upper, lower, border, waves))))
                )
            case "cliffs":
                ramp = face_ramp(str(options["upper"]), lower.texture)
                return self._settle(self._calmest(lambda waves: freeze(paint_cliffs(upper, lower, ramp, waves))))
            case "edge16":
                border = self._border()
                shown = self._sides(16)
                return self._settle(
                    self._calmest(lambda waves: join_sides(paint_paths(upper, lower, border, waves), shown))
                )
            case "platformer":
                shown = self._sides(len(BLOB_MASKS))
                return self._settle(
                    self._calmest(lambda waves: join_sides(paint_platforms(upper, lower, waves), shown))
                )
            case "seamless":
                return self._settle([upper.texture])
            case _:
                sources = [match_tone(self._finish(image, budget, "upper"), upper.texture) for image in self.drawn]
                count = int(options.get("variants", 4)) - 1
                return self._settle([upper.texture, *quilt(upper.texture, sources or [upper.texture], count)])

    def _budget(self, terrains: int) -> int:
        """Returns the colours that each terrain may have, so that borders, and the face of cliffs, have some left."""
        if self.layout.name == "cliffs":
            return max(1, (self.recipe.colors - 6) // terrains)
        return self.recipe.colors if terrains == 1 else max(1, (self.recipe.colors - 4) // 2)

    def _finish(self, texture: Pixels, colors: int, name: str) -> Pixels:
        """Returns a drawn texture as a terrain: level, in few colours, calm where it meets itself."""
        wraps, half = _wraps(self.recipe), self.recipe.width // 2
        calm = calm_seams(self._flatten(level(texture, wraps), colors, name), wraps)
        # blob tiles meet in the middle of the corner tiles that they are cut from
        return np.roll(calm, (half, half), (0, 1)) if self.layout.name == "blob47" else calm

    def _flatten(self, texture: Pixels, colors: int, name: str) -> Pixels:
        """Reduces the texture to few colours; under a locked palette to the terrain's usual ones, with a warning where
        the palette has none.
        """
        flat = flatten(texture, colors, self.locked)
        usual = usual_color(self._prompt(name))
        if self.locked is None or usual is None:
            return flat
        kept, near = keep_usual(texture, flat, usual, self.locked)
        if not near:
            self._warn_of_colors(name)
        return kept

    def _warn_of_colors(self, name: str) -> None:
        prompt = self.recipe.options[name]
        self.warnings[name] = (
            f"The palette has no colour near that of '{prompt}': the nearest ones were taken. Name a colour in the "
            "prompt, or add one to the palette."
        )

    def _calmest(self, paint: Callable[[int], list[Pixels]]) -> list[Pixels]:
        """Paints tiles with waves along their borders that hide the seams: the first whose worst pair steps no more
        than an ordinary line of pixels, else the best. A border that goes a pixel up at a tile's edge shows there.
        """
        best: list[Pixels] = []
        least = float("inf")
        for turn in range(WAVES):
            tiles = paint(self.recipe.seed + 7 * turn)
            worst = measure_seams(tiles, self._sides(len(tiles))).worst
            if worst < least:
                best, least = tiles, worst
            if least <= 1:
                break
        return best

    def _sides(self, count: int) -> list[Sides]:
        return [sides(self.layout, index, _wraps(self.recipe)) for index in range(count)]

    def _joint(self) -> list[Pixels]:
        """Returns the corner tiles of joint diffusion, in one palette."""
        options, recipe = self.recipe.options, self.recipe
        _, rim = scale_border(self._border(), recipe.width)
        words = str(options["upper"]), str(options["lower"])
        tiles, drawing = draw_joint(self.engine, recipe, self.model, *words, rim, self.on_progress, self.references)
        self._note(drawing)
        drawn, shown = freeze(tiles), [corner_sides(mask) for mask in range(16)]
        for most in EASED:
            eased = ease(drawn, most)
            self.palette = self.locked or extract_palette(eased, recipe.colors, "tileset", same=0.012)
            tiles = freeze(self._locked_joint(eased))
            if measure_seams(tiles, shown).worst <= SEAM_LIMIT:
                break
        return tiles

    def _locked_joint(self, tiles: list[Pixels]) -> list[Pixels]:
        """Returns the corner tiles in the palette; under a locked one each terrain in its usual colour."""
        if self.locked is None:
            return [lock(tile, self.palette) for tile in tiles]
        names = ("lower", "upper")
        usual = [usual_color(str(self.recipe.options[name])) for name in names]
        locked, near = keep_both(tiles, self.locked, list(zip((0, 15), usual, strict=True)))
        for name, index, color, is_near in zip(names, (0, 15), usual, near, strict=True):
            if not is_near:
                self._warn_of_colors(name)
            elif color is not None and foreign_share(tiles[index], color) > 0.5:
                self.warnings[name] = (
                    f"'{self.recipe.options[name]}' was drawn in another colour than its usual one, which was put on "
                    "it. Look at the tiles; another seed or method='composite' may be better."
                )
        return locked

    def _complete(self, corners: list[Pixels]) -> list[Pixels]:
        """Returns the layout's tiles out of finished corner tiles."""
        if self.layout.name == "wang16":
            return corners
        half = self.recipe.width // 2
        tiles = [*blob_from_corners(corners), np.roll(corners[0], (half, half), (0, 1))]
        return join_sides(tiles, self._sides(len(tiles)))

    def _textures(self, names: Sequence[str]) -> dict[str, Pixels]:
        """Draws the terrains before their palette; keeps the candidates that tile best and differ most."""
        wanted = [name for name in names if name not in self.given]
        found: dict[str, Pixels] = {name: self.given[name] for name in names if name in self.given}
        if not wanted:
            return found
        for index, name in enumerate(wanted):
            prompt = self._prompt(name)
            part = _part_of(self.on_progress, index, len(wanted))
            wraps = _wraps(self.recipe)
            group, drawing = draw_textures(self.engine, self.recipe, self.model, prompt, wraps, part, self.references)
            self._note(drawing)
            self.drawn = [texture.image for texture in group]
            best = _best(group, list(found.values()))
            found[name] = best.image
            self.scores |= {f"{name}_{key}": value for key, value in best.scores.items()}
        return found

    def _settle(self, tiles: list[Pixels]) -> list[Pixels]:
        """Returns the tiles in one palette: the terrains keep their colours, borders take what room is left."""
        if self.locked is None:
            ours = _colors_of(tiles)
            kept = tuple(sorted(self.kept & ours))
            others = ours - self.kept
            room = max(0, self.recipe.colors - len(kept))
            if others and room:
                new = np.array([[(*c, 255) for c in sorted(others)]], np.uint8)
                kept += extract_palette([new], room).colors
            base = Palette("tileset", kept)
            order = np.argsort(base.lab[:, 0], kind="stable")
            self.palette = Palette("tileset", tuple(base.colors[i] for i in order))
        return [lock(tile, self.palette) for tile in tiles]

    def _prompt(self, name: str) -> str:
        """Returns what to draw of a terrain: of cliffs ("grass on stone") what lies on top."""
        prompt = str(self.recipe.options[name])
        return split_prompt(prompt)[0] if self.layout.name == "cliffs" else prompt

    def _note(self, drawing: Drawing) -> None:
        self.revision, self.steps, self.guidance = drawing.revision, drawing.steps, drawing.guidance
        self.unknown = tuple(dict.fromkeys((*self.unknown, *drawing.unknown_words)))

    def _is_liquid(self, name: str) -> bool:
        return is_liquid(self.recipe, name)

    def _border(self) -> Border:
        return border_of(self.recipe)


def is_liquid(recipe: Recipe, name: str) -> bool:
    """Returns whether the `upper` or `lower` terrain of a recipe is water, lava or the like."""
    return bool(LIQUIDS & set(words_of(str(recipe.options.get(name, "")))))


def border_of(recipe: Recipe) -> Border:
    """Returns the border that was asked for, or the one that suits the higher terrain's prompt."""
    wanted = str(recipe.options.get("border", "auto"))
    if wanted != "auto":
        return BORDERS[wanted]
    high = "lower" if is_liquid(recipe, "upper") and not is_liquid(recipe, "lower") else "upper"
    words = set(words_of(str(recipe.options.get(high, ""))))
    return BORDERS["grassy" if words & _GRASSY else "crisp" if words & _CRISP else "soft"]


def _colors_of(tiles: Sequence[Pixels]) -> set[tuple[int, int, int]]:
    return {(int(r), int(g), int(b)) for r, g, b in color_counts(tiles)[0]}


def _part_of(on_progress: OnProgress, index: int, parts: int) -> OnProgress:
    """Returns the OnProgress of one of several drawings that count as one."""
    return lambda done, total, message: on_progress(index * total + done, parts * total, message)


def _best(group: Sequence[Texture], others: Sequence[Pixels]) -> Texture:
    """Returns the candidate of least cost that also stands out from the other terrain (by 0.12 in OKLab or more)."""

    def cost(texture: Texture) -> float:
        mean = to_oklab(texture.image[..., :3]).mean(axis=(0, 1))
        steps = [np.linalg.norm(to_oklab(o[..., :3]).mean(axis=(0, 1)) - mean) for o in others]
        return texture.cost + sum(max(0.0, 0.12 - float(step)) * 20 for step in steps)

    return min(group, key=cost)

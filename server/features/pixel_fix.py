"""Give a file or an asset its real pixels back, and keep the result as a new asset."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.files import user_path
from server.features.recipes import palette_words

if TYPE_CHECKING:
    from pipelines.pixels.fix import Fixed
    from pipelines.pixels.picture_files import FileFacts
    from pipelines.records import Pixels, Recipe
    from server.library.records import Asset
    from server.library.store import Library
    from server.project.game import Project
    from server.studio import Studio


@dataclass(frozen=True, slots=True, eq=False)
class FixedAsset:
    """The picture as it was and as it is, and the asset that keeps it.

    `pitch` 1: the pixels are the file's own. `warnings`: what was kept, lost or not proved, and what to give.
    """

    project: Project | None
    library: Library
    before: Pixels
    after: Pixels
    asset: Asset
    pitch: float
    warnings: tuple[str, ...]
    frames: int = 1


def fix_pixel_art(
    studio: Studio,
    picture: str,
    *,
    width: int | None = None,
    height: int | None = None,
    pitch: float | None = None,
    colors: int | None = None,
    palette: str = "",
    ground: str = "keep",
    outline: str = "none",
    soft: str = "keep",
    project: str | None = None,
) -> FixedAsset:
    """Find the real pixels of a picture, or of every frame of an animation (one grid and one palette for all).

    A single PNG whose pixels do not change is kept byte for byte. An animation becomes a sheet and an animation file.

    Args:
        picture: a file (relative: to the working directory, then to the game's root), or an asset's id.
        width: finished width in pixels; None: as many as the picture really has, or what `height` and the shape give.
        height: the same.
        pitch: pixels of the file for each real pixel; None: found.
        colors: the most colours where no palette rules; None: all that can be read exactly, else 32.
        palette: as in generate_sprite: a file, RRGGBB words, "none", or empty for the game's.
        ground: "keep", "clear", or the background's colour as RRGGBB, which is cleared inside the drawing too.
        outline: none, outer, inner or selective.
        soft: what becomes of half-transparent pixels: keep, dither, solid or drop.
        project: the game's root; None: found.

    Raises:
        ImageError: the file is no picture that can be read.
        InvalidRequest: an option out of range.
        ServerError, PaletteError: the game, the library or the palette cannot be used.
    """
    from pipelines.pixels.fix import fix_pictures
    from pipelines.pixels.palette import Palette
    from pipelines.pixels.picture_files import file_facts, to_srgb
    from pipelines.pixels.png import read_frames
    from pipelines.pixels.soft_alpha import read_soft

    game = studio.project(project)
    file = _file(game, picture)
    if file is not None:
        read, data, name = read_frames(file), file.read_bytes(), file.stem
    else:
        home, kept = studio.find_asset(picture, game)
        data, name = home.read(kept), kept.recipe.prompt
        read = read_frames(data)
    facts = file_facts(data)
    frames, profile = [frame for frame, _ in read], ""
    if facts.profile:
        converted = [to_srgb(frame, facts.profile) for frame in frames]
        frames, profile = [frame for frame, _ in converted], converted[0][1]
    words = palette_words(game, palette)
    fixed = fix_pictures(
        frames,
        width=width,
        height=height,
        pitch=pitch,
        colors=colors,
        palette=Palette.from_words(words) if words else None,
        ground=ground,
        outline=outline,
        soft=read_soft(soft),
    )
    warnings = list(fixed.notes)
    same_file = fixed.unchanged and len(frames) == 1 and facts.format == "PNG"
    if not same_file:
        warnings += _lost(facts, profile, len(frames))
    options = {"from": picture, "pitch": round(fixed.pitch, 2), "ground": ground, "soft": soft, "how": fixed.how}
    wish = _Wish(
        " ".join(name.replace("_", " ").replace("-", " ").split()) or "picture", words, colors, outline, options
    )
    library = studio.library(game)
    if len(frames) > 1:
        times = [time for _, time in read]
        asset, after = _keep_animation(library, fixed, wish, times, facts, data)
    else:
        asset, after = _keep_sprite(library, fixed, wish, data if same_file else None)
    return FixedAsset(game, library, frames[0], after, asset, fixed.pitch, tuple(warnings), len(frames))


@dataclass(frozen=True, slots=True)
class _Wish:
    """What goes into the recipe beside the size."""

    prompt: str
    palette: tuple[str, ...]
    colors: int | None
    outline: str
    options: dict[str, object]

    def recipe(self, kind: str, width: int, height: int) -> Recipe:
        from pipelines.pixels.fix import COLORS
        from pipelines.records import Recipe

        return Recipe(
            kind=kind,
            prompt=self.prompt,
            width=width,
            height=height,
            seed=0,
            palette=self.palette,
            colors=self.colors or COLORS,
            outline=self.outline,
            options={"fix": self.options},
        )


def _lost(facts: FileFacts, profile: str, frames: int) -> list[str]:
    """What of the file a PNG of 8 bits in sRGB cannot hold."""
    lost = []
    if facts.bits > 8:
        lost.append(f"The file has {facts.bits} bits a channel; the result has 8.")
    if profile:
        lost.append(f"The file's colour profile ({profile}) was converted to sRGB, which games expect.")
    if facts.frames > frames:
        lost.append(f"The animation has {facts.frames} frames; the first {frames} were taken.")
    return lost


def _keep_sprite(library: Library, fixed: Fixed, wish: _Wish, data: bytes | None) -> tuple[Asset, Pixels]:
    """Keep a single picture; `data`: the file itself, where no pixel of it changed."""
    from pipelines.pixels.png import encode_png

    done = fixed.frames[0]
    recipe = wish.recipe("sprite", done.image.shape[1], done.image.shape[0])
    png = data or encode_png(done.image, recipe.to_json(), done.palette)
    details = {"palette": list(done.palette.words), "unknown_words": []}
    return library.add("sprite", {"sprite.png": png}, recipe, done.report.to_dict(), details), done.image


def _keep_animation(
    library: Library, fixed: Fixed, wish: _Wish, times: list[int], facts: FileFacts, data: bytes
) -> tuple[Asset, Pixels]:
    """Keep the frames as a sheet, and as an animation in their own form (as APNG where that cannot hold them)."""
    from pipelines.animation.sheets import animate, aseprite_json, layout_json
    from pipelines.animation.slicing import Run
    from pipelines.pixels.palette import MOST_COLORS, extract_palette
    from pipelines.pixels.picture_files import encode_animation, fits_gif
    from pipelines.pixels.png import encode_png

    frames = [one.image for one in fixed.frames]
    name = "".join(letter if letter.isalnum() else "_" for letter in wish.prompt.lower()).strip("_") or "animation"
    sheet = animate([Run(name, tuple(range(len(frames))), facts.loop)], frames, times)
    recipe = wish.recipe("sheet", sheet.image.shape[1], sheet.image.shape[0])
    gif = facts.format == "GIF" and fits_gif(frames)
    palette = extract_palette(frames, MOST_COLORS)
    files = {
        "sheet.png": encode_png(sheet.image, recipe.to_json(), palette),
        "layout.sheet.json": layout_json(sheet, "sheet.png"),
        "aseprite.json": aseprite_json(sheet, "sheet.png"),
        f"animation.{'gif' if gif else 'png'}": data
        if fixed.unchanged and facts.format in ("GIF", "PNG")
        else encode_animation(frames, times, facts.loop, gif=gif),
    }
    gates = {
        gate: all(one.report.gates.get(gate, True) for one in fixed.frames) for gate in fixed.frames[0].report.gates
    }
    report = {**fixed.frames[0].report.to_dict(), "passed": all(gates.values()), "gates": gates}
    details = {"sheet": sheet.layout(), "palette": list(palette.words), "unknown_words": []}
    return library.add("sheet", files, recipe, report, details), sheet.image


def _file(game: Project | None, picture: str) -> Path | None:
    """The file that is meant; None where it can only be an asset's id."""
    from pipelines.errors import ImageError

    path = user_path(picture)
    for place in (path, *((game.root / path,) if game else ())):
        if place.is_file():
            return place
    if len(picture) == 12 and all(letter in "0123456789abcdef" for letter in picture):
        return None
    raise ImageError(f"There is no file '{picture}'. Give a path to a picture, or an asset_id of list_assets.")

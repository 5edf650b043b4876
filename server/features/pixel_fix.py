"""Give a file or an asset its real pixels back, and keep the result as a new asset."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.files import user_path
from pipelines.visible import clipped, visible
from server.features.recipes import palette_colors
from server.features.save import save_asset
from server.storage import check_storage

if TYPE_CHECKING:
    from pipelines.pixels.fix import Fixed
    from pipelines.pixels.picture_files import FileFacts
    from pipelines.records import Pixels, Recipe
    from server.features.requests import FixRequest
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


def fix_pixel_art(studio: Studio, request: FixRequest, *, project: str | None = None) -> FixedAsset:
    """Finds the real pixels of a picture, or of every frame of an animation (one grid and one palette for all).

    The picture is a file (relative to the working directory, then to the game's root) or an asset. A single PNG whose
    pixels do not change is kept byte for byte. An animation becomes a sheet and an animation file.

    Raises:
        ImageError: the file is not a picture that can be read.
        InvalidRequest: an option out of range.
        ServerError, PaletteError: the game, the library or the palette cannot be used.
    """
    from pipelines.pixels.fix import fix_pictures
    from pipelines.pixels.palette import Palette
    from pipelines.pixels.picture_files import file_facts, to_srgb
    from pipelines.pixels.png import read_frames

    check_storage()
    game = studio.project(project)
    picture = request.picture
    file = find_picture(game, picture)
    if file is not None:
        read, data, name = read_frames(file), file.read_bytes(), file.stem
    else:
        home, kept = studio.find_asset(picture, game)
        data, name = home.read(kept), kept.recipe.prompt
        read = read_frames(data)
    facts = file_facts(data)
    frames: list[Pixels] = [frame for frame, _ in read]
    profile: str | None = ""
    if facts.profile:
        converted = [to_srgb(frame, facts.profile) for frame in frames]
        frames, profile = [frame for frame, _ in converted], converted[0][1]
    locked = palette_colors(game, request.palette)
    fixed = fix_pictures(
        frames,
        width=request.width,
        height=request.height,
        pitch=request.pitch,
        colors=request.colors,
        palette=Palette.from_hex(locked) if locked else None,
        background=request.background,
        outline=request.outline,
        soft=request.soft,
    )
    warnings = list(fixed.notes)
    same_file = fixed.unchanged and len(frames) == 1 and facts.format == "PNG"
    if not same_file:
        warnings += _lost(facts, profile, len(frames))
    elif profile != "":
        warnings.append("The file was kept as it is, with its colour profile, which games do not apply.")
    options = {"from": picture, "pitch": round(fixed.pitch, 2), "background": request.background}
    options |= {"soft": request.soft, "how": fixed.how}
    wish = _Wish(
        " ".join(name.replace("_", " ").replace("-", " ").split()) or "picture",
        locked,
        request.colors,
        request.outline,
        options,
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


def _lost(facts: FileFacts, profile: str | None, frames: int) -> list[str]:
    """Returns what of the file a PNG of 8 bits in sRGB cannot hold."""
    lost = []
    if facts.bits > 8:
        lost.append(f"The file has {facts.bits} bits a channel; the result has 8.")
    if profile is None:
        lost.append("The file's colour profile cannot be used for RGB and was left out: compare the colours.")
    elif profile:
        lost.append(f"The file's colour profile ({profile}) was converted to sRGB, which games expect.")
    if facts.frames > frames:
        lost.append(f"The animation has {facts.frames} frames; the first {frames} were taken.")
    return lost


def _keep_sprite(library: Library, fixed: Fixed, wish: _Wish, data: bytes | None) -> tuple[Asset, Pixels]:
    """Keeps a single picture; `data`: the file itself, where no pixel of it changed."""
    done = fixed.frames[0]
    recipe = wish.recipe("sprite", done.image.shape[1], done.image.shape[0])
    return save_asset(library, recipe, done.image, done.report, palette=done.palette, png=data), done.image


def _keep_animation(
    library: Library, fixed: Fixed, wish: _Wish, times: list[int], facts: FileFacts, data: bytes
) -> tuple[Asset, Pixels]:
    """Keeps the frames as a sheet, and as an animation in their own form (as APNG where that cannot hold them)."""
    from pipelines.animation.sheets import animate, aseprite_json, layout_json
    from pipelines.animation.slicing import Run
    from pipelines.pixels.palette import MOST_COLORS, extract_palette
    from pipelines.pixels.picture_files import encode_animation, fits_gif

    frames = [one.image for one in fixed.frames]
    name = "".join(letter if letter.isalnum() else "_" for letter in wish.prompt.lower()).strip("_") or "animation"
    sheet = animate([Run(name, tuple(range(len(frames))), facts.loop)], frames, times)
    recipe = wish.recipe("sheet", sheet.image.shape[1], sheet.image.shape[0])
    gif = facts.format == "GIF" and fits_gif(frames)
    palette = extract_palette(frames, MOST_COLORS)
    files = {
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
    details = {"sheet": sheet.layout()}
    kept = save_asset(library, recipe, sheet.image, report, palette=palette, files=files, details=details)
    return kept, sheet.image


def find_picture(game: Project | None, picture: str) -> Path | None:
    """Returns the file that a user means; None where it can only be an asset's id.

    Raises:
        ImageError: the file does not exist.
    """
    from pipelines.errors import ImageError

    path = user_path(picture)
    for place in (path, *((game.root / path,) if game else ())):
        if place.is_file():
            return place
    if len(picture) == 12 and all(letter in "0123456789abcdef" for letter in picture):
        return None
    if game and game.elsewhere:
        raise ImageError(
            f"There is no file '{clipped(visible(picture), 80)}' on this machine; {game.elsewhere.name} lies on "
            "another. Send the picture as data:image/png;base64,... or give an asset_id of list_assets."
        )
    raise ImageError(f"There is no file '{picture}'. Give a path to a picture, or an asset_id of list_assets.")

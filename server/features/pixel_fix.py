"""Give a file or an asset its real pixels back, and keep the result as a new asset."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.files import user_path
from server.features.recipes import palette_words

if TYPE_CHECKING:
    from pipelines.records import Pixels
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
    """Find the real pixels of a picture.

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
    from pipelines.pixels.fix import COLORS, fix_pictures
    from pipelines.pixels.palette import Palette
    from pipelines.pixels.png import encode_png, read_picture
    from pipelines.pixels.soft_alpha import read_soft
    from pipelines.records import Recipe

    game = studio.project(project)
    file = _file(game, picture)
    if file is not None:
        before, name = read_picture(file), file.stem
    else:
        home, kept = studio.find_asset(picture, game)
        before, name = read_picture(home.read(kept)), kept.recipe.prompt
    words = palette_words(game, palette)
    fixed = fix_pictures(
        [before],
        width=width,
        height=height,
        pitch=pitch,
        colors=colors,
        palette=Palette.from_words(words) if words else None,
        ground=ground,
        outline=outline,
        soft=read_soft(soft),
    )
    done = fixed.frames[0]
    high, wide = done.image.shape[:2]
    recipe = Recipe(
        kind="sprite",
        prompt=" ".join(name.replace("_", " ").replace("-", " ").split()) or "picture",
        width=wide,
        height=high,
        seed=0,
        palette=words,
        colors=colors or COLORS,
        outline=outline,
        options={
            "fix": {"from": picture, "pitch": round(fixed.pitch, 2), "ground": ground, "soft": soft, "how": fixed.how}
        },
    )
    png = encode_png(done.image, recipe.to_json(), done.palette)
    library = studio.library(game)
    details = {"palette": list(done.palette.words), "unknown_words": []}
    asset = library.add("sprite", {"sprite.png": png}, recipe, done.report.to_dict(), details)
    return FixedAsset(game, library, before, done.image, asset, fixed.pitch, fixed.notes)


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

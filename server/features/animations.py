"""Makes animations: draws or takes a sprite, makes its frames, lays them out as a sheet, keeps the sheet.

The frames come from `pipelines.animation.making`, the layout from `pipelines.animation.sheets`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pipelines.errors import InvalidRequest
from server.errors import LibraryError
from server.features.edits import read_sprite
from server.features.save import save_asset
from server.features.sprites import generate_sprites

if TYPE_CHECKING:
    from pipelines.animation.figures import Clips
    from pipelines.animation.sheets import Sheet
    from pipelines.pixels.gates import Report
    from pipelines.records import OnProgress, Pixels, Recipe
    from server.features.requests import AnimationRequest
    from server.library.records import Asset
    from server.library.store import Library
    from server.project.game import Project
    from server.studio import Studio

DIRECTIONS: dict[int, tuple[str, ...]] = {1: ("",), 2: ("right", "left"), 4: ("down", "up", "right", "left")}
"""Clip endings of 1, 2 and 4 directions."""


@dataclass(frozen=True, slots=True, eq=False)
class DrawnAnimation:
    """A sheet that was made and kept, and the sprite it was made of."""

    project: Project | None
    library: Library
    asset: Asset
    key: Asset
    sheet: Sheet
    preview: bytes
    made: dict[str, str]
    notes: tuple[str, ...] = ()
    unknown_words: tuple[str, ...] = ()


def generate_animation(
    studio: Studio, request: AnimationRequest, on_progress: OnProgress, *, project: str | None = None
) -> DrawnAnimation:
    """Draws a sprite, or takes one of the library, and makes the sheet of its motions.

    Raises:
        InvalidRequest: a number out of range, no motion, or neither or both of prompt and asset_id.
        LibraryError: the sprite does not exist.
        ServerError, PipelineError: as `generate_sprites`.
    """
    from pipelines.animation.motion import poses
    from pipelines.animation.sheets import animated_preview, check_clips

    motions, frames, directions = request.motions, request.frames, request.directions
    if bool(request.prompt) == bool(request.asset_id):
        raise InvalidRequest("Give either a prompt (the sprite is drawn first) or the asset_id of a sprite.")
    if directions not in DIRECTIONS:
        raise InvalidRequest(f"directions={directions}: an animation has 1, 2 or 4 directions.")
    if not 1 <= request.fps <= 60:
        raise InvalidRequest(f"fps={request.fps} is out of range: give 1 to 60. 6 to 12 suit pixel art.")
    if not motions:
        raise InvalidRequest("Name at least one motion: idle, walk, run, attack, hurt or die.")
    for motion in motions:
        poses(motion, frames)  # raises before anything is drawn

    unknown: tuple[str, ...] = ()
    if request.asset_id:
        game = studio.project(project)
        home, key = studio.find_asset(request.asset_id, game)
        if key.kind != "sprite":
            raise LibraryError(
                f"Asset {key.id} is a {key.kind}; only a sprite can be animated. list_assets shows them."
            )
        image = read_sprite(home, key)
        library = studio.library(game)
    else:
        drawn = generate_sprites(studio, request.sprite(), on_progress, project=project)
        game, library, unknown = drawn.project, drawn.library, drawn.unknown_words
        key, image = drawn.sprites[0].asset, drawn.sprites[0].image

    sheet, made = make_sheet(image, request, key.recipe, on_progress)
    preview = animated_preview(sheet)
    asset = _keep(library, request, sheet, key, check_clips(sheet, image), preview, made)
    on_progress(1, 1, "done")
    return DrawnAnimation(game, library, asset, key, sheet, preview, made_of(made.how), tuple(made.notes), unknown)


def make_sheet(
    image: Pixels, request: AnimationRequest, recipe: Recipe, on_progress: OnProgress | None = None
) -> tuple[Sheet, Clips]:
    """Makes a finished sprite's (height, width, 4) sheet, a row per motion and direction; says how each was made."""
    from pipelines.animation.making import loops_of, make_clips
    from pipelines.animation.sheets import arrange

    def check() -> None:
        if on_progress is not None:
            on_progress(0, 1, "animating")

    made = make_clips(
        image,
        request.motions,
        request.frames,
        DIRECTIONS[request.directions],
        faces_left=request.faces == "left",
        method=request.method,
        words=recipe.prompt,
        seed=recipe.seed,
        check=check,
    )
    return arrange(made.frames, request.fps, loops_of(list(made.frames))), made


def made_of(how: Mapping[str, str]) -> dict[str, str]:
    """Says what was drawn and what was moved, by clip; clips of one motion with one answer share the motion's name."""
    said: dict[str, str] = {}
    for motion in dict.fromkeys(name.split("_")[0] for name in how):
        own = {name: text for name, text in how.items() if name.split("_")[0] == motion}
        said |= {motion: next(iter(own.values()))} if len(set(own.values())) == 1 else own
    return said


def _keep(
    library: Library, request: AnimationRequest, sheet: Sheet, key: Asset, report: Report, preview: bytes, made: Clips
) -> Asset:
    from pipelines.animation.aseprite_sheets import from_sheet
    from pipelines.animation.sheets import aseprite_json, gif, layout_json, strip
    from pipelines.pixels.aseprite import write_aseprite
    from pipelines.pixels.palette import Palette
    from pipelines.pixels.png import encode_png

    options = {
        **key.recipe.options,
        "sprite": key.id,
        "motions": list(request.motions),
        "frames": request.frames,
        "directions": request.directions,
        "faces": request.faces,
        "method": request.method,
    }
    height, width = sheet.image.shape[:2]
    colors = key.details.get("palette") or key.recipe.palette
    palette = Palette.from_words(colors) if colors else None
    return save_asset(
        library,
        replace(key.recipe, kind="sheet", width=width, height=height, options=options),
        sheet.image,
        report,
        palette=palette,
        files={
            "layout.sheet.json": layout_json(sheet, "sheet.png"),
            "aseprite.json": aseprite_json(sheet, "sheet.png"),
            "sheet.aseprite": write_aseprite(from_sheet(sheet, palette)),
            "preview.strip.png": encode_png(strip(sheet), palette=palette),
            "preview.gif": gif(sheet),
            "preview.webp": preview,
        },
        details={
            "sheet": sheet.layout(),
            "sprite": key.id,
            "made": made_of(made.how),
            "notes": made.notes,
            "margin": made.margin,
        },
    )

"""Makes animations: draws or takes a sprite, moves its pixels into frames, lays them out as a sheet, keeps the sheet.

The motion is `pipelines.animation.motion`, the layout `pipelines.animation.sheets`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pipelines.errors import InvalidRequest
from server.errors import LibraryError
from server.features.save import save_asset
from server.features.sprites import generate_sprites

if TYPE_CHECKING:
    from pipelines.animation.sheets import Sheet
    from pipelines.pixels.gates import Report
    from pipelines.records import OnProgress, Pixels
    from server.features.requests import AnimationRequest
    from server.library.records import Asset
    from server.library.store import Library
    from server.project.game import Project
    from server.studio import Studio

DIRECTIONS: dict[int, tuple[str, ...]] = {1: ("",), 2: ("right", "left"), 4: ("down", "up", "right", "left")}
"""Clip endings of 1, 2 and 4 directions. `left` is `right` mirrored, `up` the back of `down`."""


@dataclass(frozen=True, slots=True, eq=False)
class DrawnAnimation:
    """A sheet that was made and kept, and the sprite it was made of."""

    project: Project | None
    library: Library
    asset: Asset
    key: Asset
    sheet: Sheet
    preview: bytes
    unknown_words: tuple[str, ...] = ()


def generate_animation(
    studio: Studio, request: AnimationRequest, on_progress: OnProgress, *, project: str | None = None
) -> DrawnAnimation:
    """Draws a sprite, or takes one of the library, and makes the sheet of its motions.

    Raises:
        InvalidRequest: a number out of range, no motion, or neither or both of prompt and asset_id.
        LibraryError: there is no such sprite.
        ServerError, PipelineError: as `generate_sprites`.
    """
    from pipelines.animation.motion import poses
    from pipelines.animation.sheets import animated_preview, check_clips
    from pipelines.pixels.png import read_picture

    motions, frames, directions = request.motions, request.frames, request.directions
    if bool(request.prompt) == bool(request.asset_id):
        raise InvalidRequest("Give either a prompt (the sprite is drawn first) or the asset_id of a sprite.")
    if directions not in DIRECTIONS:
        raise InvalidRequest(f"directions={directions}: an animation has 1, 2 or 4 directions.")
    if not 1 <= request.fps <= 60:
        raise InvalidRequest(f"fps={request.fps} is out of range: give 1 to 60. 6 to 12 suit pixel art.")
    if not motions:
        raise InvalidRequest("Name at least one motion: idle, walk, attack, hurt or die.")
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
        image = read_picture(home.read(key))
        library = studio.library(game)
    else:
        drawn = generate_sprites(studio, request.sprite(), on_progress, project=project)
        game, library, unknown = drawn.project, drawn.library, drawn.unknown_words
        key, image = drawn.sprites[0].asset, drawn.sprites[0].image

    sheet = make_sheet(image, motions, frames, directions, request.fps, faces_left=request.faces == "left")
    preview = animated_preview(sheet)
    asset = _keep(library, request, sheet, key, check_clips(sheet, image), preview)
    on_progress(1, 1, "done")
    return DrawnAnimation(game, library, asset, key, sheet, preview, unknown)


def make_sheet(
    image: Pixels, motions: Sequence[str], frames: int, directions: int, fps: float = 8.0, *, faces_left: bool = False
) -> Sheet:
    """The sheet of a finished sprite (height, width, 4): a row for each motion and direction."""
    from pipelines.animation.motion import LOOPING, animate, seen_from_behind
    from pipelines.animation.sheets import arrange

    facing_right = image[:, ::-1] if faces_left else image
    views = {"": image, "down": image, "up": seen_from_behind(image), "right": facing_right}
    clips: dict[str, list[Pixels]] = {}
    for motion in motions:
        for direction in DIRECTIONS[directions]:
            name = f"{motion}_{direction}" if direction else motion
            if direction == "left":
                clips[name] = [frame[:, ::-1] for frame in clips[f"{motion}_right"]]
            else:
                left = faces_left and direction == ""
                clips[name] = animate(views[direction], motion, frames, faces_left=left)
    loops = {name: name.split("_")[0] in LOOPING for name in clips}
    return arrange(clips, fps, loops)


def _keep(
    library: Library, request: AnimationRequest, sheet: Sheet, key: Asset, report: Report, preview: bytes
) -> Asset:
    from pipelines.animation.aseprite import write_aseprite
    from pipelines.animation.compositing import from_sheet
    from pipelines.animation.sheets import aseprite_json, layout_json
    from pipelines.pixels.palette import Palette

    options = {
        **key.recipe.options,
        "sprite": key.id,
        "motions": list(request.motions),
        "frames": request.frames,
        "directions": request.directions,
        "faces": request.faces,
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
            "preview.webp": preview,
        },
        details={"sheet": sheet.layout(), "sprite": key.id},
    )

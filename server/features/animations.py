"""Animations for a game: a key sprite (drawn, or an asset), moved into frames, laid out as a sheet, kept.

Owns which clips a request means and what the sheet's files are. The motion is `pipelines.animation.motion`, the layout
`pipelines.animation.sheets`; knows nothing of tools or the command line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pipelines.errors import InvalidRequest
from server.errors import LibraryError
from server.features.sprites import generate_sprites

if TYPE_CHECKING:
    from pipelines.animation.sheets import Sheet
    from pipelines.records import OnProgress, Pixels
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


def motions_of(said: str | Sequence[str]) -> tuple[str, ...]:
    """The motions of a list, or of a text with commas ("idle, walk")."""
    listed = said.split(",") if isinstance(said, str) else said
    return tuple(word.strip().lower() for word in listed if word.strip())


def generate_animation(
    studio: Studio,
    on_progress: OnProgress,
    *,
    prompt: str = "",
    asset_id: str = "",
    motions: Sequence[str] = ("idle", "walk"),
    frames: int = 4,
    directions: int = 1,
    fps: float = 8.0,
    faces: str = "right",
    project: str | None = None,
    **wanted: Any,
) -> DrawnAnimation:
    """Draws (or takes) a sprite and makes the sheet of its motions.

    Args:
        prompt: what to draw; leave empty with `asset_id`.
        asset_id: a sprite of the library to animate as it is.
        motions: idle, walk, attack, hurt, die; a row (or one a direction) of the sheet each.
        frames: 2 to 8 a clip.
        directions: 1, 2 or 4.
        fps: frames a second, 1 to 60.
        faces: which way the sprite looks: right or left.
        wanted: as `server.features.recipes.compose_recipe`, for a sprite that is drawn.

    Raises:
        InvalidRequest: a motion or number out of range, or neither or both of prompt and asset_id.
        LibraryError: there is no such sprite.
        ServerError, PipelineError: as `generate_sprites`.
    """
    from pipelines.animation.motion import poses
    from pipelines.animation.sheets import animated_preview, check_clips
    from pipelines.pixels.png import read_picture

    if bool(prompt) == bool(asset_id):
        raise InvalidRequest("Give either a prompt (the sprite is drawn first) or the asset_id of a sprite.")
    if directions not in DIRECTIONS:
        raise InvalidRequest(f"directions={directions}: an animation has 1, 2 or 4 directions.")
    if faces not in ("right", "left"):
        raise InvalidRequest(f"faces='{faces}': a sprite faces right or left.")
    if not 1 <= fps <= 60:
        raise InvalidRequest(f"fps={fps} is out of range: give 1 to 60. 6 to 12 suit pixel art.")
    if not motions:
        raise InvalidRequest("Name at least one motion: idle, walk, attack, hurt or die.")
    for motion in motions:
        poses(motion, frames)  # raises before anything is drawn

    unknown: tuple[str, ...] = ()
    if asset_id:
        game = studio.project(project)
        home, key = studio.find_asset(asset_id, game)
        if key.kind != "sprite":
            raise LibraryError(
                f"Asset {asset_id} is a {key.kind}; only a sprite can be animated. list_assets shows them."
            )
        image = read_picture(home.read(key))
        library = studio.library(game)
    else:
        drawn = generate_sprites(studio, prompt, on_progress, project=project, count=1, **wanted)
        game, library, unknown = drawn.project, drawn.library, drawn.unknown_words
        key, image = drawn.sprites[0].asset, drawn.sprites[0].image

    sheet = make_sheet(image, motions, frames, directions, fps, faces_left=faces == "left")
    report = check_clips(sheet, image).to_dict()
    preview = animated_preview(sheet)
    asset = _keep(library, sheet, key, report, preview, motions, frames, directions, faces)
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
    library: Library,
    sheet: Sheet,
    key: Asset,
    report: dict[str, Any],
    preview: bytes,
    motions: Sequence[str],
    frames: int,
    directions: int,
    faces: str,
) -> Asset:
    from pipelines.animation.aseprite import write_aseprite
    from pipelines.animation.compositing import from_sheet
    from pipelines.animation.sheets import aseprite_json, layout_json
    from pipelines.pixels.palette import Palette
    from pipelines.pixels.png import encode_png

    options = {
        **key.recipe.options,
        "sprite": key.id,
        "motions": list(motions),
        "frames": frames,
        "directions": directions,
        "faces": faces,
    }
    height, width = sheet.image.shape[:2]
    recipe = replace(key.recipe, kind="sheet", width=width, height=height, options=options)
    words = key.details.get("palette") or list(recipe.palette)
    palette = Palette.from_words(words) if words else None
    files = {
        "sheet.png": encode_png(sheet.image, recipe.to_json(), palette),
        "layout.sheet.json": layout_json(sheet, "sheet.png"),
        "aseprite.json": aseprite_json(sheet, "sheet.png"),
        "sheet.aseprite": write_aseprite(from_sheet(sheet, palette)),
        "preview.webp": preview,
    }
    return library.add("sheet", files, recipe, report, {"sheet": sheet.layout(), "palette": words, "sprite": key.id})

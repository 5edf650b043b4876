"""Make animations: draw or take a sprite, make its frames, lay them out as a sheet, keep the sheet.

The frames come from `pipelines.animation.making`, the layout from `pipelines.animation.sheets`.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pipelines.choices import DIRECTIONS
from pipelines.errors import InvalidRequest
from server.errors import LibraryError
from server.features.kept import read_sprite
from server.features.recipes import palette_colors
from server.features.save import save_asset, sheet_files
from server.features.sprites import generate_sprites
from server.project.style import Style
from server.storage import check_storage

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

FRAMES, FPS = 4, 8.0
"""Of a sprite's motions, where the request leaves them open."""


@dataclass(frozen=True, slots=True, eq=False)
class DrawnAnimation:
    """A sheet that was made and kept, and the sprite it was made of; None for effects."""

    project: Project | None
    library: Library
    asset: Asset
    key: Asset | None
    sheet: Sheet
    preview: bytes
    made: dict[str, str]
    notes: tuple[str, ...] = ()
    unknown_words: tuple[str, ...] = ()


def generate_animation(
    studio: Studio, request: AnimationRequest, on_progress: OnProgress, *, project: str | None = None
) -> DrawnAnimation:
    """Draws a sprite, or takes one of the library, and makes the sheet of its motions; or draws effects.

    Raises:
        InvalidRequest: a number out of range, no motion, neither or both of prompt and asset_id, or effects of
            a sprite.
        LibraryError: the sprite does not exist.
        ServerError, PipelineError: as `generate_sprites`.
    """
    from pipelines.animation.motion import poses
    from pipelines.animation.sheets import animated_preview, check_clips

    motions, directions = request.motions, request.directions
    if not request.effects and bool(request.prompt) == bool(request.asset_id):
        raise InvalidRequest(
            "Give either a prompt (the sprite is drawn first) or the asset_id of a sprite; or name effects."
        )
    if directions not in DIRECTIONS:
        diagonal = " No diagonal views are drawn: use 4 and show the nearer of two." if directions == 8 else ""
        raise InvalidRequest(f"directions={directions} is not possible: give 1, 2 or 4.{diagonal}")
    if request.fps is not None and not 1 <= request.fps <= 60:
        raise InvalidRequest(f"fps={request.fps} is out of range: give 1 to 60. 6 to 12 suit pixel art.")
    if request.effects:
        return _effects(studio, request, project)
    request = request.model_copy(update={"frames": request.frames or FRAMES, "fps": request.fps or FPS})
    if not motions:
        raise InvalidRequest("Name at least one motion: idle, walk, run, attack, hurt or die.")
    for motion in motions:
        poses(motion, request.frames or FRAMES)  # raises before anything is drawn

    check_storage()
    unknown: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    if request.asset_id:
        if request.reference:
            raise InvalidRequest("reference goes with a prompt: the sprite of asset_id is taken as it is.")
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
        notes = drawn.notes
        key, image = drawn.sprites[0].asset, drawn.sprites[0].image

    sheet, made = make_sheet(image, request, key.recipe, on_progress)
    preview = animated_preview(sheet)
    asset = _keep(library, request, sheet, key, check_clips(sheet, image, stands=made.stands), preview, made)
    on_progress(1, 1, "done")
    return DrawnAnimation(game, library, asset, key, sheet, preview, made_of(made.how), (*notes, *made.notes), unknown)


def _effects(studio: Studio, request: AnimationRequest, project: str | None) -> DrawnAnimation:
    """Draws the effects that a request names, and keeps their sheet."""
    from pipelines.animation.sheets import animated_preview
    from pipelines.effects.making import check_effects, make_effects
    from pipelines.effects.ramps import ramp_name
    from pipelines.pixels.palette import Palette
    from pipelines.records import Recipe

    if request.asset_id:
        raise InvalidRequest("An effect is drawn by itself: leave asset_id out, and play it over the sprite.")
    check_storage()
    game = studio.project(project)
    library = studio.library(game)
    style = game.style if game else Style()
    locked = palette_colors(game, request.palette)
    palette = Palette.from_hex(locked) if locked else None
    seed = secrets.randbelow(2**31) if request.seed is None else request.seed
    side = request.size or style.size
    sheet = make_effects(
        request.effects,
        side,
        frames=request.frames,
        fps=request.fps,
        seed=seed,
        palette=palette,
        words=request.prompt,
        directions=DIRECTIONS[request.directions],
    )
    named = " ".join(request.effects)
    options: dict[str, Any] = {"effects": list(request.effects), "size": side, "directions": request.directions}
    options |= {name: value for name in ("frames", "fps") if (value := getattr(request, name)) is not None}
    height, width = sheet.image.shape[:2]
    recipe = Recipe(
        "sheet", f"{request.prompt} {named}".strip(), width, height, seed, model="", palette=locked, options=options
    )
    preview = animated_preview(sheet)
    made = dict.fromkeys(sheet.clips, "drawn as particles, without a model")
    asset = save_asset(
        library,
        recipe,
        sheet.image,
        check_effects(sheet, palette),
        palette=palette,
        files=sheet_files(sheet, palette, preview),
        details={"sheet": sheet.layout(), "made": made, "notes": []},
    )
    notes = ()
    if request.prompt and not ramp_name(request.prompt):
        notes = (f"'{request.prompt}' names no colour that effects know, so they have their own: say 'blue' or 'ice'.",)
    return DrawnAnimation(game, library, asset, None, sheet, preview, made, notes)


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
        request.frames or FRAMES,
        DIRECTIONS[request.directions],
        faces_left=request.faces == "left",
        method=request.method,
        words=recipe.prompt,
        seed=recipe.seed,
        check=check,
    )
    return arrange(made.frames, request.fps or FPS, loops_of(list(made.frames))), made


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
    from pipelines.pixels.palette import Palette

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
    palette = Palette.from_hex(colors) if colors else None
    return save_asset(
        library,
        replace(key.recipe, kind="sheet", width=width, height=height, options=options),
        sheet.image,
        report,
        palette=palette,
        files=sheet_files(sheet, palette, preview),
        details={
            "sheet": sheet.layout(),
            "sprite": key.id,
            "made": made_of(made.how),
            "notes": made.notes,
            "margin": made.margin,
        },
    )

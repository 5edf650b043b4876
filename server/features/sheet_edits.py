"""Edit a sheet: change one of its frames, and carry the change to all frames that show the same pixels.

The trace comes from the sheet's recipe: the clips are made again from the sprite, with a number in each pixel
(`pipelines.animation.tracing`). Edits of an edited sheet follow the trace of the first one.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pipelines.choices import DIRECTIONS
from pipelines.errors import InvalidRequest
from server.errors import LibraryError
from server.features.kept import check_weights, mask_of, parse_recolor, read_sheet, read_sprite
from server.features.save import save_asset, sheet_files

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pipelines.animation.carrying import Carried, Frame
    from pipelines.animation.sheets import Sheet
    from pipelines.animation.tracing import Trace
    from pipelines.records import OnProgress, Pixels, Recipe
    from server.features.requests import EditRequest
    from server.library.records import Asset
    from server.library.store import Library
    from server.project.game import Project
    from server.studio import Studio

MOST_COLORS = 64
"""Colours of a sheet without a palette, the new ones of its edits included."""

_NAMED = 6
"""Clips or frames that a sentence names before it counts the rest."""


@dataclass(frozen=True, slots=True, eq=False)
class SheetChange:
    """A sheet's picture after a change, what its recipe becomes, and what the answer says about it."""

    image: Pixels
    recipe: Recipe
    origin: Mapping[str, str]
    notes: tuple[str, ...] = ()
    unknown_words: tuple[str, ...] = ()


def edit_sheet(
    studio: Studio, game: Project | None, home: Library, asset: Asset, request: EditRequest, on_progress: OnProgress
) -> SheetChange:
    """Makes the one change that the request asks for, on all frames.

    Colours (recolor old:new, palette) change everywhere. A drawing over a part (prompt and place) or a colour for it
    (recolor and place) changes one frame, `picture` one frame or more; these are carried to the others.

    Raises:
        InvalidRequest: a change that a sheet cannot have, a frame that does not exist, a picture that fits no frame,
            or one that changes nothing.
        LibraryError: the sheet was not made from a sprite of this library, so nothing says where its pixels come from.
        PipelineError, ServerError: as `generate_sprites`.
    """
    from pipelines.pixels.palette import Palette
    from pipelines.pixels.quantize import color_counts
    from pipelines.sprites import edit
    from server.features.recipes import palette_colors

    sheet, recipe = read_sheet(home, asset), asset.recipe
    if request.transform or request.width or request.height:
        raise InvalidRequest(
            "A sheet keeps its frames' size and place. Transform or resize its sprite, and animate that again."
        )
    if request.recolor and not request.place:
        colors = parse_recolor(request.recolor)
        made = edit.recolor(sheet.image, recipe, colors)
        origin = {"recolor": ",".join(f"{a}:{b}" for a, b in colors.items())}
        return SheetChange(made.image, made.recipe, origin, ("The colours changed in every frame.",))
    if request.palette:
        locked = palette_colors(game, request.palette)
        if not locked:
            raise InvalidRequest("palette='none' repaints nothing. Give a palette file or RRGGBB colours.")
        made = edit.repaint(sheet.image, recipe, Palette.from_hex(locked))
        return SheetChange(made.image, made.recipe, {}, ("Every frame is in the palette now.",))
    if not request.picture and not request.place:
        raise InvalidRequest(
            "Say where one frame changes (place='hat', rectangles or a mask), or give picture: the frame, or the "
            "sheet, drawn over by hand. The change is carried to all frames."
        )
    trace = _trace(home, asset, on_progress)
    unknown: tuple[str, ...] = ()
    if request.picture:
        edits = _drawn_by_hand(studio, game, home, sheet, request, asset)
        origin = {"picture": request.picture, "frame": ", ".join(f"{name} {number}" for name, number in edits)}
    elif request.recolor:
        frame = parse_frame(sheet, request.frame)
        picture = sheet.frames(frame[0])[frame[1]]
        tinted = edit.tint(picture, recipe, mask_of(studio, game, picture, request.place), request.recolor)
        edits = {frame: tinted.image}
        origin = {"recolor": request.recolor, "place": request.place, "frame": f"{frame[0]} {frame[1]}"}
    else:
        frame = parse_frame(sheet, request.frame)
        drawn, unknown = _redrawn(studio, game, home, sheet, frame, request, asset, on_progress)
        edits = {frame: drawn}
        origin = {"prompt": request.prompt, "place": request.place, "strength": str(request.strength)}
        origin["frame"] = f"{frame[0]} {frame[1]}"
    clips = {name: sheet.frames(name) for name in sheet.clips}
    edits, notes = _within_palette(edits, clips, recipe)
    if not any((edits[name, i] != clips[name][i]).any() for name, i in edits):
        return SheetChange(sheet.image, recipe, origin, tuple(notes), unknown)
    from pipelines.animation.carrying import carry

    carried = carry(clips, trace, edits)
    image = sheet.image.copy()
    for name, span in sheet.clips.items():
        for number, picture in enumerate(carried.frames[name]):
            y, x = divmod(span.first + number, sheet.columns)
            h, w = sheet.tile_height, sheet.tile_width
            image[y * h : (y + 1) * h, x * w : (x + 1) * w] = picture
    if not recipe.palette:
        recipe = replace(recipe, colors=max(recipe.colors, len(color_counts([image])[0])))
    return SheetChange(image, recipe, origin, (*_said(carried, sheet, edits), *notes), unknown)


def keep_sheet(library: Library, asset: Asset, before: Sheet, change: SheetChange) -> Asset:
    """Keeps the edited sheet with all its files, as an asset of its own.

    Raises:
        LibraryError: the disk is full or may not be written.
    """
    import numpy as np

    from pipelines.animation.sheets import animated_preview, check_clips
    from pipelines.pixels.palette import Palette
    from pipelines.pixels.quantize import color_counts

    sheet = replace(before, image=change.image)
    old, found = (color_counts([image])[0] for image in (before.image, change.image))
    locked = Palette.from_hex(change.recipe.palette) if change.recipe.palette else None
    allowed = np.array(locked.colors if locked else np.concatenate([old, found]), np.uint8)[None]
    stands = "feet_on_one_line" in asset.report.get("gates", {"feet_on_one_line": True})
    report = check_clips(sheet, np.pad(allowed, ((0, 0), (0, 0), (0, 1)), constant_values=255), stands=stands)
    report.gates["colors"] = len(found) <= max(MOST_COLORS, len(old))
    known = Palette.from_hex(asset.details.get("palette") or ()).colors if asset.details.get("palette") else ()
    listed = dict.fromkeys([*(locked.colors if locked else known), *map(tuple, found.tolist())])
    palette = Palette("sheet", tuple(listed))  # type: ignore[arg-type]
    base = _base_id(asset) or asset.id
    origin = {"edited_from": asset.id, "sheet": base, **{k: v for k, v in change.origin.items() if v}}
    kept = {name: value for name, value in asset.details.items() if name != "palette"}
    preview = animated_preview(sheet)
    return save_asset(
        library,
        replace(change.recipe, options=change.recipe.options | {"edit": origin}),
        sheet.image,
        report,
        palette=palette,
        files=sheet_files(sheet, palette, preview),
        details={**kept, "sheet": sheet.layout(), "unknown_words": list(change.unknown_words)},
    )


def parse_frame(sheet: Sheet, text: str) -> Frame:
    """Returns the frame that "walk_left 2" names; a clip alone is its first, an empty text the first that loops.

    Raises:
        InvalidRequest: no clip has this name, or this many frames.
    """
    if not text:
        return next((name for name, clip in sheet.clips.items() if clip.loop), next(iter(sheet.clips))), 0
    name, _, number = text.replace(":", " ").strip().rpartition(" ")
    if not number.isdigit():
        name, number = text.strip(), "0"
    if (clip := sheet.clips.get(name.strip())) is None:
        raise InvalidRequest(f"frame='{text[:60]}' names no clip of the sheet. It has: {', '.join(sheet.clips)}.")
    if int(number) > clip.last - clip.first:
        raise InvalidRequest(f"{name} has the frames 0 to {clip.last - clip.first}, not {number[:9]}.")
    return name.strip(), int(number)


def _base_id(asset: Asset) -> str:
    """Returns the id of the sheet that an edited one began as; "" for one that was never edited."""
    edit = asset.recipe.options.get("edit")
    return str(edit.get("sheet") or "") if isinstance(edit, dict) else ""


def _trace(home: Library, asset: Asset, on_progress: OnProgress) -> Trace:
    from pipelines.animation.making import make_clips
    from pipelines.animation.motion import poses
    from pipelines.animation.tracing import DRAWN, trace_clips

    base = home.get(_base_id(asset)) if _base_id(asset) else asset
    options: Mapping[str, Any] = base.recipe.options
    cause = "its sprite or its recipe is gone" if options.get("sprite") else "the sheet was not made from a sprite"
    try:
        key = home.get(str(options["sprite"]))
        motions, frames = list(dict.fromkeys(str(motion) for motion in options["motions"])), int(options["frames"])
        for motion in motions:
            poses(motion, frames)  # a recipe may come from anywhere
        directions, faces, method = DIRECTIONS[options["directions"]], options["faces"], options["method"]
    except (InvalidRequest, KeyError, LibraryError, TypeError, ValueError) as error:
        raise LibraryError(
            f"Where the pixels of {asset.id} come from is not known: {cause}. recolor and palette work on any sheet; "
            "slice_sheet cuts it into sprites, to be edited one by one."
        ) from error

    def check() -> None:
        on_progress(0, 1, "following the pixels")

    sprite = read_sprite(home, key)
    trace = trace_clips(
        lambda tag: make_clips(
            sprite,
            motions,
            frames,
            directions,
            faces_left=faces == "left",
            method=method,
            words=base.recipe.prompt,
            seed=base.recipe.seed,
            check=check,
            tag=tag,
        )
    )
    first = read_sheet(home, base)
    for name, clip in trace.frames.items():
        if name not in first.clips or [f.shape for f in clip] != [f.shape for f in first.frames(name)]:
            raise LibraryError(
                f"The sheet {base.id} was made by a version of dgx-pixels that moved pixels in another way. Animate "
                f"its sprite {key.id} again."
            )
        for source, made, kept in zip(trace.sources[name], clip, first.frames(name), strict=True):
            source[(made != kept).any(axis=-1)] = DRAWN
    return trace


def _drawn_by_hand(
    studio: Studio, game: Project | None, home: Library, sheet: Sheet, request: EditRequest, asset: Asset
) -> dict[Frame, Pixels]:
    """Returns the frames that a picture changes: a frame, the sprite, the whole sheet or an Aseprite file."""
    from pipelines.pixels.png import read_frames
    from server.features.pixel_fix import find_picture

    file = find_picture(game, request.picture)
    if file is None:
        owner, picture = studio.find_asset(request.picture, game)
        pictures = [frame for frame, _ in read_frames(owner.read(picture))]
    else:
        pictures = [frame for frame, _ in read_frames(file)]
    pictures = [_hard(picture) for picture in pictures]
    names = [(name, i) for name, c in sheet.clips.items() for i in range(c.last - c.first + 1)]
    high, wide, tile = *pictures[0].shape[:2], (sheet.tile_height, sheet.tile_width)
    if len(pictures) == len(names) and (high, wide) == tile and len(names) > 1:
        given = dict(zip(names, pictures, strict=True))
    elif pictures[0].shape == sheet.image.shape and sheet.image.shape[:2] != tile:
        whole = replace(sheet, image=pictures[0])
        given = {(name, i): frame for name in sheet.clips for i, frame in enumerate(whole.frames(name))}
    elif (high, wide) == tile:
        given = {parse_frame(sheet, request.frame): pictures[0]}
    else:
        import numpy as np

        margin = _margin(asset)
        if not margin or (high + 2 * margin, wide + 2 * margin) != tile:
            raise InvalidRequest(
                f"The picture is {wide}x{high}. Give a frame of {tile[1]}x{tile[0]}, the whole sheet "
                f"({sheet.image.shape[1]}x{sheet.image.shape[0]}), or its .aseprite file with all {len(names)} frames."
            )
        padded = np.pad(pictures[0], ((margin, margin), (margin, margin), (0, 0)))
        given = {parse_frame(sheet, request.frame): padded}
    return {
        (name, i): picture for (name, i), picture in given.items() if (picture != sheet.frames(name)[i]).any()
    } or dict(list(given.items())[:1])


def _margin(asset: Asset) -> int:
    """Returns how many pixels the frames have around the sprite."""
    margin = asset.details.get("margin")
    return margin if isinstance(margin, int) and 0 < margin < 1024 else 0


def _hard(picture: Pixels) -> Pixels:
    """Returns a picture with alpha 0 or 255, and nothing in clear pixels."""
    import numpy as np

    hard = picture.copy()
    hard[..., 3] = 255
    return np.where(picture[..., 3:] >= 128, hard, 0).astype(np.uint8)


def _redrawn(
    studio: Studio,
    game: Project | None,
    home: Library,
    sheet: Sheet,
    frame: Frame,
    request: EditRequest,
    asset: Asset,
    on_progress: OnProgress,
) -> tuple[Pixels, tuple[str, ...]]:
    """Draws over a part of one frame; the model sees the sprite's canvas without the margin, as it drew it."""
    import numpy as np

    from pipelines.sprites import edit

    picture = sheet.frames(frame[0])[frame[1]].copy()
    mask = mask_of(studio, game, picture, request.place)
    margin = _margin(asset)
    inner = slice(margin, -margin) if 0 < margin < min(picture.shape[:2]) // 2 else slice(None)
    outside = picture.copy()
    outside[inner, inner] = 0
    if (outside[..., 3] > 0).any() or not mask[inner, inner].any():
        inner = slice(None)
    seen = np.ascontiguousarray(picture[inner, inner])
    check_weights(studio, home, asset, request)
    wanted = replace(
        asset.recipe,
        kind="sprite",
        width=seen.shape[1],
        height=seen.shape[0],
        prompt=request.prompt or asset.recipe.prompt,
        seed=secrets.randbelow(2**31) if request.seed is None else request.seed,
        model=request.model or asset.recipe.model,
    )
    made = edit.redraw(studio.engine, seen, wanted, request.strength, mask[inner, inner], on_progress)
    picture[inner, inner] = made.image
    return picture, made.unknown_words


def _within_palette(
    edits: Mapping[Frame, Pixels], clips: Mapping[str, list[Pixels]], recipe: Recipe
) -> tuple[dict[Frame, Pixels], list[str]]:
    """Keeps changed pixels to the game's palette; without one, to MOST_COLORS colours."""
    import numpy as np

    from pipelines.pixels.palette import Palette, lock
    from pipelines.pixels.quantize import color_counts

    known, _ = color_counts([frame for clip in clips.values() for frame in clip])
    old = [tuple(color) for color in known.tolist()]
    fresh: dict[tuple[int, ...], int] = {}
    for (name, i), picture in edits.items():
        changed: NDArray[np.bool_] = (picture != clips[name][i]).any(axis=-1) & (picture[..., 3] > 0)
        if changed.any():
            colors, counts = np.unique(picture[changed][:, :3], axis=0, return_counts=True)
            for color, count in zip(colors.tolist(), counts.tolist(), strict=True):
                if tuple(color) not in old:
                    fresh[tuple(color)] = fresh.get(tuple(color), 0) + count
    locked = Palette.from_hex(recipe.palette).colors if recipe.palette else ()
    most = max(MOST_COLORS, len(old))
    kept = locked or (*old, *sorted(fresh, key=lambda color: -fresh[color]))[:most]
    palette = Palette("sheet", tuple(dict.fromkeys(kept)))  # type: ignore[arg-type]
    lost = [color for color in fresh if color not in palette.colors]
    if not lost:
        return dict(edits), []
    why = "the sheet's palette" if locked else f"the {most} colours that a sheet may have"
    held: dict[Frame, Pixels] = {}
    for (name, i), picture in edits.items():
        changed = (picture != clips[name][i]).any(axis=-1)
        held[name, i] = np.where(changed[..., None], lock(picture, palette), picture).astype(np.uint8)
    return held, [f"{len(lost)} new colours are not in {why}; the nearest ones took their place."]


def _said(carried: Carried, sheet: Sheet, edits: Mapping[Frame, Pixels]) -> list[str]:
    """Says where the change went, and what could not be followed."""
    total = sum(c.last - c.first + 1 for c in sheet.clips.values())
    edited = ", ".join(f"{name} {number}" for name, number in list(edits)[:_NAMED])
    said = [f"Edited: {edited}. The change shows in {len(carried.changed)} of {total} frames."]
    if carried.apart:
        said.append(
            f"Not followed: {_listed(carried.apart)}, drawn apart from the edited view. Edit one of their frames next: "
            f"frame='{carried.apart[0]} 0'."
        )
    if carried.unlike:
        said.append(
            f"Not followed in {_frames(carried.unlike)}: the sheet model painted the place differently. Draw over "
            "them by hand."
        )
    if carried.hidden:
        said.append(f"Hidden in the edited frame, so not changed in {_frames(carried.hidden)}: look at them.")
    if carried.stayed:
        said.append(
            f"{carried.stayed} changed pixels stay in their frame only: they are far from the figure, or were drawn by "
            "the motion."
        )
    return said


def _listed(names: tuple[str, ...]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _frames(counts: Mapping[Frame, int]) -> str:
    return _listed(tuple(f"{name} {number} ({count} px)" for (name, number), count in counts.items()))

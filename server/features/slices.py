"""Cut a sheet into sprites or into an animation, and keep them as assets of their own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import InvalidRequest
from server.features.pixel_fix import find_picture
from server.features.save import save_asset
from server.storage import check_storage

if TYPE_CHECKING:
    from pipelines.animation.sheets import Sheet
    from pipelines.animation.slicing import Run, Slices
    from pipelines.pixels.aseprite import Aseprite
    from pipelines.pixels.palette import Palette
    from pipelines.records import Pixels
    from server.features.requests import SliceRequest
    from server.library.records import Asset
    from server.library.store import Library
    from server.project.game import Project
    from server.studio import Studio

MOST_SPRITES = 256
"""Sprites of one sheet that are kept as assets; larger sheets are cut in parts."""


@dataclass(frozen=True, slots=True, eq=False)
class SlicedSheet:
    """The assets (one for each sprite, or one animation), how the sheet was cut, and a picture that shows the cuts."""

    project: Project | None
    library: Library
    assets: tuple[Asset, ...]
    names: tuple[str, ...]
    how: str
    preview: Pixels
    warnings: tuple[str, ...]


def slice_sheet(studio: Studio, request: SliceRequest, *, project: str | None = None) -> SlicedSheet:
    """Cuts a sheet: by its layout file, by the frames of an Aseprite file, or by a grid that its pixels prove.

    Raises:
        InvalidRequest: no grid is proved, or the layout does not fit; it says what to give.
        ImageError: the picture cannot be read.
        ServerError: the game or the library cannot be used.
    """
    from pipelines.animation.aseprite_sheets import runs_of
    from pipelines.animation.sheet_files import layout_of, read_layout
    from pipelines.animation.slicing import Run, cut, preview, slice_grid
    from pipelines.files import PICTURE_LIMIT, read_bytes
    from pipelines.pixels.aseprite import SUFFIXES, read_aseprite
    from pipelines.pixels.png import read_frames, read_picture

    check_storage()
    game = studio.project(project)
    library = studio.library(game)
    slices: Slices | None = None
    file = find_picture(game, request.picture)
    if file is not None:
        name = file.stem
        sprite = read_aseprite(read_bytes(file, PICTURE_LIMIT), file.name) if file.suffix.lower() in SUFFIXES else None
        if request.into == "layers" and sprite is not None:
            return _keep_layers(library, game, request, sprite, name)
        frames = read_frames(file)
        if request.into != "layers" and (sprite is not None or len(frames) > 1):
            pieces = [frame for frame, _ in frames]
            runs = runs_of(sprite, name) if sprite else (Run(name, tuple(range(len(frames)))),)
            strip, slices = _strip(pieces, runs, [duration for _, duration in frames])
            slices = replace(slices, how=f"the {len(pieces)} frames of {file.name}")
            return _keep(library, game, request, name, pieces, slices, preview(strip, slices))
        image = frames[0][0]
    else:
        home, kept = studio.find_asset(request.picture, game)
        image, name = read_picture(home.read(kept)), kept.recipe.prompt
    if request.layout:
        layout = find_picture(game, request.layout)
        slices = read_layout(layout, file.name if file else "") if layout else None
        if slices is None:
            raise InvalidRequest(f"{request.layout} is not a sheet's layout. Give Aseprite's or TexturePacker's JSON.")
    elif file and not (request.width or request.height):
        slices = layout_of(file)
    if request.into == "layers":
        raise InvalidRequest(f"Only an .aseprite file has layers; {name} has none. Give into='sprites'.")
    if slices is None:
        side = (request.width or request.height or 0, request.height or request.width or 0)
        slices = slice_grid(image, name, side if any(side) else None, request.gap, request.margin)
    return _keep(library, game, request, name, cut(image, slices), slices, preview(image, slices))


def _keep_layers(
    library: Library, game: Project | None, request: SliceRequest, sprite: Aseprite, name: str
) -> SlicedSheet:
    """Keeps every layer of every frame that has something drawn, hidden ones too, on the canvas at full opacity."""
    from pipelines.animation.slicing import preview
    from pipelines.pixels.compositing import check_size, layer_picture

    places = sorted(place for place in sprite.cels if not sprite.layers[place[1]].group)
    check_size(sprite, len(places), name)
    pieces = [layer_picture(sprite, frame, layer) for frame, layer in places]
    if not pieces:
        raise InvalidRequest(f"{name} shows nothing: no layer has a picture. Draw something, and save it.")
    strip, slices = _strip(pieces, (), [0] * len(pieces))
    several = len(sprite.durations) > 1
    named = [
        replace(piece, name=sprite.layers[layer].name + (f" {frame + 1}" if several else ""))
        for piece, (frame, layer) in zip(slices.pieces, places, strict=True)
    ]
    slices = replace(slices, pieces=tuple(named), how=f"the {len(sprite.layers)} layers of {name}")
    return _keep(library, game, request, name, pieces, slices, preview(strip, slices))


def _strip(pieces: Sequence[Pixels], runs: Sequence[Run], durations: Sequence[int]) -> tuple[Pixels, Slices]:
    """Puts frames of one size side by side and returns them with their places."""
    import numpy as np

    from pipelines.animation.slicing import Piece, Slices

    height, width = pieces[0].shape[:2]
    places = tuple(
        Piece(f"frame {i + 1}", i * width, 0, width, height, (width, height), duration=duration)
        for i, duration in enumerate(durations)
    )
    return np.concatenate(pieces, axis=1), Slices(places, tuple(runs), "")


def _keep(
    library: Library,
    game: Project | None,
    request: SliceRequest,
    name: str,
    pieces: list[Pixels],
    slices: Slices,
    shown: Pixels,
) -> SlicedSheet:
    from pipelines.animation.sheets import animate
    from pipelines.animation.slicing import names_of

    drawn = [index for index, piece in enumerate(pieces) if piece[..., 3].any()]
    if not drawn:
        raise InvalidRequest(f"{name} shows nothing: every piece is empty. Give a sheet with something drawn on it.")
    warnings = [f"{len(pieces) - len(drawn)} empty pieces were left out."] if len(drawn) < len(pieces) else []
    if request.into == "animation":
        runs = [run for run in slices.runs if any(index in drawn for index in run.pieces)]
        sheet = animate(runs, pieces, [piece.duration for piece in slices.pieces], request.fps)
        asset = save_sheet(library, sheet, _words(name), {"slice": {"from": request.picture, "how": slices.how}})
        return SlicedSheet(game, library, (asset,), tuple(sheet.clips), slices.how, shown, ())
    if len(drawn) > MOST_SPRITES:
        raise InvalidRequest(f"{name} holds {len(drawn)} sprites; {MOST_SPRITES} is the most. Cut it into parts first.")
    titles = names_of(slices.pieces)
    assets = [_sprite(library, request, titles[index], pieces[index], index) for index in drawn]
    unique = {asset.id: asset for asset in assets}
    if len(unique) < len(assets):
        warnings.append(f"{len(assets) - len(unique)} pieces are the same as an earlier one.")
    return SlicedSheet(
        game, library, tuple(unique.values()), tuple(titles[i] for i in drawn), slices.how, shown, tuple(warnings)
    )


def _sprite(library: Library, request: SliceRequest, title: str, piece: Pixels, index: int) -> Asset:
    from pipelines.records import Recipe

    height, width = piece.shape[:2]
    options = {"slice": {"from": request.picture, "piece": index}}
    recipe = Recipe(kind="sprite", prompt=_words(title), width=width, height=height, seed=0, options=options)
    return save_asset(library, recipe, piece, {"passed": True, "gates": {}, "scores": {}})


def save_sheet(library: Library, sheet: Sheet, prompt: str, options: dict[str, object]) -> Asset:
    """Keeps a sheet with its layouts, its Aseprite file and its animated preview."""
    from pipelines.animation.aseprite_sheets import from_sheet
    from pipelines.animation.sheets import animated_preview, aseprite_json, layout_json
    from pipelines.pixels.aseprite import write_aseprite
    from pipelines.records import Recipe

    height, width = sheet.image.shape[:2]
    recipe = Recipe(kind="sheet", prompt=prompt, width=width, height=height, seed=0, options=options)
    files = {
        "layout.sheet.json": layout_json(sheet, "sheet.png"),
        "aseprite.json": aseprite_json(sheet, "sheet.png"),
        "sheet.aseprite": write_aseprite(from_sheet(sheet, _palette(sheet.image))),
        "preview.webp": animated_preview(sheet),
    }
    report = {"passed": True, "gates": {}, "scores": {}}
    return save_asset(library, recipe, sheet.image, report, files=files, details={"sheet": sheet.layout()})


def write_out(done: SlicedSheet, folder: Path) -> list[Path]:
    """Writes the assets' files into a folder, named after their frames.

    Raises:
        LibraryError, OSError: the folder cannot be written.
    """
    from server.library.store import write_atomically
    from workflows.inputs import distinct_names

    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for asset, name in zip(done.assets, distinct_names([a.recipe.prompt for a in done.assets]), strict=True):
        for file in asset.files:
            path = folder / {
                "sprite.png": f"{name}.png",
                "sheet.png": f"{name}.png",
                "layout.sheet.json": f"{name}.sheet.json",
                "aseprite.json": f"{name}.json",
                "sheet.aseprite": f"{name}.aseprite",
            }.get(file.name, f"{name}.{file.name.rpartition('.')[2]}")
            data = done.library.read(asset, file.name)
            if file.name.endswith(".json"):  # they name the picture beside them
                data = data.replace(b'"sheet.png"', f'"{name}.png"'.encode())
            write_atomically(path, data)
            written.append(path)
    return written


def _palette(image: Pixels) -> Palette | None:
    """Returns the colours of a picture in the order of their values; None for none, or more than a palette holds."""
    from pipelines.pixels.palette import MOST_COLORS, Palette
    from pipelines.pixels.quantize import color_counts

    colors = color_counts([image])[0]
    return (
        Palette("sheet", tuple((int(r), int(g), int(b)) for r, g, b in colors))
        if 0 < len(colors) <= MOST_COLORS
        else None
    )


def _words(name: str) -> str:
    """Returns a file's or frame's name as a prompt, without the ending that an editor leaves in it."""
    bare = re.sub(r"\.(?:aseprite|ase|png|gif|webp|bmp|psd|tga)$", "", Path(name).name, flags=re.IGNORECASE)
    return " ".join(bare.replace("_", " ").replace("-", " ").split()) or "picture"

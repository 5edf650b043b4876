"""Packs sprites and sheets of the library into one atlas, with bodies, layers, team colours and animations."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.errors import InvalidRequest
from server.errors import LibraryError
from server.features.recipes import palette_colors
from server.features.save import save_asset
from server.storage import check_storage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pipelines.animation.sheets import Sheet
    from pipelines.atlas.packing import Atlas, Frame
    from pipelines.pixels.palette import Palette
    from pipelines.records import OnProgress, Pixels
    from server.features.requests import PackRequest
    from server.library.records import Asset
    from server.library.store import Library
    from server.project.game import Project
    from server.studio import Studio

MOST_ASSETS = 64


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """An atlas that was made and kept; `preview` numbers its frames, `rust(path)` is its Bevy module."""

    project: Project | None
    library: Library
    asset: Asset
    atlas: Atlas
    preview: Pixels
    warnings: tuple[str, ...]

    def rust(self, path: str) -> str:
        """Returns the Rust module for the atlas at a path in assets/."""
        from pipelines.atlas.files import bevy_module, measured

        return bevy_module(self.atlas, measured(self.atlas), path)


def pack_sheet(studio: Studio, request: PackRequest, on_progress: OnProgress, *, project: str | None = None) -> Packed:
    """Packs the frames of sprites and sheets into one picture and keeps it with all its files.

    Raises:
        InvalidRequest: no asset, too many, or more frames than fit.
        LibraryError: an asset does not exist, or is a tileset.
    """
    from pipelines.animation.sheets import animated_preview, gif
    from pipelines.atlas.files import aseprite_json, bodies_json, measured, numbered, texture_packer_json
    from pipelines.atlas.packing import pack
    from pipelines.pixels.gates import Report
    from pipelines.pixels.palette import Palette
    from pipelines.pixels.png import encode_png
    from pipelines.records import Recipe

    check_storage()
    game = studio.project(project)
    library = studio.library(game)
    if not 1 <= len(request.asset_ids) <= MOST_ASSETS:
        raise InvalidRequest(f"Give 1 to {MOST_ASSETS} asset_ids, not {len(request.asset_ids)}.")
    on_progress(0, 1, "packing")
    frames: list[Frame] = []
    sheets: dict[str, Sheet] = {}
    names: dict[str, list[str]] = {}
    titles: list[str] = []
    for asset_id in dict.fromkeys(request.asset_ids):
        home, asset = studio.find_asset(asset_id, game)
        title = _title(asset.recipe.prompt, titles)
        found, sheet = _frames(home, asset, title)
        frames += found
        names[title] = [frame.name for frame in found]
        if sheet:
            sheets[title] = sheet
    atlas = pack(frames, margin=1 if request.layers else 0, power_of_two=request.power_of_two)
    locked = palette_colors(game)
    palette = Palette.from_hex(locked) if locked else None
    layers, warnings = _layers(atlas.image, request, palette), []
    if request.teams:
        teams, warnings = _teams(atlas, names, request.teams, palette)
        layers |= teams
    body = measured(atlas)
    files = {
        "atlas.json": texture_packer_json(atlas, body, "sheet.png"),
        "aseprite.json": aseprite_json(atlas, body, "sheet.png"),
        "bodies.json": bodies_json(body, "sheet.png"),
        **{f"{name}.png": encode_png(layer) for name, layer in layers.items()},
    }
    for title, sheet in sheets.items():
        files |= {f"animation.{title}.gif": gif(sheet), f"animation.{title}.png": _apng(sheet)}
        files[f"animation.{title}.webp"] = animated_preview(sheet)
    shown = numbered(atlas)
    files["preview.numbered.png"] = encode_png(shown)
    options: dict[str, Any] = {"packed": list(dict.fromkeys(request.asset_ids))}
    options |= request.model_dump(exclude={"asset_ids"}, exclude_defaults=True, mode="json")
    height, width = atlas.image.shape[:2]
    recipe = Recipe("sheet", _prompt(titles), width, height, 0, model="", palette=locked, options=options)
    gates = {
        "frames_restored": all((atlas.restored(frame.name) == frame.image).all() for frame in frames),
        "layers_fit": all(layer.shape == atlas.image.shape for layer in layers.values()),
    }
    drawn = float((atlas.image[..., 3] > 0).mean())
    asset = save_asset(
        library,
        recipe,
        atlas.image,
        Report(gates, {"frames": float(len(frames)), "occupancy": drawn}),
        indexed=False,
        files=files,
        details={"frames": len(frames), "layers": list(layers)},
    )
    on_progress(1, 1, "done")
    return Packed(game, library, asset, atlas, shown, tuple(warnings))


def _prompt(titles: Sequence[str]) -> str:
    """Describes what the atlas holds in one line."""
    named = " ".join(title.replace("_", " ") for title in titles[:3])
    return f"{named} atlas"


def _title(prompt: str, taken: list[str]) -> str:
    """Adds an asset's name of a-z, 0-9 and _ to `taken` and returns it; a name that is taken gets a number."""
    base = re.sub(r"[^a-z0-9]+", "_", prompt.lower()).strip("_")[:40].strip("_") or "sprite"
    name, number = base, 1
    while name in taken:
        number += 1
        name = f"{base}_{number}"
    taken.append(name)
    return name


def _frames(home: Library, asset: Asset, title: str) -> tuple[list[Frame], Sheet | None]:
    """Returns a sprite as one frame, or a sheet's clips frame by frame and the sheet."""
    from pipelines.animation.sheets import Clip, Sheet
    from pipelines.atlas.packing import Frame
    from pipelines.pixels.png import read_picture

    image = read_picture(home.read(asset))
    match asset.details.get("sheet"):
        case {
            "tile_size": [int() as width, int() as height],
            "columns": int() as columns,
            "rows": int() as rows,
            "animations": {**animations},
        } if animations:
            pass
        case _:
            if asset.kind == "tileset":
                raise LibraryError(
                    f"Asset {asset.id} is a tileset, whose atlas has its order already. Give sprites and sheets."
                )
            return [Frame(title, image)], None
    try:
        clips = {
            name: Clip(int(c["first"]), int(c["last"]), float(c["fps"]), bool(c["loop"]))
            for name, c in animations.items()
        }
    except (KeyError, TypeError, ValueError) as error:
        raise LibraryError(f"The layout of {asset.id} cannot be read. Make the sheet again.") from error
    fits = width > 0 and height > 0 and image.shape[:2] == (rows * height, columns * width)
    if not fits or not all(0 <= c.first <= c.last < rows * columns and 0 < c.fps <= 1000 for c in clips.values()):
        raise LibraryError(f"The layout of {asset.id} does not fit its picture. Make the sheet again.")
    sheet = Sheet(image, width, height, columns, rows, clips)
    frames = [
        Frame(f"{title}_{name}_{at}", picture, f"{title}_{name}", max(1, round(1000 / clip.fps)), clip.loop)
        for name, clip in clips.items()
        for at, picture in enumerate(sheet.frames(name))
    ]
    return frames, sheet


def _layers(image: Pixels, request: PackRequest, palette: Palette | None) -> dict[str, Pixels]:
    """Returns the pictures that lie at the atlas's places, without those of teams."""
    from pipelines.atlas.layers import normal_layer, outline_layer, shadow_layer
    from pipelines.effects.ramps import ramp_of

    made: dict[str, Pixels] = {}
    for name in request.layers:
        if name == "normal":
            made[name] = normal_layer(image)
        else:
            layer = outline_layer if name == "outline" else shadow_layer
            made[name] = layer(image, ramp_of("black", palette)[0])
    return made


def _teams(
    atlas: Atlas, names: Mapping[str, Sequence[str]], teams: Sequence[str], palette: Palette | None
) -> tuple[dict[str, Pixels], list[str]]:
    """Returns the atlas in each team's colour, and what could not be made.

    Each sprite or sheet has a team colour of its own, the same in all its frames; `names` has the frames of each.
    """
    import numpy as np

    from pipelines.atlas.layers import recolored, team_hue
    from pipelines.effects.ramps import ramp_name

    height, width = atlas.image.shape[:2]
    parts: list[tuple[NDArray[np.bool_], str]] = []
    taken, without = np.zeros((height, width), bool), []
    for title, frames in names.items():
        mask = np.zeros((height, width), bool)
        for place in (atlas.places[frame] for frame in frames):
            mask[place.y : place.y + place.height, place.x : place.x + place.width] = True
        mask &= ~taken  # equal frames of two assets share a place
        taken |= mask
        if hue := team_hue(atlas.image[mask][None]):
            parts.append((mask, hue))
        elif mask.any():
            without.append(title)
    warnings: list[str] = []
    if without:
        warnings.append(
            f"No colour of {', '.join(without)} can be a team's: red, blue, green, purple, cyan, pink or yellow."
        )
    made: dict[str, Pixels] = {}
    for team in teams if parts else ():
        ramp = ramp_name(team)
        if not ramp:
            warnings.append(
                f"'{team}' is no colour that teams have. Use red, blue, green, purple, yellow, white or black."
            )
            continue
        copy = atlas.image.copy()
        for mask, hue in parts:
            copy[mask] = recolored(atlas.image[mask][None], hue, ramp, palette)[0]
        made[f"team_{ramp}"] = copy
    return made, warnings


def _apng(sheet: Sheet) -> bytes:
    """Returns all clips of a sheet after one another as an APNG of its own pixels."""
    from pipelines.pixels.picture_files import encode_animation

    frames = [frame for name in sheet.clips for frame in sheet.frames(name)]
    times = [round(1000 / c.fps) for c in sheet.clips.values() for _ in range(c.first, c.last + 1)]
    return encode_animation(frames, times, loop=True, gif=False)

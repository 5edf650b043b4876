"""Files beside the pictures that other readers want: Bevy's `.meta`, and bevy_asset_loader's `*.assets.ron`.

Written only where a project asks: sampling belongs into the game's code (`ImagePlugin::default_nearest()`), and
our own sheets need no RON. Aseprite's JSON and Tiled's .tsx are written with the sheets and tilesets themselves.
"""

from __future__ import annotations

import re
from pathlib import Path

from pipelines.errors import TextError
from pipelines.text_files import read_json

_UNQUOTED = re.compile(r'["\\\x00-\x1f\x7f-\x9f]')
_META = """\
(
    meta_format_version: "1.0",
    asset: Load(
        loader: "bevy_image::image_loader::ImageLoader",
        settings: (
            format: FromExtension,
            is_srgb: true,
            sampler: Descriptor((
                label: None,
                address_mode_u: {address},
                address_mode_v: {address},
                address_mode_w: {address},
                mag_filter: Nearest,
                min_filter: Nearest,
                mipmap_filter: Nearest,
                lod_min_clamp: 0.0,
                lod_max_clamp: 32.0,
                compare: None,
                anisotropy_clamp: 1,
                border_color: None,
            )),
            asset_usage: ("MAIN_WORLD | RENDER_WORLD"),
{layers}        ),
    ),
)
"""


def image_meta(minor: int, *, repeat: bool = False, rows: int = 1) -> str:
    """Makes the `.meta` of a picture: nearest-neighbour sampling, also if the game's ImagePlugin says otherwise.

    Args:
        minor: the game's Bevy, the 19 of 0.19.1; from 15 on.
        repeat: whether the picture wraps (a seamless texture) instead of being clamped.
        rows: tiles below each other, for an array texture (Bevy's TilemapChunk); from Bevy 0.18 on.

    Raises:
        ValueError: a version that cannot read it.
    """
    if minor < 15 or (rows > 1 and minor < 18):
        raise ValueError(f"Bevy 0.{minor} reads no such .meta")
    layers = f"            array_layout: Some(RowCount(rows: {rows})),\n" if rows > 1 else ""
    return _META.format(address="Repeat" if repeat else "ClampToEdge", layers=layers)


def assets_ron(assets: Path) -> str:
    """Returns all pictures and sheet layouts below `assets`, for bevy_asset_loader's standard dynamic assets.

    A picture's key is its path without the ending, with dots ("sprites.hero"); a sheet's grid is "<key>.layout".
    Broken layouts are left out, and so are names that RON cannot hold between quotes.
    """
    entries: list[str] = []
    for path in sorted(assets.rglob("*.png")):
        place = path.relative_to(assets).as_posix()
        if _UNQUOTED.search(place):
            continue
        key = place.removesuffix(".png").replace("/", ".")
        entries.append(f'    "{key}": Image(path: "{place}", sampler: Nearest),')
    for path in sorted(assets.rglob("*.sheet.json")):
        if path.is_symlink() or _UNQUOTED.search(path.name):
            continue
        try:
            sheet = read_json(path)
            (width, height), columns, rows = sheet["tile_size"], int(sheet["columns"]), int(sheet["rows"])
        except (TextError, OSError, ValueError, KeyError, TypeError, OverflowError):
            continue
        key = path.relative_to(assets).as_posix().removesuffix(".sheet.json").replace("/", ".")
        entries.append(
            f'    "{key}.layout": TextureAtlasLayout(tile_size_x: {int(width)}, tile_size_y: {int(height)}, '
            f"columns: {columns}, rows: {rows}),"
        )
    return "({\n" + "\n".join(entries) + "\n})\n"

"""Save an asset: PNG with recipe, further files, gate report and palette. All features use this function.

An asset's palette (`details["palette"]`) is what its picture shows: RRGGBB, in the order of the palette that it was
finished with, else sorted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipelines.tracing import traced
from server.tally import TALLY

if TYPE_CHECKING:
    from pipelines.animation.sheets import Sheet
    from pipelines.pixels.gates import Report
    from pipelines.pixels.palette import Palette
    from pipelines.records import Pixels, Recipe
    from server.library.records import Asset
    from server.library.store import Library

PICTURES = {"sprite": "sprite.png", "sheet": "sheet.png", "tileset": "tiles.png"}
"""Recipe kind -> name of the asset's picture."""


@traced("save")
def save_asset(
    library: Library,
    recipe: Recipe,
    image: Pixels,
    report: Report | Mapping[str, Any],
    *,
    palette: Palette | None = None,
    indexed: bool = True,
    png: bytes | None = None,
    files: Mapping[str, bytes] | None = None,
    details: Mapping[str, Any] | None = None,
) -> Asset:
    """Keeps a finished picture as an asset of `recipe.kind`; one that is there already is returned.

    Args:
        library: where it is kept.
        recipe: what makes it again; it is stored in the PNG.
        image: (height, width, 4) RGBA.
        report: gates and scores.
        palette: the colours that it was finished with, in their order.
        indexed: write an indexed PNG in the order of `palette` where that is possible; false: RGBA.
        png: a file that holds `image` already, to keep as it is; None: it is encoded.
        files: further files by name.
        details: what only this kind of asset has, as JSON values.

    Raises:
        LibraryError: the disk is full or may not be written; nothing is kept then.
    """
    from pipelines.pixels.gates import Report
    from pipelines.pixels.png import encode_png

    told = report.to_dict() if isinstance(report, Report) else report
    png = png or encode_png(image, recipe.to_json(), palette if indexed else None)
    asset = library.add(
        recipe.kind,
        {PICTURES[recipe.kind]: png, **(files or {})},
        recipe,
        told,
        {"palette": shown_colors(image, palette), "unknown_words": [], **(details or {})},
    )
    TALLY.made(recipe.kind, recipe.model, told)
    return asset


def sheet_files(sheet: Sheet, palette: Palette | None, preview: bytes) -> dict[str, bytes]:
    """Returns the files beside a sheet's picture: layouts, Aseprite file, strip, GIF, and `preview`, its WebP."""
    from pipelines.animation.aseprite_sheets import from_sheet
    from pipelines.animation.sheets import aseprite_json, gif, layout_json, strip
    from pipelines.pixels.aseprite import write_aseprite
    from pipelines.pixels.png import encode_png

    return {
        "layout.sheet.json": layout_json(sheet, "sheet.png"),
        "aseprite.json": aseprite_json(sheet, "sheet.png"),
        "sheet.aseprite": write_aseprite(from_sheet(sheet, palette)),
        "preview.strip.png": encode_png(strip(sheet), palette=palette),
        "preview.gif": gif(sheet),
        "preview.webp": preview,
    }


def shown_colors(image: Pixels, palette: Palette | None = None) -> list[str]:
    """Returns the colours of a picture's opaque pixels as RRGGBB, in the order of `palette`, then sorted."""
    from pipelines.pixels.quantize import color_counts

    shown = {bytes(color).hex() for color in color_counts([image])[0].tolist()}
    known = [color for color in dict.fromkeys(palette.hex) if color in shown] if palette else []
    return known + sorted(shown.difference(known))

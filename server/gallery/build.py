"""Write a library as HTML pages: `page.html` with the data inside, pictures as data URIs, no network needed.

Each page is one self-contained file; the script in page.html reads the data that `gallery_page` makes. The library may
come with a cloned game, so what the script uses as a number, a colour or a size is checked here.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import explain
from server.errors import LibraryError
from server.features.comparisons.compare import Comparisons
from server.library.files import write_below
from server.library.records import Asset
from server.library.store import Library

if TYPE_CHECKING:
    from pipelines.records import Recipe

PAGE_SIZE = 500
"""Assets per page: about 2 kB each for sprites, so that a page opens quickly."""
_LARGEST_SIDE = 8192
"""Pixels; a canvas of a larger side is not shown by browsers."""
_MAPS = ("preview.png", "preview.numbered.png")
"""Pictures of an asset in use: a tileset's map, a kit's window, an atlas's numbered frames."""
_COLOR = re.compile(r"[0-9a-f]{6}")


def page_name(page: int) -> str:
    """Returns the file name of a page: gallery.html, gallery-2.html, ..."""
    return "gallery.html" if page == 1 else f"gallery-{page}.html"


def gallery_page(
    library: Library,
    project: str = "",
    comparisons: Sequence[dict[str, Any]] = (),
    vote_url: str = "",
    page: int = 1,
    *,
    links: bool = True,
) -> str:
    """Returns the HTML of a page, the newest `PAGE_SIZE` assets first. Assets whose files are gone are left out.

    Args:
        comparisons: each {id, prompt, options: [{key, label, png, width, height}], voted (a key or None)}.
        page: from 1; one after the last page shows no assets.
        links: whether the other pages can be opened from this one.
    """
    assets, total = library.find(limit=PAGE_SIZE, offset=(page - 1) * PAGE_SIZE)
    pages = max(1, -(-total // PAGE_SIZE))
    veiled = Comparisons(library).veiled()
    deployed: dict[str, list[str]] = {}
    for entry in library.deployments(asset_ids=[a.id for a in assets], limit=10_000) if assets else ():
        deployed.setdefault(entry.asset_id, []).append(f"assets/{entry.path}")
    entries = (asset_entry(library, asset, deployed.get(asset.id, []), veiled=asset.id in veiled) for asset in assets)
    data = {
        "project": project,
        "vote_url": vote_url,
        "page": page,
        "pages": [page_name(number) for number in range(1, pages + 1)] if links else [],
        "total": total,
        "assets": [entry for entry in entries if entry],
        "comparisons": list(comparisons) if page == 1 else [],
    }
    # "<" never stands in the data: a prompt that holds "</script>" stays text.
    text = json.dumps(data, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    return _template().replace("/*DATA*/", text)


def write_gallery(library: Library, project: str = "", comparisons: Sequence[dict[str, Any]] = ()) -> Path:
    """Writes all pages into the library's folder and returns the path of the first, `gallery.html`.

    Raises:
        LibraryError: the folder cannot be written.
    """
    pages = max(1, -(-library.find(limit=0)[1] // PAGE_SIZE))
    path = library.folder / page_name(1)
    try:
        for page in range(pages, 0, -1):
            text = gallery_page(library, project, comparisons, page=page)
            write_below(library.folder, page_name(page), data=text.encode())
        for old in library.folder.glob("gallery-*.html"):  # of a time with more assets
            if old.stem.removeprefix("gallery-").isdecimal() and int(old.stem.removeprefix("gallery-")) > pages:
                old.unlink(missing_ok=True)
    except OSError as error:
        raise LibraryError(f"The gallery cannot be written. {explain(error, path)}") from error
    return path


@cache
def _template() -> str:
    return resources.files("server.gallery").joinpath("page.html").read_text(encoding="utf-8")


def data_uri(png: bytes) -> str:
    """Returns the picture as a data URI."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def asset_entry(library: Library, asset: Asset, deployed: Sequence[str], *, veiled: bool) -> dict[str, Any] | None:
    """Returns what a page shows of an asset, or None where its files are gone or broken.

    `deployed` are paths in the game; `veiled` hides what drew it, until the blind comparison has a vote.
    """
    try:
        png = library.read(asset)
        names = [f.name for f in asset.files] if asset.kind in ("tileset", "sheet") else []
        preview_map = next((name for name in names if name in _MAPS), None)
        map_png = library.read(asset, preview_map) if preview_map else b""
        normal = library.read(asset, "normal.png") if "normal.png" in names else b""
        pieces = _pieces(library.read(asset, "ui.json")) if "ui.json" in names else {}
    except LibraryError:
        return None
    width, height = int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")
    if not (0 < width <= _LARGEST_SIDE and 0 < height <= _LARGEST_SIDE):
        return None
    palette = asset.details.get("palette") or list(asset.recipe.palette)
    folder = library.path(asset).parent
    return {
        "id": asset.id,
        "kind": asset.kind,
        "prompt": asset.recipe.prompt,
        "created": datetime.fromtimestamp(asset.created, UTC).isoformat(timespec="seconds"),
        "width": width,
        "height": height,
        "png": data_uri(png),
        "map": data_uri(map_png) if map_png else None,
        "normal": data_uri(normal) if normal and normal[16:24] == png[16:24] else None,
        "pieces": pieces,
        "sheet": _sheet(asset.details.get("sheet")),
        "palette": [c for c in palette if isinstance(c, str) and _COLOR.fullmatch(c)]
        if isinstance(palette, list)
        else [],
        "gates": _object(asset.report.get("gates")),
        "scores": _object(asset.report.get("scores")),
        "recipe": _recipe(asset.recipe, veiled=veiled),
        "paths": [*(f"{folder}/{file.name}" for file in asset.files), *deployed],
    }


def _pieces(data: bytes) -> dict[str, Any]:
    """The nine patches of a kit by name, rectangle and insets as four numbers each; none where a value is not one."""
    try:
        found = json.loads(data)["pieces"].items()
        pieces = {
            str(name): {
                "rect": [int(side) for side in piece["rect"]],
                "insets": [int(piece["insets"][side]) for side in ("left", "right", "top", "bottom")],
            }
            for name, piece in found
            if "insets" in piece
        }
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}
    fine = (p["rect"] + p["insets"] for p in pieces.values() if len(p["rect"]) == 4)
    whole = [all(0 <= value <= _LARGEST_SIDE for value in values) for values in fine]
    return pieces if len(whole) == len(pieces) and all(whole) else {}


def _sheet(sheet: Any) -> dict[str, Any] | None:
    """Returns the layout of a sheet that plays; None for sprites that were only arranged, or where it is malformed."""
    match sheet:
        case {"tile_size": [int() as width, int() as height], "columns": int() as columns, "animations": {**clips}} if (
            clips and 0 < width <= _LARGEST_SIDE and 0 < height <= _LARGEST_SIDE and columns > 0
        ):
            if all(_plays(clip) for clip in clips.values()):
                return sheet
    return None


def _plays(clip: Any) -> bool:
    match clip:
        case {"first": int(), "last": int(), "fps": int() | float() as fps}:
            return fps > 0
    return False


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _recipe(recipe: Recipe, *, veiled: bool) -> dict[str, Any]:
    """Returns the recipe as JSON values; `veiled`: without what distinguishes the variants of a blind comparison."""
    # dataclasses.asdict copies every value: half the time of a page
    if veiled:
        shown = {name: getattr(recipe, name) for name in ("kind", "prompt", "width", "height", "seed")}
        return shown | {"model": "shown after the vote"}
    loras = [{"name": lora.name, "weight": lora.weight} for lora in recipe.loras]
    return {field.name: getattr(recipe, field.name) for field in dataclasses.fields(recipe)} | {"loras": loras}

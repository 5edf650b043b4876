"""Puts a library into the results page: `page.html` with the data inside, pictures as data URIs, no network needed.

Owns the page's data form (the script in page.html reads it). Knows nothing of MCP or of HTTP.
"""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from server.errors import LibraryError
from server.features.comparisons.compare import Comparisons
from server.library.records import Asset
from server.library.store import Library, write_atomically

if TYPE_CHECKING:
    from pipelines.records import Recipe

PAGE_LIMIT = 500
"""The most assets on one page: about 1 kB each for sprites, so that the page stays light."""


def gallery_page(
    library: Library, project: str = "", comparisons: Sequence[dict[str, Any]] = (), vote_url: str = ""
) -> str:
    """The page's HTML. Assets whose files are gone are left out.

    Each comparison: {id, prompt, options: [{key, label, png, width, height}], voted (a key or None)}.
    """
    assets, _ = library.find(limit=PAGE_LIMIT)
    veiled = Comparisons(library).veiled()
    data = {
        "project": project,
        "vote_url": vote_url,
        "assets": [entry for asset in assets if (entry := _entry(library, asset, asset.id in veiled))],
        "comparisons": list(comparisons),
    }
    template = resources.files("server.gallery").joinpath("page.html").read_text(encoding="utf-8")
    # "<" never stands in the data: a prompt that holds "</script>" stays text.
    return template.replace("/*DATA*/", json.dumps(data, ensure_ascii=False).replace("<", "\\u003c"))


def write_gallery(library: Library, project: str = "", comparisons: Sequence[dict[str, Any]] = ()) -> Path:
    """Writes `gallery.html` into the library's folder and returns its path.

    Raises:
        LibraryError: the folder cannot be written.
    """
    path = library.folder / "gallery.html"
    try:
        library.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, gallery_page(library, project, comparisons).encode())
    except OSError as error:
        raise LibraryError(f"The gallery cannot be written to {path}: {error.strerror}. Free some room.") from error
    return path


def data_uri(png: bytes) -> str:
    """The picture as a data URI."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _entry(library: Library, asset: Asset, veiled: bool) -> dict[str, Any] | None:
    """What the page says of an asset; `veiled`: not what drew it, which a blind comparison is still to ask."""
    try:
        png = library.read(asset)
    except LibraryError:
        return None
    width, height = int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")
    deployed = library.deployments(asset_ids=[asset.id])
    preview_map = next((f.name for f in asset.files if asset.kind == "tileset" and f.name == "preview.png"), None)
    sheet = asset.details.get("sheet") or {}
    return {
        "id": asset.id,
        "kind": asset.kind,
        "prompt": asset.recipe.prompt,
        "created": datetime.fromtimestamp(asset.created, UTC).isoformat(timespec="seconds"),
        "width": width,
        "height": height,
        "png": data_uri(png),
        "map": data_uri(library.read(asset, preview_map)) if preview_map else None,
        "sheet": sheet if sheet.get("animations") else None,  # sprites that were only arranged are shown as they lie
        "palette": asset.details.get("palette") or list(asset.recipe.palette),
        "gates": asset.report.get("gates", {}),
        "scores": asset.report.get("scores", {}),
        "recipe": _veil(asset.recipe) if veiled else dataclasses.asdict(asset.recipe),
        "paths": [str(library.path(asset, f.name)) for f in asset.files] + [f"assets/{d.path}" for d in deployed],
    }


def _veil(recipe: Recipe) -> dict[str, Any]:
    """The recipe without what tells variants apart."""
    same = {"kind", "prompt", "width", "height", "seed"}
    told = {name: value for name, value in dataclasses.asdict(recipe).items() if name in same}
    return told | {"model": "told after the vote"}

"""Define the operations of workflow steps: the features by their tools' names, and a few that lay out data.

Arguments are the features' request models, results are JSON values. Every operation may be called again with the same
arguments: assets have content-hash ids, deploys skip identical bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from server.errors import ServerError
from server.features.recipes import of_the_game
from server.features.requests import (
    AnimationRequest,
    DeployRequest,
    EditRequest,
    FixRequest,
    PackRequest,
    Request,
    SliceRequest,
    SpriteRequest,
    TilesetRequest,
    UiRequest,
)
from server.features.save import save_asset
from server.project.game import matches
from workflows.errors import WorkflowError
from workflows.inputs import distinct_names, distinct_paths, inside
from workflows.runner import Operation

if TYPE_CHECKING:
    from pipelines.records import OnProgress
    from server.features.sprites import Drawn
    from server.library.records import Asset
    from server.project.game import Project
    from server.studio import Studio

BATCH = 8
"""Sprites of a step that are drawn in one request."""

MOST_ROWS = 2000
"""Rows of one table after `expand`: a typo must not start a day's work."""


class DeployStep(DeployRequest):
    """A deployment that does not ask the running game unless the step says so."""

    verify: bool = False


class Arrange(Request):
    """Sprites of one size side by side. `asset_ids`: ids, or results that have one."""

    asset_ids: list[Any]
    title: str = "sheet"
    columns: int = 0


class Expand(Request):
    """Each row `variations` times, with names that stay distinct and seeds one after another."""

    rows: list[Any]
    variations: int = Field(default=1, ge=1, le=64)
    seed: int | None = None


class ListFiles(Request):
    """Pictures of a folder and its sub-folders (the default), or what a pattern such as `*.png` finds, in any case."""

    folder: str
    pattern: str = ""


def operations(studio: Studio, project: Project) -> dict[str, Operation[Any]]:
    """Returns every operation by name, for the game."""
    root = project.title

    def sprite(request: SpriteRequest, on_progress: OnProgress) -> dict[str, Any]:
        from server.features.sprites import generate_sprites

        request = of_the_game(project, request, "generate_sprite")
        return _sprite(studio, project, generate_sprites(studio, request, on_progress, project=root).sprites[0])

    def sprites(requests: Sequence[SpriteRequest], on_progress: OnProgress) -> list[Any]:
        from server.features.sprites import generate_each

        drawn = generate_each(studio, requests, on_progress, project=root)
        return [one if isinstance(one, Exception) else _sprite(studio, project, one) for one in drawn]

    def animation(request: AnimationRequest, on_progress: OnProgress) -> dict[str, Any]:
        from server.features.animations import generate_animation

        request = of_the_game(project, request, "generate_animation")
        done = generate_animation(studio, request, on_progress, project=root)
        return _asset(studio, project, done.asset) | ({"sprite_id": done.key.id} if done.key else {})

    def tileset(request: TilesetRequest, on_progress: OnProgress) -> dict[str, Any]:
        from server.features.tilesets import generate_tileset

        request = of_the_game(project, request, "generate_tileset")
        done = generate_tileset(studio, request, on_progress, project=root)
        return _asset(studio, project, done.asset) | {"tiles": len(done.tileset.tiles)}

    def ui(request: UiRequest, on_progress: OnProgress) -> dict[str, Any]:
        from server.features.ui import generate_ui

        done = generate_ui(studio, request, on_progress, project=root)
        return _asset(studio, project, done.asset) | {"pieces": list(done.kit.regions)}

    def packing(request: PackRequest, on_progress: OnProgress) -> dict[str, Any]:
        from server.features.packing import pack_sheet

        done = pack_sheet(studio, request, on_progress, project=root)
        return _asset(studio, project, done.asset) | {"frames": len(done.atlas.frames)}

    def edit(request: EditRequest, on_progress: OnProgress) -> dict[str, Any]:
        from server.features.edits import edit_sprite

        request = of_the_game(project, request, "edit_sprite")
        done = edit_sprite(studio, request, on_progress, project=root)
        return _asset(studio, project, done.asset) | {"changed_pixels": done.changed}

    def fix(request: FixRequest, on_progress: OnProgress) -> dict[str, Any]:
        from server.features.pixel_fix import fix_pixel_art

        on_progress(0, 1, "finishing")
        place = inside(request.picture, project.root, "fix_pixel_art.picture")
        if place.is_file():
            request = request.model_copy(update={"picture": str(place)})
        done = fix_pixel_art(studio, request, project=root)
        return _asset(studio, project, done.asset) | {"pitch": done.pitch}

    def deploy_one(request: DeployStep, on_progress: OnProgress) -> dict[str, Any]:
        from server.deploy.deploy import deploy_request

        done = deploy_request(studio, request, root)
        state = done.verification.state
        return {"asset_id": request.asset_id, "paths": list(done.paths), "state": done.state, "verification": state}

    def arrange(a: Arrange, on_progress: OnProgress) -> dict[str, Any]:
        return _arrange(studio, project, a)

    def expand(a: Expand, on_progress: OnProgress) -> dict[str, Any]:
        return {"rows": expand_rows(a.rows, a.variations, a.seed)}

    def list_files(a: ListFiles, on_progress: OnProgress) -> dict[str, Any]:
        return _list_files(project, a)

    def slice_one(request: SliceRequest, on_progress: OnProgress) -> dict[str, Any]:
        from server.features.slices import slice_sheet

        on_progress(0, 1, "cutting")
        place = inside(request.picture, project.root, "slice_sheet.picture")
        if place.is_file():
            request = request.model_copy(update={"picture": str(place)})
        if request.layout:
            layout = inside(request.layout, project.root, "slice_sheet.layout")
            request = request.model_copy(update={"layout": str(layout)})
        done = slice_sheet(studio, request, project=root)
        names = distinct_names([asset.recipe.prompt for asset in done.assets])
        sprites = [
            _asset(studio, project, asset) | {"name": name} for asset, name in zip(done.assets, names, strict=True)
        ]
        return {"asset_ids": [asset.id for asset in done.assets], "sprites": sprites, "how": done.how}

    return {
        "generate_sprite": Operation(SpriteRequest, sprite, sprites, BATCH),
        "generate_tileset": Operation(TilesetRequest, tileset),
        "generate_animation": Operation(AnimationRequest, animation),
        "generate_ui": Operation(UiRequest, ui),
        "pack_sheet": Operation(PackRequest, packing),
        "edit_sprite": Operation(EditRequest, edit),
        "fix_pixel_art": Operation(FixRequest, fix),
        "deploy_asset": Operation(DeployStep, deploy_one),
        "arrange": Operation(Arrange, arrange),
        "expand": Operation(Expand, expand),
        "list_files": Operation(ListFiles, list_files),
        "slice_sheet": Operation(SliceRequest, slice_one),
    }


def expand_rows(rows: list[Any], variations: int, seed: int | None) -> list[dict[str, Any]]:
    """Repeats each row `variations` times as {name, prompt, seed, ...}; names get a number where they would repeat.

    Raises:
        WorkflowError: more rows than MOST_ROWS.
    """
    if len(rows) * variations > MOST_ROWS:
        raise WorkflowError(f"{len(rows)} rows x {variations} variations are more than {MOST_ROWS}. Split the list.")
    taken: set[str] = set()
    expanded: list[dict[str, Any]] = []
    for row in rows:
        for variation in range(variations):
            base = str(row["name"]) if variation == 0 else f"{row['name']}_{variation + 1}"
            name, number = base, 1
            while name in taken:
                number += 1
                name = f"{base}_{number}"
            taken.add(name)
            own = int(row["seed"]) + variation if row.get("seed") else None if seed is None else seed + len(expanded)
            expanded.append({**row, "name": name, "seed": own})
    return expanded


def _list_files(project: Project, wanted: ListFiles) -> dict[str, Any]:
    """Lists pictures with distinct names, safe paths that keep the sub-folders. Other files are in `left_out`."""
    from loras.dataset import SUFFIXES

    folder = inside(wanted.folder, project.root, "list_files.folder")
    pattern = wanted.pattern.strip()
    if "\0" in pattern or {"..", "/"} & set(Path(pattern).parts):
        raise WorkflowError(
            "A pattern is relative to the folder and holds no '..': for example '*.png' or '**/*.png'.",
            where="list_files.pattern",
        )
    if not folder.is_dir() and project.elsewhere:
        raise WorkflowError(
            f"The files of {project.elsewhere.name} lie on another machine. Run this workflow there.",
            where="list_files.folder",
        )
    if not folder.is_dir():
        raise WorkflowError(f"There is no folder {wanted.folder} in {project.name}.", where="list_files.folder")
    if pattern and "[" not in pattern:  # .PNG is a picture too
        pattern = "".join(f"[{c.lower()}{c.upper()}]" if c.isascii() and c.isalpha() else c for c in pattern)
    try:
        listed = matches(folder, pattern or "**/*")
        found = sorted(f for f in listed if f.is_file() and f.resolve().is_relative_to(folder))
    except ValueError as error:
        raise WorkflowError(
            f"This pattern cannot be used: {error}. Write for example '*.png' or '**/*.png'.",
            where="list_files.pattern",
        ) from error
    shown = [f for f in found if not any(part.startswith(".") for part in f.relative_to(folder).parts)]
    files = shown if pattern else [f for f in shown if f.suffix.lower() in SUFFIXES]
    at = project.root.resolve()
    names = distinct_paths([f.relative_to(folder).with_suffix("").as_posix() for f in files])
    return {
        "files": [{"path": f.relative_to(at).as_posix(), "name": n} for f, n in zip(files, names, strict=True)],
        "left_out": [f.relative_to(at).as_posix() for f in shown if f not in set(files)][:50],
    }


def _sprite(studio: Studio, project: Project, drawn: Drawn) -> dict[str, Any]:
    return _asset(studio, project, drawn.asset) | {"unknown_words": list(drawn.unknown_words)}


def _asset(studio: Studio, project: Project, asset: Asset) -> dict[str, Any]:
    return {
        "asset_id": asset.id,
        "path": str(studio.library(project).path(asset).relative_to(project.root)),
        "prompt": asset.recipe.prompt,
        "seed": asset.recipe.seed,
        "width": asset.recipe.width,
        "height": asset.recipe.height,
        "passed": bool(asset.report.get("passed", True)),
    }


def _arrange(studio: Studio, project: Project, wanted: Arrange) -> dict[str, Any]:
    from dataclasses import replace

    from pipelines.animation.sheets import grid, layout_json
    from pipelines.pixels.gates import Report
    from pipelines.pixels.png import read_picture

    ids = [str(a["asset_id"]) if isinstance(a, dict) else str(a) for a in wanted.asset_ids]
    if not ids:
        raise ServerError("There is nothing to arrange: no sprite was made. Give at least one asset_id.")
    found = [studio.find_asset(asset_id, project) for asset_id in ids]
    sheet = grid([read_picture(home.read(asset)) for home, asset in found], wanted.columns)
    first = found[0][1]
    height, width = sheet.image.shape[:2]
    options = {"arranged": ids}
    recipe = replace(
        first.recipe, kind="sheet", prompt=" ".join(wanted.title.split()), width=width, height=height, options=options
    )
    asset = save_asset(
        studio.library(project),
        recipe,
        sheet.image,
        Report(),
        files={"layout.sheet.json": layout_json(sheet, "sheet.png")},
        details={"sheet": sheet.layout()},
    )
    return _asset(studio, project, asset) | {"tiles": len(ids), "columns": sheet.columns}


def runs_folder(project: Project) -> Path:
    """Returns where the game's runs are remembered."""
    return project.state / "runs"

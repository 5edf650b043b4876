"""What a workflow's step may do: the studio's features under their tools' names, and a few that only lay out data.

Owns arguments (pydantic models, whose JSON schemas the runner checks files against) and results as JSON values. Every
operation may be called again with the same arguments: assets have content-hash ids, deploys skip identical bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from server.errors import ServerError
from workflows.errors import WorkflowError
from workflows.inputs import file_word, inside
from workflows.load import path_of
from workflows.runner import Operation

if TYPE_CHECKING:
    from pipelines.records import OnProgress
    from server.library.records import Asset
    from server.project.game import Project
    from server.studio import Studio

BATCH = 8
"""Sprites of a step that are drawn at once."""

MOST_ROWS = 2000
"""Rows of one table after `expand`: a typo must not start a day's work."""


class _Arguments(BaseModel):
    model_config = ConfigDict(extra="forbid")


class GenerateSprite(_Arguments):
    prompt: str
    size: int | None = None
    width: int | None = None
    height: int | None = None
    seed: int | None = None
    model: str = ""
    preset: str = ""
    negative: str = ""
    palette: str = ""
    colors: int | None = None
    outline: str = ""
    candidates: int = 1


class GenerateAnimation(_Arguments):
    prompt: str = ""
    asset_id: str = ""
    motions: str | tuple[str, ...] = "idle,walk"
    frames: int = 4
    directions: int = 1
    fps: float = 8.0
    faces: str = "right"
    size: int | None = None
    seed: int | None = None
    model: str = ""
    palette: str = ""


class GenerateTileset(_Arguments):
    upper: str
    lower: str = ""
    tile_size: int | None = None
    layout: str = "wang16"
    border: str = "auto"
    method: str = "composite"
    axes: str = "both"
    variants: int = 4
    seed: int | None = None
    model: str = ""
    negative: str = ""
    palette: str = ""
    colors: int | None = None
    candidates: int | None = None


class EditSprite(_Arguments):
    asset_id: str
    prompt: str = ""
    strength: float = 0.5
    place: str = ""
    recolor: str = ""
    palette: str = ""
    width: int | None = None
    height: int | None = None
    seed: int | None = None
    model: str = ""


class FixPixelArt(_Arguments):
    picture: str
    width: int | None = None
    height: int | None = None
    pitch: float | None = None
    colors: int | None = None
    palette: str = ""
    ground: str = "keep"
    outline: str = "none"
    soft: str = "keep"


class DeployAsset(_Arguments):
    asset_id: str
    path: str = ""
    overwrite: bool = False
    verify: bool = False


class Arrange(_Arguments):
    """Sprites of one size side by side. `asset_ids`: ids, or results that have one."""

    asset_ids: list[Any]
    title: str = "sheet"
    columns: int = 0


class Expand(_Arguments):
    """Each row `variations` times, with names that stay distinct and seeds one after another."""

    rows: list[Any]
    variations: int = Field(default=1, ge=1, le=64)
    seed: int | None = None


class ListFiles(_Arguments):
    folder: str
    pattern: str = "*.png"


A = TypeVar("A", bound=_Arguments)


def operations(studio: Studio, project: Project) -> dict[str, Operation]:
    """Every operation by name, for the game."""
    root = str(project.root)

    def sprite(a: GenerateSprite, on_progress: OnProgress) -> dict[str, Any]:
        from server.features.sprites import generate_sprites

        done = generate_sprites(studio, _words(a.prompt), on_progress, project=root, **a.model_dump(exclude={"prompt"}))
        return _asset(studio, project, done.sprites[0].asset) | {"unknown_words": list(done.unknown_words)}

    def sprites(wanted: Sequence[GenerateSprite], on_progress: OnProgress) -> list[Any]:
        from server.features.sprites import generate_each

        drawn = generate_each(studio, [a.model_dump() for a in wanted], on_progress, project=root)
        return [
            one
            if isinstance(one, Exception)
            else _asset(studio, project, one.asset) | {"unknown_words": list(one.unknown_words)}
            for one in drawn
        ]

    def animation(a: GenerateAnimation, on_progress: OnProgress) -> dict[str, Any]:
        from server.features.animations import generate_animation, motions_of

        wanted = a.model_dump(exclude={"motions"})
        done = generate_animation(studio, on_progress, motions=motions_of(a.motions), project=root, **wanted)
        return _asset(studio, project, done.asset) | {"sprite_id": done.key.id}

    def tileset(a: GenerateTileset, on_progress: OnProgress) -> dict[str, Any]:
        from server.features.tilesets import generate_tileset

        wanted = a.model_dump(exclude={"upper", "lower"})
        done = generate_tileset(studio, _words(a.upper), a.lower, on_progress, project=root, **wanted)
        return _asset(studio, project, done.asset) | {"tiles": len(done.tileset.tiles)}

    def edit(a: EditSprite, on_progress: OnProgress) -> dict[str, Any]:
        from server.features.edits import edit_sprite, parse_recolor

        wanted = a.model_dump(exclude={"asset_id", "recolor"})
        recolor = parse_recolor(a.recolor) if a.recolor else None
        done = edit_sprite(studio, a.asset_id, on_progress, recolor=recolor, project=root, **wanted)
        return _asset(studio, project, done.asset) | {"changed_pixels": done.changed}

    def fix(a: FixPixelArt, on_progress: OnProgress) -> dict[str, Any]:
        from server.features.pixel_fix import fix_pixel_art

        on_progress(0, 1, "finishing")
        place = inside(a.picture, project.root, "fix_pixel_art.picture")
        picture = str(place) if place.is_file() else a.picture
        done = fix_pixel_art(studio, picture, project=root, **a.model_dump(exclude={"picture"}))
        return _asset(studio, project, done.asset) | {"pitch": done.pitch}

    def deploy_one(a: DeployAsset, on_progress: OnProgress) -> dict[str, Any]:
        from server.deploy.deploy import deploy

        done = deploy(studio, a.asset_id, a.path, root, overwrite=a.overwrite, verify=a.verify)
        state = done.verification.state
        return {"asset_id": a.asset_id, "paths": list(done.paths), "state": done.state, "verification": state}

    def arrange(a: Arrange, on_progress: OnProgress) -> dict[str, Any]:
        return _arrange(studio, project, a)

    def expand(a: Expand, on_progress: OnProgress) -> dict[str, Any]:
        return {"rows": expand_rows(a.rows, a.variations, a.seed)}

    def list_files(a: ListFiles, on_progress: OnProgress) -> dict[str, Any]:
        folder = inside(a.folder, project.root, "list_files.folder")
        if not a.pattern or "\0" in a.pattern or {"..", "/"} & set(Path(a.pattern).parts):
            raise WorkflowError(
                "A pattern is relative to the folder and holds no '..': for example '*.png' or '**/*.png'.",
                where="list_files.pattern",
            )
        if not folder.is_dir():
            raise WorkflowError(f"There is no folder {a.folder} in {project.name}.", where="list_files.folder")
        files = sorted(f for f in folder.glob(a.pattern) if f.is_file() and f.resolve().is_relative_to(folder))
        at = project.root.resolve()
        return {"files": [{"path": f.relative_to(at).as_posix(), "name": file_word(f.stem)} for f in files]}

    return {
        "generate_sprite": _operation(GenerateSprite, sprite, sprites, BATCH),
        "generate_tileset": _operation(GenerateTileset, tileset),
        "generate_animation": _operation(GenerateAnimation, animation),
        "edit_sprite": _operation(EditSprite, edit),
        "fix_pixel_art": _operation(FixPixelArt, fix),
        "deploy_asset": _operation(DeployAsset, deploy_one),
        "arrange": _operation(Arrange, arrange),
        "expand": _operation(Expand, expand),
        "list_files": _operation(ListFiles, list_files),
    }


def expand_rows(rows: list[Any], variations: int, seed: int | None) -> list[dict[str, Any]]:
    """Each row `variations` times: {name, prompt, seed, ...}; names get a number where they would repeat.

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


def _operation(
    form: type[A],
    run: Callable[[A, OnProgress], dict[str, Any]],
    run_many: Callable[[Sequence[A], OnProgress], Sequence[Any]] | None = None,
    batch: int = 1,
) -> Operation:
    def parse(arguments: Mapping[str, Any]) -> A:
        try:
            return form.model_validate(arguments)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise WorkflowError(first["msg"], where=path_of(first["loc"])) from error

    def call(arguments: Mapping[str, Any], on_progress: OnProgress) -> dict[str, Any]:
        return run(parse(arguments), on_progress)

    def call_many(several: Sequence[Mapping[str, Any]], on_progress: OnProgress) -> list[Any]:
        assert run_many is not None
        outcomes: list[Any] = []
        for arguments in several:
            try:
                outcomes.append(parse(arguments))
            except WorkflowError as error:
                outcomes.append(error)
        good = [i for i, outcome in enumerate(outcomes) if not isinstance(outcome, Exception)]
        for i, result in zip(good, run_many([outcomes[i] for i in good], on_progress) if good else (), strict=True):
            outcomes[i] = result
        return outcomes

    return Operation(call, form.model_json_schema(), call_many if run_many else None, batch)


def _words(prompt: str) -> str:
    words = " ".join(prompt.split())
    if not words:
        raise ServerError("The prompt is empty. Say what to draw.")
    return words


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
    from pipelines.pixels.png import encode_png, read_picture

    ids = [str(a["asset_id"]) if isinstance(a, dict) else str(a) for a in wanted.asset_ids]
    if not ids:
        raise ServerError("There is nothing to arrange: no sprite was made.")
    found = [studio.find_asset(asset_id, project) for asset_id in ids]
    sheet = grid([read_picture(home.read(asset)) for home, asset in found], wanted.columns)
    first = found[0][1]
    height, width = sheet.image.shape[:2]
    options = {"arranged": ids}
    recipe = replace(
        first.recipe, kind="sheet", prompt=" ".join(wanted.title.split()), width=width, height=height, options=options
    )
    files = {
        "sheet.png": encode_png(sheet.image, recipe.to_json()),
        "layout.sheet.json": layout_json(sheet, "sheet.png"),
    }
    report = {"passed": True, "gates": {}, "scores": {}}
    asset = studio.library(project).add("sheet", files, recipe, report, {"sheet": sheet.layout(), "palette": []})
    return _asset(studio, project, asset) | {"tiles": len(ids), "columns": sheet.columns}


def runs_folder(project: Project) -> Path:
    """Where the game's runs are remembered."""
    return project.state / "runs"

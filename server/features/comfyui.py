"""Take an asset to ComfyUI as an API workflow, and a workflow back as a sprite."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import InvalidRequest, explain
from server.errors import ServerError
from server.features.recipes import palette_colors
from server.features.sprites import Drawn, keep_sprite
from server.project.game import local_weights
from server.project.style import Style

if TYPE_CHECKING:
    from pipelines.records import OnProgress
    from server.studio import Studio
    from workflows.comfyui.export import Exported, ModelFile
    from workflows.comfyui.read import Imported

LORAS = "dgx-pixels"
"""The folder in ComfyUI's models/loras that shows the LoRAs of this machine."""


@dataclass(frozen=True, slots=True)
class Linked:
    """The files that ComfyUI finds now, and those that a user has to bring."""

    made: tuple[Path, ...]
    missing: tuple[ModelFile, ...]


def templates() -> dict[str, str]:
    """Returns name -> text of the ComfyUI workflows that ship."""
    from importlib import resources

    files = (f for f in resources.files("workflows.comfyui").iterdir() if f.name.endswith(".json"))
    return {f.name.removesuffix(".json"): f.read_text(encoding="utf-8") for f in sorted(files, key=lambda f: f.name)}


def export_comfyui(studio: Studio, asset_id: str, *, project: str | None = None, checkpoint: str = "") -> Exported:
    """Returns the workflow that draws an asset's recipe in ComfyUI.

    Raises:
        LibraryError: there is no such asset.
        InvalidRequest: an asset or a model that cannot be drawn there.
        ProjectError: the asset's recipe comes with a game and names a file outside of it.
        AdapterError: a LoRA of the recipe is not here any more.
    """
    from workflows.comfyui.export import export_recipe

    home, asset = studio.find_asset(asset_id, studio.project(project))
    if home is not studio.library(None):  # a game's database may come from anywhere
        loras = tuple(lora.name for lora in asset.recipe.loras)
        local_weights(home.folder.parent, asset.recipe.model, loras, f"The recipe of {asset.id}")
    return export_recipe(asset.recipe, lambda name: studio.loras.find(name).path, checkpoint)


def link_models(comfyui: Path, files: Sequence[ModelFile], loras: Path) -> Linked:
    """Makes symbolic links in a ComfyUI's models/ to the files that are on this machine; what is there stays.

    `models/loras/dgx-pixels` links to the whole folder of LoRAs, so later ones appear in ComfyUI as well.

    Raises:
        ServerError: not a ComfyUI folder, something else has the link's name, or links cannot be made there.
    """
    models = comfyui / "models"
    if not (models / "checkpoints").is_dir() or not (models / "loras").is_dir():
        raise ServerError(f"{comfyui} is not a ComfyUI folder: it has no models/checkpoints and models/loras.")
    folder = models / "loras" / LORAS
    made: list[Path] = []
    missing: list[ModelFile] = []
    try:
        loras.mkdir(parents=True, exist_ok=True)
        if not folder.is_symlink() and not folder.exists():
            folder.symlink_to(loras.resolve(), target_is_directory=True)
            made.append(folder)
        if folder.resolve() != loras.resolve():
            raise ServerError(f"{folder} is there already and is not a link to {loras}. Move it away and ask again.")
        for file in files:
            if not (place := models / file.folder / file.name).exists():
                if file.source is None or place.is_symlink():
                    missing.append(file)
                    continue
                place.symlink_to(file.source.resolve())
                made.append(place)
    except OSError as error:
        raise ServerError(f"{explain(error)} Or copy the files there by hand.") from error
    return Linked(tuple(made), tuple(missing))


def import_comfyui(studio: Studio, file: Path, *, project: str | None = None, comfyui: Path | None = None) -> Imported:
    """Returns the recipe of a ComfyUI API workflow, or of a PNG that ComfyUI saved, in the game's palette and style.

    Args:
        studio: its LoRA folder says which LoRAs are here.
        file: a .json file, or a PNG with the workflow inside.
        project: the game's root; None: the game around the working directory.
        comfyui: a ComfyUI folder, in whose models/checkpoints the checkpoint is looked for.

    Raises:
        InvalidRequest: the file cannot be used.
    """
    from workflows.comfyui.read import read_workflow

    def find_checkpoint(name: str) -> str:
        if comfyui is None:
            return ""
        folder = comfyui / "models" / "checkpoints"
        place = Path(os.path.normpath(folder / name))  # a link in the folder may lead out; the name may not
        inside = place.is_relative_to(folder) and place.suffix == ".safetensors"
        return str(place.resolve()) if inside and place.is_file() else ""

    known = {lora.name for lora in studio.loras.list() if lora.state == "available"}
    read = read_workflow(_text(file), file.name, known, find_checkpoint)
    game = studio.project(project)
    style = game.style if game else Style()
    own = {"palette": palette_colors(game), "colors": style.colors, "outline": style.outline}
    return replace(read, recipe=replace(read.recipe, **own))


def draw_imported(studio: Studio, imported: Imported, on_progress: OnProgress, *, project: str | None = None) -> Drawn:
    """Draws an imported recipe and keeps the sprite in the game's library.

    Raises:
        PipelineError: the model is not here, or the drawing was cancelled.
    """
    from pipelines.sprites.draw import draw_sprites

    library = studio.library(studio.project(project))
    sprite = draw_sprites(studio.engine, imported.recipe, 1, on_progress)[0]
    return keep_sprite(studio, library, sprite)


def _text(file: Path) -> str:
    from pipelines.pixels.png import open_picture
    from pipelines.text_files import read_text

    if file.suffix.lower() != ".png":
        return read_text(file)
    with open_picture(file) as picture:
        text = picture.info.get("prompt")
    if not isinstance(text, str):
        raise InvalidRequest(f"{file.name} holds no ComfyUI workflow: ComfyUI writes one unless its metadata are off.")
    return text

"""Start the training of a LoRA on a game's art: find the pictures, choose the options, make room on the device."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.files import user_path
from server.errors import ServerError
from server.project.game import Project
from server.project.style import Style
from server.storage import check_storage

if TYPE_CHECKING:
    from loras.dataset import Dataset
    from loras.jobs import Job
    from server.features.requests import TrainRequest
    from server.studio import Studio


def start_training(studio: Studio, request: TrainRequest, *, project: str | None = None) -> tuple[Job, Dataset]:
    """Starts a training job and returns it with the pictures that it learns from.

    The pictures are read here first, so that errors in them are reported before the job starts. The dataset is relative
    to the game's root.

    Raises:
        ServerError, ProjectError: no pictures were named and no game was found, or the user's storage is full.
        DatasetError, TrainingError, JobError: see `loras.errors`.
        ModelError: the model does not exist.
    """
    from loras.dataset import read_dataset
    from loras.jobs import JobSpec
    from loras.options import TrainOptions, options_for, parse_options
    from pipelines.models.catalog import find_model

    check_storage()
    game = studio.project(project)
    source = dataset_path(game, request.dataset)
    named = find_model(studio.model(game.style if game else Style(), request.model))
    numbers = {field.name for field in fields(TrainOptions)} & type(request).model_fields.keys()
    more = parse_options(request.options)
    options = options_for(named, **request.model_dump(include=numbers) | more)
    tile_size = (request.tile_size, request.tile_size) if request.tile_size else None
    pictures = read_dataset(source, tile_size)
    spec = JobSpec(
        name=request.name or _name(game, source),
        dataset=str(source),
        model=named.id,
        output=str((studio.settings.data_dir / "loras").absolute()),
        options=options,
        trigger=request.trigger,
        tile_size=tile_size,
        prompts=request.prompts or (),
    )
    make_room(studio, named.id)
    return studio.jobs.start(spec), pictures


def dataset_path(game: Project | None, dataset: str) -> Path:
    """Returns the absolute path of the pictures.

    Raises:
        ServerError: no dataset was named, and no game was found or it is on another machine.
    """
    if game and game.elsewhere and not dataset:
        raise ServerError(
            f"The pictures of {game.elsewhere.name} lie on another machine. Send a sheet of them: "
            "dataset='data:image/png;base64,...' with tile_size."
        )
    if dataset:
        return ((game.root if game else Path.cwd()) / user_path(dataset)).absolute()
    if game is None:
        raise ServerError(
            "No pictures were named and no game was found. Give dataset='/path/to/sprites', or project='/path/to/game' "
            "to learn from its assets folder."
        )
    return game.assets


def make_room(studio: Studio, model: str) -> None:
    """Unloads the model from a GPU that training is about to use; a drawing in progress ends first.

    Later drawings continue during the training: other models immediately, the same one after it was loaded again. Where
    there is not enough memory for both, the drawing fails with a message. On a CPU nothing is unloaded: the worker
    runs at a low priority.
    """
    if not studio.awake or studio.engine.size > 1:  # a training has a place of its own in a cluster
        return
    with studio.engine.lease(f"making room to train {model}") as backend:
        described = backend.describe()
        resident = [entry.get("model") for entry in described.get("resident", ())]
        if str(described.get("device", "")).startswith("cuda") and model in resident:
            backend.unload(model)


def _name(game: Project | None, source: Path) -> str:
    import re

    words = re.sub(r"[^a-z0-9]+", "_", (game.name if game else source.stem).lower()).strip("_")
    return words[:48].rstrip("_") or "style"

"""Teaching a LoRA from a game's art: which pictures, which options, room on the device. Trains nothing itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.files import user_path
from server.errors import ServerError
from server.project.game import Project, Style

if TYPE_CHECKING:
    from loras.dataset import Dataset
    from loras.jobs import Job
    from server.studio import Studio


def start_training(
    studio: Studio,
    dataset: str,
    name: str,
    *,
    project: str | None = None,
    model: str = "",
    trigger: str = "",
    prompts: tuple[str, ...] = (),
    tile_size: tuple[int, int] | None = None,
    **options: Any,
) -> tuple[Job, Dataset]:
    """Reads the pictures, so that what is wrong with them is said now, and starts the job.

    Args:
        dataset: a folder or sheet, relative to the game's root; empty: the game's assets.
        name: of the LoRA; empty: the game's name.
        options: fields of `loras.options.TrainOptions`; None: what suits the model.

    Raises:
        ServerError, ProjectError: no pictures were named and there is no game.
        DatasetError, TrainingError, JobError: see `loras.errors`.
        ModelError: there is no such model.
    """
    from loras.dataset import read_dataset
    from loras.jobs import JobSpec
    from loras.options import options_for
    from pipelines.models.catalog import find_model

    game = studio.project(project)
    source = dataset_path(game, dataset)
    named = find_model(studio.model(game.style if game else Style(), model))
    wanted = options_for(named, **options)
    pictures = read_dataset(source, tile_size)
    spec = JobSpec(
        name=name or _name(game, source),
        dataset=str(source),
        model=named.id,
        output=str((studio.settings.data_dir / "loras").absolute()),
        options=wanted,
        trigger=" ".join(trigger.split()),
        tile_size=tile_size,
        prompts=prompts,
    )
    make_room(studio, named.id)
    return studio.jobs.start(spec), pictures


def dataset_path(game: Project | None, dataset: str) -> Path:
    """Where the pictures are.

    Raises:
        ServerError: nothing was named and there is no game.
    """
    if dataset:
        return ((game.root if game else Path.cwd()) / user_path(dataset)).absolute()
    if game is None:
        raise ServerError(
            "No pictures were named and no game was found. Give dataset='/path/to/sprites', or project='/path/to/game' "
            "to learn from its assets folder."
        )
    return game.assets


def make_room(studio: Studio, model: str) -> None:
    """Takes the model off a GPU that training is about to need; what is being drawn ends first.

    Drawing goes on meanwhile: another model at once, the same one after loading it again where there is room for both,
    else with words that say so. On a CPU nothing has to move: the trainer is nice.
    """
    if not studio.awake:
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

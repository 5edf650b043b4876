"""Run workflows for a game: the runner of `workflows` with the studio's operations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from server.features.workflow_operations import operations, runs_folder
from workflows.errors import WorkflowError
from workflows.load import check_operations, read, shipped
from workflows.runner import RunResult, run_workflow
from workflows.schema import Workflow

if TYPE_CHECKING:
    from pipelines.records import OnProgress, Pixels
    from server.project.game import Project
    from server.studio import Studio

MOST_PICTURES = 16
"""Pictures of one run that are shown to an assistant."""


@dataclass(frozen=True, slots=True, eq=False)
class Ran:
    """A run that ended: its game, workflow and result, and the results page that shows the library with it."""

    project: Project
    workflow: Workflow
    result: RunResult
    page: str


def run(
    studio: Studio, name_or_path: str, given: Mapping[str, Any], on_progress: OnProgress, project: str | None = None
) -> Ran:
    """Runs a shipped workflow, or a file, for a game; resumes an unfinished run of the same inputs.

    Raises:
        ProjectError: no game was found.
        WorkflowError: the workflow, an input or a single step cannot be used; says where.
    """
    from server.gallery.build import write_gallery

    game = studio.require_project(project)
    workflow, text = read(_found(name_or_path, game))
    result = run_workflow(
        workflow,
        text,
        given,
        operations(studio, game),
        game.root,
        runs_folder(game),
        on_progress,
    )
    return Ran(game, workflow, result, str(write_gallery(studio.library(game), game.name)))


def check(studio: Studio, name_or_path: str, project: str | None = None) -> Workflow:
    """Returns the workflow, held to the operations there are, without running it.

    Raises:
        ProjectError, WorkflowError: as `run`.
    """
    game = studio.require_project(project)
    workflow, text = read(_found(name_or_path, game))
    check_operations(workflow, {name: op.form for name, op in operations(studio, game).items()}, text)
    return workflow


def pictures(studio: Studio, ran: Ran) -> dict[str, Pixels]:
    """Returns the pictures of the run's outputs by asset id, the first MOST_PICTURES."""
    from pipelines.pixels.png import read_picture

    shown = {}
    for asset_id in dict.fromkeys(_asset_ids(ran.result.outputs)):
        home, asset = studio.find_asset(asset_id, ran.project)
        shown[asset_id] = read_picture(home.read(asset))
        if len(shown) == MOST_PICTURES:
            break
    return shown


def _found(name_or_path: str, game: Project) -> str:
    """Returns the name of a workflow that ships, or the path of a file of the game (relative: to its root).

    Raises:
        WorkflowError: the file is outside the game.
    """
    if name_or_path in shipped() or not (game.root / name_or_path).is_file():
        return name_or_path
    path = (game.root / name_or_path).resolve()
    if not path.is_relative_to(game.root):
        raise WorkflowError(f"{name_or_path} is outside the game {game.root}. Copy it into the game and name it there.")
    return str(path)


def _asset_ids(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        if "asset_id" in value:
            yield str(value["asset_id"])
        else:
            for item in value.values():
                yield from _asset_ids(item)
    elif isinstance(value, list):
        for item in value:
            yield from _asset_ids(item)

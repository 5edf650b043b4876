"""Deploy an asset into a game, and undo it. Whether the running game shows it is asked in `server.deploy.bevy`.

The picture is put first, then the files that refer to it, all of them or none (`server.deploy.bundle`,
`server.deploy.journal`). Identical files are left alone, replaced bytes are kept for undo, and nothing is replaced
unless the request says so.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from pipelines import tracing
from server.deploy.bundle import Bundle, Done, Verify, Witness, put, take_back
from server.deploy.paths import check_path, suggest_path
from server.library.records import Asset, Deployment, Verification
from server.project.game import Project
from server.tally import TALLY

if TYPE_CHECKING:
    from server.features.requests import DeployRequest
    from server.studio import Studio

__all__ = ["Deployed", "Verify", "Witness", "deploy", "deploy_request", "undo"]

_TEXT = (".json", ".tsx", ".tmx", ".ldtk", ".ron", ".toml", ".fnt")


@dataclass(frozen=True, slots=True)
class Deployed:
    """What a deploy did. `state`: written, replaced, identical (nothing had to be done) or undone.

    `files`: path in assets/ -> bytes of what is in place now.
    """

    project: Project
    asset_id: str
    paths: tuple[str, ...]
    state: str
    verification: Verification
    seconds: float
    files: Mapping[str, bytes]
    deployment: Deployment | None = None


def default_path(asset: Asset, project: Project) -> str:
    """Returns the path of a deploy that names none: the style's folder for this kind, and a name from the prompt."""
    folders = project.style.folders
    folder = folders.tilesets if asset.kind == "tileset" else folders.sprites
    name = suggest_path(asset.recipe.prompt.replace("/", " "))
    return f"{folder}/{name}" if folder else name


def deployed_names(asset: Asset, path: str) -> dict[str, str]:
    """Maps the asset's file names to paths in assets/. Previews, animations and Aseprite files stay in the library.

    The picture takes `path`; another file takes its stem with its own ending (`layout.json` -> `hero.json`), or, where
    that is taken, its own name behind the stem (`strip.png` -> `hero_strip.png`).
    """
    stem = path.removesuffix(".png")
    names: dict[str, str] = {asset.files[0].name: path}
    for file in asset.files[1:]:
        if file.name.startswith(("preview.", "animation.")) or file.name.endswith(".aseprite"):
            continue  # a game plays the sheet; an .aseprite in assets/ may be the user's own
        suffix = "".join(PurePosixPath(file.name).suffixes)
        place = stem + suffix
        names[file.name] = f"{stem}_{file.name}" if place in names.values() else place
    return names


def deploy_request(studio: Studio, request: DeployRequest, project: str | None = None) -> Deployed:
    """Deploys as a tool, a command or a workflow asks; see `deploy`."""
    return deploy(studio, request.asset_id, request.path, project, overwrite=request.overwrite, verify=request.verify)


@tracing.traced("deploy")
def deploy(
    studio: Studio,
    asset_id: str,
    path: str = "",
    project: str | None = None,
    *,
    overwrite: bool = False,
    verify: bool = True,
    witness: Witness | None = None,
) -> Deployed:
    """Writes the asset's files into the game's assets folder.

    Args:
        asset_id: what to write.
        path: where, relative to assets/, ending in .png; empty: `default_path`.
        project: the game's root; None: found.
        overwrite: whether files that hold something else may be replaced.
        verify: whether to ask the running game.
        witness: asks the game; None: `server.deploy.bevy` does.

    Raises:
        ProjectError, LibraryError: the game or asset does not exist, or the library cannot be written.
        DeployError: the path breaks the rules, a file is in the way, or the disk refuses; nothing was changed then.
    """
    started = time.perf_counter()
    game = studio.require_project(project)
    home, asset = studio.find_asset(asset_id, game)
    place = check_path(path or default_path(asset, game))
    names = deployed_names(asset, place)
    files = {path: _refer(home.read(asset, name), path, names) for name, path in names.items()}
    bundle = Bundle(asset_id, place, files, overwrite, verify)
    if game.elsewhere:
        return _deployed(game, studio.remote.put(game, bundle), started)
    return _deployed(game, put(game, studio.library(game), bundle, witness=witness), started)


@tracing.traced("undo")
def undo(
    studio: Studio,
    path: str = "",
    project: str | None = None,
    *,
    overwrite: bool = False,
    verify: bool = True,
    witness: Witness | None = None,
) -> Deployed:
    """Undoes the last deployment, of one path where given: earlier bytes return, a file that was new is removed.

    Args:
        path: the picture's path relative to assets/; empty: the game's last deployment.
        project: the game's root; None: found.
        overwrite: whether to undo although a file was changed by something else since; that change is lost.
        verify, witness: as in `deploy`.

    Raises:
        ProjectError: no game was found.
        DeployError: nothing is left to undo, a file was changed since, or the disk refuses; nothing was changed then.
    """
    started = time.perf_counter()
    game = studio.require_project(project)
    if game.elsewhere:
        return _deployed(game, studio.remote.take_back(game, path, overwrite=overwrite, verify=verify), started)
    done = take_back(game, studio.library(game), path, overwrite=overwrite, verify=verify, witness=witness)
    return _deployed(game, done, started)


def _deployed(game: Project, done: Done, started: float) -> Deployed:
    seconds = time.perf_counter() - started
    TALLY.deployed(done.state, done.verification.state)
    return Deployed(
        game, done.asset_id, done.paths, done.state, done.verification, seconds, done.files, done.deployment
    )


def _refer(data: bytes, place: str, names: Mapping[str, str]) -> bytes:
    """Replaces the names of the asset's other files in a text file by the names that they have in assets/."""
    if not place.endswith(_TEXT):
        return data
    text = data.decode()
    for name, other in names.items():
        text = text.replace(f'"{name}"', f'"{other.rsplit("/", 1)[-1]}"')
    return text.encode()

"""Deploy an asset into a game, and undo it. Whether the running game shows it is asked in `server.deploy.bevy`.

The picture is put first, then the files that refer to it, all of them or none (`server.deploy.journal`). Identical
files are left alone, replaced bytes are kept for undo, and nothing is replaced unless the request says so.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from pipelines import tracing
from server.deploy.journal import assets_of, change, exclusive
from server.deploy.paths import check_deployed, check_path, in_the_way, suggest_path
from server.errors import DeployError, LibraryError
from server.library.records import Asset, Deployment, Verification
from server.library.rows import clip
from server.library.store import Library, sha256
from server.project.game import Project

if TYPE_CHECKING:
    from server.features.requests import DeployRequest
    from server.studio import Studio

logger = logging.getLogger(__name__)

Verify = Callable[[Mapping[str, bytes]], Verification]
Witness = Callable[[Project, tuple[str, ...]], Verify]
"""Called with the paths before anything is written (to record what the game shows); it returns a function that is
called with path -> bytes afterwards and returns what the game shows then."""
_TEXT = (".json", ".tsx", ".tmx", ".ldtk", ".ron", ".toml", ".fnt")


@dataclass(frozen=True, slots=True)
class Deployed:
    """What a deploy did. `state`: written, replaced, identical (nothing had to be done) or undone."""

    project: Project
    asset_id: str
    paths: tuple[str, ...]
    state: str
    verification: Verification
    seconds: float
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
    files |= _metas(game, files) if game.style.meta else {}
    for path in files:
        check_deployed(path)
    library = studio.library(game)
    assets = assets_of(game)
    answer = (witness or _game_witness)(game, tuple(files)) if verify else None
    with exclusive(assets, library):
        found = {path: assets.read(path) for path in files}
        changed = {path: (found[path], data) for path, data in files.items() if found[path] != data}
        replaced = [path for path in changed if found[path] is not None]
        if replaced and not overwrite:
            raise in_the_way(game.assets / replaced[0])
        deployment = change(assets, library, asset_id, place, changed, overwrite=overwrite) if changed else None
    verification = _proof(answer, files) if answer else Verification("not_asked", "The running game was not asked.")
    if deployment:
        _keep_verification(library, deployment, verification)
    state = "replaced" if replaced else "written" if changed else "identical"
    return Deployed(game, asset_id, tuple(files), state, verification, time.perf_counter() - started, deployment)


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
    library = studio.library(game)
    assets = assets_of(game)
    with exclusive(assets, library):
        deployment = _last(library, game, path)
        back = {file.path: library.kept(file.previous) if file.previous else None for file in deployment.files}
        found = {path: assets.read(path) for path in back}
        if not overwrite:
            for file in deployment.files:
                if found[file.path] is not None and sha256(found[file.path] or b"") not in (file.sha256, file.previous):
                    raise DeployError(_changed_since(library, game, deployment, file.path))
        restored = {path: data for path, data in back.items() if data is not None}
        answer = (witness or _game_witness)(game, tuple(restored)) if verify and restored else None
        changed = {path: (found[path], data) for path, data in back.items() if found[path] != data}
        change(assets, library, deployment.asset_id, deployment.path, changed, overwrite=True, undoes=deployment.id)
    paths = tuple(file.path for file in deployment.files)
    if answer:
        verification = _proof(answer, restored)
    elif restored:
        verification = Verification("not_asked", "The running game was not asked.")
    else:
        verification = Verification("not_asked", "A running game shows the removed file until it is started again.")
    took = time.perf_counter() - started
    return Deployed(game, deployment.asset_id, paths, "undone", verification, took, deployment)


def _proof(answer: Verify, files: Mapping[str, bytes]) -> Verification:
    with tracing.span("verify") as marks:
        verification = answer(files)
        marks.note(verification=verification.state)
    return verification


def _last(library: Library, game: Project, path: str) -> Deployment:
    """Returns the deployment that an undo takes back."""
    if found := library.deployments(path, limit=1):
        return found[0]
    what = f"of {clip(path, 80)} " if path else ""
    ignored = next((f"{row}: {reason}" for row, reason in library.ignored.items() if row.startswith("deployment")), "")
    note = f" Rows of library.sqlite that break a rule are ignored ({ignored})." if ignored else ""
    raise DeployError(f"No deployment {what}in {game.root} is left to undo. get_status lists the last ones.{note}")


def _changed_since(library: Library, game: Project, deployment: Deployment, path: str) -> str:
    later = next((d for d in library.deployments(limit=1000) if d.id > deployment.id and path in _paths(d)), None)
    if later:
        return (
            f"{game.assets / path} was deployed again with {later.path}. Undo that first: "
            f"undo_deploy(path='{later.path}')."
        )
    return (
        f"{game.assets / path} was changed after it was deployed. Give overwrite=true to undo it all the same; the "
        "changed file is lost then."
    )


def _paths(deployment: Deployment) -> set[str]:
    return {file.path for file in deployment.files}


def _keep_verification(library: Library, deployment: Deployment, verification: Verification) -> None:
    """Records the game's answer; the files are in place whether or not that succeeds."""
    try:
        library.set_verification(deployment.id, verification.state)
    except LibraryError as error:
        logger.warning("The verification of %s is not recorded: %s", deployment.path, error)


def _refer(data: bytes, place: str, names: Mapping[str, str]) -> bytes:
    """Replaces the names of the asset's other files in a text file by the names that they have in assets/."""
    if not place.endswith(_TEXT):
        return data
    text = data.decode()
    for name, other in names.items():
        text = text.replace(f'"{name}"', f'"{other.rsplit("/", 1)[-1]}"')
    return text.encode()


def _metas(game: Project, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Makes Bevy's `.meta` for each picture; a strip of tiles becomes an array texture."""
    from server.deploy.bevy.detect import detect
    from server.deploy.bevy.sidecars import image_meta

    minor = max(detect(game).minor, 15)
    metas: dict[str, bytes] = {}
    for place, data in files.items():
        if place.endswith(".png"):
            width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))  # the PNG's own header
            rows = height // width if place.endswith("_strip.png") and width and minor >= 18 else 1
            metas[f"{place}.meta"] = image_meta(minor, rows=max(rows, 1)).encode()
    return metas


def _game_witness(game: Project, paths: tuple[str, ...]) -> Verify:
    from server.deploy.bevy.verify import witness

    return witness(game, paths)

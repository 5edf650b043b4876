"""Putting an asset into a game, and taking it back. What a running game makes of it is for `server.deploy.bevy` to say.

Files are staged outside assets/ and renamed into place, the picture first, then what refers to it; identical bytes are
left alone; what was there before is kept for undo; nothing is replaced unless that was asked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from server.deploy.paths import Bundle, Written, check_path, in_the_way, suggest_path
from server.errors import DeployError
from server.library.records import Asset, DeployedFile, Deployment, Verification
from server.library.store import Library, sha256
from server.project.game import Project

if TYPE_CHECKING:
    from server.studio import Studio

Verify = Callable[[Mapping[str, bytes]], Verification]
Witness = Callable[[Project, tuple[str, ...]], Verify]
"""Called with the paths before anything is written (to note what the game shows now); what it returns is called with
path -> bytes afterwards, and says what the game made of them."""
_TEXT = (".json", ".tsx", ".tmx", ".ron", ".toml")


@dataclass(frozen=True, slots=True)
class Deployed:
    """What a deploy did. `state`: written, replaced, identical (nothing was to do) or undone."""

    project: Project
    asset_id: str
    paths: tuple[str, ...]
    state: str
    verification: Verification
    seconds: float
    deployment: Deployment | None = None


def default_path(asset: Asset, project: Project) -> str:
    """Where an asset goes that was given no path: the style's folder, named by its words."""
    folders = project.style.folders
    folder = folders.tilesets if asset.kind == "tileset" else folders.sprites
    name = suggest_path(asset.recipe.prompt.replace("/", " "))
    return f"{folder}/{name}" if folder else name


def deployed_names(asset: Asset, path: str) -> dict[str, str]:
    """The asset's file names -> paths in assets/. `preview.*` stays in the library.

    The picture takes `path`; another file takes its stem with its own ending (`layout.json` -> `hero.json`), or, where
    that is taken, its own name behind the stem (`strip.png` -> `hero_strip.png`).
    """
    stem = path.removesuffix(".png")
    names: dict[str, str] = {asset.files[0].name: path}
    for file in asset.files[1:]:
        if file.name.startswith("preview."):
            continue
        suffix = "".join(PurePosixPath(file.name).suffixes)
        place = stem + suffix
        names[file.name] = f"{stem}_{file.name}" if place in names.values() else place
    return names


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
        witness: who asks it; None: `server.deploy.bevy`.

    Raises:
        ProjectError, LibraryError: no game, no such asset.
        DeployError: the path breaks the rules, a file is in the way, or the disk refuses; nothing was changed then.
    """
    started = time.perf_counter()
    game = studio.require_project(project)
    home, asset = studio.find_asset(asset_id, game)
    names = deployed_names(asset, check_path(path or default_path(asset, game)))
    files = {place: _refer(home.read(asset, name), place, names) for name, place in names.items()}
    files |= _metas(game, files) if game.style.meta else {}
    library = studio.library(game)
    answer = (witness or _game_witness)(game, tuple(files)) if verify else None
    with Bundle(game.root, game.style.folders.assets, game.state / "staging") as bundle:
        changed = [written for place, data in files.items() if not (written := bundle.stage(place, data)).identical]
        replaced = [written.path for written in changed if written.previous is not None]
        if replaced and not overwrite:
            raise in_the_way(game.assets / replaced[0])
        deployment = _publish(bundle, library, asset_id, changed, overwrite=overwrite) if changed else None
    verification = answer(files) if answer else Verification("not_asked", "The running game was not asked.")
    if deployment:
        library.update_deployment(deployment.id, verification=verification.state)
    state = "replaced" if replaced else "written" if changed else "identical"
    return Deployed(game, asset_id, tuple(files), state, verification, time.perf_counter() - started, deployment)


def undo(
    studio: Studio,
    path: str = "",
    project: str | None = None,
    *,
    overwrite: bool = False,
    verify: bool = True,
    witness: Witness | None = None,
) -> Deployed:
    """Takes the last deployment back, of one path where given: earlier bytes return, a new file goes.

    Args:
        path: the picture's path relative to assets/; empty: the game's last deployment.
        project: the game's root; None: found.
        overwrite: whether a file that was changed since by somebody else may be lost.
        verify, witness: as in `deploy`.

    Raises:
        ProjectError: there is no game.
        DeployError: nothing is to be undone, a file was changed since, or the disk refuses; nothing was changed then.
    """
    started = time.perf_counter()
    game = studio.require_project(project)
    library = studio.library(game)
    found = library.deployments(path, limit=1)
    if not found:
        what = f"of {path} " if path else ""
        raise DeployError(f"No deployment {what}in {game.root} is left to undo. get_status lists the last ones.")
    deployment = found[0]
    back = {file.path: library.kept(file.previous) for file in deployment.files if file.previous}
    answer = (witness or _game_witness)(game, tuple(back)) if verify and back else None
    with Bundle(game.root, game.style.folders.assets, game.state / "staging") as bundle:
        for file in deployment.files:
            now = bundle.read(file.path)
            if not overwrite and now is not None and sha256(now) not in (file.sha256, file.previous):
                raise DeployError(
                    f"{game.assets / file.path} was changed after it was deployed. Give overwrite=true to undo it "
                    "all the same; the changed file is lost then."
                )
        for file in deployment.files:
            bundle.stage(file.path, back.get(file.path))
        bundle.publish(overwrite=True)
    library.update_deployment(deployment.id, undone=True)
    paths = tuple(file.path for file in deployment.files)
    note = "A game that runs shows what was taken away until it starts anew."
    said = (
        answer(back) if answer else Verification("not_asked", note if not back else "The running game was not asked.")
    )
    return Deployed(game, deployment.asset_id, paths, "undone", said, time.perf_counter() - started, deployment)


def _publish(
    bundle: Bundle, library: Library, asset_id: str, changed: Sequence[Written], *, overwrite: bool
) -> Deployment:
    """Keeps what is replaced and notes the deployment before the game's files change: an undo always finds both."""
    noted = [
        DeployedFile(w.path, sha256(w.data or b""), library.keep(w.previous) if w.previous is not None else "")
        for w in changed
    ]
    deployment = library.record_deployment(asset_id, noted)
    try:
        bundle.publish(overwrite=overwrite)
    except BaseException:
        library.forget_deployment(deployment.id)
        raise
    return deployment


def _refer(data: bytes, place: str, names: Mapping[str, str]) -> bytes:
    """A text file that names other files of the asset, with the names that they have in assets/."""
    if not place.endswith(_TEXT):
        return data
    text = data.decode()
    for name, other in names.items():
        text = text.replace(f'"{name}"', f'"{other.rsplit("/", 1)[-1]}"')
    return text.encode()


def _metas(game: Project, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Bevy's `.meta` beside each picture; a strip of tiles becomes an array texture."""
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

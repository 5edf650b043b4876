"""Put a bundle of files into a game and take one back: what happens on the machine that has the game's folder.

`server.deploy.deploy` makes bundles of assets. A bundle may come from another machine (`server.agent`): it has a
`request` id then, and is applied once however often it arrives.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pipelines import tracing
from server.deploy.journal import applied, assets_of, change, exclusive
from server.deploy.paths import check_deployed, in_the_way
from server.errors import DeployError, LibraryError
from server.library.records import Deployment, Verification
from server.library.rows import clip
from server.library.store import Library, sha256
from server.project.game import Project

logger = logging.getLogger(__name__)

Verify = Callable[[Mapping[str, bytes]], Verification]
Witness = Callable[[Project, tuple[str, ...]], Verify]
"""Called with the paths before anything is written (to record what the game shows); it returns a function that is
called with path -> bytes afterwards and returns what the game shows then."""

_NOT_ASKED = "The running game was not asked."


@dataclass(frozen=True, slots=True)
class Bundle:
    """An asset's files on their way into a game: `path` is the picture's, `files` maps paths in assets/ to bytes.

    `overwrite`: whether files that hold something else may be replaced. `verify`: whether to ask the running game.
    """

    asset_id: str
    path: str
    files: Mapping[str, bytes]
    overwrite: bool = False
    verify: bool = True


@dataclass(frozen=True, slots=True)
class Done:
    """What was done: written, replaced, identical (nothing had to be) or undone. `files`: what is in place now."""

    state: str
    asset_id: str
    paths: tuple[str, ...]
    files: Mapping[str, bytes]
    verification: Verification
    deployment: Deployment | None = None


def put(game: Project, library: Library, bundle: Bundle, *, request: str = "", witness: Witness | None = None) -> Done:
    """Writes the files into the game's assets folder, all or none.

    Args:
        request: 32 hex digits; a bundle whose request was applied before is not applied again, only verified.
        witness: asks the game; None: `server.deploy.bevy` does.

    Raises:
        LibraryError: the library cannot be written.
        DeployError: a path breaks the rules, a file is in the way, or the disk refuses; nothing was changed then.
    """
    files = {**bundle.files, **(_metas(game, bundle.files) if game.style.meta else {})}
    for path in files:
        check_deployed(path)
    assets = assets_of(game)
    answer = (witness or _game_witness)(game, tuple(files)) if bundle.verify else None
    with exclusive(assets, library):
        if earlier := applied(library, request):
            state, deployment = earlier
        else:
            found = {path: assets.read(path) for path in files}
            changed = {path: (found[path], data) for path, data in files.items() if found[path] != data}
            replaced = [path for path in changed if found[path] is not None]
            if replaced and not bundle.overwrite:
                raise in_the_way(game.assets / replaced[0])
            deployment = (
                change(
                    assets,
                    library,
                    bundle.asset_id,
                    bundle.path,
                    changed,
                    overwrite=bundle.overwrite,
                    request=request,
                )
                if changed
                else None
            )
            state = "replaced" if replaced else "written" if changed else "identical"
    verification = _proof(answer, files) if answer else Verification("not_asked", _NOT_ASKED)
    if deployment:
        _keep_verification(library, deployment, verification)
    return Done(state, bundle.asset_id, tuple(files), files, verification, deployment)


def take_back(
    game: Project,
    library: Library,
    path: str = "",
    *,
    overwrite: bool = False,
    verify: bool = True,
    request: str = "",
    witness: Witness | None = None,
) -> Done:
    """Undoes the last deployment, of one path where given: earlier bytes return, a file that was new is removed.

    Args:
        path: the picture's path relative to assets/; empty: the game's last deployment.
        overwrite: whether to undo although a file was changed by something else since; that change is lost.
        verify, request, witness: as in `put`.

    Raises:
        DeployError: nothing is left to undo, a file was changed since, or the disk refuses; nothing was changed then.
    """
    assets = assets_of(game)
    with exclusive(assets, library):
        if earlier := applied(library, request):
            deployment = earlier[1]
            paths = tuple(file.path for file in deployment.files)
            note = "It was undone before the connection broke; the running game was not asked again."
            return Done("undone", deployment.asset_id, paths, {}, Verification("not_asked", note), deployment)
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
        change(
            assets,
            library,
            deployment.asset_id,
            deployment.path,
            changed,
            overwrite=True,
            undoes=deployment.id,
            request=request,
        )
    paths = tuple(file.path for file in deployment.files)
    if answer:
        verification = _proof(answer, restored)
    elif restored:
        verification = Verification("not_asked", _NOT_ASKED)
    else:
        verification = Verification("not_asked", "A running game shows the removed file until it is started again.")
    return Done("undone", deployment.asset_id, paths, restored, verification, deployment)


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

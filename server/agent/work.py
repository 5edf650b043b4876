"""The agent's side of a request: do it in the game of this machine, whatever the server sends.

A bundle is checked whole before a byte is written: names, endings, sizes, hashes, and that its pictures are pictures of
a size that a game can load. Written is through `server.deploy`, as a deploy on this machine: the assets folder and
`.dgx-pixels/`, no symbolic link followed, all files or none, the earlier bytes kept for an undo.
"""

from __future__ import annotations

import base64
import shutil
from pathlib import Path

from pipelines.errors import ImageError, explain, report
from pipelines.files import read_bytes
from pipelines.visible import clipped
from server.agent.wire import (
    MOST_BUNDLE_BYTES,
    MOST_PALETTE,
    MOST_SCREENSHOT,
    MOST_STYLE,
    Answer,
    AnyRequest,
    Check,
    Deployment,
    Deployments,
    Facts,
    Failed,
    Finding,
    Findings,
    List,
    Placed,
    Put,
)
from server.deploy.bundle import Bundle, Done, put, take_back
from server.deploy.paths import check_path
from server.errors import DeployError, ProjectError
from server.library.store import Library, sha256
from server.project.game import Project, find_project
from server.project.style import STYLE_FILE

ENDINGS = ("png", "json", "tsx", "tmx", "ldtk", "ron", "fnt")
"""What a bundle may hold: pictures and what describes them. Bevy's `.meta` files are made here."""
LEAST_ROOM = 1 << 30
"""Bytes that stay free on the disk: a server cannot fill it."""
_LONGEST = 2000


class LocalGame:
    """The game of this machine that an agent works for."""

    def __init__(self, root: Path) -> None:
        """Takes the game's root; `:15703` behind it names the running game's port.

        Raises:
            ProjectError: there is no game.
        """
        self._root = root
        self._minor: tuple[tuple[int, ...], int] | None = None
        self._library = Library(self.project().state)

    def project(self) -> Project:
        """Returns the game, read from the disk each time.

        Raises:
            ProjectError: it is gone, or its style cannot be used.
        """
        project = find_project(self._root, None)
        assert project is not None
        return project

    def facts(self) -> Facts:
        """Returns what the server needs to know to draw for this game.

        Raises:
            ProjectError: the game's files cannot be used.
        """
        game = self.project()
        palette = game.palette_file
        style = game.root / STYLE_FILE
        try:
            return Facts(
                package="".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in game.name)[:64],
                assets=clipped(str(game.assets), 400),
                bevy_minor=self._bevy_minor(game),
                style=read_bytes(style, MOST_STYLE).decode() if style.is_file() else "",
                palette=base64.b64encode(read_bytes(palette, MOST_PALETTE)) if palette else b"",
                palette_ending=palette.suffix.lower() if palette else "",
            )
        except OSError as error:
            raise ProjectError(explain(error, palette or style)) from error
        except ValueError as error:
            raise ProjectError(f"The style or the palette of {game.root} cannot be sent: {error}") from error

    def _bevy_minor(self, game: Project) -> int:
        """Returns the 19 of Bevy 0.19; read again where cargo's files have changed, since it reads all sources too."""
        from server.deploy.bevy.detect import detect

        files = (game.root / "Cargo.toml", game.root / "Cargo.lock")
        key = tuple(file.stat().st_mtime_ns if file.is_file() else 0 for file in files)
        if self._minor is None or self._minor[0] != key:
            self._minor = key, min(detect(game).minor, 999)
        return self._minor[1]

    def answer(self, request: AnyRequest) -> Answer:
        """Does what the server asks, and returns the answer; a refusal is one too."""
        try:
            return self._answer(request)
        except Exception as error:  # the edge: the server shows it as a sentence
            return Failed(id=request.id, error=clipped(report(error), _LONGEST))

    def close(self) -> None:
        """Closes the game's library."""
        self._library.close()

    def _answer(self, request: AnyRequest) -> Answer:
        game = self.project()
        match request:
            case Put():
                return _placed(request.id, put(game, self._library, check_bundle(request, game), request=request.id))
            case Check():
                return _findings(request.id, game)
            case List():
                found = self._library.deployments(asset_ids=request.asset_ids, limit=request.limit)
                entries = (
                    Deployment(
                        asset_id=d.asset_id,
                        path=d.path,
                        files=tuple(file.path for file in d.files),
                        verification=d.verification,
                    )
                    for d in found
                )
                return Deployments(id=request.id, deployments=tuple(entries))
            case _:
                done = take_back(
                    game,
                    self._library,
                    request.path,
                    overwrite=request.overwrite,
                    verify=request.verify,
                    request=request.id,
                )
                return _placed(request.id, done)


def check_bundle(request: Put, game: Project) -> Bundle:
    """Returns the bundle of a request, if everything in it may be written into the game.

    Raises:
        DeployError: a path, an ending, a size, a hash or a picture breaks a rule; says which.
    """
    files: dict[str, bytes] = {}
    for file in request.files:
        ending = file.path.rpartition(".")[2]
        if ending not in ENDINGS:
            raise DeployError(f"{file.path}: a server may send files that end in {', '.join(ENDINGS)}.")
        if file.path in files:
            raise DeployError(f"{file.path} is in the bundle twice.")
        if sha256(file.data) != file.sha256:
            raise DeployError(f"{file.path} has arrived damaged: its hash is another. Deploy it again.")
        if ending == "png":
            _check_png(file.path, file.data)
        else:
            _check_text(file.path, file.data)
        files[file.path] = file.data
    total = sum(map(len, files.values()))
    if total > MOST_BUNDLE_BYTES:
        raise DeployError(f"The files have {total >> 20} MB together; {MOST_BUNDLE_BYTES >> 20} MB is the most.")
    free = shutil.disk_usage(game.root).free
    if free - 2 * total < LEAST_ROOM:
        raise DeployError(
            f"The disk of {game.root} has {free >> 20} MB left; an agent leaves {LEAST_ROOM >> 20} MB free. Free some."
        )
    first = check_path(request.files[0].path)
    return Bundle(request.asset_id, first, files, request.overwrite, request.verify)


def _check_png(path: str, data: bytes) -> None:
    from pipelines.pixels.png import read_picture

    try:
        if not data.startswith(b"\x89PNG\r\n\x1a\n"):
            raise DeployError(f"{path} is not a PNG file.")
        read_picture(data)
    except ImageError as error:
        raise DeployError(f"{path}: {error}") from error


def _check_text(path: str, data: bytes) -> None:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        raise DeployError(f"{path} is not a text in UTF-8.") from error


def _placed(request: str, done: Done) -> Placed:
    shot = done.verification.screenshot
    return Placed.model_validate(
        {
            "id": request,
            "state": done.state,
            "asset_id": done.asset_id,
            "paths": done.paths,
            "verification": done.verification.state,
            "note": clipped(done.verification.note, _LONGEST),
            "screenshot": base64.b64encode(shot if len(shot) <= MOST_SCREENSHOT else b""),
        }
    )


def _findings(request: str, game: Project) -> Findings:
    from server.deploy.bevy.doctor import examine

    style = game.root / STYLE_FILE
    found = [
        Finding.model_validate(
            {
                "topic": clipped(f.topic, 100),
                "state": f.state,
                "what": clipped(f.what, _LONGEST),
                "change": clipped(f.change, _LONGEST),
                "lines": clipped(f.lines, _LONGEST),
            }
        )
        for f in examine(game)[:100]
    ]
    return Findings(id=request, style_file=clipped(str(style), 400) if style.is_file() else "", findings=tuple(found))

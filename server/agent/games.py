"""The server's side of games on other machines: which there are, and what their agents are asked.

A game that an agent has registered has a folder in the data folder, `users/NAME/games/GAME`, with its style, its
palette and its library. To everything that draws it is a game like any other. What touches the game itself (deploy,
undo, check, list) is asked of its agent, which polls for requests (`server.agent.routes`).
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from pipelines.visible import clipped, visible
from server.agent.line import Line
from server.agent.wire import (
    MOST_BUNDLE_BYTES,
    MOST_FILE_BYTES,
    MOST_FILES,
    AnyRequest,
    Check,
    Deployments,
    Facts,
    Failed,
    Findings,
    List,
    Placed,
    Put,
    Undo,
    files_of,
    new_id,
)
from server.deploy.bundle import Bundle, Done
from server.errors import DeployError, ProjectError
from server.library.records import DeployedFile, Deployment, Verification
from server.library.store import write_atomically
from server.project.game import Elsewhere, Project, find_project
from server.project.style import STYLE_FILE

logger = logging.getLogger(__name__)

GAME = re.compile(r"([a-z0-9][a-z0-9_-]{0,31})/([a-z0-9][a-z0-9_-]{0,31})")
"""The name of a game on another machine: its user's name and its own."""
PATIENCE = 60.0
"""Seconds that a tool waits for an agent's answer. A deploy with its verification takes 5 at most."""
LIST_PATIENCE = 5.0
"""The same for what is deployed, which is shown beside other things."""
MOST_GAMES = 32
"""Games of one user."""
_PLACE = "place.txt"

A = TypeVar("A", Placed, Findings, Deployments)


class RemoteGames:
    """The games on other machines of one data folder."""

    def __init__(self, data_dir: Path) -> None:
        self._users = data_dir / "users"
        self._lines: dict[str, Line] = {}
        self._lock = threading.Lock()

    def names(self, user: str) -> list[str]:
        """Lists the games that a user has registered, as `NAME/GAME`."""
        found = (self._users / user / "games").glob(f"*/{STYLE_FILE}")
        return sorted(f"{user}/{style.parent.name}" for style in found)

    def find(self, user: str, named: str) -> Project | None:
        """Returns the game `NAME/GAME` of a user; None where the text has another form, or is a folder of this machine.

        Raises:
            ProjectError: it is another user's, or was never registered.
        """
        found = GAME.fullmatch(named)
        if not found or Path(named).is_dir():
            return None
        owner, game = found.groups()
        if owner != user:
            raise ProjectError(f"{named} is not one of your games. Yours: {', '.join(self.names(user)) or 'none'}.")
        folder = self._users / user / "games" / game
        if not (folder / STYLE_FILE).is_file():
            raise ProjectError(
                f"{named} is not registered. Start `dgx-pixels agent {named} --connect URL` in the game's folder."
            )
        return self._open(named, folder)

    def register(self, user: str, game: str, facts: Facts) -> None:
        """Keeps what the server has to know of a game.

        Raises:
            ProjectError: the style cannot be used, or the user has MOST_GAMES already.
        """
        name, others = f"{user}/{game}", self.names(user)
        if name not in others and len(others) >= MOST_GAMES:
            raise ProjectError(f"{user} has {len(others)} games already, the most. Use the name of one of them.")
        folder = self._users / user / "games" / game
        folder.mkdir(parents=True, exist_ok=True)
        bevy = f'bevy = "0.{facts.bevy_minor}"\n' if facts.bevy_minor else ""
        files = {
            "Cargo.toml": f'[package]\nname = "{facts.package}"\nversion = "0.1.0"\n\n[dependencies]\n{bevy}',
            _PLACE: clipped(visible(facts.assets), 400),
            STYLE_FILE: facts.style,
        }
        for file, text in files.items():
            write_atomically(folder / file, text.encode())
        kept = f"palette{facts.palette_ending}" if facts.palette else ""
        if kept:
            write_atomically(folder / kept, facts.palette)
        for old in folder.glob("palette*"):
            if old.name != kept:
                old.unlink()
        self._open(name, folder)

    def line(self, name: str) -> Line:
        """Returns the connection to the agent of `NAME/GAME`."""
        with self._lock:
            return self._lines.setdefault(name, Line())

    def line_of(self, user: str, session: str) -> tuple[str, Line] | None:
        """Returns the name and the connection of the game to which a session of the user belongs."""
        with self._lock:
            lines = [(name, line) for name, line in self._lines.items() if name.startswith(f"{user}/")]
        return next(((name, line) for name, line in lines if line.knows(session)), None)

    def put(self, game: Project, bundle: Bundle) -> Done:
        """Has the agent write a bundle into the game and ask the running game; see `server.deploy.bundle.put`.

        Raises:
            DeployError: the bundle is too large, or the agent is not connected, does not answer in time, or refuses.
        """
        sizes = [len(data) for data in bundle.files.values()]
        if len(sizes) > MOST_FILES or max(sizes) > MOST_FILE_BYTES or sum(sizes) > MOST_BUNDLE_BYTES:
            raise DeployError(
                f"{len(sizes)} files of {sum(sizes) >> 20} MB are too much for a game on another machine: {MOST_FILES} "
                f"files of {MOST_FILE_BYTES >> 20} MB, {MOST_BUNDLE_BYTES >> 20} MB together, are the most."
            )
        request = Put(
            id=new_id(),
            asset_id=bundle.asset_id,
            files=files_of(bundle.files),
            overwrite=bundle.overwrite,
            verify=bundle.verify,
        )
        return _done(self._ask(game, request, Placed), bundle)

    def take_back(self, game: Project, path: str, *, overwrite: bool, verify: bool) -> Done:
        """Has the agent undo a deployment; see `server.deploy.bundle.take_back`.

        Raises:
            DeployError: as `put`.
        """
        request = Undo(id=new_id(), path=path, overwrite=overwrite, verify=verify)
        return _done(self._ask(game, request, Placed), None)

    def check(self, game: Project) -> Findings:
        """Has the agent look at its game; see `server.deploy.bevy.doctor`.

        Raises:
            DeployError: as `put`.
        """
        return self._ask(game, Check(id=new_id()), Findings)

    def deployments(self, game: Project, asset_ids: Sequence[str] = (), limit: int = 50) -> list[Deployment]:
        """Returns what is deployed, the newest first; nothing where the agent is not connected or does not answer."""
        request = List(id=new_id(), asset_ids=tuple(asset_ids), limit=limit)
        try:
            answer = self._ask(game, request, Deployments, LIST_PATIENCE)
        except DeployError as error:
            logger.info("What is deployed is not known: %s", error)
            return []
        return [
            Deployment(0, e.asset_id, tuple(DeployedFile(p, "") for p in e.files), 0.0, e.verification, path=e.path)
            for e in answer.deployments[:limit]
        ]

    def connected(self, game: Project) -> bool:
        """Returns whether the agent of a game has polled lately."""
        return game.elsewhere is not None and self.line(game.elsewhere.name).connected

    def _ask(self, game: Project, request: AnyRequest, wanted: type[A], patience: float = PATIENCE) -> A:
        assert game.elsewhere is not None
        name = game.elsewhere.name
        line = self.line(name)
        if not line.connected:
            raise DeployError(
                f"The agent of {name} is not connected. Start `dgx-pixels agent {name} --connect URL` in the game's "
                "folder on the machine that has it. Drawing works without."
            )
        answer = line.ask(request, patience)
        if answer is None:
            raise DeployError(
                f"The agent of {name} did not answer within {patience:.0f} seconds. It may have done it all the "
                "same: list_assets shows what is deployed, when the agent is there again."
            )
        if isinstance(answer, Failed):
            raise DeployError(clipped(visible(answer.error)))
        if not isinstance(answer, wanted):
            raise DeployError(f"The agent of {name} answered another question. Install the same dgx-pixels there.")
        return answer

    def _open(self, name: str, folder: Path) -> Project:
        project = find_project(folder, None)
        assert project is not None
        assert project.root == folder.resolve()  # its style file is there
        kept = next(iter(folder.glob("palette*")), None)
        style = replace(project.style, palette=kept.name if kept else "")
        place = (folder / _PLACE).read_text(encoding="utf-8")
        return replace(project, style=style, elsewhere=Elsewhere(name, place))


def _done(answer: Placed, bundle: Bundle | None) -> Done:
    """Reads an agent's answer; `bundle` is what it was given."""
    from server.deploy.bevy.screenshot import read_rgba

    shot = answer.screenshot if answer.screenshot and read_rgba(answer.screenshot) is not None else b""
    verification = Verification(answer.verification, clipped(visible(answer.note)), 0.0, shot)
    asset_id = bundle.asset_id if bundle else answer.asset_id
    return Done(answer.state, asset_id, answer.paths, bundle.files if bundle else {}, verification)

"""The studio: settings, engine, games and libraries put together for the server and the command line.

Features are functions in other modules that take the studio. It imports no fastmcp, and loads nothing heavy
before `engine` is first asked for.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pipelines.errors import Cancelled
from pipelines.files import check_readable, user_path
from server.deploy.journal import recover
from server.errors import ProjectError
from server.library.records import Asset, Deployment
from server.library.store import Library
from server.project.game import Project, find_project
from server.project.style import Style
from server.settings import Settings
from server.users import USER, User

if TYPE_CHECKING:
    from loras.jobs import Jobs
    from loras.registry import Registry
    from pipelines.engine.backend import Backend
    from pipelines.engine.engine import Engine
    from server.agent.games import RemoteGames
    from server.cluster.nodes import Cluster


PRELOAD_ROOM = 2 << 30
"""Bytes of free memory that loading a model unasked needs: PyTorch and the embedded model take 0.5 GB."""


class Studio:
    """One per server or command. Every method may be called from any thread; leaving the `with` block closes it."""

    def __init__(self, settings: Settings | None = None, backend: Backend | None = None) -> None:
        """Prepares a studio; `backend` replaces what draws (tests use a fake)."""
        self.settings = settings or Settings()
        self._backend = backend
        self._engine: Engine | None = None
        self._cluster: Cluster | None = None
        self._loras: Registry | None = None
        self._remote: RemoteGames | None = None
        self._libraries: dict[Path, Library] = {}
        self._lock = threading.Lock()
        self.closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def engine(self) -> Engine:
        """The engine, made when first asked for (this imports what draws)."""
        with self._lock:
            if self._engine is None:
                from pipelines.engine.light_imports import without_collections

                with without_collections():
                    from pipelines.engine.engine import Engine
                    from server.backends import join_cluster, local_backend

                    if self._backend or not self.settings.cluster:
                        self._engine = Engine(self._backend or local_backend(lambda: self.loras, self.settings))
                    else:
                        self._cluster = join_cluster(self.settings, lambda: self.loras)
                        self._engine = self._cluster.engine()
            return self._engine

    @property
    def loras(self) -> Registry:
        """The LoRAs in the user's data folder, watched from the first use on."""
        with self._lock:
            if self._loras is None:
                from loras.registry import Registry

                self._loras = Registry(self.settings.data_dir / "loras")
                self._loras.watch()
            return self._loras

    @property
    def jobs(self) -> Jobs:
        """The training jobs in the data folder, of a shared server's user those that are theirs; they outlive it."""
        from loras.jobs import Jobs

        user = USER.get()
        folder, owner = self.settings.data_dir / "jobs", user.name if user else None
        return Jobs(folder, owner, self._train_in_cluster if self.settings.cluster and not self._backend else None)

    def _train_in_cluster(self, folder: Path) -> None:
        _ = self.engine  # joins the cluster
        assert self._cluster is not None
        self._cluster.start_training(folder)

    @property
    def remote(self) -> RemoteGames:
        """The games on other machines that users have registered."""
        with self._lock:
            if self._remote is None:
                from server.agent.games import RemoteGames

                self._remote = RemoteGames(self.settings.data_dir)
            return self._remote

    @property
    def awake(self) -> bool:
        """Whether the engine exists already: a status must not load it."""
        return self._engine is not None

    def preload(self) -> None:
        """Loads a model in the background: the one that `settings.preload` names, or of "auto" the game's.

        "auto" loads nothing where less than `PRELOAD_ROOM` bytes of memory are free, and "none" never.
        """
        named = self.settings.preload
        if named == "none":
            return
        if named == "auto":
            from pipelines.engine.hardware import free_bytes

            if 0 < free_bytes("cpu") < PRELOAD_ROOM:  # 0: a system that does not tell
                return
            try:
                game = self.project()
            except ProjectError:  # the tool that is called next says it
                game = None
            named = self.model(game.style if game else Style())
        try:
            self.engine.preload(named)
        except Cancelled:  # the client has left already
            return
        import pipelines.sprites.draw  # noqa: F401 (import the finishing while the model loads)

    def project(self, named: str | Path | None = None) -> Project | None:
        """Returns the game of a request, read from disk each time; None where there is none.

        Raises:
            ProjectError: what was named is not a game, or not one of the user's.
        """
        user = USER.get()
        if user is None:
            return find_project(named, self.settings.project)
        if not named:
            named = next(iter((*user.projects, *self.remote.names(user.name))), None)
        if named is None:
            return None
        if isinstance(named, str) and (elsewhere := self.remote.find(user.name, named)):
            return elsewhere
        project = find_project(named, None)
        if project and not user.may_use(project.root):
            games = ", ".join((*map(str, user.projects), *self.remote.names(user.name))) or "none"
            raise ProjectError(f"{named} is not one of your games. Yours: {games}.")
        return project

    def require_project(self, named: str | Path | None = None) -> Project:
        """Returns the game a request is about.

        Raises:
            ProjectError: there is none.
        """
        if project := self.project(named):
            return project
        raise ProjectError(
            "No Bevy game was found from the working directory. Give project='/path/to/game' (the folder that holds "
            "its Cargo.toml), or start the server there, or set DGX_PIXELS_PROJECT."
        )

    def library(self, project: Project | None) -> Library:
        """Returns the game's library in its `.dgx-pixels/`, or the user's own without a game."""
        folder = project.state if project else self._own_folder() / "library"
        with self._lock:
            library = self._libraries.setdefault(folder, Library(folder))
        if project:
            recover(project, library)
        return library

    def deployments(self, project: Project | None, asset_ids: Sequence[str] = (), limit: int = 50) -> list[Deployment]:
        """Returns the newest deployments into a game that are not undone, of some assets where given."""
        if project and project.elsewhere:
            return self.remote.deployments(project, asset_ids, limit)
        return self.library(project).deployments(asset_ids=asset_ids, limit=limit)

    def find_asset(self, asset_id: str, project: Project | None) -> tuple[Library, Asset]:
        """Returns the asset and the library that holds it: the game's, the user's own, or one of another game in use.

        Raises:
            LibraryError: none holds it, or the id has the wrong form.
        """
        first = self.library(project)
        own = self.library(None)
        user = USER.get()
        with self._lock:
            others = [lib for lib in self._libraries.values() if user is None or self._is_theirs(lib.folder, user)]
        for library in (first, own, *others):
            if library.has(asset_id):
                return library, library.get(asset_id)
        return first, first.get(asset_id)

    def _is_theirs(self, library: Path, user: User) -> bool:
        return user.may_use(library) or library.is_relative_to(self._own_folder())

    def _own_folder(self) -> Path:
        """Returns where a person keeps what belongs to no game: a folder for each user of a shared server."""
        user = USER.get()
        return self.settings.data_dir / "users" / user.name if user else self.settings.data_dir

    def model(self, style: Style, named: str = "") -> str:
        """Returns the model of a request: named there, by the game's style, or by the settings.

        Raises:
            FileError: it is a path that the request's user may not read.
        """
        found = named or style.model or self.settings.model
        if USER.get() is not None:
            from pipelines.models.catalog import is_path

            if is_path(found):
                check_readable(user_path(found), f"The model {found}")
        return found

    def close(self, wait_seconds: float = 10) -> None:
        """Ends the engine's worker, waiting so long for what it does, and closes the libraries."""
        with self._lock:
            self.closed = True
            engine, self._engine = self._engine, None
            loras, self._loras = self._loras, None
            libraries = list(self._libraries.values())
        if engine is not None:
            engine.close(wait_seconds)
        if loras is not None:
            loras.close()
        for library in libraries:
            library.close()

"""The errors of `server`. Every message is for the person who asked: it says what was wrong and what to do next.

ServerError
├── ProjectError   no game was found, or its settings file cannot be used
├── LibraryError   an asset that is unknown, or a library that cannot be written
└── DeployError    a path that is not allowed, a file that is in the way, a folder that cannot be written
"""

from __future__ import annotations

from pipelines.errors import UserError


class ServerError(UserError):
    """Base of the errors of `server`."""


class ProjectError(ServerError):
    """The game's project cannot be found or read."""


class LibraryError(ServerError):
    """The library of made assets cannot give or take what was asked."""


class DeployError(ServerError):
    """A file cannot be put into, or taken out of, the game's assets folder."""

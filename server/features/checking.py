"""Look for what stands between a deployed picture and the game's screen, here or on the machine that has the game."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from server.project.game import Project
from server.project.style import STYLE_FILE

if TYPE_CHECKING:
    from server.deploy.bevy.doctor import Finding
    from server.studio import Studio


@dataclass(frozen=True, slots=True)
class Checked:
    """The findings for a game, in the order to correct them. `style_file` is empty where the game has none."""

    game: Project
    style_file: str
    findings: tuple[Finding, ...]


def check_game(studio: Studio, project: str | None = None) -> Checked:
    """Checks a game.

    Raises:
        ProjectError: no game was found.
        DeployError: it is on another machine, whose agent is not connected or does not answer.
    """
    from server.deploy.bevy.doctor import Finding, examine

    game = studio.require_project(project)
    if game.elsewhere:
        answer = studio.remote.check(game)
        found = tuple(Finding(f.topic, f.state, f.what, f.change, f.lines) for f in answer.findings)
        return Checked(game, answer.style_file, found)
    style = game.root / STYLE_FILE
    return Checked(game, str(style) if style.is_file() else "", tuple(examine(game)))

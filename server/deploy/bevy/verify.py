"""Verify that a running game shows a deployed picture.

The ways, best proof first:
1. the dev plugin returns the hash of the pixels that the game holds, which proves "reloaded";
2. without it, the sprite is searched, pixel by pixel, in a screenshot taken before and one taken after;
3. otherwise the answer is "deployed_unverified".

The answer takes at most `PATIENCE` seconds. Nothing is written, except that Bevy before 0.17 gets the file touched.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from pipelines.records import Pixels
from pipelines.visible import clipped, visible
from server.deploy.bevy.brp import DEFAULT_PORT, BrpClient, BrpError, Discovery, NotBevy, NotRunning, Refused, Silent
from server.deploy.bevy.brp import shown as text_of
from server.deploy.bevy.screenshot import find_sprite, read_rgba, take_screenshot, ways
from server.deploy.bevy.snippets import load_line
from server.library.records import Verification
from server.project.game import Project

logger = logging.getLogger(__name__)

PROTOCOL = 2
"""The version of the dev plugin that this package ships."""
SPOKEN = (1, 2)
"""Versions of its methods that are understood: 2 added types that are reflected, and kept the methods."""

PATIENCE = 4.5
"""Seconds that the witness may take in all, before and after the writing."""

KINDS = (".png", ".sheet.json")
"""What the dev plugin tells the state of."""

PORTS = 10
"""How many ports are asked where none is named."""

LONGEST_NOTE = 1200
"""Characters of the note in a deploy's answer."""

_IN_PLACE = "The files are in place: the game shows them when it starts."


class AssetState(BaseModel):
    """What the dev plugin says of one file."""

    generation: int = 0
    width: int = 0
    height: int = 0
    hash: str | None = None
    failed: int = 0
    error: str | None = ""
    held: bool = False


_UNKNOWN = AssetState()


class Reloaded(BaseModel):
    """What `dgx_pixels/reload` answers: each file's state before."""

    assets: dict[str, AssetState]


class GameStatus(Reloaded):
    """What `dgx_pixels/status` answers, as far as it is used."""

    protocol: int
    game: str = ""
    asset_root: str


def word_hash(data: bytes) -> str:
    """Hashes by FNV-1a over 64-bit little-endian words (the last filled up with zeros), as the dev plugin does."""
    value = 0xCBF29CE484222325
    for word in np.frombuffer(data + bytes(-len(data) % 8), "<u8").tolist():
        value = (value ^ word) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def ports_of(project: Project) -> tuple[int, ...]:
    """Returns the ports where this game may listen, in the order to ask them.

    One where it is named: with the project, in `BRP_EXTRAS_PORT` as the game itself reads it, or as the style's
    `brp_port`. Else 15702 and those after it, which bevy_brp_mcp gives to further games.
    """
    named = os.environ.get("BRP_EXTRAS_PORT", "")
    if project.port:
        return (project.port,)
    if named.isascii() and named.isdecimal() and len(named) < 6:
        return (int(named),)
    if project.style.brp_port:
        return (project.style.brp_port,)
    return tuple(range(DEFAULT_PORT, DEFAULT_PORT + PORTS))


def same_folder(one: str, other: Path) -> bool:
    """Returns whether two paths lead to the same folder."""
    try:
        return Path(one).samefile(other)
    except OSError:
        return Path(one) == other.resolve()


@dataclass(slots=True)
class Before:
    """What was known of the game before the files were written."""

    client: BrpClient
    discovery: Discovery | None = None
    problem: Verification | None = None
    """The answer, where it is known already: no game, another game, a game that does not answer."""
    assets: dict[str, AssetState] | None = None
    """The dev plugin's state of each path; None where the game has no dev plugin."""
    screenshot: bytes = b""
    spent: float = 0.0


@dataclass(slots=True)
class _Clock:
    """The seconds that are left of an allowance."""

    allowance: float
    start: float = field(default_factory=time.monotonic)

    @property
    def spent(self) -> float:
        return time.monotonic() - self.start

    def left(self, most: float = PATIENCE) -> float:
        """Returns the seconds left, from 10 ms (so that a late call fails immediately) to `most`."""
        return max(min(most, self.allowance - self.spent), 0.01)


def witness(project: Project, paths: tuple[str, ...]) -> Callable[[Mapping[str, bytes]], Verification]:
    """Notes what the game shows now; what it returns says, after the writing, what the game made of the files."""
    before = look(project, paths)

    def answer(files: Mapping[str, bytes]) -> Verification:
        if before.problem:
            return Verification(before.problem.state, f"{before.problem.note} {_IN_PLACE}", before.spent)
        clock = _Clock(PATIENCE - before.spent)
        try:
            if before.assets is None:
                verification = _by_screenshot(before, project, files, clock)
            else:
                verification = _by_plugin(before, before.assets, files, clock)
        except NotRunning:
            verification = Verification(
                "game_not_running",
                "The game ended while the files were deployed. They are in place for its next start.",
            )
        except Silent:
            verification = Verification("deployed_unverified", f"{_silent(before.client.port)} {_IN_PLACE}")
        except BrpError as error:
            verification = Verification("deployed_unverified", f"The game could not be asked: {error} {_IN_PLACE}")
        except Exception as error:  # the files are in place, and the deploy reports that after any answer of a game
            verification = Verification("deployed_unverified", f"{_odd(before.client.port, error)} {_IN_PLACE}")
        note = clipped(visible(verification.note), LONGEST_NOTE)
        return Verification(verification.state, note, clock.spent, verification.screenshot)

    return answer


def look(project: Project, paths: tuple[str, ...] = ()) -> Before:
    """Finds who listens on the game's port, and what it has loaded of `paths`. Takes at most half of `PATIENCE`.

    Where several ports come into question and the first is not this game's, the one is taken whose dev plugin reads
    this game's assets.
    """
    clock = _Clock(PATIENCE / 2)
    first, *others = ports_of(project)
    before = _look(first, project, paths, clock, patience=1.2)
    for port in others if before.problem else ():
        other = _look(port, project, paths, clock, patience=0.3)
        if other.problem is None and other.assets is not None:
            before = other
            break
    before.spent = clock.spent
    return before


def _look(port: int, project: Project, paths: tuple[str, ...], clock: _Clock, *, patience: float) -> Before:
    """Finds who listens on that port."""
    before = Before(BrpClient(port))
    try:
        before.discovery = before.client.discover(clock.left(patience))
        _recognise(before, project, paths, clock)
    except NotRunning:
        before.problem = Verification(
            "game_not_running",
            f"No game listens on port {port}. If it runs, check_project says what it lacks.",
        )
    except NotBevy as error:
        before.problem = Verification(
            "game_not_running",
            f"{error} Start the game with BRP_EXTRAS_PORT=<free port>, and set that port as "
            "brp_port in dgx-pixels.toml.",
        )
    except Silent:
        before.problem = Verification("deployed_unverified", _silent(port))
    except BrpError as error:
        before.problem = Verification("deployed_unverified", f"The game could not be asked: {error}")
    except Exception as error:
        before.problem = Verification("deployed_unverified", _odd(port, error))
    return before


def _odd(port: int, error: Exception) -> str:
    logger.info("the game on port %s answers what it should not", port, exc_info=error)
    return f"The game on port {port} answers in a form that no known version uses, so nothing was verified."


def _silent(port: int) -> str:
    return (
        f"The game on port {port} does not answer: it hangs, is paused by a debugger, or its window is minimised. "
        "Bring it to the front, or start it again."
    )


def _recognise(before: Before, project: Project, paths: tuple[str, ...], clock: _Clock) -> None:
    assert before.discovery is not None
    if "dgx_pixels/status" not in before.discovery.methods:
        if ways(before.discovery):
            before.screenshot = take_screenshot(before.client, before.discovery, clock.left(1.0))
        return
    shown = [path for path in paths if path.endswith(KINDS)]
    status = GameStatus.model_validate(before.client.call("dgx_pixels/status", {"paths": shown}, clock.left(1.0)))
    if status.protocol not in SPOKEN:
        raise Refused(
            f"its src/dgx_pixels.rs speaks version {status.protocol}, this server {PROTOCOL}. "
            "`dgx-pixels init-game` brings the file up to date.",
            0,
        )
    if not same_folder(status.asset_root, project.assets):
        before.problem = Verification(
            "game_not_running",
            f"Port {before.client.port} belongs to another game: '{text_of(status.game)}', which reads "
            f"{text_of(status.asset_root)} and not {project.assets}. Close it, or start this game with "
            "BRP_EXTRAS_PORT=<free port> and set that port as brp_port in dgx-pixels.toml.",
        )
        return
    before.assets = status.assets


def _by_plugin(
    before: Before, known: Mapping[str, AssetState], files: Mapping[str, bytes], clock: _Clock
) -> Verification:
    assert before.discovery is not None
    shown = [path for path in files if path.endswith(KINDS)]
    if not shown:
        return Verification("deployed_unverified", "The game tells nothing of files of this kind.")
    reply = before.client.call("dgx_pixels/reload", {"paths": shown}, clock.left(2.0))
    reloaded = Reloaded.model_validate(reply).assets
    held = [path for path in shown if reloaded[path].held or known.get(path, _UNKNOWN).held]
    if not held:
        return Verification(
            "deployed_not_loaded_by_game",
            f"The game runs, but nothing in it has loaded {shown[0]}. "
            f"Load it in the game, for example: {load_line(files, before.discovery.minor)}",
        )
    notes: list[str] = []
    for path in held:
        was = known.get(path, _UNKNOWN)
        wanted = _hash_of(path, files[path])
        state = _await(before.client, path, wanted, was, clock)
        if state is None:
            return Verification(
                "deployed_unverified",
                f"The game answers, but has not loaded {path} again. If its code gives that image loader settings, its "
                "pixels cannot be compared; look at the screenshot.",
                screenshot=take_screenshot(before.client, before.discovery, clock.left(1.0)),
            )
        if state.hash != wanted and state.failed > was.failed:
            return Verification(
                "reload_failed",
                f"The game could not load {path}: {text_of(state.error)}. It still shows the earlier picture; "
                "deploy another picture, or take this one back with undo_deploy.",
            )
        notes.append(_seen(path, was, state, wanted))
    notes += [f"Nothing in the game has loaded {path}." for path in shown if path not in held]
    shot = take_screenshot(before.client, before.discovery, clock.left(2.5))
    return Verification("reloaded", " ".join(notes), screenshot=shot)


def _await(client: BrpClient, path: str, wanted: str | None, was: AssetState, clock: _Clock) -> AssetState | None:
    """Returns the file's state once the game has taken it up or failed to; None where it does neither in time.

    Raises:
        Silent: the game answers nothing at all any more.
    """
    params = {"path": path, "hash": wanted, "generation": was.generation, "failed": was.failed}
    try:
        return AssetState.model_validate(client.call("dgx_pixels/await", params, clock.left(1.8)))
    except Silent:
        client.call("dgx_pixels/status", {"paths": [path]}, clock.left(0.7))
        return None


def _hash_of(path: str, data: bytes) -> str | None:
    if not path.endswith(".png"):
        return word_hash(data)
    pixels = read_rgba(data)
    return None if pixels is None else word_hash(pixels.tobytes())


def _seen(path: str, was: AssetState, now: AssetState, wanted: str | None) -> str:
    size = f"{now.width}x{now.height}"
    if wanted and now.hash == wanted:
        note = (
            f"The game shows exactly the pixels of {path} ({size})."
            if path.endswith(".png")
            else (f"The game has read {path}.")
        )
    else:
        note = f"The game has loaded {path} again ({size}); its form there does not let the pixels be compared."
    if path.endswith(".png") and was.generation and (was.width, was.height) != (now.width, now.height):
        note += (
            f" Its size was {was.width}x{was.height}: sprites follow, but frame grids of atlases do not, nor do "
            "materials of the game's own."
        )
    return note


def _by_screenshot(before: Before, project: Project, files: Mapping[str, bytes], clock: _Clock) -> Verification:
    assert before.discovery is not None
    if before.discovery.minor < 17:
        _touch(project, files)
    advice = "Add the dev plugin for a proof (`dgx-pixels init-game`)."
    if not ways(before.discovery):
        return Verification("deployed_unverified", f"The game runs, but has no means to show what it shows. {advice}")
    picture = next((read_rgba(data) for path, data in files.items() if path.endswith(".png")), None)
    shot = b""
    while True:
        # The watcher takes 0.3 to 0.5 s, and without the dev plugin nothing can hurry it.
        time.sleep(min(0.3, clock.left()))
        shot = take_screenshot(before.client, before.discovery, clock.left(1.5)) or shot
        if picture is not None and _appeared(picture, before.screenshot, shot):
            return Verification(
                "reloaded", "The picture appeared, exact to the pixel, on the game's screen.", 0.0, shot
            )
        if clock.spent > 1.5 or clock.left() <= 0.01:
            break
    return Verification(
        "deployed_unverified",
        f"The picture was not found on the game's screen, which proves nothing. {advice}",
        0.0,
        shot,
    )


def _appeared(picture: Pixels, before: bytes, after: bytes) -> bool:
    """Returns whether the picture is on the screen now and was not before."""
    then, now = read_rgba(before), read_rgba(after)
    if then is None or now is None:
        return False
    return find_sprite(now, picture) is not None and find_sprite(then, picture) is None


def _touch(project: Project, files: Mapping[str, bytes]) -> None:
    """Closes each file after writing, which Bevy before 0.17 notices; it does not notice a file that is moved in."""
    for path in files:
        with (project.assets / path).open("r+b"):
            pass

"""Find a game: its root, its assets folder, and its style (`server.project.style`).

The search looks at the argument, the setting, `CLAUDE_PROJECT_DIR` and the working directory, in this order; from each
upwards to a `Cargo.toml` that depends on Bevy, or to a `dgx-pixels.toml`. The game's files may come from anywhere, so
what they name is kept inside the game. Bevy's versions and a running game are for `server.deploy.bevy`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipelines.files import first_link, user_path
from pipelines.visible import clipped, visible
from server.errors import ProjectError
from server.project.style import STYLE_FILE, Style, read_style, read_toml

STATE_FOLDER = ".dgx-pixels"

_BEVY = re.compile(r"bevy(_(app|asset|ecs|image|internal|render|sprite))?$")


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A game on another machine: its name (`ann/keep`), and its assets folder there, to show. See `server.agent`."""

    name: str
    assets: str


@dataclass(frozen=True, slots=True)
class Project:
    """A game: the folder that holds its Cargo.toml, its assets folder (it may not exist yet), and its style.

    `port` is the port of the running game where the request names one (`/path/to/game:15703`), else 0. Where the game
    is `elsewhere`, `root` holds its style, its palette and its library, and nothing of the game itself.
    """

    root: Path
    assets: Path
    name: str
    style: Style
    port: int = 0
    elsewhere: Elsewhere | None = None

    @property
    def title(self) -> str:
        """What to give as project to mean this game."""
        return self.elsewhere.name if self.elsewhere else str(self.root)

    def shown(self, path: str = "") -> str:
        """Returns the whole path of a file in assets/ to show, as the machine that has the game names it."""
        folder = self.elsewhere.assets if self.elsewhere else str(self.assets)
        return f"{folder}/{path}" if path else folder

    @property
    def state(self) -> Path:
        """Where this package keeps what it made for the game; never inside assets/."""
        return self.root / STATE_FOLDER

    @property
    def palette_file(self) -> Path | None:
        """The style's palette file, or None."""
        return self.root / self.style.palette if self.style.palette else None


def find_project(argument: str | Path | None, setting: Path | None) -> Project | None:
    """Finds the game that a request is about; None where nothing is named and the working directory is not in a game.

    Args:
        argument: the game's root; `:15703` behind it names the port that the running game listens on.
        setting: the root from the server's settings, likewise.

    Raises:
        ProjectError: what was named is not a game, or its files cannot be read.
    """
    if argument:
        return _named(user_path(argument))
    if setting:
        try:
            return _named(user_path(setting))
        except ProjectError as error:
            raise ProjectError(f"DGX_PIXELS_PROJECT={setting} (or serve --project): {error}") from error
    for start in (os.environ.get("CLAUDE_PROJECT_DIR"), Path.cwd()):
        if start and (project := _above(Path(start))):
            return project
    return None


def _named(folder: Path) -> Project:
    folder, port = _port(folder)
    if folder.name == "Cargo.toml":
        folder = folder.parent
    if not folder.is_dir():
        raise ProjectError(f"There is no folder {folder}. Give the game's root: the folder that holds its Cargo.toml.")
    if project := _above(folder):
        return replace(project, port=port)
    raise ProjectError(
        f"{folder} is not a Bevy game: no Cargo.toml with a dependency on bevy, there or above. Give the game's root, "
        f"or put a {STYLE_FILE} into the folder (it may be empty) if the game is not built by cargo."
    )


def _port(folder: Path) -> tuple[Path, int]:
    """Splits a folder from the port behind it; 0 where there is none, or where the whole is a folder's name."""
    found = re.fullmatch(r"(.+):([1-9]\d{0,4})", folder.name)
    if not found or folder.exists():
        return folder, 0
    if int(found[2]) > 65535:
        raise ProjectError(f"{found[2]} in {folder} is not a port: ports go up to 65535.")
    return folder.with_name(found[1]), int(found[2])


def _above(start: Path) -> Project | None:
    start = start.resolve()
    for folder in (start, *start.parents):
        if root := _game_at(folder):
            return _open(root)
    return None


def _game_at(folder: Path) -> Path | None:
    """Returns the game's root where `folder` is one, or is a workspace with exactly one game."""
    if (folder / STYLE_FILE).is_file():
        return folder
    manifest = read_toml(folder / "Cargo.toml")
    if _depends_on_bevy(manifest):
        return folder
    members = [member for member in _members(folder, manifest) if _depends_on_bevy(read_toml(member / "Cargo.toml"))]
    if len(members) > 1:  # the game is the one that is a program
        programs = [m for m in members if (m / "src/main.rs").is_file() or "bin" in read_toml(m / "Cargo.toml")]
        members = programs or members
    if len(members) > 1:
        names = ", ".join(str(member.relative_to(folder)) for member in members)
        raise ProjectError(f"The workspace {folder} holds several Bevy crates ({names}). Give one of them as project.")
    return members[0] if members else None


def _members(folder: Path, manifest: dict[str, Any]) -> Iterator[Path]:
    workspace = manifest.get("workspace", {})
    patterns = workspace.get("members", ()) if isinstance(workspace, dict) else ()
    for pattern in patterns if isinstance(patterns, list) else ():
        if isinstance(pattern, str) and pattern and not {"..", "/"} & set(Path(pattern).parts):
            try:
                matching = sorted(matches(folder, pattern))
            except ValueError:
                continue  # cargo refuses it, too
            yield from (
                found
                for found in matching
                if (found / "Cargo.toml").is_file() and found.resolve().is_relative_to(folder)
            )


def matches(folder: Path, pattern: str) -> Iterator[Path]:
    """Yields what a pattern of a game's file finds below the folder.

    Raises:
        ValueError: it is not a pattern, or has `**` twice: each one multiplies the time by the number of folders.
    """
    if pattern.count("**") > 1:
        raise ValueError(f"'{clipped(visible(pattern), 40)}' has '**' more than once")
    return folder.glob(pattern)


def _depends_on_bevy(manifest: dict[str, Any]) -> bool:
    tables = [manifest, *_table(manifest.get("target")).values()]
    return any(
        _BEVY.match(str(entry.get("package", name)) if isinstance(entry, dict) else name)
        for table in tables
        for name, entry in _table(_table(table).get("dependencies")).items()
    )


def _table(value: Any) -> dict[str, Any]:
    """Returns the value where it is a table; empty where the file holds something else in its place."""
    return value if isinstance(value, dict) else {}


def _open(root: Path) -> Project:
    if link := first_link(root / STATE_FOLDER):
        raise ProjectError(
            f"{link} is a symbolic link, which is not followed. Put a real file or folder in its place, or remove it."
        )
    style = read_style(root / STYLE_FILE)
    package = _table(read_toml(root / "Cargo.toml").get("package"))
    assets = _inside(root, style.folders.assets, "folders.assets")
    if any(part.startswith(".") for part in assets.relative_to(root).parts):
        raise ProjectError(f"{root / STYLE_FILE}: folders.assets is a hidden folder. Give another folder of the game.")
    if style.palette:
        _inside(root, style.palette, "palette")
    model, loras = local_weights(root, style.model, tuple(lora.name for lora in style.loras), str(root / STYLE_FILE))
    stack = tuple(replace(lora, name=name) for lora, name in zip(style.loras, loras, strict=True))
    style = replace(style, model=model, loras=stack)
    return Project(root, assets, str(package.get("name", root.name)), style)


def local_weights(root: Path, model: str, loras: tuple[str, ...], where: str) -> tuple[str, tuple[str, ...]]:
    """Resolves a model and LoRAs that a file of the game names: ids and names stay, paths become absolute.

    A game may come from anywhere, so it must not make the server open a file or a folder outside it.

    Args:
        root: the game's root.
        model: embedded, sdxl, a hub id, or a path; empty: none is named.
        loras: names in the user's folder of LoRAs, or paths.
        where: what errors call the file.

    Raises:
        ProjectError: a path leads out of the game.
    """
    if model:
        from pipelines.models.catalog import is_path

        advice = "A game names models by id, and paths inside it; set DGX_PIXELS_MODEL for a checkpoint outside."
        if is_path(model):
            model = _weights(root, model, f"{where}: model", advice)
    advice = "A game names LoRAs by name, and paths inside it; put a file from outside into the folder of LoRAs."
    found = (_weights(root, name, f"{where}: loras", advice) if re.search(r"[/\\~]", name) else name for name in loras)
    return model, tuple(found)


def local_picture(root: Path, path: str, what: str) -> str:
    """Resolves a picture that a file of the game names to an absolute path inside the game.

    Raises:
        ProjectError: it leads out of the game; `what` is how errors call it.
    """
    return _weights(root, path, what, "A file of the game names pictures inside it: copy it there.")


def _weights(root: Path, path: str, what: str, advice: str) -> str:
    place = root / path
    if path.startswith("~") or "\0" in path or not place.resolve().is_relative_to(root):
        raise ProjectError(f"{what} names '{clipped(visible(path), 40)}', which is outside the game. {advice}")
    return str(place.resolve())


def _inside(root: Path, path: str, key: str) -> Path:
    """Resolves the path below the game's root that the style file names.

    Raises:
        ProjectError: it is absolute, or leads out of the root, by `..` or by a symbolic link.
    """
    named = root / path
    if Path(path).is_absolute() or ".." in Path(path).parts or "\0" in path or not named.resolve().is_relative_to(root):
        raise ProjectError(f"{root / STYLE_FILE}: {key} leads out of the game's root. Give a path inside it.")
    return named

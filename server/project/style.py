"""Read a game's style: `dgx-pixels.toml` in its root, which the game's team commits (docs/project.md)."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from pipelines.errors import TextError
from pipelines.text_files import read_text
from pipelines.visible import clipped, visible
from server.errors import ProjectError

STYLE_FILE = "dgx-pixels.toml"

SpriteSize = Annotated[int, Field(ge=8, le=256)]
TileSize = Annotated[int, Field(ge=8, le=64)]


@dataclass(frozen=True, slots=True)
class StyleLora:
    """One LoRA of a style's stack."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    name: str
    weight: Annotated[float, Field(ge=-2, le=2)] = 1.0


@dataclass(frozen=True, slots=True)
class Folders:
    """Where files go. `assets` is relative to the game's root, the others are relative to `assets`."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    assets: str = "assets"
    sprites: str = "sprites"
    tilesets: str = "tilesets"


@dataclass(frozen=True, slots=True)
class Style:
    """How the game's art looks, from `dgx-pixels.toml`: it fills in what a request leaves open.

    `palette` is a file (.hex, .gpl, .pal, .txt, .act, .ase or a PNG strip) relative to the game's root; empty: colours
    are extracted. An empty `model` leaves the choice to the server's settings. A path in `model` or `loras` was
    relative to the game's root and leads into it; here it is absolute. `brp_port`: the port of the running
    game's remote protocol; 0: 15702. `meta`: whether a Bevy `.meta` (nearest-neighbour sampling) goes beside each
    deployed picture.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    model: str = ""
    palette: str = ""
    colors: Annotated[int, Field(ge=2, le=64)] = 16
    size: SpriteSize = 32
    tile_size: TileSize = 16
    outline: str = "none"
    prompt_prefix: str = ""
    negative: str = ""
    loras: tuple[StyleLora, ...] = ()
    brp_port: Annotated[int, Field(ge=0, le=65535)] = 0
    meta: bool = False
    folders: Folders = field(default_factory=Folders)


@cache
def _style_adapter() -> TypeAdapter[Style]:
    return TypeAdapter(Style)  # takes milliseconds to make


def read_style(path: Path) -> Style:
    """Reads the style in a `dgx-pixels.toml`; returns the default one where there is none.

    Raises:
        ProjectError: the file is not TOML, or holds an unknown key or a value out of range.
    """
    try:
        return _style_adapter().validate_python(read_toml(path))
    except ValidationError as error:
        wrong = "; ".join(f"{_shown(e['loc'])}: {e['msg'].lower()}" for e in error.errors()[:5])
        raise ProjectError(f"{path}: {wrong}. See docs/project.md for the keys.") from error


def _shown(keys: tuple[int | str, ...]) -> str:
    return clipped(visible(".".join(map(str, keys))), 40)


def read_toml(path: Path) -> dict[str, Any]:
    """Reads the file's tables; empty where there is none.

    Raises:
        ProjectError: it is not TOML, or a link that leads out of the game.
    """
    if path.is_symlink() and not path.resolve().is_relative_to(path.parent.resolve()):
        raise ProjectError(f"{path} is a symbolic link that leads out of the game. Put the file itself in its place.")
    try:
        return tomllib.loads(read_text(path, str(path)))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return {}
    except TextError as error:
        raise ProjectError(str(error)) from error
    except tomllib.TOMLDecodeError as error:
        raise ProjectError(f"{path} is not TOML: {error}. Correct that line and ask again.") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, a list in lists in lists
        raise ProjectError(f"{path} holds a number or a list that is too long. Correct it and ask again.") from error

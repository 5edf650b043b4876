"""The rules of paths in assets/: relative, lower case, a few characters that every system takes."""

from __future__ import annotations

import re
from pathlib import Path

from server.errors import DeployError
from server.library.rows import RESERVED_NAME, BadRow, check_deployed_path, clip

_NAME = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*")


def check_path(path: str, suffix: str = ".png") -> str:
    """Returns the path if it follows the rules: relative, lower case, `[a-z0-9_]`, forward slashes, the right ending.

    Raises:
        DeployError: with a path that follows them.
    """
    parts = path.split("/")
    good = (
        len(path) <= 200
        and path.endswith(suffix)
        and path.count(".") == suffix.count(".")
        and parts[0] != "assets"
        and all(_NAME.fullmatch(part) and not RESERVED_NAME.match(part) for part in parts)
    )
    if good:
        return path
    raise DeployError(
        f"'{clip(path, 80)}' cannot be a path in assets/. Use folders and a name of a-z, 0-9 and _, relative to "
        f"assets/, ending in {suffix}: for example '{suggest_path(path, suffix)}'."
    )


def check_deployed(path: str) -> None:
    """Checks the path of a file that goes beside a picture, as an undo will check it.

    Raises:
        DeployError: an undo would not take it.
    """
    try:
        check_deployed_path(path)
    except BadRow as error:
        raise DeployError(f"The asset cannot be deployed: {error}. Make it again, or choose a shorter path.") from error


def suggest_path(text: str, suffix: str = ".png") -> str:
    """Returns the nearest path that follows the rules."""
    text = text.replace("\\", "/").lower()
    text = text.removesuffix(suffix)
    parts = [re.sub(r"[^a-z0-9]+", "_", part).strip("_")[:40] for part in text.split("/")]
    parts = [f"{part}_" if RESERVED_NAME.match(part) else part for part in parts if part]
    if parts and parts[0] == "assets":
        parts = parts[1:]
    return ("/".join(parts[-4:]) or "sprites/sprite") + suffix


def in_the_way(path: Path) -> DeployError:
    """Returns the error for a file that may not be replaced."""
    return DeployError(
        f"{path} exists already and holds something else. Give overwrite=true to replace it (undo_deploy brings it "
        "back), or another path."
    )

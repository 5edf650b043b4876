"""A game with bundles of five files, deploys in a process that is killed, and what must hold afterwards.

`python -m tests.server.deploy.crash GAME DATA ACTION...` runs actions in a process of its own: `deploy:ID`, `undo`.
"""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from pipelines.records import Recipe
from server.deploy.deploy import deploy, undo
from server.errors import DeployError
from server.settings import Settings
from server.studio import Studio

PLACE = "units/new/hero.png"
FILES = ("sprite.png", "layout.json", "strip.png", "tiles.tsx", "map.tmx")
BEGIN = "the actions begin here"
CHANGES = {"open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "sqlite3.connect"}
"""Audit events of Python that may change a file; SQLite's own writes are met by strace (tests/faults)."""


def make_game(root: Path) -> None:
    """A Bevy game with an empty assets folder."""
    (root / "assets").mkdir(parents=True)
    (root / "Cargo.toml").write_text('[package]\nname = "g"\nversion = "0.1.0"\n[dependencies]\nbevy = "0.19"\n')


def open_studio(root: Path) -> Studio:
    """A studio for the game, as a server or a command makes one."""
    return Studio(Settings(project=root, data_dir=root.parent / "data"))


def add_bundles(studio: Studio, count: int, size: int = 0) -> list[str]:
    """Keeps assets of five files each, `size` bytes larger than their text, and returns their ids."""
    library = studio.library(studio.project())
    ids = []
    for number in range(count):
        files = {name: (" " * size + f"{name} of {number}").encode() for name in FILES}
        ids.append(library.add("tileset", files, Recipe("tileset", f"bundle {number}", 16, 16, number)).id)
    return ids


def act(studio: Studio, action: str) -> None:
    """Does one action; an undo of nothing does not fail."""
    name, _, asset_id = action.partition(":")
    try:
        if name == "deploy":
            deploy(studio, asset_id, PLACE, overwrite=True, verify=False)
        else:
            undo(studio, verify=False)
    except DeployError as error:
        if "left to undo" not in str(error):
            raise


def in_a_child(work: Callable[[], None]) -> tuple[int, bool]:
    """Forks, does the work, and returns (the child's id, whether this is the parent). The child never returns."""
    child = os.fork()
    if child:
        return child, True
    code = 1
    try:
        work()
        code = 0
    finally:
        os._exit(code)


def kill_at(step: int, *, placed: bool = False) -> Callable[[], int]:
    """From now on, kills this process before its `step`-th change of a file; returns a counter of them.

    `placed`: only files that are put into assets/ count.
    """
    seen = 0

    def hook(event: str, args: tuple[object, ...]) -> None:
        nonlocal seen
        if event not in CHANGES:
            return
        if event == "open" and not (isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
            return
        if placed and not (event in ("os.rename", "os.link") and re.fullmatch(r"[a-z_]+\.[a-z]+", str(args[1]))):
            return
        seen += 1
        if seen == step:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    return lambda: seen


def is_cut_off(root: Path) -> bool:
    """Whether a deploy or undo has begun and not ended."""
    database = root / ".dgx-pixels" / "library.sqlite"
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute("SELECT count(*) FROM deploy_journal").fetchone()[0] > 0


def deployed(root: Path) -> int | None:
    """Which bundle is in assets/: its number, None for no file. Raises AssertionError for half a bundle."""
    found = {path.name: path.read_text() for path in (root / "assets").rglob("*") if path.is_file()}
    numbers = {text.rpartition(" ")[2] for text in found.values()}
    assert len(found) in (0, len(FILES)), f"half a bundle: {sorted(found)}"
    assert len(numbers) <= 1, f"a mix of bundles: {found}"
    return int(numbers.pop()) if numbers else None


def chain(studio: Studio) -> list[int]:
    """The bundles that the library has on record, the oldest first."""
    library = studio.library(studio.project())
    return [int(library.get(d.asset_id).recipe.prompt.split()[1]) for d in reversed(library.deployments(limit=10_000))]


def check(root: Path, before: Sequence[int], after: Sequence[int]) -> list[int]:
    """Opens the game as a new process does; all must be as before the action that was cut off, or as after it.

    Returns the chain of deployments that holds now.
    """
    studio = open_studio(root)
    now = chain(studio)  # this repairs
    assert now in (list(before), list(after)), f"the chain is {now}, not {list(before)} or {list(after)}"
    assert deployed(root) == (now[-1] if now else None)
    staged = root / ".dgx-pixels" / "staging"
    assert not staged.exists() or not list(staged.iterdir()), "something is left in staging/"
    studio.close()
    return now


def check_undo(root: Path, now: Sequence[int]) -> None:
    """Undoes everything, one step after the other."""
    studio = open_studio(root)
    for left in range(len(now) - 1, -1, -1):
        undo(studio, verify=False)
        assert deployed(root) == (now[left - 1] if left else None)
    studio.close()


if __name__ == "__main__":
    running = open_studio(Path(sys.argv[1]))
    sys.stdout.write(BEGIN)  # marks in a trace where the import ends
    sys.stdout.flush()
    for todo in sys.argv[2:]:
        act(running, todo)

"""`dgx-pixels demo`: draw and deploy as an assistant does, through the real server over stdio."""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from server.cli.console import SafeConsole, shown
from server.errors import ServerError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from server.protocol.client import Connection

SERVE = (sys.executable, "-P", "-m", "server", "serve")
EXAMPLE = Path(__file__).resolve().parents[2] / "bevy_example"


@dataclass(frozen=True, slots=True)
class Wish:
    """What to ask for, and where it goes (empty: the server names it)."""

    prompt: str
    size: int
    path: str = ""


@dataclass(frozen=True, slots=True)
class Granted:
    """What came of a wish: the answers of generate_sprite and deploy_asset, the PNG, and the seconds of both calls."""

    wish: Wish
    drawn: dict[str, Any]
    placed: dict[str, Any]
    png: bytes
    seconds: float


WISHES = (
    Wish("red dragon", 32, "sprites/dragon.png"),
    Wish("green goblin", 32, "sprites/goblin.png"),
    Wish("blue potion", 32, "sprites/potion.png"),
    Wish("gray stone floor", 32, "tiles/floor.png"),
)


def demo(*, prompt: str = "", size: int = 32, project: Path | None = None) -> None:
    """Draw three sprites and a floor tile into the example game, as an assistant would.

    Parameters
    ----------
    prompt
        Draw this one instead.
    size
        Its width and height in pixels, 8 to 96.
    project
        Another game than the example.
    """

    root = project or EXAMPLE
    if not root.is_dir():
        raise ServerError("The example game is not here: run this in a clone, or give --project /path/to/your/game.")
    wishes = (Wish(prompt, size),) if prompt else WISHES
    console = SafeConsole()
    asyncio.run(run(wishes, root.resolve(), console))
    command = _shown(Path(sys.argv[0]).absolute())
    where = f"{shown(command)} studio --project {shown(_shown(root.resolve()))}"
    console.print(f"Next to try: [bold]{where}[/] draws, compares and deploys in this terminal.", soft_wrap=True)


async def run(
    wishes: tuple[Wish, ...], root: Path, console: Console, command: tuple[str, ...] = SERVE
) -> list[Granted]:
    """Starts the server, has the wishes granted, and shows what came of them.

    Raises:
        ServerError: the server refused a wish.
    """
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from server.protocol.client import connect

    begun = time.perf_counter()
    granted: list[Granted] = []
    async with connect(command, root) as server:
        console.print(f"[bold]dgx-pixels[/] answered after {time.perf_counter() - begun:.1f} s; game: {_shown(root)}")
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[message]}"),
        )
        with Progress(*columns, console=console) as progress:
            for wish in wishes:
                try:
                    granted.append(await _ask(server, wish, progress))
                except ServerError as error:
                    raise ServerError(f"{wish.prompt}: {error}") from error
    _show(granted, console)
    console.print(f"{len(granted)} drawn and deployed in {time.perf_counter() - begun:.1f} s, from a cold start.")
    return granted


async def _ask(server: Connection, wish: Wish, bars: Progress) -> Granted:
    """Draws and deploys one wish."""
    bar = bars.add_task(shown(f'"{wish.prompt}"'), total=None, message="")

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        bars.update(bar, completed=progress, total=total, message=message or "")

    begun = time.perf_counter()
    arguments = {"prompt": wish.prompt, "size": wish.size, "seed": 7, "candidates": 4}
    drawn = await server.call("generate_sprite", arguments, on_progress)
    arguments = {"asset_id": drawn["asset_id"], "path": wish.path, "overwrite": True}
    placed = await server.call("deploy_asset", arguments)
    seconds = time.perf_counter() - begun
    bars.update(bar, completed=1, total=1, message=f"{placed['state']}: {placed['path']}")
    return Granted(wish, drawn, placed, await server.read(drawn["sprites"][0]["uri"]), seconds)


def _shown(path: Path) -> Path:
    """Returns the path as somebody in the working directory would write it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _show(granted: list[Granted], console: Console) -> None:
    from rich.columns import Columns
    from rich.table import Table

    from pipelines.pixels.png import read_picture
    from server.cli.terminal import picture_text

    console.print()
    console.print(Columns([picture_text(read_picture(one.png), console) for one in granted], padding=(1, 2)))
    console.print()
    table = Table(box=None, pad_edge=False)
    for heading in ("asked for", "in assets/", "size", "colours", "seconds", "the game says"):
        table.add_column(heading, justify="right" if heading in ("colours", "seconds") else "left", overflow="fold")
    for one in granted:
        sprite = one.drawn["sprites"][0]
        table.add_row(
            one.wish.prompt,
            one.placed["path"],
            f"{sprite['width']}x{sprite['height']}",
            str(len(sprite["palette"])),
            f"{one.seconds:.2f}",
            one.placed["verification"],
        )
    console.print(table)
    unknown = sorted({word for one in granted for word in one.drawn.get("unknown_words", ())})
    if unknown:
        console.print(
            f"[yellow]Words that the model does not know:[/] {shown(', '.join(unknown))}. Plain nouns draw best."
        )

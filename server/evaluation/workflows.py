"""`make eval-workflows`: every shipped workflow on the embedded model, a batch that is killed again and again, and
24 animations on one sheet. Prints tables, writes docs pictures where told, and fails when something does not hold.

    python -m server.evaluation.workflows [--sheet docs/animations.png] [--kills 20] [--items 40]
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pipelines.records import no_progress
from server.runs import run
from server.settings import Settings
from server.studio import Studio

CARGO = '[package]\nname = "evalgame"\nversion = "0.1.0"\n\n[dependencies]\nbevy = "0.19"\n'
CHARACTERS = ("green goblin", "white skeleton warrior", "red demon", "green elf mage", "brown dwarf", "gray wolf")
MOTIONS = ("idle", "walk", "attack", "die")
COLORS = ("red", "blue", "green", "yellow", "purple", "orange", "white", "cyan")
NOUNS = ("potion", "ring", "scroll", "key", "shield")


def new_game(folder: Path) -> Path:
    """An empty Bevy game."""
    (folder / "assets").mkdir(parents=True)
    (folder / "Cargo.toml").write_text(CARGO)
    return folder


def every_workflow(studio: Studio, game: Path, console: Console) -> bool:
    """Runs each shipped workflow once and looks for what it should have left."""
    picture = game / "raw/slime.png"
    sprite = run(studio, "sprite", {"prompt": "red dragon", "path": "sprites/dragon.png", "seed": 3}, no_progress)
    dragon = sprite.result.outputs["sprite"]
    picture.parent.mkdir()
    _enlarge(game / dragon["path"], picture, 8)
    jobs: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
        "sprite": ({"prompt": "blue potion", "path": "sprites/p.png", "seed": 1}, ("sprites/p.png",)),
        "batch": (
            {"subjects": ["red ring", "gray sword"], "variations": 2, "folder": "sprites/b", "seed": 2},
            ("sprites/b/red_ring_2.png", "sprites/b/gray_sword.png"),
        ),
        "item_set": ({"look": "golden", "seed": 4, "candidates": 2}, ("sprites/items/key.png",)),
        "character": (
            {"prompt": "green goblin", "name": "goblin", "seed": 5},
            ("sprites/goblin.png", "sheets/goblin.png", "sheets/goblin.sheet.json", "sheets/goblin.json"),
        ),
        "animation": (
            {"asset_id": dragon["asset_id"], "path": "sheets/dragon.png"},
            ("sheets/dragon.png", "sheets/dragon.sheet.json"),
        ),
        "tileset": ({"lower": "water", "upper": "grass", "path": "tiles/shore.png", "seed": 1}, ("tiles/shore.png",)),
        "fix_folder": ({"folder": "raw", "target": "sprites/fixed"}, ("sprites/fixed/slime.png",)),
    }
    table = Table("workflow", "seconds", "done", "failed", "missing files", title="every shipped workflow")
    good = True
    for name, (given, expected) in jobs.items():
        started = time.perf_counter()
        result = run(studio, name, given, no_progress).result
        missing = [path for path in expected if not (game / "assets" / path).is_file()]
        good &= not missing and not result.failed
        seconds = f"{time.perf_counter() - started:.2f}"
        table.add_row(name, seconds, str(result.done), str(len(result.failed)), ", ".join(missing) or "none")
    console.print(table)
    return good


def killed_batch(folder: Path, items: int, kills: int, console: Console) -> bool:
    """Kills a batch at random moments, then lets it end: every row must be there once."""
    game = new_game(folder)
    rows = [{"prompt": f"{color} {noun}"} for noun in NOUNS for color in COLORS][:items]
    (game / "items.json").write_text(json.dumps(rows))
    words = [sys.executable, "-m", "server", "run", "batch", "--set", "subjects=items.json", "--set", "seed=11"]
    command = [*words, "--project", str(game)]
    chance = random.Random(7)
    killed = 0
    journal_lines: list[int] = []
    for _ in range(kills):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        before = _lines(game)
        # wait until it does something, then a random while: a kill during the start would prove little
        while process.poll() is None and _lines(game) == before:
            time.sleep(0.02)
        try:
            process.wait(chance.uniform(0.0, 0.6))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed += 1
        journal_lines.append(_lines(game))
        if (next((game / ".dgx-pixels/runs").iterdir()) / "finished").exists():
            break
    last = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    runs = list((game / ".dgx-pixels/runs").iterdir())
    done = [json.loads(line) for line in (runs[0] / "done.jsonl").read_text().splitlines()]
    made = {(d["step"], d["index"]) for d in done if d["ok"]}
    assets = len(list((game / ".dgx-pixels/assets").iterdir()))
    pictures = len(list((game / "assets/sprites").iterdir()))
    table = Table(
        "kills", "exit", "runs", "entries", "distinct", "assets", "pictures", title=f"{items}-item batch, kill -9"
    )
    figures = (killed, last.returncode, len(runs), len(done), len(made), assets, pictures)
    table.add_row(*map(str, figures))
    console.print(table)
    # list, draw and place each item, overview; the overview is one more asset
    return figures[1:] == (0, 1, 2 * items + 2, 2 * items + 2, items + 1, items)


def animations(studio: Studio, sheet: Path | None, console: Console) -> bool:
    """6 characters x 4 motions: every sheet must pass its gates."""
    import numpy as np

    from server.animation import generate_animation
    from server.sprites import generate_sprites

    table = Table("character", *MOTIONS, title="animations: gates that do not hold")
    rows, good = [], True
    for number, prompt in enumerate(CHARACTERS):
        drawn = generate_sprites(studio, prompt, no_progress, seed=40 + number, candidates=8, outline="none")
        key = drawn.sprites[0].asset
        cells, frames = [], []
        for motion in MOTIONS:
            made = generate_animation(studio, no_progress, asset_id=key.id, motions=[motion], frames=6)
            failed = [name for name, held in made.asset.report["gates"].items() if not held]
            cells.append(", ".join(failed) or "pass")
            good &= not failed
            frames += [np.pad(frame, ((1, 1), (1, 1), (0, 0))) for frame in made.sheet.frames(motion)]
        rows.append(np.concatenate(frames, axis=1))
        table.add_row(prompt, *cells)
    console.print(table)
    if sheet:
        from PIL import Image

        from server.preview import on_chequers

        Image.fromarray(on_chequers(np.concatenate(rows), 1000)).save(sheet)
        console.print(f"{sheet}: {len(CHARACTERS)} characters, {' '.join(MOTIONS)}")
    return good


def throughput(studio: Studio, console: Console) -> None:
    """Sprites a minute in a batch, warm."""
    rows = [f"{color} {noun}" for noun in NOUNS for color in COLORS]
    run(studio, "batch", {"subjects": rows[:2], "seed": 1, "folder": "sprites/w", "deploy": False}, no_progress)
    started = time.perf_counter()
    run(studio, "batch", {"subjects": rows, "seed": 21, "folder": "sprites/t"}, no_progress)
    seconds = time.perf_counter() - started
    console.print(
        f"throughput: {len(rows)} sprites drawn, finished and deployed in {seconds:.1f} s = "
        f"{60 * len(rows) / seconds:.0f} a minute"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--items", type=int, default=40)
    arguments = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        game = new_game(Path(folder) / "game")
        studio = Studio(Settings(project=game, data_dir=Path(folder) / "data"))
        try:
            good = {
                "workflows": every_workflow(studio, game, console),
                "animations": animations(studio, arguments.sheet, console),
            }
            throughput(studio, console)
        finally:
            studio.close()
        good["killed batch"] = killed_batch(Path(folder) / "killed", arguments.items, arguments.kills, console)
    failed = [name for name, held in good.items() if not held]
    console.print("[bold green]all held[/]" if not failed else f"[bold red]did not hold:[/] {', '.join(failed)}")
    sys.exit(bool(failed))


def _lines(game: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in (game / ".dgx-pixels/runs").glob("*/done.jsonl"))


def _enlarge(source: Path, target: Path, times: int) -> None:
    from PIL import Image

    with Image.open(source) as picture:
        large = picture.convert("RGBA").resize(
            (picture.width * times, picture.height * times), Image.Resampling.NEAREST
        )
    large.save(target)


if __name__ == "__main__":
    main()

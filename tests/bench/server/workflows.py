"""`make eval-workflows`: every shipped workflow on the embedded model, a batch that is killed again and again, and
24 animations on one sheet. Prints tables, writes docs pictures where told, and fails when something does not hold.

    python -m tests.bench.server.workflows [--sheet docs/animations.png] [--kills 20] [--items 40] [--only animations]
"""

from __future__ import annotations

import argparse
import json
import os
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

from pipelines.records import Pixels, no_progress
from server.features.workflow_runs import run
from server.settings import Settings
from server.studio import Studio

CARGO = '[package]\nname = "evalgame"\nversion = "0.1.0"\n\n[dependencies]\nbevy = "0.19"\n'
CHARACTERS = ("orange crab", "green slime", "brown bat", "black spider", "gray wolf", "blue ghost")
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


def killed_batches(folder: Path, items: int, kills: int, console: Console) -> bool:
    """Batches that are killed at random moments until `kills` are done: each must end as one that was left alone."""
    title = f"{items}-item batches, kill -9"
    table = Table("batch", "kills", "exit", "entries", "distinct", "assets", "as undisturbed", "pictures", title=title)
    chance = random.Random(7)
    undisturbed = _batch(folder / "undisturbed", items, 0, chance)
    table.add_row("undisturbed", *map(str, undisturbed.values()))
    good, left, number = undisturbed["assets"] == items + 1, kills, 0
    expected = {**undisturbed, "kills": 0}
    while left > 0:
        number += 1
        figures = _batch(folder / str(number), items, left, chance, folder / "undisturbed")
        left -= figures["kills"]
        good &= {**figures, "kills": 0} == expected
        table.add_row(str(number), *map(str, figures.values()))
    console.print(table)
    return good


def _batch(
    game: Path, items: int, kills: int, chance: random.Random, undisturbed: Path | None = None
) -> dict[str, Any]:
    """One batch through the command line, killed `kills` times at most, then let to its end."""
    new_game(game)
    rows = [{"prompt": f"{color} {noun}"} for noun in NOUNS for color in COLORS][:items]
    (game / "items.json").write_text(json.dumps(rows))
    words = [sys.executable, "-m", "server", "run", "batch", "--set", "subjects=items.json", "--set", "seed=11"]
    command = [*words, "--project", str(game)]
    killed = 0
    while killed < kills:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        before = _lines(game)
        # wait until it does something, then a random while: a kill during the start would prove little
        while process.poll() is None and _lines(game) == before:
            time.sleep(0.01)
        try:
            process.wait(chance.uniform(0.0, 0.6))
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed += 1
        if _finished(game):  # killed at its very end: the same command again would be a new run
            break
    code = 0 if _finished(game) else subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode
    (run_folder,) = (game / ".dgx-pixels/runs").iterdir()
    done = [json.loads(line) for line in (run_folder / "done.jsonl").read_text().splitlines()]
    return {
        "kills": killed,
        "exit": code,
        "entries": len(done),
        "distinct": len({(d["step"], d["key"]) for d in done if d["ok"]}),
        "assets": len(_assets(game)),
        "same": undisturbed is None or _assets(game) == _assets(undisturbed),
        "pictures": len(list((game / "assets/sprites").iterdir())),
    }


def _finished(game: Path) -> bool:
    return any((game / ".dgx-pixels/runs").glob("*/finished"))


def _assets(game: Path) -> set[str]:
    """The ids of all assets: hashes of recipe and bytes."""
    return {folder.name for folder in (game / ".dgx-pixels/assets").iterdir()}


def animations(studio: Studio, sheet: Path | None, console: Console) -> bool:
    """6 characters x 4 motions: every sheet must pass its gates."""
    import numpy as np

    from server.features.animations import generate_animation
    from server.features.requests import AnimationRequest, SpriteRequest
    from server.features.sprites import generate_sprites

    table = Table("character", *MOTIONS, title="animations: gates that do not hold")
    rows, good = [], True
    for number, prompt in enumerate(CHARACTERS):
        drawn = generate_sprites(
            studio, SpriteRequest(prompt=prompt, seed=40 + number, candidates=8, outline="none"), no_progress
        )
        key = drawn.sprites[0].asset
        cells, frames = [], []
        for motion in MOTIONS:
            made = generate_animation(
                studio, AnimationRequest(asset_id=key.id, motions=(motion,), frames=6), no_progress
            )
            failed = [name for name, held in made.asset.report["gates"].items() if not held]
            cells.append(", ".join(failed) or "pass")
            good &= not failed
            frames += made.sheet.frames(motion)
        rows.append(frames)
        table.add_row(prompt, *cells)
    console.print(table)
    if sheet:
        from PIL import Image

        from server.features.preview import on_chequers

        side = 2 + max(max(frame.shape[:2]) for frames in rows for frame in frames)  # some clips have room to move
        lines = [np.concatenate([_centred(frame, side) for frame in frames], axis=1) for frames in rows]
        Image.fromarray(on_chequers(np.concatenate(lines)).repeat(2, 0).repeat(2, 1)).save(sheet, optimize=True)
        console.print(f"{sheet}: {len(CHARACTERS)} characters, {' '.join(MOTIONS)}")
    return good


def _centred(frame: Pixels, side: int) -> Pixels:
    """The frame in the middle of side x side clear pixels."""
    import numpy as np

    top, left = ((side - length) // 2 for length in frame.shape[:2])
    return np.pad(frame, ((top, side - frame.shape[0] - top), (left, side - frame.shape[1] - left), (0, 0)))


def throughput(studio: Studio, console: Console) -> None:
    """Sprites a minute in a batch, warm."""
    rows = [f"{color} {noun}" for noun in NOUNS for color in COLORS]
    run(studio, "batch", {"subjects": rows[:2], "seed": 1, "folder": "sprites/w", "deploy": False}, no_progress)
    started, busy = time.perf_counter(), time.process_time()
    run(studio, "batch", {"subjects": rows, "seed": 21, "folder": "sprites/t"}, no_progress)
    seconds, busy = time.perf_counter() - started, time.process_time() - busy
    console.print(
        f"throughput: {len(rows)} sprites drawn, finished and deployed in {seconds:.1f} s = "
        f"{60 * len(rows) / seconds:.0f} a minute; {busy:.1f} s of processor time, load {os.getloadavg()[0]:.1f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--items", type=int, default=40)
    parser.add_argument("--only", nargs="*", help="of workflows, animations, throughput, killed")
    arguments = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        game = new_game(Path(folder) / "game")
        studio = Studio(Settings(project=game, data_dir=Path(folder) / "data"))
        wanted = arguments.only or ["workflows", "animations", "throughput", "killed"]
        good: dict[str, bool] = {}
        try:
            if "workflows" in wanted:
                good["workflows"] = every_workflow(studio, game, console)
            if "animations" in wanted:
                good["animations"] = animations(studio, arguments.sheet, console)
            if "throughput" in wanted:
                throughput(studio, console)
        finally:
            studio.close()
        if "killed" in wanted:
            good["killed batches"] = killed_batches(Path(folder) / "killed", arguments.items, arguments.kills, console)
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

"""`make eval-more`: every kind beside sprites, terrains and motions, with 5 seeds through the gates; a sheet of each.

    python -m tests.bench.server.kinds [effects ...] [--seeds 5] [--out docs/images]

Prints how many gates held and the seconds of each, writes `kinds-<name>.png`, and fails when a gate does not hold.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from pipelines.atlas.bodies import Body
from pipelines.atlas.files import measured
from pipelines.atlas.layers import lit, normal_layer, outline_layer, recolored, shadow_layer, team_hue
from pipelines.atlas.packing import Atlas, Frame, pack
from pipelines.effects.drawing import EFFECTS
from pipelines.effects.making import check_effects, make_effects
from pipelines.pixels.gates import Report
from pipelines.pixels.named_palettes import named_palette
from pipelines.pixels.palette import Palette
from pipelines.pixels.png import encode_png, read_picture
from pipelines.records import Pixels, no_progress
from pipelines.tiles.geometry import compose
from pipelines.tiles.tileset import Tileset
from pipelines.ui.kit import make_kit
from pipelines.ui.pieces import MATERIALS
from server.settings import Settings
from server.studio import Studio

BACKGROUND = (44, 48, 66)
COLORS = ("red", "green", "purple", "yellow")

Made = tuple[dict[str, list[Report]], Pixels]
"""Reports by what was made, and the sheet."""


def effects(seeds: int) -> Made:
    """Draws all effects at 16, 32 and 64 px, without and with palettes; shows them at 32 and 16 px."""
    reports: dict[str, list[Report]] = {}
    for side in (16, 32, 64):
        for name in ("", "pico-8", "game boy"):
            palette = Palette.from_hex(named_palette(name)) if name else None
            sheets = [make_effects(tuple(EFFECTS), side, seed=seed, palette=palette) for seed in range(seeds)]
            reports[f"effects {side} px {name}".strip()] = [check_effects(sheet, palette) for sheet in sheets]
    large = [make_effects((name,), 32, seed=1).image for name in EFFECTS]
    small = [make_effects((name,), 16, seed=2).image for name in EFFECTS]
    pico = Palette.from_hex(named_palette("pico-8"))
    green = Palette.from_hex(named_palette("game boy"))
    colored = [
        make_effects(("fireball",), 32, seed=2, words="blue").image,
        make_effects(("explosion",), 32, seed=2, palette=pico).image,
        make_effects(("explosion",), 32, seed=3, palette=green).image,
        make_effects(("hit",), 32, seed=2, words="red").image,
        make_effects(("heal",), 32, seed=2, words="pink").image,
        make_effects(("smoke",), 32, seed=2, words="poison").image,
    ]
    return reports, beside(stacked(large), stacked(colored), stacked(small))


LOOKS = (
    ("wood", 32, ("sword", "red potion", "golden key", "red heart")),
    ("blue stone", 32, ("shield", "bow", "helmet", "magic staff")),
    ("metal", 16, ("gear", "blue gem", "bomb", "coin")),
    ("green paper", 16, ("scroll", "apple", "mushroom", "book")),
    ("purple wood", 24, ("ring", "candle", "crown", "boots")),
)
"""(prompt, side, icons) of the kits that are shown."""


def ui(seeds: int) -> Made:
    """Makes every look in five colours at 16 and 32 px, and five kits with icons of the embedded model."""
    from server.features.requests import UiRequest
    from server.features.ui import generate_ui

    reports: dict[str, list[Report]] = {}
    for material in MATERIALS:
        for side in (16, 32):
            colors = ("", *COLORS)[:seeds]
            reports[f"ui {material} {side} px"] = [make_kit(f"{color} {material}", side).report for color in colors]
    with studio() as desk:
        made = [
            generate_ui(desk, UiRequest(prompt=look, size=side, icons=icons, seed=7), no_progress)
            for look, side, icons in LOOKS
        ]
    reports["ui with icons"] = [one.kit.report for one in made]
    shown = [one.kit for one in made]
    large = beside(*(kit.preview for kit in shown[:2]))
    small = beside(*(kit.preview for kit in shown[2:]))
    sheets = beside(shown[0].image, shown[0].font.image)
    return reports, stacked([large, small, sheets], gap=6)


def atlas(seeds: int) -> Made:
    """Packs the example game's sheets and sprites; shows the atlas, lit normal maps, layers, teams and bodies."""
    assets = Path(__file__).parents[3] / "bevy_example/assets"
    frames = [frame for name in ("hero", "goblin", "dragon") for frame in clip_frames(assets, name)]
    things = {name: read_picture((assets / f"sprites/{name}.png").read_bytes()) for name in THINGS}
    frames += [Frame(name, image) for name, image in things.items()]
    reports: dict[str, list[Report]] = {"atlas": []}
    packed = pack(frames, margin=1)
    for order in range(seeds):
        turned = pack([*frames[order:], *frames[:order]], margin=1, power_of_two=order % 2 == 1)
        held = all((turned.restored(frame.name) == frame.image).all() for frame in turned.frames)
        reports["atlas"].append(Report({"frames_restored": held}))
    normal = normal_layer(packed.image)
    lights = [lit(packed.image, normal, light) for light in ((-1, 0.6, 0.5), (1, 0.6, 0.5))]
    layered = np.zeros_like(packed.image)
    for layer in (packed.image, outline_layer(packed.image, (250, 250, 250)), shadow_layer(packed.image, (12, 12, 20))):
        free = (layered[..., 3] == 0) & (layer[..., 3] > 0)
        layered[free] = layer[free]
    teams = []
    for name, hue in ((name, team_hue(thing)) for name, thing in things.items()):
        if not hue or len(teams) == 4:  # a grey knight has no colour that a team could change
            continue
        copies = [recolored(things[name], hue, team) for team in ("red", "blue", "green", "purple", "yellow", "white")]
        teams.append(beside(*(framed(copy, 32) for copy in (things[name], *copies)), gap=2))
    boxes = beside(*(outlined(frame, body) for frame, body in chosen(packed)), gap=2)
    return reports, stacked(
        [beside(packed.image, normal, gap=4), beside(*lights, gap=4), beside(layered, stacked(teams), gap=4), boxes],
        gap=6,
    )


THINGS = ("hero", "goblin", "dragon", "potion", "key", "heart", "tree", "sword")


def clip_frames(assets: Path, name: str) -> list[Frame]:
    """The frames of one of the example's sheets."""
    layout = json.loads((assets / f"sheets/{name}.sheet.json").read_text(encoding="utf-8"))
    image = read_picture((assets / f"sheets/{name}.png").read_bytes())
    width, height = layout["tile_size"]
    made = []
    for clip, span in layout["animations"].items():
        for at, index in enumerate(range(span["first"], span["last"] + 1)):
            row, column = divmod(index, layout["columns"])
            part = image[row * height : (row + 1) * height, column * width : (column + 1) * width]
            made.append(Frame(f"{name}_{clip}_{at}", part, f"{name}_{clip}", round(1000 / span["fps"]), span["loop"]))
    return made


def chosen(packed: Atlas) -> list[tuple[Frame, Body]]:
    """A few frames with their bodies."""
    found = measured(packed)
    names = ("hero_idle_0", "hero_attack_2", "goblin_walk_1", "dragon_idle_0", "tree")
    return [(frame, found[frame.name]) for frame in packed.frames if frame.name in names]


def outlined(frame: Frame, body: Body, zoom: int = 4) -> Pixels:
    """A frame with its hull (white), collider (yellow), hurt box (red) and pivot (green)."""
    from PIL import Image, ImageDraw

    picture = Image.fromarray(frame.image.repeat(zoom, 0).repeat(zoom, 1))
    draw = ImageDraw.Draw(picture)
    draw.polygon([(x * zoom, y * zoom) for x, y in body.hull], outline=(255, 255, 255, 255))
    for (x, y, w, h), color in ((body.collider, (255, 220, 60, 255)), (body.hurt, (255, 70, 70, 255))):
        draw.rectangle((x * zoom, y * zoom, (x + w) * zoom - 1, (y + h) * zoom - 1), outline=color)
    x, y = (round(value * zoom) for value in body.pivot)
    draw.rectangle((x - 3, y - 3, x + 2, y + 2), fill=(90, 255, 120, 255))
    return np.asarray(picture)


def framed(picture: Pixels, side: int) -> Pixels:
    """The picture on a clear square."""
    height, width = picture.shape[:2]
    return np.pad(picture, ((0, max(0, side - height)), (0, max(0, side - width)), (0, 0)))


SETS = (
    ("isometric", "grass", "water", 16),
    ("isometric", "stone floor", "lava", 16),
    ("isometric", "sand", "", 32),
    ("hex_pointy", "grass", "", 16),
    ("hex_flat", "sand", "", 32),
    ("hex_pointy", "grass", "water", 16),
    ("hex_flat", "snow", "grass", 16),
    ("hex_pointy", "sand", "water", 32),
    ("animated", "grass", "water", 16),
    ("animated", "lava", "", 16),
)
SQUARES = (
    ("cliffs", "grass", "dirt", 16),
    ("cliffs", "sand", "water", 16),
    ("cliffs", "snow on stone", "grass", 32),
    ("rpgmaker_a2", "grass", "water", 16),
    ("rpgmaker_a2", "dirt", "", 32),
    ("blob47_godot", "stone floor", "lava", 16),
    ("props", "tree, rock, wooden sign, mushroom", "grass", 16),
    ("props", "pine tree, statue, chest, cactus", "sand", 16),
    ("props", "tree, rock, campfire", "dirt", 32),
)
"""(layout, upper, lower, tile size)."""


def drawn_sets(
    sets: Sequence[tuple[str, str, str, int]], seeds: int
) -> tuple[dict[str, list[Report]], list[list[Tileset]]]:
    """Draws each set with seeds 1, 2, ... on the embedded model."""
    from server.features.requests import TilesetRequest
    from server.features.tilesets import generate_tileset

    reports: dict[str, list[Report]] = {}
    drawn: list[list[Tileset]] = []
    with studio() as desk:
        for layout, upper, lower, size in sets:
            made = []
            for seed in range(1, seeds + 1):
                wanted = {"upper": upper, "lower": lower, "layout": layout, "tile_size": size, "seed": seed}
                made.append(generate_tileset(desk, TilesetRequest.model_validate(wanted), no_progress).tileset)
            reports[f"tiles {layout} {upper} {lower} {size} px"] = [one.report for one in made]
            drawn.append(made)
    return reports, drawn


def tiles(seeds: int) -> Made:
    """Draws projected and animated sets; a row for each shows every seed, animated ones the first in 4 frames."""
    reports, drawn = drawn_sets(SETS, seeds)
    rows = [beside(*(one.preview[:120, :200] for one in made)) for made in drawn[:-2]]
    for made in drawn[-2:]:
        moments = [moment(made[0], frame)[:64, :112] for frame in range(4)]
        rows.append(beside(*moments, *(one.preview[:64, :112] for one in made[1:])))
    return reports, stacked(rows, gap=6)


def squares(seeds: int) -> Made:
    """Draws cliffs, the orders of RPG Maker and Godot, and props; a row for each shows every seed."""
    reports, drawn = drawn_sets(SQUARES, seeds)
    return reports, stacked([beside(*(one.preview[:130, :194] for one in made)) for made in drawn], gap=6)


def moment(tileset: Tileset, frame: int) -> Pixels:
    """The sample map of an animated set at a frame."""
    count = len(tileset.tiles) // 4
    return compose(tileset.tiles[frame * count : (frame + 1) * count], tileset.map)


@contextmanager
def studio() -> Iterator[Studio]:
    """A studio with the embedded model and an empty library."""
    with tempfile.TemporaryDirectory() as folder:
        desk = Studio(Settings(data_dir=Path(folder)))
        try:
            yield desk
        finally:
            desk.close()


KINDS: dict[str, Callable[[int], Made]] = {
    "effects": effects,
    "ui": ui,
    "atlas": atlas,
    "tiles": tiles,
    "squares": squares,
}


def stacked(pictures: Sequence[Pixels], gap: int = 2) -> Pixels:
    """Pictures below each other."""
    width = max(picture.shape[1] for picture in pictures)
    rows = [np.pad(p, ((0, gap), (0, width - p.shape[1]), (0, 0))) for p in pictures]
    return np.concatenate(rows, axis=0)


def beside(*pictures: Pixels, gap: int = 6) -> Pixels:
    """Pictures side by side, on one upper line."""
    height = max(picture.shape[0] for picture in pictures)
    return np.concatenate([np.pad(p, ((0, height - p.shape[0]), (0, gap), (0, 0))) for p in pictures], axis=1)


def on_background(picture: Pixels, zoom: int, background: tuple[int, int, int] = BACKGROUND) -> Pixels:
    """The picture on a plain colour, enlarged."""
    padded = np.pad(picture, ((4, 4), (4, 4), (0, 0)))
    shown = np.where(padded[..., 3:] >= 128, padded, np.array([*background, 255], np.uint8)).astype(np.uint8)
    return shown.repeat(zoom, 0).repeat(zoom, 1)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", help=f"of {', '.join(KINDS)}; default: all")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    wanted = parser.parse_args(arguments)
    table, failed = Table("what", "sets", "gates held", "seconds"), 0
    for kind in wanted.kinds or KINDS:
        started = time.perf_counter()
        reports, picture = KINDS[kind](wanted.seeds)
        seconds = time.perf_counter() - started
        wanted.out.mkdir(parents=True, exist_ok=True)
        zoom = max(1, 1400 // picture.shape[1])
        (wanted.out / f"kinds-{kind}.png").write_bytes(encode_png(on_background(picture, zoom)))
        for name, made in reports.items():
            held = sum(report.passed for report in made)
            broken = sorted({gate for report in made for gate, holds in report.gates.items() if not holds})
            table.add_row(name, str(len(made)), f"{held}/{len(made)} {' '.join(broken)}".strip(), "")
            failed += len(made) - held
        table.add_row(f"[bold]{kind}[/]", "", "", f"{seconds:.1f}", end_section=True)
    Console().print(table)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

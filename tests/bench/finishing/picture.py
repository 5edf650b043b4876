"""Draws docs/finishing.png: one picture, damaged, and what each step of finishing makes of it."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from pipelines.pixels.clean import drop_specks, hard_mask, settle_noise, settle_orphans
from pipelines.pixels.finish import native_pixels
from pipelines.pixels.matte import cut_background
from pipelines.pixels.outline import draw_outline
from pipelines.pixels.palette import extract_palette, lock
from pipelines.pixels.png import read_picture
from pipelines.records import Pixels
from tests.bench.finishing.damage import add_noise, blow_up, blur, jpeg

SCALE, GAP, TITLE = 6, 10, 16


def panels(sprite: Pixels, colors: int) -> list[tuple[str, Pixels]]:
    """(title, picture) of each step, the damaged one first; `sprite` is (h, w, 4) with alpha 0 or 255."""
    canvas = np.pad(sprite, ((2, 2), (2, 2), (0, 0)))
    key = np.where(canvas[..., 3:] > 127, canvas, np.array([255, 0, 255, 255], np.uint8)).astype(np.uint8)
    rng = np.random.default_rng(0)
    damaged = jpeg(add_noise(blur(blow_up(key, 12, warp=2.0), 2.4), 8, rng), 75)
    native, grid = native_pixels(damaged)
    lined = damaged.copy()
    lined[np.rint(grid.y[1:-1]).astype(int)] = (255, 255, 255, 255)
    lined[:, np.rint(grid.x[1:-1]).astype(int)] = (255, 255, 255, 255)
    cut = cut_background(native).image
    mask = drop_specks(hard_mask(cut[..., 3]), cut[..., 3])
    cut = np.where(mask[..., None], cut, 0).astype(np.uint8)
    palette = extract_palette([cut], colors)
    calm = settle_orphans(settle_noise(cut, palette))
    return [
        ("damaged", damaged),
        (f"grid, pitch {grid.pitch_x:.2f}", lined),
        ("cells", native),
        ("matte, despill", cut),
        (f"palette of {len(palette)}", lock(cut, palette)),
        ("noise settled", calm),
        ("outline", draw_outline(calm, "outer", palette)),
        ("the original", canvas),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sprite", type=Path, help="a small PNG with hard alpha")
    parser.add_argument("out", type=Path)
    parser.add_argument("--colors", type=int, default=12)
    asked = parser.parse_args()
    shown = panels(read_picture(asked.sprite), asked.colors)
    side = max(picture.shape[0] for _, picture in shown if picture.shape[0] < 100) * SCALE
    columns = 4
    rows = -(-len(shown) // columns)
    sheet = Image.new("RGB", (columns * (side + GAP) + GAP, rows * (side + TITLE + GAP) + GAP), (70, 70, 80))
    draw = ImageDraw.Draw(sheet)
    for index, (title, picture) in enumerate(shown):
        left, top = GAP + index % columns * (side + GAP), GAP + index // columns * (side + TITLE + GAP)
        draw.text((left, top), title, (240, 240, 240))
        resample = Image.Resampling.NEAREST if picture.shape[0] < 100 else Image.Resampling.LANCZOS
        panel = Image.fromarray(picture).resize((side, side), resample)
        sheet.paste(panel, (left, top + TITLE), panel)
    sheet.save(asked.out, optimize=True)


if __name__ == "__main__":
    main()

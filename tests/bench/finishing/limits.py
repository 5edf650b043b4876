"""Measures time and memory of finishing at its limit: every kind of picture of 4096x4096 with every option.

    python -m tests.bench.finishing.limits [part of a name ...]

Each case runs in a process of its own: the picture is written as a file before, then read and finished as
`fix_pixel_art` does. Memory is the most that the process had in RAM, the libraries (60 MB) included. A case passes with
at most 1.5 GB and 20 s, or with a refusal.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.memory import peak

SIDE = 4096
MOST_BYTES, MOST_SECONDS = 1.5e9, 20.0
GIVE_UP = 180.0


def noise(side: int = SIDE, channels: int = 3, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, channels), np.uint8))


def photo(side: int = SIDE) -> Image.Image:
    """Smooth shades with a little noise: no grid, millions of colours."""
    y, x = np.mgrid[0:side, 0:side] / side
    base = np.stack([np.sin(7 * x + 3 * y), np.cos(5 * y * x), np.sin(9 * x * y + 1)], axis=-1)
    grain = np.random.default_rng(1).normal(0, 3, base.shape)
    return Image.fromarray(np.clip(base * 120 + 128 + grain, 0, 255).astype(np.uint8))


def blocks(pitch: int, colors: int = 0, alpha: str = "solid", sigma: float = 0.0) -> Image.Image:
    """Random cells, enlarged; `colors` 0: each cell its own. `alpha`: solid, hard or soft. `sigma`: noise in levels."""
    rng = np.random.default_rng(2)
    cells = SIDE // pitch
    if colors:
        native = rng.integers(0, 256, (colors, 3), np.uint8)[rng.integers(0, colors, (cells, cells))]
    else:
        native = rng.integers(0, 256, (cells, cells, 3), np.uint8)
    level = {"solid": np.full((cells, cells), 255), "hard": rng.integers(0, 2, (cells, cells)) * 255}
    level["soft"] = rng.integers(0, 256, (cells, cells))
    native = np.dstack([native, level[alpha].astype(np.uint8)])
    large = native.repeat(pitch, 0).repeat(pitch, 1)
    if sigma:
        large[..., :3] = np.clip(large[..., :3] + rng.normal(0, sigma, large[..., :3].shape), 0, 255)
    return Image.fromarray(large)


def frames(count: int, side: int) -> list[Image.Image]:
    rng = np.random.default_rng(3)
    colors = rng.integers(0, 256, (16, 4), np.uint8)
    return [Image.fromarray(colors[rng.integers(0, 16, (side, side))]) for _ in range(count)]


def moving(count: int, side: int, pitch: int, how: Image.Resampling = Image.Resampling.NEAREST) -> list[Image.Image]:
    """Frames of `side` pixels in random cells of 16 colours, enlarged."""
    return [one.resize((side, side), how) for one in frames(count, side // pitch)]


GRAY = tuple((i, 255 - i, i // 2) for i in range(256))
FULL: dict[str, Any] = {"palette": GRAY}
CASES: dict[str, tuple[Callable[[], Image.Image | list[Image.Image]], dict[str, Any]]] = {
    "noise": (noise, {}),
    "noise, pitch 1": (noise, {"pitch": 1}),
    "noise, pitch 2": (noise, {"pitch": 2}),
    "noise, pitch 3": (noise, {"pitch": 3}),
    "noise, pitch 4": (noise, {"pitch": 4}),
    "noise, pitch 4, 256 colours of a palette": (noise, {"pitch": 4, **FULL}),
    "noise, pitch 4, palette, dither 8": (noise, {"pitch": 4, "dither": 8, **FULL}),
    "noise, pitch 4, 256 colours extracted, dither 4": (noise, {"pitch": 4, "colors": 256, "dither": 4}),
    "noise, pitch 4, outline outer": (noise, {"pitch": 4, "outline": "outer"}),
    "noise, pitch 4, outline selective, palette": (noise, {"pitch": 4, "outline": "selective", **FULL}),
    "noise, pitch 4, background clear": (noise, {"pitch": 4, "background": "clear"}),
    "noise, pitch 4, background 808080": (noise, {"pitch": 4, "background": "808080"}),
    "noise with alpha, pitch 4, soft keep": (lambda: noise(channels=4), {"pitch": 4}),
    "noise with alpha, pitch 4, soft dither": (lambda: noise(channels=4), {"pitch": 4, "soft": "dither"}),
    "noise with alpha, pitch 4, soft solid, palette, dither 8": (
        lambda: noise(channels=4),
        {"pitch": 4, "soft": "solid", "dither": 8, **FULL},
    ),
    "noise with alpha": (lambda: noise(channels=4), {}),
    "noise, 4096 wide asked for": (noise, {"width": 4096, "height": 4096}),
    "noise, 4096 wide, palette, dither 8": (noise, {"width": 4096, "height": 4096, "dither": 8, **FULL}),
    "noise, 1448 wide, palette, dither 8": (noise, {"width": 1448, "height": 1448, "dither": 8, **FULL}),
    "noise, 64 wide": (noise, {"width": 64}),
    "photo": (photo, {}),
    "photo, 4096 wide asked for, 16 colours": (photo, {"width": 4096, "height": 4096, "colors": 16}),
    "photo, 1024 wide, outline inner": (photo, {"width": 1024, "outline": "inner"}),
    "photo, pitch 3, 256 colours": (photo, {"pitch": 3, "colors": 256}),
    "blocks of 4, every cell a colour": (lambda: blocks(4), {}),
    "blocks of 2, 16 colours": (lambda: blocks(2, 16), {}),
    "blocks of 3, 16 colours, hard alpha, outline outer": (lambda: blocks(3, 16, "hard"), {"outline": "outer"}),
    "blocks of 3, soft alpha, palette, dither 8": (lambda: blocks(3, 16, "soft"), {"dither": 8, **FULL}),
    "blocks of 3, soft alpha, 4096 wide": (lambda: blocks(3, 16, "soft"), {"width": 4096, "height": 4096}),
    "blocks of 4, 16 colours, noise": (lambda: blocks(4, 16, sigma=6), {}),
    "blocks of 4, 16 colours, noise, background clear, palette": (
        lambda: blocks(4, 16, "hard", sigma=6),
        {"background": "clear", **FULL},
    ),
    "blocks of 64, 4096 wide asked for": (lambda: blocks(64, 16), {"width": 4096, "height": 4096}),
    "one colour": (lambda: Image.new("RGBA", (SIDE, SIDE), (9, 9, 9, 255)), {}),
    "one colour, pitch 1": (lambda: Image.new("RGBA", (SIDE, SIDE), (9, 9, 9, 255)), {"pitch": 1}),
    "clear": (lambda: Image.new("RGBA", (SIDE, SIDE)), {"outline": "outer"}),
    "1x4096": (lambda: Image.new("RGBA", (1, SIDE), (9, 9, 9, 255)), {"width": 4096, "height": 4096}),
    "2 frames of noise with alpha": (lambda: [noise(channels=4, seed=n) for n in (0, 1)], {}),
    "2 frames of noise with alpha, pitch 4": (lambda: [noise(channels=4, seed=n) for n in (0, 1)], {"pitch": 4}),
    "2 frames of noise with alpha, WebP": (lambda: [noise(channels=4, seed=n) for n in (0, 1)], {}),
    "2 frames of noise, GIF": (lambda: [noise(seed=n) for n in (0, 1)], {}),
    "2 frames in cells of 4": (lambda: moving(2, SIDE, 4), {}),
    "2 frames in cells of 4, GIF": (lambda: moving(2, SIDE, 4), {}),
    "2 frames in cells of 4, WebP": (lambda: moving(2, SIDE, 4), {}),
    "2 frames of 512x512 cells, bicubic": (lambda: moving(2, SIDE, 8, Image.Resampling.BICUBIC), {}),
    "2 frames of 512x512 cells, bicubic, WebP": (lambda: moving(2, SIDE, 8, Image.Resampling.BICUBIC), {}),
    "32 frames of 1024x1024, bilinear": (lambda: moving(32, 1024, 16, Image.Resampling.BILINEAR), {}),
    "32 frames of 1024x1024, cells of 4, GIF": (lambda: moving(32, 1024, 4), {}),
    "256 frames of 360x360": (lambda: frames(256, 360), {}),
    "256 frames of 360x360, GIF": (lambda: frames(256, 360), {}),
    "256 frames of 360x360, WebP": (lambda: frames(256, 360), {}),
    "256 frames of 90x90, WebP": (lambda: frames(256, 90), {}),
    "8 frames of 2048x2048": (lambda: frames(8, 2048), {}),
    "128 frames of 512x512": (lambda: frames(128, 512), {}),
    "128 frames of 512x512, palette, outline": (lambda: frames(128, 512), {"pitch": 1, "outline": "outer", **FULL}),
    "128 frames of 512x512, pitch 4, dither 8": (lambda: frames(128, 512), {"pitch": 4, "dither": 8, **FULL}),
}


def run(path: Path, options: dict[str, Any]) -> str:
    """Reads the file and finishes it; what came of it in a few words."""
    from pipelines.errors import InvalidRequest
    from pipelines.pixels.fix import fix_pictures
    from pipelines.pixels.palette import Palette
    from pipelines.pixels.png import read_frames

    if colors := options.pop("palette", None):
        options["palette"] = Palette("p", colors)
    try:
        read = [picture for picture, _ in read_frames(path)]
        done = fix_pictures(read, **options)
    except InvalidRequest as error:
        return f"refused: {error}"
    height, width = done.frames[0].image.shape[:2]
    return f"{len(done.frames)} of {width}x{height}, {done.how}"


def measure(name: str, folder: Path) -> str:
    """One row of the table."""
    build = (
        "import sys; from pathlib import Path; from tests.bench.finishing.limits import CASES\n"
        "made = CASES[sys.argv[1]][0]()\n"
        "one, *more = made if isinstance(made, list) else [made]\n"
        "options = {'save_all': True, 'append_images': more, 'duration': 100} if more else {}\n"
        "options |= {'lossless': True, 'quality': 0} if sys.argv[2].endswith('webp') else {'compress_level': 1}\n"
        "one.save(sys.argv[2], **options)"
    )
    path = folder / f"picture.{next((form.lower() for form in ('GIF', 'WebP') if name.endswith(form)), 'png')}"
    subprocess.run([sys.executable, "-c", build, name, str(path)], check=True)
    try:
        command = [sys.executable, "-m", "tests.bench.finishing.limits", "--one", name, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=GIVE_UP, check=False)
        said = done.stdout.strip() or f"failed: {done.stderr.strip().splitlines()[-1]}"
    except subprocess.TimeoutExpired:
        said = f"{GIVE_UP:.0f} | | not ended"
    seconds, _, _ = said.partition("|")
    return f"| {name} | {said} |{'' if seconds.strip() else ' **missed**'}"


def main() -> None:
    """Prints the table."""
    if sys.argv[1:2] == ["--one"]:
        begun, used = time.perf_counter(), time.process_time()
        outcome = run(Path(sys.argv[3]), dict(CASES[sys.argv[2]][1]))
        wall, cpu = time.perf_counter() - begun, time.process_time() - used
        used = peak()
        missed = " **missed**" if used > MOST_BYTES or wall > MOST_SECONDS else ""
        print(f"{wall:.1f} | {cpu:.1f} | {used / 1e9:.2f} | {outcome}{missed}")
        return
    print("| input and options | s | CPU s | GB | result |\n|---|---|---|---|---|")
    wanted = [name for name in CASES if not sys.argv[1:] or any(part in name for part in sys.argv[1:])]
    with tempfile.TemporaryDirectory() as folder:
        for name in wanted:
            print(measure(name, Path(folder)), flush=True)


if __name__ == "__main__":
    main()

"""Sprite sheets: frames of equal size on a grid, their layout files, their animated preview, and their gates.

Writes two layout forms: ours, for the Bevy loader in bevy_example/src/dgx_pixels.rs, and Aseprite's JSON array, as
Aseprite's "Export Sprite Sheet" writes it. `sheet_files` reads them.
"""

from __future__ import annotations

import io
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipelines.animation.slicing import Run
from pipelines.errors import InvalidRequest
from pipelines.pixels.gates import Report
from pipelines.records import Pixels

MOST_TILES = 256
MOST_PIXELS = 1 << 24
"""Pixels of a sheet: 4096x4096."""
LONGEST_STRETCH = 4


@dataclass(frozen=True, slots=True)
class Clip:
    """One animation of a sheet: tiles first..last (from 0, row by row) at `fps` frames a second."""

    first: int
    last: int
    fps: float = 8.0
    loop: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """Frames on a grid: `image` is (rows * tile height, columns * tile width, 4)."""

    image: Pixels
    tile_width: int
    tile_height: int
    columns: int
    rows: int
    clips: Mapping[str, Clip]

    def frames(self, clip: str) -> list[Pixels]:
        """Returns the frames of a clip, each (tile height, tile width, 4)."""
        span = self.clips[clip]
        return [self._tile(i) for i in range(span.first, span.last + 1)]

    def _tile(self, index: int) -> Pixels:
        y, x = divmod(index, self.columns)
        h, w = self.tile_height, self.tile_width
        return self.image[y * h : (y + 1) * h, x * w : (x + 1) * w]

    def layout(self) -> dict[str, Any]:
        """Returns the layout as JSON values, without the picture's name (kept in an asset's details as `sheet`)."""
        clips = {
            name: {"first": c.first, "last": c.last, "fps": c.fps, "loop": c.loop} for name, c in self.clips.items()
        }
        tile_size = [self.tile_width, self.tile_height]
        return {"tile_size": tile_size, "columns": self.columns, "rows": self.rows, "animations": clips}


def arrange(clips: Mapping[str, Sequence[Pixels]], fps: float = 8.0, loops: Mapping[str, bool] | None = None) -> Sheet:
    """Lays out one row for each clip, frames from the left; shorter rows end in transparent tiles.

    Raises:
        InvalidRequest: no frame at all, frames of different sizes, or more than MOST_TILES tiles.
    """
    frames = [frame for row in clips.values() for frame in row]
    if not frames:
        raise InvalidRequest("A sheet needs at least one frame.")
    height, width = frames[0].shape[:2]
    if any(frame.shape[:2] != (height, width) for frame in frames):
        sizes = sorted({f"{f.shape[1]}x{f.shape[0]}" for f in frames})
        raise InvalidRequest(f"The frames of a sheet must have one size; these have {', '.join(sizes)}.")
    columns, rows = max(len(row) for row in clips.values()), len(clips)
    if columns * rows > MOST_TILES:
        raise InvalidRequest(f"A sheet holds at most {MOST_TILES} tiles, not {columns * rows}. Split it.")
    if rows * height * columns * width > MOST_PIXELS:
        raise InvalidRequest(
            f"A sheet of {columns}x{rows} tiles of {width}x{height} pixels is too large: {MOST_PIXELS / 1e6:.1f} "
            "million pixels are the most. Take fewer or smaller frames."
        )
    image = np.zeros((rows * height, columns * width, 4), np.uint8)
    spans: dict[str, Clip] = {}
    for y, (name, row) in enumerate(clips.items()):
        for x, frame in enumerate(row):
            image[y * height : (y + 1) * height, x * width : (x + 1) * width] = frame
        first = y * columns
        spans[name] = Clip(first, first + len(row) - 1, fps, (loops or {}).get(name, True))
    return Sheet(image, width, height, columns, rows, spans)


def animate(runs: Sequence[Run], pictures: Sequence[Pixels], durations: Sequence[int], fps: float = 8.0) -> Sheet:
    """Lays out the animations of a cut sheet: one clip for each run, at the speed of its frames.

    A clip has one speed. Where the frames of a run stand for different times, frames are repeated, as long as that
    makes the run at most LONGEST_STRETCH times as long; else they share the time evenly.

    Args:
        runs: which pictures follow each other.
        pictures: all of one size.
        durations: milliseconds of each picture; 0: `fps` rules.
        fps: frames a second where no duration is known.

    Raises:
        InvalidRequest: as `arrange`, or two runs have one name.
    """
    rows: dict[str, list[Pixels]] = {}
    speeds: dict[str, float] = {}
    for run in runs:
        if run.name in rows:
            raise InvalidRequest(
                f"Two animations are called '{run.name[:40]}'. Rename one tag in the editor and export again."
            )
        times = [durations[index] for index in run.pieces]
        step = math.gcd(*times)
        order = list(run.pieces)
        if step and sum(times) // step <= LONGEST_STRETCH * len(order):
            order = [index for index, time in zip(order, times, strict=True) for _ in range(time // step)]
        rows[run.name] = [pictures[index] for index in order]
        speeds[run.name] = len(order) * 1000 / sum(times) if all(times) else fps
    sheet = arrange(rows, loops={run.name: run.loop for run in runs})
    return replace(sheet, clips={name: replace(clip, fps=speeds[name]) for name, clip in sheet.clips.items()})


def grid(pictures: Sequence[Pixels], columns: int = 0) -> Sheet:
    """Puts pictures of one size side by side, near a square unless `columns` says otherwise; no clips."""
    columns = columns or max(1, int(np.ceil(np.sqrt(len(pictures)))))
    rows = {str(i): list(pictures[i : i + columns]) for i in range(0, len(pictures), columns)}
    sheet = arrange(rows)
    return Sheet(sheet.image, sheet.tile_width, sheet.tile_height, sheet.columns, sheet.rows, {})


def layout_json(sheet: Sheet, image_name: str) -> bytes:
    """Writes our layout file (`name.sheet.json`), beside the picture it names."""
    return (json.dumps({"image": image_name, **sheet.layout()}, indent=2) + "\n").encode()


def aseprite_json(sheet: Sheet, image_name: str) -> bytes:
    """Writes Aseprite's JSON array form, a frame tag for each clip; a clip that ends has `"repeat": "1"`."""
    frames, tags = [], []
    box = {"w": sheet.tile_width, "h": sheet.tile_height}
    for name, clip in sheet.clips.items():
        tag = {"name": name, "from": len(frames), "to": len(frames) + clip.last - clip.first, "direction": "forward"}
        # Aseprite plays a tag without "repeat" for ever
        tags.append(tag if clip.loop else {**tag, "repeat": "1"})
        for index in range(clip.first, clip.last + 1):
            y, x = divmod(index, sheet.columns)
            frames.append(
                {
                    "filename": f"{name} {index - clip.first}",
                    "frame": {"x": x * sheet.tile_width, "y": y * sheet.tile_height, **box},
                    "rotated": False,
                    "trimmed": False,
                    "spriteSourceSize": {"x": 0, "y": 0, **box},
                    "sourceSize": box,
                    "duration": round(1000 / clip.fps),
                }
            )
    size = {"w": sheet.image.shape[1], "h": sheet.image.shape[0]}
    meta = {"app": "dgx-pixels", "version": "1", "image": image_name, "format": "RGBA8888", "size": size, "scale": "1"}
    return (json.dumps({"frames": frames, "meta": {**meta, "frameTags": tags}}, indent=1) + "\n").encode()


def animated_preview(sheet: Sheet, longest: int = 256) -> bytes:
    """Encodes all clips after one another as a lossless animated WebP, enlarged by a whole number."""
    from PIL import Image

    zoom = max(1, longest // max(sheet.tile_width, sheet.tile_height))
    pictures, durations = [], []
    for name, clip in sheet.clips.items():
        shown = sheet.frames(name)
        for frame in shown * (2 if clip.loop else 1):
            large = np.repeat(np.repeat(frame, zoom, axis=0), zoom, axis=1)
            pictures.append(Image.fromarray(large))
            durations.append(round(1000 / clip.fps))
        durations[-1] += 0 if clip.loop else 500
    file = io.BytesIO()
    pictures[0].save(
        file, "WEBP", save_all=True, append_images=pictures[1:], duration=durations, loop=0, lossless=True, method=3
    )
    return file.getvalue()


def strip(sheet: Sheet) -> Pixels:
    """Returns all frames of all clips in one row, clip after clip: (tile height, frames * tile width, 4)."""
    return np.concatenate([frame for name in sheet.clips for frame in sheet.frames(name)], axis=1)


def gif(sheet: Sheet, longest: int = 256) -> bytes:
    """Returns all clips after one another as an animated GIF with a clear background, enlarged by a whole number."""
    from PIL import Image

    zoom = max(1, longest // max(sheet.tile_width, sheet.tile_height))
    pictures, durations = [], []
    for name, clip in sheet.clips.items():
        for frame in sheet.frames(name) * (2 if clip.loop else 1):
            large = np.repeat(np.repeat(frame, zoom, axis=0), zoom, axis=1)
            pictures.append(Image.fromarray(large))
            durations.append(max(20, round(100 / clip.fps) * 10))  # a GIF counts in hundredths of a second
        durations[-1] += 0 if clip.loop else 500
    file = io.BytesIO()
    pictures[0].save(file, "GIF", save_all=True, append_images=pictures[1:], duration=durations, loop=0, disposal=2)
    return file.getvalue()


def check_clips(sheet: Sheet, sprite: Pixels, *, stands: bool = True) -> Report:
    """Measures the gates and scores of a sheet's animations; `sprite` (h, w, 4) is what was animated.

    Gates: every frame is drawn; no frame holds a colour that the sprite lacks; feet on one line in looping clips;
    something moves; loops close (the step from last to first frame is at most 2.2 times the largest step within);
    silhouettes of looping clips change by at most 45 % from frame to frame. Scores: the worst figures of all clips.
    What hops or flies (`stands` False) has no floor line, and thin wings share few pixels with where they were: the two
    gates of line and silhouette are left out.
    """
    palette = _colors(sprite)
    drawn, in_palette, grounded, moves = True, True, True, True
    closing, change = 0.0, 0.0
    for name, clip in sheet.clips.items():
        frames = sheet.frames(name)
        drawn &= all((f[..., 3] > 0).any() for f in frames)
        in_palette &= all(_colors(f) <= palette for f in frames)
        steps = [_difference(a, b) for a, b in itertools.pairwise(frames)]
        moves &= max(steps, default=0.0) > 0
        if clip.loop and drawn:
            grounded &= len({int(np.flatnonzero((f[..., 3] > 0).any(axis=1))[-1]) for f in frames}) == 1
            closing = max(closing, _difference(frames[-1], frames[0]) / max(*steps, 1e-6) if steps else 0.0)
            change = max([change, *(_silhouette(a, b) for a, b in itertools.pairwise(frames))])
    gates = {
        "every_frame_drawn": drawn,
        "one_palette": in_palette,
        "feet_on_one_line": grounded,
        "moves": moves,
        "loop_closes": closing <= 2.2,
        "silhouette_steady": change <= 0.45,
    }
    if not stands:
        del gates["feet_on_one_line"], gates["silhouette_steady"]
    return Report(gates, {"loop_closing": closing, "silhouette_change": change})


def _colors(frame: Pixels) -> set[tuple[int, ...]]:
    return {tuple(color) for color in np.unique(frame[frame[..., 3] > 0], axis=0).tolist()}


def _difference(a: Pixels, b: Pixels) -> float:
    """Returns the share of the pixels drawn in either frame that differ."""
    either = (a[..., 3] > 0) | (b[..., 3] > 0)
    return float((a != b).any(axis=-1)[either].mean()) if either.any() else 0.0


def _silhouette(a: Pixels, b: Pixels) -> float:
    """Returns 1 - intersection over union of the drawn pixels."""
    one, two = a[..., 3] > 0, b[..., 3] > 0
    return 1 - float((one & two).sum()) / max(int((one | two).sum()), 1)

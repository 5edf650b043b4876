"""Pack frames into one picture: trimmed, equal ones shared, none turned, one clear pixel between them.

Frames are placed in rows (shelves) by falling height; of several widths the one with the smallest picture is taken.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from pipelines.errors import InvalidRequest
from pipelines.records import Pixels

LARGEST = 2048
"""Pixels of an atlas's side: layers need some ten numbers for each pixel."""
MOST_FRAMES = 1024
GAP = 1


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture to be packed.

    `name` is unique; `clip` groups the frames of an animation, shown for `milliseconds` each.
    """

    name: str
    image: Pixels
    clip: str = ""
    milliseconds: int = 100
    loop: bool = True


@dataclass(frozen=True, slots=True)
class Place:
    """Where a frame lies: x, y, width and height on the atlas; left and top of that part in the frame."""

    x: int
    y: int
    width: int
    height: int
    left: int
    top: int


@dataclass(frozen=True, slots=True, eq=False)
class Atlas:
    """Packed frames: `image`, and the place of each frame by its name."""

    image: Pixels
    frames: tuple[Frame, ...]
    places: Mapping[str, Place]
    clips: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def restored(self, name: str) -> Pixels:
        """Returns a frame as it was before it was packed."""
        place = self.places[name]
        whole = np.zeros_like(next(frame.image for frame in self.frames if frame.name == name))
        part = self.image[place.y : place.y + place.height, place.x : place.x + place.width]
        whole[place.top : place.top + place.height, place.left : place.left + place.width] = part
        return whole


def pack(frames: Sequence[Frame], *, margin: int = 0, power_of_two: bool = False) -> Atlas:
    """Packs frames; the same frames give the same atlas. What is clear loses its colour.

    Args:
        frames: 1 to MOST_FRAMES, each with something drawn.
        margin: clear pixels kept around what is drawn, for layers such as an outline.
        power_of_two: make both sides powers of two.

    Raises:
        InvalidRequest: no frame, too many, two of one name, or more than fits LARGEST pixels a side.
    """
    if not 1 <= len(frames) <= MOST_FRAMES:
        raise InvalidRequest(f"An atlas holds 1 to {MOST_FRAMES} frames, not {len(frames)}. Make two of them.")
    if len({frame.name for frame in frames}) < len(frames):
        raise InvalidRequest("Two frames have one name.")
    frames = [replace(frame, image=np.where(frame.image[..., 3:] > 0, frame.image, 0)) for frame in frames]
    parts: dict[bytes, tuple[Pixels, list[tuple[str, int, int]]]] = {}
    for frame in frames:
        left, top, right, bottom = trimmed_box(frame.image, margin)
        part = np.ascontiguousarray(frame.image[top:bottom, left:right])
        key = repr(part.shape).encode() + part.tobytes()
        parts.setdefault(key, (part, []))[1].append((frame.name, left, top))
    drawn = list(parts.values())
    order = sorted(range(len(drawn)), key=lambda i: (-drawn[i][0].shape[0], -drawn[i][0].shape[1], i))
    sizes = [(drawn[i][0].shape[1], drawn[i][0].shape[0]) for i in order]
    spots, width, height = _shelves(sizes, power_of_two)
    image = np.zeros((height, width, 4), np.uint8)
    places: dict[str, Place] = {}
    for (x, y), index in zip(spots, order, strict=True):
        part, users = drawn[index]
        image[y : y + part.shape[0], x : x + part.shape[1]] = part
        for name, left, top in users:
            places[name] = Place(x, y, part.shape[1], part.shape[0], left, top)
    clips: dict[str, list[str]] = {}
    for frame in frames:
        if frame.clip:
            clips.setdefault(frame.clip, []).append(frame.name)
    return Atlas(
        image,
        tuple(frames),
        {frame.name: places[frame.name] for frame in frames},
        {clip: tuple(names) for clip, names in clips.items()},
    )


def trimmed_box(image: Pixels, margin: int = 0) -> tuple[int, int, int, int]:
    """Returns left, top, right, bottom of what is drawn and `margin` pixels around it, inside the picture.

    A clear picture gives its first pixel.
    """
    drawn = image[..., 3] > 0
    if not drawn.any():
        return 0, 0, 1, 1
    rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
    height, width = drawn.shape
    return (
        max(0, int(columns[0]) - margin),
        max(0, int(rows[0]) - margin),
        min(width, int(columns[-1]) + 1 + margin),
        min(height, int(rows[-1]) + 1 + margin),
    )


def _shelves(sizes: Sequence[tuple[int, int]], power_of_two: bool) -> tuple[list[tuple[int, int]], int, int]:
    """Returns the place of each size, and the atlas's width and height: the smallest picture of a few widths."""
    area = sum((width + GAP) * (height + GAP) for width, height in sizes)
    widest = max(width for width, _ in sizes)
    best: tuple[int, int, list[tuple[int, int]], int, int] | None = None
    for step in range(8, 25):
        limit = max(widest, math.ceil(math.sqrt(area) * step / 12))
        spots, x, y, shelf, used = [], 0, 0, 0, 0
        for width, height in sizes:
            if x and x + width > limit:
                x, y, shelf = 0, y + shelf + GAP, 0
            spots.append((x, y))
            shelf, used = max(shelf, height), max(used, x + width)
            x += width + GAP
        across, down = used, y + shelf
        if power_of_two:
            across, down = (1 << (side - 1).bit_length() for side in (across, down))
        found = (across * down, max(across, down), spots, across, down)
        if max(across, down) > LARGEST and best is not None and best[1] <= LARGEST:
            continue
        if best is None or best[1] > LARGEST >= found[1] or found[:2] < best[:2]:
            best = found
    assert best is not None
    if best[1] > LARGEST:
        raise InvalidRequest(f"These frames need {best[3]}x{best[4]} pixels; {LARGEST} a side is the most. Take fewer.")
    return best[2], best[3], best[4]

"""Rigs of creatures that do not walk on two legs: slimes, things with wings, things with many legs, and beasts.

Which rig a creature gets follows from its noun; a rig that does not find its parts in the sprite (wings, legs) is not
used. Every frame moves whole pixels of the sprite, so it holds no other colour.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipelines.animation.painted import FORWARD, flashed
from pipelines.animation.rotate import moved
from pipelines.records import Pixels

CreatureKind = Literal["blob", "flyer", "crawler", "beast"]

_BLOBS = "slime jelly ooze blob cube snail mushroom fungus pudding puddle"
_FLYERS = "bat bird eagle crow raven owl bee wasp butterfly moth parrot hawk vulture pigeon fairy phoenix dove"
_CRAWLERS = "spider beetle ant scorpion crab scarab centipede spiderling octopus bug cockroach"
_BEASTS = """
    dragon drake wolf dog cat rat mouse bear horse deer boar pig cow sheep goat lizard crocodile fox rabbit lion tiger
    elephant dinosaur unicorn frog toad turtle bull hound panther hippo camel
"""
_KINDS: dict[CreatureKind, frozenset[str]] = {
    "blob": frozenset(_BLOBS.split()),
    "flyer": frozenset(_FLYERS.split()),
    "crawler": frozenset(_CRAWLERS.split()),
    "beast": frozenset(_BEASTS.split()),
}

LEAVES_FLOOR: frozenset[CreatureKind] = frozenset({"blob", "flyer"})
"""Rigs whose walk hops or flies."""

SAID: dict[CreatureKind, str] = {
    "blob": "squashed and stretched",
    "flyer": "wings beat about the shoulders",
    "crawler": "legs move in turn",
    "beast": "leg pairs step, the head bites",
}

MOVED: dict[CreatureKind, str] = {"blob": "outlines", "flyer": "wings", "crawler": "legs", "beast": "legs"}
"""The parts that a rig looks for in the sprite."""

Mask = NDArray[np.bool_]


def kind_of(words: str) -> CreatureKind | None:
    """Returns the rig that the last two words of a prompt ask for."""
    said = ["".join(c for c in word if c.isalpha()) for word in words.lower().split()]
    for word in reversed(said[-2:]):
        for kind, known in _KINDS.items():
            if word in known or (word.endswith("s") and word[:-1] in known):
                return kind
    return None


class Creature:
    """A creature on a canvas with room around it, with its movable parts found.

    Args:
        sprite: (height, width, 4) RGBA, hard alpha; a side view looks right.
        kind: the rig.
        side: whether it is seen from the side.
    """

    def __init__(self, sprite: Pixels, kind: CreatureKind, *, side: bool) -> None:
        self.sprite, self.kind, self.side = sprite, kind, side
        opaque = sprite[..., 3] > 0
        rows, columns = np.flatnonzero(opaque.any(axis=1)), np.flatnonzero(opaque.any(axis=0))
        self.top, self.feet = int(rows[0]), int(rows[-1])
        self.left, self.right = int(columns[0]), int(columns[-1])
        self.height, self.width = self.feet - self.top + 1, self.right - self.left + 1
        self.parts: list[Mask] = []
        self.turn: list[int] = []
        if kind == "flyer":
            self.parts = self._wings(opaque)
        elif kind == "crawler":
            self.parts = self._limbs(opaque)
        elif kind == "beast":
            self.parts = self._legs(opaque)
        self.body: Mask = opaque & ~np.any(self.parts, axis=0) if self.parts else opaque

    @property
    def usable(self) -> bool:
        """Whether the sprite has the parts that the rig moves."""
        return {"blob": True, "flyer": len(self.parts) == 2, "crawler": len(self.parts) >= 3}.get(
            self.kind, len(self.parts) >= 2
        )

    def clip(self, motion: str, frames: int, direction: str) -> list[Pixels]:
        """Returns the frames of a motion; `direction`: a key of FORWARD."""
        looping = motion in ("idle", "walk", "run")
        times = [i / frames if looping else i / (frames - 1) for i in range(frames)]
        pose = {"blob": self._blob, "flyer": self._flyer, "crawler": self._crawler, "beast": self._beast}[self.kind]
        return [pose(motion, t, direction) for t in times]

    def _pixels(self, share: float) -> int:
        """Returns a share of the height in whole pixels, at least one."""
        return max(1, round(self.height * share))

    def _forward(self, frame: Pixels, direction: str, by: float) -> Pixels:
        right, down = FORWARD[direction]
        return moved(frame, round(right * by), round(down * by))

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _wings(self, opaque: Mask) -> list[Mask]:
        """Finds the columns on both sides of the body, which is the middle as far as columns are tall."""
        tall = opaque.sum(axis=0)
        middle = (self.left + self.right) / 2
        near = tall[math.floor(middle) : math.ceil(middle) + 1].max()
        column = np.arange(opaque.shape[1])
        reach = 1
        while reach < self.width * 0.2 and tall[np.abs(column - middle) <= reach + 1].min() >= 0.7 * near:
            reach += 1
        wings = [opaque & (column < middle - reach), opaque & (column > middle + reach)]
        wide = [np.count_nonzero(wing.any(axis=0)) for wing in wings]
        areas = sorted(np.count_nonzero(wing) for wing in wings)
        even = areas[0] >= 0.6 * areas[1]
        slight = tall[np.any(wings, axis=(0, 1))].mean() <= 0.8 * near
        return wings if even and slight and min(wide) >= max(3, self.width * 0.15) else []

    def _limbs(self, opaque: Mask) -> list[Mask]:
        """Finds thin things around the body, and numbers them in turn by their order around it."""
        size = 3 if self.height <= 20 else 5
        core = np.asarray(ndimage.binary_opening(opaque, np.ones((size, size), bool)), bool)
        marks, count = _pieces(core)
        if not count:
            return []
        core = marks == 1 + int(np.bincount(marks[core])[1:].argmax())
        if core.sum() < 0.15 * opaque.sum():
            return []
        middle = np.argwhere(core).mean(axis=0)
        y, x = np.mgrid[: opaque.shape[0], : opaque.shape[1]]
        outside = opaque & ~core
        made = []
        for sign in (-1, 1):
            beside = outside & ((x - middle[1]) * sign > 0)
            marks, count = _pieces(beside, corners=True)
            found = [marks == n for n in range(1, count + 1) if (marks == n).sum() >= 2]
            if len(found) == 1 and found[0].sum() >= 6:  # legs that touch: by their height beside the body
                rows = np.flatnonzero(found[0].any(axis=1))
                found = [found[0] & (y >= part[0]) & (y <= part[-1]) for part in np.array_split(rows, 4) if part.size]
            made.append(sorted(found, key=lambda part: float(np.argwhere(part)[:, 0].mean())))
        self.turn = [i % 2 for i in range(len(made[0]))] + [1 - i % 2 for i in range(len(made[1]))]
        return made[0] + made[1]

    def _legs(self, opaque: Mask) -> list[Mask]:
        """Finds what stands on the floor, apart from one another, in the lower third."""
        low = np.zeros_like(opaque)
        best: list[Mask] = []
        for share in (0.16, 0.22, 0.28, 0.34):
            low[:] = False
            start = self.feet + 1 - self._pixels(share)
            low[start : self.feet + 1] = True
            marks, count = _pieces(opaque & low)
            legs = []
            for leg in (marks == n for n in range(1, count + 1)):
                rows, columns = np.flatnonzero(leg.any(axis=1)), np.flatnonzero(leg.any(axis=0))
                hangs = opaque[rows[0] - 1, leg[rows[0]]].any()
                if rows[-1] >= self.feet - self.height // 5 and len(columns) <= 0.35 * self.width and hangs:
                    legs.append(leg)
            if len(legs) >= max(2, len(best)):
                best = sorted(legs, key=lambda leg: int(np.flatnonzero(leg.any(axis=0))[0]))
        return best

    def _part(self, mask: Mask) -> Pixels:
        return np.where(mask[..., None], self.sprite, 0).astype(np.uint8)

    # -- poses ---------------------------------------------------------------------------------------------------------

    def _blob(self, motion: str, t: float, direction: str) -> Pixels:
        """Squashes and stretches the whole: what it loses in height it gains in width."""
        tall, wide, lift, ahead, flash = 1.0, 1.0, 0.0, 0.0, False
        if motion == "idle":
            tall, wide = (1 - 1.01 / self.height, 1 + 2.01 / self.width) if 0.25 <= t < 0.75 else (1.0, 1.0)
        elif motion in ("walk", "run"):
            leap = 0.2 if motion == "run" else 0.12
            tall, wide, lift = (
                (0.88, 1.1, 0.0)
                if t < 0.15
                else (1.0, 1.0, 0.0)
                if t < 0.3
                else (1.1, 0.94, leap * 0.6)
                if t < 0.45
                else (1.06, 0.96, leap)
                if t < 0.6
                else (1.08, 0.96, leap * 0.5)
                if t < 0.8
                else (0.94, 1.06, 0.0)
            )
        elif motion == "attack":
            tall, wide, lift, ahead = (
                (0.72, 1.2, 0.0, -0.08)
                if t < 0.25
                else (1.2, 0.86, 0.2, 0.2)
                if t < 0.45
                else (0.8, 1.24, 0.0, 0.42)
                if t < 0.7
                else (0.92, 1.06, 0.0, 0.2)
                if t < 0.95
                else (1.0, 1.0, 0.0, 0.0)
            )
        elif motion == "hurt":
            tall, wide, flash = (0.8, 1.16, True) if t < 0.3 else (1.1, 0.92, False) if t < 0.7 else (1.0, 1.0, False)
        else:
            flash = t < 0.15
            tall, wide = (1.0, 1.0) if flash else (1 - 0.72 * min(t * 1.15, 1), 1 + 0.5 * min(t * 1.15, 1))
        box = self.sprite[self.top : self.feet + 1, self.left : self.right + 1]
        box = resized(box, max(2, round(self.height * tall)), max(2, round(self.width * wide)))
        frame = np.zeros_like(self.sprite)
        middle = (self.left + self.right + 1) / 2
        x, y = round(middle - box.shape[1] / 2), self.feet + 1 - box.shape[0] - round(lift * self.height)
        x, y = max(0, min(x, frame.shape[1] - box.shape[1])), max(0, y)
        frame[y : y + box.shape[0], x : x + box.shape[1]] = box[: frame.shape[0] - y, : frame.shape[1] - x]
        frame = self._forward(frame, direction, ahead * self.height)
        return flashed(frame) if flash else frame

    def _flyer(self, motion: str, t: float, direction: str) -> Pixels:
        """Shears the wings about the shoulders and moves the body against them."""
        beat = math.sin(2 * math.pi * t)
        slope, ahead, rise = 0.3 * beat, 0.0, -round(beat)
        if motion in ("walk", "run"):
            slope = (0.6 if motion == "run" else 0.5) * beat
        elif motion == "attack":
            slope, ahead, rise = (
                (0.8, -0.1, -1)
                if t < 0.25
                else (-0.3, 0.3, 1)
                if t < 0.45
                else (-0.7, 0.42, 2)
                if t < 0.7
                else (0.4, 0.15, 0)
                if t < 0.95
                else (0.0, 0.0, 0)
            )
        elif motion == "hurt":
            slope, ahead, rise = (0.6, -0.12, 0) if t < 0.3 else (-0.4, -0.06, 1) if t < 0.7 else (0.0, 0.0, 0)
        elif motion == "die":
            slope, rise = (0.0, 0) if t < 0.15 else (0.9, 1) if t < 0.45 else (-0.9, 2) if t < 0.7 else (0.3, 0)
        frame = moved(self._part(self.body), 0, rise)
        for wing, sign in zip(self.parts, (-1, 1), strict=True):
            self._shear(frame, wing, sign, slope, rise)
        if motion == "die" and t >= 0.7:
            frame = frame[::-1]
            low = int(np.flatnonzero((frame[..., 3] > 0).any(axis=1))[-1])
            frame = moved(np.ascontiguousarray(frame), 0, self.feet - low)
        frame = self._forward(frame, direction, ahead * self.height)
        return flashed(frame) if motion in ("hurt", "die") and t < 0.15 else frame

    def _shear(self, frame: Pixels, wing: Mask, sign: int, slope: float, rise: int) -> None:
        """Lays a wing on the frame: each column rises by its distance from the body times the slope."""
        columns = np.flatnonzero(wing.any(axis=0))
        root = columns[-1] if sign < 0 else columns[0]
        picture = self._part(wing)
        for x in columns:
            away = min(abs(int(x) - int(root)) + 1, self.width * 0.4)
            shift = rise - round(slope * away)
            column = np.zeros_like(picture[:, x])
            source, target = slice(max(0, -shift), len(column) - max(0, shift)), slice(max(0, shift), None)
            column[target][: source.stop - source.start] = picture[source, x]
            drawn = column[:, 3] > 0
            frame[drawn, x] = column[drawn]

    def _crawler(self, motion: str, t: float, direction: str) -> Pixels:
        """Lifts every other leg while the rest stand."""
        step, phase, ahead, bob = self._pixels(0.07), int(t * 4 + 1e-6) % 4, 0.0, 0
        lifted = {0: 0, 1: -1, 2: 1, 3: -1}[phase] if motion in ("walk", "run") else -1
        if motion == "idle":
            bob = 1 if 0.25 <= t < 0.75 else 0
        elif motion in ("walk", "run"):
            bob = -1 if phase % 2 == 0 else 0
        elif motion == "attack":
            ahead, lifted, bob = (
                (-0.12, 0, -step)
                if t < 0.3
                else (0.35, 1, 0)
                if t < 0.7
                else (0.15, -1, 0)
                if t < 0.95
                else (0.0, -1, 0)
            )
        elif motion == "hurt":
            ahead, lifted = (-0.12, 0) if t < 0.3 else (-0.06, 1) if t < 0.7 else (0.0, -1)
        elif t >= 0.15:
            lifted = 0 if t < 0.35 else 1
        frame = np.zeros_like(self.sprite)
        near = np.asarray(ndimage.binary_dilation(self.body), bool)
        on_floor = [bool(leg[self.feet].any()) for leg in self.parts]
        stands = any(floor and turn != lifted for floor, turn in zip(on_floor, self.turn, strict=True))
        for leg, turn, floor in zip(self.parts, self.turn, on_floor, strict=True):
            picture = self._part(leg)
            if turn == lifted and floor and not stands and motion in ("walk", "run"):
                # the only legs that reach the floor draw in along it: lifted, the whole creature would hover
                inward = 1 if np.argwhere(leg)[:, 1].mean() < np.argwhere(self.body)[:, 1].mean() else -1
                _lay(frame, moved(picture, inward, 0))
            else:
                _lay(frame, picture if turn != lifted else moved(picture, 0, -step))
            joint = leg & near
            _lay(frame, self._part(joint))
        _lay(frame, moved(self._part(self.body), 0, bob))
        if motion == "die" and t >= 0.5:  # on its back, the legs drawn in
            box = frame[self.top : self.feet + 1, self.left : self.right + 1][::-1]
            box = resized(box, self.height, max(2, round(self.width * (0.85 if t < 0.75 else 0.7))))
            frame = np.zeros_like(frame)
            x = self.left + (self.width - box.shape[1]) // 2
            frame[self.top : self.feet + 1, x : x + box.shape[1]] = box
        frame = self._forward(frame, direction, ahead * self.height)
        return flashed(frame) if motion in ("hurt", "die") and t < 0.15 else frame

    def _beast(self, motion: str, t: float, direction: str) -> Pixels:
        """Steps with leg pairs in turn under the body, snaps with the head, sinks onto the floor."""
        long = int(np.count_nonzero(np.any(self.parts, axis=0).any(axis=1)))
        step, phase, ahead, bob = min(self._pixels(0.09), max(1, long - 1)), int(t * 4 + 1e-6) % 4, 0.0, 0
        lifted, swing, bite, sunk = -1, 0, 0, 0
        if motion == "idle":
            bob = 1 if 0.25 <= t < 0.75 else 0
        elif motion in ("walk", "run"):
            lifted, bob = {0: 0, 1: -1, 2: 1, 3: -1}[phase], -1 if phase % 2 == 0 else 0
            swing = self._pixels(0.06 if motion == "walk" else 0.1) if self.side else 0
        elif motion == "attack":
            ahead, bite = (-0.08, -1) if t < 0.3 else (0.2, self._pixels(0.12)) if t < 0.7 else (0.08, 0)
            ahead = 0.0 if t >= 0.95 else ahead
        elif motion == "hurt":
            ahead = -0.1 if t < 0.3 else -0.05 if t < 0.7 else 0.0
        elif t >= 0.15:
            sunk = round(long * min(1.0, t * 1.3))
        frame = np.zeros_like(self.sprite)
        for number, leg in enumerate(self.parts):
            picture = self._part(leg)
            turn = (number + (number // 2 if len(self.parts) >= 4 else 0)) % 2
            if lifted >= 0:
                up = turn == lifted
                picture = moved(picture, swing if up else -swing, -step if up else 0)
            if sunk:
                picture[: self.feet + 1] = moved(picture, 0, sunk)[: self.feet + 1]
                picture[self.feet + 1 :] = 0
            _lay(frame, picture)
        body = self._part(self.body)
        if bite:
            body = self._bitten(body, bite)
        _lay(frame, moved(body, 0, bob + sunk))
        if bob < 0:  # the row above the legs fills what a rising body leaves
            edge = self.feet - long
            gap = self._part(self.body)[edge]
            empty = frame[edge, :, 3] == 0
            frame[edge][empty] = gap[empty]
        frame = self._forward(frame, direction, ahead * self.height)
        return flashed(frame) if motion in ("hurt", "die") and t < 0.15 else frame

    def _bitten(self, body: Pixels, by: int) -> Pixels:
        """Moves the head ahead: the front third from the side, the upper half from the front."""
        head = np.zeros_like(self.body)
        if self.side:
            head[:, self.right + 1 - round(self.width * 0.35) :] = True
        else:
            head[: self.top + round(self.height * 0.5)] = True
        made = body.copy()
        part = np.where((head & self.body)[..., None], body, 0).astype(np.uint8)
        _lay(made, moved(part, by if self.side else 0, max(1, by // 2) if by > 0 else 0))
        return made


def _pieces(mask: Mask, *, corners: bool = False) -> tuple[NDArray[np.int32], int]:
    """Numbers the connected pieces of a mask from 1; returns their map and how many there are."""
    made: Any = ndimage.label(mask, np.ones((3, 3), bool) if corners else None)
    return made


def _lay(frame: Pixels, part: Pixels) -> None:
    drawn = part[..., 3] > 0
    frame[drawn] = part[drawn]


def resized(picture: Pixels, height: int, width: int) -> Pixels:
    """Returns a picture of another size; the rows and columns that differ least from the next are lost or doubled.

    Outlines and eyes, which differ most, are kept as long as possible. The first and last line always stay.
    """
    made = _lines(picture, height)
    return np.ascontiguousarray(_lines(made.transpose(1, 0, 2), width).transpose(1, 0, 2))


def _lines(picture: Pixels, count: int) -> Pixels:
    inner = np.arange(1, len(picture) - 1)
    if count == len(picture) or not inner.size:
        return picture
    colors = picture.copy()
    colors[..., 3][colors[..., 3] > 0] = 255  # alpha may carry a tag (`tracing`), which is not compared
    differ = (colors[inner] != colors[inner + 1]).any(axis=-1).sum(axis=-1)
    order = inner[np.argsort(differ, kind="stable")]
    times = np.ones(len(picture), np.intp)
    if count < len(picture):
        times[order[: len(picture) - count]] = 0
    else:
        np.add.at(times, np.resize(order, count - len(picture)), 1)  # each once before any a second time
    return np.repeat(picture, times, axis=0)

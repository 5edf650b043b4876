"""Training sprites from the drawings of this folder (the .txt files).

`python -m pipelines.embedded.training.drawn.things FILE.png` writes a contact sheet.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipelines.embedded.training.drawn.animals import MAKERS
from pipelines.embedded.training.drawn.render import UNITS, Shape, draw, jitter, parse
from pipelines.records import Pixels

FILES = ("items", "food", "animals", "places", "nature")

FACING = frozenset(["animal", "vehicle", "bird"])
"""Tags of drawings that all face left."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """One description: names (the first is the usual one), kind, colour names for A and B, tags, shapes."""

    names: tuple[str, ...]
    kind: str
    colors: tuple[str, ...]
    second: tuple[str, ...]
    tags: tuple[str, ...]
    shapes: tuple[Shape, ...]

    @property
    def colored(self) -> bool:
        """Whether any shape has the colour that changes."""
        return any(shape.color.startswith("A") for shape in self.shapes)


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A picture of a drawing, and what it is called. `natural`: in the colour that needs no saying."""

    image: Pixels
    drawing: Drawing
    color: str
    natural: bool


@cache
def drawings() -> tuple[Drawing, ...]:
    """Reads all descriptions, in the order of FILES.

    Raises:
        ValueError: a line that cannot be read.
    """
    found: list[Drawing] = []
    for name in FILES:
        head, lines = "", []
        text = (Path(__file__).parent / f"{name}.txt").read_text(encoding="utf-8")
        for line in [*text.splitlines(), "= "]:
            if line.startswith("= "):
                if head:
                    found.append(_drawing(head, lines))
                head, lines = line[2:], []
            elif line.strip() and not line.startswith("#"):
                lines.append(line)
    return tuple(found)


def _drawing(head: str, lines: Sequence[str]) -> Drawing:
    names, kind, colors, tags = (part.strip() for part in head.split("|"))
    first, _, second = colors.partition("/")
    shapes: list[Shape] = []
    for line in lines:
        if line.startswith("> "):
            maker, *arguments = line[2:].split()
            shapes += MAKERS[maker](**{k: _value(v) for k, v in (a.split("=", 1) for a in arguments)})
        else:
            shapes += parse(line.removeprefix("+ "))
    return Drawing(
        tuple(n.strip() for n in names.split(",")), kind, tuple(first.split()), tuple(second.split()) or ("white",),
        tuple(tags.split()), tuple(shapes),
    )  # fmt: skip


def _value(text: str) -> Any:
    if "," in text:
        return tuple(float(x) for x in text.split(","))
    try:
        return int(text) if text.isdigit() else float(text)
    except ValueError:
        return text.replace("_", " ")


def pictures(drawing: Drawing, size: int, count: int, seed: int) -> Iterator[Drawn]:
    """Yields `count` pictures, half of them in the natural colour, the others in its other colours in turn."""
    rng = np.random.default_rng((seed, size))
    others = drawing.colors[1:] or drawing.colors
    for k in range(count):
        natural = k % 2 == 0 or len(drawing.colors) == 1 or not drawing.colored
        color = drawing.colors[0] if natural else others[k // 2 % len(others)]
        second = drawing.second[k // 2 % len(drawing.second)]
        if second == color:
            second = "white" if color != "white" else "red"
        shapes = jitter(drawing.shapes, rng, 0.25 if k == 0 else 1.0)
        yield Drawn(draw(shapes, size, color, second, rng), drawing, color, natural)


def entry(drawn: Drawn) -> dict[str, Any]:
    """Returns the metadata of a picture, as in a metadata.jsonl."""
    of, color = drawn.drawing, drawn.color
    says = [f"{color} {name}" for name in of.names]
    if drawn.natural:
        says = [*of.names, of.names[0], of.names[0], *(says if of.colored else ())]
    if FACING & set(of.tags) and len(of.shapes) and "sea" not in of.tags:
        says.append(f"{says[0]} facing left")
    return {
        "text": f"{color} {of.names[0]}", "captions": says, "name": of.names[0], "kind": of.kind,
        "tags": [*of.names[0].split()[-1:], *of.tags],
    }  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the contact sheet: every drawing at 32 and at 16 pixels."""
    out = Path((argv or sys.argv[1:])[0])
    across = 24
    found = drawings()
    cell = UNITS + 2
    sheet = Image.new("RGB", (across * cell, 2 * -(-len(found) // across) * cell), (96, 110, 98))
    for i, drawing in enumerate(found):
        for row, size in enumerate((32, 16)):
            picture = Image.fromarray(next(pictures(drawing, size, 1, i)).image)
            if size == 16:
                picture = picture.resize((32, 32), Image.Resampling.NEAREST)
            sheet.paste(picture, (i % across * cell, (i // across * 2 + row) * cell), picture)
    sheet.resize((sheet.width * 2, sheet.height * 2), Image.Resampling.NEAREST).save(out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

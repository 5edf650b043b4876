"""The SDXL bench's picture: time of a guided step and of a picture, arm by arm, as an SVG without any library.

python -m tests.bench.sdxl.plot result.json docs/performance.svg
"""

from __future__ import annotations

import json
import sys
from html import escape
from pathlib import Path
from typing import Any

WIDTH, LABEL, BAR, GAP = 860, 330, 18, 8
INK, PLAIN, OURS, FLOOR = "#2b2b33", "#b9b4a7", "#3f7d5a", "#c8553d"

Bar = tuple[str, float, bool]
"""(label, milliseconds, ours)"""


def draw(result: dict[str, Any]) -> str:
    """The SVG of one run's JSON: each bar beside the time that its counted operations take at the product's rate."""
    rows = {row["name"]: row for row in result["rows"]}
    parts: list[str] = []
    y = 34
    for title, chosen in (
        ("A picture", [n for n in rows if n.startswith(("stock", "ours: "))]),
        ("One guided step", [n for n in rows if n.startswith("step, guided") and "failed" not in rows[n]["note"]]),
        ("One decode", [n for n in rows if n.startswith("decode: ")]),
    ):
        # a batch would make all other bars short; the stock pipeline comes first
        chosen = sorted((n for n in chosen if "batch" not in n), key=lambda n: not n.startswith("stock"))
        if not chosen:
            continue
        most = max(rows[name]["seconds"] for name in chosen)
        parts.append(f'<text x="10" y="{y}" font-size="15" font-weight="bold" fill="{INK}">{title}</text>')
        y += 12
        for name in chosen:
            parts.append(_bar(rows[name], name, y, most, result["product"]))
            y += BAR + GAP
        y += 34
    ceiling = f"matrix product {result['product']:.0f} TFLOP/s; red: the counted operations at that rate"
    head = escape(f"{result['device']}; {ceiling}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" font-family="sans-serif">\n'
        f'<rect width="{WIDTH}" height="{y}" fill="#fbfaf6"/>\n'
        + "\n".join(parts)
        + f'\n<text x="10" y="{y - 12}" font-size="11" fill="{INK}">{head}</text>\n</svg>\n'
    )


def _bar(row: dict[str, Any], name: str, y: int, most: float, product: float) -> str:
    scale = (WIDTH - LABEL - 110) / most
    length, floor = row["seconds"] * scale, row["tflop"] / product * scale
    color = OURS if name.startswith("ours") or "ours" in name or "the same" in name else PLAIN
    label = escape(name.removeprefix("step, guided").removeprefix("decode").lstrip(":, ") or name)
    value = f"{row['seconds'] * 1000:.1f} ms"
    middle = y + BAR - 5
    return (
        f'<text x="{LABEL - 8}" y="{middle}" font-size="12" text-anchor="end" fill="{INK}">{label}</text>'
        f'<rect x="{LABEL}" y="{y}" width="{length:.1f}" height="{BAR}" fill="{color}"/>'
        f'<rect x="{LABEL + floor:.1f}" y="{y - 2}" width="2" height="{BAR + 4}" fill="{FLOOR}"/>'
        f'<text x="{LABEL + length + 6:.1f}" y="{middle}" font-size="12" fill="{INK}">{value}</text>'
    )


def main() -> None:
    source, target = map(Path, sys.argv[1:3])
    target.write_text(draw(json.loads(source.read_text(encoding="utf-8"))), encoding="utf-8")


if __name__ == "__main__":
    main()

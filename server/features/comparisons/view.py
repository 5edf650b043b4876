"""Show a comparison: one picture with labels, and its entries on the results page."""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pipelines.errors import PipelineError, explain
from server.errors import LibraryError
from server.features.comparisons.compare import Comparison, Comparisons, picture_path
from server.features.preview import on_chequers
from server.gallery.build import data_uri
from server.library.files import write_below
from server.library.store import Library

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from server.library.records import Asset

_GAP, _LINE, _SIDE = 6, 15, 108
_BACKGROUND, _INK = (245, 245, 242), (35, 35, 40)


def comparison_png(library: Library, comparison: Comparison) -> bytes:
    """Draws one column per variant and one row per prompt and seed, enlarged by whole factors.

    Raises:
        LibraryError: a picture is gone.
    """
    import numpy as np
    from PIL import Image, ImageDraw, ImageFont

    cells = len(comparison.variants) * len(comparison.prompts) * len(comparison.seeds)
    cell = 128 if cells <= 12 else 96 if cells <= 32 else 64
    rows = [(p, s) for p in range(len(comparison.prompts)) for s in range(len(comparison.seeds))]
    width = _SIDE + len(comparison.variants) * (cell + _GAP) + _GAP
    heads = [label.replace(" + ", "\n+ ").split("\n") for label in comparison.labels]
    head = _LINE * max(len(lines) for lines in heads) + _GAP
    height = head + len(rows) * (cell + _GAP) + _GAP
    image = Image.new("RGB", (width, height), _BACKGROUND)
    draw = ImageDraw.Draw(image)
    assets = _assets(library, comparison)
    font = ImageFont.load_default(11)
    for v, lines in enumerate(heads):
        left = _SIDE + v * (cell + _GAP)
        for n, line in enumerate(lines):
            draw.text((left + cell / 2, 4 + n * _LINE), _short(line, font, cell), fill=_INK, font=font, anchor="ma")
    for r, (p, s) in enumerate(rows):
        top = head + r * (cell + _GAP)
        lines = _wrapped(comparison.prompts[p], font, _SIDE - 2 * _GAP) if s == 0 else []
        draw.multiline_text((_GAP, top + 2), "\n".join(lines[:5]), fill=_INK, font=font)
        draw.text((_GAP, top + cell - 14), f"seed {comparison.seeds[s]}", fill=(120, 120, 125), font=font)
        for v in range(len(comparison.variants)):
            picture = _pixels(library, assets, comparison.cells[v][p][s])
            factor = max(1, cell // max(picture.shape[:2]))
            large = on_chequers(picture).repeat(factor, 0).repeat(factor, 1)
            tile = Image.fromarray(np.ascontiguousarray(large[..., :3]))
            left = _SIDE + v * (cell + _GAP)
            image.paste(tile, (left + (cell - tile.width) // 2, top + (cell - tile.height) // 2))
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()


def write_picture(library: Library, comparison: Comparison) -> bytes:
    """Draws the picture, keeps it in the library's folder, and returns it.

    Raises:
        LibraryError: a picture is gone, or the disk refuses.
    """
    png = comparison_png(library, comparison)
    path = picture_path(library, comparison)
    try:
        write_below(library.folder, "comparisons", path.name, data=png)
    except OSError as error:
        raise LibraryError(explain(error, path)) from error
    return png


def all_entries(library: Library, limit: int = 10) -> list[dict[str, Any]]:
    """Returns the newest comparisons for the results page. One whose pictures are gone is left out."""
    entries: list[dict[str, Any]] = []
    comparisons = Comparisons(library).latest(limit)
    assets = _assets(library, *comparisons)
    for comparison in comparisons:
        with suppress(LibraryError, PipelineError):
            entries += _page_entries(library, comparison, assets)
    return entries


def vote_from_page(library: Library, entry_id: str, winner: str) -> None:
    """Records a vote on an entry of the page.

    Raises:
        ServerError: the entry does not exist, or does not have this winner.
    """
    comparison_id, _, prompt = entry_id.partition("/")
    Comparisons(library).vote(comparison_id, winner, int(prompt) if prompt.isdecimal() else None)


def _page_entries(library: Library, comparison: Comparison, assets: Mapping[str, Asset]) -> list[dict[str, Any]]:
    """Returns a comparison as `gallery_page` takes it: an entry for each prompt, with the id `id/prompt`."""
    entries = []
    for p, prompt in enumerate(comparison.prompts):
        voted = comparison.votes.get(p)
        options = []
        for v, letter in enumerate(comparison.letters):
            png, width, height = _strip(library, assets, comparison.cells[v][p])
            options.append(
                {"key": letter, "label": comparison.labels[v], "png": data_uri(png), "width": width, "height": height}
            )
        entries.append(
            {
                "id": f"{comparison.id}/{p}",
                "prompt": prompt,
                "options": options,
                "voted": comparison.letters[voted] if voted is not None and voted >= 0 else None,
            }
        )
    return entries


def _strip(library: Library, assets: Mapping[str, Asset], asset_ids: tuple[str, ...]) -> tuple[bytes, int, int]:
    """Returns the pictures of one variant and prompt side by side as a PNG, and its width and height."""
    import numpy as np
    from PIL import Image

    pictures = [_pixels(library, assets, asset_id) for asset_id in asset_ids]
    height = max(p.shape[0] for p in pictures)
    padded = [np.pad(p, ((height - p.shape[0], 0), (0, 0), (0, 0))) for p in pictures]
    strip = np.concatenate(padded, axis=1)
    out = io.BytesIO()
    Image.fromarray(strip).save(out, "PNG")
    return out.getvalue(), strip.shape[1], strip.shape[0]


def _assets(library: Library, *comparisons: Comparison) -> dict[str, Asset]:
    """Returns the assets of all cells by id, in one query; one that is gone is left out."""
    return library.get_many({i for c in comparisons for rows in c.cells for row in rows for i in row})


def _pixels(library: Library, assets: Mapping[str, Asset], asset_id: str) -> NDArray[np.uint8]:
    from pipelines.pixels.png import read_picture

    return read_picture(library.read(assets.get(asset_id) or library.get(asset_id)))


def _short(text: str, font: Any, width: int) -> str:
    while text and font.getlength(text) > width:
        text = text[:-2] + "…" if text.endswith("…") else text[:-1] + "…"
        if text == "…":
            break
    return text


def _wrapped(text: str, font: Any, width: int) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines

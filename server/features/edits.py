"""Edits of a library's sprites: the edited one is a new asset, the old one stays. Knows nothing of tools."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pipelines.errors import InvalidRequest
from server.errors import LibraryError
from server.features.bases import record_bases
from server.features.recipes import palette_words

if TYPE_CHECKING:
    from pipelines.records import OnProgress, Pixels
    from server.library.records import Asset
    from server.library.store import Library
    from server.project.game import Project
    from server.studio import Studio

MODES = ("variation", "repaint", "recolor", "resize")


@dataclass(frozen=True, slots=True, eq=False)
class Edited:
    """One edited sprite, kept as an asset of its own, beside what it was made of."""

    project: Project | None
    library: Library
    before: Pixels
    after: Pixels
    asset: Asset
    changed: int
    unknown_words: tuple[str, ...] = ()


def edit_sprite(
    studio: Studio,
    asset_id: str,
    on_progress: OnProgress,
    *,
    prompt: str = "",
    strength: float = 0.5,
    place: str = "",
    recolor: Mapping[str, str] | None = None,
    palette: str = "",
    width: int | None = None,
    height: int | None = None,
    seed: int | None = None,
    model: str = "",
    project: str | None = None,
) -> Edited:
    """Edits a sprite; what is asked for decides how.

    Args:
        asset_id: the sprite.
        prompt: draw it over by these words; with neither this nor another change, a variation by its own words.
        strength: how much a drawing may change, above 0 up to 1.
        place: only there ("the hat"): all other pixels stay bit-equal.
        recolor: RRGGBB -> RRGGBB.
        palette: another palette, as in generate_sprite.
        width: a new size in pixels; None: as it is.
        height: the same.
        seed: None: a new one.

    Raises:
        LibraryError: there is no such sprite.
        InvalidRequest: changes that do not go together, or that change nothing.
        PipelineError, ServerError: as `generate_sprites`.
    """
    from pipelines.pixels.palette import Palette
    from pipelines.pixels.png import encode_png, read_picture
    from pipelines.sprites import edit

    game = studio.project(project)
    home, asset = studio.find_asset(asset_id, game)
    if asset.kind != "sprite":
        raise LibraryError(f"Asset {asset_id} is a {asset.kind}; only a sprite can be edited. list_assets shows them.")
    chosen = [bool(recolor), bool(palette), bool(width or height)]
    if sum(chosen) > 1 or (any(chosen) and (prompt or place)):
        raise InvalidRequest(
            "One change at a time: draw over (prompt, place, strength), recolor, palette, or size. Edit the result "
            "again for the next."
        )
    image = read_picture(home.read(asset))
    recipe = asset.recipe
    origin = {"edited_from": asset.id}
    if recolor:
        sprite = edit.recolor(image, recipe, recolor)
        origin["recolor"] = ",".join(f"{a}:{b}" for a, b in recolor.items())
    elif palette:
        words = palette_words(game, palette)
        if not words:
            raise InvalidRequest("palette='none' repaints nothing. Give a palette file or RRGGBB words.")
        sprite = edit.repaint(image, recipe, Palette.from_words(words))
    elif width or height:
        sprite = edit.resize(image, recipe, _side(width or recipe.width), _side(height or recipe.height))
    else:
        mask = edit.mask_of_place(image, place) if place else None
        wanted = replace(
            recipe,
            prompt=prompt or recipe.prompt,
            seed=secrets.randbelow(2**31) if seed is None else seed,
            model=model or recipe.model,
        )
        sprite = edit.redraw(studio.engine, image, wanted, strength, mask, on_progress)
        origin |= {"strength": str(strength), "place": place}
    options = {name: value for name, value in sprite.recipe.options.items() if name != "batch"} | {"edit": origin}
    final = record_bases(studio, replace(sprite.recipe, options=options))
    png = encode_png(sprite.image, final.to_json(), sprite.palette)
    details = {"palette": list(sprite.palette.words), "unknown_words": list(sprite.unknown_words)}
    library = studio.library(game)
    kept = library.add("sprite", {"sprite.png": png}, final, sprite.report.to_dict(), details)
    same_size = sprite.image.shape == image.shape
    changed = int((sprite.image != image).any(axis=-1).sum()) if same_size else sprite.image.shape[0] * image.shape[1]
    return Edited(game, library, image, sprite.image, kept, changed, sprite.unknown_words)


def parse_recolor(text: str) -> dict[str, str]:
    """ "ff0000:00ff00, 112233:445566" as a mapping.

    Raises:
        InvalidRequest: the text has another form.
    """
    pairs = [pair.strip().replace("#", "") for pair in re.split(r"[,;]", text) if pair.strip()]
    if not all(re.fullmatch(r"[0-9a-fA-F]{6}\s*(:|->)\s*[0-9a-fA-F]{6}", pair) for pair in pairs):
        raise InvalidRequest(f"recolor='{text}' is not understood. Write 'ff0000:3f6fd0, 8c1f2b:2b4f8c' (old:new).")
    return {a.strip().lower(): b.strip().lower() for a, b in (re.split(r":|->", pair) for pair in pairs)}


def _side(pixels: int) -> int:
    if 1 <= pixels <= 256:
        return pixels
    raise InvalidRequest(f"A sprite is resized to 1 to 256 pixels, not {pixels}.")

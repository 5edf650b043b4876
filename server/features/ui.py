"""Makes user-interface kits: pieces of one look, icons by the model, a pixel font; and the Rust that shows a piece."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.errors import InvalidRequest
from server.features.recipes import palette_colors
from server.features.requests import SpriteRequest
from server.features.save import save_asset
from server.features.sprites import Drawn, generate_each
from server.project.style import Style
from server.storage import check_storage

if TYPE_CHECKING:
    from pipelines.records import OnProgress, Pixels
    from pipelines.ui.kit import Kit
    from server.features.requests import UiRequest
    from server.library.records import Asset
    from server.library.store import Library
    from server.project.game import Project
    from server.studio import Studio

MOST_ICONS = 32
ICON_SIDES = (16, 32)
"""Pixels of an icon, for kits up to 32 pixels and larger ones."""


@dataclass(frozen=True, slots=True, eq=False)
class MadeUi:
    """A kit that was made and kept, and what could not be drawn."""

    project: Project | None
    library: Library
    asset: Asset
    kit: Kit
    warnings: tuple[str, ...]
    unknown_words: tuple[str, ...]
    seconds: float


def generate_ui(studio: Studio, request: UiRequest, on_progress: OnProgress, *, project: str | None = None) -> MadeUi:
    """Draws a kit and keeps it in the game's library. An icon that fails is named and left out.

    Raises:
        InvalidRequest: a size or number of icons out of range, or every icon failed.
        ServerError, PipelineError: as `generate_sprites`.
    """
    from pipelines.pixels.palette import Palette
    from pipelines.pixels.png import encode_png
    from pipelines.records import Recipe
    from pipelines.ui.kit import LARGEST, SMALLEST, make_kit, regions_json

    started = time.perf_counter()
    check_storage()
    game = studio.project(project)
    library = studio.library(game)
    style = game.style if game else Style()
    side = request.size or min(max(style.size, SMALLEST), LARGEST)
    locked = palette_colors(game, request.palette)
    palette = Palette.from_hex(locked) if locked else None
    seed = secrets.randbelow(2**31) if request.seed is None else request.seed
    if len(request.icons) > MOST_ICONS:
        raise InvalidRequest(f"A kit has at most {MOST_ICONS} icons, not {len(request.icons)}. Make a second one.")
    make_kit(request.prompt, side, {}, palette)  # raises before anything is drawn
    drawn = _draw_icons(studio, request, side, seed, on_progress, project)
    icons: dict[str, Pixels] = {}
    warnings: list[str] = []
    for word, one in drawn:
        if isinstance(one, Exception):
            warnings.append(f"The icon '{word}' is missing: {one}")
        else:
            icons[_name(word, icons)] = one.image
    if drawn and not icons:
        raise InvalidRequest(f"No icon could be drawn. {warnings[0]}")
    kit = make_kit(request.prompt, side, icons, palette)
    unknown = dict.fromkeys(w for _, one in drawn if isinstance(one, Drawn) for w in one.unknown_words)
    options: dict[str, Any] = {"ui": request.prompt, "size": side}
    if request.icons:
        options["icons"] = list(request.icons)
    height, width = kit.image.shape[:2]
    first = next((one.asset.recipe for _, one in drawn if isinstance(one, Drawn)), None)
    recipe = Recipe(
        "sheet",
        f"{request.prompt} ui",
        width,
        height,
        seed,
        model=first.model if first else "",
        revision=first.revision if first else "",
        loras=first.loras if first else (),
        palette=locked,
        options=options,
    )
    asset = save_asset(
        library,
        recipe,
        kit.image,
        kit.report,
        palette=palette,
        indexed=False,  # a user interface samples RGBA
        files={
            "ui.json": regions_json(kit, "sheet.png", "font.png"),
            "font.png": encode_png(kit.font.image),
            "font.fnt": kit.font.descriptor,
            "preview.png": encode_png(kit.preview),
        },
        details={
            "unknown_words": list(unknown),
            "icons": {word: one.asset.id for word, one in drawn if isinstance(one, Drawn)},
        },
    )
    on_progress(1, 1, "done")
    return MadeUi(game, library, asset, kit, tuple(warnings), tuple(unknown), time.perf_counter() - started)


def _draw_icons(
    studio: Studio, request: UiRequest, side: int, seed: int, on_progress: OnProgress, project: str | None
) -> list[tuple[str, Drawn | Exception]]:
    """Draws the icons together: (word, sprite or error) in their order."""
    size = ICON_SIDES[0] if side <= 32 else ICON_SIDES[1]
    wanted = [
        SpriteRequest(prompt=word, size=size, seed=(seed + at) % 2**31, palette=request.palette)
        for at, word in enumerate(request.icons)
    ]
    if not wanted:
        return []
    return list(zip(request.icons, generate_each(studio, wanted, on_progress, project=project), strict=True))


def _name(word: str, taken: dict[str, Pixels]) -> str:
    """Returns a word as a name of a-z, 0-9 and _ that is not taken."""
    base = "".join(c if c.isascii() and c.isalnum() else "_" for c in word.lower()).strip("_")[:40] or "icon"
    name, number = base, 1
    while name in taken:
        number += 1
        name = f"{base}_{number}"
    return name


def ui_snippet(kit: Kit, path: str, zoom: int = 3) -> str:
    """Writes Rust that makes an ImageNode of any piece, for Bevy 0.15 and later.

    Args:
        kit: the pieces.
        path: the sheet in assets/.
        zoom: screen pixels for each pixel of the kit.
    """
    arms: list[str] = []
    for name, r in kit.regions.items():
        rect = f"[{r.x}., {r.y}., {r.x + r.width}., {r.y + r.height}.]"
        i = r.insets
        border = f"Some([{i.left}., {i.right}., {i.top}., {i.bottom}.])" if i else "None"
        arms.append(f'        "{name}" => ({rect}, {border}),\n')
    return (
        "use bevy::prelude::*;\nuse bevy::ui::widget::NodeImageMode;\n\n"
        "/// Screen pixels for each pixel of the kit.\n"
        f"pub const ZOOM: f32 = {zoom}.0;\n\n"
        "/// A piece of the kit: give its Node any width and height in steps of ZOOM.\n"
        "pub fn piece(asset_server: &AssetServer, name: &str) -> ImageNode {\n"
        "    let (rect, border): ([f32; 4], Option<[f32; 4]>) = match name {\n"
        f"{''.join(arms)}"
        '        _ => panic!("the kit has no piece {name}"),\n    };\n'
        "    let tile = SliceScaleMode::Tile { stretch_value: ZOOM };\n"
        "    let image_mode = match border {\n"
        "        Some(sides) => NodeImageMode::Sliced(TextureSlicer {\n"
        "            border: BorderRect::from(sides),\n            center_scale_mode: tile,\n"
        "            sides_scale_mode: tile,\n            max_corner_scale: ZOOM,\n        }),\n"
        "        None => NodeImageMode::Stretch,\n    };\n"
        f'    let image = asset_server.load("{path}");\n'
        "    ImageNode { image, rect: Some(Rect::new(rect[0], rect[1], rect[2], rect[3])), image_mode, ..default() }\n"
        "}\n\n"
        "/// A window with a button: `app.add_systems(Startup, spawn_window)`. The UI needs a camera.\n"
        "pub fn spawn_window(mut commands: Commands, asset_server: Res<AssetServer>) {\n"
        "    let pixels = |count: f32| Val::Px(count * ZOOM);\n"
        "    let window = Node { width: pixels(96.0), height: pixels(64.0), ..default() };\n"
        "    let button = Node {\n        width: pixels(48.0),\n"
        f"        height: pixels({kit.regions['button_normal'].height}.0),\n"
        "        margin: UiRect::all(Val::Auto),\n        ..default()\n    };\n"
        '    commands.spawn((window, piece(&asset_server, "panel"))).with_children(|parent| {\n'
        '        parent.spawn((button, piece(&asset_server, "button_normal")));\n    });\n}\n'
    )

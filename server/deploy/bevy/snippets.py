"""Rust to paste into a game: how it shows a picture or plays a sheet that was deployed, for the game's Bevy.

`tests/bevy_game` compiles what these functions return, on every Bevy that the plugin knows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.animation.sheets import Sheet


def load_line(files: Mapping[str, bytes], minor: int) -> str:
    """Returns the statement that shows what was deployed: a sheet's first clip, else the picture.

    Args:
        files: path in assets/ -> bytes.
        minor: as for `sprite_line`.
    """
    for path, data in files.items():
        if path.endswith(".sheet.json") and (clips := json.loads(data).get("animations")):
            return sheet_line(path, next(iter(clips)))
    return sprite_line(next(path for path in files if path.endswith(".png")), minor)


def sprite_line(path: str, minor: int) -> str:
    """Returns the statement that spawns a picture; `asset_server` is a `Res<AssetServer>`.

    Args:
        path: in assets/, `sprites/hero.png`.
        minor: the 19 of Bevy 0.19; 0: unknown, taken for the newest.
    """
    load = f'asset_server.load("{path}")'
    if minor and minor < 15:
        return f"commands.spawn(SpriteBundle {{ texture: {load}, ..default() }});"
    return f"commands.spawn(Sprite::from_image({load}));"


def sheet_line(path: str, clip: str) -> str:
    """Writes the statement that plays a sheet by init-game's plugin; needs `use crate::dgx_pixels::SheetSprite;`."""
    stem = path.removesuffix(".png").removesuffix(".sheet.json")
    return f'commands.spawn(SheetSprite::new(asset_server.load("{stem}.sheet.json"), "{clip}"));'


def sheet_without_plugin(path: str, sheet: Sheet) -> str:
    """Writes a Bevy plugin (0.15 and later) that plays a sheet's first clip with a TextureAtlas, and names the others.

    Args:
        path: the picture in assets/.
        sheet: its grid and clips; at least one.
    """
    first = next(iter(sheet.clips.values()))
    end = "clip.first" if first.loop else "clip.last"
    others = ", ".join(f"{name} {c.first}..={c.last} at {c.fps:g} fps" for name, c in sheet.clips.items())
    return f"""\
use bevy::prelude::*;

/// Adds the sheet and what plays it: `app.add_plugins(sheet_plugin)`.
pub fn sheet_plugin(app: &mut App) {{
    app.add_systems(Startup, spawn_sheet).add_systems(Update, play_clips);
}}

/// Tiles of the sheet that are shown one after the other. Its clips: {others}.
#[derive(Component)]
struct Clip {{
    first: usize,
    last: usize,
    timer: Timer,
}}

fn spawn_sheet(
    mut commands: Commands,
    asset_server: Res<AssetServer>,
    mut layouts: ResMut<Assets<TextureAtlasLayout>>,
) {{
    let size = UVec2::new({sheet.tile_width}, {sheet.tile_height});
    let layout = layouts.add(TextureAtlasLayout::from_grid(size, {sheet.columns}, {sheet.rows}, None, None));
    let atlas = TextureAtlas {{ layout, index: {first.first} }};
    let timer = Timer::from_seconds({1 / first.fps:.4f}, TimerMode::Repeating);
    commands.spawn((
        Sprite::from_atlas_image(asset_server.load("{path}"), atlas),
        Clip {{ first: {first.first}, last: {first.last}, timer }},
    ));
}}

fn play_clips(time: Res<Time>, mut sprites: Query<(&mut Clip, &mut Sprite)>) {{
    for (mut clip, mut sprite) in &mut sprites {{
        if !clip.timer.tick(time.delta()).just_finished() {{
            continue;
        }}
        if let Some(atlas) = &mut sprite.texture_atlas {{
            let next = if atlas.index < clip.last {{ atlas.index + 1 }} else {{ {end} }};
            atlas.index = next.max(clip.first);
        }}
    }}
}}
"""

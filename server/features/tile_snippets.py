"""Rust for tilesets that are no plain TilemapChunk: isometric and hexagonal maps as sprites, liquids that move."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.tiles.projected_set import ProjectedSet
    from pipelines.tiles.props import PropSet


def placed_sprites(tileset: ProjectedSet, path: str) -> str:
    """Returns a startup system with its imports that shows the set's sample map as sprites, for Bevy 0.15 and later.

    The middle of the map is the world's origin, as it is for a TilemapChunk.

    Args:
        tileset: an isometric or hexagonal set.
        path: the atlas in assets/.
    """
    height, width = tileset.tiles[0].shape[:2]
    columns, rows = tileset.atlas.shape[1] // width, tileset.atlas.shape[0] // height
    size = float(tileset.recipe.width)
    place = {
        "isometric": f"((column - row) * {size:.1f}, (column + row) * {-size / 2:.1f})",
        "hex_pointy": f"(column * {size:.1f} + row % 2.0 * {size / 2:.1f}, row * {-size * 0.75:.1f})",
        "hex_flat": f"(column * {size * 0.75:.1f}, row * {-size:.1f} - column % 2.0 * {size / 2:.1f})",
    }[tileset.layout.name]
    map_rows, map_columns = tileset.map.shape
    # what lies between the middle of the first tile and that of the picture of the whole map
    whole_height, whole_width = tileset.preview.shape[:2]
    from_left = (map_rows - 1) * size if tileset.layout.name == "isometric" else 0.0
    to_right, down = whole_width / 2 - width / 2 - from_left, whole_height / 2 - height / 2
    numbers = "".join(f"        [{', '.join(map(str, row))}],\n" for row in tileset.map.tolist())
    return (
        "use bevy::prelude::*;\n\n"
        f"/// A sample map; {path.removesuffix('.png')}.sheet.json says which tile is for which mask.\n"
        "fn spawn_tiles(\n    mut commands: Commands,\n    asset_server: Res<AssetServer>,\n"
        "    mut layouts: ResMut<Assets<TextureAtlasLayout>>,\n) {\n"
        f"    let size = UVec2::new({width}, {height});\n"
        f"    let layout = layouts.add(TextureAtlasLayout::from_grid(size, {columns}, {rows}, None, None));\n"
        f'    let image = asset_server.load("{path}");\n'
        f"    let map: [[usize; {map_columns}]; {map_rows}] = [\n{numbers}    ];\n"
        "    for (row, line) in map.iter().enumerate() {\n        for (column, &index) in line.iter().enumerate() {\n"
        "            let (column, row) = (column as f32, row as f32);\n"
        f"            let (x, y): (f32, f32) = {place};\n"
        "            let atlas = TextureAtlas { layout: layout.clone(), index };\n"
        "            // the middle of the map is at the origin; tiles further down lie in front\n"
        f"            let place = Transform::from_xyz(x - {to_right:.1f}, y + {down:.1f}, y * -0.001);\n"
        "            commands.spawn((Sprite::from_atlas_image(image.clone(), atlas), place));\n        }\n    }\n}\n"
    )


def standing_props(tileset: PropSet, path: str) -> str:
    """Returns a startup system with its imports that shows props with their shadows on their ground, as sprites.

    Args:
        tileset: a set of props.
        path: the atlas in assets/; the ground's tiles lie beside it.
    """
    from pipelines.tiles.props import foot_row

    size, count, variants = tileset.recipe.width, len(tileset.names), len(tileset.square.tiles)
    name = path.removesuffix(".png")
    rows, columns = tileset.map.shape
    ground = "".join(f"        [{', '.join(map(str, row))}],\n" for row in tileset.ground.tolist())
    places = ", ".join(
        f"({column}, {row}, {index})"
        for row, line in enumerate(tileset.map.tolist())
        for column, index in enumerate(line)
        if index >= 0
    )
    # the foot's distance from the middle of the prop's picture, which is what Bevy places
    foot = foot_row(size) + 1 - size
    return (
        "use bevy::prelude::*;\n\n"
        f"/// A sample map: {', '.join(tileset.names)}; {name}.sheet.json has their places in the atlas.\n"
        "fn spawn_props(\n    mut commands: Commands,\n    asset_server: Res<AssetServer>,\n"
        "    mut layouts: ResMut<Assets<TextureAtlasLayout>>,\n) {\n"
        f"    let tiles = TextureAtlasLayout::from_grid(UVec2::splat({size}), {variants}, 1, None, None);\n"
        f'    let (tiles, ground) = (layouts.add(tiles), asset_server.load("{name}_ground.png"));\n'
        f"    let map: [[usize; {columns}]; {rows}] = [\n{ground}    ];\n"
        "    for (row, line) in map.iter().enumerate() {\n        for (column, &index) in line.iter().enumerate() {\n"
        f"            let place = Vec3::new(column as f32 * {size:.1f}, row as f32 * -{size:.1f}, -2.0);\n"
        "            let atlas = TextureAtlas { layout: tiles.clone(), index };\n"
        "            let tile = Sprite::from_atlas_image(ground.clone(), atlas);\n"
        "            commands.spawn((tile, Transform::from_translation(place)));\n        }\n    }\n"
        f"    let props = TextureAtlasLayout::from_grid(UVec2::splat({2 * size}), {count}, 2, None, None);\n"
        f'    let (props, image) = (layouts.add(props), asset_server.load("{path}"));\n'
        f"    // column, row and prop; shadows lie {count} places behind the props in the atlas\n"
        f"    for (column, row, index) in [{places}] {{\n"
        f"        let (x, y) = (column as f32 * {size:.1f}, row as f32 * -{size:.1f} + {size / 2:.1f});\n"
        f"        for (index, z) in [(index + {count}, -1.0), (index, (y - {foot:.1f}) * -0.001)] {{\n"
        "            let atlas = TextureAtlas { layout: props.clone(), index };\n"
        "            let prop = Sprite::from_atlas_image(image.clone(), atlas);\n"
        "            // a prop further down stands in front\n"
        "            commands.spawn((prop, Transform::from_xyz(x, y, z)));\n        }\n    }\n}\n"
    )


def moving_system(tileset: ProjectedSet) -> str:
    """Returns a system that shows the next frame of an animated set's tiles, to stand behind its startup system."""
    from pipelines.tiles.projected_set import FRAME_MS

    count = len(tileset.square.tiles)
    return (
        "\n/// Moves the liquid: `app.add_systems(Update, move_tiles)`.\n"
        "fn move_tiles(time: Res<Time>, mut shown: Local<u16>, mut chunks: Query<&mut TilemapChunkTileData>) {\n"
        f"    let frame = (time.elapsed_secs() / {FRAME_MS / 1000}) as u16 % {tileset.frames};\n"
        "    if frame == *shown {\n        return;\n    }\n    *shown = frame;\n"
        "    for mut tiles in &mut chunks {\n        for tile in tiles.0.iter_mut().flatten() {\n"
        f"            tile.tileset_index = tile.tileset_index % {count} + frame * {count};\n"
        "        }\n    }\n}\n"
    )

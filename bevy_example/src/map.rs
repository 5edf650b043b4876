//! The map: what stands where, which cells are solid, and the ground as three of Bevy's tilemap chunks.
//!
//! The ground is made of `tiles/ground.sheet.json` (a corner tileset: grass is the upper terrain, water the lower),
//! `tiles/floor.png` and `tiles/wall.png`; a chunk is laid again when its picture is reloaded. Tiles may be of any size:
//! they keep their own pixels and repeat over the cells.

use bevy::asset::RenderAssetUsages;
use bevy::prelude::*;
use bevy::render::render_resource::{
    Extent3d, TextureDimension, TextureFormat, TextureViewDescriptor, TextureViewDimension,
};
use bevy::sprite_render::{TileData, TilemapChunk, TilemapChunkTileData};

use crate::dgx_pixels::Sheet;

/// Pixels of a cell's side.
pub const CELL: u32 = 32;

/// `,` grass, `~` water, `.` stone floor, `#` wall, `T` tree, `G` the gate, `X` the exit behind it; the other letters
/// are placed by `rules` on the ground that is left of them.
const ROWS: [&str; 18] = [
    "TT,TTT,,TT,TTTTT,,TTT,TTTT,TTT",
    "T,,,,,T,,,,,,,,,,,,,,,,,,T,,,T",
    "T,,,,,,,,T,,,,,,,,,,T,,,,,,,,T",
    ",,,,,,,,,##########,,,~~~,,T,,",
    "T,T,,,,,,#$.Kd...!#,,~~~~~,,,,",
    "T,,,,T,,,#........#,,~~~~~,,,T",
    "T,,,g,,,,#...k....#,,,~~~,,T,T",
    "T,,,,,,,,####..####,,,,,,,,,,T",
    ",,,,T,,,,,,,,..@,,,,b,,,T,,,,,",
    "T,,~~,,,,,,,,..,,,,,,,,,,,,T,T",
    "T,~~~~,,,,,,,..,,,,,,,,,,,,,,T",
    "T~~~~~~,!,,,,..,,,,,,,g,,,,,,T",
    "T,~~~~,,,,,,,..,,,,,,,,,$,,,,T",
    "T,,~~,,T,,,,,..,,,,T,,,,,,,,,T",
    "T,,,,,,,,,,,,..,,,,,,,,,T,,T,,",
    "T,,,,,b,,T,,,..,,,,T,,,,,,,,,T",
    "TT,,,T,,,T,,TGT,,,,,,T,,,,,,TT",
    "TTTTTTTTTTTTTXTTTTTTTTTTTTTTTT",
];
const COLUMNS: u32 = ROWS[0].len() as u32;

pub struct MapPlugin;

impl Plugin for MapPlugin {
    fn build(&self, app: &mut App) {
        app.add_systems(Startup, load_ground)
            .add_systems(Update, lay_ground);
    }
}

/// The map's size in pixels; its middle is the world's origin.
pub fn size() -> Vec2 {
    Vec2::new((COLUMNS * CELL) as f32, (ROWS.len() as u32 * CELL) as f32)
}

/// Every letter of the map with the point where something's feet stand in its cell.
pub fn places() -> impl Iterator<Item = (char, Vec2)> {
    ROWS.iter().enumerate().flat_map(|(row, line)| {
        line.chars().enumerate().map(move |(column, letter)| {
            let corner = Vec2::new(column as f32 + 0.5, -(row as f32) - 0.9) * CELL as f32;
            (
                letter,
                (corner + Vec2::new(-size().x, size().y) / 2.0).round(),
            )
        })
    })
}

fn letter(point: Vec2) -> char {
    let cell = (Vec2::new(point.x, -point.y) + size() / 2.0) / CELL as f32;
    if cell.min_element() < 0.0 {
        return '#';
    }
    ROWS.get(cell.y as usize)
        .and_then(|row| row.chars().nth(cell.x as usize))
        .unwrap_or('#')
}

/// Whether the point is on the exit.
pub fn is_exit(point: Vec2) -> bool {
    letter(point) == 'X'
}

/// Whether feet around `point` (14 x 8 pixels) stand on free ground.
pub fn is_free(point: Vec2, gate_open: bool) -> bool {
    let corners = [(-7.0, 0.0), (7.0, 0.0), (-7.0, 8.0), (7.0, 8.0)];
    corners
        .iter()
        .all(|(x, y)| match letter(point + Vec2::new(*x, *y)) {
            '#' | '~' | 'T' => false,
            'G' | 'X' => gate_open,
            _ => true,
        })
}

/// What the ground is made of, and the chunks that show it.
#[derive(Resource)]
struct Ground {
    sheet: Handle<Sheet>,
    floor: Handle<Image>,
    wall: Handle<Image>,
    grass: Entity,
    paving: Entity,
    walls: Entity,
}

fn load_ground(mut commands: Commands, server: Res<AssetServer>) {
    let mut chunk = |name: &str, z| {
        commands
            .spawn((
                Name::new(name.to_string()),
                Transform::from_xyz(0.0, 0.0, z),
            ))
            .id()
    };
    let (grass, paving, walls) = (
        chunk("grass", -100.0),
        chunk("paving", -99.0),
        chunk("walls", -98.0),
    );
    let sheet = server.load("tiles/ground.sheet.json");
    let (floor, wall) = (
        server.load("tiles/floor.png"),
        server.load("tiles/wall.png"),
    );
    commands.insert_resource(Ground {
        sheet,
        floor,
        wall,
        grass,
        paving,
        walls,
    });
}

fn lay_ground(
    mut commands: Commands,
    ground: Res<Ground>,
    sheets: Res<Assets<Sheet>>,
    mut images: ResMut<Assets<Image>>,
    mut images_changed: MessageReader<AssetEvent<Image>>,
    mut sheets_changed: MessageReader<AssetEvent<Sheet>>,
) {
    let changed: Vec<_> = images_changed
        .read()
        .filter_map(|event| match event {
            AssetEvent::Added { id } | AssetEvent::Modified { id } => Some(*id),
            _ => None,
        })
        .collect();
    if let Some(sheet) = sheets.get(&ground.sheet)
        && (sheets_changed.read().count() > 0 || changed.contains(&sheet.image.id()))
        && let Some(tiles) = images.get(&sheet.image)
        && let Some((side, map)) = corner_map(sheet)
    {
        lay(
            &mut commands,
            ground.grass,
            cut(tiles, side),
            side,
            map,
            &mut images,
        );
    }
    for (handle, chunk, letters) in [
        (&ground.floor, ground.paving, ".dk$!KGX"),
        (&ground.wall, ground.walls, "#"),
    ] {
        if changed.contains(&handle.id())
            && let Some(tile) = images.get(handle)
        {
            let side = common_side(tile.size());
            let map = repeated_map(tile.size() / side, side, letters);
            lay(
                &mut commands,
                chunk,
                cut(tile, side),
                side,
                map,
                &mut images,
            );
        }
    }
}

/// Tiles of a chunk, row by row from the top; `None` is an empty place.
type Tiles = Vec<Vec<Option<u32>>>;

/// Shows the tiles on the chunk; the picture's tiles are its layers.
fn lay(
    commands: &mut Commands,
    chunk: Entity,
    layers: Option<Image>,
    side: u32,
    map: Tiles,
    images: &mut Assets<Image>,
) {
    let Some(layers) = layers else {
        warn!(
            "a picture of the ground has too many tiles or another form: the ground stays as it is"
        );
        return;
    };
    let (map, middle) = cropped(map);
    let middle = middle * side as f32;
    let chunk_size = UVec2::new(map[0].len() as u32, map.len() as u32);
    // Chunks count their rows from the bottom.
    let tiles = map
        .into_iter()
        .rev()
        .flatten()
        .map(|tile| tile.map(|n| TileData::from_tileset_index(n as u16)));
    let mut chunk = commands.entity(chunk);
    chunk.insert((
        TilemapChunkTileData(tiles.collect()),
        TilemapChunk {
            chunk_size,
            tile_display_size: UVec2::splat(side),
            tileset: images.add(layers),
            ..default()
        },
    ));
    chunk.entry::<Transform>().and_modify(move |mut transform| {
        transform.translation = middle.extend(transform.translation.z);
    });
}

/// The part of the map that holds tiles, and its middle in tiles from the map's: a chunk draws its empty places too.
fn cropped(map: Tiles) -> (Tiles, Vec2) {
    let whole = Vec2::new(map[0].len() as f32, map.len() as f32);
    let is_laid = |y: &usize| map[*y].iter().any(Option::is_some);
    let rows: Vec<usize> = (0..map.len()).filter(is_laid).collect();
    let is_laid = |x: &usize| map.iter().any(|row| row[*x].is_some());
    let columns: Vec<usize> = (0..map[0].len()).filter(is_laid).collect();
    let ([top, .., bottom], [left, .., right]) = (&rows[..], &columns[..]) else {
        return (map, Vec2::ZERO);
    };
    let middle = Vec2::new((left + right + 1) as f32, (top + bottom + 1) as f32) / 2.0;
    let part = |row: &Vec<Option<u32>>| row[*left..=*right].to_vec();
    let tiles = map[*top..=*bottom].iter().map(part).collect();
    (tiles, (middle - whole / 2.0) * Vec2::new(1.0, -1.0))
}

/// The picture cut into square tiles, each of them a layer. `None` where it has more tiles than a texture has layers.
fn cut(picture: &Image, side: u32) -> Option<Image> {
    let grid = picture.size() / side;
    let layers = grid.element_product();
    if !(1..=256).contains(&layers)
        || picture.texture_descriptor.format != TextureFormat::Rgba8UnormSrgb
    {
        return None;
    }
    let pixels = picture.data.as_ref()?;
    let row = (side * 4) as usize;
    let data = (0..layers)
        .flat_map(|tile| (0..side).map(move |y| (tile % grid.x * side, tile / grid.x * side + y)))
        .flat_map(|(x, y)| {
            let start = 4 * (y * picture.width() + x) as usize;
            &pixels[start..start + row]
        })
        .copied()
        .collect();
    let size = Extent3d {
        width: side,
        height: side,
        depth_or_array_layers: layers,
    };
    let format = TextureFormat::Rgba8UnormSrgb;
    let mut image = Image::new(
        size,
        TextureDimension::D2,
        data,
        format,
        RenderAssetUsages::RENDER_WORLD,
    );
    image.texture_view_descriptor = Some(TextureViewDescriptor {
        dimension: Some(TextureViewDimension::D2Array),
        ..default()
    });
    Some(image)
}

/// The largest square that a picture and a cell can both be cut into.
fn common_side(size: UVec2) -> u32 {
    let divides = |side: &u32| {
        [CELL, size.x, size.y]
            .iter()
            .all(|length| length.is_multiple_of(*side))
    };
    (1..=CELL).rev().find(divides).unwrap_or(1)
}

/// Repeats a picture of `grid` tiles over the cells that show one of `letters`.
fn repeated_map(grid: UVec2, side: u32, letters: &str) -> Tiles {
    let parts = CELL / side;
    let row = |y: u32| {
        let tile = move |x: u32| {
            is_paved((y / parts) as usize, (x / parts) as usize, letters)
                .then(|| x % grid.x + y % grid.y * grid.x)
        };
        (0..COLUMNS * parts).map(tile).collect()
    };
    (0..ROWS.len() as u32 * parts).map(row).collect()
}

/// Whether the cell shows one of `letters`; things that lie on the floor count as floor inside the walls only.
fn is_paved(row: usize, column: usize, letters: &str) -> bool {
    let inside = (3..=7).contains(&row) && (9..=18).contains(&column);
    ROWS[row].chars().nth(column).is_some_and(|letter| {
        letters.contains(letter) && (inside || matches!(letter, '.' | 'G' | 'X'))
    })
}

/// Grass and water as a dual grid: each tile lies over the corner of four cells and shows what they are.
fn corner_map(sheet: &Sheet) -> Option<(u32, Tiles)> {
    let side = sheet.tile_size.x;
    if sheet.corners.len() != 16 || side != sheet.tile_size.y || !CELL.is_multiple_of(side) {
        warn_once!(
            "tiles/ground needs square tiles whose side divides {CELL}, and 16 `corners`: the ground stays as it is"
        );
        return None;
    }
    // Tiles smaller than a cell: the map is refined, so that corners of cells stay corners of tiles.
    let parts = (CELL / side) as i32;
    let is_grass = |x: i32, y: i32| {
        let row = ROWS[y.div_euclid(parts).clamp(0, ROWS.len() as i32 - 1) as usize];
        row.as_bytes()[x.div_euclid(parts).clamp(0, COLUMNS as i32 - 1) as usize] != b'~'
    };
    let tile = |x: i32, y: i32| {
        let around = [(x - 1, y - 1), (x, y - 1), (x - 1, y), (x, y)];
        let mask = around.iter().enumerate().fold(0, |mask, (bit, (x, y))| {
            mask | (is_grass(*x, *y) as usize) << bit
        });
        Some(sheet.corners[mask])
    };
    let row = |y: i32| (0..=COLUMNS as i32 * parts).map(|x| tile(x, y)).collect();
    Some((side, (0..=ROWS.len() as i32 * parts).map(row).collect()))
}

//! The map: what stands where, which cells are solid, and the ground, painted once into one picture.
//!
//! The ground is made of `tiles/ground.sheet.json` (a corner tileset: grass is the upper terrain, water the lower),
//! `tiles/floor.png` and `tiles/wall.png`; it is painted again whenever one of them is reloaded. Tiles may be of any
//! size: they keep their own pixels and repeat over the cells.

use bevy::asset::RenderAssetUsages;
use bevy::prelude::*;
use bevy::render::render_resource::{Extent3d, TextureDimension, TextureFormat};

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
        app.add_systems(Startup, load_ground).add_systems(Update, paint_ground);
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
            (letter, (corner + Vec2::new(-size().x, size().y) / 2.0).round())
        })
    })
}

fn letter(point: Vec2) -> char {
    let cell = (Vec2::new(point.x, -point.y) + size() / 2.0) / CELL as f32;
    if cell.min_element() < 0.0 {
        return '#';
    }
    ROWS.get(cell.y as usize).and_then(|row| row.chars().nth(cell.x as usize)).unwrap_or('#')
}

/// Whether the point is on the exit.
pub fn is_exit(point: Vec2) -> bool {
    letter(point) == 'X'
}

/// Whether feet around `point` (14 x 8 pixels) stand on free ground.
pub fn is_free(point: Vec2, gate_open: bool) -> bool {
    let corners = [(-7.0, 0.0), (7.0, 0.0), (-7.0, 8.0), (7.0, 8.0)];
    corners.iter().all(|(x, y)| match letter(point + Vec2::new(*x, *y)) {
        '#' | '~' | 'T' => false,
        'G' | 'X' => gate_open,
        _ => true,
    })
}

/// What the ground is painted of, and the picture it is painted on.
#[derive(Resource)]
struct Ground {
    sheet: Handle<Sheet>,
    floor: Handle<Image>,
    wall: Handle<Image>,
    painted: Handle<Image>,
}

fn load_ground(mut commands: Commands, server: Res<AssetServer>, mut images: ResMut<Assets<Image>>) {
    let (width, height) = (COLUMNS * CELL, ROWS.len() as u32 * CELL);
    let blank = Image::new_fill(
        Extent3d { width, height, depth_or_array_layers: 1 },
        TextureDimension::D2,
        &[0; 4],
        TextureFormat::Rgba8UnormSrgb,
        RenderAssetUsages::default(),
    );
    let ground = Ground {
        sheet: server.load("tiles/ground.sheet.json"),
        floor: server.load("tiles/floor.png"),
        wall: server.load("tiles/wall.png"),
        painted: images.add(blank),
    };
    commands.spawn((Sprite::from_image(ground.painted.clone()), Transform::from_xyz(0.0, 0.0, -100.0)));
    commands.insert_resource(ground);
}

fn paint_ground(
    ground: Res<Ground>,
    sheets: Res<Assets<Sheet>>,
    mut images: ResMut<Assets<Image>>,
    mut images_changed: MessageReader<AssetEvent<Image>>,
    mut sheets_changed: MessageReader<AssetEvent<Sheet>>,
) {
    let sheet = sheets.get(&ground.sheet);
    let parts = [sheet.map(|sheet| sheet.image.id()), Some(ground.floor.id()), Some(ground.wall.id())];
    let image_changed = images_changed.read().any(|event| match event {
        AssetEvent::Added { id } | AssetEvent::Modified { id } => parts.contains(&Some(*id)),
        _ => false,
    });
    if !image_changed && sheets_changed.read().count() == 0 {
        return;
    }
    let Some(mut picture) = images.get(&ground.painted).cloned() else { return };
    if let Some(sheet) = sheet
        && let Some(tiles) = images.get(&sheet.image)
    {
        paint_corners(&mut picture, sheet, tiles);
    }
    for (handle, letters) in [(&ground.floor, ".dk$!KGX"), (&ground.wall, "#")] {
        if let Some(tile) = images.get(handle) {
            paint_cells(&mut picture, tile, |row, column| is_paved(row, column, letters));
        }
    }
    if let Some(mut painted) = images.get_mut(&ground.painted) {
        *painted = picture;
    }
}

/// Whether the cell shows one of `letters`; things that lie on the floor count as floor inside the walls only.
fn is_paved(row: usize, column: usize, letters: &str) -> bool {
    let inside = (3..=7).contains(&row) && (9..=18).contains(&column);
    ROWS[row]
        .chars()
        .nth(column)
        .is_some_and(|letter| letters.contains(letter) && (inside || matches!(letter, '.' | 'G' | 'X')))
}

/// Repeats `tile` over the cells that `chosen(row, column)` picks.
fn paint_cells(picture: &mut Image, tile: &Image, chosen: impl Fn(usize, usize) -> bool) {
    for row in 0..ROWS.len() {
        for column in (0..COLUMNS as usize).filter(|column| chosen(row, *column)) {
            let from = UVec2::new(column as u32, row as u32) * CELL;
            for y in from.y..from.y + CELL {
                let mut x = from.x;
                while x < from.x + CELL {
                    let source = UVec2::new(x, y) % tile.size();
                    let length = (tile.width() - source.x).min(from.x + CELL - x);
                    copy_row(picture, UVec2::new(x, y), tile, source, length);
                    x += length;
                }
            }
        }
    }
}

/// Draws grass and water as a dual grid: each tile lies over the corner of four cells and shows what they are.
fn paint_corners(picture: &mut Image, sheet: &Sheet, tiles: &Image) {
    let tile = sheet.tile_size;
    let fits = tiles.size().cmpge(tile * UVec2::new(sheet.columns, sheet.rows)).all();
    if sheet.corners.len() != 16 || tile.x != tile.y || CELL % tile.x != 0 || !fits {
        warn_once!(
            "tiles/ground needs square tiles whose side divides {CELL}, and 16 `corners`: the ground stays as it is"
        );
        return;
    }
    // Tiles smaller than a cell: the map is refined, so that corners of cells stay corners of tiles.
    let parts = (CELL / tile.x) as i32;
    let is_grass = |x: i32, y: i32| {
        let row = ROWS[(y.div_euclid(parts)).clamp(0, ROWS.len() as i32 - 1) as usize];
        row.as_bytes()[(x.div_euclid(parts)).clamp(0, COLUMNS as i32 - 1) as usize] != b'~'
    };
    let (columns, rows) = (COLUMNS as i32 * parts, ROWS.len() as i32 * parts);
    for y in 0..=rows {
        for x in 0..=columns {
            let around = [(x - 1, y - 1), (x, y - 1), (x - 1, y), (x, y)];
            let mask =
                around.iter().enumerate().fold(0, |mask, (bit, (x, y))| mask | (is_grass(*x, *y) as usize) << bit);
            let index = sheet.corners[mask];
            let source = UVec2::new(index % sheet.columns, index / sheet.columns) * tile;
            // Half of the tiles at the border lie outside the picture.
            let left = x * tile.x as i32 - tile.x as i32 / 2;
            let top = y * tile.y as i32 - tile.y as i32 / 2;
            let skip = (-left).max(0) as u32;
            let length = (tile.x - skip).min((picture.width() as i32 - left) as u32);
            for line in 0..tile.y as i32 {
                if (0..picture.height() as i32).contains(&(top + line)) {
                    let at = UVec2::new(left.max(0) as u32, (top + line) as u32);
                    copy_row(picture, at, tiles, source + UVec2::new(skip, line as u32), length);
                }
            }
        }
    }
}

/// Copies `length` pixels of one row; both pictures are RGBA, 8 bits each.
fn copy_row(picture: &mut Image, at: UVec2, from: &Image, source: UVec2, length: u32) {
    let target = 4 * (at.y * picture.width() + at.x) as usize;
    let start = 4 * (source.y * from.width() + source.x) as usize;
    let bytes = 4 * length as usize;
    if let (Some(to), Some(from)) = (picture.data.as_mut(), from.data.as_ref())
        && let (Some(to), Some(from)) = (to.get_mut(target..target + bytes), from.get(start..start + bytes))
    {
        to.copy_from_slice(from);
    }
}

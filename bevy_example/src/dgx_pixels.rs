//! Sprite sheets with animations for a Bevy 0.19 or 0.20 game, as dgx-pixels deploys them. This half ships with the game.
//!
//! Copy this file and `dgx_pixels_dev.rs` into `src/`, add `mod dgx_pixels;` and, after `DefaultPlugins`,
//! `app.add_plugins(dgx_pixels::DgxPixelsPlugin)`. Cargo.toml needs
//!
//! ```toml
//! [features]
//! default = ["dgx_pixels_dev"]
//! dgx_pixels_dev = ["bevy/bevy_remote", "bevy/file_watcher"]
//!
//! [dependencies]
//! bevy = "0.20"
//! serde = { version = "1", features = ["derive"] }
//! serde_json = "1"
//! ```
//!
//! The other half, `dgx_pixels_dev.rs`, reloads deployed files in the running game and proves them. It is compiled with
//! the feature `dgx_pixels_dev` only, never for the web, and does nothing in a release build. A release or a web build
//! leaves it out with `--no-default-features`.
#![allow(
    dead_code,
    unexpected_cfgs,
    reason = "a game need not use all of this, nor declare every feature"
)]

use std::collections::BTreeMap;

use bevy::asset::io::Reader;
use bevy::asset::{Asset, AssetLoader, LoadContext};
use bevy::prelude::*;
use serde::Deserialize;

#[cfg(all(feature = "dgx_pixels_dev", not(target_family = "wasm")))]
#[path = "dgx_pixels_dev.rs"]
pub mod dev;

/// Sheets and their animations, and in a debug build with the feature `dgx_pixels_dev` the dev half. Add it after
/// `DefaultPlugins`, and after `RemotePlugin` if the game has its own.
pub struct DgxPixelsPlugin;

impl Plugin for DgxPixelsPlugin {
    fn build(&self, app: &mut App) {
        app.init_asset::<Sheet>()
            .register_asset_loader(SheetLoader)
            .register_type::<SheetSprite>()
            .add_message::<ClipEnded>()
            .add_systems(Update, animate_sheets.in_set(SheetSystems));
        #[cfg(all(feature = "dgx_pixels_dev", not(target_family = "wasm")))]
        if cfg!(debug_assertions) {
            dev::add(app);
        }
    }
}

/// The systems that advance [`SheetSprite`], in `Update`. Order the game's own systems before or after them.
#[derive(SystemSet, Clone, Debug, PartialEq, Eq, Hash)]
pub struct SheetSystems;

/// A clip that does not loop has shown its last frame for its full time.
#[derive(Message, Clone, Debug)]
pub struct ClipEnded {
    pub entity: Entity,
    /// The name of the clip, as in `Sheet::animations`.
    pub animation: String,
}

/// FNV-1a over 64-bit little-endian words, the last one filled up with zeros: quick even in a debug build.
pub fn word_hash(bytes: &[u8]) -> String {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    format!("{hash:016x}")
}

/// The longest side of a sheet, in pixels: what common graphics cards take as one texture.
const LARGEST_SIDE: u32 = 16384;

/// A sprite sheet: `name.sheet.json` beside its picture.
///
/// ```json
/// {"image": "slime.png", "tile_size": [32, 32], "columns": 4, "rows": 1,
///  "animations": {"idle": {"first": 0, "last": 3, "fps": 6, "loop": true}}}
/// ```
///
/// Tiles count from 0, left to right, then top to bottom, without gaps. A tileset for corner (dual-grid) maps has
/// `corners` too: 16 tile numbers, one for each mask of corners that show the upper terrain (north-west 1,
/// north-east 2, south-west 4, south-east 8).
#[derive(Asset, TypePath, Clone)]
pub struct Sheet {
    pub image: Handle<Image>,
    pub layout: Handle<TextureAtlasLayout>,
    pub tile_size: UVec2,
    pub columns: u32,
    pub rows: u32,
    pub animations: BTreeMap<String, Clip>,
    pub corners: Vec<u32>,
    /// [`word_hash`] of the file.
    pub hash: String,
}

/// One animation of a sheet: tiles `first..=last` at `fps` frames a second.
#[derive(Deserialize, Clone)]
pub struct Clip {
    pub first: u32,
    pub last: u32,
    #[serde(default = "default_fps")]
    pub fps: f32,
    #[serde(default = "default_loop", rename = "loop")]
    pub looping: bool,
}

fn default_fps() -> f32 {
    8.0
}

fn default_loop() -> bool {
    true
}

impl Clip {
    /// The number of tiles.
    pub fn frames(&self) -> u32 {
        self.last.saturating_sub(self.first).saturating_add(1)
    }

    /// The tile to show `seconds` after the start.
    pub fn tile(&self, seconds: f32) -> u32 {
        let frame = (seconds * self.fps).max(0.0) as u32;
        self.first
            + if self.looping {
                frame % self.frames()
            } else {
                frame.min(self.frames() - 1)
            }
    }

    /// Whether a clip that does not loop is over `seconds` after the start.
    pub fn ended(&self, seconds: f32) -> bool {
        !self.looping && seconds * self.fps >= self.frames() as f32
    }
}

#[derive(Deserialize)]
struct SheetFile {
    image: String,
    tile_size: [u32; 2],
    columns: u32,
    rows: u32,
    #[serde(default)]
    animations: BTreeMap<String, Clip>,
    #[serde(default)]
    corners: Vec<u32>,
}

impl SheetFile {
    fn check(&self) -> Result<(), BevyError> {
        let tiles = self.columns.checked_mul(self.rows).unwrap_or(0);
        let sides = [
            self.columns.checked_mul(self.tile_size[0]),
            self.rows.checked_mul(self.tile_size[1]),
        ];
        if sides
            .iter()
            .any(|side| !side.is_some_and(|pixels| (1..=LARGEST_SIDE).contains(&pixels)))
        {
            return Err(format!("a sheet measures 1 to {LARGEST_SIDE} pixels a side").into());
        }
        for (name, clip) in &self.animations {
            if clip.first > clip.last || clip.last >= tiles {
                let (first, last) = (clip.first, clip.last);
                return Err(format!(
                    "animation '{name}' runs {first}..={last}, but the tiles are 0..={}",
                    tiles - 1
                )
                .into());
            }
        }
        if !matches!(self.corners.len(), 0 | 16) || self.corners.iter().any(|tile| *tile >= tiles) {
            return Err(format!("`corners` needs 16 tile numbers below {tiles}").into());
        }
        Ok(())
    }
}

#[derive(Default, TypePath)]
struct SheetLoader;

impl AssetLoader for SheetLoader {
    type Asset = Sheet;
    type Settings = ();
    type Error = BevyError;

    async fn load(
        &self,
        reader: &mut dyn Reader,
        _: &(),
        context: &mut LoadContext<'_>,
    ) -> Result<Sheet, BevyError> {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).await?;
        let file: SheetFile = serde_json::from_slice(&bytes)?;
        file.check()?;
        let tile_size = UVec2::from(file.tile_size);
        let layout = TextureAtlasLayout::from_grid(tile_size, file.columns, file.rows, None, None);
        let image = context.path().resolve_embed_str(&file.image)?;
        Ok(Sheet {
            image: context.load(image),
            // The label names the grid: a reloaded sheet with another grid gets another handle, which sprites notice.
            layout: context.add_labeled_asset(
                format!("layout-{}x{}-{tile_size}", file.columns, file.rows),
                layout,
            ),
            tile_size,
            columns: file.columns,
            rows: file.rows,
            animations: file.animations,
            corners: file.corners,
            hash: word_hash(&bytes),
        })
    }

    fn extensions(&self) -> &[&str] {
        &["sheet.json"]
    }
}

/// Plays one animation of a sheet on the entity's [`Sprite`]. Reflected, so that the remote protocol can set it too.
#[derive(Component, Reflect, Clone)]
#[reflect(Component)]
#[require(Sprite)]
pub struct SheetSprite {
    pub sheet: Handle<Sheet>,
    /// A name of `Sheet::animations`; the first one is played while there is none of that name.
    pub animation: String,
    /// Since the animation began.
    pub seconds: f32,
    /// Whether [`ClipEnded`] was sent for this clip.
    pub ended: bool,
}

impl SheetSprite {
    pub fn new(sheet: Handle<Sheet>, animation: impl Into<String>) -> Self {
        Self {
            sheet,
            animation: animation.into(),
            seconds: 0.0,
            ended: false,
        }
    }

    /// Changes to another animation, from its first frame. Continues if that animation plays already.
    pub fn play(&mut self, animation: &str) {
        if self.animation != animation {
            self.restart(animation);
        }
    }

    /// Plays an animation from its first frame, also if it plays already.
    pub fn restart(&mut self, animation: &str) {
        self.animation = animation.into();
        self.seconds = 0.0;
        self.ended = false;
    }
}

fn animate_sheets(
    time: Res<Time>,
    sheets: Res<Assets<Sheet>>,
    mut sprites: Query<(Entity, &mut SheetSprite, &mut Sprite)>,
    mut ended: MessageWriter<ClipEnded>,
) {
    for (entity, mut player, mut sprite) in &mut sprites {
        let Some(sheet) = sheets.get(&player.sheet) else {
            continue;
        };
        player.seconds += time.delta_secs();
        let clip = sheet
            .animations
            .get(&player.animation)
            .or_else(|| sheet.animations.values().next());
        let index = clip.map_or(0, |clip| clip.tile(player.seconds)) as usize;
        if sprite.image != sheet.image {
            sprite.image = sheet.image.clone();
        }
        let shown = sprite.texture_atlas.as_ref();
        if shown.is_none_or(|atlas| atlas.index != index || atlas.layout != sheet.layout) {
            sprite.texture_atlas = Some(TextureAtlas {
                layout: sheet.layout.clone(),
                index,
            });
        }
        if !player.ended && clip.is_some_and(|clip| clip.ended(player.seconds)) {
            player.ended = true;
            ended.write(ClipEnded {
                entity,
                animation: player.animation.clone(),
            });
        }
    }
}

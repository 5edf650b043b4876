//! dgx-pixels: shows in the running game what the pixel-art server deploys, and proves it.
//!
//! Copy this one file into a game on Bevy 0.19, add `mod dgx_pixels;` and, after `DefaultPlugins`,
//! `app.add_plugins(dgx_pixels::DgxPixelsPlugin)`. Cargo.toml needs
//!
//! ```toml
//! bevy = { version = "0.19", features = ["bevy_remote", "file_watcher"] }
//! serde = { version = "1", features = ["derive"] }
//! serde_json = "1"
//! ```
//!
//! What a debug build gets (a release build opens no port):
//! - the Bevy Remote Protocol on 127.0.0.1, port `BRP_EXTRAS_PORT` or 15702, if the game has not added it itself;
//! - [`DgxPixels`], a reflected resource: generation, size, hash of the RGBA pixels and last error of every image;
//! - the methods `dgx_pixels/status`, `reload`, `await`, `preview`, `clear` and `screenshot`.
//!
//! What every build gets: [`Sheet`] and [`SheetSprite`], sprite sheets with animations that reload like any asset.
//! The file knows nothing of how art is made, and changes nothing in the game unless a method asks for it.
#![allow(unexpected_cfgs, dead_code, reason = "a game may lack the feature `extras`, and need not use all of this")]

use std::collections::{BTreeMap, VecDeque};
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use bevy::asset::io::Reader;
use bevy::asset::io::file::FileAssetReader;
use bevy::asset::{Asset, AssetLoadFailedEvent, AssetLoader, LoadContext};
use bevy::camera::RenderTarget;
use bevy::platform::collections::HashMap;
use bevy::prelude::*;
use bevy::remote::http::{DEFAULT_PORT, RemoteHttpPlugin};
use bevy::remote::{BrpError, BrpResult, RemoteMethodSystemId, RemoteMethods, RemotePlugin, error_codes};
use bevy::render::render_resource::TextureFormat;
use bevy::render::view::screenshot::{Screenshot, ScreenshotCaptured};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Version of the methods below; the server compares it with what it speaks.
pub const PROTOCOL: u32 = 1;

/// Everything above in one plugin. Add it after `DefaultPlugins`, and after `RemotePlugin` if the game has its own.
pub struct DgxPixelsPlugin;

impl Plugin for DgxPixelsPlugin {
    fn build(&self, app: &mut App) {
        app.init_asset::<Sheet>().register_asset_loader(SheetLoader).add_systems(Update, animate_sheets);
        if cfg!(debug_assertions) {
            add_remote(app);
        }
    }
}

// --- What the game has loaded -----------------------------------------------------------------------------------

/// What the game has loaded, by asset path. Readable over BRP as `<crate>::dgx_pixels::DgxPixels`.
#[derive(Resource, Reflect, Default)]
#[reflect(Resource)]
pub struct DgxPixels {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// Name of the crate that this file is compiled into.
    pub game: String,
    /// Where the game reads its assets from.
    pub asset_root: String,
    /// Images and sheets, by their path below the asset root.
    pub assets: HashMap<String, AssetStatus>,
}

/// The state of one image or sheet.
#[derive(Reflect, Default, Clone, Serialize)]
pub struct AssetStatus {
    /// How often it was loaded; 0 when it never was.
    pub generation: u32,
    /// Pixels of an image (of one layer); columns and rows of a sheet.
    pub width: u32,
    pub height: u32,
    /// Array layers of an image, 1 for a common one; 0 for a sheet.
    pub layers: u32,
    /// [`word_hash`] of an image's pixels or of a sheet's file, 16 hexadecimal digits; empty when the game keeps no copy.
    pub hash: String,
    /// Texture format; the hash is of RGBA pixels only for `Rgba8UnormSrgb`.
    pub format: String,
    /// How often loading failed, and why the last time.
    pub failed: u32,
    pub error: String,
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

fn track_images(
    mut changed: MessageReader<AssetEvent<Image>>,
    mut failed: MessageReader<AssetLoadFailedEvent<Image>>,
    server: Res<AssetServer>,
    images: Res<Assets<Image>>,
    mut state: ResMut<DgxPixels>,
) {
    for event in changed.read() {
        let (AssetEvent::Added { id } | AssetEvent::Modified { id }) = event else { continue };
        let (Some(path), Some(image)) = (server.get_path(*id), images.get(*id)) else { continue };
        let status = state.assets.entry(path.to_string()).or_default();
        status.generation += 1;
        (status.width, status.height) = (image.width(), image.height());
        status.layers = image.texture_descriptor.size.depth_or_array_layers;
        status.hash = image.data.as_deref().map(word_hash).unwrap_or_default();
        status.format = format!("{:?}", image.texture_descriptor.format);
    }
    for event in failed.read() {
        let status = state.assets.entry(event.path.to_string()).or_default();
        status.failed += 1;
        status.error = event.error.to_string();
    }
}

fn track_sheets(
    mut changed: MessageReader<AssetEvent<Sheet>>,
    mut failed: MessageReader<AssetLoadFailedEvent<Sheet>>,
    server: Res<AssetServer>,
    sheets: Res<Assets<Sheet>>,
    mut state: ResMut<DgxPixels>,
) {
    for event in changed.read() {
        let (AssetEvent::Added { id } | AssetEvent::Modified { id }) = event else { continue };
        let (Some(path), Some(sheet)) = (server.get_path(*id), sheets.get(*id)) else { continue };
        let status = state.assets.entry(path.to_string()).or_default();
        status.generation += 1;
        (status.width, status.height) = (sheet.columns, sheet.rows);
        status.hash = sheet.hash.clone();
        status.format = "sheet".into();
    }
    for event in failed.read() {
        let status = state.assets.entry(event.path.to_string()).or_default();
        status.failed += 1;
        status.error = event.error.to_string();
    }
}

/// Makes materials of type `M` take up a reloaded image even where its size changed: their bind groups keep the old
/// texture otherwise. Added for `ColorMaterial`; add it for the game's own, e.g.
/// `app.add_systems(PostUpdate, dgx_pixels::refresh_materials::<StandardMaterial>)`.
pub fn refresh_materials<M: Asset>(
    mut changed: MessageReader<AssetEvent<Image>>,
    server: Res<AssetServer>,
    materials: Option<ResMut<Assets<M>>>,
) {
    let reloaded =
        changed.read().any(|event| matches!(event, AssetEvent::Modified { id } if server.get_path(*id).is_some()));
    if let (true, Some(mut materials)) = (reloaded, materials) {
        for (_, mut material) in materials.iter_mut() {
            let _touched: &mut M = &mut material;
        }
    }
}

// --- Sheets -----------------------------------------------------------------------------------------------------

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
#[derive(Asset, TypePath)]
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
    /// The tile to show `seconds` after the start.
    pub fn tile(&self, seconds: f32) -> u32 {
        let frames = self.last.saturating_sub(self.first) + 1;
        let frame = (seconds * self.fps).max(0.0) as u32;
        self.first + if self.looping { frame % frames } else { frame.min(frames - 1) }
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
        let tiles = self.columns * self.rows;
        if tiles == 0 || self.tile_size.contains(&0) {
            return Err("a sheet needs at least one column, one row and a tile size above 0".into());
        }
        for (name, clip) in &self.animations {
            if clip.first > clip.last || clip.last >= tiles {
                let (first, last) = (clip.first, clip.last);
                return Err(
                    format!("animation '{name}' runs {first}..={last}, but the tiles are 0..={}", tiles - 1).into()
                );
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

    async fn load(&self, reader: &mut dyn Reader, _: &(), context: &mut LoadContext<'_>) -> Result<Sheet, BevyError> {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).await?;
        let file: SheetFile = serde_json::from_slice(&bytes)?;
        file.check()?;
        let tile_size = UVec2::from(file.tile_size);
        let layout = TextureAtlasLayout::from_grid(tile_size, file.columns, file.rows, None, None);
        let image = context.path().resolve_embed_str(&file.image)?;
        Ok(Sheet {
            image: context.load(image),
            layout: context.add_labeled_asset("layout".to_string(), layout),
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

/// Plays one animation of a sheet on the entity's [`Sprite`].
#[derive(Component)]
#[require(Sprite)]
pub struct SheetSprite {
    pub sheet: Handle<Sheet>,
    /// A name of `Sheet::animations`; the first one is played while there is none of that name.
    pub animation: String,
    /// Since the animation began.
    pub seconds: f32,
}

impl SheetSprite {
    pub fn new(sheet: Handle<Sheet>, animation: impl Into<String>) -> Self {
        Self { sheet, animation: animation.into(), seconds: 0.0 }
    }

    /// Changes to another animation, from its first frame; goes on if it plays already.
    pub fn play(&mut self, animation: &str) {
        if self.animation != animation {
            self.animation = animation.into();
            self.seconds = 0.0;
        }
    }
}

fn animate_sheets(time: Res<Time>, sheets: Res<Assets<Sheet>>, mut sprites: Query<(&mut SheetSprite, &mut Sprite)>) {
    for (mut player, mut sprite) in &mut sprites {
        let Some(sheet) = sheets.get(&player.sheet) else { continue };
        player.seconds += time.delta_secs();
        let clip = sheet.animations.get(&player.animation).or_else(|| sheet.animations.values().next());
        let index = clip.map_or(0, |clip| clip.tile(player.seconds)) as usize;
        if sprite.image != sheet.image {
            sprite.image = sheet.image.clone();
        }
        let shown = sprite.texture_atlas.as_ref();
        if shown.is_none_or(|atlas| atlas.index != index || atlas.layout != sheet.layout) {
            sprite.texture_atlas = Some(TextureAtlas { layout: sheet.layout.clone(), index });
        }
    }
}

// --- Methods ----------------------------------------------------------------------------------------------------

fn add_remote(app: &mut App) {
    #[cfg(feature = "extras")]
    app.add_plugins(bevy_brp_extras::BrpExtrasPlugin::new());
    if !app.is_plugin_added::<RemotePlugin>() {
        app.add_plugins(RemotePlugin::default());
    }
    if !app.is_plugin_added::<RemoteHttpPlugin>() {
        let port = std::env::var("BRP_EXTRAS_PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(DEFAULT_PORT);
        if TcpListener::bind(("127.0.0.1", port)).is_err() {
            warn!("port {port} is taken, so this game cannot be reached over BRP: set BRP_EXTRAS_PORT to a free one");
        }
        app.add_plugins(RemoteHttpPlugin::default().with_port(port));
    }
    let assets =
        app.get_added_plugins::<AssetPlugin>().first().map_or("assets".into(), |plugin| plugin.file_path.clone());
    let root = FileAssetReader::new(assets).root_path().clone();
    app.insert_resource(DgxPixels {
        protocol: PROTOCOL,
        game: env!("CARGO_PKG_NAME").into(),
        asset_root: root.canonicalize().unwrap_or(root).to_string_lossy().into(),
        assets: HashMap::default(),
    })
    .init_resource::<FrameTimes>()
    .add_systems(First, measure_frames)
    .add_systems(PostUpdate, refresh_materials::<ColorMaterial>)
    .add_systems(Update, show_previews)
    .add_systems(Last, (track_images, track_sheets));

    let world = app.main_mut().world_mut();
    let methods = [
        ("dgx_pixels/status", RemoteMethodSystemId::Instant(world.register_system(status))),
        ("dgx_pixels/reload", RemoteMethodSystemId::Instant(world.register_system(reload))),
        ("dgx_pixels/preview", RemoteMethodSystemId::Instant(world.register_system(preview))),
        ("dgx_pixels/clear", RemoteMethodSystemId::Instant(world.register_system(clear))),
        ("dgx_pixels/screenshot", RemoteMethodSystemId::Instant(world.register_system(screenshot))),
        // A watching method whose name lacks "+watch" answers once, with its first value: a long poll.
        ("dgx_pixels/await", RemoteMethodSystemId::Watching(world.register_system(await_change))),
    ];
    for (name, id) in methods {
        world.resource_mut::<RemoteMethods>().insert(name, id);
    }
    #[cfg(feature = "extras")]
    register_agent_tools(app);
}

#[cfg(feature = "extras")]
fn register_agent_tools(app: &mut App) {
    use bevy_brp_extras::{AgentTool, AppAgentToolExt};
    let paths = json!({"type": "object", "properties": {"paths": {"type": "array", "items": {"type": "string"}}}});
    let preview = json!({"type": "object", "required": ["path"], "properties": {
        "path": {"type": "string"}, "animation": {"type": "string"}, "scale": {"type": "number"},
        "position": {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}}});
    let tools = [
        (
            "status",
            "What the game has loaded: generation, size, pixel hash and last error by path below assets/",
            paths.clone(),
        ),
        ("reload", "Load these asset paths again, watcher or not", paths),
        ("preview", "Show an image or a .sheet.json of assets/ in front of the camera", preview),
        ("clear", "Remove all previews", json!({"type": "object"})),
    ];
    for (name, description, schema) in tools {
        let tool = AgentTool::new(format!("dgx_pixels_{name}"), format!("dgx_pixels/{name}"), description);
        let schema = serde_json::from_value(schema).expect("a schema is an object");
        app.register_agent_tool(tool.params_schema(schema));
    }
}

/// The last 300 frame times in milliseconds.
#[derive(Resource, Default)]
struct FrameTimes(VecDeque<f32>);

fn measure_frames(time: Res<Time<Real>>, mut frames: ResMut<FrameTimes>) {
    if frames.0.len() == 300 {
        frames.0.pop_front();
    }
    frames.0.push_back(time.delta_secs() * 1000.0);
}

fn read<T: for<'de> Deserialize<'de>>(params: Option<Value>) -> Result<T, BrpError> {
    serde_json::from_value(params.unwrap_or_else(|| json!({}))).map_err(|error| bad_params(error.to_string()))
}

fn bad_params(message: String) -> BrpError {
    BrpError { code: error_codes::INVALID_PARAMS, message, data: None }
}

#[derive(Deserialize)]
struct Paths {
    #[serde(default)]
    paths: Vec<String>,
}

/// The status of `path`, and whether anything in the game holds it (else a reload does nothing).
fn describe(path: &str, state: &DgxPixels, server: &AssetServer) -> Value {
    let mut status = json!(state.assets.get(path).cloned().unwrap_or_default());
    status["held"] = json!(!server.get_handles_untyped(path.to_string()).is_empty());
    status
}

/// `{"paths": [...]}` (all that were ever loaded when empty) -> who the game is, its frame times, and each path's state.
fn status(
    In(params): In<Option<Value>>,
    state: Res<DgxPixels>,
    server: Res<AssetServer>,
    frames: Res<FrameTimes>,
) -> BrpResult {
    let Paths { mut paths } = read(params)?;
    if paths.is_empty() {
        paths = state.assets.keys().cloned().collect();
    }
    let mut sorted: Vec<f32> = frames.0.iter().copied().collect();
    sorted.sort_by(f32::total_cmp);
    let assets: BTreeMap<_, _> = paths.iter().map(|path| (path, describe(path, &state, &server))).collect();
    Ok(json!({
        "protocol": state.protocol,
        "game": state.game,
        "asset_root": state.asset_root,
        "pid": std::process::id(),
        "watching": server.watching_for_changes(),
        "frame_ms": {"median": sorted.get(sorted.len() / 2), "worst": sorted.last()},
        "assets": assets,
    }))
}

/// `{"paths": [...]}` -> each path's state before the reload that this starts.
fn reload(In(params): In<Option<Value>>, state: Res<DgxPixels>, server: Res<AssetServer>) -> BrpResult {
    let Paths { paths } = read(params)?;
    let assets: BTreeMap<_, _> = paths.iter().map(|path| (path, describe(path, &state, &server))).collect();
    for path in &paths {
        server.reload(path.clone());
    }
    Ok(json!({ "asset_root": state.asset_root, "assets": assets }))
}

#[derive(Deserialize)]
struct Await {
    path: String,
    hash: Option<String>,
    #[serde(default)]
    generation: u32,
    #[serde(default)]
    failed: u32,
}

/// `{"path", "hash", "generation", "failed"}` -> the path's state as soon as its pixels have that hash or loading has
/// failed more than `failed` times. Without a hash, or where the game's pixels cannot be compared with the file's
/// (array textures, other formats, no copy kept), as soon as it was loaded more than `generation` times.
fn await_change(
    In(params): In<Option<Value>>,
    state: Res<DgxPixels>,
    server: Res<AssetServer>,
) -> BrpResult<Option<Value>> {
    let wanted: Await = read(params)?;
    let Some(status) = state.assets.get(&wanted.path) else { return Ok(None) };
    let comparable = status.format == "sheet" || (status.format == "Rgba8UnormSrgb" && status.layers == 1);
    let seen = match &wanted.hash {
        Some(hash) if comparable && !status.hash.is_empty() => status.hash == *hash,
        _ => status.generation > wanted.generation,
    };
    Ok((seen || status.failed > wanted.failed).then(|| describe(&wanted.path, &state, &server)))
}

/// Marks what `preview` spawned; an image becomes a sprite once it is loaded.
#[derive(Component)]
struct Preview(Option<Handle<Image>>);

fn show_previews(mut previews: Query<(Entity, &mut Preview)>, images: Res<Assets<Image>>, mut commands: Commands) {
    for (entity, mut preview) in &mut previews {
        let Some(image) = preview.0.as_ref().and_then(|handle| images.get(handle)) else { continue };
        // An array texture cannot be drawn as a sprite: the renderer would end the game.
        let drawable = image.texture_descriptor.size.depth_or_array_layers == 1;
        if let Some(handle) = preview.0.take_if(|_| drawable) {
            commands.entity(entity).insert(Sprite::from_image(handle));
        }
    }
}

#[derive(Deserialize)]
struct PreviewRequest {
    path: String,
    animation: Option<String>,
    position: Option<[f32; 2]>,
    scale: Option<f32>,
}

/// `{"path", "animation", "position", "scale"}` -> `{"entity"}`: shows an image or a `.sheet.json`, by default where the
/// camera looks. It is named `preview:<path>`.
fn preview(
    In(params): In<Option<Value>>,
    server: Res<AssetServer>,
    cameras: Query<&GlobalTransform, With<Camera2d>>,
    mut commands: Commands,
) -> BrpResult {
    let request: PreviewRequest = read(params)?;
    let path = request.path;
    let middle = cameras.iter().next().map_or(Vec2::ZERO, |camera| camera.translation().truncate());
    let transform = Transform::from_translation(request.position.map_or(middle, Vec2::from).extend(900.0))
        .with_scale(Vec3::splat(request.scale.unwrap_or(1.0)));
    let mut entity = commands.spawn((Name::new(format!("preview:{path}")), transform));
    if path.ends_with(".sheet.json") {
        entity.insert((Preview(None), SheetSprite::new(server.load(path), request.animation.unwrap_or_default())));
    } else {
        entity.insert((Preview(Some(server.load(path))), Visibility::default()));
    }
    Ok(json!({ "entity": entity.id().to_bits() }))
}

/// -> `{"cleared": count}`: removes all previews.
fn clear(In(_): In<Option<Value>>, previews: Query<Entity, With<Preview>>, mut commands: Commands) -> BrpResult {
    for entity in &previews {
        commands.entity(entity).despawn();
    }
    Ok(json!({ "cleared": previews.iter().count() }))
}

#[derive(Deserialize)]
struct ScreenshotRequest {
    path: PathBuf,
}

/// `{"path"}` (absolute, a new `.bmp`) -> at once; the file appears, complete, a few frames later. It shows what the
/// topmost active camera draws, be that a window or an image.
fn screenshot(
    In(params): In<Option<Value>>,
    cameras: Query<(&Camera, &RenderTarget)>,
    windows: Query<(), With<Window>>,
    mut commands: Commands,
) -> BrpResult {
    let ScreenshotRequest { path } = read(params)?;
    // Any local program can call this: it must not be able to overwrite anything.
    if !path.is_absolute() || path.extension() != Some("bmp".as_ref()) || path.exists() {
        return Err(bad_params("`path` must be an absolute path of a new file that ends in .bmp".into()));
    }
    let Some((_, target)) =
        cameras.iter().filter(|(camera, _)| camera.is_active).max_by_key(|(camera, _)| camera.order)
    else {
        return Err(BrpError::internal("the game has no active camera"));
    };
    if matches!(target, RenderTarget::Window(_)) && windows.is_empty() {
        return Err(BrpError::internal("the game has no window"));
    }
    let answer = json!({ "path": path });
    commands.spawn(Screenshot(target.clone())).observe(move |captured: On<ScreenshotCaptured>| {
        if let Err(error) = save(&captured.image, &path) {
            error!("cannot write the screenshot {}: {error}", path.display());
        }
    });
    Ok(answer)
}

/// A BMP holds the pixels as they come: encoding a PNG in a debug build would hold the game up for half a second.
fn save(image: &Image, path: &Path) -> Result<(), BevyError> {
    let masks: [u32; 4] = match image.texture_descriptor.format {
        TextureFormat::Rgba8Unorm | TextureFormat::Rgba8UnormSrgb => [0xff, 0xff00, 0xff_0000, 0xff00_0000],
        TextureFormat::Bgra8Unorm | TextureFormat::Bgra8UnormSrgb => [0xff_0000, 0xff00, 0xff, 0xff00_0000],
        format => return Err(format!("screens of the format {format:?} are not supported").into()),
    };
    let pixels = image.data.as_deref().ok_or("the screenshot is empty")?;
    let (header, bits) = (70, 32);
    let mut file = Vec::with_capacity(header + pixels.len());
    file.extend(b"BM");
    for number in [(header + pixels.len()) as u32, 0, header as u32, 56, image.width(), image.height().wrapping_neg()] {
        file.extend(number.to_le_bytes());
    }
    file.extend([1, 0, bits, 0]);
    for number in [3, pixels.len() as u32, 2835, 2835, 0, 0].into_iter().chain(masks) {
        file.extend(number.to_le_bytes());
    }
    file.extend(pixels);
    let part = path.with_extension("part");
    std::fs::write(&part, file)?;
    Ok(std::fs::rename(part, path)?)
}

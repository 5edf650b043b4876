//! The dev half of `dgx_pixels.rs`: reloads in the running game what dgx-pixels deploys, and proves it.
//!
//! What a debug build gets:
//! - the Bevy Remote Protocol on 127.0.0.1, port `BRP_EXTRAS_PORT` or 15702, if the game has not added it itself;
//! - [`DgxPixels`], a reflected resource: generation, size, hash of the RGBA pixels and last error of every image;
//! - the methods `dgx_pixels/status`, `reload`, `await`, `preview`, `clear` and `screenshot`.
//!
//! Nothing in the game changes unless a method asks for it.

use std::collections::VecDeque;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use bevy::asset::io::file::FileAssetReader;
use bevy::asset::{AssetLoadFailedEvent, ReflectAsset};
use bevy::camera::RenderTarget;
use bevy::ecs::message::{MessageCursor, Messages};
use bevy::platform::collections::HashMap;
use bevy::prelude::*;
use bevy::remote::RemoteMethodSystemId::{Instant, Watching};
use bevy::remote::http::{DEFAULT_PORT, RemoteHttpPlugin};
use bevy::remote::{BrpError, BrpResult, RemoteMethods, RemotePlugin, error_codes};
use bevy::render::render_resource::TextureFormat;
use bevy::render::view::screenshot::{Screenshot, ScreenshotCaptured};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Sheet, SheetSprite, word_hash};

/// Version of the methods below; the server compares it with what it speaks.
pub const PROTOCOL: u32 = 2;

// --- What the game has loaded -----------------------------------------------------------------------------------

/// What the game has loaded, by asset path. Readable over BRP as `<crate>::dgx_pixels::dev::DgxPixels`.
#[derive(Resource, Reflect, Default)]
#[reflect(Resource)]
pub struct DgxPixels {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// Name of the running program.
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
    /// `word_hash` of an image's pixels or of a sheet's file, 16 hexadecimal digits; empty when the game keeps no copy.
    pub hash: String,
    /// Texture format; the hash is of RGBA pixels only for `Rgba8UnormSrgb`.
    pub format: String,
    /// How often loading failed, and why the last time.
    pub failed: u32,
    pub error: String,
}

impl DgxPixels {
    fn note<A: Asset>(&mut self, event: &AssetLoadFailedEvent<A>) {
        let status = self.assets.entry(event.path.to_string()).or_default();
        status.failed += 1;
        status.error = event.error.to_string();
    }
}

/// What was loaded, for the first time or again.
fn loaded<A: Asset>(event: &AssetEvent<A>) -> Option<AssetId<A>> {
    match event {
        AssetEvent::Added { id } | AssetEvent::Modified { id } => Some(*id),
        _ => None,
    }
}

fn track_images(
    mut changed: MessageReader<AssetEvent<Image>>,
    mut failed: MessageReader<AssetLoadFailedEvent<Image>>,
    server: Res<AssetServer>,
    images: Res<Assets<Image>>,
    mut state: ResMut<DgxPixels>,
) {
    for id in changed.read().filter_map(loaded) {
        let (Some(path), Some(image)) = (server.get_path(id), images.get(id)) else {
            continue;
        };
        let status = state.assets.entry(path.to_string()).or_default();
        status.generation += 1;
        (status.width, status.height) = (image.width(), image.height());
        status.layers = image.texture_descriptor.size.depth_or_array_layers;
        status.hash = image.data.as_deref().map(word_hash).unwrap_or_default();
        status.format = format!("{:?}", image.texture_descriptor.format);
    }
    failed.read().for_each(|event| state.note(event));
}

fn track_sheets(
    mut changed: MessageReader<AssetEvent<Sheet>>,
    mut failed: MessageReader<AssetLoadFailedEvent<Sheet>>,
    server: Res<AssetServer>,
    sheets: Res<Assets<Sheet>>,
    mut state: ResMut<DgxPixels>,
) {
    for id in changed.read().filter_map(loaded) {
        let (Some(path), Some(sheet)) = (server.get_path(id), sheets.get(id)) else {
            continue;
        };
        let status = state.assets.entry(path.to_string()).or_default();
        status.generation += 1;
        (status.width, status.height) = (sheet.columns, sheet.rows);
        status.hash = sheet.hash.clone();
        status.format = "sheet".into();
    }
    failed.read().for_each(|event| state.note(event));
}

/// Makes materials of type `M` take up a reloaded image even where its size changed: their bind groups keep the old
/// texture otherwise. Added for `ColorMaterial`; add it for the game's own, e.g.
/// `app.add_systems(PostUpdate, dgx_pixels::refresh_materials::<StandardMaterial>)`.
pub fn refresh_materials<M: Asset>(
    mut changed: MessageReader<AssetEvent<Image>>,
    server: Res<AssetServer>,
    materials: Option<ResMut<Assets<M>>>,
) {
    let reloaded = changed.read().any(
        |event| matches!(event, AssetEvent::Modified { id } if server.get_path(*id).is_some()),
    );
    if let (true, Some(mut materials)) = (reloaded, materials) {
        for (_, mut material) in materials.iter_mut() {
            #[allow(
                clippy::needless_borrow,
                reason = "versions of Bevy differ in what they hand out here"
            )]
            let _touched: &mut M = &mut material;
        }
    }
}

/// Bevy 0.20 draws sprites by a material that keeps the size of its picture. This makes it take up a reloaded picture.
///
/// The material is found by reflection, so that one source serves Bevy 0.19 too, which has no such material.
fn refresh_sprite_materials(
    world: &mut World,
    mut events: Local<MessageCursor<AssetEvent<Image>>>,
) {
    let server = world.resource::<AssetServer>();
    let reloaded = events
        .read(world.resource::<Messages<AssetEvent<Image>>>())
        .any(
            |event| matches!(event, AssetEvent::Modified { id } if server.get_path(*id).is_some()),
        );
    if !reloaded {
        return;
    }
    let registry = world.resource::<AppTypeRegistry>().clone();
    let materials = registry
        .read()
        .get_with_short_type_path("SpriteMeshMaterial")
        .and_then(|registration| registration.data::<ReflectAsset>().cloned());
    let Some(materials) = materials else { return };
    for id in materials.ids(world).collect::<Vec<_>>() {
        materials.get_mut(world, id);
    }
}

// --- Methods ----------------------------------------------------------------------------------------------------

/// Adds all of this to the app.
pub fn add(app: &mut App) {
    let port = std::env::var("BRP_EXTRAS_PORT")
        .ok()
        .and_then(|port| port.parse().ok())
        .unwrap_or(DEFAULT_PORT);
    if !app.is_plugin_added::<RemoteHttpPlugin>() && TcpListener::bind(("127.0.0.1", port)).is_err()
    {
        warn!(
            "port {port} is taken, so this game cannot be reached over BRP: set BRP_EXTRAS_PORT to a free one"
        );
    }
    #[cfg(feature = "dgx_pixels_extras")]
    app.add_plugins(bevy_brp_extras::BrpExtrasPlugin::new());
    if !app.is_plugin_added::<RemotePlugin>() {
        app.add_plugins(RemotePlugin::default());
    }
    if !app.is_plugin_added::<RemoteHttpPlugin>() {
        app.add_plugins(RemoteHttpPlugin::default().with_port(port));
    }
    let assets = app
        .get_added_plugins::<AssetPlugin>()
        .first()
        .map_or("assets".into(), |plugin| plugin.file_path.clone());
    let root = FileAssetReader::new(assets).root_path().clone();
    app.insert_resource(DgxPixels {
        protocol: PROTOCOL,
        game: std::env::current_exe()
            .ok()
            .and_then(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
            .unwrap_or_else(|| env!("CARGO_PKG_NAME").into()),
        asset_root: root.canonicalize().unwrap_or(root).to_string_lossy().into(),
        assets: HashMap::default(),
    })
    .init_resource::<FrameTimes>()
    .add_systems(First, measure_frames)
    .add_systems(
        PostUpdate,
        (refresh_materials::<ColorMaterial>, refresh_sprite_materials),
    )
    .add_systems(Update, show_previews)
    .add_systems(Last, (track_images, track_sheets));

    let world = app.main_mut().world_mut();
    let methods = [
        ("status", Instant(world.register_system(status))),
        ("reload", Instant(world.register_system(reload))),
        ("preview", Instant(world.register_system(preview))),
        ("clear", Instant(world.register_system(clear))),
        ("screenshot", Instant(world.register_system(screenshot))),
        // A watching method whose name lacks "+watch" answers once, with its first value: a long poll.
        ("await", Watching(world.register_system(await_change))),
    ];
    for (name, id) in methods {
        let name = format!("dgx_pixels/{name}");
        world.resource_mut::<RemoteMethods>().insert(name, id);
    }
    #[cfg(feature = "dgx_pixels_extras")]
    register_agent_tools(app);
}

#[cfg(feature = "dgx_pixels_extras")]
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
        (
            "reload",
            "Load these asset paths again, watcher or not",
            paths,
        ),
        (
            "preview",
            "Show an image or a .sheet.json of assets/ in front of the camera",
            preview,
        ),
        ("clear", "Remove all previews", json!({"type": "object"})),
    ];
    for (name, description, schema) in tools {
        let tool = AgentTool::new(
            format!("dgx_pixels_{name}"),
            format!("dgx_pixels/{name}"),
            description,
        );
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
    serde_json::from_value(params.unwrap_or_else(|| json!({})))
        .map_err(|error| bad_params(error.to_string()))
}

fn bad_params(message: String) -> BrpError {
    BrpError {
        code: error_codes::INVALID_PARAMS,
        message,
        data: None,
    }
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

fn describe_all(paths: &[String], state: &DgxPixels, server: &AssetServer) -> Value {
    let one = |path: &String| (path.clone(), describe(path, state, server));
    paths.iter().map(one).collect()
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
    Ok(json!({
        "protocol": state.protocol,
        "game": state.game,
        "asset_root": state.asset_root,
        "pid": std::process::id(),
        "watching": server.watching_for_changes(),
        "frame_ms": {"median": sorted.get(sorted.len() / 2), "worst": sorted.last()},
        "assets": describe_all(&paths, &state, &server),
    }))
}

/// `{"paths": [...]}` -> each path's state before the reload that this starts.
fn reload(
    In(params): In<Option<Value>>,
    state: Res<DgxPixels>,
    server: Res<AssetServer>,
) -> BrpResult {
    let Paths { paths } = read(params)?;
    let assets = describe_all(&paths, &state, &server);
    for path in paths {
        server.reload(path);
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
    let Some(status) = state.assets.get(&wanted.path) else {
        return Ok(None);
    };
    let comparable =
        status.format == "sheet" || (status.format == "Rgba8UnormSrgb" && status.layers == 1);
    let seen = match &wanted.hash {
        Some(hash) if comparable && !status.hash.is_empty() => status.hash == *hash,
        _ => status.generation > wanted.generation,
    };
    Ok((seen || status.failed > wanted.failed).then(|| describe(&wanted.path, &state, &server)))
}

/// Marks what `preview` spawned; an image becomes a sprite once it is loaded.
#[derive(Component)]
struct Preview(Option<Handle<Image>>);

fn show_previews(
    mut previews: Query<(Entity, &mut Preview)>,
    images: Res<Assets<Image>>,
    mut commands: Commands,
) {
    for (entity, mut preview) in &mut previews {
        let Some(image) = preview.0.as_ref().and_then(|handle| images.get(handle)) else {
            continue;
        };
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
    let middle = cameras
        .iter()
        .next()
        .map_or(Vec2::ZERO, |camera| camera.translation().truncate());
    let transform =
        Transform::from_translation(request.position.map_or(middle, Vec2::from).extend(900.0))
            .with_scale(Vec3::splat(request.scale.unwrap_or(1.0)));
    let mut entity = commands.spawn((Name::new(format!("preview:{path}")), transform));
    if path.ends_with(".sheet.json") {
        entity.insert((
            Preview(None),
            SheetSprite::new(server.load(path), request.animation.unwrap_or_default()),
        ));
    } else {
        entity.insert((Preview(Some(server.load(path))), Visibility::default()));
    }
    Ok(json!({ "entity": entity.id().to_bits() }))
}

/// -> `{"cleared": count}`: removes all previews.
fn clear(
    In(_): In<Option<Value>>,
    previews: Query<Entity, With<Preview>>,
    mut commands: Commands,
) -> BrpResult {
    for entity in &previews {
        commands.entity(entity).despawn();
    }
    Ok(json!({ "cleared": previews.iter().count() }))
}

#[derive(Deserialize)]
struct ScreenshotRequest {
    path: PathBuf,
}

/// `{"path"}` (absolute, a new `.bmp`) -> immediately; the file appears, complete, a few frames later. It shows what the
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
        return Err(bad_params(
            "`path` must be an absolute path of a new file that ends in .bmp".into(),
        ));
    }
    let Some((_, target)) = cameras
        .iter()
        .filter(|(camera, _)| camera.is_active)
        .max_by_key(|(camera, _)| camera.order)
    else {
        return Err(BrpError::internal("the game has no active camera"));
    };
    if matches!(target, RenderTarget::Window(_)) && windows.is_empty() {
        return Err(BrpError::internal("the game has no window"));
    }
    let answer = json!({ "path": path });
    commands
        .spawn(Screenshot(target.clone()))
        .observe(move |captured: On<ScreenshotCaptured>| {
            if let Err(error) = save(&captured.image, &path) {
                error!("cannot write the screenshot {}: {error}", path.display());
            }
        });
    Ok(answer)
}

/// A BMP holds the pixels as they come: encoding a PNG in a debug build would hold the game up for half a second.
fn save(image: &Image, path: &Path) -> Result<(), BevyError> {
    let masks: [u32; 4] = match image.texture_descriptor.format {
        TextureFormat::Rgba8Unorm | TextureFormat::Rgba8UnormSrgb => {
            [0xff, 0xff00, 0xff_0000, 0xff00_0000]
        }
        TextureFormat::Bgra8Unorm | TextureFormat::Bgra8UnormSrgb => {
            [0xff_0000, 0xff00, 0xff, 0xff00_0000]
        }
        format => return Err(format!("screens of the format {format:?} are not supported").into()),
    };
    let pixels = image.data.as_deref().ok_or("the screenshot is empty")?;
    let (header, bits) = (70, 32);
    let mut file = Vec::with_capacity(header + pixels.len());
    file.extend(b"BM");
    for number in [
        (header + pixels.len()) as u32,
        0,
        header as u32,
        56,
        image.width(),
        image.height().wrapping_neg(),
    ] {
        file.extend(number.to_le_bytes());
    }
    file.extend([1, 0, bits, 0]);
    for number in [3, pixels.len() as u32, 2835, 2835, 0, 0]
        .into_iter()
        .chain(masks)
    {
        file.extend(number.to_le_bytes());
    }
    file.extend(pixels);
    // Both names must be new: neither an existing file nor a link may be written through.
    let part = path.with_extension("part");
    std::fs::File::create_new(&part)?.write_all(&file)?;
    let placed = std::fs::hard_link(&part, path).or_else(|error| {
        // A file system without hard links.
        if path.exists() {
            Err(error)
        } else {
            std::fs::rename(&part, path)
        }
    });
    let _gone_after_a_rename = std::fs::remove_file(&part);
    Ok(placed?)
}

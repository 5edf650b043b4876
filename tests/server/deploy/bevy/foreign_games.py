"""Twelve Bevy games in the forms that people's games have, for the tests of init-game.

Each is a folder of files. `{bevy}` in a manifest stands for the dependency on Bevy, which the tests that build the
games replace by exact versions and few features.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CRLF = "crlf"


@dataclass(frozen=True, slots=True)
class ForeignGame:
    """One game. `crate`: the folder of the game in the files; `program`: the name of its binary.

    `bevy`: the 0.x it is written for; 0: any that the plugin knows. `newline`: "" or "crlf".
    """

    files: dict[str, str]
    program: str
    crate: str = ""
    bevy: int = 0
    newline: str = ""
    shows: str = "hero.png"
    assets: str = "assets"
    listens: bool = False
    """Whether it has the remote protocol of its own."""

    def write(self, folder: Path, dependency: str) -> Path:
        """Writes the files below `folder`. Returns the crate's root."""
        for name, text in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            whole = text.replace("{bevy}", dependency)
            path.write_bytes((whole.replace("\n", "\r\n") if self.newline else whole).encode())
        return folder / self.crate


def _manifest(name: str, rest: str = "\n[dependencies]\n{bevy}\n") -> str:
    return f'[package]\nname = "{name}"\nversion = "0.1.0"\nedition = "2024"\n{rest}'


SPRITE = ForeignGame(
    {
        "Cargo.toml": _manifest("sprite"),
        "src/main.rs": """\
//! Displays a single [`Sprite`], created from an image.

use bevy::prelude::*;

fn main() {
    App::new()
        .add_plugins(DefaultPlugins)
        .add_systems(Startup, setup)
        .run();
}

fn setup(mut commands: Commands, asset_server: Res<AssetServer>) {
    commands.spawn(Camera2d);

    commands.spawn(Sprite::from_image(
        asset_server.load("hero.png"),
    ));
}
""",
        ".gitignore": "/target",
    },
    "sprite",
)

ATLAS = ForeignGame(
    {
        "Cargo.toml": _manifest("atlas", "# made by hand\n\n[dependencies]\n{bevy}\n\n[profile.dev.package.'*']\n"),
        "src/main.rs": """\
//! Renders an animated sprite by loading all animation frames from a single image (a sprite sheet)
//! into a texture atlas, and changing the displayed image periodically.

use bevy::prelude::*;

fn main() {
    App::new()
        .add_plugins(DefaultPlugins.set(ImagePlugin::default_nearest())) // prevents blurry sprites
        .add_systems(Startup, setup)
        .add_systems(Update, animate_sprite)
        .run();
}

#[derive(Component)]
struct AnimationIndices {
    first: usize,
    last: usize,
}

#[derive(Component, Deref, DerefMut)]
struct AnimationTimer(Timer);

fn animate_sprite(
    time: Res<Time>,
    mut query: Query<(&AnimationIndices, &mut AnimationTimer, &mut Sprite)>,
) {
    for (indices, mut timer, mut sprite) in &mut query {
        timer.tick(time.delta());

        if timer.just_finished()
            && let Some(atlas) = &mut sprite.texture_atlas
        {
            atlas.index = if atlas.index == indices.last {
                indices.first
            } else {
                atlas.index + 1
            };
        }
    }
}

fn setup(
    mut commands: Commands,
    asset_server: Res<AssetServer>,
    mut texture_atlas_layouts: ResMut<Assets<TextureAtlasLayout>>,
) {
    let texture = asset_server.load("hero.png");
    let layout = TextureAtlasLayout::from_grid(UVec2::splat(16), 2, 2, None, None);
    let texture_atlas_layout = texture_atlas_layouts.add(layout);
    let animation_indices = AnimationIndices { first: 1, last: 3 };

    commands.spawn(Camera2d);

    commands.spawn((
        Sprite::from_atlas_image(
            texture,
            TextureAtlas { layout: texture_atlas_layout, index: animation_indices.first },
        ),
        Transform::from_scale(Vec3::splat(6.0)),
        animation_indices,
        AnimationTimer(Timer::from_seconds(0.1, TimerMode::Repeating)),
    ));
}
""",
    },
    "atlas",
)

TEMPLATE = ForeignGame(
    {
        "Cargo.toml": _manifest(
            "template_2d",
            """\

[dependencies]
{bevy}

[features]
default = [
    # Default to a native dev build.
    "dev_native",
]
dev = [
    # Enable developer tools.
]
dev_native = [
    "dev",
    # Enable asset hot reloading for native dev builds.
    "bevy/file_watcher",
]

[lints.rust]
# Mark `bevy_lint` as a valid `cfg`.
unexpected_cfgs = { level = "warn", check-cfg = ["cfg(bevy_lint)"] }

[lints.clippy]
# Bevy supplies arguments to systems via dependency injection.
too_many_arguments = "allow"
type_complexity = "allow"

# Compile with Performance Optimizations:
[profile.dev]
debug = 0 # quick to link
""",
        ),
        "src/main.rs": """\
// Support configuring Bevy lints within code.
#![cfg_attr(bevy_lint, feature(register_tool), register_tool(bevy))]
// Disable console on Windows for non-dev builds.
#![cfg_attr(not(feature = "dev"), windows_subsystem = "windows")]

#[cfg(feature = "dev")]
mod dev_tools;
mod screens;

use bevy::{asset::AssetMetaCheck, prelude::*};

fn main() -> AppExit {
    App::new().add_plugins(AppPlugin).run()
}

pub struct AppPlugin;

impl Plugin for AppPlugin {
    fn build(&self, app: &mut App) {
        // Add Bevy plugins.
        app.add_plugins(
            DefaultPlugins
                .set(AssetPlugin {
                    // Wasm builds will check for meta files (that don't exist) if this isn't set.
                    meta_check: AssetMetaCheck::Never,
                    ..default()
                })
                .set(WindowPlugin {
                    primary_window: Window {
                        title: "Template 2D".to_string(),
                        fit_canvas_to_parent: true,
                        ..default()
                    }
                    .into(),
                    ..default()
                }),
        );

        // Add other plugins.
        app.add_plugins((
            #[cfg(feature = "dev")]
            dev_tools::plugin,
            screens::plugin,
        ));

        // Order new `AppSystems` variants by adding them here:
        app.configure_sets(Update, (AppSystems::TickTimers, AppSystems::RecordInput).chain());
    }
}

/// High-level groupings of systems for the app in the `Update` schedule.
#[derive(SystemSet, Debug, Clone, Copy, Eq, PartialEq, Hash, PartialOrd, Ord)]
enum AppSystems {
    /// Tick timers.
    TickTimers,
    /// Record player input.
    RecordInput,
}
""",
        "src/dev_tools.rs": """\
//! Development tools for the game. This plugin is only enabled in dev builds.

use bevy::prelude::*;

pub(super) fn plugin(app: &mut App) {
    app.add_systems(Update, || {});
}
""",
        "src/screens.rs": """\
//! The game's screens.

use bevy::prelude::*;

pub(super) fn plugin(app: &mut App) {
    app.add_systems(Startup, |mut commands: Commands, server: Res<AssetServer>| {
        commands.spawn((Name::new("Camera"), Camera2d));
        commands.spawn((Name::new("Player"), Sprite::from_image(server.load("images/ducky.png"))));
    });
}
""",
        ".gitignore": "# Rust build outputs\ntarget/\n",
    },
    "template_2d",
    shows="images/ducky.png",
)

WORKSPACE = ForeignGame(
    {
        "Cargo.toml": '[workspace]\nresolver = "3"\nmembers = ["game", "rules"]\n\n'
        '[workspace.dependencies]\n{bevy}\nserde = "1"\n\n[profile.dev]\ndebug = 0\n',
        "game/Cargo.toml": '[package]\nname = "workspace_game"\nversion = "0.1.0"\nedition = "2024"\n\n'
        '[dependencies]\nbevy.workspace = true\nrules = { path = "../rules" }\n',
        "game/src/main.rs": """\
use bevy::prelude::*;

fn main() {
    let mut app = App::new();
    app.add_plugins((DefaultPlugins, rules::plugin));
    app.add_systems(Startup, |mut commands: Commands, server: Res<AssetServer>| {
        commands.spawn(Camera2d);
        commands.spawn(Sprite::from_image(server.load("hero.png")));
    });
    app.run();
}
""",
        "rules/Cargo.toml": '[package]\nname = "rules"\nversion = "0.1.0"\nedition = "2024"\n\n'
        "[dependencies]\nbevy = { workspace = true }\n",
        "rules/src/lib.rs": """\
use bevy::prelude::*;

pub fn plugin(app: &mut App) {
    app.init_resource::<Score>();
}

#[derive(Resource, Default)]
pub struct Score(pub u32);
""",
    },
    "workspace_game",
    crate="game",
)

OWN_FOLDER = ForeignGame(
    {
        "Cargo.toml": _manifest("own_folder"),
        "src/main.rs": """\
use bevy::prelude::*;

fn main() {
    App::new()
        .add_plugins(DefaultPlugins.set(AssetPlugin { file_path: "src/assets".into(), ..default() }))
        .add_systems(Startup, setup)
        .run();
}

fn setup(mut commands: Commands, server: Res<AssetServer>) {
    commands.spawn(Camera2d);
    commands.spawn(Sprite::from_image(server.load("hero.png")));
}
""",
    },
    "own_folder",
    assets="src/assets",
)

PROGRAM_IN_BIN = ForeignGame(
    {
        "Cargo.toml": _manifest("with_bin"),
        "src/bin/play.rs": """\
/* The game itself. */
use bevy::prelude::*;
use with_bin::SPEED;

fn main() {
    App::new()
        .add_plugins(DefaultPlugins)
        .add_systems(Startup, setup)
        .run();
}

fn setup(mut commands: Commands, server: Res<AssetServer>) {
    info!("speed {SPEED}");
    commands.spawn(Camera2d);
    commands.spawn(Sprite::from_image(server.load("hero.png")));
}
""",
        "src/lib.rs": "/// Pixels a second.\npub const SPEED: f32 = 90.0;\n",
    },
    "play",
)

LIBRARY_RUNS = ForeignGame(
    {
        "Cargo.toml": _manifest("library_runs"),
        "src/main.rs": "fn main() {\n    library_runs::run();\n}\n",
        "src/lib.rs": """\
#![warn(missing_docs)]
//! The whole game, so that tests can start it.

use bevy::prelude::*;

/// Runs the game.
pub fn run() {
    let mut app = App::new();
    app.add_plugins(DefaultPlugins.build());
    app.add_systems(Startup, setup);
    app.run();
}

fn setup(mut commands: Commands, server: Res<AssetServer>) {
    commands.spawn(Camera2d);
    commands.spawn(Sprite::from_image(server.load("hero.png")));
}
""",
    },
    "library_runs",
)

OWN_REMOTE = ForeignGame(
    {
        "Cargo.toml": _manifest("own_remote", "\n[features]\nremote = []\n\n[dependencies]\n{bevy}\n"),
        "src/main.rs": """\
use bevy::prelude::*;
use bevy::remote::http::RemoteHttpPlugin;
use bevy::remote::RemotePlugin;

fn main() {
    let port = std::env::var("BRP_EXTRAS_PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(15702);
    App::new()
        .add_plugins(DefaultPlugins)
        .add_plugins(RemotePlugin::default())
        .add_plugins(RemoteHttpPlugin::default().with_port(port))
        .add_systems(Startup, setup)
        .run();
}

fn setup(mut commands: Commands, server: Res<AssetServer>) {
    commands.spawn(Camera2d);
    commands.spawn(Sprite::from_image(server.load("hero.png")));
}
""",
    },
    "own_remote",
    listens=True,
)

OWN_EXTRAS = ForeignGame(
    {
        "Cargo.toml": _manifest(
            "own_extras",
            '\n[features]\ndefault = ["extras"]\nextras = [] # levels of the second edition\n\n'
            '[dependencies]\n{bevy}\nserde = { version = "1", default-features = false, features = ["std"] }\n',
        ),
        "src/main.rs": """\
use bevy::prelude::*;

/// `)` in a string is no bracket, nor is `'"'` the start of one. // nor this a comment's end */
const TITLE: &str = "Smile :) .add_plugins(DefaultPlugins) \\" (";
const QUOTE: char = '"';
const RAW: &str = r#"App::new().add_plugins((DefaultPlugins"#;

fn main() {
    // App::new().add_plugins(DefaultPlugins);
    let levels = if cfg!(feature = "extras") { 12 } else { 8 };
    App::new()
        .add_plugins(DefaultPlugins.set(WindowPlugin {
            primary_window: Some(Window { title: format!("{TITLE}{QUOTE}{RAW} {levels} :)"), ..default() }),
            ..default()
        }))
        .add_systems(Startup, setup)
        .run();
}

fn setup(mut commands: Commands, server: Res<AssetServer>) {
    commands.spawn(Camera2d);
    commands.spawn(Sprite::from_image(server.load("hero.png")));
}
""",
    },
    "own_extras",
)

WINDOWS = ForeignGame(
    {
        "Cargo.toml": _manifest("windows_lines"),
        "src/main.rs": SPRITE.files["src/main.rs"],
        ".gitignore": "/target\n",
        "README.md": "Lines end as on Windows.\n",
    },
    "windows_lines",
    newline=CRLF,
)

OLD_17 = ForeignGame({"Cargo.toml": _manifest("old_17"), "src/main.rs": SPRITE.files["src/main.rs"]}, "old_17", bevy=17)
OLD_18 = ForeignGame({"Cargo.toml": _manifest("old_18"), "src/main.rs": ATLAS.files["src/main.rs"]}, "old_18", bevy=18)

GAMES = {
    "sprite": SPRITE,
    "atlas": ATLAS,
    "template": TEMPLATE,
    "workspace": WORKSPACE,
    "own folder": OWN_FOLDER,
    "src/bin": PROGRAM_IN_BIN,
    "library runs": LIBRARY_RUNS,
    "own remote": OWN_REMOTE,
    "own extras": OWN_EXTRAS,
    "windows lines": WINDOWS,
    "Bevy 0.17": OLD_17,
    "Bevy 0.18": OLD_18,
}

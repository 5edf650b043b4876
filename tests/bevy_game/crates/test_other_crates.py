"""What the server writes for other crates is loaded and drawn, pixel by pixel, in a Bevy 0.20 game by these crates."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from pipelines.animation.aseprite_sheets import from_sheet
from pipelines.animation.sheets import Sheet, arrange, layout_json
from pipelines.pixels.aseprite import write_aseprite
from pipelines.pixels.png import encode_png
from pipelines.records import Pixels, no_progress
from pipelines.sdxl.diffusion import DiffusersBackend
from server.deploy.bevy.init_game import plan
from server.deploy.bevy.screenshot import Screen, read_rgba, take_screenshot
from server.deploy.bevy.sidecars import assets_ron
from server.deploy.deploy import deploy
from server.features.requests import TilesetRequest
from server.features.tilesets import generate_tileset
from server.project.game import find_project
from server.settings import Settings
from server.studio import Studio
from tests.bevy_game.running import VERSION, Game, free_port, picture, wait_for
from tests.bevy_game.toolchain import bevy_dependency, build, extras_dependency, own_folder, project

CRATES = """\
bevy_aseprite_ultra = "=0.10.0"
bevy_ecs_ldtk = "=0.16.0"
bevy_ecs_tiled = "=0.15.0"
bevy_asset_loader = { version = "=0.28.1", features = ["2d", "standard_dynamic_assets"] }
"""
"""The releases for Bevy 0.20 (docs/bevy.md)."""

TILE = 16
VIEW = (480, 320)
MAIN = """\
use bevy::app::ScheduleRunnerPlugin;
use bevy::camera::RenderTarget;
use bevy::prelude::*;
use bevy::render::render_resource::{TextureFormat, TextureUsages};
use bevy::window::ExitCondition;
use bevy::winit::WinitPlugin;
use bevy_asset_loader::prelude::*;
use bevy_aseprite_ultra::prelude::*;
use bevy_ecs_ldtk::prelude::*;
use bevy_ecs_tiled::prelude::{TiledMap, TiledPlugin, TilemapAnchor};

#[derive(States, Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
enum Loading {
    #[default]
    Files,
    Done,
}

#[derive(AssetCollection, Resource)]
struct Art {
    #[asset(key = "sheets.bat")]
    image: Handle<Image>,
    #[asset(key = "sheets.bat.layout")]
    layout: Handle<TextureAtlasLayout>,
}

fn main() {
    let no_window = WindowPlugin { primary_window: None, exit_condition: ExitCondition::DontExit, ..default() };
    let mut app = App::new();
    app.add_plugins(DefaultPlugins.set(no_window).set(ImagePlugin::default_nearest()).disable::<WinitPlugin>())
        .add_plugins(ScheduleRunnerPlugin::run_loop(std::time::Duration::from_millis(16)))
        .add_systems(Startup, spawn_camera);
    match std::env::var("READS").unwrap().as_str() {
        "aseprite" => app.add_plugins(AsepriteUltraPlugin).add_systems(Startup, aseprite),
        "asset_loader" => app
            .init_state::<Loading>()
            .add_loading_state(
                LoadingState::new(Loading::Files)
                    .continue_to_state(Loading::Done)
                    .with_dynamic_assets_file::<StandardDynamicAssetCollection>("art.assets.ron")
                    .load_collection::<Art>(),
            )
            .add_systems(OnEnter(Loading::Done), loaded),
        path if path.ends_with(".ldtk") => app
            .add_plugins(LdtkPlugin)
            .insert_resource(LevelSelection::index(0))
            .insert_resource(LdtkSettings { int_grid_rendering: IntGridRendering::Invisible, ..default() })
            .add_systems(Startup, ldtk),
        _ => app.add_plugins(TiledPlugin::default()).add_systems(Startup, tiled),
    };
    app.run();
}

fn spawn_camera(mut commands: Commands, mut images: ResMut<Assets<Image>>) {
    let mut target = Image::new_target_texture(480, 320, TextureFormat::Rgba8UnormSrgb, None);
    target.texture_descriptor.usage |= TextureUsages::COPY_SRC;
    commands.spawn((Camera2d, Msaa::Off, RenderTarget::Image(images.add(target).into())));
}

fn aseprite(mut commands: Commands, server: Res<AssetServer>) {
    let aseprite = server.load("sheets/bat.aseprite");
    commands.spawn((AseAnimation { aseprite, animation: Animation::tag("walk") }, Sprite::default()));
}

fn loaded(mut commands: Commands, art: Res<Art>) {
    let atlas = TextureAtlas { layout: art.layout.clone(), index: 2 };
    commands.spawn(Sprite::from_atlas_image(art.image.clone(), atlas));
}

// The corner of a map is put at the lower left of the screen.
fn corner() -> Transform {
    Transform::from_xyz(-240.0, -160.0, 0.0)
}

fn ldtk(mut commands: Commands, server: Res<AssetServer>) {
    let path = std::env::var("READS").unwrap();
    commands.spawn(LdtkWorldBundle { ldtk_handle: server.load(path).into(), transform: corner(), ..default() });
}

fn tiled(mut commands: Commands, server: Res<AssetServer>) {
    let map = TiledMap(server.load(std::env::var("READS").unwrap()));
    commands.spawn((map, TilemapAnchor::BottomLeft, corner()));
}
"""


class Built(NamedTuple):
    """The game's root, its sheet, and the pictures of the maps by layout."""

    root: Path
    sheet: Sheet
    maps: dict[str, Pixels]


def manifest(name: str) -> str:
    """A Cargo.toml with the crates."""
    head = f'[package]\nname = "{name}"\nversion = "0.1.0"\nedition = "2024"\n\n[dependencies]\n'
    return f"{head}{bevy_dependency(VERSION)}\n{CRATES}{extras_dependency(VERSION)}"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    root = own_folder(VERSION, "readers")
    (root / "src").mkdir()
    (root / "src/main.rs").write_text(MAIN)
    (root / "Cargo.toml").write_text(manifest("readers"))
    shutil.copy(project(VERSION) / "Cargo.lock", root)
    game = find_project(root, None)
    assert game
    offered = plan(game)
    assert not offered.by_hand
    offered.apply()
    sheet = write_sheet(root / "assets/sheets")
    maps = deploy_maps(root, tmp_path_factory.mktemp("data"))
    (root / "assets/art.assets.ron").write_text(assets_ron(root / "assets"))
    result = build(VERSION, root, "--quiet")
    assert result.returncode == 0, result.stderr
    assert "warning" not in result.stderr
    return Built(root, sheet, maps)


def write_sheet(folder: Path) -> Sheet:
    """Four frames of 32x32 in two clips: as PNG with its layout, and as .aseprite."""
    frames = [pixels for _ in range(4) if (pixels := read_rgba(picture())) is not None]
    sheet = arrange({"walk": frames[:2], "die": frames[2:]}, loops={"die": False})
    folder.mkdir(parents=True)
    (folder / "bat.png").write_bytes(encode_png(sheet.image))
    (folder / "bat.sheet.json").write_bytes(layout_json(sheet, "bat.png"))
    (folder / "bat.aseprite").write_bytes(write_aseprite(from_sheet(sheet)))
    return sheet


def deploy_maps(root: Path, data: Path) -> dict[str, Pixels]:
    """Draws and deploys a tileset of each layout that LDtk gets. Returns the pictures of their maps."""
    studio = Studio(Settings(project=root, data_dir=data), DiffusersBackend())
    maps: dict[str, Pixels] = {}
    try:
        for layout in ("wang16", "blob47"):
            request = {"upper": "grass", "lower": "water", "layout": layout, "tile_size": TILE, "seed": 1}
            made = generate_tileset(studio, TilesetRequest.model_validate(request), no_progress)
            deploy(studio, made.asset.id, f"tiles/{layout}.png", verify=False)
            maps[layout] = made.tileset.preview
    finally:
        studio.close()
    return maps


def shown(built: Built, reads: str, wanted: list[Pixels], monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Starts the game, waits until each picture was on its screen, and returns where."""
    running = Game(built.root, free_port(), "readers")
    monkeypatch.setenv("BRP_EXTRAS_PORT", str(running.port))
    places: dict[int, tuple[int, int]] = {}

    def look() -> bool:
        shot = read_rgba(take_screenshot(running.client, running.client.discover(timeout=2.0), timeout=2.0))
        assert shot is not None
        for number, pixels in enumerate(wanted):
            if found := Screen(shot).find(pixels):
                assert found[2] == 1
                places[number] = found[:2]
        return len(places) == len(wanted)

    try:
        running.start(READS=reads)
        wait_for(f"{reads} on the screen", look, limit=30)
    finally:
        running.stop()
    return [places[number] for number in range(len(wanted))]


def test_bevy_aseprite_ultra_plays_the_clips_of_our_aseprite_file(
    built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown(built, "aseprite", built.sheet.frames("walk"), monkeypatch)


def test_bevy_asset_loader_reads_our_list_of_pictures_and_grids(built: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    assert built.sheet.clips["die"].first == 2  # the tile that the game shows
    shown(built, "asset_loader", built.sheet.frames("die")[:1], monkeypatch)


@pytest.mark.parametrize("layout", ["wang16", "blob47"])
def test_bevy_ecs_ldtk_draws_our_level_on_its_cells(built: Built, layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    map_ = built.maps[layout]
    place = shown(built, f"tiles/{layout}.ldtk", [map_], monkeypatch)[0]
    # A corner tile lies over the corner of four cells: half a tile from the lower left corner of the level.
    half = TILE // 2 if layout == "wang16" else 0
    assert place == (half, VIEW[1] - half - len(map_))


@pytest.mark.parametrize("name", ["wang16.tmx", "wang16_embedded.tmx", "blob47.tmx"])
def test_bevy_ecs_tiled_draws_our_map(built: Built, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    map_ = built.maps[name[:6]]
    assert shown(built, f"tiles/{name}", [map_], monkeypatch) == [(0, VIEW[1] - len(map_))]

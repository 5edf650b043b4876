//! A small top-down game whose pictures change while you play: run it, then let the assistant deploy a sprite.
//!
//! `cargo run` opens a window; `cargo run -- --headless` draws the same frames into an image, without window or
//! display server (for tests and screenshots). Arrows or WASD walk, space swings the sword.

mod actors;
mod dgx_pixels;
mod hero;
mod hud;
mod map;
mod monsters;
mod rules;
mod software;
mod state;
mod things;

use std::time::Duration;

use bevy::app::ScheduleRunnerPlugin;
use bevy::camera::RenderTarget;
use bevy::prelude::*;
use bevy::render::render_resource::{TextureFormat, TextureUsages};
use bevy::window::{ExitCondition, WindowResolution};
use bevy::winit::WinitPlugin;

/// What the camera shows, in sprite pixels; a larger window enlarges it by a whole number.
pub const VIEW: UVec2 = UVec2::new(640, 360);

fn main() {
    let headless = std::env::args().any(|argument| argument == "--headless");
    let mut app = App::new();
    let defaults = DefaultPlugins.set(ImagePlugin::default_nearest());
    if headless {
        app.add_plugins(
            defaults
                .set(WindowPlugin {
                    primary_window: None,
                    exit_condition: ExitCondition::DontExit,
                    ..default()
                })
                .disable::<WinitPlugin>(),
        )
        .add_plugins(ScheduleRunnerPlugin::run_loop(Duration::from_secs_f64(
            1.0 / 60.0,
        )));
    } else {
        let resolution = WindowResolution::new(VIEW.x * 2, VIEW.y * 2);
        let window = Window {
            title: "dgx-pixels: ask your assistant for another hero".into(),
            resolution,
            ..default()
        };
        app.add_plugins(defaults.set(WindowPlugin {
            primary_window: Some(window),
            ..default()
        }));
    }
    app.insert_resource(ClearColor(Color::srgb_u8(0x1c, 0x26, 0x38)))
        .insert_resource(Headless(headless))
        .add_plugins(software::SoftwareRenderingPlugin)
        .add_plugins((
            dgx_pixels::DgxPixelsPlugin,
            map::MapPlugin,
            actors::ActorsPlugin,
            rules::RulesPlugin,
        ))
        .add_plugins((
            hero::HeroPlugin,
            monsters::MonstersPlugin,
            things::ThingsPlugin,
            hud::HudPlugin,
        ))
        .add_systems(Startup, spawn_camera)
        .add_systems(
            PostUpdate,
            (zoom_by_whole_numbers, follow_the_hero)
                .chain()
                .before(TransformSystems::Propagate),
        )
        .run();
}

#[derive(Resource)]
pub struct Headless(bool);

pub fn spawn_camera(
    mut commands: Commands,
    mut images: ResMut<Assets<Image>>,
    headless: Res<Headless>,
) {
    let mut camera = commands.spawn((Camera2d, Msaa::Off));
    if headless.0 {
        let mut target =
            Image::new_target_texture(VIEW.x, VIEW.y, TextureFormat::Rgba8UnormSrgb, None);
        target.texture_descriptor.usage |= TextureUsages::COPY_SRC;
        camera.insert(RenderTarget::Image(images.add(target).into()));
    }
}

/// One sprite pixel covers 1x1, 2x2, 3x3 ... screen pixels, never 1.5: that is what keeps pixel art crisp.
fn zoom_by_whole_numbers(camera: Single<(&Camera, &mut Projection)>) {
    let (camera, mut projection) = camera.into_inner();
    let (Some(physical), Some(logical)) =
        (camera.physical_target_size(), camera.logical_target_size())
    else {
        return;
    };
    let zoom = (physical / VIEW).min_element().max(1) as f32;
    let scale = physical.x as f32 / logical.x / zoom;
    if let Projection::Orthographic(orthographic) = &mut *projection
        && orthographic.scale != scale
    {
        orthographic.scale = scale;
    }
}

type TheCamera = (With<Camera2d>, Without<hero::Hero>);

fn follow_the_hero(
    hero: Single<&Transform, With<hero::Hero>>,
    camera: Single<(&mut Transform, &Projection), TheCamera>,
) {
    let (mut transform, projection) = camera.into_inner();
    let Projection::Orthographic(orthographic) = projection else {
        return;
    };
    let room = ((map::size() - orthographic.area.size()) / 2.0).max(Vec2::ZERO);
    let middle = hero.translation.truncate() + Vec2::Y * 16.0;
    transform.translation = middle
        .clamp(-room, room)
        .round()
        .extend(transform.translation.z);
}

//! A game as many are: it speaks the Bevy Remote Protocol, but has no dev plugin. The tests show what the server can say
//! of a deployment then. `--headless` draws into an image, as in the game itself.

use std::time::Duration;

use bevy::app::ScheduleRunnerPlugin;
use bevy::camera::RenderTarget;
use bevy::prelude::*;
use bevy::remote::{RemotePlugin, http::RemoteHttpPlugin};
use bevy::render::render_resource::TextureFormat;
use bevy::window::{ExitCondition, WindowResolution};
use bevy::winit::WinitPlugin;

fn main() {
    let headless = std::env::args().any(|argument| argument == "--headless");
    let port = std::env::var("BRP_EXTRAS_PORT")
        .ok()
        .and_then(|port| port.parse().ok())
        .unwrap_or(15702);
    let mut app = App::new();
    let plugins = DefaultPlugins.set(ImagePlugin::default_nearest());
    if headless {
        let window = WindowPlugin {
            primary_window: None,
            exit_condition: ExitCondition::DontExit,
            ..default()
        };
        app.add_plugins(plugins.set(window).disable::<WinitPlugin>())
            .add_plugins(ScheduleRunnerPlugin::run_loop(Duration::from_secs_f64(
                1.0 / 60.0,
            )));
    } else {
        let window = Window {
            resolution: WindowResolution::new(320, 180),
            ..default()
        };
        app.add_plugins(plugins.set(WindowPlugin {
            primary_window: Some(window),
            ..default()
        }));
    }
    app.add_plugins((
        RemotePlugin::default(),
        RemoteHttpPlugin::default().with_port(port),
    ))
    .add_systems(
        Startup,
        move |mut commands: Commands,
              server: Res<AssetServer>,
              mut images: ResMut<Assets<Image>>| {
            let mut camera = commands.spawn((Camera2d, Msaa::Off));
            if headless {
                let target =
                    Image::new_target_texture(320, 180, TextureFormat::Rgba8UnormSrgb, None);
                camera.insert(RenderTarget::Image(images.add(target).into()));
            }
            let scale = Transform::from_scale(Vec3::splat(2.0));
            commands.spawn((Sprite::from_image(server.load("sprites/hero.png")), scale));
        },
    )
    .run();
}

//! Makes drawing without a GPU quick where Mesa is older than 23.2, as on Debian 12.
//!
//! That driver (lavapipe) compiles a shader again for every draw whose branches depend on a uniform buffer alone, and
//! keeps every copy: frames take longer and longer, and memory grows by up to 150 MB a second. Bevy 0.20 draws each
//! sprite with such a shader. Here its branches are made to depend on the instance too, which the driver leaves
//! alone. Other drivers and Bevy 0.19 are not touched.

use std::path::Path;

use bevy::asset::io::embedded::EmbeddedAssetRegistry;
use bevy::prelude::*;
use bevy::render::renderer::RenderAdapterInfo;
use bevy::shader::Shader;

const SHADER: &str = "bevy_sprite_render/sprite_mesh/functions.wesl";
/// What is replaced by what; the values stay the same: no instance has a number of 2^31 or more, and `p` is a fraction.
const BRANCHES: [(&str, &str); 3] = [
    (
        "let flags = material.flags;",
        "let flags = material.flags | (instance_index >> 31u);",
    ),
    (
        "if scale.x == 0.0 {",
        "if scale.x == f32(instance_index >> 31u) {",
    ),
    (
        "if stretch_value == 0.0 {",
        "if stretch_value == select(0.0, 1.0, p > 1.0e30) {",
    ),
];

pub struct SoftwareRenderingPlugin;

impl Plugin for SoftwareRenderingPlugin {
    fn build(&self, app: &mut App) {
        app.add_systems(
            Update,
            replace_branches.run_if(on_message::<AssetEvent<Shader>>),
        );
    }
}

fn replace_branches(
    adapter: Option<Res<RenderAdapterInfo>>,
    shaders: Res<Assets<Shader>>,
    files: Res<EmbeddedAssetRegistry>,
    server: Res<AssetServer>,
) {
    if !adapter.is_some_and(|adapter| adapter.name.contains("llvmpipe")) {
        return;
    }
    for (_, shader) in shaders
        .iter()
        .filter(|(_, shader)| shader.path.ends_with(SHADER))
    {
        let text = shader.source.as_str();
        let changed = BRANCHES
            .iter()
            .fold(text.to_string(), |text, (from, to)| text.replace(from, to));
        if changed != text {
            files.insert_asset(
                Path::new(SHADER).into(),
                Path::new(SHADER),
                changed.into_bytes(),
            );
            server.reload(format!("embedded://{SHADER}"));
        }
    }
}

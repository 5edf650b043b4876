//! What a game is about at any moment.

use bevy::prelude::*;

#[derive(States, Default, Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum GameState {
    #[default]
    Playing,
    Won,
    Lost,
}

/// One game, from start to end.
#[derive(Resource, Reflect, Default)]
#[reflect(Resource)]
pub struct Game {
    pub has_key: bool,
    pub gate_open: bool,
    pub treasure: u32,
    /// Pictures of what was picked up. Handles do not travel over the remote protocol.
    #[reflect(ignore)]
    pub bag: Vec<Handle<Image>>,
}

//! The rules: find the key in the ruin, open the gate in the south, leave. Three hearts.

use bevy::prelude::*;

use crate::actors::{Feet, Motion};
use crate::dgx_pixels::ClipEnded;
use crate::hero::{self, Hero};
use crate::state::{Game, GameState};
use crate::{map, monsters, things};

pub struct RulesPlugin;

impl Plugin for RulesPlugin {
    fn build(&self, app: &mut App) {
        app.init_state::<GameState>()
            .init_resource::<Game>()
            .add_systems(OnEnter(GameState::Playing), begin)
            .add_systems(Update, (leave, fall).run_if(in_state(GameState::Playing)))
            .add_systems(Update, play_again.run_if(not(in_state(GameState::Playing))));
    }
}

fn begin(mut commands: Commands, server: Res<AssetServer>, mut game: ResMut<Game>) {
    *game = Game::default();
    for (index, (letter, at)) in map::places().enumerate() {
        if letter == '@' {
            hero::spawn(&mut commands, at, &server);
        } else if !things::spawn(&mut commands, letter, at, &server) {
            monsters::spawn(&mut commands, letter, at, index, &server);
        }
    }
}

fn leave(hero: Single<&Feet, With<Hero>>, game: Res<Game>, mut next: ResMut<NextState<GameState>>) {
    if game.gate_open && map::is_exit(hero.0) {
        next.set(GameState::Won);
    }
}

/// The game is lost once the hero's last clip has played.
fn fall(
    mut ended: MessageReader<ClipEnded>,
    hero: Single<(Entity, &Motion), With<Hero>>,
    mut next: ResMut<NextState<GameState>>,
) {
    let (entity, motion) = *hero;
    if *motion == Motion::Die && ended.read().any(|end| end.entity == entity) {
        next.set(GameState::Lost);
    }
}

fn play_again(keys: Res<ButtonInput<KeyCode>>, mut next: ResMut<NextState<GameState>>) {
    if keys.any_just_pressed([KeyCode::Enter, KeyCode::Space]) {
        next.set(GameState::Playing);
    }
}

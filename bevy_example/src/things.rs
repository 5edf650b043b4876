//! Things that lie or stand about: potions, the chest, the key, the gate, trees.

use bevy::prelude::*;

use crate::actors::Feet;
use crate::hero::{FULL_HEALTH, Hero};
use crate::state::{Game, GameState};

#[derive(Component, Clone, Copy, PartialEq, Eq)]
pub enum Thing {
    Potion,
    Chest,
    Key,
    Gate,
}

pub struct ThingsPlugin;

impl Plugin for ThingsPlugin {
    fn build(&self, app: &mut App) {
        app.add_systems(
            Update,
            (pick_up, open_the_gate).run_if(in_state(GameState::Playing)),
        );
    }
}

/// A thing by its letter on the map.
pub fn spawn(commands: &mut Commands, letter: char, at: Vec2, server: &AssetServer) -> bool {
    let (name, thing) = match letter {
        '!' => ("potion", Some(Thing::Potion)),
        '$' => ("chest", Some(Thing::Chest)),
        'K' => ("key", Some(Thing::Key)),
        'G' => ("gate", Some(Thing::Gate)),
        'T' => ("tree", None),
        _ => return false,
    };
    let picture = Sprite::from_image(server.load(format!("sprites/{name}.png")));
    let mut entity = commands.spawn((
        Name::new(name),
        Feet(at),
        picture,
        DespawnOnExit(GameState::Playing),
    ));
    if let Some(thing) = thing {
        entity.insert(thing);
    }
    true
}

fn pick_up(
    hero: Single<(&mut Hero, &Feet)>,
    things: Query<(Entity, &Thing, &Feet, &Sprite)>,
    mut game: ResMut<Game>,
    mut commands: Commands,
) {
    let (mut hero, feet) = hero.into_inner();
    for (entity, thing, lying, sprite) in &things {
        if *thing == Thing::Gate || feet.0.distance(lying.0) > 20.0 {
            continue;
        }
        match thing {
            Thing::Potion => hero.health = FULL_HEALTH,
            Thing::Key => game.has_key = true,
            _ => game.treasure += 1,
        }
        if *thing != Thing::Potion {
            game.bag.push(sprite.image.clone());
        }
        commands.entity(entity).despawn();
    }
}

fn open_the_gate(
    hero: Single<&Feet, With<Hero>>,
    gates: Query<(Entity, &Thing, &Feet)>,
    mut game: ResMut<Game>,
    mut commands: Commands,
) {
    for (entity, thing, feet) in &gates {
        if *thing == Thing::Gate && game.has_key && feet.0.distance(hero.0) < 40.0 {
            game.gate_open = true;
            commands.entity(entity).despawn();
        }
    }
}

//! Monsters: stroll about their home, come for the hero when they see him, take hits, and stay down.

use bevy::prelude::*;

use crate::actors::{Facing, Feet, Flash, Motion, actor, step};
use crate::hero::{Hero, Swing, hurt};
use crate::state::GameState;

const SIGHT: f32 = 130.0;
const REACH: f32 = 34.0;

#[derive(Component, Reflect)]
#[reflect(Component)]
pub struct Monster {
    home: Vec2,
    health: u32,
    speed: f32,
    phase: f32,
    /// Seconds in which a hit keeps it from moving.
    stunned: f32,
}

pub struct MonstersPlugin;

impl Plugin for MonstersPlugin {
    fn build(&self, app: &mut App) {
        app.add_systems(
            Update,
            (take_hits, wander, bite)
                .chain()
                .run_if(in_state(GameState::Playing)),
        );
    }
}

/// A monster by its letter on the map.
pub fn spawn(
    commands: &mut Commands,
    letter: char,
    at: Vec2,
    index: usize,
    server: &AssetServer,
) -> bool {
    let (name, health, speed) = match letter {
        'g' => ("goblin", 2, 42.0),
        'k' => ("skeleton", 2, 38.0),
        'd' => ("dragon", 4, 30.0),
        'b' => ("bat", 1, 55.0),
        _ => return false,
    };
    let monster = Monster {
        home: at,
        health,
        speed,
        phase: index as f32,
        stunned: 0.0,
    };
    commands.spawn((
        monster,
        actor(name, at, server),
        DespawnOnExit(GameState::Playing),
    ));
    true
}

fn take_hits(
    mut swings: MessageReader<Swing>,
    mut monsters: Query<(&mut Monster, &mut Feet, &mut Motion, &mut Flash), Without<Hero>>,
) {
    for swing in swings.read() {
        for (mut monster, mut feet, mut motion, mut flash) in &mut monsters {
            let reach = feet.0 - swing.from - swing.towards * 20.0;
            if monster.health == 0 || reach.length() > REACH {
                continue;
            }
            monster.health -= 1;
            monster.stunned = 0.5;
            flash.0 = 0.4;
            *motion = if monster.health == 0 {
                Motion::Die
            } else {
                Motion::Hurt
            };
            step(&mut feet.0, swing.towards * 10.0, false);
        }
    }
}

fn wander(
    time: Res<Time>,
    hero: Single<(&Hero, &Feet)>,
    mut monsters: Query<(&mut Monster, &mut Feet, &mut Facing, &mut Motion), Without<Hero>>,
) {
    let (hero, there) = *hero;
    for (mut monster, mut feet, mut facing, mut motion) in &mut monsters {
        monster.stunned -= time.delta_secs();
        if monster.health == 0 || monster.stunned > 0.0 {
            continue;
        }
        let turn = time.elapsed_secs() * 0.4 + monster.phase;
        let hunts = hero.noticed && hero.health > 0 && feet.0.distance(there.0) < SIGHT;
        let goal = if hunts {
            there.0
        } else {
            monster.home + Vec2::from_angle(turn) * 40.0
        };
        let direction = (goal - feet.0).clamp_length_max(1.0);
        if direction.x.abs() > 0.2 && facing.0.x.signum() != direction.x.signum() {
            facing.0 = Vec2::X * direction.x.signum();
        }
        if !motion.holds() && *motion != Motion::Walk {
            *motion = Motion::Walk;
        }
        step(
            &mut feet.0,
            direction * monster.speed * time.delta_secs(),
            false,
        );
    }
}

fn bite(
    hero: Single<(&mut Hero, &mut Feet, &mut Motion, &mut Flash)>,
    mut monsters: Query<(&Monster, &Feet, &mut Motion), Without<Hero>>,
) {
    let (mut hero, mut feet, mut motion, mut flash) = hero.into_inner();
    for (monster, other, mut biting) in &mut monsters {
        let near = monster.health > 0 && feet.0.distance(other.0) < 18.0;
        if near && hurt(&mut hero, &mut feet, &mut motion, &mut flash, other.0) {
            *biting = Motion::Attack;
        }
    }
}

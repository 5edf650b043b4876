//! The hero: walks, swings the sword, is hurt, falls.

use bevy::prelude::*;

use crate::actors::{Facing, Feet, Flash, Motion, actor, step};
use crate::dgx_pixels::{ClipEnded, SheetSprite};
use crate::map;
use crate::state::{Game, GameState};

const SPEED: f32 = 110.0;
pub const FULL_HEALTH: usize = 3;

/// Reflected, as all that the rules know: an assistant can set it through `world.mutate_components`.
#[derive(Component, Reflect)]
#[reflect(Component)]
pub struct Hero {
    pub health: usize,
    /// Seconds left in which nothing hurts.
    safe: f32,
    /// Monsters mind the hero from the first step on: nobody is mobbed while the player only watches.
    pub noticed: bool,
}

/// The hero strikes from `from` towards `towards`.
#[derive(Message)]
pub struct Swing {
    pub from: Vec2,
    pub towards: Vec2,
}

/// The sword; `left` seconds of a swing remain.
#[derive(Component)]
struct Sword {
    left: f32,
}

pub struct HeroPlugin;

impl Plugin for HeroPlugin {
    fn build(&self, app: &mut App) {
        app.add_message::<Swing>()
            .add_systems(
                Update,
                (walk, swing).chain().run_if(in_state(GameState::Playing)),
            )
            .add_systems(Update, (carry_the_sword, come_to_rest));
    }
}

pub fn spawn(commands: &mut Commands, at: Vec2, server: &AssetServer) {
    let hero = Hero {
        health: FULL_HEALTH,
        safe: 0.0,
        noticed: false,
    };
    commands.spawn((
        hero,
        actor("hero", at, server),
        DespawnOnExit(GameState::Playing),
    ));
    let sword = Sprite::from_image(server.load("sprites/sword.png"));
    commands.spawn((
        Name::new("sword"),
        Sword { left: 0.0 },
        sword,
        Visibility::Hidden,
        DespawnOnExit(GameState::Playing),
    ));
}

fn walk(
    time: Res<Time>,
    keys: Res<ButtonInput<KeyCode>>,
    game: Res<Game>,
    hero: Single<(&mut Hero, &mut Feet, &mut Facing, &mut Motion)>,
) {
    let (mut hero, mut feet, mut facing, mut motion) = hero.into_inner();
    hero.safe = (hero.safe - time.delta_secs()).max(0.0);
    if *motion == Motion::Die {
        return;
    }
    let axis = |less: [KeyCode; 2], more: [KeyCode; 2]| {
        keys.any_pressed(more) as i32 as f32 - keys.any_pressed(less) as i32 as f32
    };
    let direction = Vec2::new(
        axis(
            [KeyCode::ArrowLeft, KeyCode::KeyA],
            [KeyCode::ArrowRight, KeyCode::KeyD],
        ),
        axis(
            [KeyCode::ArrowDown, KeyCode::KeyS],
            [KeyCode::ArrowUp, KeyCode::KeyW],
        ),
    )
    .normalize_or_zero();
    if direction != Vec2::ZERO {
        hero.noticed = true;
        if facing.0 != direction {
            facing.0 = direction;
        }
        step(
            &mut feet.0,
            direction * SPEED * time.delta_secs(),
            game.gate_open,
        );
    }
    let wanted = if direction == Vec2::ZERO {
        Motion::Idle
    } else {
        Motion::Walk
    };
    if !motion.holds() && *motion != wanted {
        *motion = wanted;
    }
}

fn swing(
    keys: Res<ButtonInput<KeyCode>>,
    hero: Single<(&Feet, &Facing, &mut Motion), With<Hero>>,
    mut sword: Single<&mut Sword>,
    mut swings: MessageWriter<Swing>,
) {
    let (feet, facing, mut motion) = hero.into_inner();
    if keys.just_pressed(KeyCode::Space) && sword.left <= 0.0 && *motion != Motion::Die {
        sword.left = 0.25;
        *motion = Motion::Attack;
        swings.write(Swing {
            from: feet.0,
            towards: facing.0,
        });
    }
}

fn carry_the_sword(
    time: Res<Time>,
    hero: Single<(&Feet, &Facing), With<Hero>>,
    sword: Single<(&mut Sword, &mut Transform, &mut Visibility), Without<Hero>>,
) {
    let ((feet, facing), (mut sword, mut transform, mut visibility)) = (*hero, sword.into_inner());
    sword.left -= time.delta_secs();
    visibility.set_if_neq(if sword.left > 0.0 {
        Visibility::Inherited
    } else {
        Visibility::Hidden
    });
    let middle = feet.0 + Vec2::Y * 14.0 + facing.0 * 24.0;
    // The picture's blade points to the upper left; quarter turns keep its pixels whole.
    let quarters = (facing.0.to_angle() / std::f32::consts::FRAC_PI_2).round() - 1.0;
    *transform = Transform::from_translation(middle.round().extend(90.0)).with_rotation(
        Quat::from_rotation_z(quarters * std::f32::consts::FRAC_PI_2),
    );
}

/// Whoever struck or was hurt stands again when the clip is over.
fn come_to_rest(
    mut ended: MessageReader<ClipEnded>,
    mut actors: Query<(&mut Motion, &SheetSprite)>,
) {
    for end in ended.read() {
        if let Ok((mut motion, player)) = actors.get_mut(end.entity)
            && matches!(*motion, Motion::Attack | Motion::Hurt)
            && player.ended
        {
            *motion = Motion::Idle;
        }
    }
}

/// Takes one heart where nothing protects the hero; says whether it hurt.
pub fn hurt(
    hero: &mut Hero,
    feet: &mut Feet,
    motion: &mut Motion,
    flash: &mut Flash,
    from: Vec2,
) -> bool {
    if hero.safe > 0.0 || hero.health == 0 {
        return false;
    }
    hero.safe = 1.5;
    hero.health -= 1;
    flash.0 = 0.5;
    *motion = if hero.health == 0 {
        Motion::Die
    } else {
        Motion::Hurt
    };
    let away = (feet.0 - from).normalize_or(Vec2::X);
    for _ in 0..16 {
        if map::is_free(feet.0 + away, false) {
            feet.0 += away;
        }
    }
    true
}

//! Hero, monsters and items: how they look, move and meet. Their pictures are plain files below `assets/`.

use bevy::prelude::*;
use bevy::sprite::Anchor;

use crate::dgx_pixels::SheetSprite;
use crate::map;

const HERO_SPEED: f32 = 110.0;
const MONSTER_SPEED: f32 = 38.0;
const SIGHT: f32 = 130.0;
const FULL_HEALTH: usize = 3;

pub struct ActorsPlugin;

impl Plugin for ActorsPlugin {
    fn build(&self, app: &mut App) {
        app.add_systems(Startup, (spawn_actors, spawn_hud))
            .add_systems(Update, ((walk, swing, wander), (get_hurt, pick_up), (stand, show_hud)).chain());
    }
}

#[derive(Component)]
pub struct Hero {
    start: Vec2,
    health: usize,
    items: Vec<Handle<Image>>,
    /// Seconds left in which nothing hurts.
    safe: f32,
    facing: Vec2,
    /// Monsters mind the hero from his first step on: nobody is mobbed while the player only watches.
    noticed: bool,
}

/// Where something's feet stand, in pixels; the picture is put on whole pixels, ordered from back to front.
#[derive(Component)]
struct Feet {
    at: Vec2,
    /// Pixels off the ground.
    hop: f32,
}

#[derive(Component)]
struct Monster {
    home: Vec2,
    /// Seconds until a beaten monster is back.
    away: f32,
    phase: f32,
}

#[derive(Component)]
struct Item {
    heals: bool,
}

/// The sword; `left` seconds of a swing remain.
#[derive(Component)]
struct Sword {
    left: f32,
}

fn spawn_actors(mut commands: Commands, server: Res<AssetServer>) {
    for (index, (letter, at)) in map::places().enumerate() {
        let standing = (Feet { at, hop: 0.0 }, Anchor::BOTTOM_CENTER);
        let sprite = |name: &str| Sprite::from_image(server.load(format!("sprites/{name}.png")));
        let monster = Monster { home: at, away: 0.0, phase: index as f32 };
        match letter {
            '@' => {
                let hero =
                    Hero { start: at, health: FULL_HEALTH, items: vec![], safe: 0.0, facing: Vec2::X, noticed: false };
                commands.spawn((Name::new("hero"), hero, standing, sprite("hero")));
                commands.spawn((Name::new("sword"), Sword { left: 0.0 }, sprite("sword"), Visibility::Hidden));
            }
            'g' => drop(commands.spawn((Name::new("goblin"), monster, standing, sprite("goblin")))),
            'k' => drop(commands.spawn((Name::new("skeleton"), monster, standing, sprite("skeleton")))),
            'd' => drop(commands.spawn((Name::new("dragon"), monster, standing, sprite("dragon")))),
            'b' => {
                let sheet = SheetSprite::new(server.load("sheets/bat.sheet.json"), "idle");
                commands.spawn((Name::new("bat"), monster, standing, sheet));
            }
            '!' => drop(commands.spawn((Name::new("potion"), Item { heals: true }, standing, sprite("potion")))),
            '$' => drop(commands.spawn((Name::new("chest"), Item { heals: false }, standing, sprite("chest")))),
            'T' => drop(commands.spawn((Name::new("tree"), standing, sprite("tree")))),
            _ => continue,
        }
    }
}

fn walk(time: Res<Time>, keys: Res<ButtonInput<KeyCode>>, hero: Single<(&mut Hero, &mut Feet, &mut Sprite)>) {
    let (mut hero, mut feet, mut sprite) = hero.into_inner();
    let axis = |less: [KeyCode; 2], more: [KeyCode; 2]| {
        keys.any_pressed(more) as i32 as f32 - keys.any_pressed(less) as i32 as f32
    };
    let direction = Vec2::new(
        axis([KeyCode::ArrowLeft, KeyCode::KeyA], [KeyCode::ArrowRight, KeyCode::KeyD]),
        axis([KeyCode::ArrowDown, KeyCode::KeyS], [KeyCode::ArrowUp, KeyCode::KeyW]),
    )
    .normalize_or_zero();
    hero.safe = (hero.safe - time.delta_secs()).max(0.0);
    // Blinks while safe.
    sprite.color.set_alpha(if (hero.safe * 10.0) as u32 % 2 == 1 { 0.35 } else { 1.0 });
    feet.hop = 0.0;
    if direction == Vec2::ZERO {
        return;
    }
    (hero.facing, hero.noticed) = (direction, true);
    if direction.x != 0.0 {
        sprite.flip_x = direction.x < 0.0;
    }
    feet.hop = if (time.elapsed_secs() * 8.0) as u32 % 2 == 1 { 2.0 } else { 0.0 };
    step(&mut feet.at, direction * HERO_SPEED * time.delta_secs());
}

/// Moves along each axis on its own, so that one slides along walls.
fn step(at: &mut Vec2, by: Vec2) {
    for by in [Vec2::new(by.x, 0.0), Vec2::new(0.0, by.y)] {
        if map::is_free(*at + by) {
            *at += by;
        }
    }
}

fn swing(
    time: Res<Time>,
    keys: Res<ButtonInput<KeyCode>>,
    hero: Single<(&Hero, &Feet)>,
    sword: Single<(&mut Sword, &mut Transform, &mut Visibility)>,
    mut monsters: Query<(&mut Monster, &Feet)>,
) {
    let ((hero, feet), (mut sword, mut transform, mut visibility)) = (*hero, sword.into_inner());
    sword.left -= time.delta_secs();
    if keys.just_pressed(KeyCode::Space) && sword.left <= 0.0 {
        sword.left = 0.2;
        for (mut monster, other) in &mut monsters {
            let reach = other.at - feet.at - hero.facing * 20.0;
            if monster.away <= 0.0 && reach.length() < 34.0 {
                monster.away = 6.0;
            }
        }
    }
    visibility.set_if_neq(if sword.left > 0.0 { Visibility::Inherited } else { Visibility::Hidden });
    let middle = feet.at + Vec2::Y * 14.0 + hero.facing * 24.0;
    // The picture's blade points to the upper right; quarter turns keep its pixels whole.
    let quarters = (hero.facing.to_angle() / std::f32::consts::FRAC_PI_2).round();
    *transform = Transform::from_translation(middle.round().extend(90.0))
        .with_rotation(Quat::from_rotation_z(quarters * std::f32::consts::FRAC_PI_2));
}

/// Monsters stroll about their home, and come closer when they see the hero.
fn wander(
    time: Res<Time>,
    hero: Single<(&Hero, &Feet)>,
    mut monsters: Query<(&mut Monster, &mut Feet, &mut Sprite, &mut Visibility), Without<Hero>>,
) {
    let (hero, there) = *hero;
    for (mut monster, mut feet, mut sprite, mut visibility) in &mut monsters {
        monster.away -= time.delta_secs();
        visibility.set_if_neq(if monster.away > 0.0 { Visibility::Hidden } else { Visibility::Inherited });
        if monster.away > 0.0 {
            feet.at = monster.home;
            continue;
        }
        let turn = time.elapsed_secs() * 0.4 + monster.phase;
        let hunts = hero.noticed && feet.at.distance(there.at) < SIGHT;
        let goal = if hunts { there.at } else { monster.home + Vec2::from_angle(turn) * 40.0 };
        let direction = (goal - feet.at).clamp_length_max(1.0);
        feet.hop = if ((time.elapsed_secs() + monster.phase) * 4.0) as u32 % 2 == 1 { 1.0 } else { 0.0 };
        if direction.x.abs() > 0.2 {
            sprite.flip_x = direction.x < 0.0;
        }
        step(&mut feet.at, direction * MONSTER_SPEED * time.delta_secs());
    }
}

fn get_hurt(hero: Single<(&mut Hero, &mut Feet)>, monsters: Query<(&Monster, &Feet), Without<Hero>>) {
    let (mut hero, mut feet) = hero.into_inner();
    for (monster, other) in &monsters {
        if hero.safe > 0.0 || monster.away > 0.0 || feet.at.distance(other.at) > 18.0 {
            continue;
        }
        hero.safe = 1.5;
        hero.health -= 1;
        let away = (feet.at - other.at).normalize_or(Vec2::X);
        step(&mut feet.at, away * 16.0);
        if hero.health == 0 {
            (hero.health, feet.at) = (FULL_HEALTH, hero.start);
        }
    }
}

fn pick_up(hero: Single<(&mut Hero, &Feet)>, items: Query<(Entity, &Item, &Feet, &Sprite)>, mut commands: Commands) {
    let (mut hero, feet) = hero.into_inner();
    for (entity, item, lying, sprite) in &items {
        if feet.at.distance(lying.at) < 20.0 {
            if item.heals {
                hero.health = FULL_HEALTH;
            }
            hero.items.push(sprite.image.clone());
            commands.entity(entity).despawn();
        }
    }
}

fn stand(mut actors: Query<(&Feet, &mut Transform)>) {
    for (feet, mut transform) in &mut actors {
        let depth = -feet.at.y / map::size().y;
        transform.translation = (feet.at + Vec2::Y * feet.hop).round().extend(depth);
    }
}

/// A slot at the top of the screen: hearts first, then what was picked up.
#[derive(Component)]
struct Slot(usize);

const SLOTS: usize = 12;

fn spawn_hud(mut commands: Commands) {
    for slot in 0..SLOTS {
        commands.spawn((Slot(slot), Sprite::default(), Visibility::Hidden));
    }
}

fn show_hud(
    hero: Single<&Hero>,
    server: Res<AssetServer>,
    camera: Single<(Entity, &Projection), With<Camera2d>>,
    mut slots: Query<(Entity, &Slot, &mut Sprite, &mut Transform, &mut Visibility)>,
    mut commands: Commands,
    mut heart: Local<Option<Handle<Image>>>,
) {
    let heart = heart.get_or_insert_with(|| server.load("sprites/heart.png"));
    let (camera, Projection::Orthographic(view)) = *camera else { return };
    let corner = Vec2::new(view.area.min.x + 20.0, view.area.max.y - 20.0).round();
    for (entity, slot, mut sprite, mut transform, mut visibility) in &mut slots {
        let image = if slot.0 < hero.health {
            Some(&*heart)
        } else {
            slot.0.checked_sub(FULL_HEALTH).and_then(|item| hero.items.get(item))
        };
        visibility.set_if_neq(if image.is_some() { Visibility::Inherited } else { Visibility::Hidden });
        if let Some(image) = image
            && sprite.image != *image
        {
            sprite.image = image.clone();
        }
        transform.translation = (corner + Vec2::X * 26.0 * slot.0 as f32).extend(500.0);
        commands.entity(entity).insert_if_new(ChildOf(camera));
    }
}

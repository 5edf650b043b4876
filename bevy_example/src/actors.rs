//! What hero, monsters and things share: where they stand, which way they face, and how their sheets play.

use bevy::prelude::*;
use bevy::sprite::Anchor;

use crate::dgx_pixels::{Sheet, SheetSprite};
use crate::map;

/// Where something's feet stand, in pixels; the picture is put on whole pixels, ordered from back to front.
#[derive(Component, Reflect, Default)]
#[reflect(Component)]
#[require(Anchor = Anchor::BOTTOM_CENTER)]
pub struct Feet(pub Vec2);

/// Where someone looks, as a direction of length 1.
#[derive(Component, Reflect)]
#[reflect(Component)]
pub struct Facing(pub Vec2);

/// The motion that someone is in; `show_motion` finds the clip for it.
#[derive(Component, Reflect, Clone, Copy, PartialEq, Eq, Debug)]
#[reflect(Component)]
pub enum Motion {
    Idle,
    Walk,
    Attack,
    Hurt,
    Die,
}

impl Motion {
    fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Walk => "walk",
            Self::Attack => "attack",
            Self::Hurt => "hurt",
            Self::Die => "die",
        }
    }

    /// Whether it plays once and must not be cut short by standing or walking.
    pub fn holds(self) -> bool {
        !matches!(self, Self::Idle | Self::Walk)
    }
}

/// Seconds for which someone is drawn bright red, after a hit.
#[derive(Component, Reflect, Default)]
#[reflect(Component)]
pub struct Flash(pub f32);

pub struct ActorsPlugin;

impl Plugin for ActorsPlugin {
    fn build(&self, app: &mut App) {
        app.add_systems(
            PostUpdate,
            (show_motion, flash, stand).before(TransformSystems::Propagate),
        );
    }
}

/// Someone who is drawn from `sheets/<name>.sheet.json`.
pub fn actor(name: &str, at: Vec2, server: &AssetServer) -> impl Bundle {
    let sheet = SheetSprite::new(server.load(format!("sheets/{name}.sheet.json")), "idle");
    (
        Name::new(name.to_string()),
        Feet(at),
        Facing(Vec2::X),
        Motion::Idle,
        Flash::default(),
        sheet,
    )
}

type Moved = Or<(Changed<Motion>, Changed<Facing>)>;

/// Plays the clip of the motion: `walk_left` where the sheet has directions, else `walk`, mirrored to face left.
fn show_motion(
    sheets: Res<Assets<Sheet>>,
    mut actors: Query<(&Motion, &Facing, &mut SheetSprite, &mut Sprite), Moved>,
) {
    for (motion, facing, mut player, mut sprite) in &mut actors {
        let clips = sheets.get(&player.sheet).map(|sheet| &sheet.animations);
        let has = |name: &str| clips.is_some_and(|clips| clips.contains_key(name));
        let side = if facing.0.x < 0.0 { "left" } else { "right" };
        let upright = if facing.0.y > 0.0 { "up" } else { "down" };
        let first = if facing.0.y.abs() > facing.0.x.abs() {
            upright
        } else {
            side
        };
        let named = [first, side].map(|direction| format!("{}_{direction}", motion.name()));
        let found = named.into_iter().find(|name| has(name));
        let mirrored = found.is_none() && facing.0.x < 0.0;
        if sprite.flip_x != mirrored {
            sprite.flip_x = mirrored;
        }
        player.play(&found.unwrap_or_else(|| motion.name().into()));
    }
}

fn flash(time: Res<Time>, mut actors: Query<(&mut Flash, &mut Sprite)>) {
    for (mut flash, mut sprite) in &mut actors {
        if flash.0 > 0.0 {
            flash.0 -= time.delta_secs();
            let bright = flash.0 > 0.0 && ((flash.0 * 12.0) as u32).is_multiple_of(2);
            sprite.color = if bright {
                Color::srgb(4.0, 1.2, 1.2)
            } else {
                Color::WHITE
            };
        }
    }
}

fn stand(mut actors: Query<(&Feet, &mut Transform)>) {
    for (feet, mut transform) in &mut actors {
        let place = feet.0.round().extend(-feet.0.y / map::size().y);
        if transform.translation != place {
            transform.translation = place;
        }
    }
}

/// Moves along each axis on its own, so that one slides along walls.
pub fn step(at: &mut Vec2, by: Vec2, gate_open: bool) {
    for by in [Vec2::new(by.x, 0.0), Vec2::new(0.0, by.y)] {
        if map::is_free(*at + by, gate_open) {
            *at += by;
        }
    }
}

//! The display over the game: portrait, hearts, what was picked up, what to do, and the words at the end.

use bevy::prelude::*;
use bevy::sprite::Anchor;

use crate::hero::{FULL_HEALTH, Hero};
use crate::state::{Game, GameState};

const SLOTS: usize = 8;
/// Pixels of the bar at the top left: its height, what the portrait takes, and each slot.
const BAR: f32 = 40.0;
const PORTRAIT: f32 = 48.0;
const STEP: f32 = 26.0;
const BACKING: Color = Color::srgba(0.08, 0.07, 0.1, 0.75);

/// What the player reads first, and what to ask the assistant for.
const TITLE: &str = "Find the key, open the gate, leave. Ask: \"make the hero a knight in red\"";

/// A slot at the top of the screen: hearts first, then what was picked up.
#[derive(Component)]
struct Slot(usize);

/// What is behind the slots: as wide as those in use, so that it covers little of the map.
#[derive(Component)]
struct Bar;

/// The line at the bottom.
#[derive(Component)]
struct Line;

/// The screen at the end of a game, shown when it is won or lost.
#[derive(Component)]
struct End;

pub struct HudPlugin;

impl Plugin for HudPlugin {
    fn build(&self, app: &mut App) {
        app.add_systems(Startup, spawn_hud.after(crate::spawn_camera))
            .add_systems(Update, (show_slots, fit_bar, show_line, show_end));
    }
}

fn spawn_hud(
    mut commands: Commands,
    camera: Single<Entity, With<Camera2d>>,
    server: Res<AssetServer>,
) {
    let view = crate::VIEW.as_vec2();
    let corner = Vec2::new(-view.x / 2.0, view.y / 2.0);
    let portrait = Sprite::from_image(server.load("sprites/hero.png"));
    commands.entity(*camera).with_children(|screen| {
        screen.spawn((
            Bar,
            Sprite::from_color(BACKING, Vec2::new(PORTRAIT, BAR)),
            Anchor::TOP_LEFT,
            Transform::from_translation(corner.extend(490.0)),
        ));
        let place = (corner + Vec2::new(20.0, -BAR / 2.0)).extend(500.0);
        screen.spawn((
            Name::new("portrait"),
            portrait,
            Transform::from_translation(place),
        ));
        for slot in 0..SLOTS {
            let place = corner + Vec2::new(PORTRAIT + STEP * slot as f32 + 10.0, -BAR / 2.0);
            screen.spawn((
                Slot(slot),
                Sprite::default(),
                Visibility::Hidden,
                Transform::from_translation(place.extend(500.0)),
            ));
        }
        let foot = Vec2::new(0.0, -view.y / 2.0 + 12.0);
        screen.spawn((
            Sprite::from_color(BACKING, Vec2::new(view.x, 24.0)),
            Transform::from_translation(foot.extend(490.0)),
        ));
        screen.spawn((
            Line,
            Text2d::new(TITLE),
            TextFont::from_font_size(12.0),
            Transform::from_translation(foot.extend(500.0)),
        ));
        let whole = (
            Sprite::from_color(BACKING, view),
            Transform::from_xyz(0.0, 0.0, 480.0),
        );
        screen
            .spawn((whole, Visibility::Hidden, Name::new("end")))
            .with_child((
                End,
                Text2d::default(),
                TextFont::from_font_size(32.0),
                Transform::from_xyz(0.0, 0.0, 10.0),
            ));
    });
}

/// "You are free" or "You fell", large, over the whole screen.
fn show_end(
    state: Res<State<GameState>>,
    game: Res<Game>,
    end: Single<(&mut Text2d, &ChildOf), With<End>>,
    mut backing: Query<&mut Visibility>,
) {
    let (mut text, child_of) = end.into_inner();
    let words = match state.get() {
        GameState::Won => format!("You are free\nTreasures: {}", game.treasure),
        GameState::Lost => "You fell".into(),
        GameState::Playing => String::new(),
    };
    if let Ok(mut visibility) = backing.get_mut(child_of.parent()) {
        visibility.set_if_neq(if words.is_empty() {
            Visibility::Hidden
        } else {
            Visibility::Inherited
        });
    }
    if text.0 != words {
        text.0 = words;
    }
}

fn show_slots(
    hero: Option<Single<&Hero>>,
    game: Res<Game>,
    server: Res<AssetServer>,
    mut slots: Query<(&Slot, &mut Sprite, &mut Visibility)>,
    mut heart: Local<Option<Handle<Image>>>,
) {
    let heart = heart.get_or_insert_with(|| server.load("sprites/heart.png"));
    let health = hero.map_or(0, |hero| hero.health);
    for (slot, mut sprite, mut visibility) in &mut slots {
        let image = if slot.0 < FULL_HEALTH {
            (slot.0 < health).then_some(&*heart)
        } else {
            game.bag.get(slot.0 - FULL_HEALTH)
        };
        visibility.set_if_neq(if image.is_some() {
            Visibility::Inherited
        } else {
            Visibility::Hidden
        });
        if let Some(image) = image
            && sprite.image != *image
        {
            sprite.image = image.clone();
        }
    }
}

fn fit_bar(game: Res<Game>, mut bar: Single<&mut Sprite, With<Bar>>) {
    let used = (FULL_HEALTH + game.bag.len()).min(SLOTS);
    let size = Some(Vec2::new(PORTRAIT + STEP * used as f32, BAR));
    if bar.custom_size != size {
        bar.custom_size = size;
    }
}

fn show_line(
    state: Res<State<GameState>>,
    game: Res<Game>,
    mut line: Single<&mut Text2d, With<Line>>,
) {
    let words = match state.get() {
        GameState::Won | GameState::Lost => "Enter plays again.".into(),
        GameState::Playing if game.has_key => "You have the key: the gate is in the south.".into(),
        GameState::Playing => TITLE.into(),
    };
    if line.0 != words {
        line.0 = words;
    }
}

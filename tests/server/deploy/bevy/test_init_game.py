"""init-game on the forms that games have: what it changes, what it leaves to the user, and that twice is once."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from server.cli.games import init_game
from server.deploy.bevy.init_game import Plan, add_features, add_plugin, plan, plugin_source
from server.project.game import find_project

MAIN = """\
//! A game.
use bevy::prelude::*;

fn main() {
    App::new()
        .add_plugins(DefaultPlugins)
        .add_systems(Startup, setup)
        .run();
}
"""


def planned(game: Path, manifest: str, main: str = MAIN) -> Plan:
    (game / "Cargo.toml").write_text(manifest)
    (game / "src").mkdir(exist_ok=True)
    (game / "src/main.rs").write_text(main)
    project = find_project(game, None)
    assert project
    return plan(project)


@pytest.mark.parametrize(
    "manifest",
    [
        'bevy = "0.19"',
        'bevy = { version = "0.19" }',
        'bevy = { version = "0.19", default-features = false, features = ["png", "2d"] }',
        'bevy = { version = "0.19", features = [] }',
        'bevy = { version = "0.19", features = [\n    "png",\n    "2d"\n] }',
    ],
)
def test_features_are_added_in_every_form(manifest: str) -> None:
    before = tomllib.loads(f"[dependencies]\n{manifest}\nrand = '0.9'\n")["dependencies"]
    after = tomllib.loads(add_features(f"[dependencies]\n{manifest}\nrand = '0.9'\n", ["bevy_remote", "file_watcher"]))
    bevy = before["bevy"] if isinstance(before["bevy"], dict) else {"version": before["bevy"]}
    wanted = {**bevy, "features": [*bevy.get("features", ()), "bevy_remote", "file_watcher"]}
    assert after["dependencies"] == {"bevy": wanted, "rand": "0.9"}


@pytest.mark.parametrize("features", ["", 'features = ["png"]\n', 'features = [\n    "png",\n]\n'])
def test_features_are_added_to_a_table_of_its_own(features: str) -> None:
    manifest = f'[dependencies.bevy]\nversion = "0.19"\n{features}\n[dependencies]\nrand = "0.9"\n'
    after = tomllib.loads(add_features(manifest, ["bevy_remote"]))
    assert after["dependencies"]["bevy"]["features"][-1] == "bevy_remote"
    assert after["dependencies"]["rand"] == "0.9"


def test_a_whole_game_is_made_ready_and_a_second_time_changes_nothing(game: Path) -> None:
    offered = planned(game, '[package]\nname = "mygame"\n\n[dependencies]\nbevy = "0.19"\n')
    assert not offered.by_hand
    assert "+        .add_plugins(dgx_pixels::DgxPixelsPlugin)" in offered.diff()
    offered.apply()
    main = (game / "src/main.rs").read_text()
    assert ".add_plugins(DefaultPlugins.set(ImagePlugin::default_nearest()))\n        .add_plugins(dgx_pix" in main
    assert main.startswith("//! A game.\nmod dgx_pixels;\n\nuse bevy")
    assert (game / "src/dgx_pixels.rs").read_text() == plugin_source()
    assert (game / ".gitignore").read_text() == ".dgx-pixels/\n"
    project = find_project(game, None)
    assert project
    assert not plan(project).files


def test_what_the_user_wrote_stays(game: Path) -> None:
    (game / ".gitignore").write_text("target")
    (game / "dgx-pixels.toml").write_text("size = 16\n")
    (game / "assets/hero.png").write_bytes(b"mine")
    main = MAIN.replace("DefaultPlugins)", "DefaultPlugins.set(ImagePlugin::default_linear()))")
    planned(game, '# mine\n[package]\nname = "mygame"\n[dependencies]\nbevy = "0.19" # pinned\n', main).apply()
    assert (game / ".gitignore").read_text() == "target\n.dgx-pixels/\n"
    assert (game / "dgx-pixels.toml").read_text() == "size = 16\n"
    assert not (game / "assets/.gitkeep").exists()
    assert "# pinned" in (game / "Cargo.toml").read_text()
    assert (game / "Cargo.toml").read_text().startswith("# mine\n")
    assert "default_nearest" not in (game / "src/main.rs").read_text()


@pytest.mark.parametrize(
    "source",
    [
        "fn main() {\n    let mut app = App::new();\n    app.add_plugins(DefaultPlugins);\n    app.run();\n}\n",
        "fn main() {\n    App::new().add_plugins((MyPlugin, DefaultPlugins.set(WindowPlugin::default()))).run();\n}\n",
        "mod map;\nfn main() {\n    App::new()\n        .add_plugins(Early)\n        .add_plugins(\n"
        "            DefaultPlugins\n                .set(AssetPlugin::default()),\n        )\n        .run();\n}\n",
    ],
)
def test_the_plugin_comes_right_after_the_default_ones(source: str) -> None:
    changed = add_plugin(source)
    assert changed
    plain = "".join(changed.split())
    assert "DefaultPlugins.set(ImagePlugin::default_nearest())" in plain
    after = plain.index(".add_plugins(dgx_pixels::DgxPixelsPlugin)")
    assert plain[after - 1] == ")"
    assert plain.index("DefaultPlugins") < after < plain.index("run()")
    assert plain.count("(") == plain.count(")")
    assert "modmap;" not in plain or plain.startswith("moddgx_pixels;modmap;")


def test_a_main_that_is_not_understood_is_left_to_the_user(game: Path) -> None:
    offered = planned(
        game, '[package]\nname = "mygame"\n[dependencies]\nbevy = "0.19"\n', "fn main() { game::run() }\n"
    )
    assert any("DgxPixelsPlugin" in step for step in offered.by_hand)
    assert game / "src/main.rs" not in offered.files


def test_a_manifest_whose_bevy_is_elsewhere_is_left_to_the_user(game: Path) -> None:
    offered = planned(game, '[package]\nname = "mygame"\n[target.linux.dependencies]\nbevy = "0.19"\n')
    assert any("bevy_remote, file_watcher" in step for step in offered.by_hand)
    assert game / "Cargo.toml" not in offered.files


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            'bevy = "0.19" # pinned\n\n# fast\n[profile.dev]\nopt-level = 1\n',
            'bevy = { version = "0.19", features = ["bevy_remote", "file_watcher"] } # pinned\n'
            'serde = { version = "1", features = ["derive"] }\nserde_json = "1"\n\n# fast\n'
            "[profile.dev]\nopt-level = 1\n",
        ),
        (
            'bevy.version = "0.19"\n',
            'bevy.version = "0.19"\nbevy.features = ["bevy_remote", "file_watcher"]\n'
            'serde = { version = "1", features = ["derive"] }\nserde_json = "1"\n',
        ),
    ],
)
def test_the_rest_of_the_manifest_keeps_its_form(game: Path, before: str, after: str) -> None:
    head = '# mine\n[package]\nname = "mygame"\n\n[dependencies]\n'
    planned(game, head + before).apply()
    assert (game / "Cargo.toml").read_text() == head + after


def test_a_bevy_in_a_table_of_its_own_is_made_ready(game: Path) -> None:
    offered = planned(game, '[package]\nname = "mygame"\n\n[dependencies.bevy]\nversion = "0.19"\n')
    assert not offered.by_hand
    after = tomllib.loads(offered.files[game / "Cargo.toml"][1])["dependencies"]
    assert after["bevy"] == {"version": "0.19", "features": ["bevy_remote", "file_watcher"]}
    assert set(after) == {"bevy", "serde", "serde_json"}


def test_a_game_on_another_bevy_gets_no_plugin_that_would_not_compile(game: Path) -> None:
    offered = planned(game, '[package]\nname = "mygame"\n[dependencies]\nbevy = "0.17"\n')
    assert {path.name for path in offered.files} == {"dgx-pixels.toml", ".gitignore", ".gitkeep"}
    assert "written for Bevy 0.19" in offered.by_hand[0]


def test_a_manifest_with_bom_and_windows_line_ends_keeps_them(game: Path) -> None:
    text = '\ufeff[package]\r\nname = "g"\r\n[dependencies]\r\nbevy = "0.19"\r\n'
    (game / "src").mkdir(exist_ok=True)
    (game / "src/main.rs").write_text(MAIN)
    (game / "Cargo.toml").write_bytes(text.encode())
    project = find_project(game, None)
    assert project
    plan(project).apply()
    after = (game / "Cargo.toml").read_bytes()
    assert after.startswith('\ufeff[package]\r\nname = "g"\r\n'.encode())
    assert after.count(b"\n") == after.count(b"\r\n")
    assert b"file_watcher" in after


def test_nothing_is_changed_without_a_yes(game: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = planned(game, '[package]\nname = "mygame"\n[dependencies]\nbevy = "0.19"\n')
    init_game(game)
    assert "--yes" in capsys.readouterr().out
    assert not (game / "src/dgx_pixels.rs").exists()
    init_game(game, yes=True)
    assert (game / "src/dgx_pixels.rs").exists()
    assert before.files

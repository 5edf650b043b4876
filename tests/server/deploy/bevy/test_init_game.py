"""init-game on the forms that games have: what it changes, what it leaves to the user, and that twice is once."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

import pytest

from server.cli.games import init_game
from server.deploy.bevy.detect import DEV_FILE
from server.deploy.bevy.init_game import Plan, plan, plugin_source
from server.deploy.bevy.manifest import with_plugin
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


GOOD = '[package]\nname = "mygame"\n\n[dependencies]\nbevy = "0.20"\n'


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
        'bevy = "0.20"',
        'bevy = { version = "0.20", default-features = false, features = ["png", "2d"] } # pinned',
        "bevy.workspace = true",
        'bevy.version = "0.20"',
        '[dependencies.bevy]\nversion = "0.20"\nfeatures = [\n    # pictures\n    "png",\n]',
    ],
)
def test_the_feature_is_added_beside_any_form_of_the_dependency(manifest: str) -> None:
    text = f"[package]\nname = 'g'\n\n[dependencies]\n{manifest}\n"
    after = tomllib.loads(with_plugin(text))
    assert after["dependencies"]["bevy"] == tomllib.loads(text)["dependencies"]["bevy"]
    assert after["features"] == {
        "default": ["dgx_pixels_dev"],
        "dgx_pixels_dev": ["bevy/bevy_remote", "bevy/file_watcher"],
    }
    assert after["dependencies"]["serde"] == {"version": "1", "features": ["derive"]}
    assert with_plugin(with_plugin(text)) == with_plugin(text)
    assert "# pinned" not in manifest or "# pinned" in with_plugin(text)
    assert "# pictures" not in manifest or "# pictures" in with_plugin(text)


def test_the_games_own_features_and_crates_stay() -> None:
    text = """\
[features]
default = ["sound", "dev"]
dev = ["dgx_pixels_dev"]
extras = []
sound = []
[dependencies]
bevy = "0.20"
serde = "1.0.100"
serde_json = { workspace = true }
"""
    after = tomllib.loads(with_plugin(text))
    assert after["features"]["default"] == ["sound", "dev"]
    assert after["features"]["extras"] == []
    assert after["dependencies"]["serde"] == {"version": "1.0.100", "features": ["derive"]}
    assert after["dependencies"]["serde_json"] == {"workspace": True}


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
def test_the_plugin_comes_right_after_the_default_ones(game: Path, source: str) -> None:
    plain = "".join(changed_main(game, source).split())
    assert "DefaultPlugins.set(bevy::prelude::ImagePlugin::default_nearest())" in plain
    after = plain.index(".add_plugins(dgx_pixels::DgxPixelsPlugin)")
    assert plain[after - 1] == ")"
    assert plain.index("DefaultPlugins") < after < plain.index("run()")
    assert plain.count("(") == plain.count(")")
    assert "modmap;" not in plain or plain.startswith("moddgx_pixels;modmap;")


def changed_main(game: Path, source: str) -> str:
    offered = planned(game, GOOD, source)
    assert not offered.by_hand, offered.by_hand
    return offered.files[game / "src/main.rs"][1]


FOREIGN = {
    "a gated first module": (
        '#[cfg(feature = "dev")]\nmod dev_tools;\nuse bevy::prelude::*;\nfn main() {\n'
        "    App::new().add_plugins(DefaultPlugins).run();\n}\n",
        'mod dgx_pixels;\n#[cfg(feature = "dev")]\nmod dev_tools;',
    ),
    "a documented first item": (
        "// Licence\n\n/// Speed.\nconst SPEED: f32 = 1.0;\nuse bevy::prelude::*;\nfn main() {\n"
        "    App::new().add_plugins(DefaultPlugins).run();\n}\n",
        "// Licence\n\nmod dgx_pixels;\n\n/// Speed.\nconst",
    ),
    "attributes of the file": (
        "#![allow(clippy::type_complexity)]\n//! A game.\nuse bevy::prelude::*;\nfn main() {\n"
        "    App::new().add_plugins(DefaultPlugins).run();\n}\n",
        "//! A game.\nmod dgx_pixels;\n\nuse",
    ),
    "a bracket in a string": (
        "use bevy::prelude::*;\nfn main() {\n    App::new()\n        .add_plugins(DefaultPlugins.set(WindowPlugin {\n"
        '            primary_window: Some(Window { title: "Bye :)".into(), ..default() }),\n            ..default()\n'
        "        }))\n        .run();\n}\n",
        "        }))\n        .add_plugins(dgx_pixels::DgxPixelsPlugin)\n        .run();",
    ),
    "names in comments and strings": (
        "use bevy::prelude::*;\n// app.add_plugins(DefaultPlugins);\nfn main() {\n"
        '    info!(".add_plugins(DefaultPlugins)");\n    /* .add_plugins(DefaultPlugins) */\n'
        "    App::new().add_plugins(DefaultPlugins).run();\n}\n",
        "    App::new().add_plugins(DefaultPlugins.set(ImagePlugin::default_nearest())).add_plugins(dgx_pixels::",
    ),
    "its own remote plugins": (
        "use bevy::prelude::*;\nuse bevy::remote::{RemotePlugin, http::RemoteHttpPlugin};\nfn main() {\n"
        "    App::new()\n        .add_plugins(DefaultPlugins)\n        .add_plugins(RemotePlugin::default())\n"
        "        .add_plugins(RemoteHttpPlugin::default())\n        .run();\n}\n",
        "(RemoteHttpPlugin::default())\n        .add_plugins(dgx_pixels::DgxPixelsPlugin)",
    ),
    "a tuple of plugins": (
        "use bevy::prelude::*;\nfn main() {\n    App::new().add_plugins((DefaultPlugins, Game)).run();\n}\n"
        "struct Game;\nimpl Plugin for Game {\n    fn build(&self, _: &mut App) {}\n}\n",
        "add_plugins((DefaultPlugins.set(ImagePlugin::default_nearest()), Game)).add_plugins(dgx_pixels::",
    ),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_sources_are_changed_in_the_right_place(game: Path, name: str) -> None:
    source, expected = FOREIGN[name]
    changed = changed_main(game, source)
    assert expected in changed
    assert changed.count("mod dgx_pixels;") == 1
    assert changed.count("DgxPixelsPlugin") == 1


def test_a_game_whose_library_runs_it_is_changed_there(game: Path) -> None:
    (game / "src").mkdir(exist_ok=True)
    (game / "src/lib.rs").write_text(
        "use bevy::prelude::*;\npub fn run() {\n    App::new().add_plugins(DefaultPlugins).run();\n}\n"
    )
    offered = planned(game, GOOD, "fn main() {\n    mygame::run();\n}\n")
    assert not offered.by_hand
    assert game / "src/main.rs" not in offered.files
    assert "mod dgx_pixels;" in offered.files[game / "src/lib.rs"][1]


def test_a_plugin_in_a_module_is_added_by_its_full_path(game: Path) -> None:
    (game / "src").mkdir(exist_ok=True)
    (game / "src/app.rs").write_text(
        "use bevy::prelude::*;\npub fn app() -> App {\n    let mut app = App::new();\n"
        "    app.add_plugins(DefaultPlugins);\n    app\n}\n"
    )
    offered = planned(game, GOOD, "mod app;\nfn main() {\n    app::app().run();\n}\n")
    assert offered.files[game / "src/main.rs"][1].startswith("mod dgx_pixels;\nmod app;")
    assert ".add_plugins(crate::dgx_pixels::DgxPixelsPlugin);" in offered.files[game / "src/app.rs"][1]


def test_a_program_in_src_bin_finds_the_plugin_beside_it(game: Path) -> None:
    (game / "src/bin").mkdir(parents=True)
    (game / "src/bin/play.rs").write_text(MAIN)
    (game / "Cargo.toml").write_text(GOOD)
    project = find_project(game, None)
    assert project
    offered = plan(project)
    assert '#[path = "../dgx_pixels.rs"]\nmod dgx_pixels;' in offered.files[game / "src/bin/play.rs"][1]


@pytest.mark.parametrize(
    ("manifest", "main"),
    [
        (None, "fn main() { game::run() }\n"),
        (None, 'fn main() {\n    App::new().add_plugins(DefaultPlugins).run("oh);\n}\n'),
        (None, "macro_rules! app { () => { App::new().add_plugins(DefaultPlugins) } }\nfn main() {}\n"),
        ('[package]\nname = "g"\n[dependencies]\nengine = { package = "bevy", version = "0.20" }\n', None),
        ('[package]\nname = "g"\n[dependencies]\nbevy = "0.20"\nserde = { version = "1", optional = true }\n', None),
    ],
)
def test_where_one_file_is_not_understood_none_of_the_plugin_is_written(
    game: Path, manifest: str | None, main: str | None
) -> None:
    offered = planned(game, manifest or GOOD, main or MAIN)
    assert {path.name for path in offered.files} <= {"dgx-pixels.toml", ".gitignore", ".gitkeep"}
    assert "mod dgx_pixels;" in offered.by_hand[0]


def test_a_game_that_reads_another_assets_folder_gets_it_in_its_style(game: Path) -> None:
    source = MAIN.replace(
        "DefaultPlugins", 'DefaultPlugins.set(AssetPlugin { file_path: "src/assets".into(), ..default() })'
    )
    offered = planned(game, GOOD, source)
    assert 'assets = "src/assets"' in offered.files[game / "dgx-pixels.toml"][1]
    assert game / "src/assets/.gitkeep" in offered.files
    assert game / "assets/.gitkeep" not in offered.files


def test_the_diff_is_one_that_git_applies(game: Path, tmp_path: Path) -> None:
    (game / ".gitignore").write_text("target")  # without a line end
    offered = planned(game, GOOD)
    patch = tmp_path / "plan.patch"
    patch.write_text(offered.diff())
    subprocess.run(["git", "apply", "--unsafe-paths", "--directory", str(game), str(patch)], cwd=game, check=True)
    for path, (_, new) in offered.files.items():
        assert path.read_text() == new


def test_what_cannot_be_written_takes_back_what_was(game: Path) -> None:
    offered = planned(game, GOOD)
    (game / "src" / DEV_FILE).mkdir()
    with pytest.raises(OSError):  # noqa: PT011 - the system's own words differ
        offered.apply()
    assert (game / "Cargo.toml").read_text() == GOOD
    assert not (game / "src/dgx_pixels.rs").exists()
    assert (game / "src/main.rs").read_text() == MAIN


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            'bevy = "0.19" # pinned\n\n# fast\n[profile.dev]\nopt-level = 1\n',
            'bevy = "0.19" # pinned\nserde = { version = "1", features = ["derive"] }\nserde_json = "1"\n\n# fast\n'
            "[profile.dev]\nopt-level = 1\n",
        ),
        (
            'bevy.version = "0.19"\n',
            'bevy.version = "0.19"\nserde = { version = "1", features = ["derive"] }\nserde_json = "1"\n',
        ),
    ],
)
def test_the_rest_of_the_manifest_keeps_its_form(game: Path, before: str, after: str) -> None:
    head = '# mine\n[package]\nname = "mygame"\n\n[dependencies]\n'
    planned(game, head + before).apply()
    text = (game / "Cargo.toml").read_text()
    assert text.startswith(head + after)
    assert text.removeprefix(head + after).strip().startswith("[features]\n")


def test_a_bevy_in_a_table_of_its_own_is_made_ready(game: Path) -> None:
    offered = planned(game, '[package]\nname = "mygame"\n\n[dependencies.bevy]\nversion = "0.19"\n')
    assert not offered.by_hand
    after = tomllib.loads(offered.files[game / "Cargo.toml"][1])
    assert after["dependencies"]["bevy"] == {"version": "0.19"}
    assert set(after["dependencies"]) == {"bevy", "serde", "serde_json"}
    assert after["features"]["default"] == ["dgx_pixels_dev"]


def test_a_game_on_another_bevy_gets_no_plugin_that_would_not_compile(game: Path) -> None:
    offered = planned(game, '[package]\nname = "mygame"\n[dependencies]\nbevy = "0.17"\n')
    assert {path.name for path in offered.files} == {"dgx-pixels.toml", ".gitignore", ".gitkeep"}
    assert "for Bevy 0.19 and 0.20" in offered.by_hand[0]


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

"""What the doctor finds in projects of many forms, and in what order."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastmcp import Client
from PIL import Image

from server.deploy.bevy.detect import detect
from server.deploy.bevy.doctor import Finding, examine
from server.deploy.bevy.init_game import plan
from server.project.game import Project, find_project
from server.protocol.app import create_server
from server.settings import Settings
from tests.fakes import FakeBackend
from tests.server.deploy.bevy.standin import StandIn

GOOD = """\
[package]
name = "mygame"
[dependencies]
bevy = { version = "0.19", features = ["file_watcher", "bevy_remote"] }
serde = { version = "1", features = ["derive"] }
serde_json = "1"
"""
MAIN = """\
use bevy::prelude::*;

fn main() {
    App::new().add_plugins(DefaultPlugins.set(ImagePlugin::default_nearest()))
        .add_plugins(dgx_pixels::DgxPixelsPlugin)
        .run();
}
"""


@pytest.fixture
def project(game: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A game in which nothing is missing but that it runs."""
    monkeypatch.setenv("BRP_EXTRAS_PORT", "1")
    (game / "Cargo.toml").write_text(GOOD)
    (game / "src").mkdir()
    (game / "src/main.rs").write_text(MAIN)
    found = find_project(game, None)
    assert found
    plan(found).apply()
    return found


def findings(project: Project) -> dict[str, list[Finding]]:
    found: dict[str, list[Finding]] = {}
    for finding in examine(project):
        found.setdefault(finding.topic, []).append(finding)
    return found


def first(project: Project, topic: str) -> Finding:
    return findings(project)[topic][0]


def test_a_game_in_order_lacks_only_to_be_started(project: Project) -> None:
    left = [finding for finding in examine(project) if finding.state != "fine"]
    assert [(finding.topic, finding.lines) for finding in left] == [("running game", "cargo run")]


def test_a_running_game_is_asked_for_its_health(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    with StandIn(project.assets, held=("sprites/missing.png",)) as game:
        monkeypatch.setenv("BRP_EXTRAS_PORT", str(game.port))
        found = findings(project)["running game"]
    assert "answers on port" in found[0].what
    assert "has loaded none of its pictures" in found[0].what
    assert "could not load sprites/missing.png" in found[1].what


@pytest.mark.parametrize(
    ("pictures", "layouts", "said"),
    [
        (1, 0, "1 picture and draws"),
        (2, 0, "2 pictures and draws"),
        (0, 1, "1 sheet layout and draws"),
        (2, 1, "2 pictures and 1 sheet layout and draws"),
        (1, 2, "1 picture and 2 sheet layouts and draws"),
    ],
)
def test_only_what_was_read_counts_as_loaded(
    pictures: int, layouts: int, said: str, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{number}.png" for number in range(pictures)] + [f"{number}.sheet.json" for number in range(layouts)]
    for name in names:
        Image.new("RGBA", (2, 2)).save(project.assets / name, "PNG")
    with StandIn(project.assets, held=(*names, "missing.png")) as game:
        monkeypatch.setenv("BRP_EXTRAS_PORT", str(game.port))
        found = findings(project)["running game"]
    assert f"has loaded {said} a frame every 17 ms" in found[0].what


def test_a_lock_file_says_the_exact_version(project: Project) -> None:
    (project.root / "Cargo.lock").write_text('version = 4\n[[package]]\nname = "bevy"\nversion = "0.19.1"\n')
    bevy = detect(project)
    assert (bevy.version, bevy.locked, bevy.minor) == ("0.19.1", True, 19)


def test_a_running_game_of_another_version_was_built_before(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    (project.root / "Cargo.lock").write_text('version = 4\n[[package]]\nname = "bevy"\nversion = "0.19.1"\n')
    with StandIn(project.assets, "0.19.0") as game:
        monkeypatch.setenv("BRP_EXTRAS_PORT", str(game.port))
        assert "runs Bevy 0.19.0, Cargo.lock says 0.19.1" in first(project, "running game").what


@pytest.mark.parametrize(
    ("manifest", "watches"),
    [
        ('[dependencies]\nbevy = "0.19"', False),
        ('[dependencies]\nbevy = { version = "0.19", features = ["dev"] }', True),
        ('[dependencies.bevy]\nversion = "0.19"\nfeatures = [\n  "file_watcher",\n]', True),
        ('[features]\ndev = ["bevy/file_watcher"]\n[dependencies]\nbevy = "0.19"', True),
        ('[target."cfg(unix)".dependencies]\nbevy = { version = "0.19", features = ["file_watcher"] }', True),
        ('[dependencies]\nengine = { package = "bevy", version = "0.19", features = ["file_watcher"] }', True),
    ],
)
def test_hot_reload_is_found_in_every_form(manifest: str, watches: bool, project: Project) -> None:
    (project.root / "Cargo.toml").write_text(f'[package]\nname = "mygame"\n{manifest}\n')
    finding = first(project, "file_watcher")
    assert (finding.state == "fine") is watches
    assert watches or 'features = ["file_watcher", "bevy_remote"]' in finding.lines


def test_features_come_from_the_workspace_too(project: Project) -> None:
    member = project.root / "crates/game"
    (member / "assets").mkdir(parents=True)
    (member / "Cargo.toml").write_text('[package]\nname = "game"\n[dependencies]\nbevy = { workspace = true }\n')
    (project.root / "Cargo.toml").write_text(
        '[workspace]\nmembers = ["crates/*"]\n[workspace.dependencies]\n'
        'bevy = { version = "0.19", features = ["file_watcher"] }\n'
    )
    (project.root / "dgx-pixels.toml").unlink()
    found = find_project(member, None)
    assert found
    assert detect(found).has("file_watcher")
    assert detect(found).minor == 19


def test_what_the_sources_switch_off_is_seen_but_not_in_comments(project: Project) -> None:
    main = project.root / "src/main.rs"
    main.write_text(MAIN + "// watch_for_changes_override: Some(false)\n")
    assert first(project, "file_watcher").state == "fine"
    main.write_text(MAIN + "fn other() -> AssetPlugin { AssetPlugin { watch_for_changes_override: Some(false) } }\n")
    assert "nothing reloads by itself" in first(project, "file_watcher").what


def test_smoothed_pictures_are_mentioned(project: Project) -> None:
    (project.root / "src/main.rs").write_text(MAIN.replace(".set(ImagePlugin::default_nearest())", ""))
    finding = first(project, "sampling")
    assert (finding.state, finding.lines) == ("advice", "DefaultPlugins.set(ImagePlugin::default_nearest())")


def test_another_assets_folder_in_the_sources_is_named_with_the_line_to_write(project: Project) -> None:
    (project.root / "src/main.rs").write_text(MAIN + 'const A: AssetPlugin = AssetPlugin { file_path: "art" };\n')
    finding = first(project, "assets")
    assert (finding.state, finding.lines) == ("broken", '[folders]\nassets = "art"')


def test_a_remote_protocol_that_opens_no_port_is_seen(project: Project) -> None:
    (project.root / "src/main.rs").write_text("fn main() { App::new().add_plugins(RemotePlugin::default()); }")
    assert "RemotePlugin alone opens no port" in findings(project)["bevy_remote"][1].what
    assert "nothing adds it" in first(project, "dev plugin").what


def test_an_old_dev_plugin_is_to_be_brought_up_to_date(project: Project) -> None:
    plugin = project.root / "src/dgx_pixels_dev.rs"
    plugin.write_text(plugin.read_text().replace("PROTOCOL: u32 = 2", "PROTOCOL: u32 = 0"))
    assert "has version 0" in first(project, "dev plugin").what
    assert plan(project).files.keys() == {plugin}


@pytest.mark.parametrize(
    ("version", "state"), [("0.14", "broken"), ("0.16", "advice"), ("0.18", "fine"), ("0.20", "fine")]
)
def test_the_version_decides_what_is_promised(version: str, state: str, project: Project) -> None:
    (project.root / "Cargo.toml").write_text(GOOD.replace("0.19", version))
    assert first(project, "bevy").state == state
    if version == "0.18":
        assert "for Bevy 0.19 and 0.20" in first(project, "dev plugin").what


def test_names_that_bevy_cannot_load_are_listed(project: Project) -> None:
    (project.assets / "HERO.PNG").write_bytes(b"")
    (project.assets / "a#b.png").write_bytes(b"")
    assert "HERO.PNG and 1 more" in first(project, "names").what


@pytest.mark.anyio
async def test_an_assistant_gets_the_findings_in_order(project: Project, settings: Settings) -> None:
    (project.root / "Cargo.toml").write_text('[package]\nname = "mygame"\n[dependencies]\nbevy = "0.19"\n')
    async with Client(create_server(settings, FakeBackend())) as client:
        answer = await client.call_tool("check_project", {"project": str(project.root)})
    found = answer.structured_content
    assert found
    assert found["ready"] is False
    assert found["next_step"].startswith("file_watcher: Add the feature in")
    topics = [item["topic"] for item in found["findings"] if item["state"] != "fine"]
    assert topics == ["file_watcher", "bevy_remote", "running game"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"

"""What a running game makes of deployments: the real game, the real watcher, the real renderer."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from server.deploy.bevy.screenshot import find_sprite, read_rgba
from server.deploy.bevy.verify import look, witness
from server.deploy.deploy import deploy, undo
from server.project.game import Project, find_project
from server.studio import Studio
from tests.bevy_game.running import VERSION, Game, asset, copy_game, free_port, picture, wait_for
from tests.bevy_game.toolchain import binary


def project_of(studio: Studio) -> Project:
    return studio.require_project()


def pixels(data: bytes):
    found = read_rgba(data)
    assert found is not None
    return found


def test_a_sprite_that_is_deployed_is_proved_and_seen(studio: Studio) -> None:
    data = picture()
    done = deploy(studio, asset(studio, data), "sprites/hero.png", overwrite=True)
    assert done.verification.state == "reloaded"
    assert "exactly the pixels of sprites/hero.png (32x32)" in done.verification.note
    assert find_sprite(pixels(done.verification.screenshot), pixels(data))


def test_replacing_and_undoing_are_proved_too(studio: Studio, at_port: Game) -> None:
    first, second = picture(), picture()
    deploy(studio, asset(studio, first), "sprites/hero.png", overwrite=True)
    shown = at_port.state("sprites/hero.png")["hash"]
    replaced = deploy(studio, asset(studio, second), "sprites/hero.png", overwrite=True)
    assert replaced.verification.state == "reloaded"
    assert at_port.state("sprites/hero.png")["hash"] != shown
    verification = undo(studio).verification
    assert verification.state == "reloaded"
    assert at_port.state("sprites/hero.png")["hash"] == shown
    assert find_sprite(pixels(verification.screenshot), pixels(first))


def test_a_picture_of_another_size_is_shown_and_reported(studio: Studio) -> None:
    data = picture(48, 64)
    done = deploy(studio, asset(studio, data), "sprites/chest.png", overwrite=True)
    assert done.verification.state == "reloaded"
    assert "Its size was 32x32" in done.verification.note
    assert find_sprite(pixels(done.verification.screenshot), pixels(data))


def test_a_file_that_nothing_loads_is_recognised_also_in_a_new_folder(studio: Studio, at_port: Game) -> None:
    done = deploy(studio, asset(studio, picture()), "sprites/deep/er/idol.png")
    assert done.verification.state == "deployed_not_loaded_by_game"
    assert 'asset_server.load("sprites/deep/er/idol.png")' in done.verification.note
    assert (at_port.assets / "sprites/deep/er/idol.png").is_file()


def test_a_picture_that_the_game_asked_for_before_it_existed_appears(studio: Studio, at_port: Game) -> None:
    entity = at_port.client.call("dgx_pixels/preview", {"path": "sprites/late/ghost.png", "scale": 2})["entity"]
    wait_for("the failed load", lambda: at_port.state("sprites/late/ghost.png")["failed"])
    data = picture()
    done = deploy(studio, asset(studio, data), "sprites/late/ghost.png")
    assert done.verification.state == "reloaded"
    place = find_sprite(pixels(done.verification.screenshot), pixels(data))
    assert place
    assert place[2] == 2
    assert entity > 0
    assert at_port.client.call("dgx_pixels/clear")["cleared"] == 1


def test_a_new_folder_is_seen_by_the_watcher_alone(studio: Studio, at_port: Game) -> None:
    path = "sprites/newest/folder/imp.png"
    at_port.client.call("dgx_pixels/preview", {"path": path})
    wait_for("the failed load", lambda: at_port.state(path)["failed"])
    deploy(studio, asset(studio, picture()), path, verify=False)
    wait_for("the watcher's reload", lambda: at_port.state(path)["generation"], limit=3)
    at_port.client.call("dgx_pixels/clear")


def test_a_broken_picture_is_reported_and_the_next_good_one_recovers(studio: Studio, at_port: Game) -> None:
    path = "sprites/potion.png"
    good = (at_port.assets / path).read_bytes()
    answer = witness(project_of(studio), (path,))
    (at_port.assets / path).write_bytes(good[:60])
    verification = answer({path: good[:60]})
    assert verification.state == "reload_failed"
    assert "still shows the earlier picture" in verification.note
    assert at_port.state(path)["generation"] >= 1
    data = picture()
    done = deploy(studio, asset(studio, data), path, overwrite=True)
    assert done.verification.state == "reloaded"


def test_a_sheet_reloads_with_its_grid_and_its_timing(studio: Studio, at_port: Game) -> None:
    sheet = {
        "image": "sprite.png",
        "tile_size": [16, 16],
        "columns": 4,
        "rows": 1,
        "animations": {"idle": {"first": 2, "last": 2, "fps": 1}},
    }
    strip = picture(64, 16)
    asset_id = asset(studio, strip, **{"sprite__sheet__json": json.dumps(sheet).encode()})
    done = deploy(studio, asset_id, "sheets/bat.png", overwrite=True)
    assert done.verification.state == "reloaded", done.verification.note
    assert json.loads((at_port.assets / "sheets/bat.sheet.json").read_text())["image"] == "bat.png"
    assert at_port.state("sheets/bat.sheet.json")["width"] == 4
    # Only the third tile is shown now.
    shot = pixels(done.verification.screenshot)
    assert find_sprite(shot, pixels(strip)[:, 32:48])
    assert not find_sprite(shot, pixels(strip)[:, 16:32])


def test_a_broken_sheet_is_reported_with_what_is_wrong(studio: Studio, at_port: Game) -> None:
    path = at_port.assets / "sheets/bat.sheet.json"
    sheet = json.loads(path.read_text()) | {"animations": {"idle": {"first": 0, "last": 99}}}
    broken = json.dumps(sheet).encode()
    answer = witness(project_of(studio), ("sheets/bat.sheet.json",))
    path.write_bytes(broken)
    verification = answer({"sheets/bat.sheet.json": broken})
    assert verification.state == "reload_failed"
    assert "animation 'idle' runs 0..=99" in verification.note


def test_a_sheet_can_be_previewed_playing(at_port: Game) -> None:
    (at_port.assets / "sheets/spark.png").write_bytes(picture(64, 32))
    sheet = {
        "image": "spark.png",
        "tile_size": [32, 32],
        "columns": 2,
        "rows": 1,
        "animations": {"burn": {"first": 0, "last": 1, "fps": 20}},
    }
    (at_port.assets / "sheets/spark.sheet.json").write_text(json.dumps(sheet))
    at_port.client.call("dgx_pixels/preview", {"path": "sheets/spark.sheet.json", "animation": "burn"})
    wait_for("the sheet", lambda: at_port.state("sheets/spark.png")["generation"])
    assert at_port.client.call("dgx_pixels/clear")["cleared"] == 1


def test_a_deploy_beside_a_game_that_hangs_ends_and_says_so(studio: Studio, at_port: Game) -> None:
    at_port.signal(signal.SIGSTOP)
    try:
        done = deploy(studio, asset(studio, picture()), "sprites/tree.png", overwrite=True)
    finally:
        at_port.signal(signal.SIGCONT)
    assert done.verification.state == "deployed_unverified"
    assert "does not answer" in done.verification.note


def test_a_deploy_ends_when_the_game_hangs_while_the_files_are_written(studio: Studio, at_port: Game) -> None:
    path = "sprites/tree.png"
    answer = witness(project_of(studio), (path,))
    at_port.signal(signal.SIGSTOP)
    try:
        verification = answer({path: (at_port.assets / path).read_bytes()})
    finally:
        at_port.signal(signal.SIGCONT)
    assert verification.state == "deployed_unverified"


def test_a_game_that_is_killed_in_the_middle_leaves_a_whole_file(studio: Studio, at_port: Game) -> None:
    data = picture()

    def killing(project: Project, paths: tuple[str, ...]):
        answer = witness(project, paths)
        at_port.stop()
        return answer

    done = deploy(studio, asset(studio, data), "sprites/chest.png", overwrite=True, witness=killing)
    assert done.verification.state == "game_not_running"
    assert (at_port.assets / "sprites/chest.png").read_bytes() == data
    at_port.start()
    again = deploy(studio, done.asset_id, "sprites/chest.png", overwrite=True)
    assert (again.state, again.verification.state) == ("identical", "reloaded")


def test_another_game_on_the_port_is_named(studio: Studio, at_port: Game, tmp_path: Path) -> None:
    other = find_project(copy_game(tmp_path / "other"), None)
    assert other
    problem = look(other, ("sprites/hero.png",)).problem
    assert problem
    assert problem.state == "game_not_running"
    assert f"belongs to another game: '{binary(VERSION)}', which reads {at_port.assets}" in problem.note


def test_a_port_where_nothing_listens_is_reported(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("BRP_EXTRAS_PORT", str(port))
    problem = look(project_of(studio)).problem
    assert problem
    assert problem.state == "game_not_running"
    assert f"No game listens on port {port}" in problem.note


def test_a_second_game_on_a_taken_port_says_so_in_its_log(at_port: Game, tmp_path: Path) -> None:
    second = Game(copy_game(tmp_path / "second"), at_port.port)
    try:
        second.start()  # the first game answers
        wait_for("the warning", lambda: f"port {at_port.port} is taken" in second.log, limit=30)
    finally:
        second.stop()


def test_a_screenshot_never_overwrites_a_file(at_port: Game, tmp_path: Path) -> None:
    from server.deploy.bevy.brp import Refused

    precious = tmp_path / "precious.bmp"
    precious.write_bytes(b"mine")
    with pytest.raises(Refused, match="new file"):
        at_port.client.call("dgx_pixels/screenshot", {"path": str(precious)})
    assert precious.read_bytes() == b"mine"

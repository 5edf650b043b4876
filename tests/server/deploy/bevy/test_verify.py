"""The ladder of proofs, on stand-ins of games: each rung's word, and what is said beside it."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.files import READABLE
from server.deploy.bevy import verify
from server.deploy.bevy.screenshot import find_sprite, read_rgba
from server.deploy.bevy.verify import look, ports_of, witness, word_hash
from server.library.records import Verification
from server.project.game import Project, find_project
from tests.server.deploy.bevy.standin import StandIn, fnv

PATH = "sprites/hero.png"


def png(seed: int, width: int = 16, height: int = 16) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 4), np.uint8)
    pixels[..., 3] = np.where(pixels[..., 3] > 60, 255, 0)
    return encoded(pixels)


def encoded(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def screen(*sprites: tuple[bytes, int, int, int]) -> bytes:
    """A green screen with sprites at (x, y), enlarged by a whole number."""
    picture = Image.new("RGBA", (200, 120), (40, 120, 50, 255))
    for data, x, y, zoom in sprites:
        with Image.open(io.BytesIO(data)) as sprite:
            large = sprite.resize((sprite.width * zoom, sprite.height * zoom), Image.Resampling.NEAREST)
        picture.alpha_composite(large, (x, y))
    return encoded(np.asarray(picture.convert("RGB")))


@pytest.fixture
def project(game: Path) -> Project:
    (game / "assets/sprites").mkdir()
    (game / "assets" / PATH).write_bytes(png(1))
    found = find_project(game, None)
    assert found
    return found


@pytest.fixture
def deploy(project: Project, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Verification]:
    """Writes the bytes as a deployment would, with the witness looking on."""

    def deploying(game: StandIn | int, data: bytes, path: str = PATH) -> Verification:
        monkeypatch.setenv("BRP_EXTRAS_PORT", str(game if isinstance(game, int) else game.port))
        answer = witness(project, (path,))
        (project.assets / path).write_bytes(data)
        return answer({path: data})

    return deploying


def test_the_hash_of_the_pixels_is_the_proof(project: Project, deploy: Callable[..., Verification]) -> None:
    with StandIn(project.assets, held=(PATH,)) as game:
        said = deploy(game, png(2))
    assert said.state == "reloaded"
    assert "exactly the pixels" in said.note
    assert read_rgba(said.screenshot) is not None


def test_a_user_who_may_read_the_own_game_alone_gets_its_picture_too(
    project: Project, deploy: Callable[..., Verification]
) -> None:
    earlier = READABLE.set((project.root,))
    try:
        with StandIn(project.assets, held=(PATH,)) as game:
            said = deploy(game, png(2))
    finally:
        READABLE.reset(earlier)
    assert read_rgba(said.screenshot) is not None


def test_a_file_that_nothing_in_the_game_has_loaded(project: Project, deploy: Callable[..., Verification]) -> None:
    with StandIn(project.assets) as game:
        said = deploy(game, png(2))
    assert said.state == "deployed_not_loaded_by_game"
    assert f'asset_server.load("{PATH}")' in said.note


def test_a_picture_that_the_game_cannot_read(project: Project, deploy: Callable[..., Verification]) -> None:
    with StandIn(project.assets, held=(PATH,)) as game:
        said = deploy(game, png(2)[:50])
    assert said.state == "reload_failed"
    assert "undo_deploy" in said.note


def test_another_size_is_mentioned(project: Project, deploy: Callable[..., Verification]) -> None:
    with StandIn(project.assets, held=(PATH,)) as game:
        said = deploy(game, png(2, 24, 24))
    assert "Its size was 16x16" in said.note


def test_a_game_that_answers_but_never_reloads(project: Project, deploy: Callable[..., Verification]) -> None:
    with StandIn(project.assets, held=(PATH,), behaviour="stale") as game:
        said = deploy(game, png(2))
    assert said.state == "deployed_unverified"
    assert "has not loaded sprites/hero.png again" in said.note


@pytest.mark.parametrize("behaviour", ["silent", "drips"])
def test_a_game_that_hangs_is_given_up(behaviour: str, project: Project, deploy: Callable[..., Verification]) -> None:
    # the game hangs until the test ends: without a deadline there would be no answer
    with StandIn(project.assets, behaviour=behaviour) as game:
        said = deploy(game, png(2))
    assert said.state == "deployed_unverified"
    assert "does not answer" in said.note


@pytest.mark.parametrize("behaviour", ["http", "garbage", "rpc"])
def test_a_port_that_something_else_uses(behaviour: str, project: Project, deploy: Callable[..., Verification]) -> None:
    with StandIn(project.assets, behaviour=behaviour) as game:
        said = deploy(game, png(2))
    assert said.state == "game_not_running"
    assert "not a Bevy game" in said.note
    assert "BRP_EXTRAS_PORT" in said.note


def test_another_game_on_the_port(tmp_path: Path, project: Project, deploy: Callable[..., Verification]) -> None:
    other = tmp_path / "other/assets"
    other.mkdir(parents=True)
    with StandIn(other) as game:
        said = deploy(game, png(2))
    assert said.state == "game_not_running"
    assert f"belongs to another game: 'standin', which reads {other}" in said.note
    assert game.asked == ["rpc.discover", "dgx_pixels/status"]


def test_of_several_games_the_one_that_reads_these_assets_is_asked(
    tmp_path: Path, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other/assets"
    other.mkdir(parents=True)
    monkeypatch.delenv("BRP_EXTRAS_PORT", raising=False)
    with StandIn(other) as stranger, StandIn(project.assets, held=(PATH,)) as game:
        monkeypatch.setattr(verify, "ports_of", lambda _: (stranger.port, game.port))
        answer = witness(project, (PATH,))
        (project.assets / PATH).write_bytes(png(2))
        assert answer({PATH: png(2)}).state == "reloaded"
    assert "dgx_pixels/reload" not in stranger.asked


def test_a_port_behind_the_project_is_the_one_that_is_asked(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRP_EXTRAS_PORT", "1")
    with StandIn(project.assets, held=(PATH,)) as game:
        named = find_project(f"{project.root}:{game.port}", None)
        assert named
        assert (named.root, named.port) == (project.root, game.port)
        before = look(named)
    assert before.problem is None


def test_where_no_port_is_named_ten_are_asked(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BRP_EXTRAS_PORT", raising=False)
    assert ports_of(project) == tuple(range(15702, 15712))


def test_a_dev_plugin_of_another_version_is_reported(project: Project, deploy: Callable[..., Verification]) -> None:
    with StandIn(project.assets, protocol=7) as game:
        said = deploy(game, png(2))
    assert said.state == "deployed_unverified"
    assert "speaks version 7" in said.note
    assert "init-game" in said.note


def test_without_the_plugin_the_sprite_is_found_on_the_screen(
    project: Project, deploy: Callable[..., Verification]
) -> None:
    old, new = png(1), png(2)
    with StandIn(project.assets, plugin=False) as game:
        game.screens = [screen((old, 30, 40, 3)), screen((old, 31, 40, 3)), screen((new, 31, 41, 3))]
        said = deploy(game, new)
    assert said.state == "reloaded"
    assert "exact to the pixel" in said.note


def test_without_the_plugin_a_screen_that_does_not_show_it_proves_nothing(
    project: Project, deploy: Callable[..., Verification]
) -> None:
    with StandIn(project.assets, plugin=False) as game:
        game.screens = [screen((png(1), 30, 40, 3))]
        said = deploy(game, png(2))
    assert said.state == "deployed_unverified"
    assert "proves nothing" in said.note
    assert said.screenshot


@pytest.mark.parametrize("version", ["0.15.3", "0.16.1", "0.17.3", "0.18.1"])
def test_old_games_without_any_means_are_unverified(
    version: str, project: Project, deploy: Callable[..., Verification]
) -> None:
    with StandIn(project.assets, version, plugin=False) as game:
        said = deploy(game, png(2))
    assert said.state == "deployed_unverified"
    assert "dev plugin" in said.note


def test_the_server_and_the_game_count_the_same_hash() -> None:
    for length in (0, 1, 7, 8, 9, 4096):
        data = bytes(range(256)) * 16
        assert word_hash(data[:length]) == fnv(data[:length])


@pytest.mark.parametrize("zoom", [1, 2, 5])
def test_a_sprite_is_found_upright_and_mirrored_at_whole_zooms(zoom: int) -> None:
    sprite = read_rgba(png(5))
    assert sprite is not None
    for shown in (sprite, sprite[:, ::-1]):
        shot = read_rgba(screen((encoded(shown), 17, 23, zoom)))
        assert shot is not None
        assert find_sprite(shot, sprite) == (17, 23, zoom)


def test_one_wrong_pixel_is_not_the_sprite() -> None:
    sprite = read_rgba(png(5))
    assert sprite is not None
    changed = sprite.copy()
    y, x = np.argwhere(sprite[..., 3] == 255)[-1]
    changed[y, x, :3] ^= 1
    shot = read_rgba(screen((encoded(changed), 17, 23, 2)))
    assert shot is not None
    assert find_sprite(shot, sprite) is None


def test_a_sprite_of_one_colour_proves_nothing() -> None:
    flat = np.full((16, 16, 4), 255, np.uint8)
    assert find_sprite(np.full((50, 50, 4), 255, np.uint8), flat) is None

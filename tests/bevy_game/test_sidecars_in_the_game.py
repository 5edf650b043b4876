"""Bevy itself reads the `.meta` files that a deployment writes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from server.deploy.bevy.sidecars import image_meta
from server.deploy.deploy import deploy
from server.studio import Studio
from tests.bevy_game.running import Game, asset, picture, wait_for


@pytest.fixture
def with_metas(at_port: Game) -> Iterator[Game]:
    """The game's style asks for `.meta` files."""
    style = at_port.root / "dgx-pixels.toml"
    before = style.read_text()
    style.write_text(f"meta = true\n{before}")
    yield at_port
    style.write_text(before)


def test_a_picture_is_loaded_with_its_meta(studio: Studio, with_metas: Game) -> None:
    done = deploy(studio, asset(studio, picture()), "sprites/hero.png", overwrite=True)
    assert done.verification.state == "reloaded"
    meta = with_metas.assets / "sprites/hero.png.meta"
    assert meta.read_text() == image_meta(19)
    # That it was read shows when it is wrong.
    meta.write_text(image_meta(19).replace("mag_filter: Nearest,\n", ""))
    again = deploy(studio, asset(studio, picture()), "sprites/hero.png", verify=False, overwrite=True)
    assert again.state == "replaced"
    assert meta.read_text() == image_meta(19)


def test_a_meta_that_lacks_a_field_fails_to_load(at_port: Game) -> None:
    path = "sprites/with_meta.png"
    (at_port.assets / f"{path}.meta").write_text(image_meta(19).replace("mag_filter: Nearest,", ""))
    (at_port.assets / path).write_bytes(picture())
    at_port.client.call("dgx_pixels/preview", {"path": path})
    state = wait_for("the failed load", lambda: at_port.state(path)["failed"] and at_port.state(path))
    assert "mag_filter" in state["error"]
    (at_port.assets / f"{path}.meta").write_text(image_meta(19, repeat=True))
    wait_for("the load", lambda: at_port.state(path)["generation"])
    at_port.client.call("dgx_pixels/clear")


def test_a_strip_of_tiles_becomes_an_array_texture(studio: Studio, with_metas: Game) -> None:
    files = {"strip__png": picture(16, 64)}
    deploy(studio, asset(studio, picture(32, 32), **files), "tiles/terrain.png")
    with_metas.client.call("dgx_pixels/preview", {"path": "tiles/terrain_strip.png"})
    wait_for("the load", lambda: with_metas.state("tiles/terrain_strip.png")["generation"])
    state = with_metas.state("tiles/terrain_strip.png")
    assert (state["width"], state["height"], state["layers"]) == (16, 16, 4)
    with_metas.client.call("dgx_pixels/clear")

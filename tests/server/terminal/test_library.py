"""The screen Library, by its keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.pixels.png import encode_png
from pipelines.records import Recipe, no_progress
from server.features.animations import generate_animation
from server.features.requests import AnimationRequest, SpriteRequest, TilesetRequest
from server.features.sprites import generate_sprites
from server.features.tilesets import generate_tileset
from server.studio import Studio
from server.terminal.picture import Picture
from server.terminal.wall import Wall
from tests.fakes import FakeBackend, fake_picture
from tests.server.terminal.driving import OpenStudio, settled, window_text, write

pytestmark = pytest.mark.anyio


@pytest.fixture
def drawn(studio: Studio) -> Studio:
    """A studio whose game has five sprites, the newest a cat."""
    for prompt in ("red dragon", "blue dragon", "tree", "house", "cat"):
        generate_sprites(studio, SpriteRequest(prompt=prompt, size=16, seed=1, candidates=1), no_progress)
    return studio


async def test_the_newest_is_chosen_and_shown(open_studio: OpenStudio, drawn: Studio) -> None:
    async with open_studio() as pilot:
        await pilot.press("f3")
        await settled(pilot)
        text = window_text(pilot)
        assert "▸ cat" in text
        assert "cat 16×16 at" in text
        await pilot.press("down")
        await settled(pilot)
        assert "house 16×16 at" in window_text(pilot)


@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
async def test_a_search_leaves_what_fits(open_studio: OpenStudio, drawn: Studio, size: tuple[int, int]) -> None:
    async with open_studio(size) as pilot:
        await pilot.press("f3")
        await settled(pilot)
        wall = pilot.app.screen.query_one("#wall", Wall)
        assert wall.as_list is (size == (80, 24))
        assert all(item.picture is not None for item in wall.items) or wall.as_list
        await pilot.press("slash")
        await write(pilot, "dragon")
        await pilot.press("enter")
        await settled(pilot)
        assert [item.caption for item in wall.items] == ["blue dragon", "red dragon"]


async def test_deploy_and_undo_from_the_library(open_studio: OpenStudio, drawn: Studio, game: Path) -> None:
    async with open_studio() as pilot:
        await pilot.press("f3")
        await settled(pilot)
        await pilot.press("d")
        await settled(pilot)
        assert (game / "assets/sprites/cat.png").exists()
        assert "▸✓cat" in window_text(pilot)
        await pilot.press("D")
        await write(pilot, "pets/tom.png")
        await pilot.press("enter")
        await settled(pilot)
        assert (game / "assets/pets/tom.png").exists()
        await pilot.press("u", "u")
        await settled(pilot)
        assert not list((game / "assets").rglob("*.png"))


async def test_a_sprite_is_drawn_again_with_another_seed(
    open_studio: OpenStudio, drawn: Studio, backend: FakeBackend
) -> None:
    async with open_studio() as pilot:
        await pilot.press("f3")
        await settled(pilot)
        await pilot.press("down", "down")
        await settled(pilot)
        await pilot.press("r")
        await settled(pilot)
        again = backend.requests[-1]
        assert set(again.prompts) == {"tree"}
        assert 1 not in again.seeds
        wall = pilot.app.screen.query_one("#wall", Wall)
        assert [item.caption for item in wall.items][:2] == ["tree", "cat"]
        assert wall.chosen == 0


async def test_the_recipe_says_what_makes_it_again(open_studio: OpenStudio, drawn: Studio) -> None:
    async with open_studio((100, 40)) as pilot:
        await pilot.press("f3")
        await settled(pilot)
        await pilot.press("i")
        await pilot.pause()
        assert "prompt cat" in window_text(pilot)
        assert "seed 1" in window_text(pilot)


async def test_a_sheet_plays_its_motions(open_studio: OpenStudio, studio: Studio) -> None:
    request = AnimationRequest(prompt="cat", motions=("idle", "walk"), size=16, method="warp")
    generate_animation(studio, request, no_progress)
    async with open_studio() as pilot:
        await pilot.press("f3", "f", "f")
        await settled(pilot)
        assert "idle, 4 frames" in window_text(pilot)
        frame = pilot.app.screen.query_one("#big", Picture).frame
        assert frame is not None
        assert frame.shape[0] < 40
        await pilot.press("c")
        assert "walk, 4 frames" in window_text(pilot)


async def test_a_tileset_is_shown_as_a_map(open_studio: OpenStudio, studio: Studio) -> None:
    generate_tileset(studio, TilesetRequest(upper="grass", layout="seamless", tile_size=16, seed=1), no_progress)
    async with open_studio((200, 60)) as pilot:
        await pilot.press("f3")
        await settled(pilot)
        picture = pilot.app.screen.query_one("#big", Picture).frame
        assert picture is not None
        assert picture.shape[1] > 16
        await pilot.press("r")
        await pilot.pause()
        assert "only a sprite can be drawn again" in window_text(pilot)


async def test_more_than_a_page_is_loaded_on_the_way_down(open_studio: OpenStudio, studio: Studio) -> None:
    library = studio.library(studio.project())
    png = encode_png(fake_picture("x", 1, 8, 8))
    for number in range(70):
        library.add("sprite", {"sprite.png": png}, Recipe("sprite", f"imp {number}", 8, 8, seed=number))
    async with open_studio() as pilot:
        await pilot.press("f3")
        await settled(pilot)
        wall = pilot.app.screen.query_one("#wall", Wall)
        assert len(wall.items) == 60
        await pilot.press("end")
        await settled(pilot)
        assert len(wall.items) == 70

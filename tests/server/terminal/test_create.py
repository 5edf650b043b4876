"""The screen Create, by its keys."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from textual.events import Key
from textual.pilot import Pilot
from textual.widgets import Input

from pipelines.pixels.png import read_picture
from server.terminal.fields import Choice
from server.terminal.picture import Picture
from server.terminal.wall import Wall
from tests.fakes import FakeBackend
from tests.server.terminal.driving import OpenStudio, settled, studio_of, until, window_text, write

pytestmark = pytest.mark.anyio


async def test_five_keys_draw_and_deploy(open_studio: OpenStudio, game: Path) -> None:
    async with open_studio() as pilot:
        await pilot.press("c", "a", "t", "enter", "d")
        await settled(pilot)
        deployed = read_picture(game / "assets/sprites/cat.png")
        assert "written: sprites/cat.png" in window_text(pilot)
        shown = pilot.app.screen.query_one("#big", Picture).frame
        assert shown is not None
        assert (shown == deployed).all()


async def test_enter_on_an_empty_prompt_draws_the_example(open_studio: OpenStudio, backend: FakeBackend) -> None:
    async with open_studio() as pilot:
        assert "red dragon" in window_text(pilot)
        await pilot.press("enter")
        await settled(pilot)
        assert "red dragon" in backend.requests[0].prompts[0]
        assert len(pilot.app.screen.query_one(Wall).items) == 4


async def test_undo_takes_the_file_away_again(open_studio: OpenStudio, game: Path) -> None:
    async with open_studio() as pilot:
        await write(pilot, "cat")
        await pilot.press("enter")
        await settled(pilot)
        await pilot.press("d")
        await settled(pilot)
        assert (game / "assets/sprites/cat.png").exists()
        await pilot.press("u")
        await settled(pilot)
        assert not (game / "assets/sprites/cat.png").exists()
        assert "undone" in window_text(pilot)


async def test_a_file_in_the_way_is_replaced_only_after_a_yes(open_studio: OpenStudio, game: Path) -> None:
    in_the_way = game / "assets/sprites/cat.png"
    in_the_way.parent.mkdir()
    in_the_way.write_bytes(b"mine")
    async with open_studio() as pilot:
        await write(pilot, "cat")
        await pilot.press("enter")
        await settled(pilot)
        for answer, kept in (("n", True), ("y", False)):
            await pilot.press("d")
            await settled(pilot)
            assert "overwrite" in window_text(pilot)
            await pilot.press(answer)
            await settled(pilot)
            assert (in_the_way.read_bytes() == b"mine") is kept
        await pilot.press("u")
        await settled(pilot)
        assert in_the_way.read_bytes() == b"mine"


async def test_d_while_something_is_drawn_never_deploys_an_earlier_picture(
    open_studio: OpenStudio, backend: FakeBackend, game: Path
) -> None:
    async with open_studio() as pilot:
        await write(pilot, "cat")
        await pilot.press("enter")
        await settled(pilot)
        backend.gate = threading.Semaphore(0)
        await pilot.press("p", "ctrl+u")
        await write(pilot, "dog")
        await pilot.press("enter", "d")
        await until(pilot, lambda: len(backend.requests) == 2)
        assert not (game / "assets").joinpath("sprites").exists()
        backend.gate.release(100)
        await settled(pilot)
        assert [file.name for file in (game / "assets/sprites").iterdir()] == ["dog.png"]


async def test_x_cancels_what_is_drawn_and_shows_what_was_there(open_studio: OpenStudio, backend: FakeBackend) -> None:
    async with open_studio() as pilot:
        await write(pilot, "cat")
        await pilot.press("enter")
        await settled(pilot)
        backend.gate = threading.Semaphore(0)
        await pilot.press("r")
        await until(pilot, lambda: len(backend.requests) == 2)
        assert "cancels" in window_text(pilot)
        await pilot.press("x")
        backend.gate.release(1)
        await settled(pilot)
        assert "Cancelled: cat" in window_text(pilot)
        await until(pilot, lambda: pilot.app.screen.query_one("#big", Picture).size.height > 0)
        assert studio_of(pilot).screen.query_one("#big", Picture).frame is not None


async def test_a_kept_seed_is_drawn_first_with_the_next_prompt(open_studio: OpenStudio, backend: FakeBackend) -> None:
    async with open_studio() as pilot:
        await write(pilot, "cat")
        await pilot.press("enter")
        await settled(pilot)
        await pilot.press("right", "k", "p", "ctrl+u")
        kept = pilot.app.screen.query_one(Wall).items[1].caption
        await write(pilot, "dog")
        await pilot.press("enter")
        await settled(pilot)
        seeds = [item.caption for item in pilot.app.screen.query_one(Wall).items]
        assert seeds[0] == kept
        assert len(set(seeds)) == 4
        assert all("dog" in request.prompts[0] for request in backend.requests[1:])


async def test_the_fields_become_the_request(open_studio: OpenStudio, backend: FakeBackend) -> None:
    async with open_studio() as pilot:
        await write(pilot, "cat")
        await pilot.press("tab", "right", "right", "down", "right")
        assert pilot.app.screen.query_one("#size", Choice).value == "16"
        pilot.app.screen.query_one("#prompt", Input).focus()
        await pilot.press("enter")
        await settled(pilot)
        assert len(pilot.app.screen.query_one(Wall).items) == 1
        picture = pilot.app.screen.query_one("#big", Picture).frame
        assert picture is not None
        assert picture.shape == (16, 16, 4)


async def test_an_error_is_the_tools_sentence(open_studio: OpenStudio) -> None:
    async with open_studio() as pilot:
        await pilot.press("u")
        pilot.app.screen.set_focus(None)
        await pilot.press("u")
        await settled(pilot)
        assert "is left to undo" in window_text(pilot)


async def test_a_prompt_that_is_edited_gives_another_sprite(open_studio: OpenStudio) -> None:
    async with open_studio() as pilot:
        await write(pilot, "cat")
        await pilot.press("enter")
        await settled(pilot)
        await pilot.press("e", "ctrl+u")
        await write(pilot, "blue cat")
        await pilot.press("enter")
        await settled(pilot)
        assert [item.caption for item in pilot.app.screen.query_one(Wall).items] != []
        assert "blue cat" in window_text(pilot)


async def test_the_question_mark_shows_every_key_even_in_the_prompt(open_studio: OpenStudio) -> None:
    async with open_studio() as pilot:
        await pilot.press("question_mark")
        await pilot.pause()
        assert "Put the sprite into the game" in window_text(pilot)
        await pilot.press("escape")
        await pilot.pause()
        assert "What do you want to see?" in window_text(pilot)
        assert pilot.app.screen.query_one("#prompt", Input).value == ""


async def test_the_next_prompt_can_be_written_while_one_is_drawn(open_studio: OpenStudio, backend: FakeBackend) -> None:
    backend.gate = threading.Semaphore(0)
    async with open_studio() as pilot:
        await write(pilot, "cat")
        await pilot.press("enter", "p", "ctrl+u")
        await write(pilot, "do")
        backend.gate.release(100)
        await settled(pilot)
        await write(pilot, "g")
        assert pilot.app.screen.query_one("#prompt", Input).value == "dog"
        assert pilot.app.screen.query_one("#big", Picture).frame is not None


def post(pilot: Pilot[None], *keys: str) -> None:
    """Press keys that are all there before the first is handled, as over a slow line."""
    for key in keys:
        pilot.app.post_message(Key(key, key if len(key) == 1 else None))


async def test_keys_that_come_together_go_where_those_before_them_lead(
    open_studio: OpenStudio, backend: FakeBackend, game: Path
) -> None:
    async with open_studio() as pilot:
        post(pilot, "c", "a", "t", "enter", "d")
        await until(pilot, lambda: "written: sprites/cat.png" in window_text(pilot))
        backend.gate = threading.Semaphore(0)
        post(pilot, "r", "p", "s")
        prompt = pilot.app.screen.query_one("#prompt", Input)
        await until(pilot, lambda: "s" in prompt.value)
        backend.gate.release(100)
        await settled(pilot)
        post(pilot, "escape", "tab", "e", "s", "a", "d", "escape", "p", "!")
        await until(pilot, lambda: prompt.value.endswith("!"))


async def test_what_was_said_of_the_last_drawing_goes_when_another_begins(
    open_studio: OpenStudio, backend: FakeBackend
) -> None:
    async with open_studio() as pilot:
        await pilot.press("enter")
        await settled(pilot)
        assert "Drawn in" in window_text(pilot)
        backend.gate = threading.Semaphore(0)
        await pilot.press("r")
        await until(pilot, lambda: "cancels" in window_text(pilot))
        assert "Drawn in" not in window_text(pilot)
        backend.gate.release(100)
        await settled(pilot)


async def test_loras_are_chosen_or_written_with_their_weights(
    open_studio: OpenStudio, backend: FakeBackend, game: Path
) -> None:
    (game / "dgx-pixels.toml").write_text('[[loras]]\nname = "glow"\nweight = 0.4\n')
    async with open_studio() as pilot:
        choice = pilot.app.screen.query_one("#loras", Choice)
        stacks = []
        for stack in (None, "none", "moss@0.8 + glow@0.5"):
            if stack is not None:
                await pilot.press("escape", "tab", "l", "ctrl+u")
                await write(pilot, stack)
                await pilot.press("enter")
                await until(pilot, lambda stack=stack: choice.value == stack)
            await pilot.press("escape", "ctrl+u", "c", "a", "t", "enter")
            await settled(pilot)
            stacks.append([(lora.name, lora.weight) for lora in backend.requests[-1].loras])
        assert stacks == [[("glow", 0.4)], [], [("moss", 0.8), ("glow", 0.5)]]

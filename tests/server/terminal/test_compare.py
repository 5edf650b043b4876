"""The screen Compare, by its keys."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from server.desk.desk import Place
from server.terminal.compare import ranking_text
from server.terminal.fields import Choice
from tests.fakes import FakeBackend
from tests.server.terminal.driving import OpenStudio, settled, window_text, write

pytestmark = pytest.mark.anyio


async def test_a_blind_comparison_says_which_is_which_after_the_vote(
    open_studio: OpenStudio, backend: FakeBackend, game: Path
) -> None:
    async with open_studio((120, 40)) as pilot:
        await pilot.press("f4")
        await settled(pilot)
        await pilot.press("tab", "down", "w")
        await write(pilot, "embedded + glow@0.5")
        await pilot.press("enter")
        await pilot.pause()
        assert pilot.app.screen.query_one("#column1", Choice).value == "embedded + glow@0.5"
        pilot.app.screen.query_one("#prompt").focus()
        await write(pilot, "cat")
        await pilot.press("enter")
        await settled(pilot)
        assert {len(request.loras) for request in backend.requests} == {0, 1}
        assert "glow" not in window_text(pilot)
        await pilot.press("a")
        await pilot.pause()
        assert "Vote for a column first" in window_text(pilot)
        await pilot.press("1")
        await settled(pilot)
        text = window_text(pilot)
        assert "A: embedded" in text
        assert "won 1 of 1" in text
        await pilot.press("a", "y")
        await settled(pilot)
        winner = tomllib.loads((game / "dgx-pixels.toml").read_text())
        assert winner["model"] == "embedded"
        assert ("loras" in winner) is ("A: embedded + glow" in text)


async def test_columns_that_are_the_same_are_refused_with_the_tools_sentence(open_studio: OpenStudio) -> None:
    async with open_studio() as pilot:
        await pilot.press("f4")
        await settled(pilot)
        pilot.app.screen.query_one("#column1", Choice).action_step(-1)
        await pilot.press("enter")
        await settled(pilot)
        assert "Give 2 to 8 different variants" in window_text(pilot)


async def test_the_next_seed_is_one_key_away(open_studio: OpenStudio) -> None:
    async with open_studio() as pilot:
        await pilot.press("f4", "tab", "tab", "w")
        await write(pilot, "+ glow")
        await pilot.press("enter")
        pilot.app.screen.query_one("#prompt").focus()
        await pilot.press("enter")
        await settled(pilot)
        assert "red dragon, seed 1000 (1 of 2)" in window_text(pilot)
        await pilot.press("down")
        await pilot.pause()
        assert "red dragon, seed 1001 (2 of 2)" in window_text(pilot)


def test_the_ranking_draws_the_interval_around_the_share() -> None:
    text = ranking_text((Place("glow", 0.75, 0.5, 0.9, 3, 4), Place("embedded", 0.25, 0.1, 0.5, 1, 4))).plain
    first, second = text.splitlines()
    assert first.startswith("glow     ▏")
    assert first.index("●") > second.index("●")
    assert "75% (50% to 90%), won 3 of 4" in first

"""The screens Training, Game and Machine, by their keys."""

from __future__ import annotations

import json
import os
import re
import tomllib
from dataclasses import asdict
from pathlib import Path

import pytest

from loras.jobs import JobSpec
from loras.options import TrainOptions
from server.settings import Settings
from server.terminal.training import curve
from tests.server.terminal.driving import OpenStudio, settled, until, window_text, write

pytestmark = pytest.mark.anyio


def put_job(settings: Settings, status: str, done: int) -> Path:
    """The folder of a job of 100 steps as a worker leaves it."""
    folder = settings.data_dir / "jobs" / "0123456789abcdef"
    folder.mkdir(parents=True)
    spec = JobSpec("moss", "assets", "embedded", str(settings.data_dir / "loras"), TrainOptions(steps=100))
    (folder / "spec.json").write_text(json.dumps({**asdict(spec), "created": 1.0}))
    state = {"status": status, "done": done, "total": 100, "loss": 0.1, "worker": {"pid": os.getpid(), "started": ""}}
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "log.jsonl").write_text("".join(f'{{"step": {n}, "loss": {1 / (n + 1)}}}\n' for n in range(done)))
    return folder


async def test_a_job_shows_its_loss_and_is_adopted(open_studio: OpenStudio, settings: Settings, game: Path) -> None:
    put_job(settings, "done", 100)
    async with open_studio() as pilot:
        await pilot.press("f5")
        await settled(pilot)
        text = window_text(pilot)
        assert "▸✓moss" in text
        assert "loss 1.0000 at first, 0.0100 now" in text
        await pilot.press("a", "y")
        await settled(pilot)
        style = tomllib.loads((game / "dgx-pixels.toml").read_text())
        assert style["loras"] == [{"name": "moss", "weight": 1.0}]


async def test_a_job_that_ended_cannot_be_cancelled_and_says_so(open_studio: OpenStudio, settings: Settings) -> None:
    put_job(settings, "failed", 7)
    async with open_studio() as pilot:
        await pilot.press("f5")
        await settled(pilot)
        assert "7 of 100" in window_text(pilot)
        await pilot.press("x")
        await settled(pilot)
        assert "failed already; there is nothing to cancel" in window_text(pilot)


async def test_training_without_pictures_is_refused_with_the_tools_sentence(open_studio: OpenStudio) -> None:
    async with open_studio() as pilot:
        await pilot.press("f5")
        await settled(pilot)
        assert "No job yet" in window_text(pilot)
        await pilot.press("t")
        await write(pilot, "nothing")
        await pilot.press("enter")
        await pilot.pause()
        await pilot.press("enter")
        await settled(pilot)
        assert "Give the folder that holds the game's sprites" in window_text(pilot)
        assert pilot.app.screen.query_one("#said").has_class("error")


async def test_the_game_screen_says_what_check_project_says(open_studio: OpenStudio) -> None:
    async with open_studio((120, 40)) as pilot:
        await pilot.press("c", "a", "t", "enter")
        await settled(pilot)
        await pilot.press("d")
        await settled(pilot)
        await pilot.press("f6")
        await settled(pilot)
        text = window_text(pilot)
        assert "bevy" in text
        assert "✓ sprites/cat.png" in text
        await pilot.press("u")
        await settled(pilot)
        assert "Nothing is deployed" in window_text(pilot)


async def test_the_machine_screen_shows_what_the_engine_does(open_studio: OpenStudio) -> None:
    async with open_studio() as pilot:
        await pilot.press("f7")
        await settled(pilot)
        await pilot.press("f2", "c", "a", "t", "enter")
        await settled(pilot)
        await pilot.press("f7")
        await until(pilot, lambda: re.search(r"[1-9]\d* drawn", window_text(pilot)))
        assert "device fake" in window_text(pilot)


def test_the_curve_has_one_bar_for_each_cell() -> None:
    assert curve([8.0, 4.0, 2.0, 1.0], 4) == "█▄▂▁"
    assert curve([1.0] * 100, 10) == "█" * 10
    assert len(curve([float(n) for n in range(997)], 40)) == 40

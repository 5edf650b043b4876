"""The layout of the screens as text, compared with layouts/, which DGX_PIXELS_LAYOUTS=write writes."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from textual.pilot import Pilot

from server.features.requests import SpriteRequest
from server.features.sprites import generate_sprites
from server.settings import Settings
from server.studio import Studio
from tests.server.terminal.driving import OpenStudio, settled, window_lines
from tests.server.terminal.test_other_screens import put_job

FOLDER = Path(__file__).parent / "layouts"
KEYS = {"create": "f2", "library": "f3", "compare": "f4", "training": "f5", "help": "question_mark"}


@pytest.mark.slow
@pytest.mark.anyio
@pytest.mark.parametrize("size", [(80, 24), (200, 60)], ids=lambda size: f"{size[0]}x{size[1]}")
async def test_the_screens_are_laid_out_as_before(
    open_studio: OpenStudio, studio: Studio, settings: Settings, size: tuple[int, int]
) -> None:
    for prompt in ("red dragon", "blue dragon", "tree", "house", "cat"):
        generate_sprites(studio, SpriteRequest(prompt=prompt, size=16, seed=1, candidates=1), lambda *_: None)
    put_job(settings, "done", 100)
    async with open_studio(size) as pilot:
        for name, key in KEYS.items():
            await pilot.press(key)
            await settled(pilot)
            file = FOLDER / f"{name}-{size[0]}x{size[1]}.txt"
            if os.environ.get("DGX_PIXELS_LAYOUTS") == "write":
                FOLDER.mkdir(exist_ok=True)
                file.write_text(shown(pilot), encoding="utf-8")
            wanted = file.read_text(encoding="utf-8")
            for _ in range(500):
                if shown(pilot) == wanted:
                    break
                await pilot.pause(0.02)
            assert shown(pilot) == wanted


def shown(pilot: Pilot[None]) -> str:
    """The window, with # for a cell of a picture."""
    return "\n".join(re.sub("▀+", lambda run: "#" * len(run[0]), line) for line in window_lines(pilot)) + "\n"

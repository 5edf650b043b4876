"""The studio's app over a game on disk and a fake backend."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot

from server.desk.local import LocalDesk
from server.settings import Settings
from server.studio import Studio
from server.terminal.app import StudioApp
from server.terminal.graphics import Graphics
from tests.fakes import FakeBackend
from tests.server.terminal.driving import OpenStudio, settled, until


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def open_studio(game: Path, settings: Settings, backend: FakeBackend) -> OpenStudio:
    """Opens the app in a window of `size`; the game is known when it gives the pilot, and no model is loaded."""

    import pipelines.embedded.judge  # noqa: F401 (what marks candidates imports torch: not within a test's patience)

    @asynccontextmanager
    async def opened(
        size: tuple[int, int] = (80, 24), *, plain: bool = False, graphics: Graphics | None = None
    ) -> AsyncIterator[Pilot[None]]:
        quiet = settings.model_copy(update={"preload": "none"})
        app = StudioApp(LocalDesk(lambda: Studio(quiet, backend)), plain=plain, graphics=graphics)
        async with app.run_test(size=size) as pilot:
            await until(pilot, lambda: app.awake)
            await settled(pilot)
            yield pilot

    return opened

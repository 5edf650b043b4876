"""An agent that is killed with SIGKILL in the middle of a request: the next one does the rest, exactly once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest

from pipelines.records import Recipe
from server.library.store import Library
from server.settings import Settings
from tests.server.agent.conftest import NAME, Connect, Run, call, until_connected

ROOT = Path(__file__).parents[3]


@pytest.fixture
def bundles(settings: Settings) -> list[str]:
    """Two assets of three files in Ann's library: the ids."""
    library = Library(settings.data_dir / "users/ann/library")
    ids = []
    for number in range(2):
        png = _png(number)
        files = {"sprite.png": png, "layout.json": b'{"number": %d}' % number, "strip.png": png}
        ids.append(library.add("sprite", files, Recipe("sprite", f"bundle {number}", 16, 16, number)).id)
    library.close()
    return ids


def _png(number: int) -> bytes:
    from pipelines.pixels.png import encode_png
    from tests.fakes import fake_picture

    return encode_png(fake_picture("bundle", number, 16, 16))


@contextmanager
def process(port: int, token: str, game: Path, where: str) -> Iterator[subprocess.Popen[bytes]]:
    """An agent as a process of its own; it is killed at the latest at the end."""
    command = [sys.executable, "-m", "tests.server.agent.killed", where, NAME, f"http://127.0.0.1:{port}", str(game)]
    environment = {**os.environ, "DGX_PIXELS_HTTP_TOKEN": token, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, cwd=game, stdout=subprocess.DEVNULL) as agent:
        yield agent
        agent.kill()


@pytest.mark.anyio
@pytest.mark.slow
@pytest.mark.parametrize("where", ["placed:1", "placed:2", "placed:3", "answer"])
async def test_a_deploy_is_done_exactly_once(
    port: int, connect: Connect, run: Run, ann: str, keep: Path, bundles: list[str], where: str
) -> None:
    async with connect(ann) as client:
        with process(port, ann, keep, where) as agent:
            await until_connected(client)
            answers: list[dict[str, object]] = []

            async def deploy() -> None:
                answers.append(await call(client, "deploy_asset", asset_id=bundles[0], path="a.png", project=NAME))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(deploy)
                await anyio.to_thread.run_sync(agent.wait)
                assert agent.returncode == -9
                assert not answers
                with run(ann):  # the next agent
                    with anyio.fail_after(60):
                        while not answers:
                            await anyio.sleep(0.02)
                    assert answers[0]["state"] == "written"
                    assert len(deployed(keep)) == 1
                    assert sorted(file.name for file in (keep / "assets").iterdir()) == [
                        "a.json",
                        "a.png",
                        "a_strip.png",
                    ]
                    await call(client, "undo_deploy", project=NAME)
    assert not list((keep / "assets").iterdir())
    assert not list((keep / ".dgx-pixels/staging").iterdir())


@pytest.mark.anyio
@pytest.mark.slow
async def test_an_undo_goes_back_one_step(
    port: int, connect: Connect, run: Run, ann: str, keep: Path, bundles: list[str]
) -> None:
    async with connect(ann) as client:
        with run(ann):
            await until_connected(client)
            for asset in bundles:
                await call(client, "deploy_asset", asset_id=asset, path="a.png", project=NAME, overwrite=True)
        with process(port, ann, keep, "answer") as agent:
            answers: list[dict[str, object]] = []

            async def undo() -> None:
                answers.append(await call(client, "undo_deploy", project=NAME))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(undo)
                await anyio.to_thread.run_sync(agent.wait)
                assert not answers
                with run(ann):
                    with anyio.fail_after(60):
                        while not answers:
                            await anyio.sleep(0.02)
    assert (answers[0]["state"], answers[0]["asset_id"]) == ("undone", bundles[1])
    assert (keep / "assets/a.json").read_bytes() == b'{"number": 0}'
    assert len(deployed(keep)) == 1


def deployed(game: Path) -> list[str]:
    """The pictures of the game's deployments that are not undone."""
    library = Library(game / ".dgx-pixels")
    found = [entry.path for entry in library.deployments()]
    library.close()
    return found
